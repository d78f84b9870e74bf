import logging
import os
import subprocess
import sys
import time

import pytest

from imagefinder.core.disk_cache import DiskCache


def make(folder, most=1 << 20):
    return DiskCache(folder, most, what="things")


def used(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_content_is_found_again_also_by_other_processes(tmp_path):
    make(tmp_path / "cache").put("a/1", b"one")
    assert make(tmp_path / "cache").get("a/1") == b"one"
    assert make(tmp_path / "cache").get("a/2") is None


def test_nothing_is_cached_without_space(tmp_path):
    cache = make(tmp_path / "cache", 0)
    cache.put("a", b"1")
    assert cache.get("a") is None
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 4, b"another content"])
def test_a_damaged_file_is_not_used(tmp_path, content):
    cache = make(tmp_path, 1 << 20)
    cache.put("a", b"one")
    (tmp_path / "a").write_bytes(content)
    assert cache.get("a") is None
    assert not (tmp_path / "a").exists()


def test_the_files_take_a_limited_space_and_the_used_ones_stay(tmp_path):
    cache = make(tmp_path, 100_000)
    long_ago = time.time() - 10_000
    for number in range(300):
        cache.put(f"a/{number}", bytes([number % 256]) * 1000)
        os.utime(tmp_path / "a" / str(number), (long_ago + number,) * 2)
        assert cache.get("a/0") is not None, "it is used all the time"
        assert used(tmp_path) <= 110_000
    assert cache.get("a/299") is not None
    assert cache.get("a/5") is None
    assert used(tmp_path) > 70_000


def test_several_processes_keep_the_limit_together(tmp_path):
    caches = [make(tmp_path, 100_000) for _ in range(3)]
    for number in range(300):
        caches[number % 3].put(f"a/{number}", bytes(1000))
    assert used(tmp_path) <= 130_000


def test_an_object_that_would_displace_all_others_is_not_cached(tmp_path):
    cache = make(tmp_path, 1000)
    cache.put("large", bytes(101))
    assert cache.get("large") is None


def test_drafts_of_killed_processes_are_deleted(tmp_path):
    draft = tmp_path / "a" / ".new-1"
    draft.parent.mkdir()
    draft.write_bytes(b"x")
    os.utime(draft, (time.time() - 7200,) * 2)
    make(tmp_path, 1000).put("b", b"1")
    assert not draft.exists()


def test_a_cache_without_a_disk_is_reported_once_and_harmless(tmp_path, caplog):
    (tmp_path / "cache").write_text("a file")
    cache = make(tmp_path / "cache", 1000)
    with caplog.at_level(logging.WARNING):
        cache.put("a", b"1")
        cache.put("b", b"1")
    assert cache.get("a") is None
    (record,) = caplog.records
    assert "things cannot be cached" in record.getMessage()


def test_other_users_cannot_read_the_files(tmp_path):
    make(tmp_path / "cache", 1000).put("a/b", b"1")
    assert (tmp_path / "cache" / "a" / "b").stat().st_mode & 0o077 == 0


def test_a_full_disk_costs_the_cache_only(tmp_path, monkeypatch, caplog):
    """A file that cannot be completed does not appear, and none is left behind."""
    cache = make(tmp_path / "cache")
    cache.put("before", b"1")

    class Full:
        def __init__(self, path, *_, **__):
            self._file = open(path, "wb")  # noqa: PTH123, SIM115

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self._file.close()

        def write(self, data):
            self._file.write(data[:2])
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("imagefinder.core.disk_cache.open", Full, raising=False)
    cache.put("full", bytes(1000))
    cache.put("full", bytes(1000))
    monkeypatch.undo()
    assert cache.get("full") is None
    assert cache.get("before") == b"1"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["before"]
    assert len(caplog.records) == 1
    assert "No space left" in caplog.text


WRITER = """
import sys, pathlib
from imagefinder.core.disk_cache import DiskCache
cache = DiskCache(pathlib.Path(sys.argv[1]), 100 << 20, what="things")
print("ready", flush=True)
for number in range(10**9):
    cache.put(f"a/{number % 50}", bytes([number % 256]) * 2_000_000)
"""


def test_killed_writers_leave_no_half_file(tmp_path):
    for attempt in range(5):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
        assert process.stdout
        process.stdout.readline()
        time.sleep(0.02 + 0.03 * attempt)
        process.kill()
        process.wait()
        process.stdout.close()
    cache = make(tmp_path, 100 << 20)
    names = [path.name for path in (tmp_path / "a").iterdir() if not path.name.startswith(".")]
    assert names
    for name in names:
        data = cache.get(f"a/{name}")
        assert data is not None, "complete from the moment it appears"
        assert data == data[:1] * 2_000_000
