"""Looking at one hit closely."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect


@pytest.fixture
def opened(page, crop) -> Any:
    """The page with the inspector over the answer to a crop."""
    page.set_input_files("input[type=file]", crop)
    page.get_by_role("link", name="Compare with temple.jpg").click()
    page.locator(".line.inlier").first.wait_for()
    page.mouse.move(0, 0)  # where the link was, there are lines now
    return page


def test_matches_are_lines_and_those_that_fit_are_told_from_the_others(opened):
    dialogue = opened.get_by_role("dialog", name="temple.jpg")
    inliers, outliers = dialogue.locator(".line.inlier"), dialogue.locator(".line.outlier")
    assert inliers.count() > 40
    assert outliers.count() > 5
    # Not by colour alone: dashed and thinner, and the legend says so.
    style = "line => { const s = getComputedStyle(line); return [s.strokeDasharray, parseFloat(s.strokeWidth)] }"
    fits, others = (lines.first.locator(".stroke").evaluate(style) for lines in (inliers, outliers))
    assert fits[0] == "none"
    assert others[0] != "none"
    assert fits[1] > others[1]
    expect(dialogue.locator(".legend")).to_contain_text(re.compile(r"that fit.*that do not, dashed"))
    dialogue.get_by_label("that do not").uncheck()
    expect(outliers.first).to_be_hidden()
    # The region of the crop is outlined in the picture: where it was cut.
    image = dialogue.locator("svg.lines image").nth(1).bounding_box()
    region = dialogue.locator("svg.lines polygon").nth(1).bounding_box()
    for axis, size, begin, part in (("x", "width", 0.2, 0.55), ("y", "height", 0.25, 0.55)):
        assert abs((region[axis] - image[axis]) / image[size] - begin) < 0.02
        assert abs(region[size] / image[size] - part) < 0.05
    for words in ("Points that fit", "Looks alike", "Transform", "sift", "efficientnet-lite0"):
        expect(dialogue.locator("dl").first).to_contain_text(words)


def test_a_line_under_the_mouse_is_highlighted_and_so_by_keys(opened):
    line = opened.locator(".line.inlier").nth(5)
    line.dispatch_event("pointerenter")
    expect(line).to_have_class(re.compile("mark"))
    expect(opened.locator("output")).to_contain_text("in the query")
    drawing = opened.locator("svg.lines")
    before = drawing.get_attribute("viewBox")
    opened.set_viewport_size({"width": 1100, "height": 760})
    expect(drawing).not_to_have_attribute("viewBox", before)
    expect(line).to_have_class(re.compile("mark"))  # drawn anew for the new size
    line.dispatch_event("pointerleave")
    expect(opened.locator(".line.mark")).to_have_count(0)
    opened.get_by_label("Highlight one match").focus()
    opened.keyboard.press("ArrowRight")
    opened.keyboard.press("ArrowRight")
    expect(opened.locator(".line.mark")).to_have_count(1)
    expect(opened.locator("output")).to_contain_text(re.compile("^2 of "))


def zoom(page: Any) -> float:
    return float(page.locator(".viewport").get_attribute("data-zoom") or 1)


def test_zoom_and_pan_by_wheel_mouse_and_keys(opened):
    view = opened.locator(".viewport")
    bounds = view.bounding_box()
    picture = opened.locator("svg.lines image").first
    before = picture.bounding_box()
    opened.mouse.move(bounds["x"] + bounds["width"] / 2, bounds["y"] + bounds["height"] / 2)
    opened.mouse.wheel(0, -500)
    opened.wait_for_function("document.querySelector('.viewport').dataset.zoom > 2")
    larger = picture.bounding_box()
    assert larger["width"] > 2 * before["width"]
    opened.mouse.down()
    opened.mouse.move(bounds["x"] + bounds["width"] / 2 + 100, bounds["y"] + bounds["height"] / 2, steps=3)
    opened.mouse.up()
    assert abs(picture.bounding_box()["x"] - larger["x"] - 100) < 2
    view.focus()
    opened.keyboard.press("0")
    assert zoom(opened) == 1
    opened.keyboard.press("+")
    assert zoom(opened) == 1.25
    here = picture.bounding_box()["x"]
    opened.keyboard.press("Shift+ArrowRight")
    assert picture.bounding_box()["x"] < here
    opened.get_by_role("button", name="All of it (0)").click()
    assert zoom(opened) == 1


def test_the_query_lies_where_it_belongs(opened):
    opened.get_by_text("Overlay", exact=True).click()
    stage = opened.locator(".viewport.over")
    below, above = (stage.locator("img").nth(n).bounding_box() for n in (0, 1))
    for axis, size, begin, part in (("x", "width", 0.2, 0.55), ("y", "height", 0.25, 0.55)):
        assert abs((above[axis] - below[axis]) / below[size] - begin) < 0.02
        assert abs(above[size] / below[size] - part) < 0.02
    # Swiping to one side shows only the stored picture, to the other the query; they show the same.
    slider = opened.get_by_label("How much of the query is seen")
    slider.fill("100")
    with_query = shot(stage)
    slider.fill("0")
    without = shot(stage)
    assert 0 < np.abs(with_query - without).mean() < 12
    opened.get_by_text("Difference", exact=True).click()
    expect(slider).to_be_disabled()
    dark = shot(stage)
    height, width = dark.shape[:2]
    middle = dark[int(height * 0.4) : int(height * 0.55), int(width * 0.3) : int(width * 0.45)]
    assert middle.mean() < 30, "where both show the same, their difference is dark"
    opened.get_by_text("Blend", exact=True).click()
    slider.fill("30")
    assert stage.locator("img").nth(1).evaluate("image => image.style.opacity") == "0.3"


def shot(locator: Any) -> np.ndarray:
    with Image.open(io.BytesIO(locator.screenshot())) as image:
        return np.asarray(image.convert("RGB")).astype(float)


def test_heat_and_the_drawing(opened):
    opened.get_by_text("Heat", exact=True).click()
    figures = opened.locator(".heats figure")
    expect(figures).to_have_count(2)
    expect(figures.first).to_contain_text(re.compile(r"cells from .* together 0\.\d"))
    expect(opened.get_by_label("Method that explains")).to_have_value("efficientnet-lite0")
    opened.get_by_text("Drawing", exact=True).click()
    drawing = opened.get_by_alt_text(re.compile("Why temple.jpg was found"))
    drawing.wait_for()
    assert drawing.evaluate("image => image.decode().then(() => image.naturalWidth)") > 500
    with opened.expect_download() as download:
        opened.get_by_role("link", name="Save it").click()
    assert download.value.suggested_filename == "why-temple.png"


def test_a_line_under_the_mouse_while_the_next_hit_is_loading(opened):
    line = opened.locator(".line.inlier").nth(5).element_handle()
    opened.evaluate(
        """() => {
            const [ask, arrived] = [fetch, new Promise((arrive) => { window.arrive = arrive; })];
            window.fetch = async (...asked) => { await arrived; return ask(...asked); };
        }"""
    )
    opened.keyboard.press("ArrowRight")
    expect(opened.locator(".place")).to_have_text("2 of 10")
    line.dispatch_event("pointerenter")  # nothing goes wrong: the tab's errors are looked at when it is closed
    line.dispatch_event("pointerleave")
    opened.evaluate("arrive()")
    expect(opened.locator(".legend")).to_contain_text("chance")


def test_arrows_lead_to_the_next_hit_and_esc_back(opened, visit, server):
    opened.keyboard.press("ArrowRight")
    expect(opened.locator(".place")).to_have_text("2 of 10")
    expect(opened.locator(".side .badge")).to_have_text("Not matching")
    expect(opened.locator(".legend")).to_contain_text("chance")
    assert opened.get_by_role("radio", name="Overlay").is_disabled(), "no transform, nothing to lay it on by"
    opened.keyboard.press("ArrowLeft")
    expect(opened.locator(".place")).to_have_text("1 of 10")
    expect(opened.get_by_role("button", name="Earlier hit")).to_be_disabled()
    # The hit is part of the address.
    other = visit(server).open("#" + opened.url.split("#")[1])
    expect(other.get_by_role("dialog", name="temple.jpg")).to_be_visible()
    other.keyboard.press("Escape")
    expect(other.get_by_role("dialog")).to_have_count(0)
    other.wait_for_url(lambda url: "hit=" not in url)
    opened.keyboard.press("Escape")
    expect(opened.get_by_role("dialog")).to_have_count(0)
    opened.wait_for_url(lambda url: "hit=" not in url)
    opened.go_forward()
    expect(opened.get_by_role("dialog", name="temple.jpg")).to_be_visible()
    opened.go_back()
    expect(opened.get_by_role("dialog")).to_have_count(0)
