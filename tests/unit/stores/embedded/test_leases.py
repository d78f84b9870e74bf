import signal
import subprocess
import sys
import time
from contextlib import closing

import pytest

from imagefinder.stores.embedded import EmbeddedStore, leases

HOLDER = """
import sys
import time
from pathlib import Path
from imagefinder.stores.embedded import EmbeddedStore

store = EmbeddedStore(Path(sys.argv[1]), create=True, cache_bytes=0)
lease = store.lease("work", float(sys.argv[2]))
print(lease is not None, flush=True)
time.sleep(600)
"""


@pytest.fixture
def store(tmp_path):
    with closing(EmbeddedStore(tmp_path, create=True, cache_bytes=0)) as store:
        yield store


def holder(folder, seconds):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    return process, process.stdout.readline() == "True\n"


def test_a_killed_holder_loses_its_lease_when_it_expires(store, tmp_path):
    begin = time.monotonic()
    process, held = holder(tmp_path, 3.0)
    try:
        assert held
        assert store.lease("work", 1.0) is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    while (lease := store.lease("work", 1.0)) is None:
        assert time.monotonic() < begin + 60
        time.sleep(0.05)
    assert lease.renew()


def test_another_process_cannot_obtain_a_held_lease(store, tmp_path):
    lease = store.lease("work", 600.0)
    process, held = holder(tmp_path, 3.0)
    process.kill()
    process.wait()
    process.stdout.close()
    assert not held
    assert lease.renew()


def test_a_clock_that_was_set_back_does_not_prolong_a_lease(store, monkeypatch):
    now = time.time()
    monkeypatch.setattr(leases.time, "time", lambda: now)
    assert store.lease("work", 60.0) is not None
    monkeypatch.setattr(leases.time, "time", lambda: now + 59)
    assert store.lease("work", 60.0) is None
    monkeypatch.setattr(leases.time, "time", lambda: now - 86_400)
    assert store.lease("work", 60.0) is not None
    assert store.lease("work", 60.0) is None


def test_waiting_for_a_lease_does_not_wait_for_writers(store):
    assert store.lease("work", 600.0) is not None
    with store._connections.writing():
        assert store.lease("work", 600.0) is None


def test_a_backup_has_no_leases(tmp_path):
    with closing(EmbeddedStore(tmp_path / "original", create=True, cache_bytes=0)) as store:
        assert store.lease("work", 60)
        store.backup(tmp_path / "copy")
        assert store.lease("work", 60) is None
    with closing(EmbeddedStore(tmp_path / "copy", create=False, cache_bytes=0)) as copy:
        assert copy.lease("work", 60)
