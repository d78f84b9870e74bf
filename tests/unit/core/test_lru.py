from imagefinder.core.lru import LruCache


def test_the_values_used_least_recently_are_dropped():
    cache = LruCache(10)
    for key in "abc":
        cache.put(key, key.upper(), 3)
    assert cache.get("a") == "A"
    cache.put("d", "D", 3)
    assert [cache.get(key) for key in "abcd"] == ["A", None, "C", "D"]
    cache.put("e", "E", 10)
    assert [cache.get(key) for key in "acde"] == [None, None, None, "E"]


def test_a_value_is_replaced_with_its_size():
    cache = LruCache(10)
    cache.put("a", 1, 9)
    cache.put("a", 2, 1)
    cache.put("b", 3, 9)
    assert (cache.get("a"), cache.get("b")) == (2, 3)


def test_a_value_above_the_limit_is_not_stored_and_drops_no_other():
    cache = LruCache(10)
    cache.put("a", 1, 10)
    cache.put("b", 2, 11)
    cache.put("a", 3, 11)
    assert (cache.get("a"), cache.get("b")) == (None, None)
    cache.put("c", 4, 10)
    assert cache.get("c") == 4
