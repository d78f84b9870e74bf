"""The primary is killed again and again under two writers; Patroni lets the standby take over without a human.

``KILLS`` is the number of kills, ``KILL_SEED`` determines the moments. About 25 s each.
"""

from __future__ import annotations

import os
import random
import sys
import time
from contextlib import closing

import pytest

from imagefinder.stores.distributed.address import Address
from imagefinder.stores.distributed.pool import Database, Options
from imagefinder.stores.distributed.store import DistributedStore

from . import patroni_cluster
from .patroni_cluster import PatroniCluster
from .writers import Writers, lost

KILLS = int(os.environ.get("KILLS", "20"))


@pytest.fixture
def cluster():
    if reason := patroni_cluster.missing():
        pytest.skip(reason)
    made = PatroniCluster()
    try:
        made.start()
        made.execute("CREATE DATABASE pictures")
        yield made
    finally:
        made.remove()


def opened(url):
    address = Address.of_collection(url)
    database = Database(address.database, Options(seconds=10.0, repeat_seconds=60.0))
    return DistributedStore(database, address.collection, create=True, cache_bytes=0)


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_no_acknowledged_image_is_lost_in_many_kills_of_the_primary(cluster, capsys):
    choose = random.Random(os.environ.get("KILL_SEED", "1"))
    url = cluster.url("pictures/main")
    opened(url).close()
    gaps: dict[bool, list[float]] = {True: [], False: []}
    with Writers(lambda: opened(url)) as writers:
        for kill in range(KILLS):
            whole_machine = kill % 2 == 0
            primary = cluster.wait_until_whole()
            time.sleep(choose.uniform(0, 2))
            writers.wait_for_next(time.monotonic(), 20)
            assert cluster.primary() is primary
            killed = time.monotonic()
            cluster.kill(primary, with_patroni=whole_machine)
            writers.wait_for_next(killed + 0.2, 40)
            gaps[whole_machine].append(writers.longest_gap(killed))
            if whole_machine:
                cluster.begin(primary)
        cluster.wait_until_whole()
    counts = f"{len(writers.times)} puts of {len(writers.acknowledged)} images acknowledged"
    lines = [f"{counts}, {len(writers.errors)} failed"]
    for whole_machine, seconds in gaps.items():
        name = "server and Patroni killed" if whole_machine else "server killed"
        listed = ", ".join(f"{one:.1f}" for one in sorted(seconds))
        lines.append(f"{name}: seconds without an acknowledged image: {listed}")
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(lines) + "\n")
    assert max(max(seconds, default=0) for seconds in gaps.values()) < 30
    for node in cluster.nodes:
        with closing(opened(cluster.url("pictures/main", node))) as store:
            assert lost(writers.acknowledged, store) == []
