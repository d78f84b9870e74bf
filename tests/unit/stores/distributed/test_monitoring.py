import threading
import time

import pytest

from imagefinder.core.errors import StoreUnavailableError
from imagefinder.stores.distributed.monitoring import Probe


def silent(seconds):
    return StoreUnavailableError(f"nothing within {seconds:g} s")


def test_an_answer_and_an_error_are_passed_on():
    answers = [None, StoreUnavailableError("away"), None]

    def ask():
        answer = answers.pop(0)
        if answer:
            raise answer

    probe = Probe(ask, silent)
    probe.check(5)
    with pytest.raises(StoreUnavailableError, match="away"):
        probe.check(5)
    probe.check(5)
    assert answers == []


def test_silence_is_an_error_in_time_and_asked_about_once():
    requests, answer = [], threading.Event()

    def ask():
        requests.append(1)
        answer.wait(20)

    probe = Probe(ask, silent)
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError, match=r"nothing within 0\.1 s"):
            probe.check(0.1)
        assert time.monotonic() - began < 2
    assert len(requests) == 1
    answer.set()
    probe.check(5)
    probe.check(5)
    assert len(requests) >= 2
