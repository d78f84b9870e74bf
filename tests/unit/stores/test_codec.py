import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefinder.core.errors import CollectionCorruptError
from imagefinder.core.features import FeatureSpec, GlobalFeatures, LocalFeatures
from imagefinder.stores.codec import EncodedFeatures, FeatureDecoder, content_checksum, decode, encode

POINTS = FeatureSpec("local", 3, "uint8")
VECTOR = FeatureSpec("global", 3, "float32")


def points(count, seed=0):
    generator = np.random.default_rng(seed)
    return LocalFeatures(
        generator.integers(0, 256, (count, 3), dtype=np.uint8),
        generator.random((count, 4), dtype=np.float32),
        np.array([0, count], dtype=np.int64),
    )


VECTORS = GlobalFeatures(np.array([[1, -2, 0.5]], dtype=np.float32))


@given(st.text(max_size=20), st.sampled_from(["m", "sift"]), st.integers(0, 300))
def test_the_checksum_of_the_content_is_computed_without_reading_it(image_id, method, count):
    blobs = encode(image_id, method, points(count))
    content = zlib.crc32(blobs.data + blobs.keypoints)
    assert content_checksum(image_id, method, blobs.nbytes, blobs.checksum) == content


def test_bytes_are_little_endian_rows():
    blobs = encode("a", "m", VECTORS)
    assert blobs.data.hex() == "0000803f" + "000000c0" + "0000003f"
    assert blobs.keypoints is None
    assert blobs.nbytes == 12
    local = LocalFeatures(
        np.array([[1, 2, 3], [4, 5, 6]], dtype=np.uint8),
        np.array([[1, 0, 0, 0], [0, 0, 0, 1]], dtype=np.float32),
        np.array([0, 2], dtype=np.int64),
    )
    blobs = encode("a", "m", local)
    assert blobs.data == bytes([1, 2, 3, 4, 5, 6])
    assert blobs.keypoints.hex() == "0000803f" + "00" * 24 + "0000803f"
    assert blobs.nbytes == 6 + 32


@given(st.lists(st.integers(0, 4), max_size=5))
def test_a_batch_comes_back(counts):
    parts = [points(count, seed) for seed, count in enumerate(counts)]
    ids = [str(seed) for seed in range(len(counts))]
    batch = decode("m", POINTS, ids, [encode(i, "m", part) for i, part in zip(ids, parts, strict=True)])
    assert len(batch) == len(parts)
    for index, part in enumerate(parts):
        np.testing.assert_array_equal(batch.image(index).descriptors, part.descriptors)
        np.testing.assert_array_equal(batch.image(index).keypoints, part.keypoints)


def test_arrays_are_read_only():
    batch = decode("m", POINTS, ["a"], [encode("a", "m", points(2))])
    assert not any(array.flags.writeable for array in (batch.descriptors, batch.keypoints, batch.offsets))
    assert not decode("m", VECTOR, ["a"], [encode("a", "m", VECTORS)]).vectors.flags.writeable


GOOD = encode("a", "m", points(2))


@pytest.mark.parametrize(
    "bad",
    [
        replace(GOOD, data=GOOD.data[:-1] + bytes([GOOD.data[-1] ^ 1])),
        replace(GOOD, keypoints=b"\1" + GOOD.keypoints[1:]),
        replace(GOOD, checksum=GOOD.checksum ^ 1),
        replace(GOOD, data=GOOD.data[:3]),
        replace(GOOD, data=GOOD.data[:4]),
        replace(GOOD, keypoints=GOOD.keypoints[:16]),
        replace(GOOD, keypoints=None),
        replace(GOOD, data=GOOD.data + GOOD.keypoints[:3], keypoints=GOOD.keypoints[3:]),
        encode("b", "m", points(2)),
        encode("a", "n", points(2)),
    ],
    ids=[
        "data",
        "keypoints",
        "checksum",
        "rows",
        "part",
        "points",
        "none",
        "shifted",
        "other image",
        "other method",
    ],
)
def test_damage_is_found_and_named(bad):
    with pytest.raises(CollectionCorruptError, match="m features of image 'a'"):
        decode("m", POINTS, ["z", "a"], [encode("z", "m", points(1)), bad])


@pytest.mark.parametrize("data", [b"", VECTORS.vectors.tobytes() * 2, b"123"])
def test_damaged_vectors(data):
    with pytest.raises(CollectionCorruptError):
        decode("m", VECTOR, ["a"], [EncodedFeatures(data, None, encode("a", "m", VECTORS).checksum)])


def test_images_decoded_one_after_another_are_those_decoded_together():
    blobs = [encode(name, "m", points(count, seed=count)) for name, count in (("a", 3), ("b", 0), ("c", 5))]
    decoder = FeatureDecoder("m", POINTS)
    assert decoder.features().offsets.tolist() == [0]
    for name, blob in zip("abc", blobs, strict=True):
        decoder.add(name, blob)
    found = decoder.features()
    assert found.offsets.tolist() == [0, 3, 3, 8]
    for number, count in enumerate((3, 0, 5)):
        one, expected = found.image(number), points(count, seed=count)
        assert (one.descriptors == expected.descriptors).all()
        assert (one.keypoints == expected.keypoints).all()
    assert not any(array.flags.writeable for array in (found.descriptors, found.keypoints, found.offsets))
    with pytest.raises(CollectionCorruptError, match="image 'b'"):
        FeatureDecoder("m", POINTS).add("b", blobs[0])
