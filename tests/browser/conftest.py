"""The page in Chromium, served by a real server with the example images."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from example_pictures import PICTURES
from PIL import Image

import imagefinder

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (make setup)")

METHODS = ("sift", "efficientnet-lite0")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
    *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
)
TIMEOUT = 60_000  # ms; enough for a busy machine
START = """
from imagefinder.core.settings import Settings
from imagefinder.server.app import serve
serve(Settings.load())
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of the page; the first two of each file are its smoke tests, which run every time."""
    seen: Counter[Path] = Counter()
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            seen[item.path] += 1
            if seen[item.path] <= 2:
                item.add_marker(pytest.mark.smoke)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One Chromium for all tests."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not found:
        reason = "Chromium is not installed: make browser"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    playwright.expect.set_options(timeout=TIMEOUT)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, browser: object) -> Path:
    """A calibrated collection of the examples and an edited copy; copied for each server."""
    folder = tmp_path_factory.mktemp("prepared")
    with imagefinder.open(folder / "c.collection") as collection:
        copies = folder / "copies"
        copies.mkdir()
        with Image.open(PICTURES / "cat.jpg") as image:
            image.resize((300, 200)).save(copies / "small-cat.jpg", quality=60)
        collection.add(PICTURES, copies, methods=METHODS)
        collection.search(PICTURES / "cat.jpg")
    return folder


class Server:
    """A running service over a copy of the prepared collection."""

    def __init__(self, prepared: Path, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.roots = folder / "allowed"
        self.roots.mkdir()
        shutil.copytree(prepared / "c.collection", folder / "c.collection")
        own = {
            "IMAGEFINDER_COLLECTION": str(folder / "c.collection"),
            "IMAGEFINDER_COLLECTIONS": str(folder / "collections"),
            "IMAGEFINDER_STATE": str(folder / "state"),
            "IMAGEFINDER_JOB_ROOTS": str(self.roots),
            "IMAGEFINDER_MODELS": str(folder / "no-models"),
            "IMAGEFINDER_FETCH_PRIVATE": "true",
            "IMAGEFINDER_PORT": "0",
            "HF_HOME": str(folder / "no-hub"),
            "HF_HUB_OFFLINE": "1",
        }
        environment = {**os.environ, **own, **settings}
        self.process = subprocess.Popen(
            [sys.executable, "-c", START],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout
        self.lines: list[str] = []
        for line in self.process.stdout:
            self.lines.append(line)
            if found := re.search(r"listening on (http://[\w.:\[\]]+)", line):
                self.url = found[1]
                break
        else:
            self.process.wait()
            self.process.stdout.close()
            raise AssertionError("".join(self.lines))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        with contextlib.closing(self.process.stdout) as lines:
            self.lines.extend(lines)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(10)
        assert "Traceback" not in "".join(self.lines), "".join(self.lines)


@pytest.fixture(scope="module")
def serve(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Starts servers with given settings; they stop at the end of the module."""
    running: list[Server] = []

    def start(**settings: str) -> Server:
        running.append(Server(prepared, tmp_path_factory.mktemp("server"), **settings))
        return running[-1]

    yield start
    for server in running:
        server.stop()


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server]) -> Server:
    return serve()


class Visit:
    """A browser tab, and the errors and foreign requests in it."""

    def __init__(self, context: Any, url: str) -> None:
        self.context = context
        self.url = url
        self.page = context.new_page()
        self.errors: list[str] = []
        self.foreign: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(f"{error}\n{error.stack}"))
        self.page.on("console", self._console)
        self.page.on("request", self._request)

    def _console(self, message: Any) -> None:
        # The browser reports every error response; the page shows those itself.
        if message.type in {"error", "warning"} and "Failed to load resource" not in message.text:
            self.errors.append(message.text)

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.url, "blob:", "data:")):
            self.foreign.append(request.url)

    def open(self, route: str = "") -> Any:
        self.page.goto(f"{self.url}/{route}")
        return self.page


@pytest.fixture
def visit(browser: Any, request: pytest.FixtureRequest) -> Iterator[Callable[..., Visit]]:
    """Opens tabs with empty storage; none of them may have reported an error at the end."""
    visits: list[Visit] = []

    def open_tab(server: Server, **options: Any) -> Visit:
        options = {"viewport": {"width": 1280, "height": 860}, **options}
        context = browser.new_context(**options)
        context.set_default_timeout(TIMEOUT)
        visits.append(Visit(context, server.url))
        return visits[-1]

    yield open_tab
    for each in visits:
        each.context.close()
    assert [error for each in visits for error in each.errors] == []
    assert [url for each in visits for url in each.foreign] == []


@pytest.fixture
def page(visit: Callable[..., Visit], server: Server) -> Any:
    """The start page."""
    page = visit(server).open()
    page.get_by_role("heading", name="Search by image").wait_for()
    return page


@pytest.fixture(scope="session")
def crop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A crop of an example, saved as another JPEG."""
    path = tmp_path_factory.mktemp("query") / "crop.jpg"
    with Image.open(PICTURES / "temple.jpg") as image:
        width, height = image.size
        image.crop((width // 5, height // 4, width * 3 // 4, height * 4 // 5)).save(path, quality=70)
    return path


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Another web server: its URL and its folder."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    folder = tmp_path_factory.mktemp("web")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}", folder
        httpd.shutdown()
