"""``GET /metrics``: the metrics of the service, in Prometheus format.

Every label has a fixed, small set of values: declared routes instead of paths, installed methods, defined stages.
Client input cannot create new time series.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from imagefinder.collection import Collection
from imagefinder.core.jobs import JobState
from imagefinder.core.records import StoreInfo
from imagefinder.core.results import SearchResult
from imagefinder.models import loads
from imagefinder.server.admission import Admission
from imagefinder.server.timed_read import TimedRead

NO_ROUTE = "(none)"
"""Route label of requests that match no route or are refused before routing."""

VERBS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})

STAGES = frozenset({"filter", "decode", "index", "extract", "match", "verify", "decide", "total"})
"""Stages of a search: keys of ``SearchResult.timings``. A test compares the two."""

OTHER = "other"

_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

_SIZES_SECONDS = 10.0
"""Maximum age of the collection sizes; caching keeps a scrape cheap."""

_SCRAPE_SECONDS = 5.0
"""Time for the engines behind a scrape to answer, all together: a hung one does not hold the other metrics."""

_ENGINE_SECONDS = 2.0
"""Time for an engine to show that it answers, before anything waits for it."""

_MEASURES = {
    "database_connections_open": "Connections of this process to the database",
    "database_connections_idle": "Idle connections of this process",
    "database_connections_waiting": "Calls that wait for a connection",
    "database_connections_most": "Largest number of connections (setting database_connections)",
    "database_standbys": "Standbys that stream from the primary",
    "database_synchronous_standbys": "Standbys that commits wait for",
    "database_standby_lag_bytes": "Bytes of the log that the slowest standby has not applied",
    "database_standby_lag_seconds": "Delay of the slowest standby, seconds",
    "vectors_behind": "Vectors that Milvus lacks, which searches compare in the database",
}
"""Names of ``SupportsMonitoring.measures`` -> their descriptions."""

ListCollections = Callable[[], Iterable[tuple[str, StoreInfo]]]
"""Returns the name and state of each open collection."""

Deadline: TypeAlias = Callable[[], float]
"""Returns the time (``time.monotonic()``) until which the present scrape waits for engines."""


class Metrics:
    """The metrics of one application."""

    def __init__(
        self, *, version: str, admission: Admission, methods: Iterable[str], collections: ListCollections
    ) -> None:
        """Set all metrics to zero.

        Args:
            version: Version of the service.
            admission: Source of the current load.
            methods: Names of the installed methods.
            collections: Returns name and state of each open collection; called at most every ten seconds.
        """
        self.registry = CollectorRegistry()
        self._methods = frozenset(methods) | {"auto"}
        Info("imagefinder_build", "Version of the running service", registry=self.registry).info(
            {"version": version, "python": platform.python_version()}
        )
        self._requests = Counter(
            "imagefinder_http_requests",
            "Completed HTTP requests",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "imagefinder_http_request_seconds",
            "Duration from the first byte of a request to the last byte of its response",
            ("method", "route"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._problems = Counter(
            "imagefinder_problems", "Requests answered with a problem document", ("code",), registry=self.registry
        )
        self._in_flight = Gauge(
            "imagefinder_http_requests_in_flight", "HTTP requests in flight", registry=self.registry
        )
        self._searches = Counter(
            "imagefinder_searches", "Completed searches", ("method", "mode"), registry=self.registry
        )
        self._stages = Histogram(
            "imagefinder_search_stage_seconds",
            "Duration of one stage of a search",
            ("method", "stage"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._loads = Counter(
            "imagefinder_model_loads", "Methods loaded at startup", ("method", "outcome"), registry=self.registry
        )
        self._load_seconds = Gauge(
            "imagefinder_model_load_seconds", "Load time of a method", ("method",), registry=self.registry
        )
        self._ready_seconds = Gauge(
            "imagefinder_ready_seconds", "Duration of the startup; 0 until it is complete", registry=self.registry
        )
        self._until = 0.0
        self._watch(admission)
        self.registry.register(_Sizes(collections, self._methods, self._deadline))
        self.registry.register(_Loads())
        ProcessCollector(registry=self.registry)

    def _watch(self, admission: Admission) -> None:
        for name, text, value in (
            ("queue_waiting", "Units of work that wait for a thread", lambda: admission.waiting),
            ("computing", "Busy threads", lambda: admission.computing),
            ("queue_inside", "Requests that upload, wait or compute", lambda: admission.admitted),
            ("upload_bytes", "Uploaded bytes in memory", lambda: admission.upload_bytes),
        ):
            Gauge(f"imagefinder_{name}", text, registry=self.registry).set_function(value)

    def watch_store(self, collection: Callable[[], Collection]) -> None:
        """Report the state of the engines behind the default collection, and of its indexes, from now on."""
        self.registry.register(_Engines(collection, self._methods, self._deadline))

    def watch_jobs(self, count: Callable[[JobState], int]) -> None:
        """Report the number of jobs from now on.

        Args:
            count: Returns the number of jobs in a state.
        """
        self.registry.register(_Jobs(count, self._deadline))

    def request_started(self) -> None:
        """Count the start of a request."""
        self._in_flight.inc()

    def request_finished(self, method: str, route: str, status: int, code: str, seconds: float) -> None:
        """Count a completed request.

        Args:
            method: HTTP method as sent.
            route: Path template of the route, or ``NO_ROUTE``.
            status: HTTP status; 0 if the client disconnected first.
            code: Code of the problem document; empty for none.
            seconds: Duration in seconds.
        """
        verb = method if method in VERBS else OTHER
        self._in_flight.dec()
        self._requests.labels(verb, route, str(status)).inc()
        self._seconds.labels(verb, route).observe(seconds)
        if code:
            self._problems.labels(code).inc()

    def observe_search(self, result: SearchResult) -> None:
        """Count a search and the duration of its stages."""
        method = result.method if result.method in self._methods else OTHER
        self._searches.labels(method, result.mode).inc()
        others = 0.0
        for stage, seconds in result.timings.items():
            if stage in STAGES:
                self._stages.labels(method, stage).observe(seconds)
            else:
                others += seconds
        if others:
            self._stages.labels(method, OTHER).observe(others)

    def method_loaded(self, method: str, seconds: float, failed: bool) -> None:
        """Count a method that was loaded or failed to load."""
        name = method if method in self._methods else OTHER
        self._loads.labels(name, "failed" if failed else "loaded").inc()
        self._load_seconds.labels(name).set(seconds)

    def ready(self, seconds: float) -> None:
        """Record the duration of the startup."""
        self._ready_seconds.set(seconds)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All metrics in the format that the scraper prefers.

        Args:
            accept: ``Accept`` header of the request.

        Returns:
            Encoded metrics, content type.
        """
        self._until = time.monotonic() + _SCRAPE_SECONDS
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def _deadline(self) -> float:
        return self._until


