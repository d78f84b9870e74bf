"""The server on a collection in PostgreSQL, which is killed and comes back."""

from __future__ import annotations

import json
import time

import httpx2
from example_pictures import jpeg
from service import Service

import imagefinder


def search(service):
    answer = httpx2.post(f"{service.url}/v1/collections/default/search", files={"image": jpeg(1)}, timeout=60)
    return answer.status_code, answer.json()


def test_database_that_is_away_is_an_error_with_a_code(own_postgres, tmp_path):
    url = f"{own_postgres.url(own_postgres.new_database())}/shop"
    with imagefinder.open(url) as collection:
        for number in range(3):
            collection.put(f"{number}", jpeg(number))
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    with Service(tmp_path, environment=environment, collection=url, database_seconds="2") as service:
        status, found = search(service)
        assert status == 200, (found, service.lines)
        assert found["hits"][0]["id"] == "1"
        own_postgres.kill()
        began = time.monotonic()
        status, problem = search(service)
        assert (status, problem["code"], problem["retryable"]) == (503, "store_unavailable", True)
        assert time.monotonic() - began < 30
        assert own_postgres.password not in json.dumps(problem) + "".join(service.lines)
        own_postgres.start()
        status, found = search(service)
        assert (status, found["hits"][0]["id"]) == (200, "1")
