"""One HTML page that shows groups of duplicates; like ``contact_sheet`` a single file that loads nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from imagefinder.cli import contact_sheet, output
from imagefinder.core.records import ImageRecord
from imagefinder.core.results import DuplicateGroup


@dataclass(frozen=True, slots=True)
class Group:
    """A group with what the page says of its pictures.

    Attributes:
        group: The group.
        records: Id -> record.
        relations: Id -> its relation and its agreement with another one, for people; both may be empty.
    """

    group: DuplicateGroup
    records: Mapping[str, ImageRecord]
    relations: Mapping[str, tuple[str, str]]


def render(groups: Sequence[Group], thumbnail: Callable[[str], bytes], *, subtitle: str) -> str:
    """The whole page.

    Args:
        groups: In the order of the page.
        thumbnail: Id -> JPEG bytes of that image; empty where there are none.
        subtitle: Line below the heading.

    Returns:
        HTML text; every name in it is escaped.
    """
    body = "\n".join(_group(number, group, thumbnail) for number, group in enumerate(groups, 1))
    return contact_sheet.page(
        body or '<p class="none">no duplicates</p>',
        title="imagefinder duplicates",
        subtitle=subtitle,
        notes=_NOTES,
        style=_STYLE,
    )


def _group(number: int, group: Group, thumbnail: Callable[[str], bytes]) -> str:
    count = output.plural(len(group.group.ids), "picture")
    images = "\n".join(_image(group, image_id, thumbnail(image_id)) for image_id in group.group.ids)
    return f"""<section class="group">
<h2><span class="rank">{number}</span> {_text(group.group.kind)} <small>{count}</small></h2>
<ul class="hits">
{images}
</ul>
</section>"""


def _image(group: Group, image_id: str, picture: bytes) -> str:
    record, (relation, agreement) = group.records[image_id], group.relations[image_id]
    kept = group.group.kind != "overlapping" and image_id == group.group.ids[0]
    verdict = '<span class="verdict right">keep</span> ' if kept else ""
    size = f"{record.width} x {record.height}, {output.size(record.size_bytes)}" if record.width else ""
    agrees = f"{agreement} agree" if agreement else ""
    lines = "<br>".join(_text(line) for line in (size, relation, agrees) if line)
    return f"""<li class="hit{" meant" if kept else ""}">
{contact_sheet.image(picture, image_id)}
<div class="caption">{verdict}<span class="id">{_text(image_id)}</span></div>
<div class="value">{lines}</div>
</li>"""


def _text(value: str) -> str:
    return escape(output.printable(value))


_NOTES = """<p>The picture to keep is a proposal: that with the most pixels, of equal ones that with the larger
file, of these the one with the shortest id. Whether something was written upon a picture, or its pixels were
gained by enlarging it, is for you to see. <b>agree</b>: the part of what both show that looks alike once one is
laid on the other. Overlapping pictures are all worth keeping. Nothing was deleted.</p>"""

_STYLE = """
.group{padding:1.2rem 1.4rem;margin-bottom:1.25rem;background:var(--card);border:1px solid var(--line);
border-radius:14px}
.group h2 small{margin-left:.35rem}
@media print{.group{break-inside:avoid}}
"""
