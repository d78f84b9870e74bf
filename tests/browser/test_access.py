"""For everybody: screen readers, keyboards, dark rooms, narrow screens, slow lines."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest
from playwright.sync_api import expect

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
WEIGHT = 150_000


def violations(page: Any) -> list[str]:
    page.evaluate(AXE)
    # What is below a modal dialogue cannot be reached; axe leaves that to us.
    where = "document.querySelector('dialog[open]') ?? document"
    report = page.evaluate(f"async () => (await axe.run({where}, {{ resultTypes: ['violations'] }})).violations")
    return [
        f"{each['id']}: {node['html'][:200]} {node['failureSummary']}" for each in report for node in each["nodes"]
    ]


def start(page: Any, crop: Any) -> None:
    page.locator(".strip img").first.wait_for()


def result(page: Any, crop: Any) -> None:
    page.set_input_files("input[type=file]", crop)
    page.get_by_role("heading", name="1 picture here shows this").wait_for()
    for summary in page.locator("details > summary").all():
        if summary.is_visible() and summary.locator("..").get_attribute("open") is None:
            summary.click()
    page.locator(".frame.ready").wait_for()


def nothing(page: Any, crop: Any) -> None:
    page.goto(page.url.split("#")[0] + "#/c/default/search?id=cat.jpg&filter=kind%3Dnothing")
    page.get_by_role("heading", name="Nothing else in this collection shows this").wait_for()


def columns(page: Any, crop: Any) -> None:
    page.goto(page.url.split("#")[0] + "#/c/default/search?id=temple.jpg&method=all")
    page.get_by_role("heading", name="Each method by itself").wait_for()


def inspector(tab: str) -> Callable[[Any, Any], None]:
    def open_it(page: Any, crop: Any) -> None:
        page.set_input_files("input[type=file]", crop)
        page.get_by_role("link", name="Compare with temple.jpg").click()
        page.locator(".line.inlier").first.wait_for()
        page.locator(".segments").get_by_text(tab, exact=True).click()
        page.locator(
            {"Matches": ".lines", "Overlay": ".laid", "Heat": ".heats svg", "Drawing": ".drawn"}[tab]
        ).first.wait_for()

    return open_it


def library(page: Any, crop: Any) -> None:
    page.get_by_role("link", name="Collection", exact=True).click()
    page.locator(".tile").first.wait_for()


def details(page: Any, crop: Any) -> None:
    library(page, crop)
    page.get_by_role("button", name="About cat.jpg").click()
    page.locator(".detail img").wait_for()


def duplicates(page: Any, crop: Any) -> None:
    """With groups that are made up: finding them has its own test."""
    base = page.url.split("#")[0]
    images = page.evaluate("fetch('v1/collections/default/images?limit=4').then((r) => r.json())")["images"]
    ids = [image["id"] for image in images]
    pair = {"agreement": 0.9, "evidence": None}
    groups = [
        {
            "kind": "identical",
            "ids": ids[:2],
            "images": images[:2],
            "pairs": [{**pair, "a": ids[1], "b": ids[0], "relation": "identical"}],
        },
        {
            "kind": "overlapping",
            "ids": ids[2:],
            "images": images[2:],
            "pairs": [{**pair, "a": ids[2], "b": ids[3], "relation": "part of"}],
        },
    ]
    report = {"images": 24, "candidates": 2, "verified": 2, "methods": [], "timings": {}}
    body = {
        "state": "ready",
        "computed_at": "2026-01-01T00:00:00Z",
        "stale": True,
        "report": report,
        "groups": groups,
        "next_cursor": None,
    }
    page.route(
        "**/duplicates?*", lambda route: route.fulfill(body=json.dumps(body), content_type="application/json")
    )
    page.goto(f"{base}#/c/default/duplicates")
    page.locator(".group").nth(1).wait_for()


def jobs(page: Any, crop: Any) -> None:
    page.get_by_role("link", name="Jobs").click()
    page.get_by_text("Index pictures of the web").click()


def empty(page: Any, crop: Any) -> None:
    page.evaluate("fetch('v1/collections/nothing-yet', {method: 'PUT'})")
    page.goto(page.url.split("#")[0] + "#/c/nothing-yet/search")
    page.get_by_role("heading", name="There are no pictures here yet").wait_for()


def deleting(page: Any, crop: Any) -> None:
    empty(page, crop)
    page.get_by_role("link", name="Add pictures").click()
    page.get_by_role("button", name="Delete the collection").click()
    page.get_by_role("dialog").get_by_label("Type its name").wait_for()


def failed(page: Any, crop: Any) -> None:
    page.goto(page.url.split("#")[0] + "#/r/nothing")
    page.get_by_role("alert").wait_for()


VIEWS = {
    **{
        view.__name__: view
        for view in (start, empty, deleting, result, nothing, columns, library, details, duplicates, jobs, failed)
    },
    **{f"inspector, {tab}": inspector(tab) for tab in ("Matches", "Overlay", "Heat", "Drawing")},
}


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_in_light_and_dark_on_wide_and_narrow_screens(visit, server, crop, view):
    page = visit(server, color_scheme="light", reduced_motion="reduce").open()
    VIEWS[view](page, crop)
    found = [("light", *violations(page))]
    page.emulate_media(color_scheme="dark")
    found.append(("dark", *violations(page)))
    page.set_viewport_size({"width": 360, "height": 740})
    page.wait_for_timeout(100)
    found.append(("narrow", *violations(page)))
    assert [each for each in found if len(each) > 1] == []
    for width in (360, 768):
        page.set_viewport_size({"width": width, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        open_dialogues = page.locator("dialog[open]")
        if open_dialogues.count():
            assert open_dialogues.evaluate("box => box.scrollWidth - box.clientWidth") <= 0


def test_all_is_done_with_the_keyboard(page, crop):
    """From the top of the page to a hit, and back."""
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Choose a picture")).to_be_focused()
    page.get_by_role("link", name="Search by cat.jpg").focus()
    page.keyboard.press("Enter")
    link = page.get_by_role("link", name="Compare with small-cat.jpg")
    link.wait_for()
    link.focus()
    page.keyboard.press("Enter")
    dialogue = page.get_by_role("dialog", name="small-cat.jpg")
    dialogue.wait_for()
    for _ in range(12):  # the focus stays inside
        page.keyboard.press("Tab")
        assert page.evaluate(
            "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        )
    page.keyboard.press("Escape")
    expect(dialogue).to_have_count(0)
    expect(link).to_be_focused()


def test_a_screen_reader_is_told_the_answer(page, crop):
    page.set_input_files("input[type=file]", crop)
    expect(page.locator("#live")).to_have_text("1 picture here shows this")


def test_the_colours_are_chosen_and_stay_so(page):
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(250, 249, 247)"
    page.get_by_role("button", name="Colours as the system has them").click()
    page.get_by_role("button", name="Light colours").click()
    expect(page.get_by_role("button", name="Dark colours")).to_be_focused()
    assert page.evaluate(background) == "rgb(20, 20, 20)"
    page.reload()
    assert page.evaluate(background) == "rgb(20, 20, 20)"


def test_nothing_moves_for_those_who_do_not_want_it(visit, server, crop):
    page = visit(server, reduced_motion="reduce").open()
    result(page, crop)
    assert page.locator(".hit").first.evaluate("hit => getComputedStyle(hit).animationName") == "none"


@pytest.mark.parametrize(
    "route", ["", "#/c/default/library", "#/c/default/duplicates", "#/jobs", "#/c/default/search?id=cat.jpg"]
)
def test_every_page_is_light(visit, server, route):
    tab = visit(server)
    answers: dict[str, Any] = {}
    tab.page.on("response", lambda response: answers.setdefault(response.url, response))
    tab.open(route).get_by_role("heading", level=1).wait_for()
    own = {url: len(answer.body()) for url, answer in list(answers.items()) if re.search(r":\d+/(web/.*)?$", url)}
    assert len(own) > 10
    assert sum(own.values()) < WEIGHT, own
