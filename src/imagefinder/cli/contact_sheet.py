"""Contact sheet: a self-contained HTML page of queries and their results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from imagefinder import templates
from imagefinder.cli import output
from imagefinder.core.results import SearchResult


@dataclass(frozen=True, slots=True)
class SheetResult:
    """Hits of one method for one query.

    Attributes:
        result: The search result.
        unit: Unit of its scores: ``matches``, ``cosine`` or ``evidence``.
        verdict: ``correct`` or ``wrong``; empty if the correct answer is unknown.
        name: Shown instead of the method's name; may be empty.
    """

    result: SearchResult
    unit: str
    verdict: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class SheetEntry:
    """A query with its results.

    Attributes:
        name: Name of the query image.
        thumbnail: JPEG thumbnail of the query image; may be empty.
        results: One per method.
        detail: One line about the query; may be empty.
        expected: Id of the correct answer, marked among the hits; empty if unknown.
    """

    name: str
    thumbnail: bytes
    results: tuple[SheetResult, ...]
    detail: str = ""
    expected: str = ""


def render(
    entries: Sequence[SheetEntry], thumbnail: Callable[[str], bytes], *, title: str, subtitle: str = ""
) -> str:
    """Render the page.

    Args:
        entries: In the order of the page.
        thumbnail: Maps an image id to its JPEG thumbnail; empty bytes if it has none.
        title: Heading.
        subtitle: Line below the heading; may be empty.

    Returns:
        HTML text.
    """
    return templates.render(
        "contact_sheet.html", entries=entries, thumbnail=thumbnail, title=title, subtitle=subtitle, output=output
    )
