"""Adding portions on the machines of a Ray cluster."""

from __future__ import annotations

import threading
from dataclasses import replace

from imagefinder.collection import Collection
from imagefinder.collection.portioned import PortionedAdd
from imagefinder.core.errors import ImagefinderError, StoreUnavailableError
from imagefinder.core.job_records import TakenPortion
from imagefinder.core.jobs import JobProblem
from imagefinder.core.service_contracts import PortionedJobs
from imagefinder.core.settings import Settings
from imagefinder.indexing.on_ray import Cluster, RayWorkersDiedError
from imagefinder.indexing.portion import Portion
from imagefinder.indexing.progress import AddReport
from imagefinder.server.errors import Problem
from imagefinder.server.jobs.portioned import PortionedWork
from imagefinder.server.jobs.work import job_problem
from imagefinder.wiring import open_collection


class RemoteWork(PortionedWork):
    """Plans and finishes in this process, and adds portions as tasks of Ray."""

    def __init__(self, jobs: PortionedJobs, cluster: Cluster) -> None:
        super().__init__(jobs)
        self._cluster = cluster

    def _added(
        self, taken: TakenPortion, add: PortionedAdd, portion: Portion, collection: Collection
    ) -> AddReport | None:
        try:
            found = self._cluster.call(add_portion, collection.settings, add, portion.to_bytes(), stop=taken.stop)
        except RayWorkersDiedError:
            return None
        if isinstance(found, JobProblem):
            raise Problem(found.code, found.detail, hint=found.hint)
        if isinstance(found, str):
            raise StoreUnavailableError(found)
        return found or _INTERRUPTED


_INTERRUPTED = AddReport((), 0, 0, 0, 0, (), 0.0, interrupted=True)

_opened: dict[Settings, Collection] = {}
_opening = threading.Lock()


def add_portion(settings: Settings, add: PortionedAdd, data: bytes) -> AddReport | JobProblem | str:
    """Add a portion in this process, in which the collection stays open.

    Errors are results, because Ray cannot copy all of them.

    Returns:
        What was done; why the job fails; or, as text, why it must be tried again.
    """
    try:
        with _opening:
            collection = _opened.get(settings)
            if collection is None or not collection.is_in_place():
                collection = _opened[settings] = open_collection(replace(settings), create=False)
        report = add.add(collection, Portion.from_bytes(data, add.guard), add.failures(collection))
    except (ImagefinderError, ValueError) as error:
        if (
            isinstance(error, ImagefinderError)
            and error.retryable
            and error.code.startswith(("store", "collection"))
        ):
            return error.message
        return job_problem(error)
    return report