class _Sizes(Collector):
    """Collects the sizes of the collections."""

    def __init__(self, collections: ListCollections, methods: frozenset[str], until: Deadline) -> None:
        self._sizes = TimedRead(lambda: dict(collections()))
        self._until = until
        self._methods = methods
        self._cached: Mapping[str, StoreInfo] = {}
        self._at = -_SIZES_SECONDS

    def describe(self) -> Iterable[Metric]:
        """An empty description, so that registration does not collect."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The sizes, at most ten seconds old; the last valid ones while a collection cannot be read."""
        if time.monotonic() - self._at >= _SIZES_SECONDS:
            found = self._sizes.value(self._until())
            self._cached = self._cached if found is None else found
            self._at = time.monotonic()
        images = GaugeMetricFamily(
            "imagefinder_collection_images",
            "Images in a collection; the last known number while it does not answer",
            labels=("collection",),
        )
        failures = GaugeMetricFamily(
            "imagefinder_collection_failures", "Images that could not be added", labels=("collection",)
        )
        on_disk = GaugeMetricFamily("imagefinder_collection_bytes", "Size on disk", labels=("collection",))
        features = GaugeMetricFamily(
            "imagefinder_collection_features", "Images with features of a method", labels=("collection", "method")
        )
        for name, info in self._cached.items():
            images.add_metric((name,), info.images)
            failures.add_metric((name,), info.failures)
            on_disk.add_metric((name,), info.bytes_on_disk)
            for method, stored in info.methods.items():
                if method in self._methods:
                    features.add_metric((name, method), stored.images)
        yield from (images, failures, on_disk, features)


