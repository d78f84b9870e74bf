import json
import subprocess
import sys
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).parents[3]
LOCK = ROOT / "requirements" / "runtime.txt"


@pytest.fixture(scope="module")
def text():
    command = [sys.executable, str(ROOT / "tools" / "sbom.py"), str(LOCK)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_it_is_valid_cyclonedx(text):
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_it_names_what_is_locked_and_nothing_else(text):
    bom = json.loads(text)
    lines = [
        line.split()[0] for line in LOCK.read_text(encoding="utf-8").splitlines() if "==" in line.split(";")[0]
    ]
    assert sorted(f"{c['name']}=={c['version']}" for c in bom["components"]) == sorted(
        line.lower() for line in lines
    )
    assert all(component["hashes"] for component in bom["components"])
    assert bom["metadata"]["component"]["name"] == "imagefinder"


def test_it_tells_who_needs_what(text):
    needs = {item["ref"]: item.get("dependsOn", []) for item in json.loads(text)["dependencies"]}
    names = {ref.split("@")[0]: {need.split("@")[0] for need in refs} for ref, refs in needs.items()}
    assert {"fastapi", "numpy", "pillow"} <= names["imagefinder"]
    assert "starlette" in names["fastapi"]
    assert "starlette" not in names["imagefinder"]


def test_no_host_of_an_index_stands_in_it(text):
    bom = json.loads(text)
    assert not any("externalReferences" in component for component in bom["components"])
    assert "/simple" not in text
    assert all(component["purl"].startswith("pkg:pypi/") for component in bom["components"])
    assert not any("?" in component["purl"] for component in bom["components"])


def test_the_same_lock_file_gives_the_same_but_for_the_time():
    run = [sys.executable, str(ROOT / "tools" / "sbom.py"), str(LOCK)]
    one, other = (json.loads(subprocess.run(run, capture_output=True, check=True).stdout) for _ in range(2))
    one["metadata"].pop("timestamp")
    other["metadata"].pop("timestamp")
    assert one == other
