from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from starlette.testclient import TestClient

from imagefinder.core.settings import Settings
from imagefinder.server.app import create_app
from imagefinder.server.errors import Problem
from imagefinder.server.gate import Gate


def test_places_are_counted_and_given_back() -> None:
    gate = Gate(running=1, requests=2, max_bytes=10)
    with gate.admit(), gate.admit():
        with pytest.raises(Problem) as caught, gate.admit():
            pass
        assert caught.value.code == "busy"
        assert caught.value.headers == {"Retry-After": "1"}
    with gate.admit(), gate.admit():
        pass


def test_bytes_are_counted_and_given_back() -> None:
    gate = Gate(running=1, requests=5, max_bytes=10)
    with gate.admit() as first:
        first(4)
        first(4)
        with gate.admit() as second:
            second(2)
            with pytest.raises(Problem, match="uploads"):
                second(1)
        with gate.admit() as third:
            third(2)
    with gate.admit() as fourth:
        fourth(10)


def test_so_many_run_at_once_and_no_more() -> None:
    gate = Gate(running=2, requests=9, max_bytes=1)
    lock, now, most = threading.Lock(), 0, 0
    pair = threading.Barrier(2, timeout=10)

    def work() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        pair.wait()  # passes only if two run at once
        with lock:
            now -= 1

    async def all_of_them() -> None:
        await asyncio.gather(*(gate.run(work) for _ in range(8)))

    asyncio.run(all_of_them())
    assert most == 2


def test_a_full_server_answers_busy_and_health_still_answers(fake: Any) -> None:
    fake.settings = Settings(concurrent=2, queue=1)
    fake.gate.clear()
    with TestClient(create_app(fake)) as client:
        answers: list[Any] = []

        def ask() -> None:
            answers.append(client.post("/sift-similar-images", files={"image": b"x"}))

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        while len(answers) < 3:  # those beyond the limit are answered while the others are held back
            threading.Event().wait(0.01)
        assert [answer.json()["code"] for answer in answers] == ["busy"] * 3
        assert {answer.headers["retry-after"] for answer in answers} == {"1"}
        assert client.get("/health").status_code == 200
        assert len(fake.queries) == 2  # concurrent
        fake.gate.set()
        for thread in threads:
            thread.join(10)
        assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * 3
        assert client.post("/sift-similar-images", files={"image": b"x"}).status_code == 200
