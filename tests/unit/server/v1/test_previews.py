"""Previews over HTTP: content, caches, and what happens without a source."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from imagefinder.core.errors import DamagedImageError
from imagefinder.core.records import Entry, ImageRecord
from imagefinder.core.settings import Settings
from imagefinder.server.app import create_app
from imagefinder.testing.extractors import textured_image
from imagefinder.wiring import open_collection

BASE = "/v1/collections/default"


def large(seed: int = 1) -> Image.Image:
    return Image.fromarray(textured_image(seed)).resize((2000, 1500))


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    large(1).save(folder / "a b.tif")
    exif = Image.Exif()
    exif[274] = 6
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    large(2).save(folder / "turned.jpg", exif=exif, quality=20)
    return folder


def size_of(response: Any) -> tuple[int, int]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/jpeg"
    assert response.headers["x-content-type-options"] == "nosniff"
    with Image.open(io.BytesIO(response.content)) as image:
        assert not image.getexif()
        assert "icc_profile" not in image.info
        return image.size


def files_in_cache(settings: Settings) -> list[Path]:
    return [path for path in (settings.scratch / "previews").rglob("*") if path.is_file()]


def test_sizes(client: TestClient) -> None:
    for address in (f"{BASE}/previews/a b.tif", f"{BASE}/preview?id=a%20b.tif"):
        assert size_of(client.get(address)) == (1600, 1200)
    for size, expected in [(1, (400, 300)), (801, (1600, 1200)), (3200, (2000, 1500)), (25600, (2000, 1500))]:
        assert size_of(client.get(f"{BASE}/previews/a b.tif", params={"size": size})) == expected
    assert size_of(client.get(f"{BASE}/previews/turned.jpg")) == (1200, 1600)
    assert client.get(f"{BASE}/image", params={"id": "a b.tif"}).json()["preview"] == f"{BASE}/previews/a%20b.tif"


@pytest.mark.parametrize("size", ["0", "-1", "25601", "x", ""])
def test_invalid_sizes(client: TestClient, size: str) -> None:
    response = client.get(f"{BASE}/previews/a b.tif", params={"size": size})
    assert (response.status_code, response.json()["field"]) == (422, "size")


def test_unknown_images(client: TestClient) -> None:
    assert client.get(f"{BASE}/previews/none").json()["code"] == "unknown_image"
    assert client.get("/v1/collections/none/previews/a").json()["code"] == "unknown_collection"


def test_entity_tags(client: TestClient, image_folder: Path) -> None:
    first = client.get(f"{BASE}/previews/a b.tif")
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "private, no-cache"
    assert client.get(f"{BASE}/previews/a b.tif", headers={"If-None-Match": tag}).status_code == 304
    assert client.get(f"{BASE}/previews/a b.tif?size=400", headers={"If-None-Match": tag}).status_code == 200
    os.utime(image_folder / "a b.tif", (1, 1))
    again = client.get(f"{BASE}/previews/a b.tif", headers={"If-None-Match": tag})
    assert again.status_code == 304, "read again, and found unchanged"
    large(3).save(image_folder / "a b.tif")
    assert client.get(f"{BASE}/previews/a b.tif", headers={"If-None-Match": tag}).status_code == 200


def test_rendered_once(client: TestClient, collection: Any, settings: Settings, monkeypatch: Any) -> None:
    first = client.get(f"{BASE}/previews/a b.tif")
    assert len(files_in_cache(settings)) == 1
    monkeypatch.setattr(collection.previews, "render", None)
    again = client.get(f"{BASE}/previews/a b.tif")
    assert (again.content, again.headers["x-preview-source"]) == (first.content, "file")


def test_a_cached_preview_of_a_changed_file_is_not_used(client: TestClient, image_folder: Path) -> None:
    first = client.get(f"{BASE}/previews/a b.tif").content
    data = (image_folder / "a b.tif").read_bytes()
    (image_folder / "a b.tif").unlink()
    gone = client.get(f"{BASE}/previews/a b.tif")
    assert (gone.headers["x-preview-source"], gone.headers["x-preview-reason"]) == ("thumbnail", "content_gone")
    assert max(size_of(gone)) == 256
    tag = {"If-None-Match": gone.headers["etag"]}
    assert client.get(f"{BASE}/previews/a b.tif", headers=tag).status_code == 304
    (image_folder / "a b.tif").write_bytes(data)
    assert client.get(f"{BASE}/previews/a b.tif").content == first


def test_a_damaged_cache_costs_nothing(client: TestClient, settings: Settings) -> None:
    first = client.get(f"{BASE}/previews/a b.tif").content
    (file,) = files_in_cache(settings)
    file.write_bytes(b"half a fi")
    assert client.get(f"{BASE}/previews/a b.tif").content == first
    file.unlink()
    file.mkdir()
    assert client.get(f"{BASE}/previews/a b.tif").content == first


def test_a_cache_that_cannot_be_written(client: TestClient, settings: Settings) -> None:
    settings.scratch.write_text("a file")
    assert size_of(client.get(f"{BASE}/previews/a b.tif")) == (1600, 1200)


def test_the_cache_is_bounded(collection: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(
        collection, "settings", Settings(scratch=tmp_path / "small", preview_cache_bytes=3_000_000, store="memory")
    )
    with TestClient(create_app(collection)) as client:
        for number in range(30):
            buffer = io.BytesIO()
            Image.fromarray(np.random.default_rng(number).integers(0, 256, (200, 300, 3), np.uint8)).save(
                buffer, "PNG"
            )
            headers = {"Content-Type": "image/png"}
            assert client.put(f"{BASE}/images/{number}", content=buffer.getvalue(), headers=headers).is_success
            assert size_of(client.get(f"{BASE}/previews/{number}")) == (300, 200)
    sizes = [path.stat().st_size for path in (tmp_path / "small" / "previews").rglob("*") if path.is_file()]
    assert len(sizes) > 10
    assert sum(sizes) < 3_300_000


def test_uploads(client: TestClient) -> None:
    buffer = io.BytesIO()
    large().save(buffer, "JPEG", quality=30)
    put = client.put(f"{BASE}/images/up", content=buffer.getvalue(), headers={"Content-Type": "image/jpeg"})
    assert put.is_success, put.text
    for size, expected in [(400, (400, 300)), (1600, (1600, 1200)), (3200, (1600, 1200))]:
        response = client.get(f"{BASE}/previews/up", params={"size": size})
        assert (size_of(response), response.headers["x-preview-source"]) == (expected, "preview")
    assert client.get("/v1/info").json()["keep_originals"] is False


def test_a_source_that_cannot_be_decoded(client: TestClient, collection: Any, monkeypatch: Any) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise DamagedImageError("a decoder of another version")

    with monkeypatch.context() as patch:
        patch.setattr(collection.runtime.decoder, "render", refuse)
        response = client.get(f"{BASE}/previews/a b.tif")
    assert (response.headers["x-preview-source"], response.headers["x-preview-reason"]) == (
        "thumbnail",
        "damaged_image",
    )
    assert client.get(f"{BASE}/previews/a b.tif").headers["x-preview-source"] == "file"


def test_neither_source_nor_thumbnail(client: TestClient, collection: Any, image_folder: Path) -> None:
    (image_folder / "a b.tif").unlink()
    collection.store._images["a b.tif"].thumbnail = b""
    assert client.get(f"{BASE}/previews/a b.tif").json()["code"] == "no_thumbnail"


def test_head(client: TestClient) -> None:
    got, head = client.get(f"{BASE}/previews/a b.tif"), client.head(f"{BASE}/previews/a b.tif")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", got.headers["etag"])


def test_kept_originals_can_be_downloaded(tmp_path: Path) -> None:
    settings = Settings(
        store="memory",
        scratch=tmp_path / "s",
        collections=tmp_path / "c",
        keep_originals=True,
        models=tmp_path / "m",
    )
    buffer = io.BytesIO()
    large().save(buffer, "TIFF")
    with TestClient(create_app(open_collection(settings, create=True))) as client:
        assert client.get("/v1/info").json()["keep_originals"] is True
        put = client.put(f"{BASE}/images/a", content=buffer.getvalue(), headers={"Content-Type": "image/tiff"})
        assert put.is_success, put.text
        assert client.get(f"{BASE}/contents/a").content == buffer.getvalue()
        response = client.get(f"{BASE}/previews/a?size=6400")
        assert (size_of(response), response.headers["x-preview-source"]) == ((2000, 1500), "original")
        client.delete(f"{BASE}/images/a")
        assert client.get(f"{BASE}/previews/a").json()["code"] == "unknown_image"


@pytest.mark.parametrize(("url_queries", "reason"), [(True, "fetch_failed"), (False, "url_queries_off")])
def test_web_addresses_that_are_not_downloaded(tmp_path: Path, url_queries: bool, reason: str) -> None:
    settings = Settings(
        store="memory",
        scratch=tmp_path / "s",
        collections=tmp_path / "c",
        models=tmp_path / "m",
        fetch_private=True,
        url_queries=url_queries,
    )
    collection = open_collection(settings, create=True)
    record = ImageRecord("a", "http://127.0.0.1:9/a.png", "0" * 64, 1, 2000, 1500, "PNG")
    buffer = io.BytesIO()
    large().resize((256, 192)).save(buffer, "JPEG")
    collection.store.put([Entry(record, {}, buffer.getvalue())])
    with TestClient(create_app(collection)) as client:
        response = client.get(f"{BASE}/previews/a")
    assert (response.headers["x-preview-source"], size_of(response)) == ("thumbnail", (256, 192))
    assert response.headers["x-preview-reason"].startswith(reason)


def test_the_previews_of_a_deleted_image_are_deleted(client: TestClient, settings: Settings) -> None:
    for size in (400, 1600):
        client.get(f"{BASE}/previews/a b.tif", params={"size": size})
        client.get(f"{BASE}/previews/turned.jpg", params={"size": size})
    assert len(files_in_cache(settings)) == 4
    assert client.delete(f"{BASE}/images/a b.tif").status_code == 204
    assert len(files_in_cache(settings)) == 2
    assert client.get(f"{BASE}/previews/turned.jpg").headers["x-preview-source"] == "file"
