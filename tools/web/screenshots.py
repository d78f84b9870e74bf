"""Take the page's screenshots in ``docs/images``: ``make screenshots``; needs Chromium (``make browser``)."""

from __future__ import annotations

import contextlib
import io
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

import imagefinder

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "pictures"
IMAGES = ROOT / "docs" / "images"
SCREEN = {"width": 1280, "height": 860}
PHONE = {"width": 390, "height": 800}
GAP = 24
START_SECONDS = 120
TIMEOUT_MS = 120_000
QUALITY = 90


def prepare(folder: Path) -> tuple[Path, Path]:
    """Make a collection of the examples and two copies; return it and a cropped query image."""
    source = folder / "images"
    shutil.copytree(EXAMPLES, source)
    shutil.copy(source / "coffee.jpg", source / "coffee-2.jpg")
    with Image.open(source / "cat.jpg") as image:
        image.resize((300, 200)).save(source / "cat-small.jpg", quality=60)
    query = folder / "crop.jpg"
    with Image.open(source / "temple.jpg") as image:
        width, height = image.size
        image.crop((width // 5, height // 4, width * 3 // 4, height * 4 // 5)).save(query, quality=70)
    with imagefinder.open(folder / "c.collection") as collection:
        collection.add(source)
        collection.search(query)  # calibrates, so that the page does not wait for it
    return folder / "c.collection", query


@contextlib.contextmanager
def serve(collection: Path) -> Iterator[str]:
    """Run the REST service of a collection; yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "imagefinder", "serve", "-c", str(collection), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(START_SECONDS * 10):
            with contextlib.suppress(urllib.error.URLError), urllib.request.urlopen(f"{url}/health/ready"):
                break
            time.sleep(0.1)
        else:
            raise TimeoutError(f"the server was not ready after {START_SECONDS} s")
        yield url
    finally:
        process.terminate()
        process.wait()


def search(page: Page, url: str, query: Path) -> None:
    """Search with a file."""
    page.goto(url)
    page.locator(".samples img").first.wait_for()
    page.set_input_files("input[type=file]", query)
    page.locator(".hit img").first.wait_for()
    page.locator(".preview.ready").wait_for()


def inspect(page: Page) -> None:
    """Open the inspector of the match."""
    page.get_by_role("link", name="Inspect temple.jpg").click()
    page.locator(".line.inlier").first.wait_for()
    page.mouse.move(0, 0)


def library(page: Page, url: str) -> None:
    """Open the collection view."""
    page.goto(f"{url}#/c/default/library")
    page.locator(".tile img").first.wait_for()


def words(page: Page, url: str, text: str) -> None:
    """Search with words."""
    page.goto(url)
    page.get_by_role("searchbox").fill(text)
    page.get_by_role("searchbox").press("Enter")
    page.locator(".dense img").first.wait_for()


def shot(page: Page) -> Image.Image:
    """Take a screenshot after all requests have ended."""
    page.wait_for_load_state("networkidle")
    # The path of a temporary folder.
    page.evaluate("document.querySelectorAll('.file .path').forEach((one) => one.remove())")
    page.wait_for_timeout(1500)  # pictures appear gradually
    return Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")


def phones(page: Page, url: str, query: Path) -> Image.Image:
    """Search result, inspector and collection, next to each other."""
    search(page, url, query)
    shots = [shot(page)]
    inspect(page)
    shots.append(shot(page))
    page.keyboard.press("Escape")
    library(page, url)
    shots.append(shot(page))
    step = PHONE["width"] + GAP
    image = Image.new("RGB", (len(shots) * step - GAP, PHONE["height"]), "white")
    for index, each in enumerate(shots):
        image.paste(each, (index * step, 0))
    return image


def take(browser: Any, url: str, query: Path) -> Iterator[tuple[str, Image.Image]]:
    """Yield the screenshots with their names."""
    for _ in range(2):  # the server loads its models in the first search
        page = browser.new_page(viewport=SCREEN)
        page.set_default_timeout(TIMEOUT_MS)
        search(page, url, query)
    page.set_viewport_size({**SCREEN, "height": 620})
    yield "page-search", shot(page)
    page.set_viewport_size(SCREEN)
    inspect(page)
    yield "page-inspector", shot(page)
    page.keyboard.press("Escape")
    library(page, url)
    yield "page-collection", shot(page)
    words(page, url, "cup of coffee")
    page.set_viewport_size({**SCREEN, "height": 480})
    yield "page-words", shot(page)
    page = browser.new_page(viewport=PHONE, color_scheme="dark")
    page.set_default_timeout(TIMEOUT_MS)
    yield "page-phone", phones(page, url, query)


def main() -> None:
    """Take and store all screenshots."""
    chromium = shutil.which("chromium")
    if not chromium:
        sys.exit("Chromium is not installed; on Debian: make browser (as root)")
    with tempfile.TemporaryDirectory() as folder:
        collection, query = prepare(Path(folder))
        with serve(collection) as url, sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            for name, image in take(browser, url, query):
                image.save(IMAGES / f"{name}.webp", quality=QUALITY, method=6)
            browser.close()


if __name__ == "__main__":
    main()
