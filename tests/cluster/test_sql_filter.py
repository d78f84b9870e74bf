from __future__ import annotations

import json

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagefinder.core.filters import parse
from imagefinder.stores.distributed.sql_filter import on_metadata, tags_of

ROWS = [{"n": value} for value in (0, 1, 1.5, "a", "b", True, None, [1, "a"], {"n": 1})] + [{}, {"m": 1}]

texts = st.sampled_from(["a", "b", "é", "e\u0301", "nul\0", "", '"', "\\", "$", "\U0001f600", "n.n"])
numbers = st.sampled_from([0, 1, -1, 1.0, 0.1, 1e-320, 1e300, 2**53, 2**53 + 1, 2**80, 9007199254740993.0])
scalars = st.one_of(texts, numbers, st.booleans(), st.none())
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
)
metadata = st.dictionaries(texts, values, max_size=3)


@pytest.fixture(scope="module")
def connection(postgres):
    with psycopg.connect(postgres.url()) as made:
        yield made


def kept(connection, rows, condition):
    found = on_metadata(parse(condition))
    return [
        row
        for row in rows
        if connection.execute(
            f"SELECT 1 FROM (SELECT %s::jsonb AS tags) AS images WHERE {found.sql}",
            [tags_of(json.dumps(row, ensure_ascii=False)), *found.values],
        ).fetchone()
    ]


@pytest.mark.parametrize(
    ("condition", "count"),
    [
        ({"n": "a"}, 2),
        ({"n": {"in": ["b", 1.5]}}, 2),
        ({"n": {"in": []}}, 0),
        ({"n": {"gte": 1}}, 3),
        ({"n": {"exists": False}}, len(ROWS)),
        ({"m": {"exists": True}}, 1),
        ({"n.n": {"exists": True}}, 1),
        ({"n": "a", "m": 1}, 0),
        ({"any": [{"n": "b"}, {"m": 1}]}, 2),
        ({"n": {"contains": "a"}}, 9),
        ({"not": {"n": "a"}}, len(ROWS)),
        ({'a"b': 1}, 0),
        ({}, len(ROWS)),
    ],
    ids=str,
)
def test_preselects_all_matches_and_few_others(connection, condition, count):
    rows, where = kept(connection, ROWS, condition), parse(condition)
    assert all(row in rows for row in ROWS if where.matches(row))
    assert len(rows) == count


@settings(max_examples=300, deadline=None, database=None)
@given(
    st.lists(metadata, max_size=3),
    st.lists(texts, min_size=1, max_size=2),
    st.one_of(
        st.tuples(st.sampled_from(["eq"]), values),
        st.tuples(st.sampled_from(["in"]), st.lists(values, max_size=3)),
        st.tuples(st.sampled_from(["gt", "gte", "lt", "lte"]), texts | numbers),
        st.tuples(st.sampled_from(["exists"]), st.booleans()),
        st.tuples(st.sampled_from(["contains"]), texts),
    ),
)
def test_never_rejects_a_match(connection, rows, path, condition):
    key = ".".join(step.replace("\\", "\\\\").replace(".", "\\.") for step in path)
    tree = {key: dict([condition])} if key not in ("not", "any", "all") else {}
    where = parse(tree)
    found = kept(connection, rows, tree)
    assert all(row in found for row in rows if where.matches(row))


@pytest.mark.parametrize("key", ['n" OR 1=1 --', "n') --", "$.n", "n[0]", "n\\\\"])
def test_keys_are_not_interpreted_as_sql(connection, key):
    assert key not in on_metadata(parse({key: 1})).sql
    assert kept(connection, ROWS, {key: {"exists": True}}) == []
    assert kept(connection, ROWS, {key: {"gt": 1}}) == []
