import json

import numpy as np
import pytest
from PIL import Image

import imagefinder
from imagefinder.core.errors import InputError, SourceError
from imagefinder.core.results import Hit, SearchResult
from imagefinder.evaluation.datasets import Dataset, Query, read_manifest
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


def test_gallery_and_figures(tmp_path, dataset):
    with imagefinder.open(tmp_path / "c") as collection:
        report = add_gallery(collection, dataset, ["sift"])
        assert report.added == 4
        assert [record.id for record in collection.images()] == list(dataset.images)
        seen = []
        figures = evaluate(
            collection,
            dataset,
            "sift",
            lambda done, total: seen.append((done, total)),
            ranking="matches",
            evalues=False,
        )
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert (figures.images, figures.queries, figures.unanswerable) == (4, 2, 1)
    assert (figures.mean_average_precision, figures.recall_at_1) == (1, 1)
    assert set(figures.median_seconds) == {"decode", "calibrate", "extract", "match", "total"}
    assert figures.to_dict()["method"] == "sift"
    assert (figures.unit, figures.as_matches, figures.false_alarms) == ("score", None, None)
    assert figures.wrong_per_query == {}


def test_the_ranking_is_asked_for_and_told(tmp_path, dataset):
    with imagefinder.open(tmp_path / "c") as collection:
        add_gallery(collection, dataset, ["sift"])
        figures = evaluate(collection, dataset, "sift")
        with pytest.raises(InputError, match="cannot be compared"):
            evaluate(collection, dataset, "auto", ranking="matches")
    assert figures.ranking == "evidence"
    assert "verify" in figures.median_seconds
    assert figures.recall_at_1 == 1
    assert (figures.false_alarms, set(figures.wrong_per_query)) == (0, {1.0, 0.1, 0.01})
    assert [kind.edit for kind in figures.kinds] == ["as it is", "crop"]
    assert dict(figures.kinds[1].relations) == {"part of": 1}
    json.dumps(figures.to_dict())


def test_nothing_to_judge(tmp_path, dataset):
    (tmp_path / "manifest.json").write_text(json.dumps({"images": [], "queries": []}))
    with imagefinder.open(tmp_path / "c") as collection, pytest.raises(SourceError, match="no query"):
        evaluate(collection, read_manifest(tmp_path), "sift")


def test_a_query_that_is_no_picture(tmp_path, dataset):
    (tmp_path / "q/crop.png").write_bytes(b"no picture")
    with imagefinder.open(tmp_path / "c") as collection:
        add_gallery(collection, dataset, ["sift"])
        with pytest.raises(SourceError, match=r"crop\.png cannot be used"):
            evaluate(collection, dataset, "sift", ranking="matches", evalues=False)


class Answers:
    """A collection that knows its answers by heart: name of the query -> (id, E-value, decision, relation)."""

    def __init__(self, answers):
        self.answers = answers

    def search(self, path, **options):
        hits = tuple(
            Hit(rank, image_id, -float(np.log10(evalue)), None, evalue, decision, relation)
            for rank, (image_id, evalue, decision, relation) in enumerate(self.answers[path.name], 1)
        )
        return SearchResult(hits, "auto", "exact", {"sift": "abc"}, 4, {"match": 0.25, "total": 0.5}, "evidence")


