"""A filter gives the same answer, whether the store evaluates it or Python compares ids."""

from contextlib import closing

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagefinder.ann import index as ann_index
from imagefinder.ann.index import InvertedFileIndex
from imagefinder.core import filters
from imagefinder.core.features import FeatureSpec, GlobalFeatures
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.method import Method
from imagefinder.core.paging import iter_images
from imagefinder.core.records import Entry, ImageRecord
from imagefinder.matching.cosine import CosineMatcher
from imagefinder.search import allowed as allowed_module
from imagefinder.search import retrieval
from imagefinder.search.allowed import Allowed
from imagefinder.search.encoding import encode, query_image
from imagefinder.search.retrieval import Gallery, Wanted, restrict, retrieve, searched
from imagefinder.stores.embedded import EmbeddedStore
from imagefinder.stores.memory import MemoryStore

SPEC = FeatureSpec("global", 3, "float32")
NAMES = ("one", "two")


class MeanColour:
    spec = SPEC

    def __init__(self, name):
        self.name = name

    def fingerprint(self):
        return Fingerprint(self.name, 1)

    def extract(self, images):
        return GlobalFeatures(np.array([i.mean((0, 1)) for i in images], np.float32).reshape(-1, 3))


def picture(seed):
    return np.random.default_rng(seed).integers(0, 256, (1, 1, 3), dtype=np.uint8).repeat(4, 0).repeat(5, 1)


METHODS = [Method(name, "", "cosine", MeanColour(name), CosineMatcher()) for name in NAMES]


@pytest.fixture(scope="module", params=["memory", "embedded"])
def store(request, tmp_path_factory):
    """120 images; a third has features of the first method only, a third of the second only."""
    folder = tmp_path_factory.mktemp("store")
    made = EmbeddedStore(folder, create=True, cache_bytes=0) if request.param == "embedded" else MemoryStore()
    with closing(made) as store:
        for method in METHODS:
            store.register(method.extractor.fingerprint(), SPEC)
        entries = []
        for seed in range(120):
            has = [method for number, method in enumerate(METHODS) if seed % 3 in (number, 2)]
            features = {method.name: method.extractor.extract([picture(seed)]) for method in has}
            metadata = {"n": seed, "text": "abc"[seed % 3], "list": [seed % 4, {"deep": seed % 5}]}
            entries.append(Entry(ImageRecord(f"{seed}", "", "", 1, 5, 4, "PNG", metadata=metadata), features))
        store.put(entries)
        yield store


@pytest.fixture(scope="module")
def indexes(store):
    made = {name: InvertedFileIndex(store, name, SPEC) for name in NAMES}
    for index in made.values():
        index.refresh()
    return made


conditions = st.one_of(
    st.builds(lambda sign, n: {"n": {sign: n}}, st.sampled_from(["gt", "gte", "lt", "lte"]), st.integers(-5, 130)),
    st.builds(lambda letter: {"text": letter}, st.sampled_from("abcd")),
    st.builds(lambda numbers: {"list": {"in": numbers}}, st.lists(st.integers(0, 5), max_size=3)),
    st.builds(lambda there: {"none": {"exists": there}}, st.booleans()),
)
wheres = st.recursive(
    conditions,
    lambda inner: st.one_of(
        st.builds(lambda one: {"not": one}, inner),
        st.builds(lambda many: {"any": many}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda many: {"all": many}, st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=5,
)


def listed(store, where):
    """The ids that match, found without the store's filter."""
    return {record.id for record in iter_images(store.images) if where.matches(record.metadata)}


def expected_rows(store, index, query, ids, few):
    """The ids that one method scores in a fast search, as computed from all allowed ids."""
    has = {image_id for block in store.scan(query.fingerprint.method) for image_id in block.ids}
    if len(ids) <= few:
        return ids & has
    keys = index.propose(query.features, retrieval.PROPOSED * ann_index.OVERFETCH)[0].keys
    return set(store.load(query.fingerprint.method, np.sort(keys))[1].ids) & ids


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=wheres, few=st.sampled_from([0, 20, 1000]), seed=st.integers(1000, 1005), both=st.booleans())
def test_a_filter_gives_the_answer_of_its_ids(store, indexes, monkeypatch, data, few, seed, both):
    monkeypatch.setattr(allowed_module, "FEW", few)
    monkeypatch.setattr(retrieval, "PROPOSED", 4)
    where = filters.parse(data)
    ids = listed(store, where)
    methods = METHODS if both else METHODS[:1]
    encoded = list(zip(methods, encode(store, methods, query_image(picture(seed))), strict=True))
    wanted = Wanted(rerank_depth=4)

    everything = retrieve(Gallery(store), encoded, wanted)
    exact = retrieve(Gallery(store, allowed=Allowed.of(store, where, fast=False)), encoded, wanted)
    for one, whole in zip(exact, everything, strict=True):
        same = restrict(whole, ids)
        assert (dict(one.rows), one.values.tolist()) == (dict(same.rows), same.values.tolist())
        assert set(one.rows) <= ids

    allowed = Allowed.of(store, where, fast=True)
    assert (allowed.count, allowed.ids is None) == (len(ids), len(ids) > few)
    fast = retrieve(Gallery(store, allowed=allowed, ann_indexes=indexes), encoded, wanted)
    assert searched(fast) == min(len(ids), 120, sum(store.info().methods[m.name].images for m in methods))
    proposed = [expected_rows(store, indexes[m.name], query, ids, few) for m, query in encoded]
    for one, whole, rows in zip(fast, everything, proposed, strict=True):
        assert rows <= set(one.rows) <= ids
        if not both:
            assert set(one.rows) == rows
        for image_id, row in one.rows.items():
            assert one.values[row] == whole.values[whole.rows[image_id]]


@pytest.mark.parametrize("few", [0, 1000])
@pytest.mark.parametrize(("image_id", "count"), [("7", 30), ("8", 31), ("gone", 31)])
def test_one_more_image_is_allowed(store, monkeypatch, few, image_id, count):
    monkeypatch.setattr(allowed_module, "FEW", few)
    allowed = Allowed.of(store, filters.parse({"list": 3}), fast=True)
    assert allowed.count == 30
    more = allowed.including(store, image_id)
    assert more.count == count
    assert more.ids is None if few == 0 else more.ids == {*allowed.ids, image_id}


def test_an_exact_search_requires_the_ids(store):
    encoded = list(zip(METHODS, encode(store, METHODS, query_image(picture(1))), strict=True))
    with pytest.raises(ValueError, match="ids of all matching images"):
        retrieve(Gallery(store, allowed=Allowed(filters.parse({}), 120, 120, None)), encoded, Wanted())
