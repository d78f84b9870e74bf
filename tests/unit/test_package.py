import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import imagefinder


def test_public_names():
    # Removing a name from this list breaks users' programs.
    assert imagefinder.__all__ == [
        "AddReport",
        "CheckReport",
        "Collection",
        "Comparison",
        "Damage",
        "DuplicateGroup",
        "DuplicatePair",
        "DuplicateReport",
        "Evidence",
        "Explanation",
        "Failure",
        "Hit",
        "ImageRecord",
        "ImagefinderError",
        "Progress",
        "Query",
        "SearchOptions",
        "SearchResult",
        "Settings",
        "StoreInfo",
        "Trace",
        "open",
    ]
    for name in imagefinder.__all__:
        assert getattr(imagefinder, name).__doc__


def test_the_version_is_that_of_the_distribution():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert imagefinder.__version__ == project["version"]


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="nothing"):
        imagefinder.nothing  # noqa: B018


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


HEAVY = {
    "cv2",
    "fastapi",
    "httpx2",
    "jinja2",
    "onnxruntime",
    "rich",
    "starlette",
    "typer",
}


def test_import_is_light():
    assert (
        run(f"import sys, imagefinder; imagefinder.Settings(); print(*sorted({HEAVY} & set(sys.modules)))") == []
    )


def test_opening_a_collection_loads_no_engine(tmp_path):
    code = (
        f"import sys, imagefinder; imagefinder.open({str(tmp_path / 'c')!r}).close(); "
        f"print(*sorted({HEAVY} & set(sys.modules)))"
    )
    assert run(code) == []
