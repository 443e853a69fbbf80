"""The clocks, the waiting and the randomness of one instance, in one object that tests replace."""

from __future__ import annotations

import random
import threading
import time
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """The machine's own time.

    Deadlines are readings of :meth:`monotonic`, in seconds.
    """

    def __init__(self) -> None:
        """Start without any thread."""
        self._idle: list[SimpleQueue[Callable[[], None]]] = []

    def now(self) -> datetime:
        """Return the wall clock's time, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return the seconds on a clock that never goes back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait for so many seconds."""
        time.sleep(seconds)

    def sleep_until(self, moment: float) -> None:
        """Wait until the monotonic clock shows this reading."""
        remaining = self.remaining_seconds(moment)
        if remaining > 0:
            self.sleep(remaining)

    def start_thread(self, target: Callable[[], None]) -> None:
        """Call *target* on a thread that keeps no process from ending.

        A thread that has ended its work is used again: a new one costs most of the CPU of a small event.
        """
        try:
            inbox = self._idle.pop()
        except IndexError:
            inbox = SimpleQueue()
            try:
                threading.Thread(target=self._work, args=(inbox,), daemon=True).start()
            except RuntimeError:  # the system has no more threads; this one does it, if later
                target()
                return
        inbox.put(target)

    def _work(self, inbox: SimpleQueue[Callable[[], None]]) -> None:
        while True:
            inbox.get()()
            self._idle.append(inbox)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait for *event*, so many seconds at most, and return whether it is set."""
        return event.wait(min(max(seconds, 0), threading.TIMEOUT_MAX))

    def jitter(self, low: float, high: float) -> float:
        """Return a random number between *low* and *high*."""
        return random.uniform(low, high)  # noqa: S311 - spreads requests # nosec B311

    def remaining_seconds(self, deadline: float) -> float:
        """Return the seconds left to *deadline*; negative once it is over."""
        return deadline - self.monotonic()
