"""Generates pages from the code and from measurements: ``python docs/generate.py`` (``make docs``).

A test compares the pages with the output.
"""

from __future__ import annotations

from pathlib import Path

from tables import architecture, cluster, copies, quality, reference, scale, shortlists, speed, words

DOCS = Path(__file__).parent
NOTE = "<!-- Written by docs/generate.py; change the code, then run: make docs -->\n\n"
RESULTS = (
    "<!-- results: written by docs/generate.py from benchmarks/results -->\n",
    "<!-- end of results -->",
)
MEASURED = (
    "<!-- measured: written by docs/generate.py from benchmarks/results -->\n",
    "<!-- end of measured -->",
)
PACKAGES = (
    "<!-- packages: written by docs/generate.py from .importlinter and docstrings -->\n",
    "<!-- end of packages -->",
)
PAGES = {
    "reference/settings.md": reference.settings,
    "reference/models.md": reference.models,
    "reference/errors.md": reference.error_codes,
    "reference/problems.md": reference.problems,
    "concepts/peers.md": quality.peers,
    "concepts/results.md": quality.results,
    "concepts/sizing.md": speed.sizing,
    "concepts/speed.md": speed.speed,
}
"""Pages that are generated completely."""

PARTS = {
    "concepts/architecture.md": (architecture.packages, PACKAGES),
    "../README.md": (quality.readme_results, RESULTS),
    "concepts/copies.md": (copies.confusion, MEASURED),
    "concepts/scale.md": (scale.stages, MEASURED),
    "concepts/shortlists.md": (shortlists.candidates, MEASURED),
    "concepts/service.md": (scale.under_load, MEASURED),
    "concepts/words.md": (words.clothing, MEASURED),
    "guides/growing-past-one-machine.md": (cluster.sizing, MEASURED),
}
"""Pages with a generated part between two marks."""

DRAWINGS = {"images/architecture.svg": architecture.drawing}


def page(name: str) -> str:
    """Generate the text of a page."""
    if name in DRAWINGS:
        return DRAWINGS[name]()
    if name in PAGES:
        return NOTE + PAGES[name]()
    table, (begin, end) = PARTS[name]
    head, rest = (DOCS / name).read_text(encoding="utf-8").split(begin)
    return head + begin + table() + end + rest.split(end)[1]


if __name__ == "__main__":
    for name in (*PAGES, *PARTS, *DRAWINGS):
        (DOCS / name).parent.mkdir(exist_ok=True)
        (DOCS / name).write_text(page(name), encoding="utf-8")
