from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from imagefinder.server.keys.folders import FolderKeys
from imagefinder.testing.services import KeysSuite


class TestFolderKeys(KeysSuite):
    @pytest.fixture
    def make_keys(self, tmp_path: Path) -> Callable[[], FolderKeys]:
        return lambda: FolderKeys(tmp_path / "state")
