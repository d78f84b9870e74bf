from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter
from starlette.testclient import TestClient

import imagefinder
from imagefinder.core.errors import CollectionCorruptError, StoreUnavailableError
from imagefinder.core.records import AnnIndexState
from imagefinder.core.results import SearchResult
from imagefinder.core.settings import Settings
from imagefinder.models import loads
from imagefinder.server import metrics as metrics_module
from imagefinder.server.admission import Admission
from imagefinder.server.app import create_app


def numbers(client: TestClient) -> dict[str, float]:
    """Sample -> value."""
    text = client.get("/metrics").text
    return {name: float(value) for name, value in re.findall(r"^([^#]\S*(?:\{.*\})?) (\S+)$", text, re.MULTILINE)}


def test_requests_are_counted_by_route_not_by_path(client: TestClient) -> None:
    for path in ("/sift-similar-images", "/nothing/1", "/nothing/2", "/surf-similar-images"):
        client.post(path, files={"image": b"x"})
    client.request("BREW", "/health")
    client.get("/health/live")
    found = numbers(client)
    counted = {name: value for name, value in found.items() if name.startswith("imagefinder_http_requests_total")}
    assert counted == {
        'imagefinder_http_requests_total{method="POST",route="/sift-similar-images",status="200"}': 1,
        'imagefinder_http_requests_total{method="POST",route="(none)",status="404"}': 2,
        'imagefinder_http_requests_total{method="POST",route="/{method}-similar-images",status="404"}': 1,
        'imagefinder_http_requests_total{method="other",route="/health",status="405"}': 1,
        'imagefinder_http_requests_total{method="GET",route="/health/live",status="200"}': 1,
    }
    assert found['imagefinder_problems_total{code="not_found"}'] == 2
    assert found['imagefinder_http_request_seconds_count{method="GET",route="/health/live"}'] == 1
    assert found["imagefinder_http_requests_in_flight"] == 1  # this one
    assert found["imagefinder_queue_inside"] == found["imagefinder_computing"] == 0


def test_the_route_of_a_nested_router_is_complete(fake: Any) -> None:
    inner, outer = APIRouter(prefix="/images"), APIRouter()

    @inner.get("/{image_id:path}")
    async def image(image_id: str) -> str:
        return image_id

    outer.include_router(inner, prefix="/{c}")
    app = create_app(fake)
    app.include_router(outer, prefix="/plug-in")
    client = TestClient(app)
    assert client.get("/plug-in/default/images/a/b").json() == "a/b"
    assert any('route="/plug-in/{c}/images/{image_id}"' in name for name in numbers(client))


def test_searches_report_their_stages(client: TestClient, fake: Any) -> None:
    client.post("/sift-similar-images", files={"image": b"x"})
    found = numbers(client)
    assert found['imagefinder_searches_total{method="sift",mode="exact"}'] == 1
    assert found['imagefinder_search_stage_seconds_count{method="sift",stage="total"}'] == 1


def test_label_values_are_bounded(fake: Any) -> None:
    app = create_app(fake)
    for number in range(100):
        app.state.service.metrics.observe_search(
            SearchResult((), f"method {number}", "exact", {}, 0, {f"stage {number}": 1.0, "match": 1.0})
        )
        app.state.service.metrics.method_loaded(f"method {number}", 1.0, failed=False)
    with TestClient(app) as client:
        found = numbers(client)
    assert found['imagefinder_search_stage_seconds_count{method="other",stage="other"}'] == 100
    assert found['imagefinder_model_loads_total{method="other",outcome="loaded"}'] == 100
    assert not [name for name in found if "method 1" in name or "stage 1" in name]


def test_sizes_and_loads(fake: Any) -> None:
    fake.warm_error = ValueError("broken")
    with TestClient(create_app(fake, warm=["sift"])) as client:
        while client.get("/health/ready").status_code != 200:
            pass
        found = numbers(client)
    assert found['imagefinder_collection_images{collection="default"}'] == 4
    assert found['imagefinder_collection_failures{collection="default"}'] == 2
    assert found['imagefinder_collection_bytes{collection="default"}'] == 100
    assert found['imagefinder_collection_features{collection="default",method="sift"}'] == 4
    assert found['imagefinder_model_loads_total{method="sift",outcome="failed"}'] == 1
    assert found["imagefinder_ready_seconds"] > 0
    assert any(name.startswith("imagefinder_build_info{") for name in found)
    assert found["process_resident_memory_bytes"] > 0


def test_late_network_loads_and_jobs_are_reported(client: TestClient) -> None:
    with loads.counted("some-network"):
        pass
    found = numbers(client)
    assert found['imagefinder_network_loads_total{network="some-network",outcome="loaded"}'] >= 1
    assert found['imagefinder_network_load_seconds_total{network="some-network",outcome="loaded"}'] > 0
    assert found['imagefinder_jobs{state="queued"}'] == found['imagefinder_jobs{state="running"}'] == 0