@pytest.fixture
def worked(tmp_path):
    """Four queries, worked by hand: found; found second; found but called nothing; nothing to find."""
    queries = (
        Query(tmp_path / "found", frozenset({"a", "b"}), frozenset({"x"}), ("gray",)),
        Query(tmp_path / "second", frozenset({"b"}), frozenset(), ("gray",)),
        Query(tmp_path / "faint", frozenset({"c"}), frozenset(), ("crop", "gray")),
        Query(tmp_path / "strange", frozenset(), frozenset()),
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


def test_figures_by_hand(worked):
    assert (worked.queries, worked.unanswerable) == (3, 1)
    # Precision at each right answer, without x: (1/1 + 2/3) / 2; 1/2; 1/1.
    assert worked.mean_average_precision == pytest.approx(((1 + 2 / 3) / 2 + 1 / 2 + 1) / 3)
    assert worked.oxford_mean_average_precision == pytest.approx(((1 + (1 / 2 + 2 / 3) / 2) / 2 + 1 / 4 + 1) / 3)
    assert worked.recall_at_1 == pytest.approx(2 / 3)
    assert (worked.recall_at_5, worked.recall_at_10) == (1, 1)


def test_all_hits_in_one_ranking_by_hand(worked):
    # Right of 4 at E-values: 1e-8 (1 of 1), 1e-4 (2 of 3), 2 (3 of 8), 3 (4 of 12).
    assert worked.micro_average_precision == pytest.approx((1 / 1 + 2 / 3 + 3 / 8 + 4 / 12) / 4)
    recall, precision = zip(*worked.curve, strict=True)
    assert recall == pytest.approx((0.25, 0.5, 0.75, 1.0))
    assert precision == pytest.approx((1.0, 2 / 3, 3 / 8, 4 / 12))
    assert worked.unit == "E-value"
    assert worked.at_99.threshold == pytest.approx(1e-8)
    assert (worked.recall_at_99, worked.recall_at_90, worked.at_99.declared) == (0.25, 0.25, 1)
    assert worked.as_matches.threshold == pytest.approx(0.01)
    assert (worked.as_matches.declared, worked.as_matches.precision, worked.as_matches.recall) == (4, 0.5, 0.5)


def test_what_evalues_promise(worked):
    assert worked.false_alarms == 1
    assert worked.wrong_per_query == {1.0: 3, 0.1: 2, 0.01: 1}  # of the one query without a right answer


def test_kinds(worked):
    assert [(kind.edit, kind.queries, kind.recall_at_1, dict(kind.relations)) for kind in worked.kinds] == [
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


def test_a_wrong_match_is_a_mistake_wherever_it_ranks(tmp_path):
    answer = [(name, 10.0**-rank, "match", None) for name, rank in zip("abcdex", range(9, 3, -1), strict=True)]
    queries = (Query(tmp_path / "q", frozenset("abcde")),)
    figures = evaluate(Answers({"q": answer}), Dataset("d", tmp_path, tuple("abcdex"), queries), "sift")
    (mistake,) = figures.mistakes
    assert [(hit.rank, hit.id) for hit in mistake.hits] == [(1, "a"), (2, "b"), (6, "x")]


def test_costs(worked):
    assert worked.median_seconds == {"match": 0.25, "total": 0.5}
    assert worked.seconds > 0
    assert worked.peak_bytes is None or worked.peak_bytes > 1e6


def test_without_queries_that_lack_an_answer_all_are_counted(tmp_path):
    answers = {"q": [("a", 1e-9, "match", None), ("b", 0.5, "possible", None), ("c", 0.05, "possible", None)]}
    queries = (Query(tmp_path / "q", frozenset({"a"}), frozenset({"c"})),)
    figures = evaluate(Answers(answers), Dataset("d", tmp_path, ("a", "b", "c"), queries), "sift")
    assert figures.wrong_per_query == {1.0: 1, 0.1: 0, 0.01: 0}
    assert (figures.unanswerable, figures.false_alarms, figures.kinds[0].edit) == (0, 0, "as it is")
    assert figures.mistakes == ()


def test_an_empty_answer_finds_nothing(tmp_path):
    queries = (Query(tmp_path / "q", frozenset({"a"})),)
    figures = evaluate(Answers({"q": []}), Dataset("d", tmp_path, ("a",), queries), "sift")
    assert (figures.mean_average_precision, figures.micro_average_precision, figures.recall_at_99) == (0, 0, 0)
    assert (figures.at_99, figures.curve) == (None, ())
    (mistake,) = figures.mistakes
    assert (mistake.hits, mistake.expected) == ((), ())
