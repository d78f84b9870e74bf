"""Duplicates: reviewed, compared and removed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from example_pictures import PICTURES
from playwright.sync_api import expect


@pytest.fixture(scope="module")
def doubled(serve: Callable[..., Any]) -> Any:
    """A server with an identical and a smaller copy."""
    server = serve()
    url = f"{server.url}/v1/collections/default/images/copies/same.jpg?wait=true"
    content = (PICTURES / "coffee.jpg").read_bytes()
    httpx2.put(url, content=content, headers={"Content-Type": "image/jpeg"}, timeout=60).raise_for_status()
    return server


def test_duplicates_are_grouped_compared_and_removed_with_undo(visit, doubled):
    page = visit(doubled).open("#/c/default/duplicates")
    groups = page.locator(".group")
    expect(groups).to_have_count(2, timeout=120_000)
    same, edited = groups.filter(has_text="same.jpg"), groups.filter(has_text="small-cat.jpg")
    expect(same).to_contain_text("Identical images")
    expect(edited).to_contain_text("Edited copies")
    kept = edited.locator(".member.kept")
    expect(kept).to_contain_text("cat.jpg")
    expect(edited.locator(".member", has_text="small-cat.jpg")).to_contain_text("Edited copy of cat.jpg")
    # Side by side, and as an overlay.
    edited.get_by_role("button", name="Compare", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".relation")).to_contain_text("small-cat.jpg: Edited copy of cat.jpg")
    expect(dialog.locator("svg.lines image")).to_have_count(2)
    dialog.get_by_text("Overlay", exact=True).click()
    below, above = (dialog.locator(".overlay img").nth(n).bounding_box() for n in (0, 1))
    assert all(abs(below[side] - above[side]) < 6 for side in below)
    page.keyboard.press("Escape")
    # The user may keep another image of the group.
    edited.locator(".member", has_text="small-cat.jpg").get_by_label("Keep this one").click()
    expect(edited.locator(".member.kept")).to_contain_text("small-cat.jpg")
    edited.locator(".member", has_text="cat.jpg").get_by_label("Keep this one").click()
    edited.get_by_role("button", name="Remove the other from collection", exact=True).click()
    expect(edited).to_be_hidden()
    page.get_by_role("button", name="Undo").click()
    expect(edited).to_be_visible()
    edited.get_by_role("button", name="Remove the other from collection", exact=True).click()
    with page.expect_response("**/removals") as response:
        pass
    assert response.value.request.post_data_json == {"ids": ["small-cat.jpg"]}
    assert response.value.json() == {"images": 1}
    same.get_by_role("button", name="Remove copies/same.jpg from collection").click()
    expect(same).to_be_hidden()
