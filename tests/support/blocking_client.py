"""The asynchronous client behind the interface of the synchronous one, so that both pass the same tests."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx2
from anyio.from_thread import BlockingPortal, start_blocking_portal

from imagefinder.client import AsyncClient, AsyncRemoteJob


class Blocking:
    """Runs the coroutines of an object in an event loop of another thread and waits for their results."""

    def __init__(self, portal: BlockingPortal, value: Any) -> None:
        self._portal = portal
        self._value = value

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._value, name)
        return self._method(attribute) if callable(attribute) else attribute

    def _method(self, method: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*arguments: Any, **options: Any) -> Any:
            result = method(*arguments, **options)
            return await result if inspect.isawaitable(result) else result

        def blocking(*arguments: Any, **options: Any) -> Any:
            return self._wrapped(self._portal.call(lambda: call(*arguments, **options)))

        return blocking

    def _wrapped(self, value: Any) -> Any:
        if isinstance(value, AsyncIterator):
            return self._iterate(value)
        return Blocking(self._portal, value) if isinstance(value, AsyncRemoteJob) else value

    def _iterate(self, values: AsyncIterator[Any]) -> Iterator[Any]:
        while True:
            try:
                yield self._wrapped(self._portal.call(values.__anext__))
            except StopAsyncIteration:
                return


class BlockingClient(Blocking):
    """An ``AsyncClient``, to be used and closed like a ``Client``."""

    def __init__(self, *arguments: Any, transport: httpx2.MockTransport, **options: Any) -> None:
        self._running = start_blocking_portal()
        super().__init__(self._running.__enter__(), AsyncClient(*arguments, transport=transport, **options))

    def __enter__(self) -> BlockingClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._portal.call(self._value.close)
        self._running.__exit__(None, None, None)
