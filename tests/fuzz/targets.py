"""The fuzz targets: one function for each parser of untrusted bytes.

A function returns, or raises one of the errors that the parser promises; anything else is a finding.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import io
import json
import math
import sqlite3
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import numpy as np
import safetensors.numpy
from PIL import Image
from starlette.requests import Request
from tiff_files import DEFLATE, LZW, tiff_pages

from imagefinder.ann.index import InvertedFileIndex
from imagefinder.calibration.evalue import TailCalibrator
from imagefinder.client import transport as client_transport
from imagefinder.client.client import Client
from imagefinder.client.errors import ClientError
from imagefinder.client.jobs import RemoteJob
from imagefinder.core import answers, filters
from imagefinder.core.answers import SearchAnswer, ServerInfo, ServerLimits
from imagefinder.core.errors import (
    ImageError,
    ImagefinderError,
    ModelError,
    SettingsError,
    SourceError,
    StoreError,
)
from imagefinder.core.features import FeatureSpec, GlobalFeatures, LocalFeatures
from imagefinder.core.file_metadata import PROPERTIES, FileMetadata, nested
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.job_records import UNREADABLE, from_content
from imagefinder.core.jobs import Job
from imagefinder.core.records import Entry, ImageRecord
from imagefinder.core.results import Comparison, DuplicateGroup, DuplicatePair, DuplicateReport
from imagefinder.core.scratch import SCRATCH, Scratch
from imagefinder.core.serialization import to_json
from imagefinder.core.settings import Settings
from imagefinder.dedup import report as duplicate_report
from imagefinder.evaluation.datasets import read_manifest
from imagefinder.images.decoding.decode import decode
from imagefinder.images.metadata import takeout, xmp
from imagefinder.images.metadata.read import read as read_metadata
from imagefinder.indexing.archives import check_archive, read_archive
from imagefinder.indexing.lists import check_list, read_list
from imagefinder.indexing.npy_layout import read_npy_layout
from imagefinder.indexing.source_item import SourceItem
from imagefinder.models.bundle import import_bundle
from imagefinder.models.catalogue import MODELS, HubFile
from imagefinder.models.hub import ModelCache
from imagefinder.models.weights import read_safetensors
from imagefinder.search import null_model
from imagefinder.server.admission import Admission
from imagefinder.server.errors import Problem, problem_of
from imagefinder.server.jobs import forms as job_forms
from imagefinder.server.jobs.legacy import read_file
from imagefinder.server.keys.folders import _parse as parse_keys
from imagefinder.server.upload import read_image
from imagefinder.server.v1 import compare, cursor, images, search
from imagefinder.stores import codec, validation
from imagefinder.stores.embedded import EmbeddedStore, sql_filter
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


def target(name: str, seeds: Callable[[], list[bytes]]) -> Callable[[Callable[[bytes], None]], None]:
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


# -- metadata of images --------------------------------------------------------------------------------------


def _checked(properties: Mapping[str, Any]) -> None:
    """Properties have the types and limits that they promise, and can be stored."""
    found = {name: value for name, value in properties.items() if value is not None}
    kinds = {"text": str, "time": str, "integer": int, "number": float, "texts": list}
    for name, value in found.items():
        assert isinstance(value, str if name == "burst" else kinds[PROPERTIES[name].kind]), (name, value)
    stored = FileMetadata(nested({name: value for name, value in found.items() if name != "burst"}), "1")
    assert validation.normalise_file_metadata("a", stored) == stored
    assert len(stored.text()) < 100_000


_XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
    b' xmlns:exif="http://ns.adobe.com/exif/1.0/" xmp:Rating="3" exif:GPSLatitude="1,2.5N"'
    b' exif:GPSLongitude="3,4,5W" exif:GPSAltitude="7/2" xmp:CreateDate="2024-07-01T12:30:05.12+02:00">'
    b"<dc:subject><rdf:Bag><rdf:li>a</rdf:li>"
    b"</rdf:Bag></dc:subject></rdf:Description></rdf:RDF></x:xmpmeta>"
)
_TAKEOUT = (
    b'{"title": "a.jpg", "description": "b", "photoTakenTime": {"timestamp": "1719829805"},'
    b' "geoData": {"latitude": 1.5, "longitude": -2.5, "altitude": 3.0}}'
)


def _with_exif() -> list[bytes]:
    exif = Image.Exif()
    exif[271], exif[272], exif[274], exif[18246], exif[40091] = "Make", "Model", 6, 4, b"T\0i\0"
    exif.get_ifd(0x8769).update({36867: "2024:07:01 12:30:05", 36881: "+02:00", 37521: "12", 42036: "Lens"})
    exif.get_ifd(0x8825).update({1: "S", 2: (1.0, 2.0, 3.5), 3: "E", 4: (4.0, 5.0, 6.5), 5: b"\1", 6: 7.5})
    found = []
    for kind in ("JPEG", "PNG", "WEBP"):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8)).save(buffer, kind, exif=exif)
        found.append(buffer.getvalue())
    iptc = b"\x1c\x02\x05\0\x01T\x1c\x02\x19\0\x01k\x1c\x02\x37\0\x0820240701"
    resource = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + len(iptc).to_bytes(4) + iptc
    jpeg = found[0]
    return [
        *found,
        jpeg[:2] + b"\xff\xed" + (len(resource) + 2).to_bytes(2) + resource + jpeg[2:],
        exif.tobytes()[6:],
    ]


@target("file-metadata", _with_exif)
def _file_metadata(data: bytes) -> None:
    _checked(read_metadata(data))


@target("xmp", lambda: [_XMP, b"<!DOCTYPE a><a/>", _XMP.decode().encode("utf-16")])
def _xmp(data: bytes) -> None:
    _checked(xmp.properties(data))


@target("takeout", lambda: [_TAKEOUT])
def _takeout(data: bytes) -> None:
    _checked(takeout.properties(data))


# -- weights -----------------------------------------------------------------------------------------------


@target("safetensors", lambda: [safetensors.numpy.save({"a": np.arange(4, dtype=np.float32)})])
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


@target("model-bundle", _bundles)
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
                if isinstance(item, SourceItem):
                    assert item.id.strip()
                    item.id.encode()
        except SourceError:
            return


@target(
    "csv", lambda: [b'url,id\nhttp://example.com/a.jpg,1\n"b ""c"".jpg",2\n', "\ufeffid,url,n\nä,x,1".encode()]
)
def _csv(data: bytes) -> None:
    _read_list(".csv", data)


@target(
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


def _tiffs() -> list[bytes]:
    values = np.arange(48, dtype=np.uint16).reshape(4, 4, 3) * 1300
    deep = (values, {"compression": LZW, "predictor": 2, "rows": 2})
    planes = (values, {"planar": 2, "tile": (16, 16)})
    real = (values.astype(np.float32) / 65535, {"compression": DEFLATE, "predictor": 3})
    grey = (values[:, :, 0], {"photometric": 0, "tags": {281: (3, [62400])}})
    packed = (values[:, :, 0] >> 4, {"bits": 12})
    return [tiff_pages([deep, real]), tiff_pages([planes, grey], ">"), tiff_pages([packed, deep], "<", big=True)]


@target("tiff", _tiffs)
def _tiff(data: bytes) -> None:
    for page in (1, 2):
        try:
            image = decode(data, max_bytes=1 << 20, max_pixels=1 << 20, page=page)
        except ImageError:
            continue
        assert image.rgb.shape == (image.height, image.width, 3)
        assert image.pages >= page


@target("archive", _archives)
def _archive(data: bytes) -> None:
    with _file("archives/pictures.zip" if data[:2] == b"PK" else "archives/pictures.tar.gz", data) as path:
        try:
            check_archive(str(path))
            for item in read_archive(str(path)):
                if isinstance(item, SourceItem):
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


@target("npy", _npy_files)
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


@target("npy-list", lambda: [b"url,id\nhttp://example.com/1.jpg,1\n"])
def _npy_list(data: bytes) -> None:
    with _file("listed/features/sift/1.npy", _npy_files()[0]), _file("listed/dataset.csv", data):
        try:
            list(read_npy_layout(_scratch() / "listed"))
        except SourceError:
            return


@target(
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


def features_of(rows: int) -> LocalFeatures:
    descriptors = np.arange(rows * 4, dtype=np.uint8).reshape(rows, 4)
    return LocalFeatures(descriptors, np.zeros((rows, 4), np.float32), np.array([0, rows], np.int64))


def _blobs() -> list[bytes]:
    blobs = codec.encode("a", "tiny", features_of(3))
    return [struct.pack("<IB", blobs.checksum, len(blobs.data)) + blobs.data + (blobs.keypoints or b"")]


@target("features", _blobs)
def _features_blob(data: bytes) -> None:
    if len(data) < 5:
        return
    checksum, split = struct.unpack_from("<IB", data)
    blobs = codec.EncodedFeatures(data[5 : 5 + split], data[5 + split :] or None, checksum)
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
            store.put([Entry(record, {"tiny": features_of(3)}, b"thumbnail")])
        store.close()
        with sqlite3.connect(Path(name, "collection.sqlite")) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
        return Path(name, "collection.sqlite").read_bytes()


def _patched(sound: bytes, data: bytes) -> bytes:
    """A valid file with changes: groups of two bytes place (in 32nds of a kilobyte), one length, new bytes."""
    changed, position = bytearray(sound), 0
    while position + 3 <= len(data):
        place, length = struct.unpack_from("<HB", data, position)
        piece = data[position + 3 : position + 3 + length]
        changed[place * 32 : place * 32 + len(piece)] = piece
        position += 3 + length
    return bytes(changed)


@target(
    "collection", lambda: [b"", struct.pack("<HB8s", 0, 8, b"SQLite f"), struct.pack("<HB4s", 256, 4, b"\r\0\0\0")]
)
def _collection_file(data: bytes) -> None:
    """Any file is either read as it was written or rejected."""
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
            assert np.array_equal(block.features.image(row).descriptors, features_of(3).descriptors)
    store.put([Entry(ImageRecord("c", "", "", 1, 1, 1, "PNG"), {})])
    store.delete(["a"])


def _learned() -> list[bytes]:
    """The forms that are written, with and without methods."""
    calibrator = TailCalibrator()
    tail = calibrator.fit(np.arange(5.0), total=9, floor=0.0, scale=1.0)
    made = {
        "local": null_model.MethodNullModel("f", 0.5, 1.5, None, tail),
        "global": null_model.MethodNullModel("g", 0, 1, GlobalFeatures(np.ones((1, 2), np.float32)), tail),
    }
    store = MemoryStore()
    found = []
    seeds = {"1": null_model.Seed(2, 1, 1, (0.1,), {"local": (3.0, 4.0)})}
    for methods in ({}, made):
        null_model.write(store, null_model.NullModel(2, methods, tail, seeds if methods else {}))
        stored = store.derived(null_model.NAME)
        found.append(stored.data if stored else b"")
    return found


@target("background", _learned)
def _background(data: bytes) -> None:
    store = MemoryStore()
    store.put_derived(null_model.NAME, data)
    known = null_model.read(store, TailCalibrator())
    if known is not None:
        known.fits(store.info())
        assert known.common_parts(9) > 0
        for method in known.methods.values():
            assert np.isfinite([method.mean, method.spread, *method.score.log10_p(np.array([0.0, 9.9]))]).all()


@target("fingerprint", lambda: [Fingerprint("tiny", version=1, parameters={"a": 1}).to_json().encode()])
def _fingerprint(data: bytes) -> None:
    try:
        made = Fingerprint.from_json(data.decode("utf-8", "replace"))
    except (ImagefinderError, ValueError):
        return
    assert Fingerprint.from_json(made.to_json()) == made


@target("settings", lambda: [b'threads = 2\nhost = "::1"\n', b"fetch_timeout = 1e3"])
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


@target(
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
        picture = asyncio.run(read_image(request, max_bytes=1000, reserve=hold))
    except Problem:
        assert held <= 1000
        return
    assert len(picture) <= min(held, 1000)


# -- requests of /v1 -----------------------------------------------------------------------------------------


async def _no_download(url: str) -> bytes:
    raise Problem("url_queries_off", f"not {url[:10]!a}")


_SERVICE: Any = SimpleNamespace(
    settings=Settings(max_image_bytes=1000, max_json_bytes=3000),
    download=_no_download,
    admission=Admission(running=1, requests=1, max_bytes=1 << 20),
)


def _told(error: Problem | ImagefinderError) -> None:
    """A problem can be sent."""
    problem = error if isinstance(error, Problem) else problem_of(error)
    json.dumps(problem.to_dict(), ensure_ascii=False, allow_nan=False).encode()


def _requests(data: bytes, kind: str) -> None:
    """The bytes as the body of each request of ``/v1`` that has a body."""

    async def searched(request: Request) -> None:
        options, queries, _ = await search._read(_SERVICE, request, lambda size: None)
        assert 1 <= options.k <= 1000
        assert 1 <= len(queries) <= 16
        for one in queries:
            assert all(len(box) == 4 for box in one.boxes)
        for given in await search._load(_SERVICE, queries, lambda size: None):
            if isinstance(given, Problem | ImagefinderError):
                _told(given)
            else:
                assert len(given.data) <= 1000
        if options.where is not None:
            filters.parse(options.where)

    async def put(request: Request) -> None:
        given, metadata = await images._read_put(_SERVICE, request, "", lambda size: None)
        assert len(given.data) <= 1000
        validation.normalise_image(ImageRecord("a", given.uri, "", 1, 1, 1, "PNG", metadata=metadata))

    async def compared(request: Request) -> None:
        sides, _ = await compare._read(_SERVICE, request, lambda size: None)
        assert len(sides) == 2

    requests: tuple[Callable[[Request], Awaitable[None]], ...] = (searched, put, compared)
    for send in requests:
        try:
            asyncio.run(send(_request(data, {"content-type": kind})))
        except (Problem, ImagefinderError) as error:
            _told(error)


@target(
    "v1-json",
    lambda: [
        b'{"base64": "data:image/png;base64,AAAA", "boxes": [[1, 2, 3.5, 4]], "k": 5, "filter": {"a": 1}}',
        b'{"queries": [{"id": "a"}, {"url": "http://x/y"}], "method": "sift", "verify": false, "k": 1}',
        b'{"base64": "AAAA", "metadata": {"a": {"b": [1, null, "\\u00e4"]}}}',
        b'{"a": {"id": "x", "collection": "default"}, "b": {"base64": "AAAA"}, "method": "sift"}',
    ],
)
def _v1_json(data: bytes) -> None:
    _requests(data, "application/json")


def _v1_forms() -> list[bytes]:
    def form(*parts: tuple[str, str]) -> bytes:
        told = (f"--x\r\nContent-Disposition: form-data; {head}\r\n\r\n{text}\r\n" for head, text in parts)
        return "".join([*told, "--x--\r\n"]).encode()

    picture = ('name="image"; filename="a.jpg"', "picture")
    return [
        form(picture, picture, ('name="k"', "7"), ('name="box"', "1,2,3,4"), ('name="verify"', "false")),
        form(picture, ('name="filter"', '{"a": {"gte": 3}}'), ('name="box"', "[[1,2,3,4]]")),
        form(picture, ('name="metadata"', '{"a": "b"}')),
        form(('name="a"; filename="a"', "x"), ('name="b"; filename="b"', "y"), ('name="method"', "sift")),
    ]


@target("v1-form", _v1_forms)
def _v1_form(data: bytes) -> None:
    _requests(data, "multipart/form-data; boundary=x")


@target(
    "job-request",
    lambda: [
        b'{"kind": "index", "csv": "url,id\\na,b\\n", "methods": ["sift"], "prune": true}',
        b'{"kind": "add", "urls": ["http://x/y"], "collection": "shop"}',
        b'{"kind": "duplicates"}',
    ],
)
def _job_request(data: bytes) -> None:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return
    try:
        asked = job_forms.REQUEST.validate_python(content)
    except ValueError:  # pydantic's
        return
    assert asked.kind in {"add", "duplicates", "build-index"}


@target(
    "filter",
    lambda: [
        b'[{"shop": "north", "price": {"gte": 5, "lt": 10}}, {"shop": "north", "price": [7.5, "x"]}]',
        b'[{"any": [{"a.b": {"in": [1, "x", null]}}, {"not": {"c": {"exists": true}}}]}, {"a": {"b": 1.0}}]',
        b'[{"all": [{"t": {"contains": "x"}}, {"n": {"gt": 9007199254740993}}]}, {"t": "aXb", "n": 1e300}]',
    ],
)
def _filter(data: bytes) -> None:
    """A row that the SQL condition rejects does not match the filter."""
    try:
        asked, metadata = json.loads(data)
        kept = validation.metadata_text(ImageRecord("a", "", "", 1, 1, 1, "", metadata=dict(metadata)))
        where = filters.parse(asked)
    except (ValueError, TypeError, RecursionError):
        return
    except ImagefinderError as error:
        str(error).encode()
        return
    matches = where.matches(json.loads(kept))
    condition = sql_filter.on_metadata(where)
    query = f"SELECT count(*) FROM images WHERE {condition.sql}"
    database = _images()
    database.execute("DELETE FROM images")
    database.execute("INSERT INTO images (metadata) VALUES (?)", (kept,))
    assert not matches or database.execute(query, condition.values).fetchone() == (1,)


@functools.cache
def _images() -> sqlite3.Connection:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE images (metadata TEXT, properties TEXT)")
    return database


@target("cursor", lambda: [b"", cursor.make("image 1").encode(), cursor.make("\u00e4" * 9).encode()])
def _cursor(data: bytes) -> None:
    try:
        place = cursor.read(data.decode("utf-8", "replace"))
    except Problem as error:
        _told(error)
        return
    assert cursor.read(cursor.make(place)) == place


# -- what the server keeps -------------------------------------------------------------------------------------


def _job_records() -> list[bytes]:
    job = {
        "id": "job-1",
        "kind": "index",
        "collection": "default",
        "created_at": "2026-01-01T00:00:00Z",
        "progress": {"stage": "learn"},
        "failures": [{"id": "a", "uri": "", "code": "x", "message": "y"}],
        "result": {},
    }
    record = {"format": 1, "spec": {"urls": ["http://x/y"]}, "tries": 0, "cancel": False}
    return [json.dumps({**record, "job": {**job, "state": state}}).encode() for state in ("queued", "succeeded")]


@target("job-record", _job_records)
def _job_record(data: bytes) -> None:
    with _file("job-1.json", data) as path:
        try:
            record = read_file(path)
        except UNREADABLE:
            return
    assert record.job.id == "job-1"
    assert 0 <= record.tries < 1 << 63
    content = {"job": to_json(record.job), "spec": record.spec, "tries": record.tries, "cancel": record.cancel}
    assert from_content("job-1", json.loads(json.dumps(content))) == record


@target(
    "keys",
    lambda: [
        json.dumps(
            {
                "format": 1,
                "keys": [{"name": "shop", "access": "read", "sha256": "0" * 64, "created_at": 1.5}],
            }
        ).encode()
    ],
)
def _keys(data: bytes) -> None:
    """The file of version 0.1.0: what is imported from it is a valid key."""
    try:
        keys = parse_keys(data, set())
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return
    for key in keys:
        assert key.access in {"read", "write"}
        key.name.encode()
        assert len(bytes.fromhex(key.sha256)) == 32
        assert math.isfinite(key.created_at)


def _reports() -> list[bytes]:
    pair = DuplicatePair("a", "\u00e4", "identical", agreement=0.5, evidence=None)
    group = DuplicateGroup("identical", ("a", "\u00e4"), (pair,))
    report = DuplicateReport((group,), 2, 1, 1, ("sift",), {"total": 0.1})
    kept = duplicate_report.to_bytes(report, state={"images": 2}, computed_at="2026-01-01T00:00:00Z")
    assert duplicate_report.from_bytes(kept) is not None, "what was written can be read"
    return [
        kept,
        json.dumps({key: value for key, value in json.loads(kept).items() if key != "checksum"}).encode(),
    ]


@target("duplicates", _reports)
def _duplicates(data: bytes) -> None:
    signed = data
    try:
        content = json.loads(data)
        if "checksum" not in content:  # as if it were ours
            signed = json.dumps({**content, "checksum": duplicate_report._checksum(content)}).encode()
    except (ValueError, TypeError, RecursionError):
        pass
    kept = duplicate_report.from_bytes(signed)
    if kept is not None:
        assert all(isinstance(image_id, str) for group in kept.report.groups for image_id in group.ids)
        dict(kept.state)


# -- the index of fast searches --------------------------------------------------------------------------------

_INDEXED = 12


def _index_scratch() -> Scratch:
    return Scratch(_scratch() / "indexed" / SCRATCH)


@functools.cache
def _index() -> tuple[EmbeddedStore, dict[str, bytes]]:
    """A store with an index, and the files of that."""
    folder = _scratch() / "indexed"
    store = EmbeddedStore(folder, create=True, cache_bytes=1 << 20)
    store.register(Fingerprint("tiny", version=1), LOCAL)
    rng = np.random.default_rng(1)
    for number in range(_INDEXED):
        descriptors = rng.integers(0, 255, (8, 4), dtype=np.uint8)
        features = LocalFeatures(descriptors, np.zeros((8, 4), np.float32), np.array([0, 8], np.int64))
        store.put([Entry(ImageRecord(f"{number}", "", "", 1, 1, 1, "PNG"), {"tiny": features})])
        if number == _INDEXED // 2:
            InvertedFileIndex(store, "tiny", LOCAL, _index_scratch()).refresh(rebuild=True)
    InvertedFileIndex(store, "tiny", LOCAL, _index_scratch()).refresh()
    files = (folder / "index" / "shortlist-tiny").iterdir()
    return store, {path.name: path.read_bytes() for path in sorted(files, key=lambda path: path.stat().st_size)}


@target(
    "shortlist",
    lambda: [
        b"",
        *(bytes([file, 0]) + struct.pack("<HB4s", 0, 4, b"\r\0\0\0") for file in range(4)),
        *(bytes([file, 1]) + struct.pack("<HB4s", 4, 4, b"\1\0\0\0") for file in range(4)),
    ],
)
def _shortlist_files(data: bytes) -> None:
    """A damaged file is not used: all images are proposed as ever. A malicious one does not crash."""
    store, files = _index()
    folder = _scratch() / "indexed" / "index" / "shortlist-tiny"
    file, evil = (data[0] % len(files), data[1] % 2 == 1) if len(data) >= 2 else (0, False)
    name = list(files)[file]
    damaged = _patched(files[name], data[2:])
    if evil:
        damaged = _signed(damaged)
    for known, sound in files.items():
        (folder / known).write_bytes(damaged if known == name else sound)
    for path in folder.iterdir():
        if path.name not in files:
            path.unlink()
    changes = store.changes("tiny", None)
    assert changes
    _, block = store.load("tiny", changes.new[:1])
    shortlist = InvertedFileIndex(store, "tiny", LOCAL, _index_scratch())
    proposed = shortlist.propose(block.features, 100)[0].keys.tolist()
    assert len(proposed) == len(set(proposed))
    assert set(proposed) <= set(changes.new.tolist())
    if not evil:
        assert set(proposed) == set(changes.new.tolist())
    shortlist.verify()
    shortlist.refresh()
    proposed = shortlist.propose(block.features, 100)[0].keys.tolist()
    if not evil:
        assert set(proposed) == set(changes.new.tolist())
        assert shortlist.verify() == []


def _signed(data: bytes) -> bytes:
    """A file of arrays with the right checksums, whatever it holds."""
    magic, _, rest = data.partition(b"\n")
    _, _, rest = rest.partition(b"\n")
    header, _, _ = rest.partition(b"\n")
    try:
        document = json.loads(header)
        begin = -(-(len(magic) + len(header) + 11) // 64) * 64
        for item in document["arrays"]:
            size = int(np.prod(item["shape"])) * np.dtype(item["dtype"]).itemsize
            item["crc"] = zlib.crc32(data[begin + item["at"] : begin + item["at"] + size])
        document["bytes"] = max(0, len(data) - begin)
        new = json.dumps(document).encode() + b"\n"
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, SyntaxError):
        new = header + b"\n"
    lead = magic + b"\n%08x\n" % zlib.crc32(new) + new
    return lead + b"\n" * (-len(lead) % 64) + data[-(-(len(magic) + len(header) + 11) // 64) * 64 :]


# -- what the client is told -----------------------------------------------------------------------------------


class _Answering:
    """A transport whose server answers with these bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @contextmanager
    def stream(self, path: str, *, timeout: float) -> Iterator[Iterator[str]]:
        del path, timeout
        yield httpx2.Response(200, content=self._data).iter_lines()


