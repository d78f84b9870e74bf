"""Names of the pages of a file: page 3 of ``scan.tif`` is ``scan.tif#page=3``; the first page has the plain name.

In URIs, ``#`` in the name of a file is quoted, so that a fragment is always a page.
"""

from __future__ import annotations

import re

_PAGE = re.compile(r"#page=([2-9]|[1-9]\d{1,5})$")


def page_name(name: str, page: int) -> str:
    """The id or URI of a page of the file with this id or URI; pages count from 1."""
    return name if page == 1 else f"{name}#page={page}"


def split_page(name: str) -> tuple[str, int]:
    """The id or URI of a file, and the page, from those of a page."""
    found = _PAGE.search(name)
    return (name[: found.start()], int(found[1])) if found else (name, 1)


def page_of(name: str) -> int:
    """The page that an id or URI names; 1 if it names none."""
    return split_page(name)[1]
