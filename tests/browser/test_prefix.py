"""The page behind a reverse proxy that serves it under a path prefix."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import expect
from prefix_proxy import PrefixProxy


@pytest.mark.parametrize("stated", [True, False], ids=["prefix stated", "prefix not stated"])
def test_the_page_works_under_a_prefix(visit: Callable[..., Any], server: Any, crop: Any, stated: bool) -> None:
    headers = {"X-Forwarded-Prefix": "/img"} if stated else {}
    with PrefixProxy(server.url, "/img", headers=headers) as proxy:
        failed = []
        tab = visit(SimpleNamespace(url=proxy.url))
        tab.page.on("response", lambda response: response.status >= 400 and failed.append(response.url))
        page = tab.open()
        page.set_input_files("input[type=file]", crop)
        hit = page.locator(".hit", has_text="temple.jpg").first
        expect(hit.locator("img").first).not_to_have_js_property("naturalWidth", 0)
        page.get_by_role("link", name="Collection", exact=True).click()
        tile = page.locator('.tile[data-id="cat.jpg"]')
        expect(tile.locator("img")).not_to_have_js_property("naturalWidth", 0)
        page.get_by_role("button", name="Details of cat.jpg").click()
        address = page.get_by_role("link", name="Open original").get_attribute("href")
        assert address == f"{proxy.url}/v1/collections/default/contents/cat.jpg"
        assert page.request.get(address).status == 200
        assert failed == []
