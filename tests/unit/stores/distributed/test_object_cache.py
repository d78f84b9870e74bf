from imagefinder.stores.distributed.object_cache import ObjectCache


def test_an_object_is_cached_when_it_is_read_again(tmp_path):
    cache = ObjectCache(tmp_path / "cache", 1 << 20)
    assert cache.get("a/1") is None
    cache.offer("a/1", b"one")
    assert cache.get("a/1") is None
    assert not (tmp_path / "cache").exists()
    cache.offer("a/1", b"one")
    assert cache.get("a/1") == b"one"
    assert ObjectCache(tmp_path / "cache", 1 << 20).get("a/1") == b"one", "processes share the cache"
