"""Previews of stored images: files, pages, archive members, uploads and web addresses, and what is gone."""

import io
import zipfile
from contextlib import closing
from threading import Event

import numpy as np
import pytest
from colour_profiles import encoded, rgb_profile, srgb_of_rgb
from PIL import Image
from runtimes import runtime
from tiff_files import tiff_pages

from imagefinder.collection import Collection
from imagefinder.core.errors import FetchError, UnknownImageError
from imagefinder.core.previews import SIZES, size_step
from imagefinder.core.settings import Settings
from imagefinder.stores.embedded.store import EmbeddedStore
from imagefinder.stores.memory import MemoryStore
from imagefinder.stores.transfer import Transfer
from imagefinder.testing.extractors import textured_image
from imagefinder.wiring import load_method


@pytest.fixture
def make(tmp_path):
    opened = []

    def make(store=None, **settings):
        chosen = Settings(sift_max_keypoints=40, **settings)
        shared = runtime(chosen, {"sift": lambda: load_method("sift", chosen)})
        opened.append(Collection(store or MemoryStore(), shared, chosen))
        return opened[-1]

    yield make
    for collection in opened:
        collection.close()


def large(seed=1, height=1500, width=2000):
    return np.asarray(Image.fromarray(textured_image(seed)).resize((width, height)))


