"""The commands on a collection in PostgreSQL, run as processes."""

from __future__ import annotations

import shutil

import pytest
from command import answer, run
from edited_pictures import EDITS, edited
from example_pictures import PICTURES


@pytest.fixture(scope="module")
def place(postgres, tmp_path_factory):
    """A location without a password, and the environment that has it."""
    url = postgres.url(postgres.new_database()).replace(f":{postgres.password}@", "@")
    cache = tmp_path_factory.mktemp("cache")
    return f"{url}/shop", {"PGPASSWORD": postgres.password, "XDG_CACHE_HOME": str(cache)}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for path in sorted(PICTURES.glob("*.jpg"))[:6]:
        shutil.copy(path, folder)
    first = sorted(folder.iterdir())[0]
    (folder / "copy.jpg").write_bytes(edited(first, EDITS["crop"]))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    return folder


@pytest.fixture(scope="module")
def added(place, pictures):
    location, environment = place
    done = run("add", "--method", "sift", "-c", location, pictures, environment=environment)
    assert "7 added" in done.stdout + done.stderr, done.stderr
    return place


def test_collection_must_exist(place):
    location, environment = place
    done = run("info", "-c", location.replace("/shop", "/none"), environment=environment)
    assert done.returncode != 0
    assert "there is no collection postgresql://127.0.0.1" in done.stderr
    assert "imagefinder add" in done.stderr


def test_search_finds_the_edited_copy(added, pictures):
    location, environment = added
    first = min(path for path in pictures.iterdir() if path.name not in ("copy.jpg", "broken.jpg"))
    found = answer("search", "-c", location, first, environment=environment)
    assert [hit["id"] for hit in found["hits"][:2]] == [first.name, "copy.jpg"]
    assert found["hits"][0]["relation"] == "identical"


def test_duplicates(added):
    location, environment = added
    report = answer("duplicates", "-c", location, environment=environment)
    assert [group["kind"] for group in report["groups"]] == ["overlapping"]


def test_failures_and_the_second_add(added, pictures):
    location, environment = added
    again = run("add", "--method", "sift", "-c", location, pictures, environment=environment)
    assert "0 added" in again.stdout + again.stderr
    assert "7 unchanged" in again.stdout + again.stderr
    info = answer("info", "-c", location, environment=environment)
    assert (info["images"], info["failures"]) == (7, 1)


def test_check(added):
    location, environment = added
    for options in ([], ["--repair"]):
        report = answer("check", *options, "-c", location, environment=environment)
        assert report["sound"]
        assert report["images"] == 7


def test_a_removed_image_does_not_return(added, pictures):
    location, environment = added
    assert run("remove", "-c", location, "copy.jpg", environment=environment).returncode == 0
    run("add", "--method", "sift", "-c", location, pictures, environment=environment)
    listed = answer("list", "-c", location, environment=environment)
    assert "copy.jpg" not in str(listed)
    assert answer("info", "-c", location, environment=environment)["images"] == 6


def test_index(added, tmp_path):
    location, environment = added
    done = run("index", "-c", location, environment=environment)
    assert done.returncode == 0, done.stderr


def test_backup_and_migration_say_what_to_do(added, tmp_path):
    location, environment = added
    backup = run("backup", "-c", location, tmp_path / "backup", environment=environment)
    assert backup.returncode != 0
    assert "use the backups of the database" in backup.stderr
    migration = run("migrate", "-c", location, environment=environment)
    assert migration.returncode == 0, migration.stderr
    assert "already up to date" in migration.stdout
    assert environment["PGPASSWORD"] not in migration.stdout


@pytest.mark.parametrize("command", [["info"], ["info", "--json"], ["settings"], ["check"]])
def test_password_in_the_location_is_not_shown(added, command, postgres):
    location, environment = added
    secret = location.replace("@", f":{postgres.password}@")
    done = run(*command, environment={**environment, "IMAGEFINDER_COLLECTION": secret})
    assert done.returncode == 0, done.stderr
    assert postgres.password not in done.stdout + done.stderr
