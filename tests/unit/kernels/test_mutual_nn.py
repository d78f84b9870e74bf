"""All backends (NumPy and each instruction set of this processor), compared with the definition."""

import logging
import shutil
import subprocess
import sys
import sysconfig
import threading
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from imagefinder.kernels import mutual_nn

try:
    from imagefinder.kernels import _native
except ImportError:
    _native = None

ISAS = _native.supported() if _native else ()
BACKENDS = ("numpy", *ISAS)
needs_native = pytest.mark.skipif(_native is None, reason="the package was built without a compiler")
everywhere = pytest.mark.parametrize("backend", BACKENDS)


def slow_pairs(query, candidate):
    """The definition in Python's unbounded integers."""
    a, b = [[int(v) for v in row] for row in query], [[int(v) for v in row] for row in candidate]
    products = [[sum(x * y for x, y in zip(p, q, strict=True)) for q in b] for p in a]
    found = []
    for i in range(len(a)):
        for j in range(len(b)):
            row, column = products[i], [products[r][j] for r in range(len(a))]
            if row.index(max(row)) == j and column.index(max(column)) == i:
                found.append((i, j))
    return found


def exact_pairs(query, candidate):
    """The definition in NumPy int64, for sizes that the slow twin is too slow for; compared with it in a test."""
    if not (len(query) and len(candidate)):
        return []
    products = query.astype(np.int64) @ candidate.astype(np.int64).T
    best_column, best_row = products.argmax(axis=1), products.argmax(axis=0)
    return [(i, int(j)) for i, j in enumerate(best_column) if best_row[j] == i]


def count_on(backend, query, gallery, offsets, threads=1):
    counts = np.full(len(offsets) - 1, -1, dtype=np.int64)
    if backend == "numpy":
        return mutual_nn._count_numpy(query, gallery, offsets).counts.tolist()
    _native.count(query, gallery, offsets, counts, threads, backend)
    return counts.tolist()


def pairs_on(backend, query, candidate):
    if backend == "numpy":
        found = mutual_nn._pairs_numpy(query, candidate)
    else:
        found, counts = np.empty((min(len(query), len(candidate)), 2), dtype=np.int64), np.full(1, -1)
        _native.pairs(query, [candidate], found, counts, 1, backend)
        found = found[: counts[0]]
    return [tuple(pair) for pair in found]


def sets(dim, values, most):
    return st.integers(0, most).flatmap(lambda rows: arrays(np.uint8, (rows, dim), elements=values))


@st.composite
def ragged(draw, *, dim=3, values=None, query_most=8, candidate_most=8):
    values = st.integers(0, 3) if values is None else values
    query = draw(sets(dim, values, query_most))
    images = draw(st.lists(sets(dim, values, candidate_most), max_size=5))
    offsets = np.cumsum([0, *(len(image) for image in images)], dtype=np.int64)
    return query, np.concatenate([np.empty((0, dim), np.uint8), *images]), offsets


def check(query, gallery, offsets):
    expected = [slow_pairs(query, gallery[a:b]) for a, b in pairwise(offsets)]
    counts = [len(found) for found in expected]
    assert mutual_nn.count(query, gallery, offsets).tolist() == counts
    for backend in BACKENDS:
        for dtype in (np.uint8, np.float32):  # products this small are exact in float32, too
            q, g = query.astype(dtype), gallery.astype(dtype)
            assert count_on(backend, q, g, offsets) == counts
            for b, found in enumerate(expected):
                candidate = g[offsets[b] : offsets[b + 1]]
                assert pairs_on(backend, q, candidate) == found
                assert [tuple(pair) for pair in mutual_nn.pairs(q, candidate)] == found
            images = [g[a:b] for a, b in pairwise(offsets)]
            for threads in (1, 3):
                every = mutual_nn.pairs_all(q, images, threads=threads)
                assert [[tuple(pair) for pair in one] for one in every] == expected
    for b, found in enumerate(expected):
        assert exact_pairs(query, gallery[offsets[b] : offsets[b + 1]]) == found


