import numpy as np
import pytest

from imagefinder.core.features import FeatureSpec, LocalFeatures, concatenate
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.method import Method
from imagefinder.core.records import GalleryBlock
from imagefinder.extractors.sift import mirrored
from imagefinder.matching.mutual_nn import MutualNNMatcher
from imagefinder.search import scoring
from imagefinder.search.encoding import EncodedQuery, augment, query_image
from imagefinder.search.scoring import Scorer
from imagefinder.stores.memory import MemoryStore
from imagefinder.verification.geometry import GeometryVerifier

SPEC = FeatureSpec("local", 128, "uint8")
IMAGES = 30


class Extractor:
    spec = SPEC


METHOD = Method("m", "", "matches", Extractor(), MutualNNMatcher(), verifier=GeometryVerifier(), mirror=mirrored)


def features(seed, many=60):
    rng = np.random.default_rng(seed)
    descriptors = rng.integers(0, 120, (many, 128), dtype=np.uint8)
    keypoints = rng.uniform(1, 90, (many, 4)).astype(np.float32)
    return LocalFeatures(descriptors, keypoints, np.array([0, many], dtype=np.int64))


def query(one):
    image = query_image(np.zeros((100, 100, 3), np.uint8))
    return augment(METHOD, EncodedQuery(image, one, Fingerprint("m", 1), indexed=True), mirror=True)


def gallery(start, end, **others):
    ids = tuple(f"{number:03}" for number in range(start, end))
    return GalleryBlock(ids, concatenate(SPEC, [others.get(f"i{name}", features(int(name))) for name in ids]))


def scorer(queries, *, sparing):
    return Scorer(MemoryStore(), (METHOD, queries), None, near=True, sparing=sparing)


def scanned(queries, *, sparing, **others):
    made, blocks = scorer(queries, sparing=sparing), [gallery(0, 20, **others), gallery(20, IMAGES, **others)]
    made.scan(blocks, keep=True)
    return made


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(scoring, "MIRROR_DESCRIPTORS", 20)
    monkeypatch.setattr(scoring, "MIRROR_DEPTH", 4)


@pytest.mark.usefixtures("few")
def test_the_mirror_image_is_compared_in_full_where_it_is_likely():
    one = features(1000)
    copy = mirrored(one, 100)
    sparing, full = (scanned(query(one), sparing=sparing, i017=copy, i025=copy) for sparing in (True, False))
    assert sparing.images.ids == full.images.ids
    for some, all_of_them in ((sparing.each, full.each), (sparing.near, full.near)):
        assert (some[0] == all_of_them[0]).all()
        compared = np.flatnonzero(some[1])
        assert {17, 25} <= set(compared.tolist())
        assert len(compared) <= 8
        assert (some[1, compared] == all_of_them[1, compared]).all()
    assert sparing.each[1, 17] == sparing.near[1, 25] == 60


@pytest.mark.usefixtures("few")
def test_a_query_with_few_descriptors_is_compared_in_full():
    one = features(1000, many=20)
    assert (scanned(query(one), sparing=True).each == scanned(query(one), sparing=False).each).all()


@pytest.mark.usefixtures("few")
def test_of_added_images_only_the_given_ones_are_compared_with_the_mirror_image():
    one = features(1000)
    full = scanned(query(one), sparing=False)
    made = scorer(query(one), sparing=True)
    made.add(gallery(0, 20), {"003", "015", "not there"})
    made.add(gallery(20, IMAGES))
    assert (made.each[0] == full.each[0]).all()
    assert set(np.flatnonzero(made.each[1]).tolist()) == {3, 15, *range(20, IMAGES)}
    compared = made.each[1] > 0
    assert (made.each[1, compared] == full.each[1, compared]).all()


def test_nothing_to_compare():
    made = scorer(query(features(1)), sparing=True)
    made.scan([])
    assert made.each.shape == made.near.shape == (2, 0)
    assert made.standard().shape == (0,)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("sparing", [True, False])
def test_the_matches_of_all_descriptors_are_kept(sparing):
    one = features(1000)
    made = scanned(query(one), sparing=sparing, i017=mirrored(one, 100))
    for view, augmented in enumerate(made.queries):
        for row, image_id in enumerate(made.images.ids):
            kept, stored = made.images.matches(image_id, view), made.images.features([image_id])[image_id]
            if kept is None:  # the mirror image was compared with its first descriptors
                assert (sparing, view, made.each[view, row]) == (True, 1, 0)
            else:
                assert (kept == METHOD.matcher.matches(augmented.features, stored)).all()
                assert len(kept) == made.each[view, row]
    assert made.images.matches("017", 1) is not None


def test_matches_are_kept_within_a_limit(monkeypatch):
    monkeypatch.setattr(scoring, "KEPT_MATCHES", 100)
    made = scanned(query(features(1000)), sparing=False)
    kept = [made.images.matches(image_id, view) for image_id in made.images.ids for view in (0, 1)]
    assert 0 < sum(len(matches) for matches in kept if matches is not None) <= 100
    full = scorer(query(features(1000)), sparing=False)
    full.add(gallery(0, 20))
    full.add(gallery(20, IMAGES))
    assert (made.each == full.each).all()
