"""A server that demands keys."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect


@pytest.fixture(scope="module")
def guarded(serve: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server that demands keys, and two of them."""
    state = tmp_path_factory.mktemp("keys")

    def make(name: str, *options: str) -> str:
        command = [sys.executable, "-m", "imagefinder", "keys", "create", name, *options, "--json"]
        environment = {**os.environ, "IMAGEFINDER_STATE": str(state)}
        out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        return str(json.loads(out)["key"])

    write, read = make("writer", "--write"), make("reader")
    server = serve(IMAGEFINDER_AUTH="on", IMAGEFINDER_STATE=str(state))
    server.write, server.read = write, read
    return server


def give(page: Any, key: str) -> None:
    page.get_by_role("dialog", name="A key is needed").get_by_label("Key").fill(key)
    page.keyboard.press("Enter")


def test_a_key_is_asked_for_kept_in_the_tab_and_used_for_pictures(visit, guarded, crop):
    page = visit(guarded).open()
    give(page, "wrong")
    expect(page.get_by_role("dialog")).to_contain_text("does not know this key")
    page.keyboard.press("Control+A")
    give(page, guarded.write)
    page.wait_for_function(
        "() => document.querySelector('.strip img')?.naturalWidth > 50"
    )  # asked for after it is there
    assert page.locator(".strip img").first.get_attribute("src").startswith("blob:")
    page.set_input_files("input[type=file]", crop)
    page.get_by_role("link", name="Compare with temple.jpg").click()
    page.locator(".line.inlier").first.wait_for()
    assert page.locator("svg.lines image").nth(1).get_attribute("href").startswith("blob:")
    page.reload()
    page.locator(".line.inlier").first.wait_for()
    assert guarded.write not in page.url
    assert page.evaluate("Object.values(localStorage).join()").find(guarded.write) < 0


def test_who_may_only_read_is_offered_nothing_else(visit, guarded):
    page = visit(guarded).open("#/c/default/library")
    give(page, guarded.read)
    page.locator(".tile").first.wait_for()
    for name in (re.compile("Add pictures"), re.compile("^Delete")):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    expect(page.get_by_role("option", name="New collection…")).to_have_count(0)
    page.get_by_role("link", name="Jobs").click()
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    expect(page.get_by_role("button", name="Find duplicates")).to_have_count(0)
