"""The best candidates, compared with a full sort."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from imagefinder.ann.proposals import best_proposals
from imagefinder.ann.segment import Postings, SegmentScores, build


def segment(keys):
    rows = np.arange(len(keys), dtype=np.int32)
    return build(np.array(keys, dtype=np.int64), [Postings(rows * 0, rows, rows, rows.astype(np.int64))])


images = st.lists(st.tuples(st.booleans(), st.none() | st.integers(0, 4)), max_size=12)


@given(st.lists(images, max_size=3), st.integers(1, 8), st.integers(0, 2))
def test_the_best_equal_those_of_a_full_sort(parts, n, waiting_count):
    waiting = np.arange(1000, 1000 + waiting_count, dtype=np.int64)
    segments, found, expected, without_score, key = [], [], [], [], 0
    for part in parts:
        keys = list(range(key, key + len(part)))
        key += len(part)
        alive = np.array([there for there, _ in part], dtype=np.bool_)
        rows = [row for row, (_, score) in enumerate(part) if score is not None]
        scores = np.array([part[row][1] for row in rows], dtype=np.float64)
        segments.append((segment(keys), alive))
        found.append(SegmentScores(np.array(rows, dtype=np.int64), scores))
        expected += [(-score, keys[row]) for row, score in zip(rows, scores, strict=True) if alive[row]]
        without_score += [keys[row] for row, (there, score) in enumerate(part) if there and score is None]
    best = [image for _, image in sorted(expected)][:n]
    proposals = best_proposals(waiting, segments, found, n)
    keys = proposals.keys.tolist()
    assert keys[:waiting_count] == waiting.tolist()
    assert np.isinf(proposals.scores[:waiting_count]).all()
    assert keys[waiting_count:][: len(best)] == best
    others = keys[waiting_count + len(best) :]
    assert len(best) + len(others) == min(n, len(expected) + len(without_score))
    assert set(others) <= set(without_score)
    assert len(set(keys)) == len(keys)
