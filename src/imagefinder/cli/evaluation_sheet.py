"""One HTML page of figures, curves and mistakes; like ``contact_sheet`` a single file that loads nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from imagefinder.cli import contact_sheet, output
from imagefinder.cli.evaluate import COLUMNS, row
from imagefinder.core.results import Hit
from imagefinder.evaluation.advice import Advice, shown
from imagefinder.evaluation.metrics import OperatingPoint
from imagefinder.evaluation.protocol import Evaluation, Kind, Mistake


@dataclass(frozen=True, slots=True)
class Pictures:
    """Where small pictures come from; all are JPEG, empty where there is none.

    Attributes:
        of_image: By id.
        of_query: By path.
        name_of_query: Path -> what people call it.
    """

    of_image: Callable[[str], bytes]
    of_query: Callable[[Path], bytes]
    name_of_query: Callable[[Path], str]


def render(
    evaluations: Sequence[Evaluation],
    advice: Advice,
    pictures: Pictures,
    *,
    title: str,
    subtitle: str,
) -> str:
    """The whole page.

    Args:
        evaluations: One per method, in the order of the page.
        advice: What they suggest.
        pictures: What is shown, and what queries are called.
        title: Heading.
        subtitle: Line below it.

    Returns:
        HTML text; every name in it is escaped.
    """
    sections = [_section(one, pictures) for one in evaluations]
    return contact_sheet.page(
        "\n".join([_overview(evaluations, advice), *sections]),
        title=title,
        subtitle=subtitle,
        notes=_NOTES,
        style=_STYLE,
    )


def _overview(evaluations: Sequence[Evaluation], advice: Advice) -> str:
    sentences = "\n".join(f"<li>{_text(sentence)}</li>" for sentence in advice.sentences)
    return f"""<section class="card">
{_table(COLUMNS, [row(one) for one in evaluations])}
<h3>Suggested settings</h3>
<ul>
{sentences}
</ul>
</section>"""


def _section(one: Evaluation, pictures: Pictures) -> str:
    mistakes = "\n".join(_mistake(mistake, pictures) for mistake in one.mistakes)
    return f"""<section class="card">
<h2>{_text(one.method)} <small>by {one.ranking}, fingerprint <code>{_text(one.fingerprint)}</code></small></h2>
<div class="columns">
<div>{_table(("figure", ">value"), _figures(one))}</div>
<figure class="curve">{_curve(one)}
<figcaption>Precision (up) and recall (right) of falling thresholds; at the point 99% is right.</figcaption>
</figure>
</div>
{_kinds(one.kinds)}
<h3>Worst mistakes</h3>
{mistakes or '<p class="none">none</p>'}
</section>"""


def _figures(one: Evaluation) -> list[tuple[str, str]]:
    stages = [(stage, seconds) for stage, seconds in one.median_seconds.items() if stage != "total"]
    rows = [
        (f"mAP over {output.plural(one.queries, 'query', 'queries')}", f"{one.mean_average_precision:.3f}"),
        ("mAP as the revisited Oxford sets define it", f"{one.oxford_mean_average_precision:.3f}"),
        ("R@1 / R@5 / R@10", f"{one.recall_at_1:.3f} / {one.recall_at_5:.3f} / {one.recall_at_10:.3f}"),
        ("micro-AP, all queries in one ranking", f"{one.micro_average_precision:.3f}"),
        ("recall where 99% is right", _point(one.at_99, one)),
        ("recall where 90% is right", _point(one.at_90, one)),
    ]
    if one.as_matches and one.as_matches.declared:
        found = one.as_matches
        rows.append(("called a match: precision, recall", f"{found.precision:.3f}, {found.recall:.3f}"))
    if one.false_alarms is not None and one.unanswerable:
        rows.append(("without a right answer, got a match", f"{one.false_alarms} of {one.unanswerable}"))
    rows += [
        (f"wrong hits per query with E-value up to {expected:g}", f"{wrong:.3f}")
        for expected, wrong in one.wrong_per_query.items()
    ]
    rows.append(("time per query, median", output.duration(one.median_seconds["total"])))
    rows += [(f"of it {stage}", output.duration(seconds)) for stage, seconds in stages if seconds >= 0.0005]
    if one.peak_bytes is not None:
        rows.append(("most memory", output.size(one.peak_bytes)))
    return rows


def _point(point: OperatingPoint | None, one: Evaluation) -> str:
    if point is None:
        return "0: no threshold"
    sign = "≤" if one.unit == "E-value" else "≥"
    return f"{point.recall:.3f} ({one.unit} {sign} {shown(point.threshold)}, {point.declared} hits)"


def _curve(one: Evaluation) -> str:
    """A square of 200 units with recall to the right and precision up."""
    lines = "".join(
        f'<path class="grid" d="M0 {200 - y}H200M{y} 0V200"/>'
        f'<text x="-4" y="{204 - y}" text-anchor="end">{y / 200:g}</text>'
        f'<text x="{y}" y="214" text-anchor="middle">{y / 200:g}</text>'
        for y in (0, 50, 100, 150, 200)
    )
    points = " ".join(f"{200 * recall:.1f},{200 - 200 * precision:.1f}" for recall, precision in one.curve)
    at = one.at_99
    dot = f'<circle cx="{200 * at.recall:.1f}" cy="{200 - 200 * at.precision:.1f}" r="3.5"/>' if at else ""
    return (
        f'<svg viewBox="-28 -8 240 228" role="img" aria-label="precision-recall curve of {_text(one.method)}">'
        f'{lines}<polyline points="{points}"/>{dot}</svg>'
    )


def _kinds(kinds: Sequence[Kind]) -> str:
    if not kinds:
        return ""
    names = list(dict.fromkeys(name for kind in kinds for name in kind.relations))
    rows = [
        (
            kind.edit,
            str(kind.queries),
            f"{kind.recall_at_1:.3f}",
            *(str(kind.relations.get(name, "") or "") for name in names),
        )
        for kind in kinds
    ]
    return "<h3>By kind of edit: what the right hit was called</h3>\n" + _table(
        ("edit", ">queries", ">R@1", *(f">{name}" for name in names)), rows
    )


def _mistake(mistake: Mistake, pictures: Pictures) -> str:
    query, right = mistake.query, {hit.id for hit in mistake.expected} | mistake.query.positives
    found = "\n".join(_hit(hit, hit.id in right, pictures.of_image(hit.id)) for hit in mistake.hits)
    missed = [hit for hit in mistake.expected if hit not in mistake.hits]
    if not query.positives:
        wanted = '<p class="none">nothing: no picture of the gallery is right</p>'
    elif not mistake.expected:
        wanted = f'<p class="none">{_text(", ".join(sorted(query.positives)[:3]))}</p>'
    elif not missed:
        wanted = '<p class="none">what is framed</p>'
    else:
        others = "\n".join(_hit(hit, True, pictures.of_image(hit.id)) for hit in missed)
        wanted = f'<ul class="hits">\n{others}\n</ul>'
    name = pictures.name_of_query(query.path)
    return f"""<div class="mistake">
