"""The words of the Makefile: what users and developers install; the workflows call words that exist."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
WORDS = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def commands(word: str) -> str:
    """Commands that a word would run where nothing is installed yet."""
    done = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "VENV=absent", word],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("word", ["demo", "serve"])
def test_users_install_only_what_the_program_needs(word: str) -> None:
    found = commands(word)
    assert re.findall(r"requirements/(\w+)\.txt", found) == ["build", "runtime"]
    assert f"imagefinder {word}" in found


def test_developers_install_the_same_and_their_tools() -> None:
    found = re.findall(r"requirements/(\w+)\.txt", commands("tests"))
    assert found[:2] == ["build", "runtime"]
    assert {"dev", "weights"} <= set(found)


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.name)
def workflow(request: pytest.FixtureRequest) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(request.param.read_text(encoding="utf-8"))
    return content


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_workflows_call_words_that_exist(workflow: dict[str, Any]) -> None:
    called = [word for step in steps(workflow) for word in re.findall(r"\bmake ([a-z -]+)", step.get("run", ""))]
    assert called
    assert {word for words in called for word in words.split()} <= WORDS


def test_workflows_use_files_and_jobs_that_exist(workflow: dict[str, Any]) -> None:
    for step in steps(workflow):
        for name in re.findall(r"\b(?:tools|examples|requirements|tests)/[\w./-]+", step.get("run", "")):
            assert (ROOT / name).exists(), name
    for job in workflow["jobs"].values():
        needs = job.get("needs", [])
        assert set([needs] if isinstance(needs, str) else needs) <= set(workflow["jobs"])


def test_workflows_pin_actions_and_write_nothing_by_default(workflow: dict[str, Any]) -> None:
    assert workflow["permissions"] == {"contents": "read"}
    for step in steps(workflow):
        assert re.fullmatch(r"[\w-]+/[\w/-]+@(v\d+(\.\d+)*|release/v1)", step.get("uses", "a/b@v1")), step


def test_only_a_release_publishes() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/publish.yml").read_text(encoding="utf-8"))["jobs"]
    release = jobs.pop("release")
    assert release["if"] == "github.event_name == 'release'"
    assert release["permissions"] == {"id-token": "write"}
    assert {"version", "suite", "installed"} <= set(release["needs"])
    assert not any("permissions" in job or "gh-action-pypi-publish" in str(job) for job in jobs.values())


def test_every_supported_python_is_tested_before_a_release() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/publish.yml").read_text(encoding="utf-8"))["jobs"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tested = jobs["suite"]["strategy"]["matrix"]["python"]
    assert tested == jobs["installed"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert project["requires-python"] == f">={tested[0]}"
    named = {one.rpartition(" ")[2] for one in project["classifiers"] if " :: 3." in one}
    assert named <= set(tested)
