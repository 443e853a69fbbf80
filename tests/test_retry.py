"""Whether to try again, how long to wait before it, and until when: on a clock that only waiting moves."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbr_sync.errors import (
    ApiError,
    CredentialsRefusedError,
    NotAcceptedError,
    OutcomeUnknownError,
    RetryableError,
)
from cbr_sync.retry import Retry, Throttle

THROTTLED = NotAcceptedError("APIGW.0308", "slow down", http_status=429)
UNREACHABLE = NotAcceptedError("CbrSync.Unreachable", "no connection")


@dataclass
class Clock:
    """Counts what was slept; jitter is as long as it may be."""

    waits: list[float] = field(default_factory=list)

    def retry(self, max_attempts: int = 5) -> Retry:
        return Retry(max_attempts, lambda: sum(self.waits), self.waits.append, lambda _low, high: high)


class Failing:
    """Fails so often with this error, then answers; counts the attempts."""

    def __init__(self, error: Exception, times: int = 99) -> None:
        self.attempts = 0
        self._error = error
        self._times = times

    def __call__(self) -> str:
        self.attempts += 1
        if self.attempts <= self._times:
            raise self._error
        return "an answer"


def test_waits_double_up_to_their_cap() -> None:
    """Half a second, one, two, and twenty at most."""
    clock = Clock()
    with pytest.raises(NotAcceptedError):
        clock.retry(max_attempts=9).call(Failing(UNREACHABLE), until=1000)
    assert clock.waits == [0.5, 1, 2, 4, 8, 16, 20, 20]


@given(
    attempt=st.integers(1, 20),
    wish=st.none() | st.floats(0, 99_999),
    chance=st.randoms(use_true_random=False),
)
def test_a_wait_is_the_servers_wish_and_full_jitter(
    attempt: int, wish: float | None, chance: random.Random
) -> None:
    """From nothing up to the ceiling, on top of Retry-After."""
    error = NotAcceptedError("APIGW.0308", "slow down", retry_after_seconds=wish)
    wait = Retry(jitter=chance.uniform).wait_seconds(attempt, error)
    low = wish or 0
    assert low <= wait <= low + min(20, 0.5 * 2 ** (attempt - 1))


def test_nothing_is_made_up_when_nothing_is_replaced() -> None:
    """The monotonic clock, real sleep and real chance."""
    retry = Retry()
    assert (retry.clock, retry.sleep, retry.jitter) == (time.monotonic, time.sleep, random.uniform)
    assert retry.max_attempts == 5


def test_the_first_success_is_what_is_given() -> None:
    """After as many waits as there were failures."""
    clock, attempt = Clock(), Failing(UNREACHABLE, times=2)
    assert clock.retry().call(attempt, until=100) == "an answer"
    assert (attempt.attempts, clock.waits) == (3, [0.5, 1])


@pytest.mark.parametrize("max_attempts", [1, 2, 5])
def test_attempts_are_counted_and_the_last_error_is_raised(max_attempts: int) -> None:
    """With one wait less than attempts."""
    clock = Clock()
    attempt = Failing(UNREACHABLE)
    with pytest.raises(NotAcceptedError) as error:
        clock.retry(max_attempts).call(attempt, until=100)
    assert error.value is UNREACHABLE
    assert (attempt.attempts, len(clock.waits)) == (max_attempts, max_attempts - 1)


@pytest.mark.parametrize(("until", "attempts"), [(0.4, 1), (0.5, 1), (0.6, 2), (1.5, 2), (1.6, 3)])
def test_a_wait_that_would_cross_the_deadline_is_not_begun(until: float, attempts: int) -> None:
    """Nor one that would end just there, where no time is left for an attempt."""
    clock, attempt = Clock(), Failing(UNREACHABLE)
    with pytest.raises(NotAcceptedError):
        clock.retry().call(attempt, until=until)
    assert attempt.attempts == attempts
    assert sum(clock.waits) < until


@pytest.mark.parametrize(
    ("error", "retry_on", "attempts"),
    [
        (NotAcceptedError("x", "y"), NotAcceptedError, 5),
        (OutcomeUnknownError("x", "y"), NotAcceptedError, 1),
        (NotAcceptedError("x", "y"), RetryableError, 5),
        (OutcomeUnknownError("x", "y"), RetryableError, 5),
        (ApiError("x", "y"), RetryableError, 1),
        (CredentialsRefusedError("x", "y"), RetryableError, 1),
        (ZeroDivisionError(), RetryableError, 1),
    ],
    ids=lambda case: getattr(case, "__name__", type(case).__name__),
)
def test_only_the_given_kind_is_tried_again(
    error: Exception, retry_on: type[RetryableError], attempts: int
) -> None:
    """The API's no is final, refused credentials above all."""
    attempt = Failing(error)
    with pytest.raises(type(error)):
        Clock().retry().call(attempt, until=100, retry_on=retry_on)
    assert attempt.attempts == attempts


