"""Collect the pages of the documentation site: ``python tools/site_pages.py`` (a part of ``make site``).

Copies ``docs`` and the Markdown files around it into ``build/site-pages``, adds the Python and REST references and
adapts links. Links to files that are not part of the site become plain text, or links below ``--source URL``.
``--check FOLDER`` looks through the built site for anything loaded from another host.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "build" / "site-pages"
sys.path.insert(0, str(Path(__file__).parent))
import rest_pages  # noqa: E402

AROUND = {
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
    "benchmarks/README.md": "project/benchmarks.md",
    "examples/ATTRIBUTION.md": "project/attribution.md",
}
"""Pages of the site that are not in ``docs``: path in the repository to path in the site."""

PYTHON = {
    "collection": ("Collection", ["imagefinder.collection"]),
    "query": ("Query and search options", ["imagefinder.core.query"]),
    "results": ("Results", ["imagefinder.core.results"]),
    "records": ("Records", ["imagefinder.core.records"]),
    "errors": ("Errors", ["imagefinder.core.errors"]),
    "client": ("Client", ["imagefinder.client.client", "imagefinder.client.errors"]),
    "contracts": ("Contracts for plug-ins", ["imagefinder.core.contracts", "imagefinder.core.method"]),
    "features": ("Features and fingerprints", ["imagefinder.core.features", "imagefinder.core.fingerprint"]),
    "evaluation": ("Evaluation", ["imagefinder.evaluation.datasets", "imagefinder.evaluation.protocol"]),
}
"""Pages of the Python reference: file name to title and modules."""

NAVIGATION = tomllib.loads((ROOT / "docs" / "site" / "navigation.toml").read_text(encoding="utf-8"))
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def collect(source_url: str = "") -> dict[str, str | bytes]:
    """All files of the site: path in the site to content."""
    files: dict[str, str | bytes] = {}
    for path in sorted((ROOT / "docs").rglob("*")):
        if path.suffix in {".md", ".webp", ".svg"}:
            files[path.relative_to(ROOT / "docs").as_posix()] = path.read_bytes()
    files |= {place: (ROOT / name).read_bytes() for name, place in AROUND.items()}
    origins = {place: name for name, place in AROUND.items()}
    for place, content in files.items():
        if place.endswith(".md") and isinstance(content, bytes):
            origin = origins.get(place, f"docs/{place}")
            files[place] = adapt(content.decode(), origin, place, source_url)
    files["index.md"] = f"{files['index.md']}\n{_toctrees()}"
    files["decisions/index.md"] = f"{files['decisions/index.md']}\n{_toctree('', sorted(_decisions(files)))}"
    files |= {f"reference/python/{name}": text for name, text in _python_pages().items()}
    document = rest_pages.openapi()
    files |= {f"reference/rest/{name}": text for name, text in rest_pages.pages(document).items()}
    files["reference/rest/openapi.json"] = json.dumps(document, indent=1, ensure_ascii=False)
    return files


def _toctree(caption: str, pages: Iterable[str]) -> str:
    head = f":caption: {caption}\n" if caption else ""
    return f"```{{toctree}}\n:hidden:\n{head}\n" + "\n".join(pages) + "\n```\n"


def _toctrees() -> str:
    return "\n".join(_toctree(caption, pages) for caption, pages in NAVIGATION.items())


def _decisions(files: Iterable[str]) -> Iterator[str]:
    for name in files:
        if found := re.fullmatch(r"decisions/(\d{4}-.*)\.md", name):
            yield found[1]


def _python_pages() -> dict[str, str]:
    pages = {
        f"{name}.md": f"# {title}\n\n```{{eval-rst}}\n"
        + "\n".join(
            f".. automodule:: {module}\n{'   :show-inheritance:' if 'errors' in module else ''}\n"
            for module in modules
        )
        + "```\n"
        for name, (title, modules) in PYTHON.items()
    }
    rows = [f"| [{title}]({name}.md) | `{'`, `'.join(modules)}` |" for name, (title, modules) in PYTHON.items()]
    pages["index.md"] = "\n".join(
        [
            "# Python reference\n",
            "Generated from the docstrings. The [guide](../../guides/python-library.md) shows how to use it.\n",
            "```{eval-rst}\n.. autofunction:: imagefinder.open\n```\n",
            "| page | modules |\n|---|---|",
            *rows,
            f"\n{_toctree('', PYTHON)}",
        ]
    )
    return pages


def adapt(text: str, origin: str, place: str, source_url: str = "") -> str:
    """Change the links of a page from ``origin`` in the repository to what they are from ``place`` in the site."""

    def replaced(link: re.Match[str]) -> str:
        mark, words, target = link.groups()
        path, _, anchor = target.partition("#")
        if not path or ":" in target:
            return link[0]
        there = os.path.normpath(PurePosixPath(origin).parent / path)
        if there == "README.md":
            there = "docs/index.md"
        if there in AROUND or (
            there.startswith("docs/") and PurePosixPath(there).suffix in {".md", ".webp", ".svg"}
        ):
            new = os.path.relpath(AROUND.get(there, there.removeprefix("docs/")), PurePosixPath(place).parent)
            return f"{mark}[{words}]({new}{'#' + anchor if anchor else ''})"
        return f"[{words}]({source_url.rstrip('/')}/{there})" if source_url else words

    return LINK.sub(replaced, text)


class _Loads(HTMLParser):
    """Addresses on other hosts that a browser requests by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        loads = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
        address = values.get(loads.get(tag, ""), "")
        if tag == "link" and values.get("rel") in {"canonical", "prev", "next", "alternate"}:
            return
        if re.match(r"(https?:)?//", address):
            self.found.append(address)


def external_loads(folder: Path) -> Iterator[str]:
    """Each page or style sheet of a built site that loads something from another host."""
    for path in sorted(folder.rglob("*.html")):
        parser = _Loads()
        parser.feed(path.read_text(encoding="utf-8"))
        yield from (f"{path.relative_to(folder)}: {address}" for address in parser.found)
    for path in sorted(folder.rglob("*.css")):
        for address in re.findall(r"url\(['\"]?((?:https?:)?//[^)'\"]+)", path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(folder)}: {address}"


def main() -> int:
    """Write the pages, or check a built site."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--source", default="", help="address under which the files of the repository can be read")
    parser.add_argument("--check", type=Path, help="folder of a built site")
    options = parser.parse_args()
    if options.check:
        found = list(external_loads(options.check))
        print("\n".join(found) or "nothing is loaded from other hosts")
        return bool(found)
    shutil.rmtree(PAGES, ignore_errors=True)
    for name, content in collect(options.source).items():
        path = PAGES / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
