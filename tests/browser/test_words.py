"""Searching with words, and what a classifier suggests that an image shows."""

from __future__ import annotations

import re
from typing import Any

from example_pictures import PICTURES
from playwright.sync_api import expect


def search(page: Any, text: str) -> None:
    box = page.get_by_role("searchbox", name="What the images show")
    box.fill(text)
    box.press("Enter")


def test_words_find_images_without_a_decision(page):
    search(page, "motorcycles")
    expect(page.get_by_role("heading", level=1)).to_have_text("Search with words")
    expect(page.locator("p.sub").first).to_have_text("1 image of 25 may show: motorcycle")
    expect(page.get_by_text("Classes searched for: moped")).to_be_visible()
    expect(page.get_by_text("not calibrated, so there is no decision")).to_be_visible()
    expect(page.locator(".dense > li")).to_have_count(1)
    expect(page.locator(".dense > li")).to_contain_text("motorcycle.jpg")
    expect(page.locator(".badge")).to_have_count(0)
    # A search with the image is one click away, and back returns.
    page.get_by_role("link", name="Search by motorcycle.jpg").click()
    expect(page.locator(".query .name")).to_have_text("motorcycle.jpg")
    page.go_back()
    expect(page.locator(".dense > li")).to_have_count(1)
    expect(page.get_by_role("searchbox")).to_have_value("motorcycles")


def test_nothing_shows_the_words_and_unknown_words(page):
    search(page, "volcano")
    expect(
        page.get_by_text(re.compile(r"No image shows this: volcano\. .* has \d %; the threshold is 10 %"))
    ).to_be_visible()
    expect(page.locator(".dense > li")).to_have_count(0)
    search(page, "bananna")
    expect(page.get_by_role("heading", name="Unknown words")).to_be_visible()
    expect(page.get_by_text(re.compile(r"did you mean .*banana.*CLIP"))).to_be_visible()
    search(page, "crimson cat")
    expect(page.get_by_text("Not known, and ignored: crimson")).to_be_visible()
    assert {"cat.jpg", "small-cat.jpg"} >= {
        each.get_attribute("data-id") for each in page.locator(".dense > li").all()
    }


def test_the_inspector_names_what_the_image_may_show(page):
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose images").click()
    chooser.value.set_files(PICTURES / "coffee.jpg")
    page.locator(".hit", has_text="coffee.jpg").first.get_by_role("link", name="Inspect").first.click()
    expect(page.get_by_text(re.compile(r"^May show: espresso \(\d\d %\)$"))).to_be_visible()
