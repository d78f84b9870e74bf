"""TypeScript types of the web page, made from JSON schemas."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "tools" / "web" / "rest_types.py"
spec = importlib.util.spec_from_file_location("rest_types", SCRIPT)
assert spec
assert spec.loader
rest_types = importlib.util.module_from_spec(spec)
spec.loader.exec_module(rest_types)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, "string"),
        ({"type": "integer"}, "number"),
        ({"type": "string", "enum": ["a", "b"]}, '"a" | "b"'),
        ({"type": "string", "const": "ready"}, '"ready"'),
        ({"anyOf": [{"$ref": "#/components/schemas/Image"}, {"type": "null"}]}, "Image | null"),
        ({"type": "array", "items": {"type": "string"}}, "(string)[]"),
        ({"type": "array", "prefixItems": [{"type": "number"}, {"type": "null"}]}, "[number, null]"),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "Record<string, number>"),
        ({"type": "object", "additionalProperties": True}, "Record<string, unknown>"),
        ({"properties": {"a": {"type": "null"}, "b": {}}, "required": ["a"]}, "{ a: null; b?: unknown }"),
    ],
)
def test_a_schema_becomes_a_type(schema, expected):
    assert rest_types.type_of(schema) == expected


def test_the_declarations_cover_every_schema_of_the_rest_api():
    schemas = rest_types.schemas()
    text = rest_types.declarations(schemas)
    assert {"Image", "Job", "Evidence"} <= set(schemas)
    assert all(f"type {name} = " in text for name in schemas)
