"""One HTML page that shows queries and their answers side by side.

The page is a single file: pictures are data URIs, there are no scripts, and nothing is loaded from anywhere.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from imagefinder.cli import output
from imagefinder.core.results import Hit, SearchResult


@dataclass(frozen=True, slots=True)
class Answer:
    """What one method said.

    Attributes:
        result: The hits.
        unit: What its scores are: ``matches``, ``cosine`` or ``evidence``.
        verdict: Whether that is right, where it is known: ``right``, ``wrong`` or empty.
        name: By which it was asked for, where that is not the method that answered.
    """

    result: SearchResult
    unit: str
    verdict: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A query with its answers.

    Attributes:
        name: Of the query picture.
        picture: JPEG thumbnail; may be empty.
        answers: One per method.
        detail: One line about the query; may be empty.
        expected: Id of the image that is meant, where it is known; marked among the hits.
    """

    name: str
    picture: bytes
    answers: tuple[Answer, ...]
    detail: str = ""
    expected: str = ""


def render(
    questions: Sequence[Question], thumbnail: Callable[[str], bytes], *, title: str, subtitle: str = ""
) -> str:
    """The whole page.

    Args:
        questions: In the order of the page.
        thumbnail: Id -> JPEG bytes of that image; empty where there are none.
        title: Heading.
        subtitle: Line below it.

    Returns:
        HTML text; every name in it is escaped, and characters that are not printable are spelled out.
    """
    body = "\n".join(_question(question, thumbnail) for question in questions)
    return page(body, title=title, subtitle=subtitle, notes=_NOTES)


def page(body: str, *, title: str, subtitle: str, notes: str, style: str = "") -> str:
    """The page around a body of HTML.

    Args:
        body: What it shows.
        title: Heading.
        subtitle: Line below it; may be empty.
        notes: HTML of the footer.
        style: Further rules of CSS.
    """
    below = f"<p>{_text(subtitle)}</p>" if subtitle else ""
    return _PAGE.format(title=_text(title), style=_STYLE + style, subtitle=below, body=body, notes=notes)


def _question(question: Question, thumbnail: Callable[[str], bytes]) -> str:
    detail = f'<p class="detail">{_text(question.detail)}</p>' if question.detail else ""
    answers = "\n".join(_answer(answer, question.expected, thumbnail) for answer in question.answers)
    return f"""<section class="question">
<figure class="query">
<figcaption><span class="label">query</span> <b>{_text(question.name)}</b>{detail}</figcaption>
{image(question.picture, question.name)}
</figure>
<div class="answers">
{answers}
</div>
</section>"""


def _answer(answer: Answer, expected: str, thumbnail: Callable[[str], bytes]) -> str:
    result = answer.result
    verdict = f' <span class="verdict {answer.verdict}">{answer.verdict}</span>' if answer.verdict else ""
    seconds = result.timings.get("total", 0.0)
    facts = (
        f"{_text(result.mode)}, {output.plural(result.searched, 'image')} in {output.duration(seconds)}, "
        f"fingerprint <code>{_text(result.fingerprint)}</code>"
    )
    best = max((hit.score for hit in result.hits), default=0.0)
    hits = "\n".join(_hit(hit, answer.unit, best, hit.id == expected, thumbnail(hit.id)) for hit in result.hits)
    content = f'<ol class="hits">\n{hits}\n</ol>' if result.hits else '<p class="none">no hits</p>'
    return f"""<div class="answer">
<h2>{_text(answer.name or result.method)}{verdict} <small>{facts}</small></h2>
{content}
</div>"""


def _hit(hit: Hit, unit: str, best: float, meant: bool, picture: bytes) -> str:
    # The bar compares within one answer only: scores of different methods have nothing in common.
    share = max(0.0, min(1.0, hit.score / best)) if best > 0 else 0.0
    return f"""<li class="hit{" meant" if meant else ""}">
{image(picture, hit.id)}
<div class="caption"><span class="rank">{hit.rank}</span> <span class="id">{_text(hit.id)}</span></div>
<div class="score"><span class="bar" style="width:{share:.1%}"></span></div>
<div class="value">{"<br>".join(filter(None, (_judged(hit), _score(hit, unit), _evidence(hit))))}</div>
</li>"""


def _score(hit: Hit, unit: str) -> str:
    # Of all methods together the score is the E-value, said already.
    return "" if unit == "evidence" else _text(output.score(hit.score, unit))


def _judged(hit: Hit) -> str:
    if hit.decision is None:
        return ""
    kind = f"{hit.relation}, " if hit.relation else ""
    return f'<b class="{hit.decision}">{hit.decision}</b> {_text(kind)}E-value {_text(output.evalue(hit.evalue))}'


