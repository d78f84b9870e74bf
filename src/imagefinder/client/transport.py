"""Requests and answers: addresses, keys, retries, problems."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, TypeVar
from urllib.parse import quote

import httpx2

from imagefinder.client.errors import ConnectionFailedError, InvalidAnswerError, ServerProblem, problem
from imagefinder.core.answers import SearchAnswer
from imagefinder.core.serialization import from_json

T = TypeVar("T")

LONGEST_WAIT = 60.0
"""Seconds; a server that asks to wait longer is not waited for."""


class Transport:
    """Speaks HTTP with one service; safe to use from several threads."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None,
        timeout: float,
        retries: int,
        transport: httpx2.BaseTransport | None,
    ) -> None:
        self._retries = retries
        self._closed = threading.Event()
        self._http = httpx2.Client(
            base_url=base_url, headers=headers(api_key), timeout=timeout, transport=transport
        )

    def close(self) -> None:
        """Close the connections; who waits to try again gives up."""
        self._closed.set()
        self._http.close()

    def send(self, verb: str, path: str, **options: Any) -> httpx2.Response:
        """Ask, and again where the server says that it may go later, and when.

        Args:
            verb: HTTP method.
            path: Below the base address.
            options: As ``httpx2.Client.request`` takes them.

        Raises:
            ConnectionFailedError: no answer.
            ServerProblem: a problem.
            InvalidAnswerError: an error that is no problem.
        """
        for left in range(self._retries, -1, -1):
            try:
                with translated(self._http):
                    response = self._http.request(verb, path, **options)
                check(response)
            except ServerProblem as error:
                if left == 0 or not self._wait(error):
                    raise
            else:
                return response
        raise AssertionError("the last try returns or raises")

    def json(self, kind: type[T], verb: str, path: str, **options: Any) -> T:
        """Ask, and read the answer as an object of a class.

        Raises:
            ClientError: as ``send``; ``InvalidAnswerError`` for another form too.
        """
        return parse(kind, self.send(verb, path, **options))

    @contextmanager
    def stream(self, path: str, *, timeout: float) -> Iterator[Iterator[str]]:
        """The lines of an answer as they come.

        Raises:
            ClientError: as ``send``; there are no retries.
        """
        with translated(self._http), self._http.stream("GET", path, timeout=timeout) as response:
            if response.status_code >= 400:
                response.read()
            check(response)
            yield response.iter_lines()

    def _wait(self, error: ServerProblem) -> bool:
        """Wait as the server asked; false where it is not worth it."""
        seconds = seconds_until_retry(error)
        return seconds is not None and not self._closed.wait(seconds)


def headers(api_key: str | None) -> dict[str, str]:
    """Headers of every request."""
    distribution = __name__.partition(".")[0]  # imagefinder, or imagefinder_client where it is installed alone
    found = {"User-Agent": f"imagefinder-client/{version(distribution)}", "Accept": "application/json, */*"}
    if api_key:
        found["Authorization"] = f"Bearer {api_key}"
    return found


def seconds_until_retry(error: ServerProblem) -> float | None:
    """Seconds after which the service says that the request may succeed; ``None`` if it is not worth the wait."""
    seconds = error.retry_after
    if not error.retryable or seconds is None or seconds > LONGEST_WAIT:
        return None
    return seconds


def parse(kind: type[T], response: httpx2.Response) -> T:
    """An answer as an object of a class.

    Raises:
        InvalidAnswerError: it is of another form.
    """
    try:
        return from_json(kind, response.json(), newer=True)
    except (ValueError, RecursionError) as error:
        raise _invalid(response, str(error)) from error


def check(response: httpx2.Response) -> None:
    """Raise where an answer is none.

    Raises:
        ServerProblem: a problem.
        InvalidAnswerError: an error or redirect that is no problem.
    """
    if 200 <= response.status_code < 300:
        return
    media_type = response.headers.get("content-type", "").partition(";")[0].strip()
    try:
        members = response.json() if media_type == "application/problem+json" else None
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        raise _invalid(response, f"it answers {response.status_code} with {media_type or 'no content'}")
    raise problem(
        members,
        status=response.status_code,
        request_id=response.headers.get("x-request-id", ""),
        retry_after=_seconds(response.headers.get("retry-after")),
    )


def quoted(image_id: str) -> str:
    """An id as the rest of a path; slashes stay, and parts that mean "here" or "up" lose that meaning.

    Raises:
        ValueError: it is empty.
    """
    if not image_id:
        raise ValueError("an id must not be empty")
    parts = quote(image_id, safe="/").split("/")
    return "/".join(part.replace(".", "%2E") if part in (".", "..") else part for part in parts)


def collection_path(name: str) -> str:
    """Path of a collection."""
    return f"/v1/collections/{quote(name, safe='')}"


def job_path(job_id: str) -> str:
    """Path of a job."""
    return f"/v1/jobs/{quote(job_id, safe='')}"


def explanations_path(answer: SearchAnswer | str) -> str:
    """Path of an answer and its explanations, by the answer or its handle.

    Raises:
        ValueError: the service did not keep the answer.
    """
    if isinstance(answer, str):
        return f"/v1/explanations/{quote(answer, safe='')}"
    if answer.explanations is None:
        raise ValueError("the service did not keep this query, so it cannot be explained")
    return f"/v1/explanations/{quote(answer.explanations.handle, safe='')}"


def without_nothing(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def parse_json(text: str) -> Any:
    """A text that must be JSON.

    Raises:
        InvalidAnswerError: it is none.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidAnswerError("invalid_answer", f"an event is no JSON: {error}") from error


def _invalid(response: httpx2.Response, why: str) -> InvalidAnswerError:
    return InvalidAnswerError(
        "invalid_answer",
        f"{response.request.url} gave no answer of this API: {why}",
        hint="is it the address of imagefinder serve, and of a version with /v1?",
        status=response.status_code,
        request_id=response.headers.get("x-request-id", ""),
    )


def _seconds(retry_after: str | None) -> float | None:
    try:
        seconds = float(retry_after or "nan")
    except ValueError:  # a date: a server of ours sends none
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


class translated:  # noqa: N801 - reads as a word
    """Turns what goes wrong on the way into an error of ours."""

    def __init__(self, http: httpx2.Client | httpx2.AsyncClient) -> None:
        self._url = http.base_url

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, httpx2.TimeoutException):
            raise ConnectionFailedError(
                "timeout",
                f"{self._url} did not answer in time",
                retryable=True,
                hint="raise timeout, or try later",
            ) from error
        if isinstance(error, httpx2.TransportError):
            raise ConnectionFailedError(
                "connection_failed",
                f"{self._url} cannot be reached: {error}",
                retryable=True,
                hint="is the server running, and is this its address?",
            ) from error
        if isinstance(error, httpx2.InvalidURL):
            raise ConnectionFailedError("invalid_address", f"{self._url} is no usable address: {error}") from error
