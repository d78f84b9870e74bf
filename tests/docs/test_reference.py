import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
generate = importlib.util.module_from_spec(spec)
spec.loader.exec_module(generate)


@pytest.mark.parametrize("name", sorted(generate.PAGES))
def test_the_reference_is_what_the_code_says(name):
    written = (DOCS / "reference" / name).read_text(encoding="utf-8")
    assert written == generate.NOTE + generate.PAGES[name](), "run: make docs"


@pytest.mark.parametrize("name", sorted(generate.CONCEPTS))
def test_measured_pages_are_what_was_measured(name):
    written = (DOCS / "concepts" / name).read_text(encoding="utf-8")
    assert written == generate.NOTE + generate.CONCEPTS[name](), "run: make docs"


def test_the_results_are_what_was_measured():
    written = (DOCS / "concepts" / "results.md").read_text(encoding="utf-8")
    assert written == generate.NOTE + generate.results(), "run: make docs"


def test_the_table_in_the_readme_is_what_was_measured():
    text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    assert text == generate.readme(text), "run: make docs"


def test_the_tables_of_large_collections_are_what_was_measured():
    text = (DOCS / "concepts" / "scale.md").read_text(encoding="utf-8")
    assert text == generate.scale(text), "run: make docs"


def test_the_table_of_the_service_is_what_was_measured():
    text = (DOCS / "concepts" / "service.md").read_text(encoding="utf-8")
    assert text == generate.service(text), "run: make docs"
