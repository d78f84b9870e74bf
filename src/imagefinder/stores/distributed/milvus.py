"""A Milvus server that stores and searches vectors; the only module that imports its client."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray
from pymilvus import DataType, MilvusClient, MilvusException

from imagefinder.core.errors import ShortlistUnavailableError
from imagefinder.core.vector_table import Halves
from imagefinder.stores.distributed.milvus_address import MilvusAddress

# Its errors, with their traces, are errors of the calls here.
logging.getLogger("pymilvus").setLevel(logging.CRITICAL)

MOST_FOUND = 16_384
"""Maximum number of vectors that one search returns; the limit of the server."""

EF_SEARCH = 400
"""Number of vectors that a search of the graph keeps; more find more of the nearest, in more time."""

EF_CONSTRUCTION, LINKS = 128, 16

_LOADING_SECONDS = 120.0  # collections are created and loaded by a build, not by a search
_NOT_FOUND = 100  # codes of the server
_NOT_LOADED = 101


class MilvusServer:
    """Vectors under integer keys in the collections of a Milvus server; thread-safe.

    All methods raise ``ShortlistUnavailableError`` if the server does not answer in time, or refuses.

    Attributes:
        place: The server and its database as a URL.
    """

    def __init__(self, address: MilvusAddress) -> None:
        """Use a server; nothing is sent yet.

        Raises:
            SettingsError: a file that the location names cannot be read.
        """
        self.place = address.place
        self._address = address
        self._token = address.token()
        self._lock = threading.Lock()
        self._client: MilvusClient | None = None

    def check(self) -> None:
        """Return if the server answers."""
        self._call("answer", lambda client, limit: client.list_collections(timeout=limit))

    def has(self, name: str) -> bool:
        """Whether a collection exists."""
        return bool(self._call("look", lambda client, limit: client.has_collection(name, timeout=limit)))

    def create(self, name: str, dim: int) -> None:
        """Create a collection for vectors with ``dim`` values, with an HNSW graph, and load it."""
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("key", DataType.INT64, is_primary=True)
        schema.add_field("v", DataType.FLOAT_VECTOR, dim=dim)
        params = MilvusClient.prepare_index_params()
        graph = {"M": LINKS, "efConstruction": EF_CONSTRUCTION}
        params.add_index("v", index_type="HNSW", metric_type="IP", params=graph)
        self._call(
            "create a collection",
            lambda client, limit: client.create_collection(
                name, schema=schema, index_params=params, timeout=limit
            ),
            seconds=_LOADING_SECONDS,
        )

    def load(self, name: str) -> None:
        """Make a collection ready for searches; it usually is."""
        self._call(
            "load a collection",
            lambda client, limit: client.load_collection(name, timeout=limit),
            seconds=_LOADING_SECONDS,
        )

    def drop(self, name: str) -> None:
        """Delete a collection, if it exists."""
        self._call("delete a collection", lambda client, limit: client.drop_collection(name, timeout=limit))

    def put(self, name: str, keys: Sequence[int], vectors: Halves) -> int:
        """Insert or replace vectors; returns the time of the change, by the clock of the server.

        Args:
            name: The collection.
            keys: Keys.
            vectors: ``(N, D)`` float16.
        """
        rows = [{"key": key, "v": v} for key, v in zip(keys, vectors.astype(np.float32), strict=True)]
        # The public method does not return the time.
        return int(
            self._call(
                "store vectors",
                lambda client, limit: client._get_connection().upsert_rows(name, rows, timeout=limit).timestamp,
            )
        )

    def flush(self, name: str) -> None:
        """Let the server build the graph of all vectors in a collection."""
        self._call(
            "write a collection",
            lambda client, limit: client.flush(name, timeout=limit),
            seconds=_LOADING_SECONDS,
        )

    def is_indexed(self, name: str) -> bool:
        """Whether the graph has all vectors that were flushed."""
        state = self._call("look", lambda client, limit: client.describe_index(name, "v", timeout=limit))
        return int(state["pending_index_rows"]) == 0 and state["state"] == "Finished"

    def delete(self, name: str, keys: Sequence[int]) -> None:
        """Delete vectors."""
        self._call(
            "delete vectors", lambda client, limit: client.delete(name, ids=[*map(int, keys)], timeout=limit)
        )

    def nearest(
        self, name: str, queries: Halves, n: int, *, since: int
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Keys and inner products of the ``n`` best vectors for each query.

        Args:
            name: The collection.
            queries: ``(Q, D)`` float16.
            n: Number of vectors, up to ``MOST_FOUND``.
            since: Time of a change that must be visible.
        """
        found = self._call(
            "search",
            lambda client, limit: client.search(
                name,
                list(queries.astype(np.float32)),
                limit=n,
                search_params={"metric_type": "IP", "params": {"ef": max(EF_SEARCH, n)}},
                timeout=limit,
                **_at(since),
            ),
        )
        return [
            (
                np.array([hit["key"] if "key" in hit else hit["id"] for hit in hits], dtype=np.int64),
                np.array([hit["distance"] for hit in hits], dtype=np.float64),
            )
            for hits in found
        ]

    def vectors(self, name: str, keys: Sequence[int], *, since: int) -> dict[int, NDArray[np.float32]]:
        """Key -> vector, of those that exist."""
        rows = self._call(
            "read vectors",
            lambda client, limit: client.query(
                name, ids=[*map(int, keys)], output_fields=["key", "v"], timeout=limit, **_at(since)
            ),
        )
        return {row["key"]: np.array(row["v"], dtype=np.float32) for row in rows}

    def count(self, name: str, *, since: int) -> int:
        """The number of vectors in a collection."""
        rows = self._call(
            "count vectors",
            lambda client, limit: client.query(
                name, filter="", output_fields=["count(*)"], timeout=limit, **_at(since)
            ),
        )
        return int(rows[0]["count(*)"])

    def _call(self, action: str, call: Callable[[MilvusClient, float], Any], *, seconds: float = 0.0) -> Any:
        limit = max(seconds, self._address.seconds)
        with self._errors(action, limit):
            return call(self._connected(), limit)

    def _connected(self) -> MilvusClient:
        address = self._address
        with self._lock:
            if self._client is None:
                tls = {"server_pem_path": str(address.certificate)} if address.certificate else {}
                self._client = MilvusClient(
                    uri=f"{'https' if address.tls else 'http'}://{address.host}",
                    token=self._token,
                    db_name=address.database,
                    timeout=address.seconds,
                    **tls,
                )
            return self._client

    @contextmanager
    def _errors(self, action: str, seconds: float) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            is_late = getattr(error, "code", lambda: None)() == grpc.StatusCode.DEADLINE_EXCEEDED
            reason = f"no answer within {seconds:g} s" if is_late else "it cannot be reached"
            raise self._unavailable(action, reason) from error
        except MilvusException as error:
            raise self._unavailable(action, _reason(error, seconds)) from error

    def _unavailable(self, action: str, reason: str) -> ShortlistUnavailableError:
        return ShortlistUnavailableError(
            f"the vector database {self.place} could not {action}: {reason}",
            hint="check that it runs; a search, or imagefinder build-index, copies what it lost to it again; "
            "searches with mode exact do not need it",
        )


def _reason(error: MilvusException, seconds: float) -> str:
    text = str(error.message).partition("\n")[0]
    if error.code == _NOT_FOUND:
        return "the copy of the index does not exist"
    if error.code == _NOT_LOADED:
        return "the copy of the index is not loaded yet"
    if "Fail connecting" in text:
        return "it cannot be reached, or it refuses the user and password"
    if "Retry timeout" in text:
        return f"no answer within {seconds:g} s"
    if "stack trace" in text:  # of the server, in its own words
        return f"it reports the error {error.code}"
    return text[:200]


def _at(since: int) -> dict[str, Any]:
    """Options of a search that must see a change: cheaper than ``Strong``, which waits for the latest state."""
    return {"consistency_level": "Customized", "guarantee_timestamp": since or 1}
