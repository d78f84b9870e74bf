from __future__ import annotations

import time
from typing import Any

import pytest

from imagefinder.core.errors import FilterError
from imagefinder.core.filters import (
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_LEVELS,
    MAX_VALUES,
    contains_text,
    is_deeper,
    parse,
    parse_optional,
)

METADATA = {
    "shop": "north",
    "price": 12.5,
    "stock": 3,
    "new": True,
    "tags": ["red", "Silk", 7],
    "maker": {"country": "IT", "name": "Ä & Söhne"},
    "nothing": None,
    "a.b": {"c": 1},
    "not": "a key of that name",
    "pair": [1, 2],
}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, True),
        ({"shop": "north"}, True),
        ({"shop": "south"}, False),
        ({"shop": "North"}, False),
        ({"missing": None}, False),
        ({"nothing": None}, True),
        ({"stock": 3.0}, True),
        ({"stock": "3"}, False),
        ({"new": True}, True),
        ({"new": 1}, False),
        ({"stock": True}, False),
        ({"shop": "north", "stock": 4}, False),
        ({"price": {"gte": 12.5, "lt": 13}}, True),
        ({"price": {"gt": 12.5}}, False),
        ({"price": {"lte": 12}}, False),
        ({"shop": {"gt": "m", "lt": "o"}}, True),
        ({"shop": {"gt": 1}}, False),
        ({"new": {"gte": 1}}, False),
        ({"price": {"in": [1, 12.5]}}, True),
        ({"price": {"in": []}}, False),
        ({"shop": {"contains": "ORT"}}, True),
        ({"price": {"contains": "1"}}, False),
        ({"tags": "red"}, True),
        ({"tags": {"contains": "silk"}}, True),
        ({"tags": {"gt": 6}}, True),
        ({"tags": ["red", "Silk", 7]}, True),
        ({"pair": {"eq": [1, 2]}}, True),
        ({"pair": {"eq": [1]}}, False),
        ({"pair": {"in": [[1, 2]]}}, True),
        ({"maker.country": "IT"}, True),
        ({"maker.country.x": "IT"}, False),
        ({"maker": {"eq": {"country": "IT", "name": "Ä & Söhne"}}}, True),
        ({"maker": {"eq": {"country": "IT"}}}, False),
        ({r"a\.b.c": 1}, True),
        ({"a.b.c": 1}, False),
        ({r"\not": "a key of that name"}, True),
        ({"shop": {"exists": True}}, True),
        ({"nothing": {"exists": True}}, True),
        ({"missing": {"exists": False}}, True),
        ({"missing": {"exists": True}}, False),
        ({"not": {"shop": "south"}}, True),
        ({"not": {"missing": 1}}, True),
        ({"any": [{"shop": "south"}, {"stock": 3}]}, True),
        ({"any": [{"shop": "south"}, {"stock": 4}]}, False),
        ({"all": [{"shop": "north"}, {"not": {"stock": 4}}]}, True),
        ({"shop": "north", "any": [{"stock": 1}]}, False),
    ],
    ids=str,
)
def test_matches(given: dict[str, Any], expected: bool) -> None:
    assert parse(given).matches(METADATA) is expected


def nested(depth: int) -> dict[str, Any]:
    return {"not": nested(depth - 1)} if depth else {"a": 1}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "JSON object"),
        ([], "JSON object"),
        ("shop", "JSON object"),
        ({1: 2}, "keys must be strings"),
        ({"price": {"above": 3}}, "unknown condition 'above'"),
        ({"price": {}}, "has no condition"),
        ({"price": {"gt": None}}, "number or a string"),
        ({"price": {"gt": True}}, "number or a string"),
        ({"price": {"gt": float("nan")}}, "number or a string"),
        ({"price": float("inf")}, "not a JSON value"),
        ({"price": {"in": 3}}, "must be a list"),
        ({"price": {"in": [0] * (MAX_VALUES + 1)}}, f"maximum is {MAX_VALUES}"),
        ({"price": {"exists": 1}}, "true or false"),
        ({"price": {"contains": 1}}, "must be a string"),
        ({"price": "half \ud800 pair"}, "not a JSON value"),
        ({"half \ud800 pair": 1}, "not valid Unicode"),
        ({"any": []}, "list of filters"),
        ({"any": {"a": 1}}, "list of filters"),
        ({"all": [3]}, r"all\[0\] must be a JSON object"),
        ({"not": 3}, "not must be a JSON object"),
        (nested(MAX_DEPTH + 1), "levels deep"),
        ({str(n): n for n in range(MAX_CONDITIONS + 1)}, f"{MAX_CONDITIONS} conditions"),
        ({"." * 50: 1}, "too long"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_invalid_filters_are_rejected(given: object, words: str) -> None:
    with pytest.raises(FilterError, match=words) as caught:
        parse(given)
    assert caught.value.hint
    caught.value.message.encode()


def deep(levels: int) -> Any:
    value: Any = "Ä needle"
    for level in range(levels):
        value = {"n": value} if level % 2 else [value]
    return value


def test_metadata_nested_deeper_than_the_recursion_limit() -> None:
    metadata = {"n": deep(5000)}
    assert contains_text("ä NEEDLE", "x", metadata)
    assert not contains_text("hay", "x", metadata)
    assert not parse({"n": "a"}).matches(metadata)
    assert not parse({"n": {"eq": deep(MAX_LEVELS)}}).matches(metadata)
    with pytest.raises(FilterError, match="levels deep"):
        parse({"n": {"eq": deep(MAX_LEVELS + 1)}})


@pytest.mark.parametrize("levels", [0, 1, 2, 7])
def test_levels_are_counted(levels: int) -> None:
    assert not is_deeper(deep(levels), levels)
    assert levels == 0 or is_deeper(deep(levels), levels - 1)


def test_the_maximum_depth_is_accepted() -> None:
    assert parse(nested(MAX_DEPTH)).matches({"a": 1}) is (MAX_DEPTH % 2 == 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cat", True),
        ("CAT", True),
        ("NORTH", True),
        ("söhne", True),
        ("silk", True),
        ("12.5", False),
        ("price", False),
    ],
)
def test_text_search_in_id_and_metadata(text: str, expected: bool) -> None:
    assert contains_text(text, "Cat.jpg", METADATA) is expected


