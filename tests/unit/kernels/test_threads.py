import threading

import pytest

from imagefinder.kernels import threads


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 8)


def test_one_computation_uses_all_cores():
    assert threads.share() == 8
    with threads.computation():
        assert threads.share() == 8


def test_computations_share_the_cores():
    shares = []
    entered, leave = threading.Barrier(4), threading.Event()

    def compute() -> None:
        with threads.computation():
            entered.wait(10)
            leave.wait(10)

    running = [threading.Thread(target=compute) for _ in range(3)]
    for thread in running:
        thread.start()
    entered.wait(10)
    shares.append(threads.share())
    with threads.computation():
        shares.append(threads.share())
    leave.set()
    for thread in running:
        thread.join(10)
    assert shares == [2, 2]
    assert threads.share() == 8


def test_more_computations_than_cores_use_one_thread_each(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 1)
    with threads.computation():
        assert threads.share() == 1


def test_nested_blocks_count_once():
    with threads.computation(), threads.computation():
        assert threads.share() == 8


def test_a_computation_that_fails_ends():
    with pytest.raises(KeyError), threads.computation():
        raise KeyError
    with threads.computation():
        assert threads.share() == 8


@pytest.mark.parametrize(("most", "expected"), [(1, 1), (3, 3), (8, 8), (99, 8), (None, 8)])
def test_a_limit_is_kept(most, expected):
    assert threads.share(most) == expected
