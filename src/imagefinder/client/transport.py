"""HTTP transport of the client: URLs, keys, retries and error responses."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

import httpx2

from imagefinder.client.errors import ConnectionFailedError, InvalidAnswerError, ServerProblem, problem
from imagefinder.core.answers import SearchAnswer
from imagefinder.core.errors import SettingsError
from imagefinder.core.jobs import Job
from imagefinder.core.network_environment import proxy_for, tls_context
from imagefinder.core.serialization import from_json

T = TypeVar("T")

MAX_RETRY_AFTER = 60.0
"""Longest Retry-After, in seconds, that is honoured; with a longer one, the error is raised instead."""


class Transport:
    """An HTTP connection pool to one server; safe to use from several threads."""

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
        network = {"transport": transport} if transport else network_options(base_url)
        self._http = httpx2.Client(base_url=base_url, headers=headers(api_key), timeout=timeout, **network)

    def close(self) -> None:
        """Close the connections; requests that wait for a retry fail."""
        self._closed.set()
        self._http.close()

    def send(self, verb: str, path: str, **options: Any) -> httpx2.Response:
        """Send a request; retry it if the server marks it as retryable and states a delay.

        Args:
            verb: HTTP method.
            path: Path below the base URL.
            options: Arguments of ``httpx2.Client.request``.

        Raises:
            ConnectionFailedError: no response.
            ServerProblem: an error response.
            InvalidAnswerError: an error response without a problem document.
        """
        for left in range(self._retries, -1, -1):
            try:
                with translate_errors(self._http):
                    response = self._http.request(verb, path, **options)
                check(response)
            except ServerProblem as error:
                if left == 0 or not self._wait(error):
                    raise
            else:
                return response
        raise AssertionError("the last try returns or raises")

    def json(self, kind: type[T], verb: str, path: str, **options: Any) -> T:
        """Send a request and parse the response as an object of a class.

        Raises:
            ClientError: as ``send``; also ``InvalidAnswerError`` if the response cannot be parsed.
        """
        return parse(kind, self.send(verb, path, **options))

    @contextmanager
    def stream(self, path: str, *, timeout: float) -> Iterator[Iterator[str]]:
        """The lines of a streamed response.

        Raises:
            ClientError: as ``send``; there are no retries.
        """
        with translate_errors(self._http), self._http.stream("GET", path, timeout=timeout) as response:
            if response.status_code >= 400:
                response.read()
            check(response)
            yield response.iter_lines()

    def _wait(self, error: ServerProblem) -> bool:
        """Wait for the delay that the server states; false if the request should not be retried."""
        seconds = seconds_until_retry(error)
        return seconds is not None and not self._closed.wait(seconds)


def headers(api_key: str | None) -> dict[str, str]:
    """The headers of all requests."""
    distribution = __name__.partition(".")[0]  # imagefinder, or imagefinder_client where it is installed alone
    found = {"User-Agent": f"imagefinder-client/{version(distribution)}", "Accept": "application/json, */*"}
    if api_key:
        found["Authorization"] = f"Bearer {api_key}"
    return found


def network_options(base_url: str) -> dict[str, Any]:
    """Arguments of the HTTP client: the proxy and the certificate authorities that the environment names.

    Raises:
        ConnectionFailedError: one of them cannot be used.
    """
    try:
        url = httpx2.URL(base_url)
        proxy = proxy_for(url.scheme, url.host)
        tls = url.scheme == "https" or proxy.startswith("https")
        verify = tls_context(httpx2.create_ssl_context) if tls else False
    except SettingsError as error:
        raise ConnectionFailedError("connection_failed", error.message, hint=error.hint) from error
    except httpx2.InvalidURL as error:
        raise ConnectionFailedError("invalid_address", f"{base_url!r} is not a valid URL: {error}") from error
    return {"proxy": proxy or None, "verify": verify, "trust_env": False}


def seconds_until_retry(error: ServerProblem) -> float | None:
    """Seconds to wait before a retry, as stated by the server; ``None`` if the request should not be retried."""
    seconds = error.retry_after
    if not error.retryable or seconds is None or seconds > MAX_RETRY_AFTER:
        return None
    return seconds


def parse(kind: type[T], response: httpx2.Response) -> T:
    """Parse a response as an object of a class.

    Raises:
        InvalidAnswerError: the response cannot be parsed.
    """
    try:
        return from_json(kind, response.json(), newer=True)
    except (ValueError, RecursionError) as error:
        raise _invalid(response, str(error)) from error


def check(response: httpx2.Response) -> None:
    """Raise an error unless the response is successful.

    Raises:
        ServerProblem: an error response with a problem document.
        InvalidAnswerError: a redirect, or an error response without a problem document.
    """
    if 200 <= response.status_code < 300:
        return
    media_type = response.headers.get("content-type", "").partition(";")[0].strip()
    try:
        members = response.json() if media_type == "application/problem+json" else None
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        raise _invalid(response, f"status {response.status_code}, content type {media_type or 'none'}")
    raise problem(
        members,
        status=response.status_code,
        request_id=response.headers.get("x-request-id", ""),
        retry_after=_seconds(response.headers.get("retry-after")),
    )


def with_id(image_id: str, **options: Any) -> dict[str, Any]:
    """The query parameters of a request about an image; in a path, clients and proxies would resolve ``..``.

    Args:
        image_id: Id of the image.
        options: Further parameters; those that are ``None`` are omitted.

    Raises:
        ValueError: the id is empty.
    """
    if not image_id:
        raise ValueError("an id must not be empty")
    return {"id": image_id, **drop_none(options)}


def collection_path(name: str) -> str:
    """Path of a collection."""
    return f"/v1/collections/{quote(name, safe='')}"


def job_path(job_id: str) -> str:
    """Path of a job."""
    return f"/v1/jobs/{quote(job_id, safe='')}"


def explanations_path(answer: SearchAnswer | str) -> str:
    """Path of the explanations of an answer.

    Args:
        answer: The answer, or its handle.

    Raises:
        ValueError: the answer has no handle.
    """
    if isinstance(answer, str):
        return f"/v1/explanations/{quote(answer, safe='')}"
    if answer.explanations is None:
        raise ValueError("the answer has no handle: it was too large for the server's cache")
    return f"/v1/explanations/{quote(answer.explanations.handle, safe='')}"


def drop_none(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options without those that are ``None``."""
    return {name: value for name, value in options.items() if value is not None}


