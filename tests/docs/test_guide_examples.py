"""The Python examples of README and guides run as they are written."""

from __future__ import annotations

import re
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "examples" / "pictures"
PAGES = (
    "README.md",
    "docs/guides/first-steps.md",
    "docs/guides/finding-duplicates.md",
    "docs/guides/backup-and-repair.md",
    "docs/guides/python-library.md",
)


def examples(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.M | re.S)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with some images, and the queries of the examples in the working directory."""
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "Pictures").mkdir()
    for name in ("cat.jpg", "temple.jpg", "clock.jpg"):
        shutil.copy(IMAGES / name, tmp_path / "Pictures")
    with Image.open(IMAGES / "temple.jpg") as image:
        crop = image.crop((100, 60, 420, 300))
    for name in ("crop.jpg", "photo.jpg", "holiday-crop.jpg"):
        crop.save(work / name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(work)
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_run(page: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = examples(page)
    assert found
    for example in found:
        exec(compile(example.replace("/mnt/backup", str(home / "backup")), page, "exec"), {})
    printed = capsys.readouterr().out
    if page == "README.md":
        assert printed.startswith("temple.jpg match part of ")
    if page == "docs/guides/backup-and-repair.md":
        assert (home / "backup" / "images" / "collection.sqlite").exists()


def test_the_example_of_a_method_passes_its_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    code, test = examples("docs/guides/adding-a-model.md")
    module = types.ModuleType("colour_method")
    exec(compile(code, "colour_method", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, "colour_method", module)
    names: dict[str, object] = {}
    exec(compile(test, "guide", "exec"), names)
    assert "TestMeanColour" in names
    method = module.mean_colour(None)
    features = method.extractor.extract([np.full((4, 5, 3), 7, np.uint8), np.zeros((2, 2, 3), np.uint8)])
    assert features.vectors.tolist() == [[7, 7, 7], [0, 0, 0]]
