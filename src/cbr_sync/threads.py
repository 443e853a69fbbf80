"""Work on threads that are waited for until a deadline, and no longer."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cbr_sync.clock import Clock


def run_until(
    deadline: float, jobs: Iterable[Callable[[], None]], *, clock: Clock, concurrency: int = 1
) -> bool:
    """Run jobs on threads, and return when all have ended or the deadline is over.

    A job that still runs then is left behind on its thread, which keeps no process from ending; those that did
    not begin never do. What is sent has its own check of the deadline.

    Args:
        deadline: Reading of *clock*, in seconds.
        jobs: Callables that raise nothing.
        clock: Tells the time, and waits.
        concurrency: How many run at the same time, at most.

    Returns:
        Whether all jobs have ended.
    """
    remaining = iter(jobs)
    lock = threading.Lock()
    done = threading.Event()
    running = concurrency
    is_over = False

    def work() -> None:
        nonlocal running
        while True:
            with lock:
                job = None if is_over else next(remaining, None)
                if job is None:
                    running -= 1
                    if running == 0:
                        done.set()
                    return
            job()

    for _ in range(concurrency):
        clock.start_thread(work)
    all_ended = clock.wait(done, clock.remaining_seconds(deadline))
    with lock:
        is_over = True
    return all_ended
