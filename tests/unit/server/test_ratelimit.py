from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from imagefinder.core.settings import Settings
from imagefinder.server import ratelimit
from imagefinder.server.app import create_app
from imagefinder.server.errors import Problem
from imagefinder.server.keys.folders import FolderKeys
from imagefinder.server.ratelimit import RateLimit


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def taken(rates: RateLimit, client: str, tries: int) -> int:
    count = 0
    for _ in range(tries):
        try:
            rates.take(client)
            count += 1
        except Problem:
            pass
    return count


def test_a_burst_is_allowed_and_then_the_rate() -> None:
    clock = Clock()
    rates = RateLimit(30, clock=clock)
    assert taken(rates, "a", 50) == 30
    assert taken(rates, "b", 1) == 1
    with pytest.raises(Problem) as caught:
        rates.take("a")
    assert (caught.value.code, caught.value.headers) == ("rate_limited", {"Retry-After": "2"})
    clock.now += 2
    assert taken(rates, "a", 5) == 1
    clock.now += 10_000
    assert taken(rates, "a", 50) == 30


def test_waiting_for_retry_after_is_sufficient() -> None:
    clock = Clock()
    rates = RateLimit(7, clock=clock)
    taken(rates, "a", 7)
    for _ in range(100):
        with pytest.raises(Problem) as caught:
            rates.take("a")
        clock.now += int(caught.value.headers["Retry-After"])
        rates.take("a")
        taken(rates, "a", 3)


def test_refused_requests_take_no_token() -> None:
    clock = Clock()
    rates = RateLimit(60, clock=clock)
    assert taken(rates, "a", 1000) == 60
    clock.now += 1
    assert taken(rates, "a", 10) == 1


def test_no_limit() -> None:
    assert taken(RateLimit(0), "a", 1000) == 1000


def test_the_number_of_buckets_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratelimit, "MAX_CLIENTS", 10)
    rates = RateLimit(1, clock=Clock())
    for number in range(1000):
        rates.take(str(number))
    assert len(rates._buckets) == 10
    assert taken(rates, "999", 1) == 0


def test_each_key_has_its_own_rate_and_health_is_not_limited(fake: Any, tmp_path: Path) -> None:
    fake.settings = Settings(auth="on", state=tmp_path, requests_per_minute=2)
    file = FolderKeys(tmp_path)
    first, second = ({"x-api-key": file.create(name, "read")} for name in "ab")
    client = TestClient(create_app(fake))
    assert [client.get("/metrics", headers=first).status_code for _ in range(3)] == [200, 200, 429]
    refused = client.get("/metrics", headers=first)
    assert (refused.json()["code"], refused.json()["limit"]) == ("rate_limited", 2)
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert client.get("/metrics", headers=second).status_code == 200
    assert {client.get(path).status_code for path in ("/health", "/", "/docs") for _ in range(5)} == {200}


def test_without_keys_each_address_has_its_own_rate(fake: Any) -> None:
    fake.settings = Settings(requests_per_minute=1)
    app = create_app(fake)
    one, other = TestClient(app, client=("192.0.2.1", 1)), TestClient(app, client=("192.0.2.2", 1))
    assert [one.get("/metrics").status_code for _ in range(2)] == [200, 429]
    assert other.get("/metrics").status_code == 200
