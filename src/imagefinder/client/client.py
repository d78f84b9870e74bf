"""The client: one method for each operation of the service."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, overload
from urllib.parse import quote

import httpx2

from imagefinder.client import pictures
from imagefinder.client.answers import (
    Answer,
    CollectionInfo,
    Comparison,
    DuplicateCounts,
    Duplicates,
    DuplicateSet,
    FailedImage,
    Image,
    Info,
    Limits,
    MethodState,
)
from imagefinder.client.errors import InvalidAnswerError, ServerProblem, problem
from imagefinder.client.jobs import Job, State
from imagefinder.client.pictures import ById, Picture, Query, Stored
from imagefinder.client.reading import read
from imagefinder.client.transport import Transport, parse, parse_json, quoted, without_nothing
from imagefinder.core.results import Box, Explanation

DEFAULT = "default"
_T = TypeVar("_T")
_PageT = TypeVar("_PageT", bound="_Page")

KEEP_ALIVE_SECONDS = 60.0
"""A stream of events that says nothing for so long is broken; the service says something every 15 seconds."""


class Client:
    """Asks one service; safe to use from several threads. Close it when done, or use it as a context manager.

    Every method raises ``ClientError`` (see ``imagefinder.client.errors``): ``ConnectionFailedError`` where no
    server answers, ``ServerProblem`` where it says no, ``InvalidAnswerError`` where it is another kind of server.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:5000",
        *,
        api_key: str | None = None,
        timeout: float = 60.0,
        retries: int = 3,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        """Nothing is asked yet.

        Args:
            base_url: Where ``imagefinder serve`` answers.
            api_key: A key of the service, where it demands one.
            timeout: Seconds the service may stand still.
            retries: How often a request is made again that the service says may succeed later, at the time it
                says. Nothing else is repeated.
            transport: Instead of the network; for tests.
        """
        self._transport = Transport(
            base_url, api_key=api_key, timeout=timeout, retries=retries, transport=transport
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._transport.close()

    # -- the service ---------------------------------------------------------------------------------------

    def info(self) -> Info:
        """What the service is, and what we may do."""
        return self._transport.json(Info, "GET", "/v1/info")

    def limits(self) -> Limits:
        """What it accepts."""
        return self._transport.json(Limits, "GET", "/v1/limits")

    def methods(self) -> tuple[MethodState, ...]:
        """Its methods, and whether they can be asked."""
        return self._transport.json(_Methods, "GET", "/v1/methods").methods

    # -- collections ---------------------------------------------------------------------------------------

    def collections(self) -> tuple[CollectionInfo, ...]:
        """All collections."""
        return self._transport.json(_Collections, "GET", "/v1/collections").collections

    def collection(self, name: str = DEFAULT) -> CollectionInfo:
        """One collection."""
        return self._transport.json(CollectionInfo, "GET", _collection(name))

    def create_collection(self, name: str) -> CollectionInfo:
        """Make a collection; one that is there already stays as it is."""
        return self._transport.json(CollectionInfo, "PUT", _collection(name))

    def delete_collection(self, name: str) -> None:
        """Remove a collection with everything in it, for good."""
        self._transport.send("DELETE", _collection(name), params={"confirm": name})

    # -- images --------------------------------------------------------------------------------------------

    def images(
        self,
        collection: str = DEFAULT,
        *,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - the word users know
        contains: str | None = None,
        page_size: int = 100,
    ) -> Iterator[Image]:
        """The images of a collection in order of id; pages are fetched as they are needed.

        Args:
            collection: Its name.
            filter: Only those whose metadata are so.
            contains: Only those whose id contains this.
            page_size: How many are fetched at once.
        """
        options = {"filter": json.dumps(filter) if filter else None, "contains": contains, "limit": page_size}
        for page in self._pages(_ImagePage, f"{_collection(collection)}/images", options):
            yield from page.images

    def failures(self, collection: str = DEFAULT, *, page_size: int = 100) -> Iterator[FailedImage]:
        """The pictures that could not be indexed, and why."""
        for page in self._pages(_FailurePage, f"{_collection(collection)}/failures", {"limit": page_size}):
            yield from page.failures

    def image(self, image_id: str, collection: str = DEFAULT) -> Image:
        """One image."""
        return self._transport.json(Image, "GET", f"{_collection(collection)}/images/{quoted(image_id)}")

    def put(
        self,
        image_id: str,
        picture: Picture,
        *,
        metadata: Mapping[str, Any] | None = None,
        collection: str = DEFAULT,
    ) -> Image:
        """Index a picture under an id, or replace the one of that id; it is durable and searchable on return.

        Args:
            image_id: The id; any text.
            picture: A path, a URL that the service fetches, or encoded bytes.
            metadata: Your own JSON object to keep with it.
            collection: Name of the collection.

        Raises:
            OSError: the file cannot be read.
        """
        return parse(Image, self._put(image_id, picture, metadata, collection, wait=True))

    def start_put(
        self,
        image_id: str,
        picture: Picture,
        *,
        metadata: Mapping[str, Any] | None = None,
        collection: str = DEFAULT,
    ) -> Job:
        """The same without waiting for the indexing; the service has the picture safely on return."""
        return self._job(self._put(image_id, picture, metadata, collection, wait=False))

    def delete(self, image_id: str, collection: str = DEFAULT) -> None:
        """Remove an image."""
        self._transport.send("DELETE", f"{_collection(collection)}/images/{quoted(image_id)}")

    def thumbnail(self, image_id: str, collection: str = DEFAULT) -> bytes:
        """JPEG of at most 256 pixels a side."""
        return self._transport.send("GET", f"{_collection(collection)}/thumbnails/{quoted(image_id)}").content

    def content(self, image_id: str, collection: str = DEFAULT) -> bytes:
        """The original bytes, where the service still has them, unchanged."""
        return self._transport.send("GET", f"{_collection(collection)}/contents/{quoted(image_id)}").content

    # -- asking --------------------------------------------------------------------------------------------

    @overload
    def search(  # type: ignore[overload-overlap]  # a text is a sequence of texts, too
        self,
        query: Query,
        *,
        collection: str = ...,
        boxes: Sequence[Box] = ...,
        method: str | None = ...,
        k: int | None = ...,
        mode: Literal["auto", "exact", "fast"] | None = ...,
        verify: bool | None = ...,
        mirror: bool | None = ...,
        filter: Mapping[str, Any] | None = ...,
        min_score: float | None = ...,
        max_evalue: float | None = ...,
    ) -> Answer: ...

    @overload
    def search(
        self,
        query: Sequence[Query],
        *,
        collection: str = ...,
        method: str | None = ...,
        k: int | None = ...,
        mode: Literal["auto", "exact", "fast"] | None = ...,
        verify: bool | None = ...,
        mirror: bool | None = ...,
        filter: Mapping[str, Any] | None = ...,
        min_score: float | None = ...,
        max_evalue: float | None = ...,
    ) -> list[Answer | ServerProblem]: ...

    def search(
        self,
        query: Query | Sequence[Query],
        *,
        collection: str = DEFAULT,
        boxes: Sequence[Box] = (),
        method: str | None = None,
        k: int | None = None,
        mode: Literal["auto", "exact", "fast"] | None = None,
        verify: bool | None = None,
        mirror: bool | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - the word users know
        min_score: float | None = None,
        max_evalue: float | None = None,
    ) -> Answer | list[Answer | ServerProblem]:
        """The images that most speaks for. What is not given is as the service has it by default.

        Args:
            query: A path, a URL that the service fetches, encoded bytes, or ``ById`` of an image of the
                collection; or a list of them.
            collection: Name of the collection.
            boxes: Parts of the picture (x, y, width, height in pixels); only what is inside them counts.
            method: Name of a method, or ``auto``: all together.
            k: How many hits at most.
            mode: ``exact``: every image is scored; ``fast``: the best candidates of an index.
            verify: Look closely at the best; otherwise the plain order of one method.
            mirror: Find mirror images too.
            filter: Only images whose metadata are so.
            min_score: Only hits of at least this score.
            max_evalue: Only hits of at most this E-value.

        Returns:
            The answer; to a list of queries, in their order, each one's answer or its problem.

        Raises:
            OSError: a file cannot be read.
        """
        options = without_nothing(
            {
                "boxes": [list(box) for box in boxes] or None,
                "method": method,
                "k": k,
                "mode": mode,
                "verify": verify,
                "mirror": mirror,
                "filter": filter,
                "min_score": min_score,
                "max_evalue": max_evalue,
            }
        )
        path = f"{_collection(collection)}/search"
        if isinstance(query, Sequence) and not isinstance(query, str | bytes):
            if boxes:
                raise ValueError("boxes belong to one query")
            body = {"queries": [pictures.reference(one) for one in query], **options}
            answers = self._transport.json(_Answers, "POST", path, json=body).results
            return [_answer(answer) for answer in answers]
        if isinstance(query, ById) or pictures.is_url(query):
            return self._transport.json(Answer, "POST", path, json={**pictures.reference(query), **options})
        form = pictures.form(options)
        return self._transport.json(Answer, "POST", path, files={"image": pictures.content(query)}, data=form)

    def answer(self, handle: str) -> Answer:
        """An answer again, by its handle, while the service keeps it."""
        return self._transport.json(Answer, "GET", f"/v1/explanations/{quote(handle, safe='')}")

    def query_picture(self, answer: Answer | str, *, width: int | None = None) -> bytes:
        """The picture that was asked with, as JPEG.

        Args:
            answer: Or its handle.
            width: Pixels it is at most wide.
        """
        params = without_nothing({"width": width})
        return self._transport.send("GET", f"{_explanations(answer)}/query", params=params).content

    def explain(self, answer: Answer | str, image_id: str, *, method: str | None = None) -> Explanation:
        """What speaks for an image: matches, inliers, outlines, heat, numbers.

        Args:
            answer: Or its handle.
            image_id: Of the image to look at.
            method: Name of a method, or ``auto``: that which has the most to say.
        """
        path = f"{_explanations(answer)}/images/{quoted(image_id)}"
        return self._transport.json(Explanation, "GET", path, params=without_nothing({"method": method}))

    def picture(self, answer: Answer | str, image_id: str, *, method: str | None = None) -> bytes:
        """The same as a picture, PNG; the arguments are those of ``explain``."""
        path = f"{_explanations(answer)}/pictures/{quoted(image_id)}"
        return self._transport.send("GET", path, params=without_nothing({"method": method})).content

    def compare(self, a: Picture | Stored, b: Picture | Stored, *, method: str | None = None) -> Comparison:
        """Two pictures side by side; nothing is stored.

        Args:
            a: A path, a URL that the service fetches, encoded bytes, or ``Stored``.
            b: Likewise.
            method: Name of the method.

        Raises:
            OSError: a file cannot be read.
        """
        options = without_nothing({"method": method})
        if isinstance(a, Stored) or isinstance(b, Stored) or pictures.is_url(a) or pictures.is_url(b):
            body = {"a": pictures.reference(a), "b": pictures.reference(b), **options}
            return self._transport.json(Comparison, "POST", "/v1/compare", json=body)
        files = {"a": pictures.content(a), "b": pictures.content(b)}
        return self._transport.json(Comparison, "POST", "/v1/compare", files=files, data=options)

    def duplicates(
        self,
        collection: str = DEFAULT,
        *,
        progress: Callable[[Job], None] | None = None,
        timeout: float | None = None,
        page_size: int = 100,
    ) -> Duplicates:
        """The duplicates of a collection; waits where they have to be looked for first.

        Args:
            collection: Its name.
            progress: Called while that is done.
            timeout: Seconds to wait at most.
            page_size: How many groups are fetched at once.

        Returns:
            All of them; ``stale`` says that the collection has changed since they were looked for.

        Raises:
            TimeoutError: it takes longer.
            JobFailedError: they could not be looked for.
        """
        path, end = (
            f"{_collection(collection)}/duplicates",
            None if timeout is None else time.monotonic() + timeout,
        )
        groups: list[DuplicateSet] = []
        params: dict[str, Any] = {"limit": page_size}
        while True:
            response = self._transport.send("GET", path, params=params)
            if response.status_code == 202:
                job = parse(_Running, response).job.of(self)
                job.wait(progress, timeout=None if end is None else max(0.0, end - time.monotonic()))
                groups, params = [], {"limit": page_size}
                continue
            page = parse(_DuplicatePage, response)
            groups += page.groups
            if page.next_cursor is None:
                return Duplicates(page.computed_at, page.stale, page.report, tuple(groups))
            params["cursor"] = page.next_cursor

    # -- jobs ----------------------------------------------------------------------------------------------

    def start_index(
        self,
        collection: str = DEFAULT,
        *,
        folder: str | None = None,
        csv: str | None = None,
        urls: Sequence[str] | None = None,
        methods: Sequence[str] | None = None,
        prune: bool | None = None,
    ) -> Job:
        """Index a folder of the service, a list, or what is behind URLs: exactly one of them.

        Args:
            collection: Name of the collection.
            folder: A folder, archive or list on the service's machine, where its operator allows it.
            csv: A list as text; its first line names the columns, among them ``url`` and ``id``.
            urls: Addresses of pictures, which are their ids too.
            methods: Methods to extract features for; by default those the collection has.
            prune: Remove images that came from the same folder or list and are no longer in it.
        """
        options = {
            "folder": folder,
            "csv": csv,
            "urls": None if urls is None else list(urls),
            "methods": None if methods is None else list(methods),
            "prune": prune,
        }
        return self._start("index", collection, options)

    def start_duplicates(self, collection: str = DEFAULT) -> Job:
        """Look for duplicates, even where a report is there already; ``duplicates`` gives it."""
        return self._start("duplicates", collection, {})

    def start_rebuild(self, collection: str = DEFAULT) -> Job:
        """Make what is derived from the features of a collection anew."""
        return self._start("rebuild", collection, {})

    def jobs(self, *, state: State | None = None, page_size: int = 100) -> Iterator[Job]:
        """All jobs, the newest first."""
        for page in self._pages(_JobPage, "/v1/jobs", {"state": state, "limit": page_size}):
            for job in page.jobs:
                yield job.of(self)

    def job(self, job_id: str) -> Job:
        """One job."""
        return self._job(self._transport.send("GET", _job(job_id)))

    def cancel(self, job_id: str) -> Job:
        """End a job as soon as it can; what it did so far stays."""
        return self._job(self._transport.send("POST", f"{_job(job_id)}/cancel"))

    def events(self, job_id: str, *, seconds: float | None = None) -> Iterator[Job]:
        """A job now, and again with every change, until it has ended or the service stops.

        Args:
            job_id: Its id.
            seconds: Look on no longer than that, give or take some seconds.
        """
        end = None if seconds is None else time.monotonic() + seconds
        timeout = KEEP_ALIVE_SECONDS if seconds is None else max(1.0, min(KEEP_ALIVE_SECONDS, seconds))
        with self._transport.stream(f"{_job(job_id)}/events", timeout=timeout) as lines:
            event = ""
            for line in lines:
                if end is not None and time.monotonic() >= end:
                    return
                name, _, value = line.partition(":")
                if name == "event":
                    event = value.strip()
                    if event == "end":  # its job is the one told last
                        return
                elif name == "data" and event == "progress":
                    yield _job_of(parse_json(value)).of(self)

    # -- parts ---------------------------------------------------------------------------------------------

    def _put(
        self, image_id: str, picture: Picture, metadata: Mapping[str, Any] | None, collection: str, *, wait: bool
    ) -> httpx2.Response:
        path = f"{_collection(collection)}/images/{quoted(image_id)}"
        params = {"wait": "true" if wait else "false"}
        if pictures.is_url(picture):
            body = {**pictures.reference(picture), **without_nothing({"metadata": metadata})}
            return self._transport.send("PUT", path, params=params, json=body)
        form = {} if metadata is None else {"metadata": json.dumps(metadata)}
        return self._transport.send(
            "PUT", path, params=params, files={"image": pictures.content(picture)}, data=form
        )

    def _start(self, kind: str, collection: str, options: Mapping[str, Any]) -> Job:
        body = {"kind": kind, "collection": collection, **without_nothing(options)}
        return self._job(self._transport.send("POST", "/v1/jobs", json=body))

    def _job(self, response: httpx2.Response) -> Job:
        return parse(Job, response).of(self)

    def _pages(self, kind: type[_PageT], path: str, options: Mapping[str, Any]) -> Iterator[_PageT]:
        params = without_nothing(options)
        while True:
            page = self._transport.json(kind, "GET", path, params=params)
            yield page
            if page.next_cursor is None:
                return
            params["cursor"] = page.next_cursor


def _collection(name: str) -> str:
    return f"/v1/collections/{quote(name, safe='')}"


def _job(job_id: str) -> str:
    return f"/v1/jobs/{quote(job_id, safe='')}"


def _explanations(answer: Answer | str) -> str:
    if isinstance(answer, str):
        return f"/v1/explanations/{quote(answer, safe='')}"
    if answer.explanations is None:
        raise ValueError("the service did not keep this query, so it cannot be explained")
    return f"/v1/explanations/{quote(answer.explanations.handle, safe='')}"


def _answer(members: Mapping[str, Any]) -> Answer | ServerProblem:
    told = members.get("problem")
    if isinstance(told, Mapping):
        return problem(told, status=int(told.get("status", 0)))
    return _known(Answer, members)


def _job_of(members: Any) -> Job:
    return _known(Job, members)


def _known(kind: type[_T], members: Any) -> _T:
    try:
        return read(kind, members)
    except ValueError as error:
        raise InvalidAnswerError("invalid_answer", f"no answer of this API: {error}") from error


# What lists and pages look like


@dataclass(frozen=True, slots=True)
class _Methods:
    methods: tuple[MethodState, ...]


@dataclass(frozen=True, slots=True)
class _Collections:
    collections: tuple[CollectionInfo, ...]


@dataclass(frozen=True, slots=True)
class _Answers:
    results: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class _Running:
    job: Job


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _ImagePage(_Page):
    images: tuple[Image, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _FailurePage(_Page):
    failures: tuple[FailedImage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _JobPage(_Page):
    jobs: tuple[Job, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _DuplicatePage(_Page):
    computed_at: str
    stale: bool
    report: DuplicateCounts
    groups: tuple[DuplicateSet, ...]
