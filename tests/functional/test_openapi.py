"""Valid and invalid requests to each endpoint, generated from the OpenAPI description: responses must match it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from PIL import Image
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error, positive_data_acceptance
from schemathesis.core.failures import FailureGroup

from imagefinder.core.jobs import Job
from imagefinder.core.settings import Settings
from imagefinder.server.app import create_app
from imagefinder.server.jobs.manager import JobManager
from imagefinder.wiring import open_collection

PICTURES = Path(__file__).parents[2] / "examples" / "pictures"

FEW = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


CONTENTS = {
    "not_an_image",
    "empty_image",
    "damaged_image",
    "invalid_image",
    "invalid_input",
    "malformed_json",
    "invalid_filter",
}
"""Codes for errors that a schema cannot express: the content of images, and JSON in query parameters."""

IN_WORDS = {"cursor", "id", "filter", "box", "method", "metadata", "base64", "a.base64", "b.base64"}
"""Fields whose constraints a schema expresses only in part."""


class NoNewJobs:
    """Reports a running job instead of starting one; otherwise the jobs of the service."""

    running = Job("1", "duplicates", "default", "running", "2026-01-01T00:00:00.000Z")

    def __init__(self, jobs: JobManager) -> None:
        self.jobs = jobs

    def __getattr__(self, name: str) -> Any:
        return getattr(self.jobs, name)

    def start_put(self, *_: Any, **__: Any) -> Job:
        return self.running

    def find(self, kind: str, collection: str) -> Job | None:
        return self.running if kind == "duplicates" else None


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("openapi")
    chosen = Settings(
        collection=folder / "default",
        collections=folder / "collections",
        state=folder / "state",
        threads=2,
        models=folder / "no-models",
        url_queries=False,
        max_image_bytes=1 << 20,
    )
    collection = open_collection(chosen, create=True)
    for name in ("cat.jpg", "coins.jpg", "dogs.jpg"):
        with Image.open(PICTURES / name) as image:  # small: only the protocol is tested
            image.thumbnail((160, 160))
            image.save(folder / name)
    collection.add(*folder.glob("*.jpg"), methods=["sift"])
    collection.calibrate()
    listener = socket.create_server(("127.0.0.1", 0))
    app = create_app(collection)
    app.state.service.jobs = NoNewJobs(app.state.service.jobs)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    end = time.monotonic() + 120
    while not server.started and time.monotonic() < end:
        time.sleep(0.02)
    yield schemathesis.openapi.from_url(f"http://127.0.0.1:{listener.getsockname()[1]}/openapi.json")
    server.should_exit = True
    thread.join(60)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_all_responses_match_the_description(api: Any, mode: GenerationMode) -> None:
    broken, sent = [], 0
    search = {"id": "cat.jpg"}
    base = api.location.removesuffix("/openapi.json")
    found = httpx2.post(f"{base}/v1/collections/default/search", json=search, timeout=300)
    handle = found.json()["explanations"]["handle"]
    for found in api.get_all_operations():
        operation, answers = found.ok(), []

        @FEW
        @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
        def ask(case: Any, data: Any) -> None:
            if data.draw(st.booleans()) and mode is GenerationMode.POSITIVE and case.method != "DELETE":
                real = {"collection": "default", "image_id": "cat.jpg", "handle": handle}
                case.path_parameters.update({k: v for k, v in real.items() if k in case.path_parameters})
            response = case.call(timeout=300)
            answers.append(response.status_code)  # noqa: B023 - called immediately
            problem = response.json() if response.status_code >= 400 else {}
            excluded = []
            if problem.get("code") == "model_missing":  # no weights are installed
                excluded = [not_a_server_error]
            elif problem.get("code") in CONTENTS or problem.get("field", "").split(".")[-1] in IN_WORDS:
                excluded = [positive_data_acceptance]
            case.validate_response(response, excluded_checks=excluded)

        try:
            ask()
        except Unsatisfiable:  # no invalid request exists
            pass
        except (FailureGroup, AssertionError) as error:  # report the errors of all operations together
            broken.append(f"{operation.label}: {error} {getattr(error, 'exceptions', '')}")
        sent += len(answers)
    assert not broken, "\n\n".join(broken)
    assert sent > 90
