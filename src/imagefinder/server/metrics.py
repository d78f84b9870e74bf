"""``GET /metrics``: what the service does, in numbers, for Prometheus.

Every label takes values of a known, small set: routes as they are declared, never paths; installed methods; known
stages. What a client sends cannot make a new time series.
"""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from imagefinder.core.errors import ImagefinderError
from imagefinder.core.records import StoreInfo
from imagefinder.core.results import SearchResult
from imagefinder.models import loads
from imagefinder.server.admission import Admission

NO_ROUTE = "(none)"
"""The route of requests that were refused before one was found, or for which there is none."""

VERBS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})

STAGES = frozenset({"filter", "decode", "calibrate", "index", "extract", "match", "verify", "decide", "total"})
"""Of a search, see ``SearchResult.timings``; a test compares."""

OTHER = "other"

_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

_SIZES_SECONDS = 10.0
"""How old the sizes of collections may be: a scrape must stay cheap."""

Collections = Callable[[], Iterable[tuple[str, StoreInfo]]]


class Metrics:
    """The numbers of one app."""

    def __init__(
        self, *, version: str, admission: Admission, methods: Iterable[str], collections: Collections
    ) -> None:
        """Set all to zero.

        Args:
            version: Of the service.
            admission: Counts what is being worked on now.
            methods: Installed ones.
            collections: Gives name and state of each open collection; asked at most every ten seconds.
        """
        self.registry = CollectorRegistry()
        self._methods = frozenset(methods) | {"auto"}
        Info("imagefinder_build", "What runs", registry=self.registry).info(
            {"version": version, "python": platform.python_version()}
        )
        self._requests = Counter(
            "imagefinder_http_requests", "Requests answered", ("method", "route", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "imagefinder_http_request_seconds",
            "From the first byte of a request to the last of its answer",
            ("method", "route"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._problems = Counter(
            "imagefinder_problems", "Requests answered with a problem", ("code",), registry=self.registry
        )
        self._in_flight = Gauge(
            "imagefinder_http_requests_in_flight", "Requests not answered yet", registry=self.registry
        )
        self._searches = Counter(
            "imagefinder_searches", "Searches answered", ("method", "mode"), registry=self.registry
        )
        self._stages = Histogram(
            "imagefinder_search_stage_seconds",
            "Time a search spent in a stage",
            ("method", "stage"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._loads = Counter(
            "imagefinder_model_loads", "Methods loaded at the start", ("method", "outcome"), registry=self.registry
        )
        self._load_seconds = Gauge(
            "imagefinder_model_load_seconds", "How long a method took to load", ("method",), registry=self.registry
        )
        self._ready_seconds = Gauge(
            "imagefinder_ready_seconds", "From the start until all was loaded; 0 before", registry=self.registry
        )
        self._watch(admission)
        self.registry.register(_Sizes(collections, self._methods))
        self.registry.register(_Loads())
        ProcessCollector(registry=self.registry)

    def _watch(self, admission: Admission) -> None:
        for name, text, value in (
            ("queue_waiting", "Pieces of work for which no thread is free", lambda: admission.waiting),
            ("computing", "Threads at work", lambda: admission.computing),
            ("queue_inside", "Requests that upload, wait or compute", lambda: admission.inside),
            ("upload_bytes", "Uploaded bytes held in memory", lambda: admission.upload_bytes),
        ):
            Gauge(f"imagefinder_{name}", text, registry=self.registry).set_function(value)

    def watch_jobs(self, count: Callable[[str], int]) -> None:
        """Tell the jobs from now on.

        Args:
            count: Gives how many are in a state.
        """
        jobs = Gauge("imagefinder_jobs", "Jobs that have not ended", ("state",), registry=self.registry)
        for state in ("queued", "running"):
            jobs.labels(state).set_function(partial(count, state))

    def request_begins(self) -> None:
        """A request came."""
        self._in_flight.inc()

    def request_ends(self, method: str, route: str, status: int, code: str, seconds: float) -> None:
        """A request was answered.

        Args:
            method: HTTP method as it was sent.
            route: Its template, or ``NO_ROUTE``.
            status: HTTP status; 0 where the client left first.
            code: Of the problem it was answered with; empty for none.
            seconds: How long it took.
        """
        verb = method if method in VERBS else OTHER
        self._in_flight.dec()
        self._requests.labels(verb, route, str(status)).inc()
        self._seconds.labels(verb, route).observe(seconds)
        if code:
            self._problems.labels(code).inc()

    def observe_search(self, result: SearchResult) -> None:
        """Count a search and the time of its stages."""
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
        """A method was loaded, or failed to."""
        name = method if method in self._methods else OTHER
        self._loads.labels(name, "failed" if failed else "loaded").inc()
        self._load_seconds.labels(name).set(seconds)

    def ready(self, seconds: float) -> None:
        """The service is ready."""
        self._ready_seconds.set(seconds)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All numbers in the format that a scraper prefers.

        Args:
            accept: Its ``Accept`` header.

        Returns:
            The text, and its content type.
        """
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


class _Sizes(Collector):
    """How large the collections are."""

    def __init__(self, collections: Collections, methods: frozenset[str]) -> None:
        self._collections = collections
        self._methods = methods
        self._known: Mapping[str, StoreInfo] = {}
        self._at = -_SIZES_SECONDS

    def describe(self) -> Iterable[Metric]:
        """Nothing: so that registering does not collect."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The sizes now, or a few seconds ago; those last known while a collection cannot be read."""
        if time.monotonic() - self._at >= _SIZES_SECONDS:
            # /health and the log say why it cannot be read; the other numbers must not be lost for it.
            with contextlib.suppress(ImagefinderError):
                self._known = dict(self._collections())
            self._at = time.monotonic()
        images = GaugeMetricFamily("imagefinder_collection_images", "Images", labels=("collection",))
        failures = GaugeMetricFamily(
            "imagefinder_collection_failures", "Images that could not be indexed", labels=("collection",)
        )
        on_disk = GaugeMetricFamily("imagefinder_collection_bytes", "Bytes on disk", labels=("collection",))
        features = GaugeMetricFamily(
            "imagefinder_collection_features", "Images with features", labels=("collection", "method")
        )
        for name, info in self._known.items():
            images.add_metric((name,), info.images)
            failures.add_metric((name,), info.failures)
            on_disk.add_metric((name,), info.bytes_on_disk)
            for method, held in info.methods.items():
                if method in self._methods:
                    features.add_metric((name, method), held.images)
        yield from (images, failures, on_disk, features)


class _Loads(Collector):
    """The networks this process has loaded, at the start or when they were first needed."""

    def describe(self) -> Iterable[Metric]:
        """Nothing: so that registering does not collect."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """What has been loaded until now."""
        times = CounterMetricFamily("imagefinder_network_loads", "Networks loaded", labels=("network", "outcome"))
        seconds = CounterMetricFamily(
            "imagefinder_network_load_seconds", "Time that took", labels=("network", "outcome")
        )
        for (network, outcome), load in loads.so_far().items():
            times.add_metric((network, outcome), load.times)
            seconds.add_metric((network, outcome), load.seconds)
        yield from (times, seconds)
