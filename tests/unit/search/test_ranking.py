import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from imagefinder.search import ranking

galleries = st.dictionaries(st.text(max_size=3), st.integers(0, 4), max_size=30)


@given(galleries, st.integers(1, 40))
def test_equals_sorting_everything(gallery, k):
    ids = list(gallery)
    scores = np.array(list(gallery.values()), np.float64)
    expected = sorted(gallery.items(), key=lambda pair: (-pair[1], pair[0]))[:k]
    assert ranking.best(ids, scores, k) == expected


@given(galleries, st.integers(1, 10), st.integers(1, 7))
def test_parts_merge_to_the_whole_however_they_are_cut(gallery, k, size):
    ids, scores = list(gallery), np.array(list(gallery.values()), np.float64)
    parts = [ranking.best(ids[i : i + size], scores[i : i + size], k) for i in range(0, len(ids), size)]
    assert ranking.merge(parts, k) == ranking.best(ids, scores, k)


def test_first_hits_do_not_change_with_k():
    ids, scores = list("dacb"), np.array([1.0, 2.0, 1.0, 2.0])
    assert [i for i, _ in ranking.best(ids, scores, 4)] == ["a", "b", "c", "d"]
    assert ranking.best(ids, scores, 3) == ranking.best(ids, scores, 4)[:3]