@pytest.mark.parametrize(
    ("data", "limit"),
    [
        ({"a": {"contains": "x" * 10_000_000}}, "262,144 bytes"),
        ({"a": {"contains": "x" * 4097}}, "maximum is 4,096"),
        ({"a": "x" * 300_000}, "262,144 bytes"),
        ({"x" * 300_000: 1}, "262,144 bytes"),
        ({"any": [{}] * 300}, "at most 200 filters"),
        ({"all": [{"any": [{"not": {}}] * 50}] * 3}, "at most 200 filters"),
        ({"any": [{}] * 1_000_000}, "10,000 values"),
        ({"a": {"eq": {str(n): n for n in range(100_000)}}}, "10,000 values"),
        ({"a": {"in": list(range(1001))}}, "maximum is 1000"),
        ({"any": [{"a": {"in": list(range(1000))}}] * 11}, "10,000 values"),
    ],
)
def test_large_filters_are_refused_at_no_cost(data: Any, limit: str) -> None:
    began = time.process_time()
    with pytest.raises(FilterError, match=limit):
        parse(data)
    assert time.process_time() - began < 0.5


def test_a_long_text_to_search_for_is_refused() -> None:
    assert not contains_text("x" * 4096, "a", {})
    with pytest.raises(FilterError, match="maximum is 4,096"):
        contains_text("x" * 10_000_000, "a", {})


def test_unicode_forms_are_the_same_text():
    composed, decomposed = "M\u00fcller \u00c9", "Mu\u0308ller E\u0301"
    for one, other in ((composed, decomposed), (decomposed, composed)):
        assert contains_text(one.split()[1], "x", {"name": other})
        assert contains_text(one.lower(), other, {})
        for condition in ({"eq": one}, {"in": ["x", one]}, {"contains": one.split()[0].lower()}):
            assert parse({"name": condition}).matches({"name": other})
        assert not parse({"name": "Muller E"}).matches({"name": other})
    for name in (composed, decomposed):
        assert not contains_text("mu", "x", {"name": name})
    assert not parse({"name": "K"}).matches({"name": "\u212a"})  # the Kelvin sign is no ASCII letter


@pytest.mark.parametrize(
    "condition",
    [
        {"exif.latitude": {"gt": 1}},
        {"exif.longitude": {"exists": True}},
        {"iptc.city": "Paris"},
        {r"ipt\c.city": "Paris"},
        {"exif.latitude.x": 1},
        {"not": {"iptc.country": {"contains": "x"}}},
        {"any": [{"a": 1}, {"all": [{"exif.altitude": {"in": [1]}}]}]},
        {"exif": {"eq": {"latitude": 1}}},
        {"iptc": {"exists": True}},
    ],
)
def test_conditions_on_places_need_permission(condition):
    assert parse(condition)
    with pytest.raises(FilterError, match="filters on places are not allowed") as caught:
        parse(condition, places=False)
    assert "IMAGEFINDER_PLACES" in caught.value.hint


def test_other_conditions_need_no_permission():
    condition = {
        "exif.taken": {"gte": "2024"},
        "xmp": {"exists": True},
        "iptc.title": "x",
        "latitude": 1,
        "city": "x",
    }
    assert parse(condition, places=False)
    assert parse_optional(None, places=False) is None
