"""The container's files agree with each other and with the package; a linter finds nothing in the Dockerfile."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from imagefinder.core.settings import PREFIX, Settings
from imagefinder.server.access import keys_required

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
INSTRUCTIONS = [
    (line.split(maxsplit=1)[0], " ".join(line.split(maxsplit=1)[1].split()))
    for line in DOCKERFILE.replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]


def values(instruction: str) -> list[str]:
    return [rest for name, rest in INSTRUCTIONS if name == instruction]


def environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in values("ENV")[-1].split())


@pytest.fixture
def service() -> dict[str, Any]:
    service: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["imagefinder"]
    return service


def test_the_linter_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent)
    if hadolint is None:
        pytest.skip("hadolint is not installed (it is one of the dev requirements)")
    done = subprocess.run(
        [hadolint, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {name for rest in values("COPY") if "--from" not in rest for name in rest.split()[:-1]}
    assert copied == kept
    for name in copied:
        assert (ROOT / name).exists()


def test_it_runs_without_rights() -> None:
    user = values("USER")[-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert INSTRUCTIONS.index(("USER", user)) > max(i for i, (name, _) in enumerate(INSTRUCTIONS) if name == "RUN")


def test_its_settings_exist_and_everything_written_lies_on_a_volume() -> None:
    ours = {name: value for name, value in environment().items() if name.startswith(PREFIX)}
    settings = Settings.load(environment=ours)
    volumes = re.findall(r'"([^"]+)"', values("VOLUME")[-1])
    folders = (settings.collection, Path(settings.collections), settings.models, settings.state)
    for path in (*map(str, folders), environment()["HF_HOME"]):
        assert any(path.startswith(f"{volume}/") for volume in volumes), path


def test_compose_agrees_with_the_dockerfile(service: dict[str, Any]) -> None:
    check = re.search(r"CMD \[(.*)\]", values("HEALTHCHECK")[-1])
    assert check
    assert service["healthcheck"]["test"] == ["CMD", *re.findall(r'"([^"]+)"', check[1])]
    volumes = re.findall(r'"([^"]+)"', values("VOLUME")[-1])
    assert [mount.split(":")[1] for mount in service["volumes"]][: len(volumes)] == volumes
    (port,) = service["ports"]
    assert port.rsplit(":", 1)[1] == values("EXPOSE")[-1] == str(Settings().port)
    assert service["read_only"] is True


def test_whoever_can_reach_it_is_asked_for_a_key_or_is_on_this_machine(service: dict[str, Any]) -> None:
    ours = {name: value for name, value in environment().items() if name.startswith(PREFIX)}
    command = re.findall(r'"([^"]+)"', values("CMD")[-1])
    alone = Settings.load(environment=ours, overrides={"host": command[command.index("--host") + 1]})
    assert keys_required(alone)
    composed = Settings.load(environment={**ours, **service["environment"]}, overrides={"host": alone.host})
    assert keys_required(composed) or all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_the_pinned_requirements_cover_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for file, wanted in {
        "runtime": project["project"]["dependencies"],
        "build": project["build-system"]["requires"],
    }.items():
        pinned = re.findall(r"^([a-z0-9-]+)==", (ROOT / f"requirements/{file}.txt").read_text(), re.MULTILINE)
        for requirement in wanted:
            name = re.split(r"[<>=!~\[; ]", requirement)[0].lower().replace("_", "-")
            assert name in pinned, f"{name}: make lock"
