"""Work on threads that are waited for until a deadline, and no longer."""

from __future__ import annotations

import heapq
import threading
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cbr_sync.clock import Clock

    # A job that returns an iterator is carried on after so many seconds, each time it yields them.
    Job = Callable[[], Iterator[float] | None]


class _Jobs:
    """The jobs that have not begun, and those that wait for their moment."""

    def __init__(self, jobs: Sequence[Job], clock: Clock) -> None:
        self._fresh = iter(jobs)
        self._clock = clock
        self._waiting: list[tuple[float, int, Iterator[float]]] = []
        self._numbers = count()
        self._lock = threading.Lock()
        self._is_over = False

    def take(self) -> tuple[float, int, Iterator[float]] | None:
        """Return the moment and the job that is due, else one that has not begun, else the one due first."""
        with self._lock:
            if self._is_over:
                return None
            now = self._clock.monotonic()
            if not (self._waiting and self._waiting[0][0] <= now):
                job = next(self._fresh, None)
                if job is not None:
                    return now, 0, _begin(job)
            return heapq.heappop(self._waiting) if self._waiting else None

    def put_back(self, moment: float, job: Iterator[float]) -> None:
        """Have a job carried on at a moment."""
        with self._lock:
            heapq.heappush(self._waiting, (moment, next(self._numbers), job))

    def close(self) -> None:
        """Begin and carry on nothing any more."""
        with self._lock:
            self._is_over = True


def _begin(job: Job) -> Iterator[float]:
    yield from job() or ()


def run_until(deadline: float, jobs: Sequence[Job], *, clock: Clock, concurrency: int = 1) -> bool:
    """Run jobs on threads, and return when all have ended or the deadline is over.

    A job that still runs then is left behind on its thread, which keeps no process from ending; those that
    did not begin never do. What is sent has its own check of the deadline. So a job that is alone runs on the
    caller's thread: two threads that wait for each other cost most of the CPU of a small event.

    Args:
        deadline: Reading of *clock*, in seconds.
        jobs: Callables that raise nothing. One that has to wait returns an iterator that yields for how many
            seconds; its thread does something else meanwhile.
        clock: The instance's clock.
        concurrency: How many run at the same time, at most.

    Returns:
        Whether all jobs have ended.
    """
    left = _Jobs(jobs, clock)
    lock = threading.Lock()
    done = threading.Event()
    running = min(concurrency, len(jobs))

    def work() -> None:
        nonlocal running
        while taken := left.take():
            moment, _, job = taken
            clock.sleep_until(moment)
            wait = next(job, None)
            if wait is not None:
                left.put_back(clock.monotonic() + wait, job)
        with lock:
            running -= 1
            if running == 0:
                done.set()

    if len(jobs) <= 1:
        work()
        return True
    for _ in range(running):
        clock.start_thread(work)
    all_ended = clock.wait(done, clock.remaining_seconds(deadline))
    left.close()
    return all_ended