def _evidence(hit: Hit) -> str:
    if hit.evidence is None:
        return ""
    inliers, alike, overlap = output.evidence(hit.evidence)
    corners = " ".join(f"({x:.0f}, {y:.0f})" for x, y in hit.evidence.candidate_outline)
    return (
        f"{_text(inliers)} inliers ({hit.evidence.model}), {alike} alike<br>overlap {overlap}"
        f'<br><span title="corners of the query in this picture, in pixels">query at {corners}</span>'
    )


def image(jpeg: bytes, name: str) -> str:
    """A picture in its frame; one without bytes has an empty frame."""
    if not jpeg:
        return '<div class="frame missing">no thumbnail</div>'
    data = base64.b64encode(jpeg).decode("ascii")
    return f'<div class="frame"><img src="data:image/jpeg;base64,{data}" alt="{_text(name)}"></div>'


def _text(value: str) -> str:
    return escape(output.printable(value))


_NOTES = """<p>An <b>E-value</b> is the number of pictures of this collection that would do as well by chance: at
most 0.01 is a match, at most 1 is possible. Higher scores are better: <b>matches</b> count the details two
pictures share; a <b>cosine</b> of 1 means the same content to that network. Scores of different methods cannot be
compared. Bars are relative to the best hit of the same answer.</p>"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
{subtitle}
</header>
<main>
{body}
</main>
<footer>
{notes}
</footer>
</body>
</html>
"""

_STYLE = """
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--frame:#eceef2;--text:#1b1f27;--soft:#5d6675;
--line:#dfe3ea;--accent:#2f6fde;--right:#1a7f4b;--wrong:#c2382e}
@media(prefers-color-scheme:dark){:root{--page:#14171c;--card:#1d2128;--frame:#12151a;--text:#e7eaf0;--soft:#9aa4b4;
--line:#2d333d;--accent:#78a6ff;--right:#4cc38a;--wrong:#ff8076}}
*{box-sizing:border-box}
body{margin:0 auto;padding:2rem clamp(.75rem,3vw,2.5rem);max-width:78rem;background:var(--page);color:var(--text);
font:15px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
h1{margin:0;font-size:1.65rem;letter-spacing:-.01em}
header p{margin:.3rem 0 0;color:var(--soft)}
header{margin-bottom:1.5rem}
.question{display:grid;grid-template-columns:minmax(0,17rem) minmax(0,1fr);gap:1.75rem;padding:1.4rem;
margin-bottom:1.25rem;background:var(--card);border:1px solid var(--line);border-radius:14px}
.query{margin:0}
.query figcaption{margin-bottom:.7rem;overflow-wrap:anywhere}
.query .frame{outline:2px solid var(--accent);outline-offset:2px}
.label{display:inline-block;padding:.05rem .45rem;margin-right:.25rem;border-radius:99px;background:var(--accent);
color:var(--card);font-size:.72rem;font-weight:600}
.detail{margin:.25rem 0 0;color:var(--soft);font-size:.87rem}
.answers{display:grid;gap:1.4rem;align-content:start}
h2{margin:0 0 .6rem;font-size:1.02rem}
h2 small{margin-left:.35rem;color:var(--soft);font-size:.78rem;font-weight:400}
code{font-size:.95em}
.verdict{padding:.05rem .45rem;border-radius:99px;font-size:.72rem;color:var(--card);vertical-align:.08em}
.verdict.right{background:var(--right)}
.verdict.wrong{background:var(--wrong)}
.hits{display:grid;grid-template-columns:repeat(auto-fill,minmax(12rem,1fr));gap:1rem;margin:0;padding:0;list-style:none}
.frame{display:flex;align-items:center;justify-content:center;aspect-ratio:4/3;overflow:hidden;border-radius:8px;
background:var(--frame);color:var(--soft);font-size:.8rem}
.frame img{display:block;width:100%;height:100%;object-fit:contain}
.meant .frame{outline:2px solid var(--right);outline-offset:2px}
.caption{margin-top:.5rem;font-size:.87rem;overflow-wrap:anywhere}
.rank{display:inline-block;min-width:1.35rem;padding:0 .3rem;border-radius:99px;background:var(--frame);
color:var(--soft);font-size:.75rem;font-weight:600;text-align:center}
.score{height:4px;margin:.4rem 0 .25rem;border-radius:2px;background:var(--frame)}
.bar{display:block;height:100%;border-radius:2px;background:var(--accent)}
.meant .bar{background:var(--right)}
.value{color:var(--soft);font-size:.82rem;font-variant-numeric:tabular-nums}
.none{margin:0;color:var(--soft)}
b.match{color:var(--right)}
footer{max-width:62rem;color:var(--soft);font-size:.82rem}
@media(max-width:44rem){.question{grid-template-columns:1fr;gap:1.1rem;padding:1rem}.query{max-width:none}
.hits{grid-template-columns:repeat(3,minmax(0,1fr));gap:.6rem}.caption{font-size:.76rem}
h2 small{display:block;margin:.1rem 0 0}}
@media print{body{padding:0}.question{break-inside:avoid}}
"""
