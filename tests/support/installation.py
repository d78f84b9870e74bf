"""Builds and installs imagefinder as users get it, outside the source tree."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

from packaging.markers import Marker

ROOT = Path(__file__).parents[2]
BUILT_FROM = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "src")
BUILD_OUTPUTS = ("*.so", "*.pyd", "*.egg-info", "__pycache__")


@dataclass(frozen=True)
class Distributions:
    """Published files."""

    sdist: Path
    wheel: Path


def build(folder: Path) -> Distributions:
    """Build a source distribution from a copy of the tree, and from that alone a wheel."""
    tree, output = folder / "tree", folder / "dist"
    tree.mkdir()
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns(*BUILD_OUTPUTS))
        else:
            shutil.copy(ROOT / name, tree)
    _uv("build", "--no-build-isolation", "--python", sys.executable, "--out-dir", output, tree)
    (sdist,), (wheel,) = output.glob("*.tar.gz"), output.glob("*.whl")
    return Distributions(sdist, wheel)


@dataclass(frozen=True)
class Installation:
    """A virtual environment with the wheel installed.

    Attributes:
        python: Its interpreter.
        command: Its ``imagefinder``.
        package: Folder of the installed package.
    """

    python: Path
    command: Path
    package: Path

    def output(self, *arguments: str | Path) -> str:
        """Run its Python and return the output."""
        done = subprocess.run([self.python, *arguments], capture_output=True, text=True, timeout=60, check=True)
        return done.stdout.strip()


def install(wheel: Path, folder: Path) -> Installation:
    """Install a wheel into a new virtual environment that uses the dependencies of this one."""
    venv.create(folder, with_pip=False)
    paths = sysconfig.get_paths("venv", vars={"base": str(folder), "platbase": str(folder)})
    scripts, packages = Path(paths["scripts"]), Path(paths["purelib"])
    python = scripts / "python"
    _uv("pip", "install", "--no-deps", "--python", python, wheel)
    borrowed = [place for place in sys.path if Path(place).name == "site-packages"]
    # Folders in a .pth file come after the installed packages in the search path; nothing in them is executed.
    (packages / "borrowed.pth").write_text("\n".join(borrowed))
    installation = Installation(python, scripts / "imagefinder", packages / "imagefinder")
    where = "import imagefinder; print(imagefinder.__file__)"
    assert installation.output("-c", where) == str(installation.package / "__init__.py")
    return installation


def build_client(folder: Path) -> Distributions:
    """Build both distributions of the client: the source distribution from the tree, the wheel from that."""
    tree, output = folder / "client", folder / "client-dist"
    subprocess.run([sys.executable, ROOT / "tools" / "client_distribution.py", tree], check=True, timeout=60)
    _uv("build", "--no-build-isolation", "--python", sys.executable, "--out-dir", output, tree)
    (sdist,), (wheel,) = output.glob("*.tar.gz"), output.glob("*.whl")
    return Distributions(sdist, wheel)


def isolated(wheel: Path, requirements: Iterable[str], folder: Path) -> Path:
    """Install a wheel and copies of installed requirements into a new virtual environment, and nothing else.

    Returns:
        Its interpreter.
    """
    venv.create(folder, with_pip=False)
    paths = sysconfig.get_paths("venv", vars={"base": str(folder), "platbase": str(folder)})
    python, packages = Path(paths["scripts"]) / "python", Path(paths["purelib"])
    _uv("pip", "install", "--no-deps", "--python", python, wheel)
    for name in requirements:
        for file in distribution(name).files or ():
            if ".." not in file.parts and file.suffix != ".pyc":  # scripts stay where they are
                target = packages / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(Path(str(file.locate())), target)
    subprocess.run([python, "-m", "compileall", "-q", packages], check=True, timeout=120)
    return python


def pinned(file: str) -> dict[str, str]:
    """Name and version of each distribution that a file in requirements/ pins for this environment."""
    text = (ROOT / "requirements" / file).read_text(encoding="utf-8")
    lines = re.findall(r"^([a-z0-9-]+)==([^ ;]+) *(?:; *([^\\\n]*))?", text, re.MULTILINE)
    return {
        name: version for name, version, marker in lines if not marker.strip() or Marker(marker.strip()).evaluate()
    }


def size_mb(name: str) -> float:
    """Millions of bytes of the files of an installed distribution, with their compiled bytecode."""
    paths = [Path(str(file.locate())) for file in distribution(name).files or ()]
    sources = [path for path in paths if path.suffix != ".pyc" and path.is_file()]
    compiled = [Path(importlib.util.cache_from_source(str(path))) for path in sources if path.suffix == ".py"]
    return sum(path.stat().st_size for path in (*sources, *(one for one in compiled if one.is_file()))) / 1e6


def _uv(*arguments: str | Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-m", "uv", *arguments, "--offline", "--no-cache"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
