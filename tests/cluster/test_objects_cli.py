"""The setting ``objects`` from the command line, and what must not be seen of its access key."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from .object_server import KEY, SECRET

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def world(postgres, seaweed, tmp_path):
    """Runs commands on a new collection in the database with objects in a bucket."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for file in sorted((EXAMPLES / "pictures").iterdir())[:6]:
        shutil.copy(file, folder)
    location = f"{postgres.url(postgres.new_database())}/shop"
    environment = {
        **os.environ,
        **seaweed.environment,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "IMAGEFINDER_OBJECTS": seaweed.url("images", secrets.token_hex(6), timeout=3),
    }

    def command(*arguments, **changed):
        return [sys.executable, "-m", "imagefinder", "-c", location, *map(str, arguments)], environment | changed

    def run(*arguments, **changed):
        line, values = command(*arguments, **changed)
        done = subprocess.run(line, env=values, capture_output=True, text=True, timeout=120, check=False)
        assert SECRET not in done.stdout + done.stderr
        return done

    return SimpleNamespace(run=run, command=command, folder=folder, seaweed=seaweed, location=location)


def test_add_search_check_and_sweep(world):
    added = world.run("add", world.folder, "--method", "sift")
    assert added.returncode == 0, added.stderr
    pictures = sorted(file.name for file in world.folder.iterdir())
    for _ in range(3):  # from the object store, then from the cache
        found = world.run("search", world.folder / pictures[2], "--method", "sift", "--json")
        assert found.returncode == 0, found.stderr
        hits = json.loads(found.stdout)["hits"]
        assert hits[0]["id"].endswith(pictures[2])
        assert hits[0]["decision"] == "match"
    assert world.run("check").stdout.startswith("no damage found: 6 images checked")
    swept = json.loads(world.run("sweep", "--json").stdout)
    assert swept["deleted"] == swept["marked"] == 0


def test_the_objects_may_be_a_shared_folder(world, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    changed = {"IMAGEFINDER_OBJECTS": shared.as_uri()}
    assert world.run("add", world.folder, "--method", "sift", **changed).returncode == 0
    objects = [file for file in shared.rglob("*") if file.is_file() and file.name != "collection"]
    assert len(objects) >= 6
    assert world.run("check", **changed).returncode == 0
    # Another place is refused by name.
    refused = world.run("check")
    assert refused.returncode == 2
    assert shared.as_uri() in refused.stderr
    assert "s3://images/" in refused.stderr
    refused = world.run("list", IMAGEFINDER_OBJECTS="rows")
    assert refused.returncode == 2
    assert f"in the object store {shared.as_uri()}, which is not configured" in refused.stderr


def test_an_object_store_that_is_away_is_an_error_with_a_hint(world):
    assert world.run("add", world.folder, "--method", "sift").returncode == 0
    away = world.seaweed.url("images", "p", endpoint="http://127.0.0.1:9", timeout=1)
    for arguments in (["check"], ["search", next(world.folder.iterdir()), "--method", "sift"]):
        started = time.monotonic()
        failed = world.run(*arguments, IMAGEFINDER_OBJECTS=away)
        assert failed.returncode == 5, failed.stderr
        assert "the server cannot be reached" in failed.stderr
        assert "check that the object store runs" in failed.stderr
        assert "Traceback" not in failed.stderr
        assert time.monotonic() - started < 60


def test_a_wrong_key_is_an_error_that_names_it_not(world):
    failed = world.run("add", world.folder, "--method", "sift", AWS_SECRET_ACCESS_KEY="wrong-secret")
    assert failed.returncode != 0
    assert "access is refused" in failed.stdout + failed.stderr
    assert "wrong-secret" not in failed.stdout + failed.stderr


def test_the_key_is_not_in_settings_and_process_lists(world):
    shown = world.run("settings")
    assert "objects" in shown.stdout
    assert KEY not in shown.stdout
    line, environment = world.command("settings", "--print-config")
    with subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        output, _ = process.communicate(timeout=60)
    assert SECRET.encode() not in arguments + output
    assert KEY.encode() not in arguments + output
    in_url = world.run("settings", IMAGEFINDER_OBJECTS=f"s3://{KEY}:{SECRET}@images/p")
    assert KEY not in in_url.stdout
    refused = world.run("check", IMAGEFINDER_OBJECTS=f"s3://{KEY}:{SECRET}@images/p")
    assert refused.returncode != 0
    assert KEY not in refused.stderr
    assert "environment" in refused.stderr
