"""Duplicate sheet: a self-contained HTML page of duplicate groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from imagefinder import templates
from imagefinder.cli import output
from imagefinder.core.records import ImageRecord
from imagefinder.core.results import DuplicateGroup


@dataclass(frozen=True, slots=True)
class SheetGroup:
    """A duplicate group with the details shown for its images.

    Attributes:
        group: The group.
        records: Maps an image id to its record.
        relations: Maps an image id to (relation, agreement) as text; both may be empty.
        roles: Maps an image id to ``keep``, ``spare`` or ``stays``.
    """

    group: DuplicateGroup
    records: Mapping[str, ImageRecord]
    relations: Mapping[str, tuple[str, str]]
    roles: Mapping[str, str]


def render(groups: Sequence[SheetGroup], thumbnail: Callable[[str], bytes], *, subtitle: str) -> str:
    """Render the page.

    Args:
        groups: In the order of the page.
        thumbnail: Maps an image id to its JPEG thumbnail; empty bytes if it has none.
        subtitle: Line below the heading.

    Returns:
        HTML text.
    """
    return templates.render(
        "duplicate_sheet.html",
        groups=groups,
        thumbnail=thumbnail,
        title="imagefinder duplicates",
        subtitle=subtitle,
        output=output,
    )
