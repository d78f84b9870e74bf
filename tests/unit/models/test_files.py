from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from imagefinder.core.errors import ModelError
from imagefinder.models import files
from imagefinder.models.files import cached_sha256, file_sha256, is_sha256


@pytest.mark.parametrize(
    "value", ["", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n", None, 1, ["a" * 64]]
)
def test_not_a_sha256(value: object) -> None:
    assert not is_sha256(value)


def test_a_sha256() -> None:
    assert is_sha256(hashlib.sha256(b"x").hexdigest())


def test_a_file_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    reads: list[Path] = []
    monkeypatch.setattr(files, "file_sha256", lambda path: reads.append(path) or file_sha256(path))

    assert cached_sha256(path) == cached_sha256(path) == hashlib.sha256(b"one").hexdigest()
    assert len(reads) == 1

    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert cached_sha256(path) == hashlib.sha256(b"two").hexdigest()
    assert len(reads) == 2


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    for function in (file_sha256, cached_sha256):
        with pytest.raises(ModelError, match="absent"):
            function(tmp_path / "absent")
