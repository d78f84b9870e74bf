"""One HTML page that shows groups of duplicates; like ``contact_sheet`` a single file that loads nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from imagefinder import templates
from imagefinder.cli import output
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