def test_what_may_have_arrived_is_not_sent_again_unless_asked_for() -> None:
    """Safe is what a caller gets who says nothing."""
    attempt = Failing(OutcomeUnknownError("CbrSync.NoAnswer", "lost"))
    with pytest.raises(OutcomeUnknownError):
        Clock().retry().call(attempt, until=100)
    assert attempt.attempts == 1


# a pace that several callers share


@pytest.mark.parametrize(
    ("error", "paused"),
    [
        (THROTTLED, True),
        (NotAcceptedError("503", "later", http_status=503), True),
        (NotAcceptedError("x", "later", http_status=500, retry_after_seconds=0), True),
        (UNREACHABLE, False),
        (OutcomeUnknownError("502", "lost", http_status=502), False),
    ],
    ids=str,
)
def test_a_gateway_that_throttles_one_pauses_all(error: RetryableError, paused: bool) -> None:
    """A lost connection is nobody else's."""
    clock, pace = Clock(), Throttle()
    with pytest.raises(type(error)):
        clock.retry(max_attempts=1).call(Failing(error), until=100, pace=pace)
    assert clock.waits == []
    assert clock.retry().call(Failing(error, times=0), until=100, pace=pace) == "an answer"
    assert clock.waits == ([0.5 + 0.5] if paused else [])


def test_the_longest_pause_holds() -> None:
    """A shorter one does not end it before its time."""
    clock, pace = Clock(), Throttle()
    pace.pause_until(9)
    pace.pause_until(4)
    pace.hold(clock.retry(), until=100)
    assert clock.waits == [9.5]
    pace.hold(clock.retry(), until=100)
    assert clock.waits == [9.5]


@pytest.mark.parametrize(
    ("until", "sent"),
    [
        pytest.param(8, False, id="pause ends after it"),
        pytest.param(9, False, id="pause ends just there"),
        pytest.param(9.4, False, id="the little more ends after it"),
        pytest.param(9.6, True, id="all ends before it"),
    ],
)
def test_a_pause_that_would_cross_the_deadline_is_not_begun(until: float, sent: bool) -> None:
    """It is told as out of time, and as not sent."""
    clock, pace, attempt = Clock(), Throttle(), Failing(UNREACHABLE, times=0)
    pace.pause_until(9)

    def call() -> str:
        return clock.retry().call(attempt, until=until, pace=pace)

    if sent:
        assert call() == "an answer"
    else:
        assert_out_of_time(call)
    assert sum(clock.waits) < until
    assert attempt.attempts == sent


def assert_out_of_time(call: Callable[[], object]) -> None:
    """The call ends without having sent anything."""
    with pytest.raises(NotAcceptedError, match="throttles for longer than the run lasts") as error:
        call()
    assert (error.value.code, error.value.sent) == ("CbrSync.OutOfTime", False)
