import threading
import time

import pytest

from imagefinder.core.errors import CollectionClosedError
from imagefinder.stores.distributed.parallel import Parallel


def test_results_are_in_the_order_of_the_items():
    assert Parallel(4).map(lambda number: time.sleep(0.01 * (3 - number)) or number, range(3)) == [0, 1, 2]
    assert Parallel(4).map(str, []) == []


def test_after_a_failure_no_further_call_begins():
    called = []

    def call(number):
        called.append(number)
        time.sleep(0.01)
        raise ValueError(str(number))

    with pytest.raises(ValueError):  # noqa: PT011
        Parallel(2).map(call, range(100))
    time.sleep(0.1)
    assert len(called) < 10


def test_a_failure_does_not_wait_for_slow_calls():
    release = threading.Event()

    def call(number):
        if number == 0:
            return release.wait(20)
        raise ValueError

    started = time.monotonic()
    with pytest.raises(ValueError):  # noqa: PT011
        Parallel(2).map(call, range(2))
    assert time.monotonic() - started < 5
    release.set()


def test_a_closed_pool_is_an_error():
    threads = Parallel(2)
    threads.close()
    threads.close()
    with pytest.raises(CollectionClosedError):
        threads.map(str, [1])
