import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from imagefinder.stores.embedded.schema import FORMAT

FORMAT_1 = Path(__file__).parents[2] / "fixtures" / "collections" / "format-1"


@pytest.fixture
def copy(collection, tmp_path):
    return shutil.copytree(collection, tmp_path / "copy")


def damage(copy, statement):
    with closing(sqlite3.connect(copy / "collection.sqlite", isolation_level=None)) as database:
        database.execute(statement)


def test_a_collection_without_damage(call, collection):
    answer = call("check", "-c", collection)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("no damage found: 4 images checked in ")
    assert call("check", "-c", collection, "--json").json["sound"] is True


def test_damage_is_reported_and_repaired(call, copy, images):
    damage(copy, "UPDATE features SET data = x'00' WHERE key = 1")
    answer = call("check", "-c", copy)
    assert answer.code == 1
    assert "cat.jpg" in answer.out
    assert "1 problem found, 1 not repaired" in answer.out
    assert "imagefinder check --repair" in answer.err
    answer = call("search", images / "cat.jpg", "-c", copy)
    assert (answer.code, answer.out) == (5, "")
    (found,) = call("check", "-c", copy, "--json").json["damages"]
    assert (found["kind"], found["image_id"], found["method"], found["repaired"]) == (
        "features",
        "cat.jpg",
        "sift",
        "",
    )
    answer = call("check", "--repair", "-c", copy)
    assert (answer.code, answer.err) == (0, "")
    assert call("add", images / "cat.jpg", "-c", copy).code == 0
    assert call("search", images / "cat.jpg", "-c", copy, "--json").json["hits"][0]["id"] == "cat.jpg"


def test_a_long_list_of_damage_is_shortened(call, copy):
    with closing(sqlite3.connect(copy / "collection.sqlite", isolation_level=None)) as database:
        database.execute("PRAGMA foreign_keys = OFF")
        for key in range(100, 130):
            database.execute(
                "INSERT INTO images SELECT ?, id || ?, uri, sha256, 1, 1, 1, '', '', '', '{}', 1, NULL, 0"
                " FROM images WHERE key = 1",
                (key, key),
            )
    answer = call("check", "-c", copy)
    assert "10 more not shown; list all with: imagefinder check --json" in answer.out
    assert len(call("check", "-c", copy, "--json").json["damages"]) == 30


def test_no_collection(call, tmp_path):
    for command in ("check", "migrate"):
        assert call(command, "-c", tmp_path / "nowhere").code == 5


def test_backup(call, collection, tmp_path):
    answer = call("backup", tmp_path / "b", "-c", collection)
    assert (answer.code, answer.err) == (0, "")
    assert re.fullmatch(rf"copied and verified 4 images \(.+\): {re.escape(str(tmp_path / 'b'))}\n", answer.out)
    assert len(call("list", "-c", tmp_path / "b", "--json").json) == 4
    assert call("backup", tmp_path / "b", "-c", collection).code == 3
    answer = call("backup", tmp_path / "c", "-c", collection, "--json")
    assert (answer.json["backup"], answer.json["images"]) == (str(tmp_path / "c"), 4)


def test_migrate(call, tmp_path):
    old = shutil.copytree(FORMAT_1, tmp_path / "old")
    answer = call("list", "-c", old)
    assert answer.code == 5
    assert f"imagefinder migrate --collection {old}" in answer.err
    answer = call("migrate", "-c", old)
    assert str(old / "collection.sqlite.format-1") in answer.out
    assert "already" in call("migrate", "-c", old).out
    assert call("migrate", "-c", old, "--json").json == {"before": FORMAT, "after": FORMAT, "backup": None}
    assert len(call("list", "-c", old, "--json").json) == 2


def test_a_store_without_formats(call, tmp_path):
    assert call("--set", "store=memory", "migrate", "-c", tmp_path / "c").code == 2
