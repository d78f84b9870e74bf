"""Jobs: started, followed and cancelled."""

from __future__ import annotations

import re
from typing import Any

import pytest
from example_pictures import jpeg
from playwright.sync_api import expect


@pytest.fixture
def jobs(page) -> Any:
    page.get_by_role("link", name="Jobs").click()
    page.get_by_role("heading", name="Jobs").wait_for()
    return page


def test_a_folder_is_added_with_live_progress(jobs, server):
    for n in range(6):
        (server.roots / f"{n}.jpg").write_bytes(jpeg(70 + n))
    (server.roots / "cut.jpg").write_bytes(jpeg(80)[:500])
    expect(jobs.get_by_label("Folder")).to_have_value(str(server.roots))
    with jobs.expect_request(re.compile("/events$")):
        jobs.get_by_role("button", name="Add folder").click()
    job = jobs.locator("[data-job]").first
    expect(job).to_contain_text("Add images")
    expect(job).to_have_attribute("data-state", "succeeded", timeout=60_000)
    expect(job.locator(".counts")).to_have_text("6 added · 1 failed")
    job.get_by_text("1 failure").click()
    expect(job.locator(".failures li")).to_contain_text("cut.jpg")


def test_a_folder_outside_the_job_roots_is_refused(jobs):
    jobs.get_by_label("Folder").fill("/etc")
    jobs.get_by_role("button", name="Add folder").click()
    expect(jobs.get_by_role("alert")).to_contain_text("/etc")


def test_a_list_of_urls_is_added(jobs, web):
    address, folder = web
    for name in ("a.jpg", "b.jpg"):
        (folder / name).write_bytes(jpeg(ord(name[0])))
    jobs.get_by_text("Add images from URLs").click()
    jobs.get_by_label("URLs, one per line").fill(f"url,id\n{address}/a.jpg,first\n{address}/missing.jpg,second\n")
    jobs.get_by_role("button", name="Add from URLs").click()
    job = jobs.locator("[data-job]").first
    expect(job).to_have_attribute("data-state", "succeeded", timeout=60_000)
    expect(job).to_contain_text("1 added · 1 failed")


def test_a_running_job_is_cancelled(jobs, server):
    folder = server.roots / "many"
    folder.mkdir()
    for n in range(60):
        (folder / f"{n}.jpg").write_bytes(jpeg(100 + n, (900, 700)))
    jobs.get_by_label("Folder").fill(str(folder))
    jobs.get_by_role("button", name="Add folder").click()
    job = jobs.locator("[data-job]").first
    job.get_by_role("button", name="Cancel").click()
    expect(job).to_have_attribute("data-state", "cancelled", timeout=60_000)
    expect(job.get_by_role("button", name="Cancel")).to_have_count(0)
