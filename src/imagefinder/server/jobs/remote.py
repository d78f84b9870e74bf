"""Adding portions on the machines of a Ray cluster."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace

import imagefinder
from imagefinder.collection import Collection
from imagefinder.collection.portioned import PortionedAdd
from imagefinder.core.errors import ImagefinderError, StoreError, StoreUnavailableError
from imagefinder.core.job_records import TakenPortion
from imagefinder.core.jobs import JobProblem
from imagefinder.core.service_contracts import PortionedJobs
from imagefinder.core.settings import Settings
from imagefinder.indexing.failure_log import FailureLog
from imagefinder.indexing.on_ray import Cluster, TaskDiedError, TaskImpossibleError
from imagefinder.indexing.portion import Portion
from imagefinder.indexing.progress import AddReport
from imagefinder.server.errors import Problem
from imagefinder.server.jobs.portioned import PortionedWork
from imagefinder.server.jobs.work import job_problem
from imagefinder.wiring import open_collection


@dataclass(frozen=True, slots=True)
class RemotePortion:
    """A portion to add.

    Attributes:
        settings: Settings of the process.
        job: Id of the job.
        add: The sources and options of the job.
        portion: The portion, as bytes.
    """

    settings: Settings
    job: str
    add: PortionedAdd
    portion: bytes


@dataclass(frozen=True, slots=True)
class NotAdded:
    """The reason why a portion was not added. Errors are results, because Ray cannot copy all of them.

    Attributes:
        problem: The reason.
        again: Whether to try again; otherwise the job fails.
    """

    problem: JobProblem
    again: bool = False


class RemoteWork(PortionedWork):
    """Plans and finishes in this process, and adds portions as tasks of Ray."""

    def __init__(self, jobs: PortionedJobs, cluster: Cluster[AddReport | NotAdded]) -> None:
        super().__init__(jobs)
        self._cluster = cluster

    def _added(
        self, taken: TakenPortion, add: PortionedAdd, portion: Portion, collection: Collection
    ) -> AddReport | None:
        task = RemotePortion(collection.settings, taken.job.id, add, portion.to_bytes())
        try:
            found = self._cluster.call(imagefinder.__version__, pickle.dumps(task), stop=taken.stop)
        except TaskDiedError:
            return None
        except TaskImpossibleError as error:
            raise Problem(
                "invalid_setting",
                f"a machine of the Ray cluster cannot add images: {error}",
                hint="install the same versions of imagefinder and Ray on all machines of the cluster",
            ) from error
        if isinstance(found, NotAdded):
            if found.again:
                raise StoreUnavailableError(found.problem.detail, hint=found.problem.hint)
            raise Problem(found.problem.code, found.problem.detail, hint=found.problem.hint)
        return found or _INTERRUPTED


_INTERRUPTED = AddReport((), 0, 0, 0, 0, (), 0.0, interrupted=True)

_opened: dict[Settings, Collection] = {}
_failures: dict[str, FailureLog] = {}


def add_portion(version: str, data: bytes) -> AddReport | NotAdded:
    """Add a portion in this process of Ray, which runs one task at a time and keeps the collection open.

    Args:
        version: The version of imagefinder that made the task.
        data: A ``RemotePortion``, pickled.
    """
    if version != imagefinder.__version__:
        return NotAdded(
            JobProblem(
                "invalid_setting",
                f"a machine of the Ray cluster has imagefinder {imagefinder.__version__} instead of {version}",
                "install the same version everywhere, and run the command again",
            )
        )
    task: RemotePortion = pickle.loads(data)  # noqa: S301 - from the process that may run any code here
    try:
        collection = _collection(task.settings)
        if task.job not in _failures:
            _failures.clear()
            _failures[task.job] = task.add.failures(collection)
        return task.add.add(collection, Portion.from_bytes(task.portion, task.add.guard), _failures[task.job])
    except ImagefinderError as error:
        return NotAdded(job_problem(error), isinstance(error, StoreError) and error.retryable)


def _collection(settings: Settings) -> Collection:
    opened = _opened.get(settings)
    if opened is not None and not opened.is_in_place():
        _opened.pop(settings).close()
        opened = None
    if opened is None:
        opened = _opened[settings] = open_collection(replace(settings), create=False)
    return opened