<div><h4>asked</h4>{contact_sheet.image(pictures.of_query(query.path), name)}
<div class="caption">{_text(name)}</div></div>
<div><h4>found</h4><ul class="hits">
{found}
</ul></div>
<div><h4>should have been found</h4>{wanted}</div>
</div>"""


def _hit(hit: Hit, right: bool, picture: bytes) -> str:
    sure = f"E-value {output.evalue(hit.evalue)}" if hit.evalue is not None else f"score {hit.score:.3g}"
    called = hit.relation if hit.relation and hit.decision != "none" else ""
    judged = f'<b class="{hit.decision}">{hit.decision}</b> ' if hit.decision else ""
    return f"""<li class="hit{" meant" if right else ""}">
{contact_sheet.image(picture, hit.id)}
<div class="caption"><span class="rank">{hit.rank}</span> <span class="id">{_text(hit.id)}</span></div>
<div class="value">{judged}{_text(sure)}{f"<br>{_text(called)}" if called else ""}</div>
</li>"""


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    right = [name.startswith(">") for name in columns]
    names = (name.removeprefix(">") for name in columns)
    head = "".join(f"<th{_side(r)}>{_text(n)}</th>" for n, r in zip(names, right, strict=True))
    body = "\n".join(
        "<tr>" + "".join(f"<td{_side(r)}>{_text(c)}</td>" for c, r in zip(cells, right, strict=True)) + "</tr>"
        for cells in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


def _side(right: bool) -> str:
    return ' class="number"' if right else ""


def _text(value: str) -> str:
    return escape(output.printable(value))


_NOTES = """<p><b>mAP</b>: for each query the precision at the rank of each right answer, averaged; then the mean
over the queries. <b>R@k</b>: the part of the queries with a right answer among the first k. <b>micro-AP</b> and
the recalls judge all hits of all queries together, by E-value or score, also those of queries without a right
answer: they tell whether one threshold serves all. If E-values tell the truth, there are at most about as many
wrong hits per query as the E-value says. Mistakes that looked surest come first: where such a hit is right after
all, the labels are wrong, or the same picture lies there twice. Right answers are framed in green.</p>"""

_STYLE = """
.card{padding:1.2rem 1.4rem;margin-bottom:1.25rem;background:var(--card);border:1px solid var(--line);
border-radius:14px}
.card>h2{font-size:1.2rem}
h3{margin:1.4rem 0 .5rem;font-size:1rem}
h4{margin:0 0 .4rem;color:var(--soft);font-size:.78rem;font-weight:600}
.card ul:not(.hits){margin:0;padding-left:1.2rem}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.87rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem 1.1rem .3rem 0;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
th{color:var(--soft);font-weight:600;white-space:nowrap}
.number{text-align:right}
.columns{display:grid;grid-template-columns:minmax(0,1.3fr) minmax(0,1fr);gap:1.75rem;align-items:start}
.curve{margin:0;max-width:26rem}
.curve figcaption{color:var(--soft);font-size:.78rem}
svg{display:block;width:100%}
svg text{fill:var(--soft);font-size:9px}
.grid{stroke:var(--line);stroke-width:1;fill:none}
polyline{fill:none;stroke:var(--accent);stroke-width:2.5;stroke-linejoin:round}
circle{fill:var(--right)}
.mistake{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,3fr) minmax(0,2fr);gap:1.5rem;padding:1rem 0;
border-top:1px solid var(--line)}
.mistake .hits{grid-template-columns:repeat(3,minmax(0,1fr));gap:.8rem}
.mistake>:last-child .hits{grid-template-columns:repeat(2,minmax(0,1fr))}
.mistake .caption{font-size:.78rem}
@media(max-width:44rem){.columns,.mistake{grid-template-columns:1fr}.card{padding:1rem}}
@media print{.mistake{break-inside:avoid}}
"""
