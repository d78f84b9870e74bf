"""Reading of the images of a collection for duplicate detection."""

import io

import numpy as np
import pytest
from PIL import Image

import imagefinder
from imagefinder.core.settings import Settings
from imagefinder.dedup import identical
from imagefinder.dedup.identical import find_identical, items
from imagefinder.dedup.originals import Originals
from imagefinder.testing.extractors import textured_image


def encoded(seed, form="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(textured_image(seed, 40, 50))).save(buffer, form)
    return buffer.getvalue()


@pytest.fixture
def collection():
    with imagefinder.open(settings=Settings(store="memory")) as collection:
        yield collection


@pytest.mark.parametrize("portion", [1, 2, 64])
def test_thumbnails_are_read_in_portions(collection, monkeypatch, portion):
    monkeypatch.setattr(identical, "_EVERY", portion)
    for seed in range(5):
        collection.put(f"{seed}", encoded(seed % 4))
    collection.put("bmp", encoded(3, "BMP"))
    store, read, seen = collection.store, [], []
    thumbnails = store.thumbnails

    def counted(ids):
        read.append(list(ids))
        return thumbnails(ids)

    monkeypatch.setattr(store, "thumbnails", counted)
    originals = Originals(collection.runtime.decoder, collection.settings)
    found = find_identical(store, items(store), originals, 1, lambda *state: seen.append(state))
    # The images "0" and "4" have the same bytes; "3" and "bmp" have the same thumbnail, but no file to compare.
    assert [{item.id for item in group} for group in found.groups] == [{"0", "4"}]
    assert [set(pair) for pair in found.alike] == [{"3", "bmp"}]
    assert [len(ids) for ids in read] == [portion] * (5 // portion) + ([5 % portion] if 5 % portion else [])
    assert seen == [("read", min(5, done + portion), 5) for done in range(0, 5, portion)]
