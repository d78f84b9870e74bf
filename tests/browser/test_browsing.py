"""Arranging, selecting and looking at the images of a collection."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from example_pictures import PICTURES
from playwright.sync_api import expect

BASE = "v1/collections/default"


@pytest.fixture
def library(page) -> Any:
    page.get_by_role("link", name="Collection", exact=True).click()
    page.locator(".tile img").first.wait_for()
    return page


def shown(page: Any) -> list[str]:
    return page.locator(".tile").evaluate_all("tiles => tiles.map((tile) => tile.dataset.id)")


def tags(server: Any, image_id: str) -> list[str]:
    image = httpx2.get(f"{server.url}/{BASE}/image", params={"id": image_id}, timeout=60).json()
    return image["metadata"].get("tags", [])


def test_images_are_sorted_and_shown_under_headings(library):
    library.get_by_label("Sort").select_option("name")
    expect(library.locator(".tile").first).to_have_attribute("data-id", "astronaut.jpg")
    names = shown(library)
    assert names == sorted(names)
    expect(library.locator(".grid h2")).to_have_count(0)
    library.get_by_label("Headings").select_option("folder")
    expect(library.get_by_role("heading", name="Top folder · 25 images")).to_be_visible()
    library.get_by_label("Headings").select_option("month")
    expect(library.locator(".grid h2").first).to_contain_text("images")
    library.get_by_label("Size of tiles").select_option("small")
    expect(library.locator(".grid.small .tile img").first).to_be_visible()
    library.reload()
    expect(library.locator(".grid.small .tile").first).to_be_visible()


def put(server: Any, image_id: str, data: bytes) -> None:
    path = f"{server.url}/{BASE}/images/{quote(image_id)}"
    httpx2.put(path, files={"image": data}, timeout=60).raise_for_status()


def test_versions_of_a_picture_are_one_tile(server, library):
    cat = (PICTURES / "cat.jpg").read_bytes()
    for name in ("IMG_0001.jpg", "IMG_0001-edited.jpg", "IMG_E0001.jpg"):
        put(server, f"phone/{name}", cat)
    library.goto(f"{server.url}/#/c/default/library?folder=phone")
    library.reload()
    versions = library.get_by_role("link", name="3 versions: phone/IMG_0001-edited.jpg")
    expect(versions).to_be_visible()
    assert shown(library) == ["phone/IMG_0001-edited.jpg"]
    expect(library.get_by_text("28 images")).to_be_visible()
    versions.click()
    expect(library.locator(".tile")).to_have_count(3)
    library.get_by_role("button", name="Versions of one picture").click()
    expect(library.locator('[data-id="astronaut.jpg"]')).to_be_visible()


def test_a_long_name_leaves_the_lightbox_in_the_window(server, library):
    cat = (PICTURES / "cat.jpg").read_bytes()
    put(server, f"long/{'x' * 150}.jpg", cat)
    library.set_viewport_size({"width": 360, "height": 740})
    library.goto(f"{server.url}/#/c/default/library?folder=long")
    library.reload()
    library.locator(".tile .picture").first.click()
    box = library.get_by_role("dialog", name="Image")
    expect(box.locator("img")).to_be_in_viewport(ratio=1)
    for name in ("Next image", "Close"):
        expect(box.get_by_role("button", name=name)).to_be_in_viewport(ratio=1)
    title, close = (
        box.get_by_role("heading").bounding_box(),
        box.get_by_role("button", name="Close").bounding_box(),
    )
    assert close["y"] < title["y"] + title["height"] + 8


def test_the_lightbox_steps_through_the_images(library):
    library.get_by_label("Sort").select_option("name")
    expect(library.locator(".tile").first).to_have_attribute("data-id", "astronaut.jpg")
    names = shown(library)
    library.locator(".tile .picture").first.click()
    box = library.get_by_role("dialog", name="Image")
    expect(box.get_by_role("heading")).to_have_text(names[0])
    expect(box.get_by_text("1 of 25")).to_be_visible()
    library.keyboard.press("ArrowRight")
    library.keyboard.press("ArrowRight")
    expect(box.get_by_role("heading")).to_have_text(names[2])
    library.keyboard.press("ArrowLeft")
    expect(box.get_by_role("heading")).to_have_text(names[1])
    library.keyboard.press("i")
    expect(box.get_by_label("Properties").last).to_contain_text("SHA-256")
    library.keyboard.press("Escape")
    expect(box).to_have_count(0)
    expect(library.locator(f'.tile[data-id="{names[1]}"] .picture')).to_be_focused()
    library.keyboard.press("Enter")
    library.keyboard.press("s")
    library.wait_for_function("location.hash.includes('search?id=')")


def test_images_are_selected_by_keys_and_tagged(library, server, tmp_path):
    library.get_by_label("Sort").select_option("name")
    expect(library.locator(".tile").first).to_have_attribute("data-id", "astronaut.jpg")
    names = shown(library)
    library.locator(".tile .picture").first.focus()
    library.keyboard.press(" ")
    library.keyboard.press("Shift+ArrowRight")
    bar = library.get_by_role("region", name="Selection")
    expect(bar).to_contain_text("2 selected")
    library.locator(".tile .pick").nth(3).click(modifiers=["Shift"])
    expect(bar).to_contain_text("4 selected")
    bar.get_by_role("button", name="Tag").click()
    library.get_by_label("Add tags").fill("first, four")
    library.get_by_role("button", name="Change tags").click()
    expect(library.get_by_text("Changed the tags of 4 images")).to_be_visible()
    assert tags(server, names[3]) == ["first", "four"]
    assert tags(server, names[4]) == []
    bar.get_by_role("button", name="Export").click()
    with library.expect_download() as download:
        library.get_by_role("button", name="CSV").click()
    download.value.save_as(tmp_path / "list.csv")
    rows = list(csv.DictReader(Path(tmp_path / "list.csv").read_text("utf-8-sig").splitlines()))
    assert [row["id"] for row in rows] == names[:4]
    library.keyboard.press("Control+a")
    library.get_by_role("button", name="Clear selection").click()
    expect(bar).to_be_hidden()
    library.get_by_text("More filters").click()
    library.get_by_label("four").check()
    expect(library.locator(".tile")).to_have_count(4)
    expect(library.get_by_role("button", name="Tag: four")).to_be_visible()
    library.reload()
    expect(library.locator(".tile")).to_have_count(4)
    library.get_by_role("button", name="Tag: four").click()
    expect(library.locator(".tile")).to_have_count(25)


def test_many_images_are_removed_at_once_and_this_is_undone(library, server):
    for number in range(3):
        library.locator(".tile").nth(number).hover()
        library.locator(".tile .pick").nth(number).click()
    names = shown(library)
    before = library.locator(".tile").count()
    bar = library.get_by_role("region", name="Selection")
    bar.get_by_role("button", name="Remove").click()
    expect(library.locator(".tile")).to_have_count(before - 3)
    expect(library.locator(".sub")).to_contain_text(f"{before - 3} images")
    library.get_by_role("button", name="Undo").click()
    expect(library.locator(".tile")).to_have_count(before)
    assert shown(library) == names
    listed = httpx2.get(f"{server.url}/{BASE}", timeout=60).json()["images"]
    assert listed == before


@pytest.mark.parametrize("width", [320, 360, 400])
def test_the_view_is_as_wide_as_a_phone(library, width):
    library.set_viewport_size({"width": width, "height": 700})
    library.wait_for_timeout(300)
    assert library.evaluate("document.documentElement.scrollWidth") == width
    library.locator(".tile .picture").first.click()
    expect(library.get_by_role("dialog", name="Image")).to_be_visible()
    assert library.evaluate("document.documentElement.scrollWidth") == width
