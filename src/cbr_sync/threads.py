"""Work on threads that are waited for until a deadline, and no longer."""

from __future__ import annotations

import heapq
import threading
from itertools import count
from typing import TYPE_CHECKING, TypeVar

from cbr_sync.errors import NotAcceptedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cbr_sync.clock import Clock

    # A job that returns an iterator is carried on after so many seconds, each time it yields them.
    Job = Callable[[], Iterator[float] | None]

T = TypeVar("T")


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


def run_until(deadline: float, jobs: Sequence[Job], *, clock: Clock, concurrency: int = 1) -> None:
    """Run jobs on threads, and return when all have ended or the deadline is over.

    A job that still runs then is left behind on its thread, which keeps no process from ending; those that
    did not begin never do. What is sent has its own check of the deadline.

    Args:
        deadline: Reading of *clock*, in seconds.
        jobs: Callables that raise nothing. One that has to wait returns an iterator that yields for how many
            seconds; its thread does something else meanwhile.
        clock: The instance's clock.
        concurrency: How many run at the same time, at most.
    """
    if not jobs:
        return
    left = _Jobs(jobs, clock)
    lock = threading.Lock()
    done = threading.Event()
    running = workers = min(concurrency, len(jobs))

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

    for _ in range(workers):
        clock.start_thread(work)
    clock.wait(done, clock.remaining_seconds(deadline))
    left.close()


def call_until(deadline: float, action: Callable[[], T], *, clock: Clock) -> T:
    """Call *action* on a thread of its own, and wait for it until the deadline and no longer.

    Args:
        deadline: Reading of *clock*, in seconds.
        action: Callable without arguments. What it does after the deadline is lost.
        clock: The instance's clock.

    Returns:
        Whatever it returns.

    Raises:
        NotAcceptedError: It has not ended by the deadline.
        Exception: Whatever it raises.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def work() -> None:
        try:
            results.append(action())
        except BaseException as error:  # noqa: BLE001 - the caller raises it again
            errors.append(error)
        finally:
            done.set()

    clock.start_thread(work)
    if not clock.wait(done, clock.remaining_seconds(deadline)):
        raise NotAcceptedError(
            "CbrSync.OutOfTime", "the time for it was over before it had ended", sent=False
        )
    for error in errors:
        raise error
    return results[0]