@given(ragged())
def test_equals_the_definition_with_many_ties(case):
    check(*case)


@given(ragged(dim=2, values=st.sampled_from([0, 255])))
def test_equals_the_definition_on_extreme_values(case):
    check(*case)


@given(ragged(values=st.integers(0, 255), query_most=1))
def test_one_query_descriptor(case):
    check(*case)


@settings(max_examples=20)
@given(ragged(values=st.integers(0, 255), query_most=60, candidate_most=2))
def test_many_against_few(case):
    check(*case)


@settings(max_examples=20)
@given(ragged(values=st.integers(0, 255), query_most=2, candidate_most=60))
def test_few_against_many(case):
    check(*case)


# Around the borders of tiles (4 or 6 rows; up to 4 vectors of 4, 8 or 16 lanes), of chunks of rows, and of groups
# of elements (1, 2 or 4; rows are summed in blocks of 64).
SIZES = st.one_of(st.integers(0, 130), st.sampled_from([1, 4, 6, 7, 16, 17, 63, 64, 65, 96, 97, 128, 129]))
LENGTHS = st.sampled_from([0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 63, 64, 65, 127, 128, 129, 130, 200])
SIGNED = {
    "all -128": lambda rng, shape: np.full(shape, -128),
    "-128 or 127": lambda rng, shape: rng.choice([-128, 127], shape),
    "-1 or 0": lambda rng, shape: rng.choice([-1, 0], shape),
    "signed bytes": lambda rng, shape: rng.integers(-128, 128, shape),
    "few different rows": lambda rng, shape: rng.integers(-128, 128, (3, shape[1]))[rng.integers(0, 3, shape[0])],
}
VALUES = {
    "all 255": lambda rng, shape: np.full(shape, 255),
    "all 0": lambda rng, shape: np.zeros(shape),
    "0 or 255": lambda rng, shape: rng.choice([0, 255], shape),
    "254 or 255": lambda rng, shape: rng.choice([254, 255], shape),
    "127 or 128": lambda rng, shape: rng.choice([127, 128], shape),
    "bytes": lambda rng, shape: rng.integers(0, 256, shape),
    "few different rows": lambda rng, shape: rng.integers(0, 256, (3, shape[1]))[rng.integers(0, 3, shape[0])],
}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(0, 2**32 - 1),
    SIZES,
    st.lists(SIZES, min_size=1, max_size=3),
    LENGTHS,
    st.sampled_from(
        [(np.uint8, make) for make in VALUES.values()] + [(np.int8, make) for make in SIGNED.values()]
    ),
)
def test_every_path_on_adversarial_descriptors(seed, n, images, length, kind):
    rng = np.random.default_rng(seed)
    dtype, values = kind
    query, gallery = values(rng, (n, length)).astype(dtype), values(rng, (sum(images), length)).astype(dtype)
    offsets = np.cumsum([0, *images])
    expected = [exact_pairs(query, gallery[a:b]) for a, b in pairwise(offsets)]
    for backend in BACKENDS:
        assert count_on(backend, query, gallery, offsets) == [len(found) for found in expected], backend
        for b, found in enumerate(expected):
            assert pairs_on(backend, query, gallery[offsets[b] : offsets[b + 1]]) == found, backend


