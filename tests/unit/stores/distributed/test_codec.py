import struct
import tracemalloc

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from imagefinder.core.errors import CollectionCorruptError, StoreError
from imagefinder.core.features import FeatureSpec, GlobalFeatures, LocalFeatures
from imagefinder.stores.codec import EncodedFeatures, checksum, encode
from imagefinder.stores.distributed import codec
from imagefinder.stores.distributed.codec import FrameDecoder, compress, expand, is_intact_frame

POINTS = FeatureSpec("local", 128, "uint8")
TOKENS = FeatureSpec("local", 96, "int8")
FLOATS = FeatureSpec("local", 48, "float32")
VECTOR = FeatureSpec("global", 512, "float32")
SPECS = [POINTS, TOKENS, FLOATS, VECTOR]


def made(spec, count, seed=0):
    generator = np.random.default_rng(seed)
    if spec.kind == "global":
        return GlobalFeatures(generator.standard_normal((1, spec.dim), dtype=np.float32))
    # Most numbers of descriptors are small.
    values = generator.exponential(20, (count, spec.dim)).clip(0, 120).astype(spec.dtype)
    return LocalFeatures(values, generator.random((count, 4), np.float32), np.array([0, count], np.int64))


def framed(image_id, method, features):
    encoded = encode(image_id, method, features)
    return compress(image_id, method, encoded), encoded.checksum


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.kind} {spec.dtype}")
@given(counts=st.lists(st.integers(0, 50), max_size=5))
def test_a_batch_comes_back_bit_by_bit(spec, counts):
    decoder = FrameDecoder("m", spec)
    parts = [made(spec, count, seed) for seed, count in enumerate(counts)]
    for number, part in enumerate(parts):
        decoder.add(str(number), *framed(str(number), "m", part))
    batch = decoder.features()
    assert len(batch) == len(parts)
    for number, part in enumerate(parts):
        assert encode("x", "m", batch.image(number)) == encode("x", "m", part)


def test_descriptors_take_fewer_bytes():
    features = made(POINTS, 600)
    frame, _ = framed("a", "m", features)
    assert len(frame) < 0.85 * features.nbytes


def test_what_cannot_be_compressed_hardly_grows():
    features = made(VECTOR, 1)
    frame, _ = framed("a", "m", features)
    assert len(frame) < features.nbytes + 64


def test_an_image_without_descriptors_takes_the_header_only():
    assert len(framed("a", "m", made(POINTS, 0))[0]) == 8


GOOD, CHECKSUM = framed("a", "m", made(POINTS, 40))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.kind} {spec.dtype}")
def test_every_changed_missing_or_added_byte_is_found(spec):
    features = made(spec, 5)
    frame, right = framed("a", "m", features)
    assert is_intact_frame("a", "m", spec, frame, right)
    for place in range(len(frame)):
        changed = frame[:place] + bytes([frame[place] ^ 0x10]) + frame[place + 1 :]
        # A byte may be one that means nothing to Zstandard: then the content is the same.
        if is_intact_frame("a", "m", spec, changed, right):
            assert expand("a", "m", spec, changed, right) == encode("a", "m", features)
        assert not is_intact_frame("a", "m", spec, frame[:place], right)
    assert not is_intact_frame("a", "m", spec, frame + b"0", right)
    assert not is_intact_frame("a", "m", spec, frame, right ^ 1)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_frame_are_damage(data):
    for frame in (data, b"IFZ\1" + data, GOOD[:8] + data):
        with pytest.raises(CollectionCorruptError, match="m features of image 'a'"):
            expand("a", "m", POINTS, frame, CHECKSUM)


def test_the_frame_of_another_image_or_method_is_damage():
    for owner in (("b", "m"), ("a", "n")):
        other, _ = framed(*owner, made(POINTS, 40))
        assert other == GOOD, "equal content gives equal frames: only the checksum names the owner"
    assert not is_intact_frame("b", "m", POINTS, GOOD, CHECKSUM)
    assert not is_intact_frame("a", "n", POINTS, GOOD, CHECKSUM)
    with pytest.raises(CollectionCorruptError, match="image 'b'"):
        FrameDecoder("m", POINTS).add("b", GOOD, CHECKSUM)


def test_features_of_another_kind_are_damage():
    assert not is_intact_frame("a", "m", VECTOR, GOOD, CHECKSUM)
    vector, right = framed("a", "m", made(VECTOR, 1))
    assert not is_intact_frame("a", "m", POINTS, vector, right)


def bomb(size):
    """A frame of a few kilobytes that states, and has, ``size`` bytes of zeros."""
    content = zstandard.ZstdCompressor(level=1).compress(bytes(size))
    return struct.pack("<4sI", b"IFZ\1", len(content)) + content


def stating(size):
    """A frame that states ``size`` bytes and has none of them."""
    content = bytes.fromhex("28b52ffde0") + struct.pack("<Q", size) + bytes.fromhex("010000")
    return struct.pack("<4sI", b"IFZ\1", len(content)) + content


@pytest.mark.parametrize("frame", [stating(1 << 40), stating((1 << 64) - 2), stating(codec.MOST_BYTES + 1)])
def test_a_frame_that_states_too_much_is_damage_before_memory_is_allocated(frame):
    tracemalloc.start()
    try:
        assert not is_intact_frame("a", "m", POINTS, frame, 0)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_bomb_within_the_frame_is_damage(monkeypatch):
    monkeypatch.setattr(codec, "MOST_BYTES", 1 << 20)
    assert not is_intact_frame("a", "m", VECTOR, bomb((1 << 20) + 1), 0)
    # Of the keypoints, exactly those of the descriptors are allocated.
    encoded = encode("a", "m", made(POINTS, 4))
    many = zstandard.ZstdCompressor(level=1).compress(bytes(1 << 19))
    few = compress("a", "m", EncodedFeatures(encoded.data, b"", encoded.checksum))
    assert not is_intact_frame("a", "m", POINTS, few + many, encoded.checksum)


def test_a_frame_without_a_stated_size_is_damage():
    data = bytes(512 * 4)
    content = zstandard.ZstdCompressor(level=1, write_content_size=False).compress(data)
    frame = struct.pack("<4sI", b"IFZ\1", len(content)) + content
    assert not is_intact_frame("a", "m", VECTOR, frame, checksum("a", "m", data, None))


def test_another_version_is_damage():
    assert not is_intact_frame("a", "m", POINTS, b"IFZ\2" + GOOD[4:], CHECKSUM)


def test_features_beyond_the_limit_are_refused(monkeypatch):
    monkeypatch.setattr(codec, "MOST_BYTES", 1000)
    with pytest.raises(StoreError, match=r"m features of image 'a' have 1,440 bytes.*at most 1,000"):
        framed("a", "m", made(POINTS, 10))
