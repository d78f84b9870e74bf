import os
import stat

import pytest

from imagefinder.core.files import write_atomically


def test_files_are_created_and_replaced(tmp_path):
    write_atomically(tmp_path / "a", [b"one", memoryview(b" two")])
    assert (tmp_path / "a").read_bytes() == b"one two"
    write_atomically(tmp_path / "a", [])
    assert (tmp_path / "a").read_bytes() == b""
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("error", [OSError(28, "full"), KeyboardInterrupt()])
def test_a_failed_write_keeps_the_old_file(tmp_path, error):
    (tmp_path / "a").write_bytes(b"old")

    def chunks():
        yield b"new"
        raise error

    with pytest.raises(type(error)):
        write_atomically(tmp_path / "a", chunks())
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(("mode", "expected"), [(None, 0o600), (0o666, 0o644)])
def test_permissions(tmp_path, mode, expected):
    before = os.umask(0o022)
    try:
        write_atomically(tmp_path / "a", [b""], **({} if mode is None else {"mode": mode}))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == expected


def test_a_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "nowhere" / "a", [b""])