def near_on(backend, query, gallery, offsets, least):
    counts, near = np.full((2, len(offsets) - 1), -1, dtype=np.int64)
    if backend == "numpy":
        found = mutual_nn._count_numpy(query, gallery, offsets, mutual_nn._Near(least, 0))
        return found.counts.tolist(), found.near.tolist()
    _native.count(query, gallery, offsets, counts, 2, backend, least, near)
    return counts.tolist(), near.tolist()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(0, 2**32 - 1),
    SIZES,
    st.lists(SIZES, min_size=1, max_size=3),
    LENGTHS,
    st.sampled_from(
        [(np.uint8, make) for make in VALUES.values()] + [(np.int8, make) for make in SIGNED.values()]
    ),
    st.sampled_from([0.0, 0.5, 0.85, 1.0, 1.1]),
)
def test_near_matches_reach_the_minimum_product(seed, n, images, length, kind, nearness):
    rng = np.random.default_rng(seed)
    dtype, values = kind
    query, gallery = values(rng, (n, length)).astype(dtype), values(rng, (sum(images), length)).astype(dtype)
    offsets = np.cumsum([0, *images])
    products = query.astype(np.int64) @ gallery.astype(np.int64).T
    least = nearness * (query.astype(np.int64) ** 2).sum(axis=1)
    expected = [(i, j + a) for a, b in pairwise(offsets) for i, j in exact_pairs(query, gallery[a:b])]
    counts, near = np.zeros((2, len(images)), dtype=np.int64)
    for i, j in expected:
        image = np.searchsorted(offsets, j, side="right") - 1
        counts[image] += 1
        near[image] += products[i, j] >= least[i]
    found = mutual_nn.count_near(query, gallery, offsets, nearness=nearness)
    assert [found.counts.tolist(), found.near.tolist()] == [counts.tolist(), near.tolist()]
    for backend in BACKENDS:
        assert near_on(backend, query, gallery, offsets, least) == (counts.tolist(), near.tolist()), backend


@everywhere
def test_near_matches_of_floats(backend):
    rng = np.random.default_rng(8)
    query = rng.standard_normal((60, 96), dtype=np.float32)
    noise = rng.standard_normal(query.shape, dtype=np.float32)
    gallery = np.concatenate([query + 0.1 * noise, query + 2 * noise, noise])
    counts, near = near_on(
        backend, query, gallery, np.array([0, 60, 120, 180]), 0.8 * (query**2).sum(1, dtype=float)
    )
    assert (counts[0], near[0]) == (60, 60)
    assert near[1] < counts[1]
    assert near[2] == 0


def kept_on(backend, query, gallery, offsets, room, threads):
    least = np.zeros(len(query))
    if backend == "numpy":
        return mutual_nn._count_numpy(query, gallery, offsets, mutual_nn._Near(least, room)).pairs
    counts, near, begins = np.full((3, len(offsets) - 1), -2, dtype=np.int64)
    guarded = np.full((room + 8, 2), -7, dtype=np.int64)
    _native.count(query, gallery, offsets, counts, threads, backend, least, near, guarded[:room], begins)
    assert (guarded[room:] == -7).all()
    return {b: guarded[begin : begin + counts[b]] for b, begin in enumerate(begins.tolist()) if begin >= 0}


@everywhere
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("room", [1, 12, 10_000])
def test_pairs_are_kept_while_they_fit(backend, room, threads):
    rng = np.random.default_rng(7)
    query, gallery = (rng.integers(0, 200, (rows, 128), dtype=np.uint8) for rows in (70, 400))
    offsets = np.array([0, 90, 90, 130, 131, 400])
    expected = [exact_pairs(query, gallery[a:b]) for a, b in pairwise(offsets)]
    kept = kept_on(backend, query, gallery, offsets, room, threads)
    assert all([*map(tuple, found.tolist())] == expected[b] for b, found in kept.items())
    assert sum(map(len, kept.values())) <= room
    assert (sorted(kept) == [0, 1, 2, 3, 4]) == (room == 10_000)
    if threads == 1 and room > 1:
        assert 1 in kept  # of no descriptors


def test_kept_pairs_are_those_of_each_image():
    rng = np.random.default_rng(3)
    query, gallery = (rng.integers(0, 200, (rows, 128), dtype=np.uint8) for rows in (70, 200))
    offsets = np.array([0, 90, 90, 200])
    found = mutual_nn.count_near(query, gallery, offsets, nearness=0.9, room=1000)
    expected = [mutual_nn.pairs(query, gallery[a:b]).tolist() for a, b in pairwise(offsets)]
    assert {b: pairs.tolist() for b, pairs in found.pairs.items()} == dict(enumerate(expected))
    assert mutual_nn.count_near(query, gallery, offsets, nearness=0.9).pairs == {}


