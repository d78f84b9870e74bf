"""HTTP transport of the asynchronous client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
import httpx2

from imagefinder.client.errors import ServerProblem
from imagefinder.client.transport import (
    check,
    headers,
    network_options,
    parse,
    seconds_until_retry,
    translate_errors,
)

T = TypeVar("T")


class AsyncTransport:
    """Sends requests to one service; safe to use from several tasks of one event loop."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None,
        timeout: float,
        retries: int,
        transport: httpx2.AsyncBaseTransport | None,
    ) -> None:
        self._retries = retries
        self._closed = anyio.Event()
        network = {"transport": transport} if transport else network_options(base_url)
        self._http = httpx2.AsyncClient(base_url=base_url, headers=headers(api_key), timeout=timeout, **network)

    async def close(self) -> None:
        """Close the connections; a request that waits for a retry gives up."""
        self._closed.set()
        await self._http.aclose()

    async def send(self, verb: str, path: str, **options: Any) -> httpx2.Response:
        """Send a request; retry it when and as long as the service says that it may succeed later.

        Args:
            verb: HTTP method.
            path: Path below the base address.
            options: Arguments of ``httpx2.AsyncClient.request``.

        Raises:
            ConnectionFailedError: the service does not answer.
            ServerProblem: the service answers with a problem.
            InvalidAnswerError: the answer is an error without a problem document.
        """
        for left in range(self._retries, -1, -1):
            try:
                with translate_errors(self._http):
                    response = await self._http.request(verb, path, **options)
                check(response)
            except ServerProblem as error:
                if left == 0 or not await self._wait(error):
                    raise
            else:
                return response
        raise AssertionError("the last try returns or raises")

    async def json(self, kind: type[T], verb: str, path: str, **options: Any) -> T:
        """Send a request and parse the answer.

        Raises:
            ClientError: the request failed, or the answer does not have the form of ``kind``.
        """
        return parse(kind, await self.send(verb, path, **options))

    @asynccontextmanager
    async def stream(self, path: str, *, timeout: float) -> AsyncIterator[AsyncIterator[str]]:
        """The lines of an answer as they arrive; not retried.

        Raises:
            ClientError: the request failed.
        """
        with translate_errors(self._http):
            async with self._http.stream("GET", path, timeout=timeout) as response:
                if response.status_code >= 400:
                    await response.aread()
                check(response)
                yield response.aiter_lines()

    async def _wait(self, error: ServerProblem) -> bool:
        """Wait as long as the service requires; false if a retry makes no sense or the client was closed."""
        seconds = seconds_until_retry(error)
        if seconds is None:
            return False
        with anyio.move_on_after(seconds):
            await self._closed.wait()
        return not self._closed.is_set()
