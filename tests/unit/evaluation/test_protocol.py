import json

import numpy as np
import pytest
from PIL import Image

import imagefinder
from imagefinder.core.errors import InputError, SourceError
from imagefinder.core.results import Hit, SearchResult
from imagefinder.evaluation.datasets import Dataset, LabelledQuery, read_manifest
from imagefinder.evaluation.protocol import add_gallery, evaluate
from imagefinder.testing.extractors import textured_image


@pytest.fixture
def dataset(tmp_path):
    for folder in ("db", "q"):
        (tmp_path / folder).mkdir()
    for seed in range(4):
        Image.fromarray(textured_image(seed)).save(tmp_path / f"db/{seed}.png")
    Image.fromarray(textured_image(0)[10:90, 10:120]).save(tmp_path / "q/crop.png")
    Image.fromarray(textured_image(9)).save(tmp_path / "q/other.png")
    manifest = {
        "images": [f"db/{seed}.png" for seed in range(4)],
        "queries": [
            {"query": "q/crop.png", "positives": ["db/0.png"], "ignore": [], "edits": ["crop"]},
            {"query": "q/crop.png", "positives": ["db/1.png"], "ignore": ["db/0.png", "db/2.png", "db/3.png"]},
            {"query": "q/other.png", "positives": [], "ignore": []},
        ],
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return read_manifest(tmp_path)


def test_gallery_and_metrics(tmp_path, dataset):
    with imagefinder.open(tmp_path / "c") as collection:
        report = add_gallery(collection, dataset, ["sift"])
        assert report.added == 4
        assert [record.id for record in collection.images()] == list(dataset.images)
        seen = []
        metrics = evaluate(
            collection,
            dataset,
            "sift",
            lambda done, total: seen.append((done, total)),
            ranking="matches",
            evalues=False,
        )
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert (metrics.images, metrics.queries, metrics.unanswerable) == (4, 2, 1)
    assert (metrics.mean_average_precision, metrics.recall_at_1) == (1, 1)
    assert set(metrics.median_seconds) == {"decode", "extract", "match", "total"}
    assert metrics.to_dict()["method"] == "sift"
    assert (metrics.unit, metrics.as_matches, metrics.false_alarms) == ("score", None, None)
    assert metrics.wrong_per_query == {}


def test_the_ranking(tmp_path, dataset):
    with imagefinder.open(tmp_path / "c") as collection:
        add_gallery(collection, dataset, ["sift"])
        metrics = evaluate(collection, dataset, "sift")
        with pytest.raises(InputError):
            evaluate(collection, dataset, "auto", ranking="matches")
    assert metrics.ranking == "evidence"
    assert "verify" in metrics.median_seconds
    assert metrics.recall_at_1 == 1
    assert (metrics.false_alarms, set(metrics.wrong_per_query)) == (0, {1.0, 0.1, 0.01})
    assert [result.edit for result in metrics.by_edit] == ["crop", "unedited"]
    assert dict(metrics.by_edit[0].relations) == {"part of": 1}
    json.dumps(metrics.to_dict())


def test_no_queries(tmp_path, dataset):
    (tmp_path / "manifest.json").write_text(json.dumps({"images": [], "queries": []}))
    with imagefinder.open(tmp_path / "c") as collection, pytest.raises(SourceError, match="no query"):
        evaluate(collection, read_manifest(tmp_path), "sift")


def test_a_query_that_is_not_an_image(tmp_path, dataset):
    (tmp_path / "q/crop.png").write_bytes(b"not an image")
    with imagefinder.open(tmp_path / "c") as collection:
        add_gallery(collection, dataset, ["sift"])
        with pytest.raises(SourceError, match=r"cannot use .*crop\.png"):
            evaluate(collection, dataset, "sift", ranking="matches", evalues=False)


class Answers:
    """A fake collection with fixed results: name of the query -> (id, E-value, decision, relation)."""

    def __init__(self, answers):
        self.answers = answers

    def search(self, query, options):
        hits = tuple(
            Hit(rank, image_id, -float(np.log10(evalue)), None, evalue, decision, relation)
            for rank, (image_id, evalue, decision, relation) in enumerate(self.answers[query.image.name], 1)
        )
        return SearchResult(hits, "auto", "exact", {"sift": "abc"}, 4, {"match": 0.25, "total": 0.5}, "evidence")


@pytest.fixture
def worked(tmp_path):
    """Four queries: found first; found second; found but no match; without a correct answer."""
    queries = (
        LabelledQuery(tmp_path / "found", frozenset({"a", "b"}), frozenset({"x"}), ("gray",)),
        LabelledQuery(tmp_path / "second", frozenset({"b"}), frozenset(), ("gray",)),
        LabelledQuery(tmp_path / "faint", frozenset({"c"}), frozenset(), ("crop", "gray")),
        LabelledQuery(tmp_path / "strange", frozenset(), frozenset()),
    )
    answers = {
        "found": [
            ("x", 1e-300, "match", "identical"),
            ("a", 1e-8, "match", "edited copy"),
            ("c", 3.0, "none", "similar"),
            ("b", 3.0, "none", "similar"),
        ],
        "second": [
            ("c", 1e-6, "match", "similar"),
            ("b", 1e-4, "match", "part of"),
            ("a", 2.0, "none", "similar"),
        ],
        "faint": [
            ("c", 2.0, "none", "similar"),
            ("a", 3.0, "none", "similar"),
            ("b", 3.0, "none", "similar"),
        ],
        "strange": [
            ("a", 0.005, "match", "similar"),
            ("b", 0.05, "possible", "similar"),
            ("c", 0.5, "possible", "similar"),
        ],
    }
    return evaluate(Answers(answers), Dataset("worked", tmp_path, ("a", "b", "c", "x"), queries), "auto")


def test_metrics_by_hand(worked):
    assert (worked.queries, worked.unanswerable) == (3, 1)
    # Precision at each correct answer, without x: (1/1 + 2/3) / 2; 1/2; 1/1.
    assert worked.mean_average_precision == pytest.approx(((1 + 2 / 3) / 2 + 1 / 2 + 1) / 3)
    assert worked.oxford_mean_average_precision == pytest.approx(((1 + (1 / 2 + 2 / 3) / 2) / 2 + 1 / 4 + 1) / 3)
    assert worked.recall_at_1 == pytest.approx(2 / 3)
    assert (worked.recall_at_5, worked.recall_at_10) == (1, 1)


def test_pooled_metrics_by_hand(worked):
    # Correct, of 4, at E-values: 1e-8 (1 of 1), 1e-4 (2 of 3), 2 (3 of 8), 3 (4 of 12).
    assert worked.micro_average_precision == pytest.approx((1 / 1 + 2 / 3 + 3 / 8 + 4 / 12) / 4)
    recall, precision = zip(*worked.curve, strict=True)
    assert recall == pytest.approx((0.25, 0.5, 0.75, 1.0))
    assert precision == pytest.approx((1.0, 2 / 3, 3 / 8, 4 / 12))
    assert worked.unit == "E-value"
    assert worked.at_99.threshold == pytest.approx(1e-8)
    assert (worked.recall_at_99, worked.recall_at_90, worked.at_99.declared) == (0.25, 0.25, 1)
    assert worked.as_matches.threshold == pytest.approx(0.01)
    assert (worked.as_matches.declared, worked.as_matches.precision, worked.as_matches.recall) == (4, 0.5, 0.5)


def test_wrong_hits_per_evalue(worked):
    assert worked.false_alarms == 1
    assert worked.wrong_per_query == {1.0: 3, 0.1: 2, 0.01: 1}  # for the one query without a correct answer


def test_results_by_edit(worked):
    assert [(one.edit, one.queries, one.recall_at_1, dict(one.relations)) for one in worked.by_edit] == [
        ("crop + gray", 1, 1.0, {"not found": 1}),
        ("gray", 2, 0.5, {"edited copy": 1, "part of": 1}),
    ]


def test_worst_mistakes_first(worked):
    assert [mistake.query.path.name for mistake in worked.mistakes] == ["second", "strange", "faint"]
    second = worked.mistakes[0]
    assert [(hit.rank, hit.id) for hit in second.hits] == [(1, "c"), (2, "b"), (3, "a")]
    assert [(hit.rank, hit.id) for hit in second.expected] == [(2, "b")]
    assert worked.mistakes[1].expected == ()
    assert worked.to_dict()["mistakes"][0]["hits"][0]["relation"] == "similar"


def test_a_wrong_match_is_a_mistake_at_any_rank(tmp_path):
    answer = [(name, 10.0**-rank, "match", None) for name, rank in zip("abcdex", range(9, 3, -1), strict=True)]
    queries = (LabelledQuery(tmp_path / "q", frozenset("abcde")),)
    metrics = evaluate(Answers({"q": answer}), Dataset("d", tmp_path, tuple("abcdex"), queries), "sift")
    (mistake,) = metrics.mistakes
    assert [(hit.rank, hit.id) for hit in mistake.hits] == [(1, "a"), (2, "b"), (6, "x")]


def test_costs(worked):
    assert worked.median_seconds == {"match": 0.25, "total": 0.5}
    assert worked.seconds > 0
    assert worked.peak_bytes is None or worked.peak_bytes > 1e6


def test_without_unanswerable_queries_wrong_hits_of_all_queries_count(tmp_path):
    answers = {"q": [("a", 1e-9, "match", None), ("b", 0.5, "possible", None), ("c", 0.05, "possible", None)]}
    queries = (LabelledQuery(tmp_path / "q", frozenset({"a"}), frozenset({"c"})),)
    metrics = evaluate(Answers(answers), Dataset("d", tmp_path, ("a", "b", "c"), queries), "sift")
    assert metrics.wrong_per_query == {1.0: 1, 0.1: 0, 0.01: 0}
    assert (metrics.unanswerable, metrics.false_alarms, metrics.by_edit[0].edit) == (0, 0, "unedited")
    assert metrics.mistakes == ()


def test_a_query_without_hits(tmp_path):
    queries = (LabelledQuery(tmp_path / "q", frozenset({"a"})),)
    metrics = evaluate(Answers({"q": []}), Dataset("d", tmp_path, ("a",), queries), "sift")
    assert (metrics.mean_average_precision, metrics.micro_average_precision, metrics.recall_at_99) == (0, 0, 0)
    assert (metrics.at_99, metrics.curve) == (None, ())
    (mistake,) = metrics.mistakes
    assert (mistake.hits, mistake.expected) == ((), ())
