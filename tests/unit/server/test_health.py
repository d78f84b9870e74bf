from __future__ import annotations

import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
from starlette.testclient import TestClient

from imagefinder.core.errors import CollectionCorruptError, ModelCorruptError, ObjectsUnavailableError
from imagefinder.server.app import create_app


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_health_reports_the_state(client: TestClient) -> None:
    assert client.get("/health").json() == {
        "status": "ready",
        "live": True,
        "ready": True,
        "version": version("imagefinder"),
        "collection": {"open": True, "images": 4, "failures": 2, "calibration": "none"},
        "methods": [
            {"name": "beit", "ready": False, "reason": "no weights", "hint": "pull them", "images": 0},
            {"name": "sift", "ready": True, "reason": "", "hint": "", "images": 4},
        ],
    }
    assert client.get("/health/live").json() == {"live": True}
    assert client.get("/health/ready").json() == {"ready": True}


def test_live_immediately_and_ready_after_the_warm_up(fake: Any) -> None:
    fake.gate.clear()
    with TestClient(create_app(fake, warm=["sift"])) as client:
        assert client.get("/health/live").status_code == 200
        response = client.get("/health/ready")
        assert (response.status_code, response.json()["code"]) == (503, "not_ready")
        assert response.json()["retryable"] is True
        assert response.headers["retry-after"] == "1"
        health = client.get("/health").json()
        assert (health["status"], health["ready"]) == ("starting", False)
        assert health["methods"][1]["reason"] == "the method is being loaded"
        fake.gate.set()
        wait_until(lambda: client.get("/health/ready").status_code == 200)
        assert fake.warmed == ["sift"]
        assert client.get("/health").json()["methods"][1]["ready"] is True


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ModelCorruptError("bad hash", hint="pull again"), "bad hash"),
        (ZeroDivisionError("x"), "the method failed to load"),
    ],
)
def test_a_method_that_fails_to_load_does_not_block_readiness(fake: Any, error: Exception, reason: str) -> None:
    fake.warm_error = error
    with TestClient(create_app(fake, warm=["sift", "beit"])) as client:
        wait_until(lambda: client.get("/health/ready").status_code == 200)
        assert fake.warmed == ["sift", "beit"]
        beit, sift = client.get("/health").json()["methods"]
        assert (sift["ready"], sift["reason"]) == (False, reason)
        assert beit["reason"] == "no weights"
        # The method works now, so the old failure is cleared.
        assert client.post("/sift-similar-images", files={"image": b"x"}).status_code == 200
        assert client.get("/health").json()["methods"][1]["ready"] is True


def test_an_unreadable_collection_is_not_ready(client: TestClient, fake: Any) -> None:
    fake.info_error = CollectionCorruptError("/secret/place is damaged")
    response = client.get("/health")
    assert response.status_code == 200
    assert (response.json()["status"], response.json()["collection"]["open"]) == ("unavailable", False)
    assert client.get("/health/ready").status_code == 503
    assert client.get("/health/live").status_code == 200
    assert "secret" not in response.text + client.get("/health/ready").text


def test_the_collection_is_closed_at_shutdown(fake: Any) -> None:
    with TestClient(create_app(fake, warm=["sift"])):
        assert not fake.closed
    assert fake.closed


def test_a_service_is_not_ready_while_an_engine_is_away(fake: Any, caplog: pytest.LogCaptureFixture) -> None:
    with TestClient(create_app(fake)) as client:
        wait_until(lambda: client.get("/health/ready").status_code == 200)
        fake.engine_error = ObjectsUnavailableError("the object store did not answer within 3 s")
        assert client.get("/health/ready").status_code == 503
        health = client.get("/health").json()
        assert (health["status"], health["live"], health["ready"]) == ("unavailable", True, False)
        assert "the object store did not answer within 3 s" in caplog.text
        assert client.get("/health/live").status_code == 200
        fake.engine_error = None
        assert client.get("/health/ready").status_code == 200
