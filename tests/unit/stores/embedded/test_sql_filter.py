from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest

from imagefinder.core.filters import parse
from imagefinder.stores.embedded.sql_filter import on_metadata

ROWS = [{"n": value} for value in (0, 1, 1.5, "a", "b", True, None, [1, "a"], {"n": 1})] + [{}, {"m": 1}]


def kept(condition: dict[str, Any]) -> list[dict[str, Any]]:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE images (metadata TEXT)")
    database.executemany("INSERT INTO images VALUES (?)", [(json.dumps(row),) for row in ROWS])
    found = on_metadata(parse(condition))
    query = f"SELECT metadata FROM images WHERE {found.sql}"
    rows = [json.loads(row) for (row,) in database.execute(query, found.values)]
    database.close()
    return rows


@pytest.mark.parametrize(
    ("condition", "count"),
    [
        ({"n": "a"}, 2),
        ({"n": {"in": ["b", 1.5]}}, 2),
        ({"n": {"in": []}}, 0),
        ({"n": {"gte": 1}}, 4),
        ({"n": {"exists": False}}, 2),
        ({"m": {"exists": True}}, 1),
        ({"n.n": {"exists": True}}, 1),
        ({"n": "a", "m": 1}, 0),
        ({"any": [{"n": "b"}, {"m": 1}]}, 2),
        ({"n": {"contains": "a"}}, 9),
        ({"not": {"n": "a"}}, len(ROWS)),
        ({'a"b': 1}, len(ROWS)),
        ({}, len(ROWS)),
    ],
    ids=str,
)
def test_preselects_all_matches_and_few_others(condition: dict[str, Any], count: int) -> None:
    rows, where = kept(condition), parse(condition)
    assert all(row in rows for row in ROWS if where.matches(row))
    assert len(rows) == count


@pytest.mark.parametrize("key", ['n" OR 1=1 --', "n') --", "$.n", "n[0]", "n\\\\"])
def test_keys_are_not_interpreted_as_sql(key: str) -> None:
    found = on_metadata(parse({key: 1}))
    assert key not in found.sql
    assert kept({key: {"exists": True}}) in ([], ROWS)