@needs_native
def test_kept_pairs_must_be_consistent():
    rows, offsets, counts = np.ones((4, 3), np.uint8), np.array([0, 4]), np.zeros(1, np.int64)
    found, begins = np.zeros((4, 2), np.int64), np.zeros(1, np.int64)
    count = partial(_native.count, rows, rows, offsets, counts, 1, ISAS[0], np.zeros(4), counts.copy())
    for bad in (
        (found[:, :1].copy(), begins),
        (found.astype(np.int32), begins),
        (found, np.zeros(2, np.int64)),
        (found, begins.astype(np.int32)),
    ):
        with pytest.raises(ValueError, match="found and begins"):
            count(*bad)
    with pytest.raises(ValueError, match="begins are missing"):
        count(found)


@needs_native
def test_near_counts_must_be_consistent():
    rows, offsets, counts = np.ones((4, 3), np.uint8), np.array([0, 4]), np.zeros(1, np.int64)
    isa = ISAS[0]
    for least, near in (
        (np.zeros(3), counts),
        (np.zeros(4, np.float32), counts),
        (np.zeros(4), np.zeros(2, np.int64)),
        (np.zeros(4), np.zeros(1, np.int32)),
    ):
        with pytest.raises(ValueError, match="near counts"):
            _native.count(rows, rows, offsets, counts.copy(), 1, isa, least, near)
    with pytest.raises(ValueError, match="near counts are missing"):
        _native.count(rows, rows, offsets, counts, 1, isa, np.zeros(4))


@everywhere
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), SIZES, SIZES, LENGTHS)
def test_integers_as_floats(backend, seed, n, m, length):
    # Every partial sum is a small integer, so float32 is exact in any order; every best product may be negative.
    rng = np.random.default_rng(seed)
    query, candidate = (rng.integers(-20, 3, (rows, length)).astype(np.float32) for rows in (n, m))
    candidate = -candidate if seed % 2 else candidate
    assert pairs_on(backend, query, candidate) == exact_pairs(query, candidate)


@everywhere
def test_floats_that_differ_by_rounding_have_one_neighbour_each(backend):
    # Tokens like those of a network. With any rounding, each descriptor is in at most one pair, and both
    # directions agree with float64 wherever the best and the second best clearly differ.
    rng = np.random.default_rng(3)
    query, candidate = (rng.standard_normal((rows, 768)).astype(np.float32) for rows in (197, 150))
    candidate[:100] = query[20:120] + rng.normal(0, 0.5, (100, 768)).astype(np.float32)
    found = pairs_on(backend, query, candidate)
    assert len({i for i, _ in found}) == len({j for _, j in found}) == len(found)
    products = query.astype(np.float64) @ candidate.astype(np.float64).T
    sure = [
        (i, j)
        for i, j in exact_in_floats(products)
        if products[i, j] - np.delete(products[i], j).max() > 0.01
        and products[i, j] - np.delete(products[:, j], i).max() > 0.01
    ]
    assert len(sure) >= 100
    assert set(sure) <= set(found)


def exact_in_floats(products):
    best_column, best_row = products.argmax(axis=1), products.argmax(axis=0)
    return [(i, int(j)) for i, j in enumerate(best_column) if best_row[j] == i]


@everywhere
def test_non_finite_numbers_do_not_crash(backend):
    rng = np.random.default_rng(4)
    query, candidate = (rng.choice([np.nan, np.inf, -np.inf, 1], (50, 8)).astype(np.float32) for _ in range(2))
    with np.errstate(invalid="ignore"):
        (number,) = count_on(backend, query, candidate, np.array([0, 50]))
    assert 0 <= number <= 50


