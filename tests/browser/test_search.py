"""Asking with a picture, in every way there is, and reading the answer."""

from __future__ import annotations

import base64
import re
import shutil
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

# Gives the page a file as if it was dragged onto it, or pasted.
HAND_OVER = """([name, bytes, how]) => {
  const transfer = new DataTransfer();
  const content = Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0));
  transfer.items.add(new File([content], name, { type: "image/jpeg" }));
  const event = how === "drop"
    ? new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true })
    : new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true });
  document.querySelector("main").dispatchEvent(event);
}"""

FOUND = "1 picture here shows this"
OTHER = "1 other picture here shows this"


def pick(page: Any, path: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a picture").click()
    chooser.value.set_files(path)


def headline(page: Any, words: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(words, timeout=60_000)


def test_a_picked_picture_is_found_with_what_how_sure_and_why(page, crop, visit, server):
    pick(page, crop)
    headline(page, FOUND)
    hit = page.locator(".hit", has_text="temple.jpg").first
    expect(hit).to_contain_text("Match")
    expect(hit).to_contain_text("Your picture is a part of this one")
    expect(hit).to_contain_text(re.compile(r"Chance is ruled out.*E = \d\.\d·10⁻"))
    expect(hit).to_contain_text(re.compile(r"\d+ of \d+ points fit · \d+ % looks alike"))
    # Method, mode, weights and times: for those who ask.
    how = page.locator("details.how")
    expect(how.locator("dl")).to_be_hidden()
    how.locator("summary").click()
    for words in ("all together", "exact: every picture was scored", "Made by sift", "Made by efficientnet-lite0"):
        expect(how).to_contain_text(words)
    expect(how).to_contain_text(re.compile(r"In all\s*[\d.]+ m?s"))
    # The link shows another person the same answer, and the picture that was asked with.
    route = page.url.split("#")[1]
    assert route.startswith("/r/")
    other = visit(server).open(f"#{route}")
    headline(other, FOUND)
    expect(other.locator(".frame img")).to_be_visible()
    assert other.locator(".frame img").evaluate("image => image.naturalWidth") > 100


def test_a_dropped_and_a_pasted_picture_are_searched(page, crop):
    content = base64.b64encode(crop.read_bytes()).decode()
    page.evaluate(HAND_OVER, ["dropped.jpg", content, "drop"])
    headline(page, FOUND)
    expect(page.locator(".query .name")).to_have_text("dropped.jpg")
    page.evaluate(HAND_OVER, ["pasted.jpg", content, "paste"])
    expect(page.locator(".query .name")).to_have_text("pasted.jpg")
    headline(page, FOUND)


def test_a_picture_is_searched_by_its_address(page, crop, web):
    address, folder = web
    shutil.copy(crop, folder / "elsewhere.jpg")
    page.get_by_role("button", name="Address").click()
    page.keyboard.type(f"{address}/elsewhere.jpg")
    page.keyboard.press("Enter")
    headline(page, FOUND)
    assert "url=http" in page.url
    expect(page.locator(".frame img")).to_be_visible()


def test_what_goes_wrong_is_said_with_what_to_do_and_the_request(page, web):
    page.get_by_role("button", name="Address").click()
    page.keyboard.type(f"{web[0]}/nothing.jpg")
    page.keyboard.press("Enter")
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text("404")
    expect(problem).to_contain_text(re.compile(r"Request \S+"))
    expect(problem.get_by_role("button", name="Try again")).to_be_visible()


def test_the_camera_takes_a_picture_and_nothing_here_shows_it(page):
    page.get_by_role("button", name="Camera").click()
    dialogue = page.get_by_role("dialog", name="Take a picture")
    dialogue.get_by_role("button", name="Take it").click()
    headline(page, "Nothing in this collection shows this")
    expect(page.locator(".honest")).to_contain_text("do not take it for an answer")
    near = page.locator("details.nearest")
    expect(near).to_have_attribute("open", "")
    expect(near.get_by_role("heading", name="The nearest there are, not matching")).to_be_visible()
    badges = near.locator(".badge").all_inner_texts()
    assert badges
    assert set(badges) == {"Not matching"}


def test_a_stored_picture_is_searched_by_a_click_and_back_leads_back(page):
    page.get_by_role("link", name="Search by cat.jpg").click()
    headline(page, OTHER)
    expect(page.locator(".hit").first).to_contain_text("small-cat.jpg")
    expect(page.locator(".hit").first).to_contain_text("The same picture, edited")
    first = page.url
    assert first.endswith("/search?id=cat.jpg")
    page.locator(".hit").first.get_by_role("link", name="Search by it").click()
    expect(page.locator(".query .name")).to_have_text("small-cat.jpg")
    expect(page.locator(".hit").first).to_contain_text("The same picture, edited")
    searches = []
    page.on("request", lambda request: searches.append(request) if request.method == "POST" else None)
    page.go_back()
    expect(page.locator(".query .name")).to_have_text("cat.jpg")
    expect(page.locator(".hit").first).to_contain_text("small-cat.jpg")
    assert page.url == first
    page.go_forward()
    expect(page.locator(".query .name")).to_have_text("small-cat.jpg")
    assert searches == [], "what was answered is not asked again"
    page.go_back()
    page.go_back()
    expect(page.get_by_role("heading", name="Which of these pictures is it?")).to_be_visible()


def asked_box(page: Any) -> list[float]:
    """What box the last search was asked with, by its shared answer."""
    handle = page.evaluate(
        "async () => (await (await fetch('v1/explanations/' + location.hash.split('/')[2].split('?')[0])).json())"
    )
    [box] = handle["boxes"]
    size = [handle["query"]["width"], handle["query"]["height"]]
    return [value / size[index % 2] for index, value in enumerate(box)]


def test_a_box_is_drawn_with_the_mouse(page, crop):
    pick(page, crop)
    headline(page, FOUND)
    frame = page.locator(".frame")
    bounds = frame.bounding_box()
    page.mouse.move(bounds["x"] + bounds["width"] * 0.1, bounds["y"] + bounds["height"] * 0.2)
    page.mouse.down()
    page.mouse.move(bounds["x"] + bounds["width"] * 0.5, bounds["y"] + bounds["height"] * 0.5, steps=4)
    page.mouse.move(bounds["x"] + bounds["width"] * 0.6, bounds["y"] + bounds["height"] * 0.9, steps=4)
    page.mouse.up()
    before = page.url
    page.get_by_role("button", name="Search this part").click()
    page.wait_for_url(lambda url: url != before)
    headline(page, FOUND)
    for got, drawn in zip(asked_box(page), (0.1, 0.2, 0.5, 0.7), strict=True):
        assert abs(got - drawn) < 0.02


def test_a_box_is_moved_sized_and_asked_with_by_keys(page, crop):
    pick(page, crop)
    headline(page, FOUND)
    before = page.url
    page.get_by_role("button", name="Search a part of it").focus()
    page.keyboard.press("Enter")
    box = page.locator(".part")
    expect(box).to_be_focused()
    expect(box).to_have_attribute("aria-label", re.compile("50 by 50 percent, 25 percent from the left"))
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    for _ in range(5):
        page.keyboard.press("Shift+ArrowDown")
    expect(box).to_have_attribute("aria-label", re.compile("50 by 60 percent, 15 percent from the left"))
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: url != before)
    headline(page, FOUND)
    for got, drawn in zip(asked_box(page), (0.15, 0.25, 0.5, 0.6), strict=True):
        assert abs(got - drawn) < 0.005
    page.get_by_role("button", name="Whole picture").click()
    headline(page, FOUND)
    expect(page.locator(".part")).to_be_hidden()


def test_a_box_is_drawn_with_a_finger(visit, server, crop):
    page = visit(server, has_touch=True, viewport={"width": 390, "height": 800}).open()
    pick(page, crop)
    headline(page, FOUND)
    page.get_by_role("button", name="Search a part of it").tap()
    page.locator(".part").wait_for()
    touch = page.context.new_cdp_session(page)
    bounds = page.locator(".frame").bounding_box()

    def point(x: float, y: float) -> list[dict[str, float]]:
        return [{"x": bounds["x"] + bounds["width"] * x, "y": bounds["y"] + bounds["height"] * y}]

    # From its lower right corner to elsewhere.
    steps = [("touchStart", point(0.75, 0.75)), ("touchMove", point(0.8, 0.85)), ("touchMove", point(0.95, 0.95))]
    for kind, points in [*steps, ("touchEnd", [])]:
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    expect(page.locator(".part")).to_have_attribute("aria-label", re.compile("70 by 70 percent"))


def test_methods_are_compared_side_by_side(page, crop):
    pick(page, crop)
    headline(page, FOUND)
    page.get_by_label("Method").select_option(label="Side by side")
    headline(page, "Each method by itself")
    for name in ("sift", "efficientnet-lite0"):
        column = page.get_by_role("region", name=name, exact=True)
        expect(column.locator("li").first).to_contain_text("temple.jpg")
        expect(column.locator("li").first).to_contain_text("score")
    page.reload()
    headline(page, "Each method by itself")
    page.get_by_label("Method").select_option(label="sift")
    headline(page, FOUND)
    page.locator("details.how summary").click()
    expect(page.locator("details.how")).not_to_contain_text("efficientnet-lite0")


def test_number_and_filter_of_the_results(page):
    page.get_by_role("link", name="Search by cat.jpg").click()
    headline(page, OTHER)
    page.get_by_label("Results").select_option("3")
    expect(page.locator("details.nearest > summary")).to_have_text("2 others, not matching")
    page.get_by_text("Filter and mode").click()
    page.get_by_label("Only pictures whose metadata say").fill("kind=dog")
    page.keyboard.press("Enter")
    headline(page, "Nothing else in this collection shows this")
    expect(page.locator(".honest")).to_have_text("No picture passes the filter.")
    assert "filter=kind%3Ddog" in page.url


def test_a_search_can_be_cancelled(page, crop):
    page.route("**/search", lambda route: None)  # an answer that never comes
    pick(page, crop)
    expect(page.get_by_role("status").filter(has_text="Searching 25 pictures")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("The search was cancelled.")).to_be_visible()
    page.unroute("**/search")
    page.get_by_role("button", name="Search again").click()
    headline(page, FOUND)


def test_a_shared_upload_that_has_expired_is_said_to_be(visit, server):
    page = visit(server).open("#/r/0123456789abcdef0123456789abcdef")
    expect(page.get_by_role("alert")).to_contain_text("This result is no longer kept")
    expect(page.get_by_role("alert")).to_contain_text("Search again with the picture")


def test_the_link_is_copied(page, crop):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    pick(page, crop)
    headline(page, FOUND)
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator(".toast")).to_contain_text("It works until")
    assert page.evaluate("navigator.clipboard.readText()") == page.url
