"""Accessibility: screen readers, keyboard, dark mode, narrow screens, page weight."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest
from playwright.sync_api import expect

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
MAX_BYTES = 200_000


def violations(page: Any) -> list[str]:
    page.evaluate(AXE)
    # Axe also checks what a modal dialog covers, which users cannot reach.
    where = "document.querySelector('dialog[open]') ?? document"
    report = page.evaluate(f"async () => (await axe.run({where}, {{ resultTypes: ['violations'] }})).violations")
    return [
        f"{each['id']}: {node['html'][:200]} {node['failureSummary']}" for each in report for node in each["nodes"]
    ]


def start(page: Any, crop: Any) -> None:
    page.locator(".samples img").first.wait_for()


def result(page: Any, crop: Any) -> None:
    page.set_input_files("input[type=file]", crop)
    page.get_by_role("heading", name="1 match", exact=True).wait_for()
    for summary in page.locator("details > summary").all():
        if summary.is_visible() and summary.locator("..").get_attribute("open") is None:
            summary.click()
    page.locator(".preview.ready").wait_for()


def nothing(page: Any, crop: Any) -> None:
    page.goto(page.url.split("#")[0] + "#/c/default/search?id=cat.jpg&filter=kind%3Dnothing")
    page.get_by_role("heading", name="No match", exact=True).wait_for()


def columns(page: Any, crop: Any) -> None:
    page.goto(page.url.split("#")[0] + "#/c/default/search?id=temple.jpg&method=all")
    page.get_by_role("heading", name="Methods side by side").wait_for()


def inspector(tab: str) -> Callable[[Any, Any], None]:
    def open_it(page: Any, crop: Any) -> None:
        page.set_input_files("input[type=file]", crop)
        page.get_by_role("link", name="Inspect temple.jpg").click()
        page.locator(".line.inlier").first.wait_for()
        page.locator(".segments").get_by_text(tab, exact=True).click()
        page.locator(
            {"Matches": ".lines", "Overlay": ".overlay", "Heat map": ".heats svg", "Drawing": ".drawing"}[tab]
        ).first.wait_for()

    return open_it


def library(page: Any, crop: Any) -> None:
    page.get_by_role("link", name="Collection", exact=True).click()
    page.locator(".tile").first.wait_for()


def details(page: Any, crop: Any) -> None:
    library(page, crop)
    page.get_by_role("button", name="Details of cat.jpg").click()
    page.locator(".detail img").wait_for()


def duplicates(page: Any, crop: Any) -> None:
    """With made-up groups: finding duplicates has its own test."""
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
            "spare": [ids[1]],
            "reasons": {},
        },
        {
            "kind": "overlapping",
            "ids": ids[2:],
            "images": images[2:],
            "pairs": [{**pair, "a": ids[2], "b": ids[3], "relation": "part of"}],
            "spare": [],
            "reasons": {},
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
    page.get_by_text("Add images from URLs").click()


def similar(page: Any, crop: Any) -> None:
    page.goto(page.url.split("#")[0] + "#/c/default/similar?id=cat.jpg")
    page.locator(".dense > li").first.wait_for()


def strip(page: Any, crop: Any) -> None:
    """Several queries, one of them not an image; small pictures."""
    broken = {"name": "broken.jpg", "mimeType": "image/jpeg", "buffer": bytes(range(128, 256)) * 20}
    page.set_input_files("input[type=file]", crop)
    page.get_by_role("heading", name="1 match", exact=True).wait_for()
    page.get_by_role("button", name="Small pictures").click()
    page.get_by_text("New query", exact=True).click()
    page.set_input_files("input[type=file]", [broken])
    page.get_by_role("alert").wait_for()
    page.get_by_role("navigation", name="Queries in this tab").get_by_role("button").first.wait_for()


def keys(page: Any, crop: Any) -> None:
    start(page, crop)
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys").wait_for()


def languages(page: Any, crop: Any) -> None:
    start(page, crop)
    page.get_by_role("button", name="Language: English").click()
    page.get_by_role("dialog", name="Language").wait_for()


def empty(page: Any, crop: Any) -> None:
    page.evaluate("fetch('v1/collections/nothing-yet', {method: 'PUT'})")
    page.goto(page.url.split("#")[0] + "#/c/nothing-yet/search")
    page.get_by_role("heading", name="No images yet").wait_for()


def deleting(page: Any, crop: Any) -> None:
    empty(page, crop)
    page.get_by_role("link", name="Add images").click()
    page.get_by_role("button", name="Delete collection").click()
    page.get_by_role("dialog").get_by_label("Type the collection name").wait_for()


def failed(page: Any, crop: Any) -> None:
    page.goto(page.url.split("#")[0] + "#/r/nothing")
    page.get_by_role("alert").wait_for()


VIEWS = {
    **{
        view.__name__: view
        for view in (start, empty, deleting, result, nothing, columns, library, details, duplicates, jobs, failed)
    },
    **{view.__name__: view for view in (similar, strip, keys, languages)},
    **{f"inspector, {tab}": inspector(tab) for tab in ("Matches", "Overlay", "Heat map", "Drawing")},
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
        open_dialogs = page.locator("dialog[open]")
        if open_dialogs.count():
            assert open_dialogs.evaluate("box => box.scrollWidth - box.clientWidth") <= 0


def test_everything_works_with_the_keyboard(page, crop):
    """From the top of the page to a hit and back."""
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Choose images")).to_be_focused()
    page.get_by_role("link", name="Search by cat.jpg").focus()
    page.keyboard.press("Enter")
    link = page.get_by_role("link", name="Inspect small-cat.jpg")
    link.wait_for()
    link.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="small-cat.jpg")
    dialog.wait_for()
    for _ in range(12):  # the focus stays inside
        page.keyboard.press("Tab")
        assert page.evaluate(
            "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        )
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(link).to_be_focused()


def test_a_screen_reader_announces_the_result(page, crop):
    page.set_input_files("input[type=file]", crop)
    expect(page.locator("#live")).to_have_text("1 match")


def test_a_chosen_theme_persists(page):
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(250, 249, 247)"
    page.get_by_role("button", name="Theme: system").click()
    page.get_by_role("button", name="Theme: light").click()
    expect(page.get_by_role("button", name="Theme: dark")).to_be_focused()
    assert page.evaluate(background) == "rgb(20, 20, 20)"
    page.reload()
    assert page.evaluate(background) == "rgb(20, 20, 20)"


def test_reduced_motion_disables_animations(visit, server, crop):
    page = visit(server, reduced_motion="reduce").open()
    result(page, crop)
    assert page.locator(".hit").first.evaluate("hit => getComputedStyle(hit).animationName") == "none"


@pytest.mark.parametrize(
    "route", ["", "#/c/default/library", "#/c/default/duplicates", "#/jobs", "#/c/default/search?id=cat.jpg"]
)
def test_every_view_loads_few_bytes(visit, server, route):
    tab = visit(server)
    responses: dict[str, Any] = {}
    tab.page.on("response", lambda response: responses.setdefault(response.url, response))
    tab.open(route).get_by_role("heading", level=1).wait_for()
    own = {
        url: len(response.body())
        for url, response in list(responses.items())
        if re.search(r":\d+/(web/.*)?$", url)
    }
    assert len(own) > 10
    assert sum(own.values()) < MAX_BYTES, own
