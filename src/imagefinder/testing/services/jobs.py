"""Tests for the contract of jobs; subclass ``JobsSuite`` in your own tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from imagefinder.core.errors import NotReadyError, QueueFullError, StoreError, UnknownJobError
from imagefinder.core.job_records import TakenJob
from imagefinder.core.jobs import Job, JobFailure, JobProgress
from imagefinder.core.service_contracts import Jobs

MakeJobs = Callable[[], Jobs]

MAX_QUEUED = 5
"""Largest number of queued jobs that ``make_jobs`` allows."""


class JobsSuite:
    """Provide the fixture ``make_jobs``; every test then runs on your jobs."""

    @pytest.fixture
    def make_jobs(self) -> MakeJobs:
        """Create jobs with a queue of ``MAX_QUEUED``; later calls open the same ones, as the next server does."""
        raise NotImplementedError("provide a fixture named make_jobs")

    @pytest.fixture
    def jobs(self, make_jobs: MakeJobs) -> Iterator[Jobs]:
        """The jobs of a new server."""
        jobs = make_jobs()
        jobs.open()
        yield jobs
        jobs.interrupt()
        jobs.close()

    def test_jobs_are_listed_newest_first(self, jobs: Jobs) -> None:
        """Pages begin after a job; states and collections can be chosen."""
        assert jobs.list() == []
        added = [jobs.add("duplicates", name, {}) for name in ("a", "b", "a")]
        assert [job.id for job in jobs.list()] == [job.id for job in reversed(added)]
        assert [job.id for job in jobs.list(limit=1)] == [added[2].id]
        assert [job.id for job in jobs.list(before=added[2].id)] == [added[1].id, added[0].id]
        assert [job.id for job in jobs.list(visible=lambda name: name == "b")] == [added[1].id]
        assert jobs.list(state="running") == []
        assert jobs.get(added[0].id) == added[0]
        found = jobs.find("duplicates", "a")
        assert found is not None
        assert found.id == added[0].id
        assert jobs.find("add", "a") is None
        assert (jobs.count("queued"), jobs.count("running")) == (3, 0)

    def test_unknown_jobs(self, jobs: Jobs) -> None:
        """The id may be any text."""
        for job_id in ("x", "", "a\0b", "\ud800", "ä" * 500):
            for call in (jobs.get, jobs.cancel, lambda one: jobs.watch(one, lambda _: None)):
                with pytest.raises(UnknownJobError):
                    call(job_id)

    def test_a_job_is_taken_and_ends(self, jobs: Jobs) -> None:
        """Parameters and the upload are those of the job; the upload is deleted when it ends."""
        job = jobs.add("put", "a", {"id": "cat\0", "metadata": {"ä": [1, None]}}, b"\0bytes")
        taken = take(jobs)
        assert taken.job.id == job.id
        assert taken.job.state == jobs.get(job.id).state == "running"
        assert taken.job.started_at is not None
        assert taken.record.spec == {"id": "cat\0", "metadata": {"ä": [1, None]}}
        assert jobs.upload(job.id) == b"\0bytes"
        failures = (JobFailure("i", "http://x/", "fetch_failed", "no"),)
        jobs.change(
            taken, state="succeeded", tries=0, result={"id": "cat"}, failures=failures, finished_at=job.created_at
        )
        ended = jobs.get(job.id)
        assert (ended.state, ended.result, ended.failures) == ("succeeded", {"id": "cat"}, failures)
        with pytest.raises(StoreError):
            jobs.upload(job.id)
        assert jobs.cancel(job.id) == ended

    def test_one_job_at_a_time_per_collection(self, jobs: Jobs) -> None:
        """Jobs of one collection run in their order, those of others meanwhile."""
        first, second = jobs.add("put", "a", {}, b"1"), jobs.add("put", "a", {}, b"2")
        other = jobs.add("put", "b", {}, b"3")
        taken = [take(jobs), take(jobs)]
        assert [one.job.id for one in taken] == [first.id, other.id]
        assert jobs.get(second.id).state == "queued"
        jobs.change(taken[0], state="failed", tries=0, finished_at=first.created_at)
        assert take(jobs).job.id == second.id

    def test_a_queued_job_is_cancelled_at_once_and_a_running_one_is_told(self, jobs: Jobs) -> None:
        """The process that runs the job gets a signal."""
        running, queued = jobs.add("duplicates", "a", {}), jobs.add("duplicates", "a", {})
        taken = take(jobs)
        assert jobs.cancel(queued.id).state == "cancelled"
        jobs.cancel(running.id)
        assert taken.stop.wait(10)
        assert taken.record.cancel
        jobs.change(taken, state="cancelled", tries=0, finished_at=running.created_at)
        assert jobs.get(running.id).state == "cancelled"

    def test_a_full_queue_refuses_jobs(self, jobs: Jobs) -> None:
        """One client may use half of it."""
        for _ in range(MAX_QUEUED // 2):
            jobs.add("duplicates", "a", {}, client="one")
        with pytest.raises(QueueFullError) as caught:
            jobs.add("duplicates", "a", {}, client="one")
        assert caught.value.limit == MAX_QUEUED // 2
        for _ in range(MAX_QUEUED - MAX_QUEUED // 2):
            jobs.add("duplicates", "a", {})
        with pytest.raises(QueueFullError, match="full"):
            jobs.add("duplicates", "a", {}, client="other")
        assert jobs.count("queued") == MAX_QUEUED

    def test_watchers_see_every_state(self, jobs: Jobs) -> None:
        """They are called at once, after changes, and at the end."""
        job = jobs.add("build-index", "a", {})
        seen: list[Job | None] = []
        changed = threading.Condition()

        def watcher(one: Job | None) -> None:
            with changed:
                seen.append(one)
                changed.notify_all()

        def wait(is_seen: Callable[[Job], bool]) -> None:
            with changed:
                assert changed.wait_for(lambda: seen[-1] is not None and is_seen(seen[-1]), 10)

        end = jobs.watch(job.id, watcher)
        assert seen == [job]
        taken = take(jobs)
        wait(lambda one: one.state == "running")
        jobs.publish(taken, JobProgress("sift", 1, 2))
        wait(lambda one: one.progress.done == 1)
        jobs.change(taken, state="succeeded", tries=0, finished_at=job.created_at)
        wait(lambda one: one.ended)
        jobs.stop_watchers()
        with changed:
            assert changed.wait_for(lambda: seen[-1] is None, 10)
        end()

    def test_jobs_survive_their_server(self, make_jobs: MakeJobs) -> None:
        """An interrupted job is queued again; nothing is taken or added after an interruption."""
        first = make_jobs()
        first.open()
        job = first.add("put", "a", {"id": "x"}, b"bytes")
        taken = take(first)
        first.interrupt()
        assert taken.stop.is_set()
        assert first.take() is None
        with pytest.raises(NotReadyError):
            first.add("put", "a", {}, b"")
        first.close()
        second = make_jobs()
        second.open()
        again = take(second)
        assert (again.job.id, again.record.spec, second.upload(job.id)) == (job.id, {"id": "x"}, b"bytes")
        first.change(taken, state="failed", tries=0, finished_at=job.created_at)  # too late: it has no effect
        assert second.get(job.id).state == "running"
        second.change(again, state="succeeded", tries=0, finished_at=job.created_at)
        assert second.get(job.id).state == "succeeded"
        second.interrupt()
        second.close()


def take(jobs: Jobs) -> TakenJob:
    """Take a job, which must be there."""
    taken: list[TakenJob | None] = []
    thread = threading.Thread(target=lambda: taken.append(jobs.take()), daemon=True)
    thread.start()
    end = time.monotonic() + 10
    while thread.is_alive() and time.monotonic() < end:
        thread.join(0.05)
    assert taken, "there is no job to take"
    assert taken[0] is not None
    return taken[0]
