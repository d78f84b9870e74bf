"""How many items are discovered in advance."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from indexing_world import World, outcome

from imagefinder.core.records import Failure
from imagefinder.indexing import pipeline, reader
from imagefinder.indexing import progress as progress_module
from imagefinder.indexing.discover import discover
from imagefinder.indexing.progress import Progress


def test_prefetching_is_bounded(world: World, pics: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "_PREFETCH_ITEMS", 20)
    monkeypatch.setattr(progress_module, "_REPORT_INTERVAL", 0.0)
    monkeypatch.setattr(pipeline, "_LOOKUP_ITEMS", 5)
    monkeypatch.setattr(reader, "_PREFETCH_TASKS", 5)
    given = []

    def many() -> Iterator[Any]:
        for n in range(500):
            given.append(n)
            yield Failure(f"{n}", "", "x", "")
        yield from discover([pics])

    def check(progress: Progress) -> None:
        time.sleep(0.001)
        reported.append(progress.done)
        assert len(given) <= progress.done + 20 + 1

    reported: list[int] = []
    report = world.add(items=many(), progress=check)
    assert len(reported) > 50
    assert outcome(report) == (10, 0, 0, 500, 0)
