import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagefinder.core.features import FeatureSpec, GlobalFeatures, LocalFeatures
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.method import Method
from imagefinder.core.records import Entry, ImageRecord
from imagefinder.dedup import candidate_pairs
from imagefinder.extractors.sift import mirrored
from imagefinder.matching.cosine import CosineMatcher
from imagefinder.matching.mutual_nn import MutualNNMatcher
from imagefinder.stores.memory import MemoryStore


class Extractor:
    def __init__(self, spec):
        self.spec = spec

    def fingerprint(self):
        return Fingerprint("m", 1)


LOCAL = Method(
    "m", "", "matches", Extractor(FeatureSpec("local", 128, "uint8")), MutualNNMatcher(), mirror=mirrored
)
GLOBAL = Method("m", "", "cosine", Extractor(FeatureSpec("global", 64, "float32")), CosineMatcher())


def descriptors(generator, count):
    """Sparse, positive descriptors, like those of SIFT."""
    return (generator.gamma(0.5, 40, (count, 128)) + 0.5).clip(0, 255).astype(np.uint8)


def local(rows, sizes=None):
    keypoints = np.zeros((len(rows), 4), np.float32)
    keypoints[:, 2] = np.arange(len(rows), 0, -1) if sizes is None else sizes
    return LocalFeatures(rows, keypoints, np.array([0, len(rows)]))


def noisy(generator, rows, by=8):
    return (rows + generator.normal(0, by, rows.shape)).clip(0, 255).astype(np.uint8)


def stored(method, features):
    store = MemoryStore()
    store.register(method.extractor.fingerprint(), method.extractor.spec)
    names = [f"{number:05}" for number in range(len(features))]
    store.put(
        [
            Entry(ImageRecord(name, "", "", 1, 9, 9, "PNG"), {"m": f})
            for name, f in zip(names, features, strict=True)
        ]
    )
    return store, {name: number for number, name in enumerate(names)}


def propose(method, features, **options):
    return set(map(tuple, candidate_pairs.candidate_pairs(*stored_args(method, features), **options).tolist()))


def stored_args(method, features):
    store, rows = stored(method, features)
    return store, method, rows


