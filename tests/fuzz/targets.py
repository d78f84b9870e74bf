"""What is fuzzed: one function for each parser of bytes that strangers may write.

A function returns, or raises one of the errors that the parser promises; anything else is a finding.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import io
import json
import sqlite3
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import safetensors.numpy
from starlette.requests import Request

from imagefinder.calibration.evalue import TailCalibrator
from imagefinder.core.errors import ImagefinderError, ModelError, SettingsError, SourceError, StoreError
from imagefinder.core.features import FeatureSpec, GlobalFeatures, LocalFeatures
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import Entry, ImageRecord
from imagefinder.core.settings import Settings
from imagefinder.evaluation.datasets import read_manifest
from imagefinder.indexing.archives import check_archive, read_archive
from imagefinder.indexing.candidate import Candidate
from imagefinder.indexing.lists import check_list, read_list
from imagefinder.indexing.npy_layout import read_npy_layout
from imagefinder.models.bundle import import_bundle
from imagefinder.models.catalogue import MODELS, HubFile
from imagefinder.models.hub import ModelCache
from imagefinder.models.weights import read_legacy_pickle, read_safetensors
from imagefinder.search import background
from imagefinder.server.errors import Problem
from imagefinder.server.upload import read_image
from imagefinder.stores.embedded import EmbeddedStore, codec
from imagefinder.stores.memory import MemoryStore

LOCAL = FeatureSpec("local", 4, "uint8")


@dataclass(frozen=True, slots=True)
class Target:
    """A parser.

    Attributes:
        run: Parses; raises only on a finding.
        seeds: Sound examples to begin with.
    """

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]


TARGETS: dict[str, Target] = {}


def _target(name: str, seeds: Callable[[], list[bytes]]) -> Callable[[Callable[[bytes], None]], None]:
    def add(run: Callable[[bytes], None]) -> None:
        TARGETS[name] = Target(run, seeds)

    return add


@functools.cache
def _scratch() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="fuzz-")
    _scratch_folders.append(folder)  # removed when the process ends
    return Path(folder.name)


_scratch_folders: list[tempfile.TemporaryDirectory[str]] = []


@contextmanager
def _file(name: str, data: bytes) -> Iterator[Path]:
    path = _scratch() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


# -- weights -----------------------------------------------------------------------------------------------


def _state_dict() -> list[bytes]:
    def text(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    magic = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
    system = b"\x80\x02}(" + text("little_endian") + b"\x88u."
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + number(2) + b"NtQ"
    empty = b"ccollections\nOrderedDict\n)R"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(0) + b"(" + number(2) + b"t(" + number(1)
    tensor += b"t\x89" + empty + b"tR"
    state = b"\x80\x02" + empty + b"(" + text("w") + tensor + b"u."
    keys = b"\x80\x02](" + text("0") + b"e."
    return [magic + b"\x80\x02M\xe9\x03." + system + state + keys + struct.pack("<qff", 2, 1.0, 2.0)]


@_target("legacy-weights", _state_dict)
def _legacy_weights(data: bytes) -> None:
    with _file("weights.pth", data) as path:
        try:
            tensors = read_legacy_pickle(path)
        except ModelError:
            return
    assert sum(array.nbytes for array in tensors.values()) <= len(data)


@_target("safetensors", lambda: [safetensors.numpy.save({"a": np.arange(4, dtype=np.float32)})])
def _safetensors(data: bytes) -> None:
    with _file("weights.safetensors", data) as path:
        try:
            read_safetensors(path)
        except ModelError:
            return


_MODEL = replace(
    MODELS["resnet50"],
    name="tiny",
    source=HubFile("owner/tiny", "f" * 40, "model.safetensors"),
    sha256=hashlib.sha256(b"data").hexdigest(),
    size_bytes=4,
)


def _bundles() -> list[bytes]:
    found = []
    for members in (["manifest.json", "tiny/model.safetensors"], ["manifest.json"]):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as bundle:
            entry = {"name": "tiny", "sha256": _MODEL.sha256, "size": 4, "source": asdict(_MODEL.source)}
            manifest = {"kind": "imagefinder models", "format": 1, "models": [entry]}
            for member in members:
                bundle.writestr(member, json.dumps(manifest) if member == "manifest.json" else b"data")
        found.append(buffer.getvalue())
    return found


@_target("model-bundle", _bundles)
def _model_bundle(data: bytes) -> None:
    with _file("models.zip", data) as path:
        before = {p.name for p in _scratch().rglob("*")}
        try:
            import_bundle(ModelCache(_scratch() / "models"), path, catalogue={"tiny": _MODEL})
        except ModelError:
            assert {p.name for p in _scratch().rglob("*")} <= before | {"models"}, (
                "a refused bundle leaves nothing"
            )


# -- lists, archives, features of the original program ----------------------------------------------------


def _read_list(suffix: str, data: bytes) -> None:
    with _file(f"lists/list{suffix}", data) as path:
        try:
            check_list(str(path))
            for item in read_list(str(path)):
                if isinstance(item, Candidate):
                    assert item.id.strip()
                    item.id.encode()
        except SourceError:
            return


@_target(
    "csv", lambda: [b'url,id\nhttp://example.com/a.jpg,1\n"b ""c"".jpg",2\n', "\ufeffid,url,n\nä,x,1".encode()]
)
def _csv(data: bytes) -> None:
    _read_list(".csv", data)


@_target(
    "jsonl", lambda: [b'{"url": "http://example.com/a.jpg", "id": 1, "tags": [1e3, null, "\\ud83d\\ude00"]}\n']
)
def _jsonl(data: bytes) -> None:
    _read_list(".jsonl", data)


def _archives() -> list[bytes]:
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../a.jpg", b"picture" * 9)
        archive.writestr("b/ä.png", b"other")
    with tarfile.open(fileobj=tarred, mode="w:gz") as archive:
        member = tarfile.TarInfo("c.jpg")
        member.size = 7
        archive.addfile(member, io.BytesIO(b"picture"))
        link = tarfile.TarInfo("d.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return [zipped.getvalue(), tarred.getvalue()]


@_target("archive", _archives)
def _archive(data: bytes) -> None:
    with _file("archives/pictures.zip" if data[:2] == b"PK" else "archives/pictures.tar.gz", data) as path:
        try:
            check_archive(str(path))
            for item in read_archive(str(path)):
                if isinstance(item, Candidate):
                    assert not item.id.startswith("/")
                    assert ".." not in item.id.split("/")
                    try:
                        assert len(item.read(1000)) <= 1000
                    except ImagefinderError:
                        continue
        except SourceError:
            return


def _npy_files() -> list[bytes]:
    found = []
    for array in (np.zeros((2, 128), np.float32), np.zeros(2048, np.float32), np.array(None)):
        buffer = io.BytesIO()
        np.save(buffer, array)
        found.append(buffer.getvalue())
    return found


@_target("npy", _npy_files)
def _npy(data: bytes) -> None:
    folder = _scratch() / "layout"
    with (
        _file("layout/features/sift/a.npy", data),
        _file("layout/features/resnet_50/a.npy", data),
        _file("layout/features/microsoft_beit/b.npy", data),
    ):
        for item in read_npy_layout(folder):
            if isinstance(item, Entry):
                assert sum(features.nbytes for features in item.features.values()) <= 64 * len(data) + 64


@_target("npy-list", lambda: [b"url,id\nhttp://example.com/1.jpg,1\n"])
def _npy_list(data: bytes) -> None:
    with _file("listed/features/sift/1.npy", _npy_files()[0]), _file("listed/dataset.csv", data):
        try:
            list(read_npy_layout(_scratch() / "listed"))
        except SourceError:
            return


@_target(
    "manifest",
    lambda: [b'{"images": ["a.jpg"], "queries": [{"query": "q.jpg", "positives": ["a.jpg"], "ignore": []}]}'],
)
def _manifest(data: bytes) -> None:
    with _file("set/manifest.json", data):
        try:
            read_manifest(_scratch() / "set")
        except ImagefinderError:
            return


# -- the collection ----------------------------------------------------------------------------------------


def _features(rows: int) -> LocalFeatures:
    descriptors = np.arange(rows * 4, dtype=np.uint8).reshape(rows, 4)
    return LocalFeatures(descriptors, np.zeros((rows, 4), np.float32), np.array([0, rows], np.int64))


def _blobs() -> list[bytes]:
    blobs = codec.encode("a", "tiny", _features(3))
    return [struct.pack("<IB", blobs.checksum, len(blobs.data)) + blobs.data + (blobs.keypoints or b"")]


@_target("features", _blobs)
def _features_blob(data: bytes) -> None:
    if len(data) < 5:
        return
    checksum, split = struct.unpack_from("<IB", data)
    blobs = codec.Blobs(data[5 : 5 + split], data[5 + split :] or None, checksum)
    for spec in (LOCAL, FeatureSpec("global", 2, "float32")):
        try:
            codec.decode("tiny", spec, ["a"], [blobs])
        except StoreError:
            continue


@functools.cache
def _collection() -> bytes:
    with tempfile.TemporaryDirectory() as name:
        store = EmbeddedStore(Path(name), create=True, cache_bytes=1 << 20)
        store.register(Fingerprint("tiny", version=1), LOCAL)
        for image_id in ("a", "b"):
            record = ImageRecord(image_id, "", "0" * 64, 1, 2, 2, "PNG", metadata={"n": 1})
            store.put([Entry(record, {"tiny": _features(3)}, b"thumbnail")])
        store.close()
        with sqlite3.connect(Path(name, "collection.sqlite")) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
        return Path(name, "collection.sqlite").read_bytes()


def _patched(sound: bytes, data: bytes) -> bytes:
    """A sound file with changes: groups of two bytes place (in 32nds of a kilobyte), one length, new bytes."""
    changed, position = bytearray(sound), 0
    while position + 3 <= len(data):
        place, length = struct.unpack_from("<HB", data, position)
        piece = data[position + 3 : position + 3 + length]
        changed[place * 32 : place * 32 + len(piece)] = piece
        position += 3 + length
    return bytes(changed)


@_target(
    "collection", lambda: [b"", struct.pack("<HB8s", 0, 8, b"SQLite f"), struct.pack("<HB4s", 256, 4, b"\r\0\0\0")]
)
def _collection_file(data: bytes) -> None:
    """Whatever stands in the file: it is read as it was written, or refused."""
    with _file("collection/collection.sqlite", _patched(_collection(), data)) as path:
        try:
            store = EmbeddedStore(path.parent, create=False, cache_bytes=1 << 20)
        except StoreError:
            pass
        else:
            try:
                _use(store)
            except ImagefinderError:
                pass
            finally:
                store.close()
        for rest in path.parent.iterdir():
            if rest.is_file():
                rest.unlink()


def _use(store: EmbeddedStore) -> None:
    store.info()
    store.failures()
    for record in store.images(limit=100):
        store.thumbnail(record.id)
    for block in store.scan("tiny"):
        assert len(block.ids) == len(block.features)
        for image_id, row in zip(block.ids, range(len(block.ids)), strict=True):
            assert image_id in {"a", "b"}
            assert np.array_equal(block.features.image(row).descriptors, _features(3).descriptors)
    store.put([Entry(ImageRecord("c", "", "", 1, 1, 1, "PNG"), {})])
    store.delete(["a"])


def _learned() -> list[bytes]:
    """The forms that are written, with and without methods."""
    calibrator = TailCalibrator()
    tail = calibrator.fit(np.arange(5.0), total=9, floor=0.0, scale=1.0)
    made = {
        "local": background.MethodBackground("f", 0.5, 1.5, None, tail, tail),
        "global": background.MethodBackground("g", 0, 1, GlobalFeatures(np.ones((1, 2), np.float32)), tail, None),
    }
    store = MemoryStore()
    found = []
    for methods in ({}, made):
        background.write(store, background.Background(2, 2, methods, tail, tail))
        found.append(store.derived(background.NAME) or b"")
    return found


@_target("background", _learned)
def _background(data: bytes) -> None:
    store = MemoryStore()
    store.put_derived(background.NAME, data)
    known = background.read(store, TailCalibrator())
    if known is not None:
        background.fits(known, store)
        for method in known.methods.values():
            assert np.isfinite([method.mean, method.spread, *method.score.log10_p(np.array([0.0, 9.9]))]).all()


@_target("fingerprint", lambda: [Fingerprint("tiny", version=1, parameters={"a": 1}).to_json().encode()])
def _fingerprint(data: bytes) -> None:
    try:
        made = Fingerprint.from_json(data.decode("utf-8", "replace"))
    except (ImagefinderError, ValueError):
        return
    assert Fingerprint.from_json(made.to_json()) == made


@_target("settings", lambda: [b'threads = 2\nhost = "::1"\n', b"fetch_timeout = 1e3"])
def _settings(data: bytes) -> None:
    with _file("imagefinder.toml", data) as path:
        try:
            Settings.load(environment={}, file=path)
        except SettingsError:
            return


# -- requests ----------------------------------------------------------------------------------------------


def _request(body: bytes, headers: Mapping[str, str]) -> Request:
    chunks = [body[i : i + 64] for i in range(0, len(body), 64)] or [b""]

    async def receive() -> dict[str, object]:
        chunk = chunks.pop(0) if chunks else b""
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": raw}
    return Request(scope, receive)


@_target(
    "multipart",
    lambda: [
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\npicture\r\n--x--\r\n',
        b'--x\r\nContent-Disposition: form-data; name="k"\r\n\r\n3\r\n--x\r\nContent-Disposition: form-data;'
        b" name=\"image\"; filename*=UTF-8''%e2%82%ac\r\n\r\nab\r\n--x--",
    ],
)
def _multipart(data: bytes) -> None:
    held = 0

    def hold(size: int) -> None:
        nonlocal held
        held += size

    request = _request(data, {"content-type": "multipart/form-data; boundary=x"})
    try:
        picture = asyncio.run(read_image(request, max_bytes=1000, hold=hold))
    except Problem:
        assert held <= 1000
        return
    assert len(picture) <= min(held, 1000)
