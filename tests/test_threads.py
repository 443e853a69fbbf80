"""Work on threads that are waited for until a deadline, and no longer."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from cbr_sync.clock import Clock
from cbr_sync.errors import NotAcceptedError
from cbr_sync.threads import call_until, run_until
from support.world import VirtualClock


def test_the_result_of_a_call_is_returned_and_its_error_raised() -> None:
    """As if it had been called on the caller's thread."""
    clock = Clock()
    assert call_until(clock.monotonic() + 30, lambda: 7, clock=clock) == 7
    with pytest.raises(ZeroDivisionError):
        call_until(clock.monotonic() + 30, lambda: 1 / 0, clock=clock)


def test_a_call_is_waited_for_until_the_deadline_and_no_longer() -> None:
    """What it would have done later is lost."""
    clock = VirtualClock()
    with pytest.raises(NotAcceptedError, match=r"CbrSync\.OutOfTime"):
        call_until(7, lambda: clock.sleep(10_000), clock=clock)
    assert clock.elapsed == 7


def test_a_thread_that_has_ended_its_work_is_used_again() -> None:
    """A new one costs most of the CPU of a small event."""
    clock = Clock()
    before = threading.active_count()
    for _ in range(200):
        call_until(clock.monotonic() + 30, lambda: None, clock=clock)
    assert threading.active_count() - before <= 3


def test_threads_that_are_left_behind_keep_none_from_working() -> None:
    """The next work gets a thread of its own."""
    clock = VirtualClock()
    for _ in range(3):
        with pytest.raises(NotAcceptedError):
            call_until(clock.elapsed + 5, lambda: clock.sleep(10_000), clock=clock)
    assert call_until(clock.elapsed + 5, lambda: "done", clock=clock) == "done"


def test_without_threads_the_work_is_done_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may have no more of them."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    clock = Clock()
    done: list[int] = []
    jobs = [partial(done.append, number) for number in range(5)]
    run_until(clock.monotonic() + 30, jobs, clock=clock, concurrency=4)
    assert done == [0, 1, 2, 3, 4]
