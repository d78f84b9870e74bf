"""The collection view: browse, filter, add and remove images."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx2
import pytest
from example_pictures import jpeg
from playwright.sync_api import expect

from imagefinder.server.image_paths import image_path


@pytest.fixture
def library(page) -> Any:
    page.get_by_role("link", name="Collection", exact=True).click()
    page.locator(".tile").first.wait_for()
    return page


def ids(server: Any, collection: str = "default") -> set[str]:
    page = httpx2.get(f"{server.url}/v1/collections/{collection}/images?limit=1000", timeout=60).json()
    return {image["id"] for image in page["images"]}


def store(server: Any, name: str, seed: int, metadata: dict[str, Any] | None = None) -> None:
    url = f"{server.url}/v1/collections/default/image"
    params = {"id": name, "wait": "true", "metadata": json.dumps(metadata or {})}
    content = jpeg(seed)
    httpx2.put(
        url, params=params, content=content, headers={"Content-Type": "image/jpeg"}, timeout=60
    ).raise_for_status()


def test_an_image_shows_its_details_and_is_searched_by(library):
    expect(library.locator(".sub")).to_contain_text("25 images")
    library.get_by_role("button", name="Details of astronaut.jpg").click()
    details = library.get_by_role("dialog", name="astronaut.jpg")
    expect(details).to_contain_text("512 \N{MULTIPLICATION SIGN} 512")
    expect(details).to_contain_text("SHA-256")
    expect(details.get_by_role("button", name="Remove from collection")).to_be_visible()
    expect(details).to_contain_text("the file stays on disk")
    details.get_by_role("link", name="Search by this image").click()
    expect(library.get_by_role("heading", level=1)).to_have_text("No match")


def test_filters_by_name_and_by_metadata(library, server):
    store(server, "set/red.jpg", 1, {"kind": "set", "year": 1999})
    store(server, "set/blue.jpg", 2, {"kind": "set", "year": 2001})
    library.get_by_label("Name contains").fill("do")
    expect(library.locator(".tile")).to_have_count(1)
    expect(library.locator(".tile")).to_contain_text("dogs.jpg")
    assert "contains=do" in library.url
    library.get_by_label("Name contains").fill("")
    library.get_by_label("Metadata filter").fill("kind=set year=1999")
    library.keyboard.press("Enter")
    expect(library.locator(".tile")).to_have_count(1)
    expect(library.locator(".tile")).to_contain_text("red.jpg")
    library.reload()
    expect(library.locator(".tile")).to_have_count(1)
    library.get_by_label("Metadata filter").fill("kind=nothing")
    library.keyboard.press("Enter")
    expect(library.get_by_text("No images pass this filter.")).to_be_visible()


def test_files_are_added_and_each_shows_its_outcome(library, server, tmp_path):
    (tmp_path / "new.jpg").write_bytes(jpeg(11))
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    (tmp_path / "notes.txt").write_text("not an image")
    library.set_input_files(
        '[data-pick="files"]', [tmp_path / name for name in ("new.jpg", "broken.jpg", "notes.txt")]
    )
    tray = library.get_by_role("region", name="Uploads")
    expect(tray).to_contain_text(re.compile(r"2 of 2 images: 1 added, 1 failed.*1 file skipped"))
    row = tray.locator("li", has_text="broken.jpg")
    expect(row).to_contain_text(re.compile("failed: .{10,}"))
    expect(tray.locator("li", has_text="new.jpg")).to_contain_text("added")
    assert {"new.jpg"} <= ids(server)
    expect(library.locator('.tile[data-id="new.jpg"]')).to_be_visible()
    # Existing images are replaced only on request; failed ones can be retried.
    tray.get_by_role("button", name="Retry failed").click()
    expect(row).to_contain_text("failed")
    library.set_input_files('[data-pick="files"]', tmp_path / "new.jpg")
    expect(tray).to_contain_text("1 already in the collection")
    tray.get_by_role("button", name="Replace existing").click()
    expect(tray).to_contain_text("1 replaced")
    tray.get_by_role("button", name="Done").click()
    expect(tray).to_be_hidden()


def test_an_upload_waits_for_a_busy_server(library, tmp_path):
    answers = []

    def busy(route: Any) -> None:
        if route.request.method != "PUT" or answers:
            return route.continue_()
        answers.append(1)
        problem = {"title": "Busy", "detail": "busy", "code": "busy", "status": 429, "retryable": True}
        return route.fulfill(status=429, headers={"Retry-After": "1"}, json=problem)

    library.route("**/image?id=late.jpg*", busy)
    (tmp_path / "late.jpg").write_bytes(jpeg(12))
    library.set_input_files('[data-pick="files"]', tmp_path / "late.jpg")
    expect(library.get_by_text("server busy, waiting")).to_be_visible()
    expect(library.locator(".uploads li")).to_contain_text("added")


def test_a_folder_is_added_with_paths_as_ids(library, server, tmp_path):
    folder = tmp_path / "holiday"
    (folder / "deep").mkdir(parents=True)
    (folder / "one.jpg").write_bytes(jpeg(21))
    (folder / "deep" / "two.jpg").write_bytes(jpeg(22))
    library.set_input_files('[data-pick="folder"]', folder)
    expect(library.get_by_role("region", name="Uploads")).to_contain_text("2 added")
    assert {"holiday/one.jpg", "holiday/deep/two.jpg"} <= ids(server)


# A dropped folder as the browser passes it: entries that are read piece by piece.
DROP_FOLDER = """(bytes) => {
  const file = (name) => new File([Uint8Array.from(bytes)], name, { type: "image/jpeg" });
  const leaf = (path) => ({ isFile: true, fullPath: path, file: (done) => done(file(path.split("/").pop())) });
  const folder = (children) => ({ isFile: false, createReader: () => {
    const left = [...children];
    return { readEntries: (done) => done(left.splice(0, 1)) };
  }});
  const root = folder([leaf("/dropped/a.jpg"), folder([leaf("/dropped/deep/b.jpg")])]);
  const event = new DragEvent("drop", { bubbles: true, cancelable: true });
  const items = [{ webkitGetAsEntry: () => root }];
  Object.defineProperty(event, "dataTransfer", { value: { items, files: [], types: ["Files"] } });
  document.querySelector("main").dispatchEvent(event);
}"""


def test_a_dropped_folder_is_added_with_its_subfolders(library, server):
    library.evaluate(DROP_FOLDER, list(jpeg(31)))
    expect(library.get_by_role("region", name="Uploads")).to_contain_text("2 added")
    assert {"dropped/a.jpg", "dropped/deep/b.jpg"} <= ids(server)


def test_removing_can_be_undone_and_happens_when_the_page_is_left(library, server):
    tile = library.locator('.tile[data-id="fig.jpg"]')
    library.get_by_role("button", name="Remove fig.jpg from collection").click()
    expect(tile).to_be_hidden()
    expect(library.locator(".toast")).to_contain_text("Removed fig.jpg")
    library.get_by_role("button", name="Undo").click()
    expect(tile).to_be_visible()
    library.get_by_role("button", name="Remove fig.jpg from collection").click()
    assert "fig.jpg" in ids(server), "it can still be undone"
    library.goto("about:blank")
    for _ in range(100):
        if "fig.jpg" not in ids(server):
            break
        library.wait_for_timeout(100)
    assert "fig.jpg" not in ids(server)


def test_removing_happens_after_a_delay(library, server):
    store(server, "gone.jpg", 41)
    library.reload()
    with library.expect_response("**/removals") as response:
        library.get_by_role("button", name="Remove gone.jpg from collection").click()
    assert response.value.json() == {"images": 1}
    assert "gone.jpg" not in ids(server)


@pytest.mark.parametrize(
    "name",
    [
        "x/../victim.jpg",
        "./victim.jpg",
        "x/%2e%2e/victim.jpg",
        "/victim.jpg",
        "x\\..\\victim.jpg",
        "..",
        "a/?#'\"&",
    ],
)
def test_an_image_is_removed_and_no_other(library, server, name):
    store(server, "victim.jpg", 42)
    store(server, name, 43)
    before = ids(server)
    library.goto(f"{server.url}/#/c/default/library?contains={quote(name, safe='')}")
    tile = library.locator(".tile")
    expect(tile).to_have_count(1)
    expect(tile.locator("img")).not_to_have_js_property("naturalWidth", 0)
    with library.expect_response("**/removals") as response:
        tile.get_by_role("button", name="from collection").click()
        expect(library.locator(".toast")).to_contain_text(f"Removed {name} from the collection")
    assert response.value.json() == {"images": 1}
    assert before - ids(server) == {name}


def test_the_browser_does_not_rewrite_links_of_answers(library):
    parts = (
        "..",
        ".",
        "",
        "a",
        "%2e%2e",
        "%2F",
        "\\",
        "?",
        "#",
        " ",
        "é",
        "\n",
        "\t",
        "\x00",
        "'",
        ";",
        ":",
        "@",
        "|",
        "^",
        "*",
    )
    names = ["/".join(chosen) for count in (1, 2, 3) for chosen in itertools.product(parts, repeat=count)]
    links = [image_path("/v1/collections/default", "image", name) for name in filter(None, names)]
    seen = library.evaluate("links => links.map((link) => new URL(link, 'http://server/').href)", links)
    assert seen == [f"http://server{link}" for link in links]


def test_a_collection_is_created_and_selected(library, server, tmp_path):
    library.get_by_label("Collection", exact=True).select_option(label="New collection…")
    library.get_by_role("dialog", name="New collection").get_by_label("Name").fill("holiday")
    library.keyboard.press("Enter")
    expect(library.get_by_role("heading", name="holiday")).to_be_visible()
    expect(library.get_by_text("This collection is empty.")).to_be_visible()
    # An empty collection cannot be searched; the page says how to add images.
    library.get_by_role("link", name="Search", exact=True).click()
    expect(library.get_by_role("heading", level=1)).to_have_text("No images yet")
    library.get_by_role("link", name="Add images").click()
    (tmp_path / "first.jpg").write_bytes(jpeg(51))
    library.set_input_files('[data-pick="files"]', tmp_path / "first.jpg")
    expect(library.locator(".tile")).to_have_count(1)
    assert ids(server, "holiday") == {"first.jpg"}
    library.get_by_role("link", name="Search", exact=True).click()
    expect(library.get_by_role("heading", level=1)).to_have_text("Search by image")
    library.get_by_label("Collection", exact=True).select_option("default")
    library.get_by_role("link", name="Collection", exact=True).click()
    expect(library.locator('.tile[data-id="cat.jpg"]')).to_be_visible()
    expect(library.get_by_role("button", name="Delete collection")).to_have_count(0)


def test_a_collection_is_deleted_after_its_name_is_typed(library, server):
    httpx2.put(f"{server.url}/v1/collections/passing", timeout=60).raise_for_status()
    library.reload()
    library.get_by_label("Collection", exact=True).select_option("passing")
    library.get_by_role("button", name="Delete collection").click()
    dialog = library.get_by_role("dialog", name="Delete collection passing?")
    dialog.get_by_label("Type the collection name").fill("pasing")
    library.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("confirm")
    dialog.get_by_label("Type the collection name").fill("passing")
    dialog.get_by_role("button", name="Delete permanently").click()
    expect(library.locator('.tile[data-id="cat.jpg"]')).to_be_visible()
    options = library.get_by_label("Collection", exact=True).locator("option")
    expect(options.filter(has_text="default")).to_have_count(1)
    expect(options.filter(has_text="passing")).to_have_count(0)
    assert "passing" not in httpx2.get(f"{server.url}/v1/info", timeout=60).json()["collections"]


def test_failures_are_listed_with_their_reasons(visit, serve: Callable[..., Any]):
    server = serve()
    (server.roots / "cut.jpg").write_bytes(jpeg(61)[:600])
    body = {"kind": "add", "folder": str(server.roots)}
    job = httpx2.post(f"{server.url}/v1/jobs", json=body, timeout=60).json()["id"]
    with httpx2.stream("GET", f"{server.url}/v1/jobs/{job}/events", timeout=60) as events:
        events.read()
    page = visit(server).open("#/c/default/library")
    page.get_by_role("link", name="1 failure").click()
    failure = page.locator(".failures li")
    expect(failure).to_contain_text("cut.jpg")
    expect(failure).to_contain_text(re.compile("damaged_image|not_an_image"))
    page.get_by_role("link", name="Back to images").click()
    page.locator(".tile").first.wait_for()


def test_only_tiles_near_the_window_exist_in_a_large_collection(page, server):
    """With a made-up list: the server's paging has its own tests."""
    [image] = httpx2.get(f"{server.url}/v1/collections/default/images?limit=1", timeout=60).json()["images"]
    requested = []

    def some(route: Any) -> None:
        values = parse_qs(urlsplit(route.request.url).query)
        begin, limit = int(values["offset"][0]), int(values["limit"][0])
        requested.append(begin)
        images = [{**image, "id": f"{n:06}.jpg"} for n in range(begin, begin + limit)]
        route.fulfill(json={"images": images, "next_cursor": None})

    groups = [{"value": f"{year}-01", "images": 10_000} for year in range(2000, 2010)]
    page.route("**/v1/collections/default/images?*", some)
    page.route(
        "**/v1/collections/default/groups?*",
        lambda route: route.fulfill(json={"groups": groups, "next_cursor": None}),
    )
    page.get_by_role("link", name="Collection", exact=True).click()
    page.locator('.tile[data-id="000000.jpg"]').wait_for()
    for _ in range(25):
        page.mouse.wheel(0, 4000)
        page.wait_for_timeout(60)
    page.wait_for_function("scrollY > 20000")
    tiles = page.locator(".tile").count()
    assert 0 < tiles < 1000
    assert max(requested) > 1000
    assert max(requested) < 20_000
    page.get_by_label("Jump to").select_option(label="January 2000")
    page.locator('.tile[data-id="090000.jpg"]').wait_for()
    expect(page.get_by_role("heading", name="January 2000")).to_be_visible()
    assert page.locator(".tile").count() < 1000
    page.evaluate("scrollTo(0, 0)")
    page.locator('.tile[data-id="000000.jpg"]').wait_for()
