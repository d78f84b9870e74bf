"""Prints the test groups whose inputs changed since all of their tests last passed.

    python tools/changed.py                  # the groups to run, one per line
    python tools/changed.py --record GROUP   # after all of its tests have passed

A group is a target of the Makefile. Its stamp in tests/stamps is a hash of its inputs: files, and the modules of
imagefinder that its tests import. Stamps are committed, so the answer needs no history of the repository. A group
without a stamp, or with one of other inputs, runs.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
STAMPS = ROOT / "tests" / "stamps"
PACKAGE = "imagefinder"


@dataclass(frozen=True)
class Group:
    """What a group of tests depends on.

    Attributes:
        files: Globs from the root of the repository; each has to match something.
        importers: Files whose imports of imagefinder are inputs.
        depth: How many imports to follow from there: 1 takes the imported modules alone, None all that they reach.
    """

    files: tuple[str, ...]
    importers: tuple[str, ...] = ()
    depth: int | None = None


GROUPS = {
    "browser-tests": Group(
        (
            "src/imagefinder/web/**/*",
            "src/imagefinder/server/v1/*.py",
            "src/imagefinder/server/pages.py",
            "tests/browser/*",
            "examples/pictures/*",
            "requirements/dev.txt",
        )
    ),
    # The parsers themselves: a change below them is left to the examples, which are replayed in every run.
    "fuzz-tests": Group(
        ("tests/fuzz/**/*", "requirements/dev.txt"),
        ("tests/fuzz/targets.py", "tests/fuzz/cluster_targets.py"),
        depth=1,
    ),
    "parity": Group(
        ("tests/parity/*.py", "tests/golden/*", "requirements/parity.txt"),
        ("tests/parity/test_parity.py", "tests/golden/seeded.py"),
    ),
}


def inputs(group: Group, root: Path = ROOT) -> list[Path]:
    """The files of a group, sorted.

    Raises:
        FileNotFoundError: A glob matches nothing, so it is out of date.
    """
    found: set[Path] = set()
    for pattern in group.files:
        matching = {path for path in root.glob(pattern) if path.is_file() and "__pycache__" not in path.parts}
        if not matching:
            raise FileNotFoundError(f"{pattern} matches no file; correct GROUPS in {Path(__file__).name}")
        found |= matching
    return sorted(found | set(_modules(group, root)))


def _modules(group: Group, root: Path) -> Iterator[Path]:
    if not group.importers:
        return
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    modules = {name for file in group.importers for name in _imported(root / file, graph.modules)}
    if group.depth is None:
        modules |= {below for name in modules for below in graph.find_upstream_modules(name)}
    for name in modules:
        path = (root / "src").joinpath(*name.split("."))
        yield path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _imported(file: Path, modules: set[str]) -> Iterator[str]:
    """Modules of imagefinder that a file imports."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in modules else node.module for name in names if node.module in modules)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)


def digest(group: Group, root: Path = ROOT) -> str:
    """SHA-256 of the names and bytes of a group's inputs."""
    total = hashlib.sha256()
    for path in inputs(group, root):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"\n{path.relative_to(root).as_posix()} {content}".encode())
    return total.hexdigest()


def changed(stamps: Path = STAMPS) -> list[str]:
    """Groups whose stamp is missing or of other inputs, in order of name."""
    return [name for name, group in sorted(GROUPS.items()) if _stamp(stamps / name) != digest(group)]


def _stamp(file: Path) -> str:
    return file.read_text(encoding="ascii", errors="replace").strip() if file.exists() else ""


def main() -> None:
    """Print the groups to run, or record one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", choices=sorted(GROUPS), metavar="GROUP")
    options = parser.parse_args()
    if options.record:
        STAMPS.mkdir(exist_ok=True)
        (STAMPS / options.record).write_text(digest(GROUPS[options.record]) + "\n", encoding="ascii")
        return
    groups = changed()
    for name in sorted(GROUPS):
        why = "inputs changed since its tests last passed: runs" if name in groups else "inputs unchanged: skipped"
        print(f"{name}: {why}", file=sys.stderr)
    print(*groups, sep="\n")


if __name__ == "__main__":
    main()
