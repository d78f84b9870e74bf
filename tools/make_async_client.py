"""Writes the asynchronous client from the synchronous one, so that each operation is written once.

Reads ``client.py``, ``jobs.py`` and ``listings.py`` of ``imagefinder.client`` and writes ``async_client.py``,
``async_jobs.py`` and ``async_listings.py``.
Text and comments stay; ``await`` and ``async`` are inserted where the syntax tree shows a call that reaches the
network or sleeps. ``mypy --strict`` finds a call that was missed.

Run it after every change of those files: ``python tools/make_async_client.py``. A test compares.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).parents[1] / "src" / "imagefinder" / "client"
FILES = {"client.py": "async_client.py", "jobs.py": "async_jobs.py", "listings.py": "async_listings.py"}

NETWORK = re.compile(r"self\._transport\.(json|send|close)|self\.service\.(job|cancel)|job\.wait|time\.sleep")
"""Calls that wait; so do calls of the methods that contain one of them."""
FILE_ACCESS = re.compile(r"images\.(content|reference)")
"""Calls that read a file: moved to a thread, away from the event loop."""
STREAMS = re.compile(r"self\._transport\.stream")
ITERATED = re.compile(r"self\._pages|self\.service\.events")
"""Calls that return an asynchronous iterator."""
ALWAYS_ASYNC = {"__enter__", "__exit__", "job", "cancel"}
"""Methods without such a call, or declared in a protocol."""

RENAMED = {
    r"\b(Client|ClientListings|JobService|RemoteJob|Transport)\b": r"Async\1",
    r"\bthreads\b": "tasks",
    r"\bIterator\b": "AsyncIterator",
    r"\b__(enter|exit)__\b": r"__a\1__",
    r"\bhttpx2\.BaseTransport\b": "httpx2.AsyncBaseTransport",
    r"\btime\.sleep\b": "anyio.sleep",
    r"\bimagefinder\.client\.jobs\b": "imagefinder.client.async_jobs",
    r"\bimagefinder\.client\.listings\b": "imagefinder.client.async_listings",
    r"(?m)^    AsyncTransport,\n": "",
    r"(?m)^(from imagefinder\.client\.transport import .*)\bAsyncTransport, ": r"\1",
    r"(?m)^(from imagefinder\.client\.transport import)": (
        r"from imagefinder.client.async_transport import AsyncTransport\n\1"
    ),
    r"(?m)^import httpx2$": "import anyio\nimport anyio.to_thread\nimport httpx2",
    r"(?m)^import time$": "import time\n\nimport anyio",
}


def main() -> None:
    """Write the files."""
    for target, text in generated().items():
        (CLIENT / target).write_text(text, encoding="utf-8")


def generated() -> dict[str, str]:
    """Name of each generated file -> its text."""
    return {
        target: _formatted(_asynchronous((CLIENT / source).read_text(encoding="utf-8"), source))
        for source, target in FILES.items()
    }


def _asynchronous(source: str, name: str) -> str:
    waiting: set[str] = set()
    while True:
        edits = _Edits(source, waiting)
        edits.visit(ast.parse(source))
        if edits.found <= waiting:
            break
        waiting |= edits.found
    text = edits.applied()
    for pattern, replacement in RENAMED.items():
        text = re.sub(pattern, replacement, text)
    return f"# Generated from {name} by tools/make_async_client.py: edit that file.\n{text}"


def _formatted(text: str) -> str:
    ruff = Path(sys.executable).with_name("ruff")
    for command in (["check", "--select", "I,F401", "--fix-only", "--quiet"], ["format", "--quiet"]):
        done = subprocess.run(
            [ruff, *command, "--stdin-filename", CLIENT / "generated.py", "-"],
            input=text,
            capture_output=True,
            text=True,
            check=True,
        )
        text = done.stdout
    return text


class _Edits(ast.NodeVisitor):
    """Replacements that make a module asynchronous.

    Attributes:
        found: Names of the methods that wait.
    """

    def __init__(self, source: str, waiting: set[str]) -> None:
        self.found: set[str] = set()
        self._source = source.encode()
        self._lines = [0]
        for line in self._source.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))
        self._waiting = waiting
        self._replacements: list[tuple[int, int, str]] = []
        self._functions: list[ast.FunctionDef] = []
        self._streams: set[str] = set()
        self._parents: list[ast.AST] = []

    def applied(self) -> str:
        """The source with all replacements."""
        text = self._source
        for start, end, replacement in sorted(self._replacements, reverse=True):
            text = text[:start] + replacement.encode() + text[end:]
        return text.decode()

    def visit(self, node: ast.AST) -> None:
        self._parents.append(node)
        super().visit(node)
        self._parents.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._functions.append(node)
        self.generic_visit(node)
        self._functions.pop()
        if node.name in self._waiting | ALWAYS_ASYNC or _is_generator(node):
            self._insert(self._start(node), "async ")

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        function = ast.unparse(node.func)
        own = re.fullmatch(r"self\.(\w+)", function)
        if FILE_ACCESS.fullmatch(function):
            start, end = self._start(node), self._start(node.args[0])
            self._replacements.append((start, end, f"await anyio.to_thread.run_sync({function}, "))
        elif NETWORK.fullmatch(function) or (own and own[1] in self._waiting):
            is_inner = isinstance(self._parents[-2], ast.Attribute)
            self._insert(self._start(node), "(await " if is_inner else "await ")
            if is_inner:
                self._insert(self._offset(node.end_lineno, node.end_col_offset), ")")
        else:
            return
        if not _is_generator(self._functions[-1]):
            self.found.add(self._functions[-1].name)

    def visit_With(self, node: ast.With) -> None:
        if STREAMS.fullmatch(_called(node.items[0].context_expr)):
            self._insert(self._start(node), "async ")
            self._streams.add(ast.unparse(node.items[0].optional_vars or ast.Constant(None)))
        self.generic_visit(node)

    def visit_For(self, node: ast.For) -> None:
        if ast.unparse(node.iter) in self._streams or ITERATED.fullmatch(_called(node.iter)):
            self._insert(self._start(node), "async ")
        self.generic_visit(node)

    def visit_YieldFrom(self, node: ast.YieldFrom) -> None:
        # An asynchronous generator has no ``yield from``.
        start, end = self._start(node), self._offset(node.end_lineno, node.end_col_offset)
        loop = f"for one in {ast.unparse(node.value)}:\n{' ' * (node.col_offset + 4)}yield one"
        self._replacements.append((start, end, loop))

    def _insert(self, offset: int, text: str) -> None:
        self._replacements.append((offset, offset, text))

    def _start(self, node: ast.expr | ast.stmt) -> int:
        return self._offset(node.lineno, node.col_offset)

    def _offset(self, line: int | None, column: int | None) -> int:
        if line is None or column is None:
            raise ValueError("a parsed node has a position")
        return self._lines[line - 1] + column


def _is_generator(node: ast.FunctionDef) -> bool:
    return any(isinstance(one, ast.Yield | ast.YieldFrom) for one in ast.walk(node))


def _called(node: ast.expr) -> str:
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


if __name__ == "__main__":
    main()
