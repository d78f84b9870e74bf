"""The pages of the documentation site: complete navigation, short ways to important pages, correct links."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import site_pages  # noqa: E402

TOPICS = {
    "install": "guides/install.md",
    "first search": "guides/first-steps.md",
    "REST": "guides/rest-api.md",
    "deployment": "guides/deploying.md",
    "how sure it is": "concepts/evidence.md",
    "add a model": "guides/adding-a-model.md",
}
LINK = re.compile(r"\[[^\]]*\]\(([^)\s#]+\.md)(?:#[^)]*)?\)")


@pytest.fixture(scope="module")
def files() -> dict[str, str | bytes]:
    return site_pages.collect()


def links(files: dict[str, str | bytes], page: str) -> set[str]:
    text = files[page]
    assert isinstance(text, str)
    found = {(Path("/") / page).parent.joinpath(target) for target in LINK.findall(text)}
    return {str(Path(*path.parts[1:])) for path in (Path(re.sub(r"[^/]+/\.\./", "", str(one))) for one in found)}


def test_every_page_is_in_the_navigation_once(files: dict[str, str | bytes]) -> None:
    listed = [f"{page}.md" for pages in site_pages.NAVIGATION.values() for page in pages]
    assert len(set(listed)) == len(listed)
    below = {"reference/rest/index.md", "reference/python/index.md", "decisions/index.md"}
    for page in below:  # these have a navigation of their own
        text = files[page]
        assert isinstance(text, str)
        folder = Path(page).parent
        listed += [
            f"{folder}/{name}.md" for name in re.findall(r"^([\w-]+)$", text.partition("{toctree}")[2], re.M)
        ]
    assert {*listed, "index.md"} == {name for name in files if name.endswith(".md")}


@pytest.mark.parametrize("start", ["index.md", "README.md"])
@pytest.mark.parametrize("topic", TOPICS)
def test_a_newcomer_finds_it_in_three_clicks(files: dict[str, str | bytes], topic: str, start: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pages = {**files, "README.md": readme.replace("](docs/", "](")}
    reached, new = {start}, {start}
    for _ in range(3):
        new = {target for page in new if page in pages for target in links(pages, page)} - reached
        reached |= new
    assert TOPICS[topic] in reached


def test_the_index_lists_every_guide_and_concept(files: dict[str, str | bytes]) -> None:
    expected = {name for name in files if name.startswith(("guides/", "concepts/"))}
    assert expected & {name for name in files if name.endswith(".md")} <= links(files, "index.md")


def test_every_decision_is_in_the_list(files: dict[str, str | bytes]) -> None:
    decisions = {name for name in files if re.match(r"decisions/\d", name)}
    assert decisions <= links(files, "decisions/index.md")


def test_links_to_files_outside_the_site_become_text_or_lead_to_the_source() -> None:
    page = "[core](../../src/x.py) [first](first-steps.md#a) ![p](../images/p.webp) [sec](../../SECURITY.md) [web](https://x.y)"
    adapted = site_pages.adapt(page, "docs/guides/a.md", "guides/a.md")
    assert adapted == (
        "core [first](first-steps.md#a) ![p](../images/p.webp) [sec](../project/security.md) [web](https://x.y)"
    )
    adapted = site_pages.adapt(page, "docs/guides/a.md", "guides/a.md", "https://host/tree/")
    assert "[core](https://host/tree/src/x.py)" in adapted


def test_a_page_of_the_root_finds_its_neighbours_in_the_site() -> None:
    text = "[docs](docs/guides/install.md) [log](CHANGELOG.md) [readme](README.md)"
    assert site_pages.adapt(text, "CONTRIBUTING.md", "project/contributing.md") == (
        "[docs](../guides/install.md) [log](changelog.md) [readme](../index.md)"
    )


def test_every_operation_and_schema_has_a_heading(files: dict[str, str | bytes]) -> None:
    document = json.loads(files["reference/rest/openapi.json"])
    for path, operations in document["paths"].items():
        for verb, operation in operations.items():
            text = files[f"reference/rest/{operation['tags'][0]}.md"]
            assert f"## {operation['summary']}\n\n`{verb.upper()} {path}`" in text
    schemas = files["reference/rest/schemas.md"]
    for name in document["components"]["schemas"]:
        assert f"## {name}\n" in schemas


def test_what_a_page_would_load_from_another_host_is_found(tmp_path: Path) -> None:
    (tmp_path / "fine.html").write_text(
        '<a href="https://x.y">x</a><img src="a.png"><link rel="canonical" href="//x">'
    )
    assert list(site_pages.external_loads(tmp_path)) == []
    (tmp_path / "bad.html").write_text(
        '<script src="https://cdn.example/x.js"></script><link rel="stylesheet" href="//f">'
    )
    (tmp_path / "bad.css").write_text("@font-face { src: url('https://fonts.example/f.woff') }")
    assert list(site_pages.external_loads(tmp_path)) == [
        "bad.html: https://cdn.example/x.js",
        "bad.html: //f",
        "bad.css: https://fonts.example/f.woff",
    ]
