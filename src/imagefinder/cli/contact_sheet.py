"""One HTML page that shows queries and their results side by side; a single file that loads nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from imagefinder import templates
from imagefinder.cli import output
from imagefinder.core.results import SearchResult


@dataclass(frozen=True, slots=True)
class SheetResult:
    """What one method found.

    Attributes:
        result: The hits.
        unit: What its scores are: ``matches``, ``cosine`` or ``evidence``.
        verdict: Whether that is right, where it is known: ``right``, ``wrong`` or empty.
        name: Shown in place of the name of the method; may be empty.
    """

    result: SearchResult
    unit: str
    verdict: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class SheetEntry:
    """A query with its results.

    Attributes:
        name: Of the query picture.
        picture: JPEG thumbnail; may be empty.
        results: One per method.
        detail: One line about the query; may be empty.
        expected: Id of the image that should be found, where it is known; marked among the hits.
    """

    name: str
    picture: bytes
    results: tuple[SheetResult, ...]
    detail: str = ""
    expected: str = ""


def render(
    entries: Sequence[SheetEntry], thumbnail: Callable[[str], bytes], *, title: str, subtitle: str = ""
) -> str:
    """The whole page.

    Args:
        entries: In the order of the page.
        thumbnail: Id -> JPEG bytes of that image; empty where there are none.
        title: Heading.
        subtitle: Line below it; may be empty.

    Returns:
        HTML text.
    """
    return templates.render(
        "contact_sheet.html", entries=entries, thumbnail=thumbnail, title=title, subtitle=subtitle, output=output
    )
