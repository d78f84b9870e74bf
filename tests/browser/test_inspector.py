"""The inspector: one hit compared with the query."""

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
    """The inspector of the match for a crop."""
    page.set_input_files("input[type=file]", crop)
    page.get_by_role("link", name="Inspect temple.jpg").click()
    page.locator(".line.inlier").first.wait_for()
    page.mouse.move(0, 0)  # away from the lines, which cover where the link was
    return page


def test_inliers_and_outliers_are_drawn_differently(opened):
    dialog = opened.get_by_role("dialog", name="temple.jpg")
    inliers, outliers = dialog.locator(".line.inlier"), dialog.locator(".line.outlier")
    assert inliers.count() > 40
    assert outliers.count() > 5
    # Not by colour alone: outliers are dashed and thinner, as the legend says.
    style = "line => { const s = getComputedStyle(line); return [s.strokeDasharray, parseFloat(s.strokeWidth)] }"
    fits, others = (lines.first.locator(".stroke").evaluate(style) for lines in (inliers, outliers))
    assert fits[0] == "none"
    assert others[0] != "none"
    assert fits[1] > others[1]
    expect(dialog.locator(".legend")).to_contain_text(re.compile(r"inliers \(solid\).*outliers \(dashed\)"))
    dialog.get_by_label("outliers").uncheck()
    expect(outliers.first).to_be_hidden()
    # The crop is outlined where it was cut from the stored image.
    image = dialog.locator("svg.lines image").nth(1).bounding_box()
    region = dialog.locator("svg.lines polygon").nth(1).bounding_box()
    for axis, size, begin, part in (("x", "width", 0.2, 0.55), ("y", "height", 0.25, 0.55)):
        assert abs((region[axis] - image[axis]) / image[size] - begin) < 0.02
        assert abs(region[size] / image[size] - part) < 0.05
    for words in (
        "Inliers",
        "Pixel agreement",
        "Query coverage",
        "Chance probability",
        "sift",
        "efficientnet-lite0",
    ):
        expect(dialog.locator("dl").first).to_contain_text(words)


def test_a_line_is_highlighted_by_mouse_and_keys(opened):
    line = opened.locator(".line.inlier").nth(5)
    line.dispatch_event("pointerenter")
    expect(line).to_have_class(re.compile("mark"))
    expect(opened.locator("output")).to_contain_text("stored image")
    drawing = opened.locator("svg.lines")
    before = drawing.get_attribute("viewBox")
    opened.set_viewport_size({"width": 1100, "height": 760})
    expect(drawing).not_to_have_attribute("viewBox", before)
    expect(line).to_have_class(re.compile("mark"))  # also after redrawing at the new size
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
    image = opened.locator("svg.lines image").first
    before = image.bounding_box()
    opened.mouse.move(bounds["x"] + bounds["width"] / 2, bounds["y"] + bounds["height"] / 2)
    opened.mouse.wheel(0, -500)
    opened.wait_for_function("document.querySelector('.viewport').dataset.zoom > 2")
    larger = image.bounding_box()
    assert larger["width"] > 2 * before["width"]
    opened.mouse.down()
    opened.mouse.move(bounds["x"] + bounds["width"] / 2 + 100, bounds["y"] + bounds["height"] / 2, steps=3)
    opened.mouse.up()
    assert abs(image.bounding_box()["x"] - larger["x"] - 100) < 2
    view.focus()
    opened.keyboard.press("0")
    assert zoom(opened) == 1
    opened.keyboard.press("+")
    assert zoom(opened) == 1.25
    here = image.bounding_box()["x"]
    opened.keyboard.press("Shift+ArrowRight")
    assert image.bounding_box()["x"] < here
    opened.get_by_role("button", name="Fit (0)").click()
    assert zoom(opened) == 1


