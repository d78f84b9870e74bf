import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from imagefinder.search import ranking

galleries = st.dictionaries(st.text(max_size=3), st.integers(0, 4), max_size=30)


@given(galleries, st.integers(1, 40))
def test_equals_a_full_sort(gallery, k):
    ids = list(gallery)
    scores = np.array(list(gallery.values()), np.float64)
    expected = sorted(gallery.items(), key=lambda pair: (-pair[1], pair[0]))[:k]
    assert ranking.best(ids, scores, k) == expected


@given(galleries, st.one_of(st.none(), st.integers(1, 40)))
def test_by_evalue_equals_a_full_sort(gallery, k):
    strength = {image_id: float(len(image_id)) for image_id in gallery}
    expected = sorted(gallery, key=lambda image_id: (gallery[image_id], -strength[image_id], image_id))
    arrays = (np.array(list(values.values()), np.float64) for values in (gallery, strength))
    assert ranking.by_evalue(list(gallery), *arrays, k) == expected[:k]


def test_first_hits_do_not_change_with_k():
    ids, scores = list("dacb"), np.array([1.0, 2.0, 1.0, 2.0])
    assert [i for i, _ in ranking.best(ids, scores, 4)] == ["a", "b", "c", "d"]
    assert ranking.best(ids, scores, 3) == ranking.best(ids, scores, 4)[:3]
