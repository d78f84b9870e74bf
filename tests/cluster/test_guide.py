"""The guide "Growing past one machine" works as it is written: a person moves a collection, kills, searches on."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pytest

from . import patroni_cluster, postgres_server
from .guide_shell import ROOT, OrdinaryUser, commands
from .postgres_server import free_port

GUIDE = ROOT / "docs" / "guides" / "growing-past-one-machine.md"
MINUTES = 10


@pytest.mark.faults
@pytest.mark.timeout(MINUTES * 60 + 60)
def test_the_guide_works_as_it_is_written():
    if reason := postgres_server.missing():
        pytest.skip(reason)
    if patroni_cluster.interpreter() is None:
        pytest.skip("no Python that an ordinary user can read (install python3 for all users)")
    script = commands(GUIDE, "## On one laptop", "## With containers")
    assert script.count("imagefinder search") == 3
    assert "kill -9" in script
    for port in ("5433", "5434"):
        script = script.replace(port, str(free_port()))
    with tempfile.TemporaryDirectory(prefix="guide-") as folder:
        user = OrdinaryUser(Path(folder))
        began = time.monotonic()
        done = user.run(script, seconds=MINUTES * 60)
        assert done.returncode == 0, done.stdout[-3000:]
        assert time.monotonic() - began < MINUTES * 60
        assert "verified, counts and checksums are equal: 24 images" in done.stdout
        assert done.stdout.count("match: cat.jpg, identical") == 3
        assert done.stdout.count("2 added, 0 replaced") == 2  # by the command, and by a worker
        assert "a|quorum" in done.stdout.replace(" ", "")
        assert "no damage found: 26 images" in done.stdout
        left = {path.name for path in Path(folder).iterdir()}
        assert not left & {"a", "b", "a.log", "b.log", "password", "demo-output", "more"}