@everywhere
@pytest.mark.parametrize("dim", [128, 258, 259, 1000, 33025])
def test_products_stay_exact_at_any_length(backend, dim):
    # Two candidates whose products differ by one unit in the last place, at the largest possible values.
    best = np.full((1, dim), 255, dtype=np.uint8)
    nearly = best.copy()
    nearly[0, 0] = 254
    query = best.copy()
    query[0, 0] = 1
    candidates = np.concatenate([nearly, best])
    assert slow_pairs(query, candidates) == [(0, 1)]
    assert pairs_on(backend, query, candidates) == [(0, 1)]
    assert mutual_nn.pairs(query, candidates).tolist() == [[0, 1]]


@everywhere
@pytest.mark.parametrize("dim", [768, 1024, 1025, 33025])
@pytest.mark.parametrize("sign", [1, -1])
def test_products_of_signed_bytes_stay_exact_at_any_length(backend, dim, sign):
    # The largest possible products of both signs, which differ by one unit in the last place.
    best = np.full((1, dim), -128, dtype=np.int8)
    nearly = best.copy()
    nearly[0, 0] = -127
    query = best.copy() if sign > 0 else np.full((1, dim), 127, dtype=np.int8)
    query[0, 0] = sign
    candidates = np.concatenate([best, nearly])
    assert pairs_on(backend, query, candidates) == slow_pairs(query, candidates)
    assert mutual_nn.pairs(query, candidates).tolist() == [list(pair) for pair in slow_pairs(query, candidates)]


def test_products_beyond_int32_are_exact():
    best = np.full((2, 33026), 255, dtype=np.uint8)
    best[0, 0] = 254
    assert mutual_nn.pairs(best[1:], best).tolist() == [[0, 1]]
    assert mutual_nn.count(best[1:], best, np.array([0, 2])).tolist() == [1]
    if _native:
        with pytest.raises(ValueError, match="longer"):
            count_on(ISAS[0], best, best, np.array([0, 2]))


@needs_native
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("threads", [1, 2, 3, 4, 1000])
def test_the_number_of_threads_does_not_change_the_result(isa, threads):
    rng = np.random.default_rng(5)
    query = rng.integers(0, 256, (90, 128)).astype(np.uint8)
    sizes = rng.integers(0, 120, 40)
    sizes[[0, 17, 39]] = 0
    gallery = rng.integers(0, 256, (sizes.sum(), 128)).astype(np.uint8)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    expected = [len(exact_pairs(query, gallery[a:b])) for a, b in pairwise(offsets)]
    assert count_on(isa, query, gallery, offsets, threads) == expected
    assert mutual_nn.count(query, gallery, offsets, threads=threads).tolist() == expected


@needs_native
def test_the_gil_is_released():
    query, gallery = np.ones((2000, 128), np.uint8), np.ones((60000, 128), np.uint8)
    done = threading.Event()
    thread = threading.Thread(
        target=lambda: (count_on("portable", query, gallery, np.array([0, 60000])), done.set())
    )
    thread.start()
    ticks = 0
    while not done.wait(0.001):
        ticks += 1
    thread.join()
    # Without releasing the GIL, the first wait would have lasted until the end.
    assert ticks > 20


