"""The upgrade from version 0.1: its collection, keys and jobs, and requests in the words of its clients."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import command
import httpx2
import pytest
from service import Service
from version_0_1 import IDS, SETTINGS, conversation

FIXTURE = Path(__file__).parents[1] / "fixtures" / "version-0.1"
OLD: dict[str, Any] = json.loads((FIXTURE / "answers.json").read_text(encoding="utf-8"))

# Labels of the answers whose fields are free: times by stage, numbers by method.
FREE_FORM = ("timings", "result", "numbers")


def fields(value: Any, path: str = "") -> set[str]:
    """Paths of all fields of a JSON value; elements of a list share theirs."""
    if isinstance(value, list):
        return {found for one in value for found in fields(one, f"{path}[]")}
    if not isinstance(value, dict):
        return set()
    found = {f"{path}.{name}" for name in value}
    for name, one in value.items():
        if name not in FREE_FORM:
            found |= fields(one, f"{path}.{name}")
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of version 0.1 after the one command of the upgrade."""
    folder = tmp_path_factory.mktemp("upgraded")
    shutil.copytree(FIXTURE / "default", folder / "default")
    shutil.copytree(FIXTURE / "state", folder / "state")
    # Jobs belong to the path of their collection, which is another one here.
    (jobs,) = (folder / "state" / "jobs").iterdir()
    digest = hashlib.sha256(os.fsencode(os.path.realpath(folder / "default"))).hexdigest()[:12]
    jobs.rename(jobs.with_name(f"default-{digest}"))
    command.answer("-c", folder / "default", "migrate")
    return folder


@pytest.fixture(scope="module")
def new(folder: Path) -> Iterator[dict[str, Any]]:
    """The answers of the present service to the requests of version 0.1."""
    with (
        Service(folder, auth="on", environment=SETTINGS) as service,
        httpx2.Client(base_url=service.url, timeout=60) as client,
    ):
        yield conversation(client, OLD["keys"]["shop"], OLD["keys"]["editor"])


def test_the_fixture_is_small() -> None:
    assert sum(path.stat().st_size for path in FIXTURE.rglob("*") if path.is_file()) < 300_000


def test_the_collection_is_sound_and_finds(folder: Path) -> None:
    place = ("-c", folder / "default")
    assert command.run(*place, "check").returncode == 0
    assert [image["id"] for image in command.answer(*place, "list")] == IDS


def test_the_keys_are_listed(folder: Path) -> None:
    keys = command.answer("keys", "list", environment={"IMAGEFINDER_STATE": str(folder / "state")})
    assert {(key["name"], key["access"]) for key in keys} == {("shop", "read"), ("editor", "write")}


@pytest.mark.parametrize("label", OLD["answers"])
def test_every_request_answers_with_every_field(new: dict[str, Any], label: str) -> None:
    old = OLD["answers"][label]
    assert new[label]["status"] == old["status"], new[label]
    assert fields(old["answer"]) - fields(new[label]["answer"]) == set()


def test_the_decisions_are_the_same(new: dict[str, Any]) -> None:
    for label in ("search", "search by id"):
        old, found = OLD["answers"][label]["answer"], new[label]["answer"]
        assert found["decision"] == old["decision"]
        for name in ("id", "decision", "relation"):
            assert [hit[name] for hit in found["hits"]] == [hit[name] for hit in old["hits"]], (label, name)
    assert new["original"]["answer"] == OLD["answers"]["original"]["answer"]


def test_nothing_is_extracted_again(new: dict[str, Any]) -> None:
    for method in ("sift", "efficientnet-lite0"):
        old, found = (each["search"]["answer"]["fingerprints"][method] for each in (OLD["answers"], new))
        assert found == old


def test_old_jobs_are_listed(new: dict[str, Any]) -> None:
    listed = {job["id"]: job for job in new["jobs"]["answer"]["jobs"]}
    for job in OLD["answers"]["jobs"]["answer"]["jobs"]:
        found = listed[job["id"]]
        assert (found["state"], found["created_at"]) == (job["state"], job["created_at"])
