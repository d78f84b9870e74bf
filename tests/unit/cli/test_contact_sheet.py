import base64
import re
from html.parser import HTMLParser

import pytest

from imagefinder.cli.contact_sheet import SheetEntry, SheetResult, render
from imagefinder.core.results import Evidence, Hit, SearchResult

EVIL = "<script>alert(1)</script>\"'&\x1b[31m\u202e\udcff.jpg"


class Page(HTMLParser):
    VOID = ("meta", "img", "br", "link")

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

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def result(*hits, method="sift"):
    ranked = tuple(Hit(rank, image_id, score) for rank, (image_id, score) in enumerate(hits, 1))
    return SearchResult(ranked, method, "exact", {method: "0123456789ab"}, 24, {"total": 0.14})


def page(entries, thumbnail=lambda image_id: b"JPEG " + image_id.encode("utf-8", "replace")):
    text = render(entries, thumbnail, title="a title", subtitle="a subtitle")
    text.encode("utf-8")
    parsed = Page(text)
    assert parsed.open == []
    return parsed


def test_query_and_hits_are_shown():
    shown = page(
        [SheetEntry("q.jpg", b"QUERY", (SheetResult(result(("a.jpg", 212.0), ("b.jpg", 7.0)), "matches"),))]
    )
    for part in (
        "q.jpg",
        "a.jpg",
        "b.jpg",
        "212 matches",
        "7 matches",
        "sift",
        "exact",
        "0123456789ab",
        "24 images",
    ):
        assert part in shown.text
    sources = [value for tag, name, value in shown.attributes if (tag, name) == ("img", "src")]
    assert [base64.b64decode(source.removeprefix("data:image/jpeg;base64,")) for source in sources] == [
        b"QUERY",
        b"JPEG a.jpg",
        b"JPEG b.jpg",
    ]


def test_decision_relation_and_evidence_are_labelled():
    outline = ((1.0, 2.0), (30.0, 2.0), (30.0, 40.0), (1.0, 40.0))
    matrix = ((1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0))
    evidence = Evidence(31, 40, "affine", matrix, True, outline, outline, 0.99, 0.3, agreement=0.95)
    hit = Hit(1, "a.jpg", 12.0, evidence, 1e-12, "possible", "part of")
    found = SearchResult((hit,), "auto", "exact", {"sift": "0123456789ab"}, 24, {"total": 0.14}, "evidence")
    text = page([SheetEntry("q", b"x", (SheetResult(found, "evidence"),))]).text
    for label in (
        "Possible match: part of",
        "E-value 1e-12",
        "Query coverage 99 %",
        "Match coverage 30 %",
        "Pixel agreement 95 %",
        "Inliers 31 (affine, mirrored)",
        "(1, 2) (30, 2) (30, 40) (1, 40)",
    ):
        assert label in text


def test_the_page_is_self_contained():
    shown = page([SheetEntry("q.jpg", b"QUERY", (SheetResult(result(("a.jpg", 1.0)), "matches"),))])
    assert not {"script", "link", "iframe", "object"} & set(shown.tags)
    assert all(
        value.startswith("data:image/jpeg;base64,")
        for _, name, value in shown.attributes
        if name in ("src", "href")
    )
    assert not any(name.startswith("on") for _, name, _ in shown.attributes)


def test_every_name_is_escaped():
    found = SheetResult(result((EVIL, 3.0), method=EVIL), "matches")
    shown = page([SheetEntry(EVIL, b"QUERY", (found,), detail=EVIL, expected=EVIL)])
    assert "script" not in shown.tags
    escaped = EVIL.replace("\x1b", "\\x1b").replace("\u202e", "\\u202e").replace("\udcff", "\\udcff")
    assert shown.text.count(escaped) == 4
    assert [value for _, name, value in shown.attributes if name == "alt"] == [escaped, escaped]


def test_an_image_without_a_thumbnail_has_an_empty_box():
    shown = page([SheetEntry("q", b"", (SheetResult(result(("a", 1.0)), "matches"),))], lambda image_id: b"")
    assert "img" not in shown.tags
    assert shown.text.count("no thumbnail") == 2


def test_a_result_without_hits():
    assert "no hits" in page([SheetEntry("q", b"x", (SheetResult(result(), "cosine"),))]).text


def test_the_expected_image_and_the_verdict_are_marked():
    found = SheetResult(result(("a", 0.9), ("b", 0.5)), "cosine", "wrong")
    shown = page([SheetEntry("q", b"x", (found,), expected="b")])
    classes = [value for tag, name, value in shown.attributes if (tag, name) == ("li", "class")]
    assert classes == ["hit", "hit expected"]
    assert ("span", "class", "verdict wrong") in shown.attributes


@pytest.mark.parametrize(
    ("scores", "widths"),
    [((4.0, 1.0), ["100.0%", "25.0%"]), ((0.0, 0.0), ["0.0%", "0.0%"]), ((-0.1, -0.2), ["0.0%", "0.0%"])],
)
def test_bars_are_relative_to_the_best_hit(scores, widths):
    hits = [(f"{i}", score) for i, score in enumerate(scores)]
    shown = page([SheetEntry("q", b"x", (SheetResult(result(*hits), "cosine"),))])
    styles = " ".join(value for _, name, value in shown.attributes if name == "style")
    assert re.findall(r"width:([\d.]+%)", styles) == widths
