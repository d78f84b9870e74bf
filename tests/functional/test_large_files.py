"""Local files may be larger than uploads; limits are scaled down here."""

import numpy as np
import pytest
from PIL import Image

import imagefinder
from imagefinder.core.errors import ImageTooLargeError
from imagefinder.core.query import Query
from imagefinder.core.settings import Settings
from imagefinder.testing.extractors import textured_image

LARGE = textured_image(11, 600, 800)


def opened(folder, **changes):
    limits = {"max_image_bytes": 200_000, "max_image_pixels": 130_000, "max_local_bytes": 10**7}
    return imagefinder.open(settings=Settings(collection=folder / "c", isolate=False, **(limits | changes)))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "src").mkdir()
    Image.fromarray(LARGE).save(tmp_path / "src" / "large.tif")
    for number in range(8):
        Image.fromarray(textured_image(50 + number, 240, 320)).save(tmp_path / "src" / f"o{number}.png")
    return tmp_path


def test_a_large_file_is_found_and_keeps_its_size(folder):
    with opened(folder) as collection:
        assert collection.add(folder / "src", methods=["sift"]).failed == 0
        record = collection.get("large.tif")
        assert (record.width, record.height, record.size_bytes > 10**6) == (800, 600, True)
        keypoints = collection.store.features("large.tif", "sift").keypoints
        assert 700 < keypoints[:, 0].max() < 800
        assert 500 < keypoints[:, 1].max() < 600

        part = folder / "part.png"
        Image.fromarray(np.ascontiguousarray(LARGE[100:400, 300:700])).save(part)
        hit = collection.search(part, method="sift", k=1).hits[0]
        assert (hit.id, hit.relation) == ("large.tif", "part of")
        np.testing.assert_allclose(hit.evidence.candidate_outline[0], (300, 100), atol=6)
        whole = folder / "src" / "large.tif"
        assert collection.search(whole, method="sift", k=1).hits[0].id == "large.tif"
        region = Query(whole, boxes=[(300, 100, 400, 300)])
        assert collection.search(region, method="sift", k=1).hits[0].id == "large.tif"
        assert collection.explain(whole, "large.tif", method="sift").evidence.inliers > 20


def test_limits_are_named_with_file_size_and_setting(folder):
    with opened(folder, max_local_bytes=500_000, max_local_pixels=200_000) as collection:
        failure = collection.add(folder / "src", methods=["sift"]).failures[0]
        size = (folder / "src" / "large.tif").stat().st_size
        for part in ("large.tif", f"{size:,} bytes", "500,000", "max_local_bytes"):
            assert part in failure.message
        with pytest.raises(ImageTooLargeError, match="max_local_bytes") as caught:
            collection.search(folder / "src" / "large.tif")
        assert f"{size:,}" in caught.value.message
        assert "IMAGEFINDER_MAX_LOCAL_BYTES" in caught.value.hint
    with opened(folder, max_local_pixels=200_000) as collection:
        failure = collection.add(folder / "src", methods=["sift"]).failures[0]
        assert "800 x 600 pixels; the limit is 200,000 pixels (max_local_pixels)" in failure.message


def test_uploads_keep_their_limits(folder):
    with opened(folder) as collection, pytest.raises(ImageTooLargeError, match="max_image_bytes"):
        collection.put("x", (folder / "src" / "large.tif").read_bytes())
