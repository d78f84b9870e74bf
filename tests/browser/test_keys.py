"""A server that requires API keys."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from playwright.sync_api import expect


@pytest.fixture(scope="module")
def guarded(serve: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server that requires keys, with a read key and a write key."""
    state = tmp_path_factory.mktemp("keys")

    def make(name: str, *options: str) -> str:
        command = [sys.executable, "-m", "imagefinder", "keys", "create", name, *options, "--json"]
        environment = {**os.environ, "IMAGEFINDER_STATE": str(state)}
        out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        return str(json.loads(out)["key"])

    write, read = make("writer", "--write"), make("reader")
    server = serve(IMAGEFINDER_AUTH="on", IMAGEFINDER_STATE=str(state))
    server.write, server.read, server.shoes = write, read, make("shoes", "--collection", "shoes")
    return server


def enter(page: Any, key: str) -> None:
    page.get_by_role("dialog", name="API key required").get_by_label("Key").fill(key)
    page.keyboard.press("Enter")


def test_a_key_is_requested_stored_in_the_tab_and_sent_for_images(visit, guarded, crop):
    page = visit(guarded).open()
    enter(page, "wrong")
    expect(page.get_by_role("dialog")).to_contain_text("does not accept this key")
    page.keyboard.press("Control+A")
    enter(page, guarded.write)
    page.wait_for_function(
        "() => document.querySelector('.samples img')?.naturalWidth > 50"
    )  # before its source is read
    assert page.locator(".samples img").first.get_attribute("src").startswith("blob:")
    page.set_input_files("input[type=file]", crop)
    page.get_by_role("link", name="Inspect temple.jpg").click()
    page.locator(".line.inlier").first.wait_for()
    assert page.locator("svg.lines image").nth(1).get_attribute("href").startswith("blob:")
    page.reload()
    page.locator(".line.inlier").first.wait_for()
    assert guarded.write not in page.url
    assert page.evaluate("Object.values(localStorage).join()").find(guarded.write) < 0


def test_a_read_key_offers_no_changes(visit, guarded):
    page = visit(guarded).open("#/c/default/library")
    enter(page, guarded.read)
    page.locator(".tile").first.wait_for()
    for name in (re.compile("Add images"), re.compile("^Remove")):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    expect(page.get_by_role("option", name="New collection…")).to_have_count(0)
    page.get_by_role("link", name="Jobs").click()
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    expect(page.get_by_role("button", name="Find duplicates")).to_have_count(0)


def test_a_key_for_some_collections_shows_only_these(visit, guarded):
    httpx2.put(f"{guarded.url}/v1/collections/shoes", headers={"X-Api-Key": guarded.write}).raise_for_status()
    visitor = visit(guarded)
    page = visitor.open("#/c/shoes/library")
    enter(page, guarded.shoes)
    page.locator("option", has_text="shoes").first.wait_for(state="attached")
    assert page.locator("option", has_text="default").count() == 0
    visitor.open("#/c/default/library")
    expect(page.get_by_text("may not use the collection").first).to_be_visible()
