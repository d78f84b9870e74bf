# Generated from client.py by tools/make_async_client.py: edit that file.
"""The client: one method per operation of the REST API."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, overload
from urllib.parse import quote

import anyio
import anyio.to_thread
import httpx2

from imagefinder.client import images
from imagefinder.client.async_jobs import AsyncRemoteJob
from imagefinder.client.async_listings import DEFAULT, AsyncClientListings
from imagefinder.client.async_transport import AsyncTransport
from imagefinder.client.errors import NotFoundError, ServerProblem, problem
from imagefinder.client.images import ById, ImageSource, QuerySource, Stored
from imagefinder.client.options import form_fields, query_members, request_members
from imagefinder.client.transport import (
    collection_path,
    drop_none,
    explanations_path,
    job_of,
    job_path,
    parse,
    with_id,
)
from imagefinder.core.answers import (
    CollectionInfo,
    CollectionList,
    Duplicates,
    DuplicatesRunning,
    FailedImage,
    FailurePage,
    Image,
    MethodList,
    MethodStatus,
    RemovalPage,
    RemovedImage,
    SearchAnswer,
    SearchAnswers,
    ServerInfo,
    ServerLimits,
    extend,
)
from imagefinder.core.jobs import Job, JobPage, JobState
from imagefinder.core.query import SearchOptions
from imagefinder.core.results import Box, Comparison, Explanation

KEEP_ALIVE_SECONDS = 60.0
"""An event stream that is silent for this long is broken: the service sends a comment every 15 seconds."""


class AsyncClient(AsyncClientListings):
    """A client of an imagefinder server; safe to use from several tasks, and to be closed after use.

    Every method raises ``ClientError`` (see ``imagefinder.client.errors``): ``ConnectionFailedError`` if no server
    responds, ``ServerProblem`` if the server refuses the request, ``InvalidAnswerError`` if the response does not
    belong to this API.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:5000",
        *,
        api_key: str | None = None,
        timeout: float = 60.0,
        retries: int = 3,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """Create a client; no request is sent yet.

        Args:
            base_url: Base URL of the server.
            api_key: API key, if the server requires one.
            timeout: Idle timeout of a connection, seconds.
            retries: Number of retries of a retryable request, each after the delay that the server states.
            transport: Replacement for the network, for tests.
        """
        self._transport = AsyncTransport(
            base_url, api_key=api_key, timeout=timeout, retries=retries, transport=transport
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    # -- the service ---------------------------------------------------------------------------------------

    async def info(self) -> ServerInfo:
        """Information about the server and the access level of this client."""
        return await self._transport.json(ServerInfo, "GET", "/v1/info")

    async def limits(self) -> ServerLimits:
        """The limits of the server."""
        return await self._transport.json(ServerLimits, "GET", "/v1/limits")

    async def methods(self) -> tuple[MethodStatus, ...]:
        """The installed methods and their state."""
        return (await self._transport.json(MethodList, "GET", "/v1/methods")).methods

    # -- collections ---------------------------------------------------------------------------------------

    async def collections(self) -> tuple[CollectionInfo, ...]:
        """All collections."""
        return (await self._transport.json(CollectionList, "GET", "/v1/collections")).collections

    async def collection(self, name: str = DEFAULT) -> CollectionInfo:
        """One collection."""
        return await self._transport.json(CollectionInfo, "GET", collection_path(name))

    async def create_collection(self, name: str) -> CollectionInfo:
        """Create a collection; an existing one stays as it is."""
        return await self._transport.json(CollectionInfo, "PUT", collection_path(name))

    async def delete_collection(self, name: str) -> None:
        """Delete a collection and everything in it; this cannot be undone."""
        await self._transport.send("DELETE", collection_path(name), params={"confirm": name})

    # -- images --------------------------------------------------------------------------------------------

    async def failures(self, collection: str = DEFAULT, *, page_size: int = 100) -> AsyncIterator[FailedImage]:
        """The images that could not be added, with their errors."""
        async for page in self._pages(
            FailurePage, f"{collection_path(collection)}/failures", {"limit": page_size}
        ):
            for one in page.failures:
                yield one

    async def image(self, image_id: str, collection: str = DEFAULT, *, labels: bool = False) -> Image:
        """One image; with ``labels``, also what it may show, as a classifier suggests."""
        params = with_id(image_id, labels=labels or None)
        return await self._transport.json(Image, "GET", f"{collection_path(collection)}/image", params=params)

    async def put(
        self,
        image_id: str,
        image: ImageSource,
        *,
        metadata: Mapping[str, Any] | None = None,
        collection: str = DEFAULT,
    ) -> Image:
        """Add an image, or replace the image with this id; it is durable and searchable on return.

        Args:
            image_id: Id of the image; any text.
            image: A path, a URL that the server downloads, or encoded bytes.
            metadata: JSON object to store with the image.
            collection: Name of the collection.

        Raises:
            OSError: the file cannot be read.
        """
        return parse(Image, await self._put(image_id, image, metadata, collection, wait=True))

    async def start_put(
        self,
        image_id: str,
        image: ImageSource,
        *,
        metadata: Mapping[str, Any] | None = None,
        collection: str = DEFAULT,
    ) -> AsyncRemoteJob:
        """Start a job that adds or replaces an image, which is durable on return; arguments as for ``put``."""
        return self._job(await self._put(image_id, image, metadata, collection, wait=False))

    async def delete(self, image_id: str, collection: str = DEFAULT) -> None:
        """Delete an image from a collection. Its file stays, and jobs do not add it again (``removals``)."""
        await self._transport.send("DELETE", f"{collection_path(collection)}/image", params=with_id(image_id))

    async def removals(self, collection: str = DEFAULT, *, page_size: int = 100) -> AsyncIterator[RemovedImage]:
        """The images that were deleted and that jobs do not add again, ordered by id."""
        async for page in self._pages(
            RemovalPage, f"{collection_path(collection)}/removals", {"limit": page_size}
        ):
            for one in page.removals:
                yield one

    async def forget_removal(self, image_id: str, collection: str = DEFAULT) -> None:
        """Take the removal of an image back: the next job that finds its file adds it again."""
        await self._transport.send("DELETE", f"{collection_path(collection)}/removals", params=with_id(image_id))

    async def thumbnail(self, image_id: str, collection: str = DEFAULT) -> bytes:
        """The thumbnail of an image: a JPEG of at most 256 x 256 pixels (elongated images: 8192 x 128)."""
        path = f"{collection_path(collection)}/thumbnail"
        return (await self._transport.send("GET", path, params=with_id(image_id))).content

    async def preview(self, image_id: str, collection: str = DEFAULT, *, size: int = 1600) -> bytes:
        """A JPEG of an image of any format, with a longer side of ``size`` pixels or the next step."""
        path = f"{collection_path(collection)}/preview"
        return (await self._transport.send("GET", path, params=with_id(image_id, size=size))).content

    async def content(self, image_id: str, collection: str = DEFAULT) -> bytes:
        """The original image file, if it still exists on the server, unchanged."""
        path = f"{collection_path(collection)}/content"
        return (await self._transport.send("GET", path, params=with_id(image_id))).content

    # -- searching --------------------------------------------------------------------------------------------

    @overload
    async def search(
        self,
        query: QuerySource | None = ...,
        options: SearchOptions | None = ...,
        *,
        collection: str = ...,
        boxes: Sequence[Box] = ...,
        text: str = ...,
        **changes: Any,
    ) -> SearchAnswer: ...

    @overload
    async def search(
        self,
        query: Sequence[QuerySource],
        options: SearchOptions | None = ...,
        *,
        collection: str = ...,
        **changes: Any,
    ) -> list[SearchAnswer | ServerProblem]: ...

    async def search(
        self,
        query: QuerySource | Sequence[QuerySource] | None = None,
        options: SearchOptions | None = None,
        *,
        collection: str = DEFAULT,
        boxes: Sequence[Box] = (),
        text: str = "",
        **changes: Any,
    ) -> SearchAnswer | list[SearchAnswer | ServerProblem]:
        """Search a collection with an image, with words or with both, or with several images.

        Args:
            query: A path, a URL that the server downloads, encoded bytes, or ``ById`` for an image of the
                collection; or a list of them. ``None``: search with ``text`` alone.
            options: Search options.
            collection: Name of the collection.
            boxes: Regions of the query image to search for: x, y, width, height in pixels.
            text: What the images must show, in words.
            changes: Individual options that replace those of ``options``, for example ``k=5``. The request names
                ``verify`` and ``filter`` are also accepted. ``None`` values are ignored.

        Returns:
            The answer; for a list of queries, one answer or problem per query, in the same order.

        Raises:
            InputError: an option has an invalid value.
            OSError: a file cannot be read.
            TypeError: an option does not exist.
        """
        members = request_members(options or SearchOptions(), changes)
        path = f"{collection_path(collection)}/search"
        if isinstance(query, Sequence) and not isinstance(query, str | bytes):
            if boxes or text:
                raise ValueError("boxes and text can be given for a single query only")
            body = {"queries": [await anyio.to_thread.run_sync(images.reference, one) for one in query], **members}
            results = (await self._transport.json(SearchAnswers, "POST", path, json=body)).results
            return [one if isinstance(one, SearchAnswer) else problem(one.problem) for one in results]
        members |= query_members(boxes, text)
        if query is None or isinstance(query, ById) or images.is_url(query):
            return await self._transport.json(
                SearchAnswer,
                "POST",
                path,
                json={**await anyio.to_thread.run_sync(images.reference, query), **members},
            )
        files = {"image": await anyio.to_thread.run_sync(images.content, query)}
        return await self._transport.json(SearchAnswer, "POST", path, files=files, data=form_fields(members))

    async def answer(self, handle: str) -> SearchAnswer:
        """The answer of a recent search, by its handle."""
        return await self._transport.json(SearchAnswer, "GET", f"/v1/explanations/{quote(handle, safe='')}")

    async def query_image(self, answer: SearchAnswer | str, *, width: int | None = None) -> bytes:
        """The query image of a recent search, as JPEG.

        Args:
            answer: The answer of the search, or its handle.
            width: Largest length of the longer side, pixels.
        """
        params = drop_none({"width": width})
        return (await self._transport.send("GET", f"{explanations_path(answer)}/query", params=params)).content

    async def explain(
        self, answer: SearchAnswer | str, image_id: str, *, method: str | None = None
    ) -> Explanation:
        """Explain why an image matches the query: matches, inliers, outlines, heat map and numbers.

        Args:
            answer: The answer of the search, or its handle.
            image_id: Id of an image of the collection, whether it is a hit or not.
            method: Name of the method, or ``auto`` for the method with the strongest evidence.
        """
        path = f"{explanations_path(answer)}/image"
        return await self._transport.json(Explanation, "GET", path, params=with_id(image_id, method=method))

    async def drawing(self, answer: SearchAnswer | str, image_id: str, *, method: str | None = None) -> bytes:
        """A drawing of the explanation, as PNG; the arguments are those of ``explain``."""
        path = f"{explanations_path(answer)}/drawing"
        return (await self._transport.send("GET", path, params=with_id(image_id, method=method))).content

    async def compare(
        self, a: ImageSource | Stored, b: ImageSource | Stored, *, method: str | None = None
    ) -> Comparison:
        """Compare two images; nothing is stored.

        Args:
            a: A path, a URL that the server downloads, encoded bytes, or ``Stored``.
            b: The other image, in one of the same forms.
            method: Name of the method.

        Raises:
            OSError: a file cannot be read.
        """
        options = drop_none({"method": method})
        if isinstance(a, Stored) or isinstance(b, Stored) or images.is_url(a) or images.is_url(b):
            body = {
                "a": await anyio.to_thread.run_sync(images.reference, a),
                "b": await anyio.to_thread.run_sync(images.reference, b),
                **options,
            }
            return await self._transport.json(Comparison, "POST", "/v1/compare", json=body)
        files = {
            "a": await anyio.to_thread.run_sync(images.content, a),
            "b": await anyio.to_thread.run_sync(images.content, b),
        }
        return await self._transport.json(Comparison, "POST", "/v1/compare", files=files, data=options)

    async def duplicates(
        self,
        collection: str = DEFAULT,
        *,
        progress: Callable[[AsyncRemoteJob], None] | None = None,
        timeout: float | None = None,
        page_size: int = 100,
    ) -> Duplicates:
        """The report of all duplicates in a collection. If there is none yet, starts the job for it, and waits.

        Args:
            collection: Name of the collection.
            progress: Called with the state of the job while the report is computed.
            timeout: Largest waiting time, seconds.
            page_size: Number of groups per request.

        Raises:
            TimeoutError, JobFailedError, AccessError: the job did not end in time, failed, or is not allowed.
        """
        path, groups = f"{collection_path(collection)}/duplicates", tuple[Any, ...]()
        try:
            first = await self._transport.send("GET", path, params={"limit": 1})
            job = self._remote(parse(DuplicatesRunning, first).job) if first.status_code == 202 else None
        except NotFoundError as error:
            if error.code != "no_duplicate_report":
                raise
            job = await self.start_duplicates(collection)
        if job:
            await job.wait(progress, timeout=timeout)
        async for page in self._pages(Duplicates, path, {"limit": page_size}):
            groups += page.groups
        return replace(page, groups=groups)

    # -- jobs ----------------------------------------------------------------------------------------------

    async def start_add(  # wide: the members of the request
        self,
        collection: str = DEFAULT,
        *,
        folder: str | None = None,
        csv: str | None = None,
        urls: Sequence[str] | None = None,
        methods: Sequence[str] | None = None,
        prune: bool | None = None,
        force_prune: bool | None = None,
        verify_content: bool | None = None,
        include_removed: bool | None = None,
    ) -> AsyncRemoteJob:
        """Start a job that adds images from exactly one source: a folder of the server, a CSV list or URLs.

        Args:
            collection: Name of the collection.
            folder: Path of a folder, archive or CSV list on the server, inside one of its ``job_roots``.
            csv: CSV text with a header line; the columns ``url`` and ``id`` are required.
            urls: URLs of images; each URL is also the id of its image.
            methods: Methods whose features are extracted; default: those that the collection has.
            prune: Whether to remove images that came from the same source and are no longer in it.
            force_prune: Whether to remove them even if a whole folder of the source has vanished.
            verify_content: Whether to read every image again, also those that show no change.
            include_removed: Whether to add images that were removed from the collection.
        """
        options: dict[str, Any] = {"folder": folder, "csv": csv, "prune": prune, "force_prune": force_prune}
        options |= {"verify_content": verify_content, "include_removed": include_removed}
        lists = {"urls": urls, "methods": methods}
        options |= {name: None if values is None else list(values) for name, values in lists.items()}
        return await self._start("add", collection, options)

    async def start_duplicates(self, collection: str = DEFAULT) -> AsyncRemoteJob:
        """Start a job that computes a new duplicate report; ``duplicates`` returns the report."""
        return await self._start("duplicates", collection, {})

    async def start_build_index(self, collection: str = DEFAULT) -> AsyncRemoteJob:
        """Start a job that rebuilds the ANN indexes of a collection."""
        return await self._start("build-index", collection, {})

    async def jobs(self, *, state: JobState | None = None, page_size: int = 100) -> AsyncIterator[AsyncRemoteJob]:
        """All jobs, newest first."""
        async for page in self._pages(JobPage, "/v1/jobs", {"state": state, "limit": page_size}):
            for job in page.jobs:
                yield self._remote(job)

    async def job(self, job_id: str) -> AsyncRemoteJob:
        """One job."""
        return self._job(await self._transport.send("GET", job_path(job_id)))

    async def cancel(self, job_id: str) -> AsyncRemoteJob:
        """Cancel a job; its results so far stay in the collection."""
        return self._job(await self._transport.send("POST", f"{job_path(job_id)}/cancel"))

    async def events(self, job_id: str, *, seconds: float | None = None) -> AsyncIterator[AsyncRemoteJob]:
        """The job now and after each change, until the job ends or the server shuts down.

        Args:
            job_id: Id of the job.
            seconds: Approximate time limit.
        """
        end = None if seconds is None else time.monotonic() + seconds
        timeout = KEEP_ALIVE_SECONDS if seconds is None else max(1.0, min(KEEP_ALIVE_SECONDS, seconds))
        async with self._transport.stream(f"{job_path(job_id)}/events", timeout=timeout) as lines:
            event = ""
            async for line in lines:
                if end is not None and time.monotonic() >= end:
                    return
                name, _, value = line.partition(":")
                if name == "event":
                    event = value.strip()
                    if event == "end":  # repeats the last progress event
                        return
                elif name == "data" and event == "progress":
                    yield self._remote(job_of(value))

    # -- parts ---------------------------------------------------------------------------------------------

    async def _put(
        self, image_id: str, image: ImageSource, metadata: Mapping[str, Any] | None, name: str, *, wait: bool
    ) -> httpx2.Response:
        path = f"{collection_path(name)}/image"
        params = with_id(image_id, wait="true" if wait else "false")
        if images.is_url(image):
            body = {**await anyio.to_thread.run_sync(images.reference, image), **drop_none({"metadata": metadata})}
            return await self._transport.send("PUT", path, params=params, json=body)
        form = {} if metadata is None else {"metadata": json.dumps(metadata)}
        return await self._transport.send(
            "PUT",
            path,
            params=params,
            files={"image": await anyio.to_thread.run_sync(images.content, image)},
            data=form,
        )

    async def _start(self, kind: str, collection: str, options: Mapping[str, Any]) -> AsyncRemoteJob:
        body = {"kind": kind, "collection": collection, **drop_none(options)}
        return self._job(await self._transport.send("POST", "/v1/jobs", json=body))

    def _job(self, response: httpx2.Response) -> AsyncRemoteJob:
        return self._remote(parse(Job, response))

    def _remote(self, job: Job) -> AsyncRemoteJob:
        return extend(AsyncRemoteJob, job, service=self)