def crowd(images, seed=1):
    """Features of noise; the second half are copies of the first half, every other one mirrored."""
    generator = np.random.default_rng(seed)
    first = [descriptors(generator, 80) for _ in range(images // 2)]
    second = [noisy(generator, rows[:50]) for rows in first]
    return [local(rows) for rows in first] + [
        mirrored(local(rows), 9) if number % 2 else local(rows) for number, rows in enumerate(second)
    ]


def test_copies_are_found_mirrored_or_not():
    found = propose(LOCAL, crowd(120))
    assert {(number, number + 60) for number in range(60)} <= found


def test_vectors_that_are_close():
    generator = np.random.default_rng(2)
    first = generator.gamma(1, 1, (200, 64)).astype(np.float32)
    second = first + generator.normal(0, 0.4, first.shape).astype(np.float32)
    found = propose(GLOBAL, [GlobalFeatures(row[None]) for row in np.concatenate([first, second])])
    assert np.mean([(number, number + 200) in found for number in range(200)]) >= 0.99


@pytest.mark.parametrize("kind", ["local", "global"])
def test_work_grows_linearly_with_the_images(monkeypatch, kind):
    compared = []
    count = np.bitwise_count

    def counting(codes):
        compared.append(len(codes))
        return count(codes)

    monkeypatch.setattr(candidate_pairs.np, "bitwise_count", counting)
    counts, pairs = [], []
    for images in (200, 400, 800):
        compared.clear()
        if kind == "local":
            found = propose(LOCAL, crowd(images))
        else:
            vectors = np.random.default_rng(3).gamma(1, 1, (images, 1, 64)).astype(np.float32)
            found = propose(GLOBAL, [GlobalFeatures(vector) for vector in vectors])
        counts.append(sum(compared))
        pairs.append(len(found))
        assert len(found) <= candidate_pairs.PAIRS_KEPT * images
    assert counts[1] <= 2.1 * counts[0]
    assert counts[2] <= 2.1 * counts[1]
    if kind == "local":
        assert pairs[2] <= 2.2 * pairs[1]


def test_a_detail_shared_by_all_images_hides_no_copy():
    generator = np.random.default_rng(4)
    watermark = descriptors(generator, 40)
    features = [
        local(
            np.concatenate([watermark, f.descriptors]),
            np.r_[np.full(40, 500), np.arange(len(f.descriptors), 0, -1)],
        )
        for f in crowd(300)[:150]
    ]
    copies = [local(noisy(generator, f.descriptors)) for f in features[:20]]
    found = propose(LOCAL, features + copies)
    assert {(number, 150 + number) for number in range(20)} <= found
    assert len(found) <= candidate_pairs.PAIRS_KEPT * 170


def test_many_copies_of_one_image_form_a_component():
    generator = np.random.default_rng(5)
    rows = descriptors(generator, 100)
    found = propose(LOCAL, [local(noisy(generator, rows, 4)) for _ in range(60)])
    reached, frontier = {0}, [0]
    while frontier:
        here = frontier.pop()
        for pair in found:
            if here in pair and (there := sum(pair) - here) not in reached:
                reached.add(there)
                frontier.append(there)
    assert reached == set(range(60))


def test_only_the_largest_keypoints_are_used():
    generator = np.random.default_rng(6)
    rows = descriptors(generator, 400)
    sizes = generator.permutation(400) + 1.0
    features = local(rows, sizes)
    chosen, owners = candidate_pairs._largest(features, np.array([0]), 150)
    assert sorted(sizes[chosen]) == sorted(sizes)[-150:]
    assert set(owners) == {0}


def test_the_pairs_do_not_depend_on_the_step(monkeypatch):
    features = crowd(60)
    found = propose(LOCAL, features)
    assert propose(LOCAL, features) == found
    monkeypatch.setattr(candidate_pairs, "_AT_ONCE", 17)
    assert len(propose(LOCAL, features) ^ found) <= 0.1 * len(found)
    assert {(number, number + 30) for number in range(30)} <= propose(LOCAL, features)


def test_memory_for_pairs_is_bounded(monkeypatch):
    monkeypatch.setattr(candidate_pairs, "_PAIRS_PER_IMAGE", 2)
    assert {(number, number + 60) for number in range(60)} <= propose(LOCAL, crowd(120))


@pytest.mark.parametrize("method", [LOCAL, GLOBAL])
def test_nothing_to_compare(method):
    assert propose(method, []) == set()
    nothing = local(np.empty((0, 128), np.uint8))
    blank = nothing if method is LOCAL else GlobalFeatures(np.zeros((1, 64), np.float32))
    assert propose(method, [blank]) == set()
    assert len(propose(method, [blank] * 3)) <= 3


def test_excluded_images():
    store, rows = stored(LOCAL, crowd(20))
    left = {name: number for number, name in enumerate(sorted(rows)[:12])}
    reported = []
    pairs = candidate_pairs.candidate_pairs(store, LOCAL, left, progress=reported.append)
    assert {(0, 10), (1, 11)} <= set(map(tuple, pairs.tolist()))
    assert pairs.max() < 12
    assert reported[-1] == 12


@given(
    st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14), st.integers(1, 9)), max_size=60).map(
        lambda rows: {(min(a, b), max(a, b)): weight for a, b, weight in rows if a != b}
    ),
    st.integers(1, 4),
)
@settings(deadline=None)
def test_the_best_pairs_equal_those_of_a_slow_twin(weights, keep):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidate_pairs, "PAIRS_KEPT", keep)
        pairs = sorted(weights)
        keys = np.array([a * 15 + b for a, b in pairs], dtype=np.int64)
        found = candidate_pairs._best(keys, np.array([weights[pair] for pair in pairs], dtype=np.int64), 15)
    expected = set()
    for image in range(15):
        mine = [pair for pair in pairs if image in pair]
        mine.sort(key=lambda pair: (-weights[pair], sum(pair) - image))
        expected |= set(mine[:keep])
    assert list(map(tuple, found.tolist())) == sorted(expected)


@given(st.integers(0, 2**128 - 1), st.integers(0, 127))
def test_codes_from_a_bit_on(code, bit):
    words = np.array([[code >> 64, code & (2**64 - 1)]], dtype=np.uint64)
    text = f"{code:0128b}"
    assert f"{int(candidate_pairs._from_bit(words, bit)[0]):064b}" == (text + text)[bit : bit + 64]