def test_collection_sizes_are_cached_and_survive_errors(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    info = fake.info

    def counted() -> Any:
        nonlocal calls
        calls += 1
        return info()

    fake.info = counted
    with TestClient(create_app(fake)) as client:
        before = calls
        for _ in range(5):
            numbers(client)
        assert calls - before == 1
        monkeypatch.setattr(metrics_module, "_SIZES_SECONDS", 0.0)
        fake.info_error = CollectionCorruptError("x")
        assert numbers(client)['imagefinder_collection_images{collection="default"}'] == 4
        assert calls - before == 2


def test_two_applications_share_no_metrics(fake: Any) -> None:
    one, other = TestClient(create_app(fake)), TestClient(create_app(fake))
    one.get("/health/live")
    assert not any("/health/live" in name for name in numbers(other))


def test_all_open_collections_are_reported(fake: Any, tmp_path: Path) -> None:
    fake.settings = Settings(collections=tmp_path / "collections", state=tmp_path / "state")
    with TestClient(create_app(fake)) as client:
        assert client.put("/v1/collections/other").status_code == 201
        found = numbers(client)
    assert found['imagefinder_collection_images{collection="default"}'] == 4
    assert found['imagefinder_collection_images{collection="other"}'] == 0


def test_the_stages_are_those_of_a_search() -> None:
    package = Path(imagefinder.__file__).parent
    text = "".join((package / name).read_text() for name in ("collection/searching.py", "search/searcher.py"))
    assert {*re.findall(r'watch\.lap\("(\w+)"\)', text), "total"} == metrics_module.STAGES


def test_engines_and_indexes_are_reported(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_module, "_SIZES_SECONDS", 0.0)
    client = TestClient(create_app(fake))
    assert numbers(client)["imagefinder_store_available"] == 1
    fake.engine_measures = {"database_standbys": 1.0, "database_standby_lag_seconds": 0.25}
    fake.states = [
        AnnIndexState("sift", 10, 7, 3, 1, 100, kept=True),
        AnnIndexState("x", 1, 0, 1, 0, 0, kept=True),
    ]
    found = numbers(client)
    assert found["imagefinder_database_standbys"] == 1
    assert found["imagefinder_database_standby_lag_seconds"] == 0.25
    waiting = {name: value for name, value in found.items() if "index_waiting" in name}
    assert waiting == {'imagefinder_index_waiting_images{method="sift"}': 3}  # x is no installed method
    fake.engine_error = StoreUnavailableError("away")
    found = numbers(client)
    assert found["imagefinder_store_available"] == 0
    assert not [name for name in found if "standby" in name or "index_waiting" in name]


def test_engines_that_hang_do_not_hold_a_scrape(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known stays; while a read hangs, there is no second one."""
    monkeypatch.setattr(metrics_module, "_SIZES_SECONDS", 0.0)
    monkeypatch.setattr(metrics_module, "_SCRAPE_SECONDS", 0.5)
    client = TestClient(create_app(fake))
    images = 'imagefinder_collection_images{collection="default"}'
    before = numbers(client)
    assert before["imagefinder_store_available"] == 1
    answers, reads = threading.Event(), list[str]()

    def hang(name: str, call: Any) -> Any:
        def read(*arguments: Any) -> Any:
            reads.append(name)
            answers.wait(30)
            return call(*arguments)

        return read

    monkeypatch.setattr(fake, "info", hang("info", fake.info))
    monkeypatch.setattr(fake, "probe", hang("probe", fake.probe))
    for _ in range(2):
        begun = time.monotonic()
        found = numbers(client)
        assert time.monotonic() - begun < 5
        assert (found["imagefinder_store_available"], found[images]) == (0, before[images])
        assert found["imagefinder_http_requests_in_flight"] == 1
    assert reads == ["info", "probe"]
    answers.set()
    end = time.monotonic() + 10
    while numbers(client)["imagefinder_store_available"] != 1:
        assert time.monotonic() < end
    assert numbers(client)[images] == before[images]


def test_jobs_that_cannot_be_counted_are_not_a_number() -> None:
    counted = metrics_module.Metrics(
        version="1", admission=Admission(running=1, requests=1, max_bytes=1), methods=(), collections=list
    )

    def count(_state: str) -> int:
        raise StoreUnavailableError("no answer")

    counted.watch_jobs(count)
    text = counted.exposition("")[0].decode()
    assert 'imagefinder_jobs{state="queued"} NaN' in text
    assert "NaN if they cannot be counted within 5 s" in text
