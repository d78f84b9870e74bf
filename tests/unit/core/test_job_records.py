from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from imagefinder.core.job_records import MAX_TRIES, UNREADABLE, JobRecord, from_content
from imagefinder.core.jobs import Job
from imagefinder.core.serialization import to_json

JOB = Job("1", "add", "a", "queued", "2026-01-01T00:00:00Z")


def content(**changes: Any) -> dict[str, Any]:
    return {"job": to_json(JOB), "spec": {}, "tries": 0, "cancel": False, **changes}


@pytest.mark.parametrize(
    ("state", "tries", "cancel", "then"),
    [
        ("queued", 0, False, "queued"),
        ("queued", 0, True, "cancelled"),
        ("running", 1, False, "queued"),
        ("running", MAX_TRIES, False, "failed"),
        ("running", 1, True, "cancelled"),
        ("succeeded", 0, True, "succeeded"),
        ("failed", MAX_TRIES, False, "failed"),
    ],
)
def test_the_state_of_a_job_after_a_restart(state: Any, tries: int, cancel: bool, then: str) -> None:
    before = JobRecord(replace(JOB, state=state), {"k": 1}, tries, cancel)
    after = before.after_restart()
    assert after.job.state == then
    assert (after.spec, after.tries) == (before.spec, before.tries)
    changed = after.job.state != state and then != "queued"
    assert (after.job.finished_at is not None) is changed


def test_content_round_trip() -> None:
    assert from_content("1", content(tries=2, cancel=True)) == JobRecord(JOB, {}, 2, True)


@pytest.mark.parametrize(("former", "kind"), [("index", "add"), ("rebuild", "build-index")])
def test_the_kinds_of_version_0_1_are_read(former: str, kind: Any) -> None:
    assert from_content("1", content(job={**to_json(JOB), "kind": former})).job == replace(JOB, kind=kind)


@pytest.mark.parametrize(
    "damaged",
    [
        {},
        content(job={}),
        content(job={**to_json(JOB), "state": "lost"}),
        content(job={**to_json(JOB), "kind": "lost"}),
        content(job={**to_json(JOB), "kind": []}),
        content(job="1"),
        content(job={**to_json(JOB), "id": "2"}),
        content(spec=[]),
        content(tries=-1),
        content(tries=10**30),
        content(tries=True),
        content(tries="1"),
        content(cancel=0),
        content(spec={"n": float("nan")}),
        content(spec={"n": "\ud800"}),
    ],
)
def test_damaged_content_is_refused(damaged: dict[str, Any]) -> None:
    with pytest.raises(UNREADABLE):
        from_content("1", damaged)
