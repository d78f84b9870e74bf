import threading
import time
from pathlib import Path

import pytest

from imagefinder.indexing import missing
from imagefinder.indexing.missing import gone_uris, is_gone
from imagefinder.indexing.source_item import file_uri


def test_only_files_that_are_known_to_be_gone(tmp_path: Path) -> None:
    file = tmp_path / "a \u00fc.png"
    file.write_bytes(b"x")
    dangling = tmp_path / "link.png"
    dangling.symlink_to(tmp_path / "nothing")
    present = [file_uri(file), file_uri(dangling), "https://example.org/a.png", "", "nonsense"]
    absent = [file_uri(tmp_path / "b.png"), f"archive:{file_uri(tmp_path / 'x.zip')}!/a.png", file_uri(file / "x")]
    assert gone_uris([*present, *absent]) == set(absent)
    assert not any(map(is_gone, present))
    assert gone_uris([]) == frozenset()


def test_a_disk_that_does_not_respond_delays_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known of its files, and the next answers are not delayed for long either."""
    respond = threading.Event()
    monkeypatch.setattr(missing, "is_gone", lambda _uri: respond.wait(30))
    begin = time.monotonic()
    assert gone_uris(["file:///net/a.png"]) == frozenset()
    assert gone_uris(["file:///net/b.png"]) == frozenset()
    assert time.monotonic() - begin < 5
    respond.set()
    assert gone_uris(["file:///net/a.png"]) == {"file:///net/a.png"}
