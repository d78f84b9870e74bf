"""The guide agrees with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from imagefinder.core.settings import Settings
from imagefinder.server import upload, v0
from imagefinder.server.errors import KINDS

GUIDE = (Path(__file__).parents[3] / "docs" / "guides" / "rest-api.md").read_text()


def test_the_guide_lists_all_problem_codes() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (yes|no) \|", GUIDE, re.MULTILINE)
    assert {code: (int(status), answer == "yes") for code, status, answer in rows} == {
        code: (kind.status, kind.retryable) for code, kind in KINDS.items()
    }
    assert len(rows) == len(KINDS)


@pytest.mark.parametrize(
    "words",
    [
        f"1 to {v0.MAX_K} are accepted",
        f"whole number from 1 to {v0.MAX_K}",
        f"{upload.MAX_PARTS} parts and {upload.FORM_OVERHEAD >> 20} MiB",
        f"no data arrived for {upload.IDLE_SECONDS:.0f} seconds",
        f"or the upload took longer than {upload.UPLOAD_SECONDS:.0f}",
        f"more than {Settings().queue} requests wait",
        f"up to {Settings().queue} further requests",
        f"{Settings().shutdown_seconds:.0f} seconds to finish",
        f"{Settings().max_image_bytes >> 20} MiB and {Settings().max_image_pixels // 10**6} million pixels",
        f"on port {Settings().port}",
        f"listens on `{Settings().host}` only",
    ],
)
def test_the_guide_states_the_current_limits(words: str) -> None:
    assert words in " ".join(GUIDE.split())
