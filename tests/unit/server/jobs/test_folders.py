from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from imagefinder.server.jobs.folders import FolderJobs
from imagefinder.server.jobs.store import JobStore
from imagefinder.testing.services import JobsSuite
from imagefinder.testing.services.jobs import MAX_QUEUED


class TestFolderJobs(JobsSuite):
    @pytest.fixture
    def make_jobs(self, tmp_path: Path) -> Callable[[], FolderJobs]:
        return lambda: FolderJobs(JobStore(tmp_path / "state", tmp_path / "collection"), MAX_QUEUED)
