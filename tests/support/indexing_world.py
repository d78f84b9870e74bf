"""Cheap methods, a memory store and an image server for the indexing tests."""

import hashlib
import io
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imagefinder.core.errors import ModelMissingError
from imagefinder.core.features import Features, FeatureSpec, GlobalFeatures, LocalFeatures, RgbImage
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.method import Method
from imagefinder.core.settings import Settings
from imagefinder.images.decoding.decode import Decoded, decode
from imagefinder.images.metadata.read import read
from imagefinder.indexing import pipeline
from imagefinder.indexing.discover import Source, discover, source_uris
from imagefinder.indexing.file_metadata import FileMetadataReader
from imagefinder.indexing.progress import AddReport
from imagefinder.matching.cosine import CosineMatcher
from imagefinder.stores.memory import MemoryStore


@dataclass
class Mean:
    """The mean colour; ``before`` may raise what a method could raise."""

    version: int = 1
    before: Callable[[Sequence[RgbImage]], None] = lambda _: None
    batches: list[int] = field(default_factory=list)
    spec = FeatureSpec("global", 3, "float32")
    name = "mean"

    def fingerprint(self) -> Fingerprint:
        return Fingerprint(self.name, self.version)

    def extract(self, images: Sequence[RgbImage]) -> Features:
        self.batches.append(len(images))
        self.before(images)
        vectors = np.array([image.mean(axis=(0, 1)) for image in images], dtype=np.float32)
        return GlobalFeatures(vectors.reshape(-1, 3))


class Rows(Mean):
    """The first pixels of each row, as local features."""

    spec = FeatureSpec("local", 3, "uint8")
    name = "rows"

    def extract(self, images: Sequence[RgbImage]) -> Features:
        self.batches.append(len(images))
        self.before(images)
        rows = [image[:, 0] for image in images]
        counts = np.cumsum([0, *map(len, rows)], dtype=np.int64)
        return LocalFeatures(
            np.concatenate(rows) if rows else np.empty((0, 3), np.uint8),
            np.zeros((int(counts[-1]), 4), np.float32),
            counts,
        )


class Missing(Mean):
    name = "missing"

    def fingerprint(self) -> Fingerprint:
        raise ModelMissingError("missing")


def method(extractor: Mean) -> Method:
    return Method(extractor.name, "", "cosine", extractor, CosineMatcher())


def png(colour: int, size: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), (colour % 256, colour // 256, 7)).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@dataclass
class World:
    """A store and a way to index into it."""

    store: MemoryStore = field(default_factory=MemoryStore)
    mean: Mean = field(default_factory=Mean)
    rows: Rows = field(default_factory=Rows)
    settings: Settings = field(
        default_factory=lambda: Settings(
            threads=2, batch_size=4, fetch_retries=0, fetch_timeout=2, max_image_bytes=10**6
        )
    )
    decoded: list[str] = field(default_factory=list)

    def decode(self, data: bytes, *, max_bytes: int, max_pixels: int, page: int = 1, fit_in: int = 0) -> Decoded:
        self.decoded.append(hashlib.sha256(data).hexdigest())
        return decode(data, max_bytes=max_bytes, max_pixels=max_pixels)

    def add(
        self, *sources: Source, extractors: Sequence[Mean] | None = None, prune: bool = False, **more: Any
    ) -> AddReport:
        self.decoded.clear()
        self.mean.batches.clear()
        self.rows.batches.clear()
        adding = pipeline.Pipeline(
            self.store,
            [method(extractor) for extractor in extractors or (self.mean, self.rows)],
            more.pop("settings", self.settings),
            more.pop("decode", self.decode),
            FileMetadataReader(more.pop("read_metadata", read)),
            verify_content=more.pop("verify_content", False),
            include_removed=more.pop("include_removed", False),
            force_prune=more.pop("force_prune", False),
        )
        items = more.pop("items", None) or discover(sources)
        return adding.run(items, prune_sources=source_uris(sources) if prune else (), **more)

    def ids(self) -> list[str]:
        return [record.id for record in self.store.images(limit=10_000)]

    def colours(self) -> dict[str, int]:
        """The number each image was generated from, recovered from its features."""
        colours = {}
        for image_id in self.ids():
            features = self.store.features(image_id, "mean")
            assert isinstance(features, GlobalFeatures)
            red, green, _ = features.vectors[0]
            colours[image_id] = round(float(red)) + 256 * round(float(green))
        return colours


def outcome(report: AddReport) -> tuple[int, int, int, int, int]:
    return report.added, report.replaced, report.unchanged, len(report.failures), report.removed


@dataclass
class Web:
    port: int = 0
    answers: dict[str, bytes | int] = field(default_factory=dict)
    delays: dict[str, float] = field(default_factory=dict)
    requested: list[str] = field(default_factory=list)
    active: int = 0
    max_active: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)

    def list(self, path: Path, names: Sequence[str]) -> Path:
        rows = [f"http://127.0.0.1:{self.port}/{name},{n}" for n, name in enumerate(names)]
        return write(path, "\n".join(["url,id", *rows, ""]).encode())


@contextmanager
def serve() -> Iterator[Web]:
    web = Web()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = self.path[1:]
            with web.lock:
                web.requested.append(name)
                web.active += 1
                web.max_active = max(web.max_active, web.active)
            web.closing.wait(web.delays.get(name, 0))
            with web.lock:
                web.active -= 1
            answer = web.answers.get(name, 404)
            body = b"" if isinstance(answer, int) else answer
            self.send_response(answer if isinstance(answer, int) else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Listener(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, *_: object) -> None:
            pass

    http = Listener(("127.0.0.1", 0), Handler)
    web.port = http.server_port
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield web
    finally:
        web.closing.set()
        http.shutdown()
        thread.join()
        http.server_close()
