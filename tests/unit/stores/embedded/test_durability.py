"""What a power loss would leave rests on these settings, and on syncs before an acknowledgement."""

import os
import re
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from imagefinder.stores.embedded import EmbeddedStore
from imagefinder.stores.embedded.files import make_folder
from imagefinder.stores.embedded.schema import FILE_NAME

WRITER = """
import os, sys
from pathlib import Path
from imagefinder.core.records import Entry, ImageRecord
from imagefinder.stores.embedded import EmbeddedStore
store = EmbeddedStore(Path(sys.argv[1]), create=True, cache_bytes=0)
for turn in range(3):
    store.put([Entry(ImageRecord(str(turn), "", "", 1, 1, 1, ""), {})])
    os.write(1, b"acknowledged\\n")
store.backup(Path(sys.argv[1] + " backup"))
os.write(1, b"copied\\n")
"""


def test_every_connection_is_durable(tmp_path):
    with closing(EmbeddedStore(tmp_path, create=True, cache_bytes=0)) as store:
        for lend in (store._connections.reading, store._connections.writing):
            with lend() as database:
                assert database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
                assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
                assert database.execute("PRAGMA foreign_keys").fetchone() == (1,)


def test_folders_are_synced_where_their_names_are(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(Path(f"/proc/self/fd/{number}").readlink()))
    make_folder(tmp_path / "a" / "b")
    assert synced == [tmp_path, tmp_path / "a"]


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_log_is_synced_before_a_put_returns(tmp_path):
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-y", "-e", "trace=write,pwrite64,fsync,fdatasync,rename", "-o", str(trace)]
    done = subprocess.run(
        [*command, sys.executable, "-c", WRITER, str(tmp_path / "c")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if "ptrace" in done.stderr.lower() or "not permitted" in done.stderr.lower():
        pytest.skip(f"processes cannot be traced here: {done.stderr.strip()[:100]}")
    assert done.returncode == 0, done.stderr
    unsynced, acknowledged, renamed = set(), 0, 0
    for line in trace.read_text(encoding="utf-8", errors="replace").splitlines():
        call = re.search(r"(write|pwrite64|fsync|fdatasync)\(\d+<([^>]*)>", line)
        if "acknowledged" in line:
            acknowledged += 1
            assert not {path for path in unsynced if path.endswith("-wal")}, line
        elif "rename(" in line:
            renamed += 1
            assert not {path for path in unsynced if path.endswith(FILE_NAME) and ".half" in path}, line
        elif call and FILE_NAME in call[2]:
            (unsynced.discard if "sync" in call[1] else unsynced.add)(call[2])
    assert acknowledged == 3
    assert renamed == 1
