"""Whether to try again, how long to wait before it, and at what pace to call one gateway."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Protocol, TypeVar

from cbr_sync.errors import NotAcceptedError, OutcomeUnknownError, RetryableError, ThrottledError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from cbr_sync.clock import Clock

T = TypeVar("T")

BASE_SECONDS = 0.5
CAP_SECONDS = 20.0
# A pace is learned from this much of the past; beyond so many requests only the newest count.
_MEMORY_SECONDS = 60.0
_MEMORY_LENGTH = 4096
# What a pace is set to, of the rate that was let through, and how it grows with each accepted request.
_SAFE_SHARE = 0.9
_GROWTH_BELOW = 1.5
_GROWTH_ABOVE = 0.01
# After so many successes in a row the limit is probed for, so that one that was lifted is noticed.
_PROBE_AFTER, _PROBE_SECONDS, _PROBE_GROWTH = 10, 10.0, 0.1
# So few accepted requests show no limit for each minute.
_ENOUGH = 5
# The slowest pace, in requests a second.
_LEAST_RATE = 1 / 30


class Retry(Protocol):
    """Calls an attempt, and perhaps calls it again."""

    def __call__(self, attempt: Callable[[], T]) -> T:
        """Return what the first successful attempt returns."""


class Retrier:
    """Repeats attempts with full jitter between them, all of it inside a deadline.

    Before attempt n + 1 it waits ``Retry-After + random(0, min(20 s, 0.5 s * 2 ** (n - 1)))``. Source:
    Brooker, Exponential Backoff and Jitter, AWS Architecture Blog, 2015 ("full jitter").

    Attributes:
        clock: The instance's clock.
    """

    def __init__(self, clock: Clock, max_attempts: int = 5) -> None:
        """Set the limit of attempts that may each have done something; all others end with the deadline."""
        self.clock = clock
        self._max_attempts = max_attempts

    def call(
        self,
        attempt: Callable[[], T],
        *,
        deadline: float,
        retry_on: type[RetryableError] = RetryableError,
        throttle: Throttle | None = None,
        count_all: bool = False,
    ) -> T:
        """Call *attempt* until it succeeds, with full jitter between attempts.

        Args:
            attempt: Callable without arguments; called afresh each time.
            deadline: Reading of the clock, in seconds. No wait crosses it.
            retry_on: Errors that are worth another attempt.
            throttle: The pace shared by all callers of one gateway.
            count_all: Whether every error counts against the limit of attempts; else only those do after
                which the request may have been accepted.

        Returns:
            Whatever the first successful attempt returns.

        Raises:
            ApiError: The last error, once it is final, attempts are used up or the time is.
        """
        steps = self.iterate(
            attempt, deadline=deadline, retry_on=retry_on, throttle=throttle, count_all=count_all
        )
        while True:
            try:
                wait = next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
            self.clock.sleep(wait)

    def iterate(
        self,
        attempt: Callable[[], T],
        *,
        deadline: float,
        retry_on: type[RetryableError] = RetryableError,
        throttle: Throttle | None = None,
        count_all: bool = False,
    ) -> Generator[float, None, T]:
        """Do what :meth:`call` does, and leave the waiting between the attempts to the caller.

        Args:
            attempt: As for :meth:`call`, and so are the others.
            deadline: As there.
            retry_on: As there.
            throttle: As there.
            count_all: As there.

        Yields:
            For how many seconds.

        Returns:
            Whatever the first successful attempt returns.

        Raises:
            ApiError: As :meth:`call` does.
        """
        failures = counted = 0
        refusal: ThrottledError | None = None
        while True:
            began = throttle.wait(deadline, refusal) if throttle else 0.0
            try:
                result = attempt()
            except retry_on as error:
                failures += 1
                counted += count_all or isinstance(error, OutcomeUnknownError)
                wait = self._choose_wait(failures, error)
                if throttle and isinstance(error, ThrottledError):
                    throttle.report_refusal(began, error.retry_after_seconds)
                    wait, refusal = 0.0, error
                if counted >= self._max_attempts or wait >= self.clock.remaining_seconds(deadline):
                    raise
                yield wait
            else:
                if throttle:
                    throttle.report_success()
                return result

    def bind(self, *, deadline: float, throttle: Throttle | None = None, count_all: bool = False) -> Retry:
        """Return :meth:`call` with these arguments."""

        def retry(attempt: Callable[[], T]) -> T:
            return self.call(attempt, deadline=deadline, throttle=throttle, count_all=count_all)

        return retry

    def _choose_wait(self, failures: int, error: RetryableError) -> float:
        ceiling = min(CAP_SECONDS, BASE_SECONDS * 2 ** min(failures - 1, 10))
        return (error.retry_after_seconds or 0) + self.clock.jitter(0, ceiling)


class Throttle:
    """One pace for all who call one gateway, learned from what it lets through.

    Nothing is held up before the first refusal. From then on requests are sent one by one, at nine tenths of
    the rate that was let through before the refusal. A refusal with no success since the one before halves
    the pace, down to nine tenths of the last minute's average, so that limits for each minute are found as
    well. A success brings the pace back to nine tenths of the rate known to be good in steps of one half, and
    beyond that adds a hundredth of it a second, ten times as much where nothing was refused for a while:
    additive increase, multiplicative decrease, as in RFC 5681. So little is refused, and a limit that is
    lifted is noticed. Retry-After stops everybody until then.
    """

    def __init__(self, clock: Clock) -> None:
        """Start without a limit."""
        self._clock = clock
        self._lock = threading.Lock()
        self._accepted: deque[float] = deque(maxlen=_MEMORY_LENGTH)
        self._rate: float | None = None  # requests a second
        self._good_rate = float("inf")
        self._next = 0.0  # when the next request may be sent
        self._slowed_at = float("-inf")
        self._successes = 0  # since the last refusal

    def wait(self, deadline: float, refusal: ThrottledError | None = None) -> float:
        """Wait until a request may be sent.

        Args:
            deadline: Reading of the clock, in seconds.
            refusal: Why the caller's request was refused before, if it was.

        Returns:
            The reading at which it may be sent; :meth:`report_refusal` asks for it.

        Raises:
            NotAcceptedError: That is after the deadline; *refusal*, where there is one.
        """
        while True:
            with self._lock:
                now = self._clock.monotonic()
                if now >= self._next:
                    if self._rate is not None:
                        self._next = now + 1 / self._rate
                    return now
                next_slot = self._next
            if next_slot >= deadline:
                raise refusal or NotAcceptedError(
                    "CbrSync.OutOfTime", "the API throttles for longer than the run lasts", sent=False
                )
            self._clock.sleep_until(next_slot)

    def report_success(self) -> None:
        """Take into account that a request was accepted, or refused for another reason than its pace."""
        with self._lock:
            now = self._clock.monotonic()
            self._accepted.append(now)
            if self._rate is None:
                return
            self._successes += 1
            safe = self._good_rate * _SAFE_SHARE
            if self._rate < safe:
                self._rate = min(self._rate * _GROWTH_BELOW, safe)
            else:
                is_steady = self._successes >= _PROBE_AFTER and now - self._slowed_at >= _PROBE_SECONDS
                growth = self._rate * _PROBE_GROWTH if is_steady else self._good_rate * _GROWTH_ABOVE
                self._rate += growth * min(1, 1 / self._rate)

    def report_refusal(self, began: float, retry_after_seconds: float | None) -> None:
        """Take into account that a request was refused for its pace.

        Args:
            began: What :meth:`wait` returned for it. Requests that were under way together slow down once.
            retry_after_seconds: The gateway's wish, if it has one.
        """
        with self._lock:
            now = self._clock.monotonic()
            if began > self._slowed_at:
                self._rate = self._choose_lower_rate(now)
                self._successes = 0
                self._slowed_at = now
                self._next = max(self._next, now + 1 / self._rate)
            self._next = max(self._next, now + (retry_after_seconds or 0))

    def _choose_lower_rate(self, now: float) -> float:
        """Return the rate after a refusal; what is known to be good is corrected by what was let through."""
        in_last_minute = [moment for moment in self._accepted if now - moment < _MEMORY_SECONDS]
        if self._rate is None:
            return max(sum(now - moment < 1 for moment in in_last_minute), 1) * _SAFE_SHARE
        if self._successes:
            window = 1 if self._rate > 1 else _MEMORY_SECONDS
            let_through = sum(now - moment < window for moment in in_last_minute) / window
            self._good_rate = min(self._rate, max(let_through, self._rate / 2))
            return self._good_rate * _SAFE_SHARE
        average = len(in_last_minute) / _MEMORY_SECONDS
        if len(in_last_minute) >= _ENOUGH:
            self._good_rate = min(self._good_rate, len(in_last_minute) / max(now - in_last_minute[0], 1))
        return max(self._rate / 2, min(average * _SAFE_SHARE, self._rate), _LEAST_RATE)