def test_the_overlay_aligns_both_images(opened):
    opened.get_by_text("Overlay", exact=True).click()
    stage = opened.locator(".viewport.over")
    below, above = (stage.locator("img").nth(n).bounding_box() for n in (0, 1))
    for axis, size, begin, part in (("x", "width", 0.2, 0.55), ("y", "height", 0.25, 0.55)):
        assert abs((above[axis] - below[axis]) / below[size] - begin) < 0.02
        assert abs(above[size] / below[size] - part) < 0.02
    # One end shows only the stored image, the other one the query; both show the same scene.
    slider = opened.get_by_label("Query visibility")
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
    assert middle.mean() < 30, "equal areas are dark in the difference"
    opened.get_by_text("Blend", exact=True).click()
    slider.fill("30")
    assert stage.locator("img").nth(1).evaluate("image => image.style.opacity") == "0.3"


def shot(locator: Any) -> np.ndarray:
    with Image.open(io.BytesIO(locator.screenshot())) as image:
        return np.asarray(image.convert("RGB")).astype(float)


def test_heat_map_and_drawing(opened):
    opened.get_by_text("Heat map", exact=True).click()
    figures = opened.locator(".heats figure")
    expect(figures).to_have_count(2)
    expect(figures.first).to_contain_text(re.compile(r"contribution per cell .* sum 0\.\d"))
    expect(opened.get_by_label("Method to explain")).to_have_value("efficientnet-lite0")
    opened.get_by_text("Drawing", exact=True).click()
    drawing = opened.get_by_alt_text(re.compile("Explanation drawing of temple.jpg"))
    drawing.wait_for()
    assert drawing.evaluate("image => image.decode().then(() => image.naturalWidth)") > 500
    with opened.expect_download() as download:
        opened.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "explanation-temple.png"


def test_a_line_under_the_mouse_while_the_next_hit_loads(opened):
    line = opened.locator(".line.inlier").nth(5).element_handle()
    opened.evaluate(
        """() => {
            const [send, arrived] = [fetch, new Promise((arrive) => { window.arrive = arrive; })];
            window.fetch = async (...request) => { await arrived; return send(...request); };
        }"""
    )
    opened.keyboard.press("ArrowRight")
    expect(opened.locator(".position")).to_have_text("2 of 10")
    line.dispatch_event("pointerenter")  # the fixture fails if this reports an error
    line.dispatch_event("pointerleave")
    opened.evaluate("arrive()")
    expect(opened.locator(".legend")).to_contain_text("chance")


def test_arrow_keys_change_the_hit_and_esc_closes(opened, visit, server):
    opened.keyboard.press("ArrowRight")
    expect(opened.locator(".position")).to_have_text("2 of 10")
    expect(opened.locator(".side .badge")).to_have_text("No match")
    expect(opened.locator(".legend")).to_contain_text("chance")
    assert opened.get_by_role("radio", name="Overlay").is_disabled(), "there is no transform"
    opened.keyboard.press("ArrowLeft")
    expect(opened.locator(".position")).to_have_text("1 of 10")
    expect(opened.get_by_role("button", name="Previous hit")).to_be_disabled()
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


def test_the_image_is_zoomed_by_keys_before_it_has_the_focus(opened):
    viewport = opened.locator(".viewport").first
    expect(viewport).to_have_attribute("data-zoom", "1.00")
    opened.keyboard.press("+")
    expect(viewport).to_have_attribute("data-zoom", "1.25")
    opened.keyboard.press("0")
    expect(viewport).to_have_attribute("data-zoom", "1.00")


def test_the_heat_map_does_not_change_the_method_of_the_other_views(opened):
    method = opened.get_by_label("Method to explain")
    method.select_option("sift")
    opened.locator(".line.inlier").first.wait_for()
    opened.get_by_text("Heat map", exact=True).click()
    expect(opened.locator(".heats figure")).to_have_count(2)
    expect(method).to_have_value("efficientnet-lite0")
    assert method.locator("option").all_inner_texts() == ["efficientnet-lite0"]
    opened.get_by_text("Matches", exact=True).click()
    expect(method).to_have_value("sift")
    assert opened.locator(".line.inlier").count() > 40
    opened.get_by_text("Drawing", exact=True).click()
    expect(method).to_have_value("sift")
