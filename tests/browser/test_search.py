"""Searching with every kind of query, and the results."""

from __future__ import annotations

import base64
import re
import shutil
from pathlib import Path
from typing import Any

from example_pictures import PICTURES
from playwright.sync_api import expect

# Passes a file to the page as if it was dropped or pasted.
TRANSFER = """([name, bytes, how]) => {
  const transfer = new DataTransfer();
  const content = Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0));
  transfer.items.add(new File([content], name, { type: "image/jpeg" }));
  const event = how === "drop"
    ? new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true })
    : new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true });
  document.querySelector("main").dispatchEvent(event);
}"""

ONE_MATCH = "1 match"
NO_MATCH = "No match"


def pick(page: Any, path: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose images").click()
    chooser.value.set_files(path)


def headline(page: Any, words: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(words, timeout=60_000)


def test_a_chosen_file_is_found_with_relation_confidence_and_evidence(page, crop, visit, server):
    pick(page, crop)
    headline(page, ONE_MATCH)
    hit = page.locator(".hit", has_text="temple.jpg").first
    expect(hit).to_contain_text("Match")
    expect(hit).to_contain_text("Query is part of this image")
    expect(hit).to_contain_text(re.compile(r"False-match odds.*E = \d\.\d.10⁻"))
    expect(hit).to_contain_text(re.compile(r"Inliers \d+ of \d+ · Pixel agreement \d+ %"))
    details = page.locator("details.search-details")
    expect(details.locator("dl")).to_be_hidden()
    details.locator("summary").click()
    for words in ("All combined", "Exact", "Fingerprint of sift", "Fingerprint of efficientnet-lite0"):
        expect(details).to_contain_text(words)
    expect(details).to_contain_text(re.compile(r"Total\s*[\d.]+ m?s"))
    # The link shows the same result and the query image to another user.
    route = page.url.split("#")[1]
    assert route.startswith("/r/")
    other = visit(server).open(f"#{route}")
    headline(other, ONE_MATCH)
    expect(other.locator(".preview img")).to_be_visible()
    assert other.locator(".preview img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 100


def test_dropped_and_pasted_images_are_searched(page, crop):
    content = base64.b64encode(crop.read_bytes()).decode()
    page.evaluate(TRANSFER, ["dropped.jpg", content, "drop"])
    headline(page, ONE_MATCH)
    expect(page.locator(".query .name")).to_have_text("dropped.jpg")
    page.evaluate(TRANSFER, ["pasted.jpg", content, "paste"])
    expect(page.locator(".query .name")).to_have_text("pasted.jpg")
    headline(page, ONE_MATCH)


def test_an_image_is_searched_by_url(page, crop, web):
    address, folder = web
    shutil.copy(crop, folder / "elsewhere.jpg")
    page.get_by_role("button", name="URL").click()
    page.keyboard.type(f"{address}/elsewhere.jpg")
    page.keyboard.press("Enter")
    headline(page, ONE_MATCH)
    assert "url=http" in page.url
    expect(page.locator(".preview img")).to_be_visible()


def test_an_error_is_shown_with_its_request_id_and_retry(page, web):
    page.get_by_role("button", name="URL").click()
    page.keyboard.type(f"{web[0]}/nothing.jpg")
    page.keyboard.press("Enter")
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text("404")
    expect(problem).to_contain_text(re.compile(r"Request \S+"))
    expect(problem.get_by_role("button", name="Try again")).to_be_visible()


def test_a_camera_photo_has_no_match(page):
    page.get_by_role("button", name="Camera").click()
    dialog = page.get_by_role("dialog", name="Take a photo")
    dialog.get_by_role("button", name="Take photo").click()
    headline(page, NO_MATCH)
    expect(page.locator(".no-match")).to_contain_text("no closer than expected by chance")
    nearest = page.locator("details.others")
    expect(nearest).to_have_attribute("open", "")
    expect(nearest.get_by_role("heading", name="Nearest images")).to_be_visible()
    badges = nearest.locator(".badge").all_inner_texts()
    assert badges
    assert set(badges) == {"No match"}


def test_a_stored_image_is_searched_by_a_click_and_back_returns(page):
    page.get_by_role("link", name="Search by cat.jpg").click()
    headline(page, ONE_MATCH)
    expect(page.locator(".hit").first).to_contain_text("small-cat.jpg")
    expect(page.locator(".hit").first).to_contain_text("Edited copy")
    first = page.url
    assert first.endswith("/search?id=cat.jpg")
    page.locator(".hit").first.get_by_role("link", name="Search by this image").click()
    expect(page.locator(".query .name")).to_have_text("small-cat.jpg")
    expect(page.locator(".hit").first).to_contain_text("Edited copy")
    searches = []
    page.on("request", lambda request: searches.append(request) if request.method == "POST" else None)
    page.go_back()
    expect(page.locator(".query .name")).to_have_text("cat.jpg")
    expect(page.locator(".hit").first).to_contain_text("small-cat.jpg")
    assert page.url == first
    page.go_forward()
    expect(page.locator(".query .name")).to_have_text("small-cat.jpg")
    assert searches == [], "earlier results are cached"
    page.go_back()
    page.go_back()
    expect(page.get_by_role("heading", name="Search by image")).to_be_visible()


def searched_region(page: Any) -> list[float]:
    """The region of the last search, from its stored result."""
    result = page.evaluate(
        "async () => (await (await fetch('v1/explanations/' + location.hash.split('/')[2].split('?')[0])).json())"
    )
    [box] = result["boxes"]
    size = [result["query"]["width"], result["query"]["height"]]
    return [value / size[index % 2] for index, value in enumerate(box)]


def test_a_region_is_drawn_with_the_mouse(page, crop):
    pick(page, crop)
    headline(page, ONE_MATCH)
    preview = page.locator(".preview")
    bounds = preview.bounding_box()
    page.mouse.move(bounds["x"] + bounds["width"] * 0.1, bounds["y"] + bounds["height"] * 0.2)
    page.mouse.down()
    page.mouse.move(bounds["x"] + bounds["width"] * 0.5, bounds["y"] + bounds["height"] * 0.5, steps=4)
    page.mouse.move(bounds["x"] + bounds["width"] * 0.6, bounds["y"] + bounds["height"] * 0.9, steps=4)
    page.mouse.up()
    before = page.url
    page.get_by_role("button", name="Search this region").click()
    page.wait_for_url(lambda url: url != before)
    headline(page, ONE_MATCH)
    for got, drawn in zip(searched_region(page), (0.1, 0.2, 0.5, 0.7), strict=True):
        assert abs(got - drawn) < 0.02


def test_a_region_is_moved_resized_and_searched_by_keys(page, crop):
    pick(page, crop)
    headline(page, ONE_MATCH)
    page.get_by_role("button", name="Select a region").focus()
    page.keyboard.press("Enter")
    box = page.locator(".crop")
    expect(box).to_be_focused()
    expect(box).to_have_attribute("aria-label", re.compile("50 by 50 percent, 25 percent from the left"))
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    for _ in range(5):
        page.keyboard.press("Shift+ArrowDown")
    expect(box).to_have_attribute("aria-label", re.compile("50 by 60 percent, 15 percent from the left"))
    before = page.url
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: url != before)
    headline(page, ONE_MATCH)
    wait_for_region(page, (0.15, 0.25, 0.5, 0.6), 0.005)
    page.get_by_role("button", name="Whole image").click()
    headline(page, ONE_MATCH)
    expect(page.locator(".crop")).to_be_hidden()


def wait_for_region(page: Any, drawn: tuple[float, ...], tolerance: float) -> None:
    for _ in range(100):
        try:
            found = searched_region(page)
        except ValueError:  # the whole image
            found = [0.0] * 4
        if all(abs(got - wanted) < tolerance for got, wanted in zip(found, drawn, strict=True)):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"the region {found} was searched, not {drawn}")


def test_the_search_follows_a_region_that_is_dragged(page, crop):
    """Without a click; the last search wins, and all of them are one step of the history."""
    pick(page, crop)
    headline(page, ONE_MATCH)
    whole = page.url
    page.locator(".preview").scroll_into_view_if_needed()
    bounds = page.locator(".preview").bounding_box()

    def to(x: float, y: float) -> None:
        page.mouse.move(bounds["x"] + bounds["width"] * x, bounds["y"] + bounds["height"] * y, steps=3)

    to(0.1, 0.1)
    page.mouse.down()
    to(0.5, 0.6)
    page.wait_for_url(lambda url: url != whole)  # before the button is released
    for step in range(8):
        to(0.5 + step / 20, 0.9)
        page.wait_for_timeout(60)
    page.mouse.up()
    wait_for_region(page, (0.1, 0.1, 0.75, 0.8), 0.02)
    headline(page, ONE_MATCH)
    expect(page.locator(".crop")).to_be_focused()
    page.go_back()
    assert page.url == whole
    expect(page.locator(".crop")).to_be_hidden()


def test_a_region_is_resized_with_a_finger(visit, server, crop):
    page = visit(server, has_touch=True, viewport={"width": 390, "height": 800}).open()
    pick(page, crop)
    headline(page, ONE_MATCH)
    page.get_by_role("button", name="Select a region").tap()
    page.locator(".crop").wait_for()
    touch = page.context.new_cdp_session(page)
    bounds = page.locator(".preview").bounding_box()

    def point(x: float, y: float) -> list[dict[str, float]]:
        return [{"x": bounds["x"] + bounds["width"] * x, "y": bounds["y"] + bounds["height"] * y}]

    # Drag its lower right corner.
    steps = [("touchStart", point(0.75, 0.75)), ("touchMove", point(0.8, 0.85)), ("touchMove", point(0.95, 0.95))]
    for kind, points in [*steps, ("touchEnd", [])]:
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    expect(page.locator(".crop")).to_have_attribute("aria-label", re.compile("70 by 70 percent"))


def test_methods_are_compared_side_by_side(page, crop):
    pick(page, crop)
    headline(page, ONE_MATCH)
    page.get_by_role("combobox", name="Method").select_option(label="Side by side")
    headline(page, "Methods side by side")
    for name in ("sift", "efficientnet-lite0"):
        column = page.get_by_role("region", name=name, exact=True)
        expect(column.locator("li").first).to_contain_text("temple.jpg")
        expect(column.locator("li").first).to_contain_text("Score")
    page.reload()
    headline(page, "Methods side by side")
    page.get_by_role("combobox", name="Method").select_option(label="sift")
    headline(page, ONE_MATCH)
    page.locator("details.search-details summary").click()
    expect(page.locator("details.search-details")).not_to_contain_text("efficientnet-lite0")


def test_result_count_and_filter(page):
    page.get_by_role("link", name="Search by cat.jpg").click()
    headline(page, ONE_MATCH)
    page.get_by_role("combobox", name="Results").select_option("3")
    expect(page.locator("details.others > summary")).to_have_text("2 other images (no match)")
    page.get_by_text("Filter and mode").click()
    page.get_by_label("Metadata filter").fill("kind=dog")
    page.keyboard.press("Enter")
    headline(page, NO_MATCH)
    expect(page.locator(".no-match")).to_have_text("No images pass the filter.")
    assert "filter=kind%3Ddog" in page.url


def test_a_search_can_be_cancelled(page, crop):
    page.route("**/search", lambda route: None)  # no response
    pick(page, crop)
    expect(page.get_by_role("status").filter(has_text="Searching 25 images")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Search cancelled.")).to_be_visible()
    page.unroute("**/search")
    page.get_by_role("button", name="Search again").click()
    headline(page, ONE_MATCH)


def test_an_expired_result_is_reported(visit, server):
    page = visit(server).open("#/r/0123456789abcdef0123456789abcdef")
    expect(page.get_by_role("alert")).to_contain_text("This result has expired")
    expect(page.get_by_role("alert")).to_contain_text("Search again with the image")


def test_the_link_is_copied(page, crop):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    pick(page, crop)
    headline(page, ONE_MATCH)
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator(".toast")).to_contain_text("It works until")
    assert page.evaluate("navigator.clipboard.readText()") == page.url


def test_a_navigation_that_was_overtaken_leaves_nothing_behind(visit, server):
    """The server answers the first view after the second one is shown."""
    tab, held = visit(server), []

    def hold(route):
        held.append(route)

    tab.page.route("**/v1/collections/default", hold)
    page = tab.open()
    expect(page.get_by_role("link", name="Search", exact=True)).to_be_visible()
    page.evaluate("fetch('v1/collections/overtaking', {method: 'PUT'})")
    page.evaluate("location.hash = '#/c/overtaking/search'")
    expect(page.get_by_role("heading", name="No images yet")).to_be_visible()
    assert held
    for route in held:
        route.continue_()
    page.wait_for_timeout(500)
    expect(page.locator(".query-panel")).to_have_count(1)


def test_a_query_that_is_no_image_offers_another_one(page, tmp_path):
    broken = tmp_path / "notes.jpg"
    broken.write_bytes(bytes(range(128, 256)) * 20)
    pick(page, broken)
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text("JPEG 2000")  # one of the supported formats
    expect(page.get_by_role("button", name="Select a region")).to_have_count(0)
    expect(page.get_by_role("button", name="Choose images")).to_be_visible()


def test_hints_do_not_tell_people_to_send_requests(visit, server):
    page = visit(server).open("#/c/nowhere/search")
    expect(page.get_by_role("alert")).to_contain_text("Choose a collection at the top of the page")
    expect(page.get_by_role("alert")).not_to_contain_text("GET /v1")


def test_the_keys_are_listed_under_a_question_mark(page):
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys")
    expect(dialog).to_contain_text("Zoom in, zoom out, fit")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.get_by_text("Filter and mode").click()
    page.get_by_label("Metadata filter").focus()
    page.keyboard.type("a?")
    expect(page.get_by_label("Metadata filter")).to_have_value("a?")


def test_several_images_are_searched_and_stay_in_the_strip(page, crop, tmp_path):
    other = tmp_path / "copy.jpg"
    shutil.copy(PICTURES / "coffee.jpg", other)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(bytes(range(128, 256)) * 20)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose images").click()
    chooser.value.set_files([crop, other, broken])
    headline(page, ONE_MATCH)
    strip = page.get_by_role("navigation", name="Queries in this tab")
    expect(strip.get_by_role("button", name="crop.jpg: 1 match")).to_have_attribute("aria-current", "true")
    expect(strip.get_by_role("button", name="broken.jpg: failed")).to_be_visible()
    first = page.url
    strip.get_by_role("button", name="copy.jpg: 1 match").click()
    expect(page.locator(".query .name")).to_have_text("copy.jpg")
    headline(page, ONE_MATCH)
    expect(page.locator(".hit").first).to_contain_text("coffee.jpg")
    page.go_back()
    assert page.url == first
    expect(page.locator(".query .name")).to_have_text("crop.jpg")
    strip.get_by_role("button", name="broken.jpg: failed").click()
    expect(page.locator(".problem")).to_be_visible()
    strip.get_by_role("button", name="crop.jpg: 1 match").click()
    headline(page, ONE_MATCH)
    page.reload()  # the results are still on the server
    strip.get_by_role("button", name="copy.jpg: 1 match").click()
    expect(page.locator(".hit").first).to_contain_text("coffee.jpg")
    strip.get_by_role("button", name="Forget these queries").click()
    expect(strip).to_be_hidden()


def test_hits_are_sorted_by_date_and_shown_small(page, crop):
    page.get_by_role("link", name="Search by cat.jpg").click()
    headline(page, ONE_MATCH)
    page.get_by_role("button", name="Small pictures").click()
    expect(page.get_by_role("button", name="Small pictures")).to_be_focused()
    expect(page.locator(".hit .odds").first).to_be_hidden()
    page.locator("details.others summary").click()
    by_evidence = page.locator(".nearest .hit").evaluate_all("hits => hits.map((hit) => hit.dataset.id)")
    page.get_by_label("Sort").select_option("date")
    page.locator("details.others summary").click()
    by_date = page.locator(".nearest .hit").evaluate_all("hits => hits.map((hit) => hit.dataset.id)")
    assert sorted(by_date) == sorted(by_evidence)
    added = page.evaluate("fetch('v1/collections/default/images?limit=100').then((answer) => answer.json())")
    when = {image["id"]: image["added_at"] for image in added["images"]}
    assert [when[each] for each in by_date] == sorted(map(when.get, by_date), reverse=True)


def test_similar_images_are_one_click_away_and_lead_on(page, crop):
    pick(page, crop)
    headline(page, ONE_MATCH)
    page.locator(".query-panel").get_by_role("link", name="Similar images").click()
    headline(page, "Similar images")
    tiles = page.locator(".dense > li")
    expect(tiles).to_have_count(25)
    expect(tiles.first).to_contain_text("temple.jpg")
    expect(page.get_by_text("These are the 25 most similar images.")).to_be_visible()
    tiles.first.locator("a").first.focus()
    page.keyboard.press("ArrowRight")
    second = tiles.nth(1).get_attribute("data-id")
    expect(tiles.nth(1).locator("a").first).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: url.endswith(f"/similar?id={second}"))
    expect(tiles).to_have_count(24)
    page.get_by_label("Method").select_option("sift")
    expect(page.get_by_text("Most similar first, by sift.")).to_be_visible()
    page.get_by_role("button", name="Search by this image").click()
    expect(page.locator(".query .name")).to_have_text(second)


def test_more_similar_images_load_while_scrolling(page):
    page.route("**/similar?*", lambda route: route.continue_(url=route.request.url.replace("limit=60", "limit=8")))
    page.set_viewport_size({"width": 700, "height": 300})
    page.goto(page.url.split("#")[0] + "#/c/default/similar?id=cat.jpg")
    expect(page.locator(".dense > li")).to_have_count(24)
    ids = page.locator(".dense > li").evaluate_all("tiles => tiles.map((tile) => tile.dataset.id)")
    assert len(set(ids)) == 24


def test_the_path_of_a_hit_is_copied_and_its_file_downloaded(page, crop):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    pick(page, crop)
    page.get_by_role("link", name="Inspect temple.jpg").click()
    side = page.get_by_role("complementary", name="Evidence")
    expect(side.locator(".path")).to_have_text(str(PICTURES / "temple.jpg"))
    side.get_by_role("button", name="Copy path").click()
    expect(page.locator(".toast")).to_contain_text("Path copied.")
    assert page.evaluate("navigator.clipboard.readText()") == str(PICTURES / "temple.jpg")
    with page.expect_download() as download:
        side.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "temple.jpg"
    assert Path(download.value.path()).read_bytes() == (PICTURES / "temple.jpg").read_bytes()
