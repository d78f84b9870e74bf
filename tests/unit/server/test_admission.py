from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import ClientDisconnect
from starlette.testclient import TestClient

from imagefinder.core.settings import Settings
from imagefinder.server import request_context
from imagefinder.server.admission import Admission
from imagefinder.server.app import create_app
from imagefinder.server.errors import Problem
from imagefinder.server.request_context import Caller, RequestContext


def test_requests_are_counted_and_released() -> None:
    release = threading.Event()

    async def ask(admission: Admission) -> object:
        with admission.admit():
            return await admission.run(release.wait)

    async def all_of_it() -> None:
        admission = Admission(running=1, requests=2, max_bytes=10)
        for _ in range(2):
            release.clear()
            tasks = [asyncio.ensure_future(ask(admission)) for _ in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(Problem) as caught, admission.admit():
                pass
            assert caught.value.code == "busy"
            assert caught.value.headers == {"Retry-After": "1"}
            release.set()
            assert await asyncio.gather(*tasks) == [True, True]
            while admission.admitted:
                await asyncio.sleep(0.005)

    asyncio.run(asyncio.wait_for(all_of_it(), 20))


def test_a_slow_upload_occupies_no_place() -> None:
    async def all_of_it() -> None:
        admission = Admission(running=1, requests=1, max_bytes=10)
        with admission.admit() as reserve:
            reserve(3)
            assert admission.admitted == 1
            assert await asyncio.create_task(ask_small(admission)) == "done"

    async def ask_small(admission: Admission) -> str:
        with admission.admit():
            return await admission.run(lambda: "done")

    asyncio.run(asyncio.wait_for(all_of_it(), 20))


def test_clients_share_places_bytes_and_threads() -> None:
    release, order = threading.Event(), list[str]()

    async def ask(admission: Admission, client: str) -> None:
        request_context.current.set(RequestContext(caller=Caller(client)))
        with admission.admit():
            await admission.run(lambda: (order.append(client), release.wait()))

    async def all_of_it() -> None:
        admission = Admission(running=1, requests=8, max_bytes=100, request_bytes=10)
        tasks = [asyncio.create_task(ask(admission, "a")) for _ in range(7)]
        await asyncio.sleep(0)
        assert [task.done() for task in tasks] == [False] * 6 + [True], "three quarters of the places"
        tasks.append(asyncio.create_task(ask(admission, "b")))
        await asyncio.sleep(0)
        assert admission.waiting == 6
        release.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(result, Problem) for result in results] == [False] * 6 + [True, False]
        assert "".join(order) == "aabaaaa", "b waits for one unit, not for all of a"
        request_context.current.set(RequestContext(caller=Caller("a")))
        with admission.admit() as reserve:
            reserve(75)
            with pytest.raises(Problem, match="max_upload_bytes"):
                reserve(1)

    asyncio.run(asyncio.wait_for(all_of_it(), 20))


def test_upload_bytes_are_counted_and_released() -> None:
    admission = Admission(running=1, requests=5, max_bytes=10)
    with admission.admit() as first:
        first(4)
        first(4)
        with admission.admit() as second:
            second(2)
            with pytest.raises(Problem, match="uploads"):
                second(1)
        with admission.admit() as third:
            third(2)
    with admission.admit() as fourth:
        fourth(10)


def test_the_number_of_running_requests_is_limited() -> None:
    admission = Admission(running=2, requests=9, max_bytes=1)
    lock, now, most = threading.Lock(), 0, 0
    pair = threading.Barrier(2, timeout=10)

    def work() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        pair.wait()  # passes only if two run at the same time
        with lock:
            now -= 1

    async def all_of_them() -> None:
        await asyncio.gather(*(admission.run(work) for _ in range(8)))

    asyncio.run(all_of_them())
    assert most == 2


