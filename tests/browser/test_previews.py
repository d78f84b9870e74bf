"""Pictures of formats that browsers do not show, and more pixels while zooming in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_pictures import PICTURES
from PIL import Image
from playwright.sync_api import expect

import imagefinder

FILES = ("photo.heic", "deep.tif", "print.jpg", "pages.tif#page=2")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, browser: object) -> Path:
    """A collection of the same picture in formats that browsers do not show, and a large photograph."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    folder = tmp_path_factory.mktemp("formats")
    pictures = folder / "pictures"
    pictures.mkdir()
    cat = Image.open(PICTURES / "cat.jpg").convert("RGB")
    cat.resize((900, 600)).save(pictures / "photo.heic", quality=80)
    Image.fromarray(np.asarray(cat.convert("L")).astype(np.uint16) * 257).save(pictures / "deep.tif")
    cat.convert("CMYK").save(pictures / "print.jpg", quality=90)
    cat.resize((5400, 3600)).save(pictures / "large.jpg", quality=90)
    temple = Image.open(PICTURES / "temple.jpg").convert("RGB")
    temple.save(pictures / "pages.tif", save_all=True, append_images=[cat])
    with imagefinder.open(folder / "c.collection") as collection:
        collection.add(pictures, methods=["sift"])
    return folder


def natural(locator: Any) -> tuple[int, int]:
    """Size of the pixels that an image element has loaded."""
    expect(locator).to_have_js_property("complete", True)
    return tuple(locator.evaluate("image => [image.naturalWidth, image.naturalHeight]"))


def test_results_show_every_format(visit, server):
    page = visit(server).open("#/c/default/search?id=large.jpg")
    for name in FILES:
        image = page.locator(".hit", has_text=name).locator(".thumb img")
        image.scroll_into_view_if_needed()
        expect(image).to_have_attribute("src", re.compile("preview.*size=800"))
        page.wait_for_function("image => image.complete && image.naturalWidth > 400", arg=image.element_handle())
    panel = page.locator(".query-panel img").first
    assert natural(panel) == (1600, 1067)


def test_details_show_a_tiff(visit, server):
    page = visit(server).open("#/c/default/library")
    page.get_by_role("button", name="Details of deep.tif").click()
    image = page.locator("dialog .detail img")
    page.wait_for_function("image => image.complete && image.naturalWidth > 400", arg=image.element_handle())


def test_zooming_in_loads_more_pixels_up_to_the_original(visit, server):
    page = visit(server).open("#/c/default/search?id=photo.heic")
    sizes: list[str] = []
    page.on("request", lambda request: sizes.extend(re.findall(r"large\.jpg.*size=(\d+)", request.url)))
    page.locator(".hit", has_text="large.jpg").locator(".thumb").click()
    stored = page.locator(".lines image").nth(1)
    expect(stored).to_have_attribute("href", re.compile(r"size=1600"))
    viewport = page.locator(".inspector .viewport").first
    viewport.focus()
    for _ in range(6):
        viewport.press("+")
    expect(stored).to_have_attribute("href", re.compile(r"size=(3200|6400)"))
    for _ in range(8):
        viewport.press("+")
    expect(stored).to_have_attribute("href", re.compile(r"size=6400"))
    page.wait_for_timeout(600)
    assert max(map(int, sizes)) == 6400, "5,400 pixels need no larger step"


def test_a_failed_preview_is_replaced_by_the_thumbnail(visit, server):
    tab = visit(server)
    tab.page.route(re.compile("preview"), lambda route: route.fulfill(status=503))
    page = tab.open("#/c/default/search?id=photo.heic")
    image = page.locator(".hit", has_text="large.jpg").locator(".thumb img")
    expect(image).to_have_attribute("src", re.compile("thumbnail"))
    page.wait_for_function("image => image.complete && image.naturalWidth == 256", arg=image.element_handle())


def test_uploads_say_what_is_kept(visit, server, serve):
    for started, text in (
        (server, "The collection keeps a preview of each image, not the file."),
        (serve(IMAGEFINDER_KEEP_ORIGINALS="true"), "The collection keeps the uploaded files."),
    ):
        page = visit(started).open("#/c/default/library")
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Add images").click()
        chooser.value.set_files(PICTURES / "temple.jpg")
        expect(page.locator(".tray")).to_contain_text(text)
        expect(page.locator(".tray")).to_contain_text("1 added")
