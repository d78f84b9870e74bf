"""Finished graphs on disk, so that a process does not convert the published weights again."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imagefinder.core.files import write_atomically

BUILDERS = 1
"""Version of ``models.graphs``: raised whenever a builder writes other bytes for the same weights."""

_DRAFT = ".new-"  # prefix of files that are being written (core.files)
_STALE = 3600.0  # seconds after which such a file was left by a process that was killed


@dataclass(frozen=True, slots=True)
class GraphKey:
    """Everything that the bytes of a graph depend on.

    Attributes:
        architecture: As in ``catalogue.ModelSpec``.
        variant: Precision of the graph, or ``map`` for the network up to its feature map.
        weights: SHA-256 of the published weights, hexadecimal.
    """

    architecture: str
    variant: str
    weights: str


class GraphCache:
    """Graphs in a folder, at most one for each network and variant; safe to use from several processes.

    The name of a file contains the SHA-256 of its content, which is verified by each reader. If a file
    cannot be read or written, graphs are made again from the weights.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, key: GraphKey) -> bytes | None:
        """The graph; ``None`` if it is not in the folder, or damaged."""
        for path in self._files(_prefix(key)):
            with contextlib.suppress(OSError):
                graph = path.read_bytes()
                if path.name == _name(key, graph):
                    return graph
        return None

    def save(self, key: GraphKey, graph: bytes) -> None:
        """Keep a graph in place of all others of this network and variant."""
        target = self._folder / _name(key, graph)
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomically(target, [graph], mode=0o666)
            for path in self._files(f"{key.architecture}-{key.variant}-"):
                if path != target:
                    path.unlink(missing_ok=True)
            for path in self._files(_DRAFT):
                if time.time() - path.stat().st_mtime > _STALE:
                    path.unlink(missing_ok=True)

    def _files(self, prefix: str) -> Iterator[Path]:
        try:
            paths = list(self._folder.iterdir())
        except OSError:
            return
        yield from (path for path in paths if path.name.startswith(prefix))


def _prefix(key: GraphKey) -> str:
    source = hashlib.sha256(f"{key.weights} {BUILDERS}".encode()).hexdigest()
    return f"{key.architecture}-{key.variant}-{source[:16]}-"


def _name(key: GraphKey, graph: bytes) -> str:
    return f"{_prefix(key)}{hashlib.sha256(graph).hexdigest()}.onnx"
