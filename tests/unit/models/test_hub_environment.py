"""The variables of the model hub mean the same to imagefinder as to the package ``huggingface_hub``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagefinder.core.errors import ModelError
from imagefinder.models import hub_environment

# Its constants are read at import, so every case needs a new process.
THEIRS = """
import json
from huggingface_hub import constants as c
from huggingface_hub.utils import build_hf_headers
token = build_hf_headers().get("authorization")
timeouts = [c.HF_HUB_ETAG_TIMEOUT, c.HF_HUB_DOWNLOAD_TIMEOUT]
print(json.dumps([c.HF_HUB_CACHE, c.ENDPOINT, c.HF_HUB_OFFLINE, *timeouts, token]))
"""


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"HF_HOME": "~/hf"},
        {"HF_HOME": "$HOME/hf", "HF_TOKEN": " secret\n"},
        {"XDG_CACHE_HOME": "/var/cache/user"},
        {"HUGGINGFACE_HUB_CACHE": "/old", "HF_HOME": "/home"},
        {"HF_HUB_CACHE": "/new", "HUGGINGFACE_HUB_CACHE": "/old"},
        {"HF_ENDPOINT": "http://mirror.example/hub/"},
        {"HF_HUB_OFFLINE": "on"},
        {"HF_HUB_OFFLINE": "0"},
        {"HF_HUB_ETAG_TIMEOUT": "3", "HF_HUB_DOWNLOAD_TIMEOUT": "40"},
        {"HF_HUB_ETAG_TIMEOUT": "0"},
        {"TRANSFORMERS_OFFLINE": "yes"},
        {"HUGGING_FACE_HUB_TOKEN": "older"},
        {"HF_HOME": "~/with-token"},
        {"HF_TOKEN_PATH": "~/with-token/token", "HF_TOKEN": ""},
        {"HF_HOME": "~/with-token", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"},
    ],
    ids=str,
)
def test_same_as_huggingface_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    (tmp_path / "with-token").mkdir()
    (tmp_path / "with-token" / "token").write_text("from-file\n")
    for name in [*os.environ]:
        if name.startswith(("HF_", "HUGGING", "TRANSFORMERS_", "XDG_")):
            monkeypatch.delenv(name)
    for name, value in {"HOME": str(tmp_path), **variables}.items():
        monkeypatch.setenv(name, value)
    done = subprocess.run([sys.executable, "-c", THEIRS], capture_output=True, text=True, check=True)
    token = hub_environment.token()
    assert [
        str(hub_environment.cache_folder()),
        hub_environment.endpoint(),
        hub_environment.is_offline(),
        hub_environment.metadata_timeout(),
        hub_environment.download_timeout(),
        token and f"Bearer {token}",
    ] == json.loads(done.stdout)


def test_a_timeout_that_is_not_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "soon")
    with pytest.raises(ModelError, match="HF_HUB_ETAG_TIMEOUT") as caught:
        hub_environment.metadata_timeout()
    assert caught.value.hint
