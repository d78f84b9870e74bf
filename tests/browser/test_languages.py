"""The languages of the page: chosen by the browser or the user, and without texts that overflow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

# Elements whose text is wider than they are, except those that scroll or shorten it on purpose.
OVERFLOWING = """() => [...document.querySelectorAll("body *")].filter((element) => {
  const { overflowX, textOverflow, display } = getComputedStyle(element);
  if (display === "inline" || display === "none" || ["auto", "scroll"].includes(overflowX)) return false;
  if (textOverflow === "ellipsis" || element.closest("svg, .hidden, select") || !element.clientWidth) return false;
  return element.scrollWidth > element.clientWidth + 1 && element.textContent.trim() && element.clientWidth > 1;
}).map((element) => `${element.scrollWidth} > ${element.clientWidth}: ${element.outerHTML.slice(0, 160)}`)"""

LANGUAGES = {"en": "en-GB", "de": "de-AT"}


def start(page: Any) -> None:
    page.locator(".samples img").first.wait_for()
    page.locator("form.options summary").click()


def result(page: Any) -> None:
    page.goto(page.url.split("#")[0] + "#/c/default/search?id=cat.jpg")
    page.locator(".hit").first.wait_for()
    for summary in page.locator("main details > summary").all():
        if summary.is_visible() and summary.locator("..").get_attribute("open") is None:
            summary.click()


def inspector(page: Any) -> None:
    result(page)
    page.locator(".hit .thumb").first.click()
    page.locator(".line.inlier").first.wait_for()


def similar(page: Any) -> None:
    page.goto(page.url.split("#")[0] + "#/c/default/similar?id=cat.jpg")
    page.locator(".dense > li").first.wait_for()


def library(page: Any) -> None:
    page.goto(page.url.split("#")[0] + "#/c/default/library")
    page.locator(".tile").first.wait_for()


def jobs(page: Any) -> None:
    page.goto(page.url.split("#")[0] + "#/jobs")
    page.locator(".starter").wait_for()
    for summary in page.locator(".starter summary").all():
        if summary.locator("..").get_attribute("open") is None:
            summary.click()


def keys(page: Any) -> None:
    page.locator("h1").first.wait_for()
    page.keyboard.press("?")
    page.locator(".keys").wait_for()


def failed(page: Any) -> None:
    page.goto(page.url.split("#")[0] + "#/r/nothing")
    page.get_by_role("alert").wait_for()


VIEWS: dict[str, Callable[[Any], None]] = {
    view.__name__: view for view in (start, result, inspector, similar, library, jobs, keys, failed)
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("view", VIEWS)
def test_no_text_overflows_on_a_phone_or_with_large_text(visit, server, view, language):
    page = visit(server, locale=LANGUAGES[language], viewport={"width": 360, "height": 740}).open()
    VIEWS[view](page)
    assert page.evaluate("document.documentElement.lang") == language
    assert page.evaluate(OVERFLOWING) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.set_viewport_size({"width": 1280, "height": 860})
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    page.wait_for_timeout(200)
    assert page.evaluate(OVERFLOWING) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    page.set_viewport_size({"width": 640, "height": 860})
    page.wait_for_timeout(200)
    assert page.evaluate("document.documentElement.scrollWidth") <= 640


def test_the_language_of_the_browser_is_used_and_another_is_remembered(visit, server):
    tab = visit(server, locale="de-DE")
    page = tab.open()
    expect(page.get_by_role("heading", level=1)).to_have_text("Suche mit einem Bild")
    assert page.evaluate("document.documentElement.lang") == "de"
    page.get_by_role("button", name="Sprache: Deutsch").click()
    with page.expect_navigation():
        page.get_by_role("dialog", name="Sprache").get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Search by image")
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Search by image")
    expect(page.get_by_role("button", name="Language: English")).to_be_visible()


def test_a_language_without_a_catalogue_is_english(visit, server):
    page = visit(server, locale="fr-FR").open()
    expect(page.get_by_role("heading", level=1)).to_have_text("Search by image")


def test_only_the_texts_of_one_language_are_loaded(visit, server):
    tab = visit(server, locale="de-DE")
    loaded: list[str] = []
    tab.page.on("request", lambda request: loaded.append(request.url.rpartition("/")[2]))
    tab.open().get_by_role("heading", level=1).wait_for()
    assert [name for name in loaded if name.endswith(".json")] == ["texts.de.json"]


def test_problems_numbers_and_relations_are_german(visit, server):
    page = visit(server, locale="de-DE").open("#/c/default/search?id=cat.jpg")
    expect(page.locator(".hit").first).to_contain_text("Bearbeitete Kopie")
    expect(page.locator(".hit").first).to_contain_text("Chance eines Irrtums")
    page.goto(page.url.split("#")[0] + "#/c/nowhere/search")
    expect(page.get_by_role("alert")).to_contain_text("Unbekannte Sammlung")
    expect(page.get_by_role("alert")).to_contain_text("Wählen Sie oben auf der Seite eine Sammlung.")