class _Engines(Collector):
    """Collects whether the engines of the default collection answer, their numbers, and what its indexes lack."""

    def __init__(self, collection: Callable[[], Collection], methods: frozenset[str], until: Deadline) -> None:
        self._collection = collection
        self._engines = TimedRead(self._read)
        self._until = until
        self._methods = methods
        self._known: Collection | None = None
        self._cached: list[Metric] = []
        self._at = -_SIZES_SECONDS

    def describe(self) -> Iterable[Metric]:
        """An empty description, so that registration does not collect."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The state, at most ten seconds old."""
        if time.monotonic() - self._at >= _SIZES_SECONDS:
            found = self._engines.value(self._until())
            available = GaugeMetricFamily(
                "imagefinder_store_available",
                f"1 if the engines of the default collection answer within {_SCRAPE_SECONDS:g} s, otherwise 0",
                value=float(found is not None),
            )
            self._cached = [available, *(found or ())]
            self._at = time.monotonic()
        yield from self._cached

    def _read(self) -> list[Metric]:
        if self._known is not None:
            self._known.probe(_ENGINE_SECONDS)  # before anything that waits for a hung engine
        collection = self._known = self._collection()
        found: list[Metric] = [
            GaugeMetricFamily(f"imagefinder_{name}", _MEASURES[name], value=value)
            for name, value in collection.measures().items()
        ]
        waiting = GaugeMetricFamily(
            "imagefinder_index_waiting_images", "Images that an ANN index does not have yet", labels=("method",)
        )
        for state in collection.index_states():
            if state.method in self._methods:
                waiting.add_metric((state.method,), state.waiting)
        return [*found, waiting]


class _Loads(Collector):
    """Collects the network loads of this process, at startup and on first use."""

    def describe(self) -> Iterable[Metric]:
        """An empty description, so that registration does not collect."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The number and duration of all network loads so far."""
        times = CounterMetricFamily("imagefinder_network_loads", "Networks loaded", labels=("network", "outcome"))
        seconds = CounterMetricFamily(
            "imagefinder_network_load_seconds", "Total load time of networks", labels=("network", "outcome")
        )
        for (network, outcome), load in loads.so_far().items():
            times.add_metric((network, outcome), load.times)
            seconds.add_metric((network, outcome), load.seconds)
        yield from (times, seconds)


class _Jobs(Collector):
    """Collects the numbers of jobs."""

    def __init__(self, count: Callable[[JobState], int], until: Deadline) -> None:
        states: tuple[JobState, ...] = ("queued", "running")
        self._unknown: Mapping[JobState, float] = dict.fromkeys(states, math.nan)
        self._counts = TimedRead(lambda: {state: float(count(state)) for state in states})
        self._until = until

    def describe(self) -> Iterable[Metric]:
        """An empty description, so that registration does not collect."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The number of jobs in each state."""
        jobs = GaugeMetricFamily(
            "imagefinder_jobs",
            f"Queued and running jobs; NaN if they cannot be counted within {_SCRAPE_SECONDS:g} s",
            labels=("state",),
        )
        for state, number in (self._counts.value(self._until()) or self._unknown).items():
            jobs.add_metric((state,), number)
        yield jobs
