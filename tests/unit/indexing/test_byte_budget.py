import threading

import pytest

from imagefinder.indexing.byte_budget import ByteBudget


def waits(budget, ticket, nbytes):
    """A thread that acquires, and whether it has to wait."""
    thread = threading.Thread(target=budget.acquire, args=(ticket, nbytes, budget.limit))
    thread.start()
    thread.join(0.1)
    return thread, thread.is_alive()


def test_bytes_within_the_budget_pass_immediately():
    budget = ByteBudget(10)
    for ticket in (5, 6):
        assert not waits(budget, ticket, 5)[1]


@pytest.mark.parametrize(
    "relief", [lambda b: b.adjust(-5), lambda b: b.admit(7), lambda b: b.admit(8), lambda b: b.lift()]
)
def test_bytes_beyond_the_budget_wait_for_space_or_their_turn(relief):
    budget = ByteBudget(10)
    budget.acquire(5, 6, 10)
    thread, waiting = waits(budget, 7, 5)
    assert waiting
    budget.admit(6)
    thread.join(0.05)
    assert thread.is_alive()
    relief(budget)
    thread.join(5)
    assert not thread.is_alive()


def test_the_next_in_line_passes_whatever_its_size():
    budget = ByteBudget(10)
    budget.admit(1)
    assert not waits(budget, 1, 1000)[1]
    assert waits(budget, 0, 1000)[1] is False
    thread, waiting = waits(budget, 2, 0)
    assert waiting
    budget.lift()
    thread.join(5)
    assert not thread.is_alive()
