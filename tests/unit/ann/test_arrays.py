import sys
from pathlib import Path

import numpy as np
import pytest

from imagefinder.ann import arrays

SOME = {
    "a": np.arange(12, dtype=np.int64).reshape(3, 4),
    "none": np.empty((0, 5), np.float32),
    "b": np.array([1, 2, 3], np.uint8),
}


def test_round_trip(tmp_path):
    arrays.write(tmp_path / "x", {"why": "ä"}, SOME)
    meta, found = arrays.read(tmp_path / "x")
    assert meta == {"why": "ä"}
    assert list(found) == list(SOME)
    for name, array in SOME.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)
        assert found[name].ctypes.data % 64 == 0 or not array.size
        assert not found[name].flags.writeable
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_every_changed_byte_is_detected(tmp_path):
    arrays.write(tmp_path / "x", {"why": 1}, SOME)
    data = (tmp_path / "x").read_bytes()
    padding = 0
    for place in range(len(data)):
        (tmp_path / "x").write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        try:
            _, found = arrays.read(tmp_path / "x")
        except ValueError:
            continue
        # Only the padding between the arrays may differ.
        padding += 1
        assert all(np.array_equal(found[name], array) for name, array in SOME.items())
    assert padding < 64 * 4


@pytest.mark.parametrize(
    "data", [b"", b"imagefinder arrays 1\n", b"x" * 500, b"imagefinder arrays 1\n00000000\n{}\n"]
)
def test_other_files_are_rejected(tmp_path, data):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ValueError, match="x"):
        arrays.read(tmp_path / "x")


def test_a_failed_write_leaves_no_file(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(arrays.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        arrays.write(tmp_path / "x", {}, SOME)
    assert list(tmp_path.iterdir()) == []


def test_released_arrays_are_read_again(tmp_path):
    array = np.random.default_rng(0).integers(0, 9, 100_000)
    arrays.write(tmp_path / "a", {}, {"a": array})
    _, read = arrays.read(tmp_path / "a", scattered=True)
    resident = mapped_bytes(tmp_path / "a")
    assert read["a"].sum() == array.sum()
    assert mapped_bytes(tmp_path / "a") >= resident + array.nbytes // 2
    arrays.release([read["a"][5:], array])
    assert mapped_bytes(tmp_path / "a") == 0
    np.testing.assert_array_equal(read["a"], array)


def mapped_bytes(path):
    """Bytes of a file in the memory of this process."""
    if sys.platform != "linux":
        pytest.skip("reads /proc")
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    found = 0
    for line in lines:
        if line.endswith(str(path)):
            found += next(int(more.split()[1]) << 10 for more in lines if more.startswith("Rss:"))
    return found


@pytest.mark.parametrize("limit", [1, 1 << 30])
def test_large_arrays_are_allocated_in_a_file_without_a_name(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(arrays, "_IN_MEMORY", limit)
    array = arrays.allocate(tmp_path, (300, 2), np.int32)
    assert isinstance(array, np.memmap) == (limit == 1)
    array[:] = np.arange(600).reshape(300, 2)
    arrays.release([array])
    assert array[:, 1].sum() == np.arange(1, 600, 2).sum()
    assert list(tmp_path.iterdir()) == []
    assert not isinstance(arrays.allocate(None, 300, np.int32), np.memmap)
    assert arrays.allocate(tmp_path, 0, np.int32).shape == (0,)
