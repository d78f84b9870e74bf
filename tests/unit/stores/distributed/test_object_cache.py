import logging
import os
import time

import pytest

from imagefinder.stores.distributed.object_cache import ObjectCache


def cached(cache, name, data):
    """Offer an object twice, which caches it."""
    cache.offer(name, data)
    cache.offer(name, data)


def used(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_an_object_is_cached_when_it_is_read_again(tmp_path):
    cache = ObjectCache(tmp_path / "cache", 1 << 20)
    assert cache.get("a/1") is None
    cache.offer("a/1", b"one")
    assert cache.get("a/1") is None
    assert not (tmp_path / "cache").exists()
    cache.offer("a/1", b"one")
    assert cache.get("a/1") == b"one"
    assert ObjectCache(tmp_path / "cache", 1 << 20).get("a/1") == b"one", "processes share the cache"


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 4, b"another content"])
def test_a_damaged_file_is_no_object(tmp_path, content):
    cache = ObjectCache(tmp_path, 1 << 20)
    cached(cache, "a", b"one")
    (tmp_path / "a").write_bytes(content)
    assert cache.get("a") is None
    assert not (tmp_path / "a").exists()


def test_the_files_take_a_limited_space_and_the_used_ones_stay(tmp_path):
    cache = ObjectCache(tmp_path, 100_000)
    long_ago = time.time() - 10_000
    for number in range(300):
        cached(cache, f"a/{number}", bytes([number % 256]) * 1000)
        os.utime(tmp_path / "a" / str(number), (long_ago + number,) * 2)
        assert cache.get("a/0") is not None, "it is used all the time"
        assert used(tmp_path) <= 110_000
    assert cache.get("a/299") is not None
    assert cache.get("a/5") is None
    assert used(tmp_path) > 70_000


def test_several_processes_keep_the_limit_together(tmp_path):
    caches = [ObjectCache(tmp_path, 100_000) for _ in range(3)]
    for number in range(300):
        cached(caches[number % 3], f"a/{number}", bytes(1000))
    assert used(tmp_path) <= 130_000


def test_an_object_that_would_displace_all_others_is_not_cached(tmp_path):
    cache = ObjectCache(tmp_path, 1000)
    cached(cache, "large", bytes(101))
    assert cache.get("large") is None


def test_drafts_of_killed_processes_are_deleted(tmp_path):
    draft = tmp_path / "a" / ".new-1"
    draft.parent.mkdir()
    draft.write_bytes(b"x")
    os.utime(draft, (time.time() - 7200,) * 2)
    cached(ObjectCache(tmp_path, 1000), "b", b"1")
    assert not draft.exists()


def test_a_cache_without_a_disk_is_reported_once_and_harmless(tmp_path, caplog):
    (tmp_path / "cache").write_text("a file")
    cache = ObjectCache(tmp_path / "cache", 1000)
    with caplog.at_level(logging.WARNING):
        cached(cache, "a", b"1")
        cached(cache, "b", b"1")
    assert cache.get("a") is None
    (record,) = caplog.records
    assert "cannot be cached" in record.getMessage()


def test_other_users_cannot_read_the_files(tmp_path):
    cached(ObjectCache(tmp_path / "cache", 1000), "a/b", b"1")
    assert (tmp_path / "cache" / "a" / "b").stat().st_mode & 0o077 == 0