def shown(preview):
    with Image.open(io.BytesIO(preview.data)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def close_to(preview, pixels):
    height, width = shown(preview).shape[:2]
    expected = np.asarray(Image.fromarray(pixels).resize((width, height))).astype(int)
    return np.abs(shown(preview) - expected).mean() < 4


def test_steps():
    assert [size_step(size) for size in (1, 400, 401, 1600, 25600, 10**9)] == [400, 400, 800, 1600, 25600, 25600]
    assert list(SIZES) == sorted(SIZES)


def test_a_file_in_several_sizes(make, tmp_path):
    pixels = large()
    (tmp_path / "a.tif").write_bytes(encoded(pixels, "TIFF"))
    collection = make()
    collection.add(tmp_path / "a.tif")
    for size, width in [(100, 400), (1600, 1600), (3200, 2000), (25600, 2000)]:
        preview = collection.preview("a.tif", size)
        assert (preview.source, shown(preview).shape[1]) == ("file", width)
        assert close_to(preview, pixels)
    assert collection.previews.plan("a.tif", 3200).tag == collection.previews.plan("a.tif", 25600).tag
    assert collection.previews.plan("a.tif", 1600).tag != collection.previews.plan("a.tif", 3200).tag
    with pytest.raises(UnknownImageError):
        collection.preview("b.tif")


@pytest.mark.parametrize(
    "change", ["deleted", "other picture", "other picture of the same size", "folder", "pipe"]
)
def test_a_file_that_is_gone_or_changed_gives_the_thumbnail(make, tmp_path, change):
    file = tmp_path / "a.bmp"
    file.write_bytes(encoded(large(1), "BMP"))
    collection = make()
    collection.add(file)
    thumbnail = collection.thumbnail("a.bmp")
    file.unlink()
    if change == "other picture":
        file.write_bytes(encoded(large(2), "PNG"))
    elif change == "other picture of the same size":
        file.write_bytes(encoded(large(2), "BMP"))
    elif change == "folder":
        file.mkdir()
    elif change == "pipe":
        import os

        os.mkfifo(file)
    preview = collection.preview("a.bmp")
    assert (preview.source, preview.reason, preview.data) == ("thumbnail", "content_gone", thumbnail)


def test_a_touched_file_is_read_again(make, tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(encoded(large(), "PNG"))
    collection = make()
    collection.add(file)
    assert collection.previews.plan("a.png", 1600).is_current
    file.touch()
    assert not collection.previews.plan("a.png", 1600).is_current
    assert collection.preview("a.png").source == "file"


def test_pages_and_frames(make, tmp_path):
    pages = [large(seed) for seed in (1, 2, 3)]
    (tmp_path / "scan.tif").write_bytes(tiff_pages([(page, {}) for page in pages]))
    frames = [Image.fromarray(page) for page in pages]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    collection = make(animation_frames=3)
    collection.add(tmp_path)
    for number, page in enumerate(pages, 1):
        suffix = f"#page={number}" if number > 1 else ""
        preview = collection.preview(f"scan.tif{suffix}")
        assert (preview.source, close_to(preview, page)) == ("file", True)
        assert collection.preview(f"moving.gif{suffix}").source == "file"
    tags = {collection.previews.plan(f"scan.tif{suffix}", 1600).tag for suffix in ("", "#page=2", "#page=3")}
    assert len(tags) == 3


def test_members_of_zip_archives(make, tmp_path):
    path = tmp_path / "pictures of 2026.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("sub/ä b.png", encoded(large(1), "PNG"))
        archive.writestr("scan.tif", tiff_pages([(large(2), {}), (large(3), {})]))
    collection = make()
    collection.add(path)
    for image_id, seed in [("sub/ä b.png", 1), ("scan.tif", 2)]:
        preview = collection.preview(image_id)
        assert (preview.source, close_to(preview, large(seed))) == ("file", True), image_id
        assert collection.previews.plan(image_id, 1600).is_current
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("sub/ä b.png", encoded(large(4), "PNG"))
    for image_id in ("sub/ä b.png", "scan.tif"):
        assert collection.preview(image_id).reason == "content_gone"
    path.write_bytes(b"not an archive")
    assert collection.preview("scan.tif").source == "thumbnail"


def test_uploads_keep_a_preview(make):
    collection = make()
    data = encoded(large(height=3000, width=4000), "TIFF", rgb_profile("ProPhoto"))
    collection.put("a", data)
    preview = collection.preview("a", 6400)
    assert (preview.source, shown(preview).shape) == ("preview", (1200, 1600, 3))
    expected = srgb_of_rgb("ProPhoto", large(height=1200, width=1600))
    assert np.abs(shown(preview) - expected).mean() < 8
    small = collection.preview("a", 400)
    assert (small.source, shown(small).shape) == ("preview", (300, 400, 3))
    assert collection.store.kept_sizes(["a"])["a"].keys() == {"preview"}


def test_uploads_keep_their_original_if_it_is_set(make):
    collection = make(keep_originals=True)
    data = encoded(large(height=3000, width=4000), "PNG")
    collection.put("a", data)
    assert collection.store.kept(["a"], "original") == {"a": data}
    with collection.original("a") as file:
        assert file.read() == data
    preview = collection.preview("a", 6400)
    assert (preview.source, shown(preview).shape) == ("original", (3000, 4000, 3))


def test_files_keep_nothing(make, tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(large(), "PNG"))
    collection = make(keep_originals=True)
    collection.add(tmp_path / "a.png")
    collection.put("b", (tmp_path / "a.png").read_bytes(), uri=(tmp_path / "a.png").as_uri())
    assert collection.store.kept_sizes(["a.png", "b"]) == {}
    assert collection.preview("b").source == "file"


class Fetcher:
    def __init__(self, content):
        self.content = content
        self.fetched = []

    def fetch(self, url):
        self.fetched.append(url)
        if isinstance(self.content, bytes):
            return self.content
        raise self.content

    def close(self):
        pass


def test_web_addresses(make, monkeypatch):
    collection, pixels = make(), large(height=3000, width=4000)
    data = encoded(pixels, "PNG")
    collection.put("a", data, uri="https://example.org/a.png")
    fetcher = Fetcher(data)
    monkeypatch.setattr(type(collection.runtime), "fetcher", fetcher)
    assert (collection.preview("a").source, fetcher.fetched) == ("preview", [])
    preview = collection.preview("a", 3200)
    assert (preview.source, shown(preview).shape[1]) == ("address", 3200)
    assert fetcher.fetched == ["https://example.org/a.png"]
    for fetcher.content in (encoded(large(2), "PNG"), FetchError("gone")):
        assert (collection.preview("a", 3200).source, shown(collection.preview("a", 3200)).shape[1]) == (
            "preview",
            1600,
        )


def test_hostile_files_give_the_thumbnail(make, tmp_path):
    """A file that was decoded once, with other limits, and is refused now."""
    file = tmp_path / "a.png"
    file.write_bytes(encoded(large(), "PNG"))
    store = MemoryStore()
    make(store).add(file)
    preview = make(store, max_image_pixels=1000, max_local_pixels=1000).preview("a.png")
    assert (preview.source, preview.reason) == ("thumbnail", "image_too_large")


def test_copies_of_a_collection_have_what_is_kept(make, tmp_path):
    collection = make(keep_originals=True)
    for seed in (1, 2):
        collection.put(f"{seed}", encoded(large(seed), "PNG"))
    with closing(EmbeddedStore(tmp_path / "copy", create=True, cache_bytes=0)) as target:
        extractor = collection.runtime.thumbnail_method.extractor
        made_by = extractor.fingerprint(), extractor.spec
        assert Transfer(collection.store, target, made_by, lambda *_: None, Event()).images()
        for kind in ("preview", "original"):
            assert target.kept(["1", "2"], kind) == collection.store.kept(["1", "2"], kind)
        assert target.kept_sizes(["1"])["1"].keys() == {"preview", "original"}
