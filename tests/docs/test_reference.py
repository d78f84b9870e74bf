import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS))  # as for ``python docs/generate.py``
import generate  # noqa: E402


@pytest.mark.parametrize("name", [*generate.PAGES, *generate.PARTS, *generate.DRAWINGS])
def test_a_page_says_what_the_code_says_and_what_was_measured(name):
    assert (DOCS / name).read_text(encoding="utf-8") == generate.page(name), "run: make docs"
