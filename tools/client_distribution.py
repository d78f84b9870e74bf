"""Assembles the source tree of the distribution ``imagefinder-client``.

The client is written once, in ``imagefinder.client``. The package ``imagefinder_client`` consists of those modules
and of the modules of ``imagefinder.core`` that they import, with the names of the imports replaced. The result is
an ordinary project for any build tool::

    python tools/client_distribution.py FOLDER
    python -m uv build FOLDER

With ``--version`` it prints the version of both distributions.
"""

from __future__ import annotations

import ast
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src"
PROJECT = ROOT / "clients" / "python"
START = "imagefinder.client"
RENAMED = {
    r"\bimagefinder\.client\b": "imagefinder_client",
    r"\bimagefinder\.core\b": "imagefinder_client.core",
}


def assemble(folder: Path) -> None:
    """Write the source tree into a new folder.

    Raises:
        FileExistsError: the folder exists.
    """
    shutil.copytree(PROJECT, folder)
    shutil.copy(ROOT / "LICENSE", folder)
    (folder / "VERSION").write_text(version() + "\n", encoding="utf-8")
    for name in sorted(modules()):
        source = _file(name)
        target = folder / "src" / _renamed(name).replace(".", "/")
        target = target / "__init__.py" if source.name == "__init__.py" else target.with_suffix(".py")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_renamed(source.read_text(encoding="utf-8")), encoding="utf-8")
    (folder / "src" / "imagefinder_client" / "py.typed").touch()


def version() -> str:
    """Version of imagefinder, which is that of its client."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return str(project["project"]["version"])


def modules() -> set[str]:
    """Modules that the client consists of: its own and all that they import at run time."""
    found: set[str] = set()
    waiting = {START}
    while waiting:
        name = waiting.pop()
        found.add(name)
        imported = {one for one in imports(name) if one.partition(".")[0] == "imagefinder"}
        waiting |= (imported | {name.rpartition(".")[0] for name in imported}) - found - {"imagefinder"}
    return found


def imports(name: str) -> Iterator[str]:
    """Modules that a module of imagefinder imports, also within functions; not those for type checkers alone."""
    pending: list[ast.AST] = [ast.parse(_file(name).read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (one for one in submodules if one.startswith("imagefinder.") and _exists(one))
            yield node.module
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            pending += node.orelse
        else:
            pending += ast.iter_child_nodes(node)


def _renamed(text: str) -> str:
    for pattern, replacement in RENAMED.items():
        text = re.sub(pattern, replacement, text)
    return text


def _file(name: str) -> Path:
    path = SOURCES / name.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _exists(name: str) -> bool:
    return _file(name).is_file()


if __name__ == "__main__":
    if sys.argv[1] == "--version":
        print(version())
    else:
        assemble(Path(sys.argv[1]))
