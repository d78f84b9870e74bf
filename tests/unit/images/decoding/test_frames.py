import io

import numpy as np
import pytest
from PIL import Image
from tiff_files import tiff_pages

from imagefinder.images.decoding.frames import count

PICTURES = [
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 30, 3), np.uint8)) for seed in range(5)
]


def saved(kind, number, **options):
    buffer = io.BytesIO()
    PICTURES[0].save(buffer, kind, save_all=True, append_images=PICTURES[1:number], **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("number", [1, 2, 5])
def test_pages_and_frames(kind, number):
    assert count(io.BytesIO(saved(kind, number))) == ("pages" if kind == "TIFF" else "frames", number)


def test_previews_of_a_tiff_are_no_pages():
    page = np.zeros((8, 8), np.uint8)
    pages = [(page, {}), (page[:4], {"tags": {254: (4, [1])}}), (page, {}), (page, {"tags": {254: (4, [4])}})]
    for order, big in (("<", False), (">", True)):
        assert count(io.BytesIO(tiff_pages(pages, order, big))) == ("pages", 2)


@pytest.mark.parametrize("kind", ["JPEG", "BMP"])
def test_other_files_have_one(kind):
    buffer = io.BytesIO()
    PICTURES[0].save(buffer, kind)
    assert count(io.BytesIO(buffer.getvalue()))[1] == 1
    assert count(io.BytesIO(b""))[1] == 1


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_damaged_files_have_at_least_one(kind):
    data, random = saved(kind, 3), np.random.default_rng(2)
    for length in range(0, len(data), 7):
        assert count(io.BytesIO(data[:length]))[1] >= 1
    for _ in range(200):
        changed = bytearray(data)
        changed[random.integers(len(data))] = random.integers(256)
        assert 1 <= count(io.BytesIO(bytes(changed)))[1] <= 10_000
