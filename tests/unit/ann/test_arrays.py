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
