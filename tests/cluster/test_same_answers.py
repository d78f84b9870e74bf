"""A collection in PostgreSQL answers exactly as the same collection in a folder."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from edited_pictures import EDITS, edited
from example_pictures import PICTURES

import imagefinder
from imagefinder.core.file_metadata import FileMetadata
from imagefinder.core.serialization import to_json

METHODS = ("sift", "efficientnet-lite0")
FILTERS = (
    {"number": {"lt": 9}},
    {"any": [{"parity": "odd"}, {"number": 4}]},
    {"not": {"parity": "odd"}, "number": {"gte": 3}},
    {"maker.name": {"contains": "B"}},
)
DATASETS = Path(os.environ.get("BENCH_DATASETS", Path(__file__).parents[3] / "shared" / "data"))


def copied(source, url):
    """The images of a collection in a new one: records, features and thumbnails, but no null model."""
    target = imagefinder.open(url)
    for method in source.info().methods.values():
        target.store.register(method.fingerprint, method.spec)
    ids = [record.id for record in source.images(limit=1000)]
    target.store.put([source.store.entry(image_id) for image_id in ids], copied=True)
    assert target.store.digests(ids) == source.store.digests(ids)
    return target


@pytest.fixture(scope="module")
def pair(postgres, tmp_path_factory):
    """The first 16 example pictures and 2 edited ones, in a folder and in PostgreSQL; the rest is not there."""
    folder = tmp_path_factory.mktemp("same")
    paths = sorted(PICTURES.glob("*.jpg"))[:16]
    for path in paths[:2]:
        (folder / f"edited {path.name}").write_bytes(edited(path, EDITS["crop"]))
    with imagefinder.open(folder / "collection") as embedded:
        embedded.add(*paths, *folder.glob("*.jpg"), methods=list(METHODS))
        for number, record in enumerate(embedded.images(limit=100)):
            metadata = {
                "number": number,
                "parity": "odd" if number % 2 else "even",
                "maker": {"name": ["A", "b", "é"][number % 3]},
            }
            entry = embedded.store.entry(record.id)
            found = FileMetadata({}, "1", f"stack {number // 3}")
            changed = replace(record, metadata=metadata, file_metadata=found)
            embedded.store.put([replace(entry, image=changed)])
        assert embedded.store.count(stacks=True) == 6
        with copied(embedded, f"{postgres.url(postgres.new_database())}/same") as distributed:
            embedded.calibrate()
            assert distributed.calibrate(), "by itself"
            assert embedded.calibration().null_model == distributed.calibration().null_model
            yield embedded, distributed


@pytest.fixture(scope="module")
def queries():
    paths = sorted(PICTURES.glob("*.jpg"))
    return [edited(path, EDITS[name]) for path, name in zip(paths[::9], list(EDITS) * 9, strict=False)]


@pytest.mark.parametrize("where", [None, *FILTERS[:2]])
@pytest.mark.parametrize("text", ["cat", "coffee cup", "alp valley", "artifact", "volcano"])
def test_words(pair, text, where):
    embedded, distributed = (one.search(text=text, where=where, k=20) for one in pair)
    assert distributed.ids == embedded.ids
    assert distributed.searched == embedded.searched
    assert distributed.words.shown == embedded.words.shown
    for ours, theirs in zip(distributed.hits, embedded.hits, strict=True):
        assert ours.score == pytest.approx(theirs.score, abs=1e-5)


def test_words_with_an_image(pair):
    embedded, distributed = (one.search(PICTURES / "coffee.jpg", text="cat", k=5) for one in pair)
    assert distributed.ids == embedded.ids
    assert len(distributed.ids) == 5


def both(pair, call):
    return call(pair[0]), call(pair[1])


def shown(result):
    """Everything that a search says, without times."""
    return result.decision, [
        (hit.id, hit.score, hit.decision, hit.relation, hit.evalue, hit.evidence) for hit in result.hits
    ]


@pytest.mark.parametrize("method", METHODS)
def test_plain_order(pair, queries, method):
    for query in queries:
        one, other = both(pair, lambda c: c.search(query, method=method, ranking="matches", evalues=False, k=18))  # noqa: B023
        assert [(hit.id, hit.score) for hit in one.hits] == [(hit.id, hit.score) for hit in other.hits]
        assert len(one.hits) == 6


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_decisions(pair, queries, mode):
    for query in queries:
        one, other = both(pair, lambda c: c.search(query, mode=mode))  # noqa: B023
        assert shown(one) == shown(other)


@pytest.mark.parametrize("where", FILTERS, ids=str)
@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_filters(pair, queries, where, mode):
    for query in queries[:2]:
        one, other = both(pair, lambda c: c.search(query, mode=mode, where=where, k=18))  # noqa: B023
        assert shown(one) == shown(other)
    one, other = both(pair, lambda c: [record.id for record in c.images(where=where, limit=100)])
    assert one == other
    assert 0 < len(one) < 18


def test_duplicates(pair):
    one, other = both(pair, lambda c: c.duplicates())
    assert one.groups == other.groups
    assert (one.candidates, one.verified) == (other.candidates, other.verified)
    assert one.groups


def test_explanations(pair, queries):
    one, other = both(pair, lambda c: c.explain(queries[0], c.search(queries[0]).hits[0].id))
    assert to_json(one) == to_json(other)
    assert one.inliers


@pytest.mark.skipif(not (DATASETS / "copy" / "manifest.json").exists(), reason="needs copy in shared/data")
def test_data_set(postgres, tmp_path):
    """40 images and 8 queries of a data set."""
    folder = DATASETS / "copy"
    files = sorted((folder / "db").iterdir())[:40]
    with imagefinder.open(tmp_path / "folder") as embedded:
        embedded.add(*files, methods=list(METHODS))
        with copied(embedded, f"{postgres.url(postgres.new_database())}/set") as distributed:
            embedded.calibrate()
            distributed.calibrate()
            for query in sorted((folder / "q").iterdir())[::75]:
                one, other = both((embedded, distributed), lambda c: c.search(query))  # noqa: B023
                assert shown(one) == shown(other)
