"""Whether to try again, how long to wait before it, and until when."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from cbr_sync.errors import NotAcceptedError, RetryableError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

BASE_SECONDS = 0.5
CAP_SECONDS = 20.0


class Retry(NamedTuple):
    """Attempts with full jitter backoff, all of them inside a deadline.

    Before attempt n + 1 it waits ``Retry-After + random(0, min(cap, base * 2 ** (n - 1)))`` seconds, base
    0.5 and cap 20. A deadline is a reading of ``clock``, in seconds; a wait that would cross it is not
    begun. Source: Brooker, Exponential Backoff and Jitter, AWS Architecture Blog, 2015 ("full jitter").
    """

    max_attempts: int = 5
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[float, float], float] = random.uniform

    def remaining_seconds(self, until: float) -> float:
        """The seconds left to the deadline; negative when it is over."""
        return until - self.clock()

    def wait_seconds(self, attempt: int, error: RetryableError) -> float:
        """How long to wait after this attempt (counted from 1) ended in this error."""
        ceiling = min(CAP_SECONDS, BASE_SECONDS * 2 ** (attempt - 1))
        return (error.retry_after_seconds or 0) + self.jitter(0, ceiling)

    def call(
        self,
        attempt: Callable[[], T],
        *,
        until: float,
        retry_on: type[RetryableError] = NotAcceptedError,
        pace: Throttle | None = None,
    ) -> T:
        """What the first successful attempt gives.

        ``pace`` is shared by all that call the same gateway: while it throttles, none of them sends.

        Raises:
            ApiError: the last attempt's error, once it is final, attempts are used up or time is.
        """
        number = 1
        while True:
            if pace:
                pace.hold(self, until)
            try:
                return attempt()
            except retry_on as error:
                wait = self.wait_seconds(number, error)
                if pace and error.throttled:
                    pace.pause_until(self.clock() + wait)
                if number >= self.max_attempts or wait >= self.remaining_seconds(until):
                    raise
                self.sleep(wait)
            number += 1


class Throttle:
    """A pause that one caller's throttling imposes on all of them."""

    def __init__(self) -> None:
        self._paused_until = 0.0

    def pause_until(self, moment: float) -> None:
        """Let nobody send before this reading of the clock."""
        self._paused_until = max(self._paused_until, moment)

    def hold(self, retry: Retry, until: float) -> None:
        """Wait for the end of the pause, and a little more, so that not all start at once.

        Raises:
            NotAcceptedError: it ends after the deadline.
        """
        pause = self._paused_until - retry.clock()
        if pause <= 0:
            return
        wait = pause + retry.jitter(0, BASE_SECONDS)
        if wait >= retry.remaining_seconds(until):
            raise NotAcceptedError(
                "CbrSync.OutOfTime", "the API throttles for longer than the run lasts", sent=False
            )
        retry.sleep(wait)