def parse_json(text: str) -> Any:
    """Parse the JSON data of an event.

    Raises:
        InvalidAnswerError: the text is not valid JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidAnswerError("invalid_answer", f"an event is not valid JSON: {error}") from error


def _invalid(response: httpx2.Response, why: str) -> InvalidAnswerError:
    return InvalidAnswerError(
        "invalid_answer",
        f"the response of {response.request.url} does not belong to this API: {why}",
        hint="check that base_url is the address of an imagefinder server, and that the server has /v1",
        status=response.status_code,
        request_id=response.headers.get("x-request-id", ""),
    )


def _seconds(retry_after: str | None) -> float | None:
    try:
        seconds = float(retry_after or "nan")
    except ValueError:  # a date; imagefinder servers send seconds
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


class translate_errors:  # noqa: N801 - reads like a function
    """A context manager that converts errors of the HTTP library to ``ConnectionFailedError``."""

    def __init__(self, http: httpx2.Client | httpx2.AsyncClient) -> None:
        self._url = http.base_url

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, httpx2.TimeoutException):
            raise ConnectionFailedError(
                "timeout",
                f"{self._url} did not respond in time",
                retryable=True,
                hint="try again later, or increase the timeout of the client",
            ) from error
        if isinstance(error, httpx2.TransportError):
            raise ConnectionFailedError(
                "connection_failed",
                f"{self._url} cannot be reached: {error}",
                retryable=True,
                hint="check that the server is running and that base_url is its address",
            ) from error
        if isinstance(error, httpx2.InvalidURL):
            raise ConnectionFailedError("invalid_address", f"{self._url} is not a valid URL: {error}") from error


class Page(Protocol):
    """A page of a list."""

    @property
    def next_cursor(self) -> str | None:
        """Cursor of the next page; ``None`` on the last page."""


def job_of(event: str) -> Job:
    """The job of an event's data.

    Raises:
        InvalidAnswerError: it is not a job.
    """
    try:
        return from_json(Job, parse_json(event), newer=True)
    except ValueError as error:
        raise InvalidAnswerError("invalid_answer", f"an event is not a job: {error}") from error
