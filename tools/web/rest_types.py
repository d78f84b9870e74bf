"""Print TypeScript types of the REST API's answers and requests, read from its OpenAPI document."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import imagefinder
from imagefinder.server.app import create_app

Schema = Mapping[str, Any]

PRIMITIVES = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def schemas() -> Mapping[str, Schema]:
    """The OpenAPI document's named schemas."""
    with tempfile.TemporaryDirectory() as folder, imagefinder.open(Path(folder, "c.collection")) as collection:
        document: dict[str, Any] = create_app(collection).openapi()
    return document["components"]["schemas"]


def type_of(schema: Schema) -> str:
    """TypeScript for a JSON schema; ``unknown`` where the schema allows anything."""
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(map(json.dumps, schema["enum"]))
    if "properties" in schema:
        return object_type(schema)
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return " | ".join(map(type_of, schema[union]))
    kind = schema.get("type")
    if kind == "array":
        if "prefixItems" in schema:
            return f"[{', '.join(map(type_of, schema['prefixItems']))}]"
        return f"({type_of(schema.get('items', {}))})[]"
    if kind == "object":
        return object_type(schema)
    return PRIMITIVES.get(kind, "unknown") if isinstance(kind, str) else "unknown"


def object_type(schema: Schema) -> str:
    """TypeScript for an object with named properties, or for a map from names to values."""
    properties = schema.get("properties")
    if properties is None:
        values = schema.get("additionalProperties", True)
        return f"Record<string, {type_of(values) if isinstance(values, Mapping) else 'unknown'}>"
    required = schema.get("required", ())
    fields = (f"{name}{'' if name in required else '?'}: {type_of(each)}" for name, each in properties.items())
    return f"{{ {'; '.join(fields)} }}"


def declarations(named: Mapping[str, Schema]) -> str:
    """A namespace ``Rest`` with one type for each schema."""
    types = "".join(f"  type {name} = {type_of(schema)};\n" for name, schema in named.items())
    return f"declare namespace Rest {{\n{types}}}\n"


if __name__ == "__main__":
    print(declarations(schemas()), end="")
