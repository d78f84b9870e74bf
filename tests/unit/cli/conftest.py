import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from imagefinder.cli.app import run
from imagefinder.core.settings import PREFIX

IMAGES = Path(__file__).parents[3] / "examples" / "pictures"
NAMES = ("cat.jpg", "coins.jpg", "clock.jpg", "dogs.jpg")


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_machine():
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(PREFIX)]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def images():
    """Folder of the example images."""
    return IMAGES


@pytest.fixture(scope="session")
def names():
    return NAMES


@pytest.fixture(scope="session")
def collection(tmp_path_factory):
    """A collection of four example images, with sift."""
    folder = tmp_path_factory.mktemp("cli") / "collection"
    assert run(["-c", str(folder), "add", *(str(IMAGES / name) for name in NAMES), "--method", "sift"]) == 0
    return folder


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """Options that hide all weights except the bundled ones, and the internet."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return ("--set", f"models={tmp_path / 'models'}")


@pytest.fixture
def call(capsys):
    """Run one command line; returns its exit code, its output, and the output parsed as JSON."""

    def call(*arguments):
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return SimpleNamespace(
            code=code, out=out, err=err, json=json.loads(out) if "--json" in arguments else None
        )

    return call