def _events() -> list[bytes]:
    progress = {"stage": "", "done": 0, "total": None, "added": 0, "skipped": 0, "failed": 0}
    job = {"id": "1", "kind": "index", "collection": "default", "state": "running", "progress": progress}
    told = json.dumps({**job, "created_at": "", "started_at": None, "finished_at": None})
    return [f": hello\n\nevent: progress\ndata: {told}\n\nevent: end\ndata: {{}}\n\n".encode()]


@target("client-events", _events)
def _client_events(data: bytes) -> None:
    client = object.__new__(Client)
    client._transport = _Answering(data)  # type: ignore[assignment]
    try:
        for job in client.events("1"):
            assert isinstance(job, RemoteJob)
            assert isinstance(job.id, str)
    except ClientError as error:
        str(error).encode()


_ANSWERS = (ServerInfo, ServerLimits, answers.Image, SearchAnswer, Comparison, Job)


@target(
    "client-answer",
    lambda: [
        b'{"hits": [{"rank": 1, "id": "a", "score": 1, "evalue": null, "evidence": null, "methods": {}}], "k": 1}',
        b'{"code": "busy", "detail": "x", "retryable": true, "limit": 3}',
    ],
)
def _client_answer(data: bytes) -> None:
    request = httpx2.Request("GET", "http://server/v1")
    for kind in _ANSWERS:
        try:
            client_transport.parse(kind, httpx2.Response(200, content=data, request=request))
        except ClientError as error:
            str(error).encode("utf-8", "surrogatepass")
    later = "".join(letter for letter in data[:8].decode("ascii", "ignore") if letter.isprintable())
    head = {"content-type": "application/problem+json", "retry-after": later.strip()}
    try:
        client_transport.check(httpx2.Response(429, content=data, headers=head, request=request))
    except ClientError as error:
        str(error).encode("utf-8", "surrogatepass")