def test_a_full_server_answers_busy_and_stays_healthy(fake: Any) -> None:
    fake.settings = Settings(concurrent=2, queue=2)  # of four places, one client gets three
    fake.gate.clear()
    with TestClient(create_app(fake)) as client:
        answers: list[Any] = []

        def ask() -> None:
            answers.append(client.post("/sift-similar-images", files={"image": b"x"}))

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        while len(answers) < 3:  # requests beyond the limit are refused while the others wait
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


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_timed_out_request_occupies_its_slot_until_its_work_ends() -> None:
    release = threading.Event()

    async def ask(admission: Admission) -> None:
        with admission.admit() as reserve:
            reserve(7)
            await admission.run(release.wait)

    async def all_of_it() -> None:
        admission = Admission(running=1, requests=3, max_bytes=10, seconds=1)
        running, waiting = await asyncio.gather(ask(admission), ask_small(admission), return_exceptions=True)
        assert isinstance(running, Problem)
        assert isinstance(waiting, Problem)
        assert (running.code, waiting.code) == ("timed_out", "timed_out")
        assert "did not finish" in running.detail
        assert "did not start" in waiting.detail
        assert int(running.headers["Retry-After"]) >= 1
        await asyncio.sleep(0)
        # The thread is still busy, so its slot and bytes are in use; the waiting work is gone.
        assert (admission.computing, admission.waiting, admission.admitted, admission.upload_bytes) == (1, 0, 1, 7)
        release.set()
        while admission.admitted:
            await asyncio.sleep(0.005)
        assert (admission.computing, admission.waiting, admission.admitted, admission.upload_bytes) == (0, 0, 0, 0)
        assert await admission.run(lambda: "works on") == "works on"

    async def ask_small(admission: Admission) -> None:
        with admission.admit() as reserve:
            reserve(3)
            await admission.run(lambda: None)

    asyncio.run(asyncio.wait_for(all_of_it(), 20))


def test_all_work_of_a_request_shares_one_time_limit() -> None:
    async def all_of_it() -> None:
        admission = Admission(running=1, requests=1, max_bytes=1, seconds=0.4)

        async def in_pieces() -> None:
            with admission.admit():
                for _ in range(100):
                    await admission.run(lambda: time.sleep(0.02))

        with pytest.raises(Problem, match=r"within 0\.4 s"):
            await in_pieces()
        while admission.admitted:
            await asyncio.sleep(0.005)

    asyncio.run(asyncio.wait_for(all_of_it(), 20))


def test_work_for_a_disconnected_client_does_not_start() -> None:
    admission = Admission(running=1, requests=2, max_bytes=10)
    done: list[str] = []

    async def ask(gone: bool) -> None:
        request_context.current.set(RequestContext(gone=lambda: gone))
        with admission.admit():
            await admission.run(lambda: done.append("left" if gone else "waits"))

    async def both() -> None:
        with pytest.raises(ClientDisconnect):
            await asyncio.create_task(ask(gone=True))
        await asyncio.create_task(ask(gone=False))
        await asyncio.sleep(0)

    asyncio.run(both())
    assert (done, admission.admitted, admission.computing, admission.waiting) == (["waits"], 0, 0, 0)


def test_a_failure_releases_the_slot() -> None:
    async def all_of_it() -> None:
        admission = Admission(running=1, requests=1, max_bytes=5, seconds=5)

        async def fails() -> None:
            with admission.admit() as reserve:
                reserve(5)
                await admission.run(lambda: 1 / 0)

        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await fails()
        assert (admission.computing, admission.waiting, admission.admitted, admission.upload_bytes) == (0, 0, 0, 0)

    asyncio.run(all_of_it())


def test_busy_estimates_the_waiting_time() -> None:
    release = threading.Event()

    async def waits(admission: Admission) -> None:
        with admission.admit():
            await admission.run(release.wait)

    async def all_of_it() -> None:
        admission = Admission(running=2, requests=20, max_bytes=1)
        tasks = [asyncio.ensure_future(waits(admission)) for _ in range(20)]
        while admission.waiting < 18:
            await asyncio.sleep(0.005)
        with pytest.raises(Problem) as caught, admission.admit():
            pass
        assert caught.value.headers == {"Retry-After": "5"}  # 19 units of half a second, two at a time
        release.set()
        await asyncio.gather(*tasks)

    asyncio.run(asyncio.wait_for(all_of_it(), 20))


def test_a_slow_search_times_out(fake: Any) -> None:
    fake.settings = Settings(concurrent=1, request_seconds=1)
    fake.gate.clear()
    app = create_app(fake)
    with TestClient(app) as client:
        response = client.post("/sift-similar-images", files={"image": b"x"})
        assert (response.status_code, response.json()["code"]) == (503, "timed_out")
        assert response.headers["retry-after"]
        assert client.get("/health/live").status_code == 200
        fake.gate.set()
        wait_until(lambda: app.state.service.admission.admitted == 0)
        assert client.post("/sift-similar-images", files={"image": b"x"}).status_code == 200
