import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from imagefinder.cli.evaluation_sheet import Thumbnails, render
from imagefinder.core.results import Hit
from imagefinder.evaluation.advice import advise
from imagefinder.evaluation.datasets import LabelledQuery
from imagefinder.evaluation.metrics import OperatingPoint
from imagefinder.evaluation.protocol import EditResult, Evaluation, Mistake

EVIL = "<script>alert(1)</script>&\x1b.jpg"
RIGHT = Hit(5, "right.jpg", 2.0, None, 0.3, "possible", "similar")
WRONG = Hit(1, "wrong.jpg", 6.0, None, 1e-6, "match", "part of")
NOTHING = Hit(1, "wrong.jpg", -1.0, None, 12.0, "none", "similar")
SHEET = Evaluation(
    dataset="d",
    method="sift",
    ranking="evidence",
    fingerprint="abc",
    images=50,
    queries=40,
    unanswerable=10,
    mean_average_precision=0.951,
    oxford_mean_average_precision=0.942,
    recall_at_1=0.9,
    recall_at_5=0.95,
    recall_at_10=1.0,
    micro_average_precision=0.933,
    unit="E-value",
    at_99=OperatingPoint(3e-5, 1.0, 0.8, 32),
    at_90=None,
    as_matches=OperatingPoint(0.01, 0.97, 0.85, 35),
    false_alarms=1,
    wrong_per_query={1.0: 0.8, 0.1: 0.1, 0.01: 0.0},
    by_edit=(
        EditResult("crop", 7, 0.857, {"part of": 6, "not found": 1}),
        EditResult("gray", 3, 1.0, {"edited copy": 3}),
    ),
    curve=((0.8, 1.0), (0.9, 0.91)),
    median_seconds={"match": 0.1, "decode": 0.0001, "total": 0.4},
    seconds=20.0,
    peak_bytes=500_000_000,
    mistakes=(Mistake(LabelledQuery(Path("q/query.jpg"), frozenset({"right.jpg"})), (WRONG,), (RIGHT,)),),
)


class Page(HTMLParser):
    VOID = ("meta", "img", "br", "link", "path", "circle", "polyline")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def page(*evaluations):
    thumbnails = Thumbnails(
        lambda image_id: b"IMAGE " + image_id.encode(), lambda path: b"QUERY", lambda path: path.name
    )
    text = render(evaluations, advise(evaluations), thumbnails, title="a title", subtitle="a subtitle")
    parsed = Page(text)
    assert parsed.open == []
    return parsed


def test_the_metrics_are_shown():
    shown = page(SHEET).text
    for words in (
        "a title",
        "a subtitle",
        "Recommended settings",
        "mAP (40 queries)",
        "0.951",
        "0.942",
        "0.900 / 0.950 / 1.000",
        "0.933",
        "0.800 (E-value ≤ 3e-05, 32 hits)",
        "not reached",
        "0.970 / 0.850",
        "1 of 10",
        "Wrong hits per query, E-value ≤ 0.1",
        "400 ms",
        "- match",
        "500 MB",
    ):
        assert words in shown
    assert "- decode" not in shown  # too short to show


def test_the_page_is_self_contained():
    shown = page(SHEET)
    assert not {"script", "link", "iframe", "object"} & set(shown.tags)
    assert all(v.startswith("data:") for _, name, v in shown.attributes if name in ("src", "href"))
    assert not any(name.startswith("on") for _, name, _ in shown.attributes)
    policy = [v for tag, name, v in shown.attributes if tag == "meta" and name == "content" and "default-src" in v]
    assert policy


def test_the_curve_is_drawn():
    shown = page(SHEET)
    assert ("polyline", "points", "160.0,0.0 180.0,18.0") in shown.attributes
    assert ("circle", "cx", "160.0") in shown.attributes
    assert "circle" not in page(replace(SHEET, at_99=None)).tags


def test_results_by_edit():
    text = re.sub(r"\s+", " ", page(SHEET).text)
    assert "edit" + "queries" + "R@1" + "part of" + "not found" + "edited copy" in text
    assert "crop70.85761" in text
    assert "by kind of edit" in text
    assert "by kind of edit" not in page(replace(SHEET, by_edit=())).text


def test_mistakes_are_shown_with_the_correct_answers():
    shown = page(SHEET)
    assert [value for _, name, value in shown.attributes if name == "alt"] == [
        "query.jpg",
        "wrong.jpg",
        "right.jpg",
    ]
    classes = [value for tag, name, value in shown.attributes if (tag, name) == ("li", "class")]
    assert classes == ["hit", "hit expected"]
    assert "E-value 1e-06" in shown.text


@pytest.mark.parametrize(
    ("positives", "hits", "expected", "words"),
    [
        ((), (WRONG,), (), "none in the gallery"),
        (("gone.jpg",), (WRONG,), (), "gone.jpg"),
        (("wrong.jpg",), (NOTHING,), (NOTHING,), "outlined in green"),
    ],
)
def test_the_correct_answers_of_a_mistake(positives, hits, expected, words):
    mistake = Mistake(LabelledQuery(Path("q.jpg"), frozenset(positives)), hits, expected)
    text = page(replace(SHEET, mistakes=(mistake,))).text
    assert words in text.split("Correct answers", 1)[1].split("mAP:")[0]


def test_no_mistakes():
    assert "none" in page(replace(SHEET, mistakes=())).text.split("Worst mistakes")[1]


def test_scores_instead_of_evalues():
    hit = Hit(1, "wrong.jpg", 0.8312)
    mistake = Mistake(LabelledQuery(Path("q.jpg"), frozenset({"right.jpg"})), (hit,), ())
    shown = page(
        replace(
            SHEET,
            unit="score",
            as_matches=None,
            false_alarms=None,
            wrong_per_query={},
            peak_bytes=None,
            mistakes=(mistake,),
        )
    ).text
    assert "Score 0.831" in shown
    assert "score ≥ 3e-05" in shown
    assert "Peak memory" not in shown


def test_every_name_is_escaped():
    mistake = Mistake(
        LabelledQuery(Path(EVIL), frozenset({EVIL})), (replace(WRONG, id=EVIL),), (replace(RIGHT, id=EVIL),)
    )
    shown = page(replace(SHEET, method=EVIL, by_edit=(EditResult(EVIL, 1, 1.0, {}),), mistakes=(mistake,)))
    assert "script" not in shown.tags
    assert shown.text.count("<script>alert(1)</script>&\\x1b.jpg") >= 5
