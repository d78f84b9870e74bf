"""Job management: start, list, cancel and watch jobs, across restarts of the server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from imagefinder.collection import Collection
from imagefinder.core.addresses import is_web_address
from imagefinder.core.errors import InputError, UnknownMethodError
from imagefinder.core.jobs import Job, JobKind, JobState
from imagefinder.core.service_contracts import Jobs
from imagefinder.core.settings import Settings
from imagefinder.indexing.discover import discover
from imagefinder.server import request_context
from imagefinder.server.errors import Problem, problem_of
from imagefinder.server.jobs.roots import resolve_folder, resolve_roots
from imagefinder.server.jobs.runner import ListPath, Runner
from imagefinder.server.jobs.watch import Watch


class JobManager:
    """Checks and queues jobs, and runs one at a time per collection.

    Safe to use from several threads. A job is durable when ``start`` returns.
    """

    def __init__(
        self,
        jobs: Jobs,
        collections: Callable[[str], Collection],
        settings: Settings,
        *,
        list_path: ListPath,
        check_address: Callable[[str], None] | None = None,
    ) -> None:
        """Store the parts; ``open`` opens the jobs.

        Args:
            jobs: The queue of the jobs.
            collections: Returns the collection with a name; raises the error to report if it does not exist.
            settings: Settings; ``job_roots``, ``concurrent_jobs`` and ``url_queries`` are used.
            list_path: Returns the file to which the lists of jobs of a collection are written; see ``JobContext``.
            check_address: Refuses addresses that jobs may not download from; see ``Fetcher``.
        """
        self._jobs = jobs
        self._collections = collections
        self._roots = resolve_roots(settings.job_roots)
        self._urls_allowed = settings.url_queries
        self._runner = Runner(
            jobs,
            collections,
            roots=self._roots,
            list_path=list_path,
            threads=settings.concurrent_jobs,
            check_address=check_address,
        )

    # -- startup and shutdown --------------------------------------------------------------------------------

    def open(self) -> None:
        """Continue the stored jobs."""
        self._jobs.open()
        self._runner.start()

    def stop_watchers(self) -> None:
        """Wake all watchers for the last time, because the server is shutting down."""
        self._jobs.stop_watchers()

    def close(self, timeout: float = 20.0) -> None:
        """Stop the jobs; running ones are interrupted and continue after the next start.

        Args:
            timeout: Seconds to wait for work that cannot be interrupted. After that it is abandoned and starts
                again after the next start.
        """
        self._jobs.interrupt()
        self._runner.join(timeout)
        self._jobs.close()

    # -- requests of clients ---------------------------------------------------------------------------------

    def start(self, kind: JobKind, collection: str, **spec: Any) -> Job:
        """Queue a job.

        Args:
            kind: ``add``, ``duplicates`` or ``build-index``.
            collection: Name of the collection.
            spec: For ``add`` exactly one of ``folder`` (a path), ``csv`` (text) and ``urls`` (a list), and
                optionally ``methods`` (names), ``prune``, ``force_prune``, ``verify_content`` and
                ``include_removed``.

        Returns:
            The queued job; it is durable.

        Raises:
            Problem: ``unknown_method``, ``folder_not_allowed``, ``folder_not_found``, ``url_queries_off``, and the
                problems of an unknown collection.
            QueueFullError, NotReadyError: the job cannot be queued now.
            InputError: an invalid URL.
            StoreError: the job cannot be stored.
        """
        opened = self._collections(collection)
        for name in spec.get("methods") or ():
            try:
                opened.method(name)
            except UnknownMethodError as error:
                problem = problem_of(error)
                problem.members["field"] = "methods"
                raise problem from error
        csv = spec.pop("csv", None)
        if kind == "add":
            if spec.get("folder") is not None:
                spec["folder"] = resolve_folder(spec["folder"], self._roots)
            else:
                _check_urls(spec.get("urls") or (), allowed=self._urls_allowed)
        return self._add(kind, collection, spec, csv.encode("utf-8") if csv is not None else None)

    def start_put(
        self,
        collection: str,
        image_id: str,
        data: bytes,
        metadata: Mapping[str, Any] | None = None,
        *,
        uri: str = "",
    ) -> Job:
        """Queue a job that adds or replaces one image; the job and the image are durable on return.

        Args:
            collection: Name of the collection.
            image_id: Id of the image.
            data: The encoded image.
            metadata: The user's JSON object.
            uri: URL from which the image was downloaded; empty if it was uploaded.

        Raises:
            Problem, StoreError: as ``start``.
        """
        self._collections(collection)
        return self._add("put", collection, {"id": image_id, "metadata": metadata, "uri": uri}, data)

    def find(self, kind: JobKind, collection: str) -> Job | None:
        """The oldest queued or running job of this kind, or ``None``."""
        return self._jobs.find(kind, collection)

    def get(self, job_id: str) -> Job:
        """The job with this id.

        Raises:
            UnknownJobError: there is none.
        """
        return self._jobs.get(job_id)

    def list(
        self,
        *,
        limit: int = 100,
        before: str | None = None,
        state: JobState | None = None,
        visible: Callable[[str], bool] = lambda _collection: True,
    ) -> list[Job]:
        """Jobs, newest first; the arguments are those of ``Jobs.list``."""
        return self._jobs.list(limit=limit, before=before, state=state, visible=visible)

    def count(self, state: JobState) -> int:
        """Number of jobs in a state."""
        return self._jobs.count(state)

    def cancel(self, job_id: str) -> Job:
        """Cancel a job: a queued one ends immediately, a running one as soon as possible.

        Returns:
            The job in its new state; an ended job is unchanged.

        Raises:
            UnknownJobError: there is none.
            StoreError: the job cannot be stored.
        """
        return self._jobs.cancel(job_id)

    def watch(self, job_id: str) -> Watch:
        """Follow a job from now on, with the returned asynchronous context manager.

        Raises:
            UnknownJobError: there is none.
        """
        self._jobs.get(job_id)
        return Watch(self._jobs, job_id)

    def _add(self, kind: JobKind, collection: str, spec: Mapping[str, Any], upload: bytes | None) -> Job:
        job = self._jobs.add(kind, collection, spec, upload, client=request_context.client())
        self._runner.start()
        return job


def _check_urls(urls: Sequence[str], *, allowed: bool) -> None:
    """Refuse URLs that cannot be image URLs; nothing is downloaded.

    Raises:
        Problem: ``url_queries_off``.
        InputError: a text that is not an http(s) URL of an image.
    """
    if not allowed:
        raise Problem(
            "url_queries_off", "this server does not accept image URLs", hint="upload the images instead"
        )
    for url in urls:
        if not is_web_address(url):
            raise InputError(f"{url[:200]!a} is not an http(s) URL")
    discover(urls)  # raises for URLs of other files
