"""Tests for the contract of jobs in portions; subclass ``PortionedJobsSuite`` in your own tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from imagefinder.core.job_records import MAX_TRIES, TakenPortion
from imagefinder.core.jobs import Job, JobFailure, JobProblem
from imagefinder.core.service_contracts import PortionedJobs
from imagefinder.testing.services.jobs import take

MakeProcess = Callable[[], PortionedJobs]
Silence = Callable[[PortionedJobs], None]

REPORT = {"added": 0, "failed": 0, "methods": ["sift"]}


class PortionedJobsSuite:
    """Provide the fixtures ``make_process``, ``silence`` and ``lease``; every test then runs on your jobs."""

    @pytest.fixture
    def make_process(self) -> MakeProcess:
        """Open the same jobs as another process; leases last for ``lease`` seconds."""
        raise NotImplementedError("provide a fixture named make_process")

    @pytest.fixture
    def silence(self) -> Silence:
        """Let a process show no further sign of life, as if it were killed or cut off."""
        raise NotImplementedError("provide a fixture named silence")

    @pytest.fixture
    def lease(self) -> float:
        """Seconds after which the work of a silent process is given to another one."""
        raise NotImplementedError("provide a fixture named lease")

    @pytest.fixture
    def jobs(self, make_process: MakeProcess) -> Iterator[PortionedJobs]:
        """The jobs of a new server."""
        jobs = make_process()
        yield jobs
        jobs.interrupt()
        jobs.close()

    def test_portions_are_taken_once_each_by_any_process(
        self, jobs: PortionedJobs, make_process: MakeProcess
    ) -> None:
        """The counts of all add up; after the last one, one process finishes the job."""
        job, other = plan(jobs, [b"0", b"1", b"2"]), make_process()
        taken = [portion(jobs), portion(other), portion(jobs)]
        assert [one.data for one in taken] == [b"0", b"1", b"2"]
        assert [one.job.id for one in taken] == [job.id] * 3
        assert taken[0].record.spec == {"urls": ["http://x/"], "methods": ["sift"]}
        failure = JobFailure("i", "http://x/", "fetch_failed", "no")
        jobs.complete(taken[0], {"added": 2, "failed": 0}, ())
        other.complete(taken[1], {"added": 1, "failed": 1}, (failure,))
        other.complete(taken[1], {"added": 1, "failed": 1}, (failure,))  # repeated: the answer was lost
        now = other.get(job.id)
        assert (now.state, now.progress.done, now.progress.total, now.failures) == ("running", 4, 6, (failure,))
        assert (now.progress.added, now.progress.failed) == (3, 1)
        jobs.complete(taken[2], {"added": 2, "failed": 0}, ())
        last = take(other)
        assert last.portioned
        assert other.report(last) == {"added": 5, "failed": 1, "methods": ["sift"]}
        other.change(last, state="succeeded", tries=0, finished_at=job.created_at)
        assert jobs.get(job.id).state == "succeeded"

    def test_the_portion_of_a_dead_process_is_given_to_another(
        self, jobs: PortionedJobs, make_process: MakeProcess, silence: Silence, lease: float
    ) -> None:
        """Later calls of the dead process have no effect."""
        plan(jobs, [b"0"])
        dead = make_process()
        lost = portion(dead)
        silence(dead)
        again = portion(jobs)
        assert (again.data, again.starts) == (b"0", 2)
        dead.complete(lost, {"added": 2}, ())
        assert jobs.get(again.job.id).progress.added == 0
        time.sleep(1.5 * lease)  # a process that lives keeps its portion
        jobs.complete(again, {"added": 1}, ())
        assert jobs.get(again.job.id).progress.added == 1

    def test_a_stopped_process_gives_its_portion_back(
        self, jobs: PortionedJobs, make_process: MakeProcess
    ) -> None:
        """It does not count as a failed start."""
        plan(jobs, [b"0"])
        other = make_process()
        for _ in range(MAX_TRIES + 1):
            taken = portion(other)
            assert taken.starts == 1
            other.release(taken)
        portion(other)
        other.interrupt()
        other.close()
        assert portion(jobs).starts == 1

    def test_a_portion_with_which_a_process_died_is_taken_again_at_once(self, jobs: PortionedJobs) -> None:
        """Each start counts."""
        plan(jobs, [b"0"])
        for start in (1, 2, 3):
            taken = portion(jobs)
            assert taken.starts == start
            jobs.release(taken, died=True)

    def test_a_portion_is_rewritten(self, jobs: PortionedJobs, make_process: MakeProcess) -> None:
        """The data of one change, also for its next process; several are taken by any."""
        job, other = plan(jobs, [b"0", b"1"]), make_process()
        taken = portion(jobs)
        jobs.rewrite(taken, [b"00"])
        jobs.release(taken, died=True)
        again = portion(other)
        assert (again.data, again.number, again.starts) == (b"00", taken.number, 2)
        jobs.rewrite(taken, [b"late"])
        jobs.rewrite(taken, [b"late", b"late"])
        other.rewrite(again, [b"a", b"b", b"c"])
        found = [portion(one) for one in (jobs, other, jobs, other)]
        assert sorted((one.data, one.starts) for one in found) == [(b"1", 1), (b"a", 1), (b"b", 1), (b"c", 1)]
        assert len({one.number for one in found}) == 4
        for process, one in zip((jobs, other, jobs, other), found, strict=True):
            process.complete(one, {"added": 1}, ())
        assert (jobs.get(job.id).progress.added, take(jobs).portioned) == (4, True)

    def test_a_job_whose_planner_dies_is_planned_again(
        self, jobs: PortionedJobs, make_process: MakeProcess, silence: Silence
    ) -> None:
        """Portions of an incomplete plan are never taken."""
        job = jobs.add("add", "a", {"urls": ["http://x/"]})
        dead = make_process()
        lost = take(dead)

        def some() -> Iterator[tuple[int, bytes]]:
            for number in range(1000):
                yield 1, b"old%d" % number
            silence(dead)
            raise RuntimeError

        with pytest.raises(RuntimeError):
            dead.plan(lost, some(), dict(REPORT), [])
        again = take(jobs)
        assert (again.job.id, isinstance(again, TakenPortion), again.portioned) == (job.id, False, False)
        jobs.plan(again, [(1, b"new")], dict(REPORT), [])
        assert portion(jobs).data == b"new"

    def test_a_cancelled_job_ends(self, jobs: PortionedJobs, make_process: MakeProcess) -> None:
        """Processes stop, and no further portion is taken."""
        job, other = plan(jobs, [b"0", b"1"]), make_process()
        taken = portion(other)
        jobs.cancel(job.id)
        assert taken.stop.wait(10)
        other.release(taken)
        next_job = jobs.add("duplicates", "a", {})
        assert take(other).job.id == next_job.id
        ended = jobs.get(job.id)
        assert ended.state == "cancelled"
        assert ended.result is not None
        assert ended.result["interrupted"] is True

    def test_a_problem_ends_the_job(self, jobs: PortionedJobs) -> None:
        """The other portions are not taken."""
        job = plan(jobs, [b"0", b"1"])
        problem = JobProblem("model_missing", "no weights", "get them")
        jobs.complete(portion(jobs), {}, (), problem)
        ended = jobs.get(job.id)
        assert (ended.state, ended.problem) == ("failed", problem)
        next_job = jobs.add("duplicates", "a", {})
        assert take(jobs).job.id == next_job.id

    def test_a_job_without_images_ends(self, jobs: PortionedJobs) -> None:
        """Failures of the sources are kept."""
        job = jobs.add("add", "a", {"urls": ["http://x/"]})
        failure = JobFailure("x/", "", "invalid_source", "cannot be read")
        jobs.plan(take(jobs), [], {**REPORT, "failed": 1}, [failure])
        last = take(jobs)
        assert (last.portioned, last.job.failures) == (True, (failure,))
        jobs.change(last, state="succeeded", tries=0, finished_at=job.created_at)


def plan(jobs: PortionedJobs, portions: list[bytes]) -> Job:
    """Add and plan a job of two images for each portion; returns what clients see of it."""
    added = jobs.add("add", "a", {"urls": ["http://x/"]})
    taken = take(jobs)
    assert taken.job.id == added.id
    jobs.plan(taken, [(2, data) for data in portions], dict(REPORT), [])
    return jobs.get(added.id)


def portion(jobs: PortionedJobs) -> TakenPortion:
    """Take a portion, which must be there."""
    taken = take(jobs)
    assert isinstance(taken, TakenPortion)
    return taken
