from __future__ import annotations

import json
import time
from typing import Any

import pytest

from imagefinder.core.errors import InputError, MetadataError
from imagefinder.core.metadata import MAX_ID_BYTES, METADATA_LIMITS, check_metadata, check_new_id, shortened_id


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def text_of(size: int) -> dict[str, str]:
    """Metadata whose JSON text has this number of bytes."""
    return {"a": "x" * (size - len(json.dumps({"a": ""})))}


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"shop": "north", "price": 12.5, "tags": ["a", None, True], "n": 10**400},
        text_of(METADATA_LIMITS.bytes),
        {"a": [0] * (METADATA_LIMITS.values - 2)},
        nested(METADATA_LIMITS.levels),
        {"é" * 100: "\U0001f600"},
    ],
)
def test_metadata_within_the_limits(metadata: Any) -> None:
    check_metadata(metadata)


@pytest.mark.parametrize(
    ("metadata", "limit", "name"),
    [
        (text_of(METADATA_LIMITS.bytes + 1), METADATA_LIMITS.bytes, "65,536 bytes"),
        ({"a": "é" * 40_000}, METADATA_LIMITS.bytes, "65,536 bytes"),
        ({"k" * 70_000: 1}, METADATA_LIMITS.bytes, "65,536 bytes"),
        ({"a": "x" * 20_000_000}, METADATA_LIMITS.bytes, "65,536 bytes"),
        ({"a": 10**4000, **{f"b{n}": 10**4000 for n in range(20)}}, METADATA_LIMITS.bytes, "65,536 bytes"),
        ({"a": [0] * (METADATA_LIMITS.values - 1)}, METADATA_LIMITS.values, "4,096 values"),
        ({str(n): 0 for n in range(800_000)}, METADATA_LIMITS.values, "4,096 values"),
        ({"a": [[] for _ in range(2000)], "b": [{} for _ in range(2100)]}, METADATA_LIMITS.values, "4,096 values"),
        (nested(METADATA_LIMITS.levels + 1), METADATA_LIMITS.levels, "64 levels"),
    ],
)
def test_metadata_beyond_a_limit_name_it_at_no_cost(metadata: Any, limit: int, name: str) -> None:
    began = time.process_time()
    with pytest.raises(MetadataError, match=name) as caught:
        check_metadata(metadata)
    assert caught.value.limit == limit
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    "metadata", [{"a": float("nan")}, {"a": b"x"}, {"a": {1, 2}}, {"a": "\ud800"}, {"a": 10**5000}]
)
def test_metadata_that_are_not_json(metadata: Any) -> None:
    with pytest.raises(MetadataError, match="not a JSON object") as caught:
        check_metadata(metadata)
    assert caught.value.limit is None


def test_long_ids_are_refused() -> None:
    check_new_id("x" * MAX_ID_BYTES)
    check_new_id("\U0001f600" * (MAX_ID_BYTES // 4))
    for image_id in ("x" * (MAX_ID_BYTES + 1), "é" * (MAX_ID_BYTES // 2 + 1), "\ud800" * MAX_ID_BYTES):
        with pytest.raises(InputError, match=r"has [13],0\d\d bytes; the limit is 1,024"):
            check_new_id(image_id)


def test_ids_are_shortened_to_the_limit_and_stay_distinct() -> None:
    assert shortened_id("x" * MAX_ID_BYTES) == "x" * MAX_ID_BYTES
    long = ["x" * 5000 + end for end in ("", "a", "b")] + [
        "é" * 600,
        "\U0001f600" * 5000,
        "y" + "\U0001f600" * 5000,
    ]
    short = [shortened_id(image_id) for image_id in long]
    assert len(set(short)) == len(long)
    for image_id, made in zip(long, short, strict=True):
        assert len(made.encode()) <= MAX_ID_BYTES
        assert made.startswith(image_id[:200])