@needs_native
def test_memory_does_not_grow_with_the_gallery():
    # A separate process, so that the memory peak belongs to this call alone.
    script = """
import resource, sys
import numpy as np
from imagefinder.kernels import mutual_nn
query = np.ones((400, 128), np.uint8)
gallery = np.ones((400_000, 128), np.uint8)
offsets = np.arange(0, 400_001, 1000)
mutual_nn.count(query, gallery[:2000], offsets[:3], threads=2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
mutual_nn.count(query, gallery, offsets, threads=2)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    if sys.platform != "linux":
        pytest.skip("ru_maxrss has another unit here")
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 2048, "KiB; the products alone would be 1.6 MB an image, the gallery 50 MB"


def test_duplicates_pair_with_the_first_only():
    rows = np.array([[1, 2], [1, 2], [1, 2]], dtype=np.uint8)
    assert mutual_nn.pairs(rows, rows).tolist() == [[0, 0]]


def test_an_image_against_itself_pairs_every_distinct_unit_descriptor():
    rows = (np.eye(16) * 200).astype(np.uint8)
    assert mutual_nn.count(rows, rows, np.array([0, 16])).tolist() == [16]


def test_empty_sides():
    none, some = np.empty((0, 4), np.uint8), np.ones((3, 4), np.uint8)
    assert mutual_nn.count(none, some, np.array([0, 3, 3])).tolist() == [0, 0]
    assert mutual_nn.count(some, none, np.array([0, 0])).tolist() == [0]
    assert mutual_nn.count(some, none, np.array([0])).tolist() == []
    assert mutual_nn.pairs(none, some).shape == (0, 2)
    assert mutual_nn.pairs(some, none).shape == (0, 2)


def test_read_only_arrays_are_accepted():
    rows = np.eye(5, dtype=np.uint8)
    rows.setflags(write=False)
    offsets = np.array([0, 5])
    offsets.setflags(write=False)
    assert mutual_nn.count(rows, rows, offsets).tolist() == [5]


UNALIGNED = np.frombuffer(bytes(25), np.uint8)[1:].view(np.float32).reshape(2, 3)
WRONG = [
    (np.ones((2, 3), np.uint8), np.ones((2, 4), np.uint8)),
    (np.ones((2, 3), np.uint8), np.ones((2, 3), np.float32)),
    (np.ones((2, 3), np.float64), np.ones((2, 3), np.float64)),
    (np.ones((2, 3), np.int8), np.ones((2, 3), np.uint8)),
    (np.ones((2, 3), np.int16), np.ones((2, 3), np.int16)),
    (np.ones((2, 3), ">f4"), np.ones((2, 3), ">f4")),
    (np.ones(3, np.uint8), np.ones((2, 3), np.uint8)),
    (np.ones((2, 3), np.uint8), np.ones((2, 3, 1), np.uint8)),
    (np.ones((2, 6), np.uint8)[:, ::2], np.ones((2, 3), np.uint8)),
    (np.ones((2, 3), np.uint8), np.ones((3, 2), np.uint8).T),
    (np.ones((2, 3), np.uint8), np.ones((4, 3), np.uint8)[::2]),
    (UNALIGNED, np.ones((2, 3), np.float32)),
    (np.ones((2, 3), np.float32), UNALIGNED),
]


@pytest.mark.parametrize(("query", "gallery"), WRONG)
def test_invalid_arrays_are_rejected(query, gallery):
    with pytest.raises(ValueError, match="descriptors"):
        mutual_nn.pairs(query, gallery)
    with pytest.raises(ValueError, match="descriptors"):
        mutual_nn.count(query, gallery, np.array([0, 2]))
    if _native:
        with pytest.raises(ValueError, match="descriptors"):
            _native.count(query, gallery, np.array([0, 2]), np.zeros(1, np.int64), 1)
        with pytest.raises(ValueError, match="descriptors"):
            _native.pairs(query, [gallery], np.zeros((9, 2), np.int64), np.zeros(1, np.int64), 1)


@pytest.mark.parametrize(
    "offsets",
    [
        np.array([0, 5]),
        np.array([-1, 4]),
        np.array([0, 3, 2, 4]),
        np.array([0, 9, 4]),
        np.array([2**62, 4]),
        np.array([-(2**63), 2**63 - 1]),
        np.array([0, 4], np.int32),
        np.array([0.0, 4.0]),
        np.array([[0, 4]]),
        np.array([], np.int64),
        np.array([0, 4], ">i8"),
    ],
)
def test_invalid_offsets_are_rejected(offsets):
    rows = np.ones((4, 3), np.uint8)
    with pytest.raises(ValueError, match="offsets"):
        mutual_nn.count(rows, rows, offsets)
    if _native:
        with pytest.raises(ValueError, match="offsets"):
            _native.count(rows, rows, offsets, np.zeros(max(offsets.size - 1, 0), np.int64), 1)


def test_invalid_threads_are_rejected():
    rows = np.ones((4, 3), np.uint8)
    with pytest.raises(ValueError, match="threads"):
        mutual_nn.count(rows, rows, np.array([0, 4]), threads=0)
    with pytest.raises(ValueError, match="threads"):
        mutual_nn.pairs_all(rows, [rows], threads=0)


@needs_native
def test_the_native_functions_check_their_arguments():
    rows, offsets = np.ones((4, 3), np.uint8), np.array([0, 4])
    constant = np.zeros(1, np.int64)
    constant.setflags(write=False)
    for counts in (np.zeros(2, np.int64), np.zeros(1, np.int32), np.zeros((1, 1), np.int64), constant):
        with pytest.raises(ValueError, match=r"counts|offsets"):
            _native.count(rows, rows, offsets, counts, 1)
    with pytest.raises(ValueError, match="counts"):
        _native.count(rows, rows, np.array([0, 2, 4]), np.zeros(4, np.int64)[::2], 1)
    for found in (np.zeros((3, 2), np.int64), np.zeros((4, 3), np.int64), np.zeros((4, 2), np.float64)):
        with pytest.raises(ValueError, match="found"):
            _native.pairs(rows, [rows], found, np.zeros(1, np.int64), 1)
    with pytest.raises(ValueError, match="counts"):
        _native.pairs(rows, [rows], np.zeros((4, 2), np.int64), np.zeros(2, np.int64), 1)
    with pytest.raises(ValueError, match="threads"):
        _native.pairs(rows, [rows], np.zeros((4, 2), np.int64), np.zeros(1, np.int64), 0)
    with pytest.raises(TypeError):
        _native.pairs(rows, 5, np.zeros((4, 2), np.int64), np.zeros(1, np.int64), 1)
    with pytest.raises(ValueError, match="candidate descriptors"):
        _native.pairs(rows, [None], np.zeros((4, 2), np.int64), np.zeros(1, np.int64), 1)
    with pytest.raises(ValueError, match="threads"):
        _native.count(rows, rows, offsets, np.zeros(1, np.int64), 0)
    with pytest.raises(ValueError, match="does not support mmx"):
        _native.count(rows, rows, offsets, np.zeros(1, np.int64), 1, "mmx")
    with pytest.raises(ValueError, match="must be a C-contiguous array"):
        _native.count(None, rows, offsets, np.zeros(1, np.int64), 1)


def test_the_native_kernel_is_used_wherever_it_could_be_built():
    headers = Path(sysconfig.get_path("include"), "Python.h")
    if not (_native or (shutil.which("c++") and headers.exists())):
        pytest.skip("no compiler, or no Python headers, are at hand")
    assert mutual_nn.backend() == ISAS[0]
    assert ISAS[-1] == "portable"


def test_without_it_numpy_is_used_with_one_warning(monkeypatch, caplog):
    monkeypatch.setattr(mutual_nn, "_HAS_NATIVE", False)
    mutual_nn.backend.cache_clear()
    rows = np.eye(6, dtype=np.uint8)
    try:
        with caplog.at_level(logging.WARNING):
            assert mutual_nn.count(rows, rows, np.array([0, 3, 6])).tolist() == [3, 3]
            assert len(mutual_nn.pairs(rows, rows)) == 6
        assert mutual_nn.backend() == "numpy"
    finally:
        mutual_nn.backend.cache_clear()
    (record,) = caplog.records
    assert "compiler" in record.getMessage()


def test_backend_names():
    assert mutual_nn.backend() in BACKENDS
