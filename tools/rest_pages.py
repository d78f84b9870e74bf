"""Markdown pages of the REST reference, one per tag of the OpenAPI document and one of all schemas."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Json = Mapping[str, Any]
PROBLEM = "application/problem+json"
"""The content type of every error."""


def openapi() -> dict[str, Any]:
    """The OpenAPI document of the service."""
    from imagefinder.core.settings import Settings
    from imagefinder.server.app import create_app
    from imagefinder.wiring import open_collection

    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder, name) for name in ("collection", "collections", "state")}
        with open_collection(Settings(**paths, store="memory"), create=True) as collection:
            return create_app(collection).openapi()


def pages(document: Json) -> dict[str, str]:
    """File name to Markdown: ``index.md``, ``TAG.md`` for each tag, and ``schemas.md``."""
    tags: dict[str, list[str]] = {}
    rows = []
    for path, operations in sorted(document["paths"].items(), key=lambda item: not item[0].startswith("/v1/")):
        for verb, operation in operations.items():
            (tag,) = operation["tags"]
            tags.setdefault(tag, []).append("\n".join(_operation(verb, path, operation)))
            summary = operation["summary"]
            rows.append(f"| [`{verb.upper()} {path}`]({tag}.md#{slug(summary)}) | {_cell(summary)} |")
    index = [
        f"# REST reference, version {document['info']['version']}\n",
        "Generated from the [OpenAPI document](openapi.json). "
        "The [REST guide](../../guides/rest-api.md) explains how to use it.\n",
        "| request | what it does |\n|---|---|",
        *rows,
        f"\n```{{toctree}}\n:hidden:\n\n{chr(10).join((*tags, 'schemas'))}\n```",
    ]
    written = {f"{tag}.md": f"# REST: {tag}\n\n" + "\n".join(parts) for tag, parts in tags.items()}
    return {"index.md": "\n".join(index) + "\n", **written, "schemas.md": _schemas(document)}


def slug(heading: str) -> str:
    """The anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def _operation(verb: str, path: str, operation: Json) -> Iterator[str]:
    yield f"## {operation['summary']}\n"
    yield f"`{verb.upper()} {path}`{' (deprecated)' if operation.get('deprecated') else ''}\n"
    if text := operation.get("description"):
        yield f"{text}\n"
    if parameters := operation.get("parameters"):
        yield "| parameter | in | type | meaning |\n|---|---|---|---|"
        for one in parameters:
            name = f"`{one['name']}`{' (required)' if one.get('required') else ''}"
            yield f"| {name} | {one['in']} | {_kind(one['schema'])} | {_meaning(one)} |"
        yield ""
    if content := operation.get("requestBody", {}).get("content"):
        yield "| request body | schema |\n|---|---|"
        yield from (f"| `{kind}` | {_kind(one.get('schema', {}))} |" for kind, one in content.items())
        yield ""
        for kind, one in content.items():
            if "properties" in one.get("schema", {}):
                yield f"Fields of `{kind}`:\n"
                yield from _members(one["schema"])
        yield from _examples(content)
    yield "| response | content | meaning |\n|---|---|---|"
    for status, response in operation["responses"].items():
        kinds = {kind: one.get("schema", {}) for kind, one in response.get("content", {}).items()}
        content = ", ".join(f"`{kind}`: {_kind(schema)}" for kind, schema in kinds.items() if kind != PROBLEM)
        yield f"| {status} | {content} | {_cell(response['description'])} |"
    yield f"\nErrors are `{PROBLEM}`: [ProblemDetails](schemas.md#problemdetails).\n"


def _members(schema: Json) -> Iterator[str]:
    yield "| member | type | meaning |\n|---|---|---|"
    for member, one in schema["properties"].items():
        required = " (required)" if member in schema.get("required", ()) else ""
        yield f"| `{member}`{required} | {_kind(one)} | {_meaning(one)} |"
    yield ""


def _examples(content: Json) -> Iterator[str]:
    for kind, one in content.items():
        for name, example in one.get("examples", {}).items():
            summary = example.get("summary", name)
            text = json.dumps(example["value"], indent=2, ensure_ascii=False)
            yield f"Example ({kind}): {summary}\n\n```json\n{text}\n```\n"


def _schemas(document: Json) -> str:
    lines = ["# REST: schemas\n"]
    for name, schema in sorted(document["components"]["schemas"].items()):
        lines += [f"## {name}\n"]
        if text := schema.get("description"):
            lines += [f"{text}\n"]
        if "properties" not in schema:
            lines += [f"Type: {_kind(schema)}\n"]
            continue
        lines += _members(schema)
    return "\n".join(lines)


def _meaning(one: Json) -> str:
    schema = one.get("schema", one)
    text = one.get("description", "") or schema.get("description", "")
    if one.get("deprecated"):
        text = f"**Deprecated.** {text}"
    if "default" in schema:
        text = f"{text.rstrip('.')}. Default: `{json.dumps(schema['default'])}`.".removeprefix(". ")
    return _cell(text)


def _kind(schema: Json) -> str:
    """A schema in a few words, with a link to the schema that it names."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](schemas.md#{name.lower()})"
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(_kind(one) for one in schema[several]))
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{json.dumps(value)}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"array of {_kind(schema.get('items', {}))}"
    kind = schema.get("type", "any")
    words = " or ".join(kind) if isinstance(kind, list) else kind
    least, most = schema.get("minimum"), schema.get("maximum")
    bounds = [f"{name} {value}" for name, value in (("from", least), ("to", most)) if value is not None]
    return " ".join([schema.get("contentMediaType", schema.get("format", words)), *bounds])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
