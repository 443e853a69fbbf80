"""Whether to try again, how long to wait before it, and until when: on a clock that only waiting moves."""

from __future__ import annotations

import contextlib
import random
import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbr_sync.clock import Clock
from cbr_sync.errors import (
    ApiError,
    CredentialsRefusedError,
    NotAcceptedError,
    OutcomeUnknownError,
    RetryableError,
    ThrottledError,
)
from cbr_sync.retry import Retrier, Throttle
from cbr_sync.threads import run_until
from support.world import VirtualClock

THROTTLED = ThrottledError("APIGW.0308", "slow down", http_status=429)
LOST = OutcomeUnknownError("CbrSync.NoAnswer", "lost")
UNREACHABLE = NotAcceptedError("CbrSync.Unreachable", "no connection")


class RecordingClock(VirtualClock):
    """Keeps what was slept."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        super().sleep(seconds)

    def retrier(self, max_attempts: int = 5) -> Retrier:
        return Retrier(self, max_attempts)


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
    clock = RecordingClock()
    with pytest.raises(NotAcceptedError):
        clock.retrier().call(Failing(UNREACHABLE), deadline=72)
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
    error = NotAcceptedError("503", "later", retry_after_seconds=wish)
    clock = RecordingClock()
    clock.jitter = chance.uniform  # type: ignore[method-assign, assignment]
    assert clock.retrier().call(Failing(error, times=attempt), deadline=1e9) == "an answer"
    low = wish or 0
    assert len(clock.waits) == attempt
    assert all(
        low <= wait <= low + min(20, 0.5 * 2**number) + 1e-6 for number, wait in enumerate(clock.waits)
    )


def test_the_machines_clock_is_real() -> None:
    """Monotonic, in seconds; waiting takes its time; jitter is between its bounds."""
    clock = Clock()
    began = clock.monotonic()
    clock.sleep(0.01)
    assert 0.01 <= clock.monotonic() - began < 5
    assert clock.wait(threading.Event(), 0) is False
    assert all(1 <= clock.jitter(1, 2) <= 2 for _ in range(100))
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)


def test_the_first_success_is_what_is_given() -> None:
    """After as many waits as there were failures."""
    clock, attempt = RecordingClock(), Failing(UNREACHABLE, times=2)
    assert clock.retrier().call(attempt, deadline=100) == "an answer"
    assert (attempt.attempts, clock.waits) == (3, [0.5, 1])


@pytest.mark.parametrize("max_attempts", [1, 2, 5])
def test_attempts_are_counted_and_the_last_error_is_raised(max_attempts: int) -> None:
    """With one wait less than attempts."""
    for count_all, error in ((False, LOST), (True, LOST), (True, UNREACHABLE)):
        clock, attempt = RecordingClock(), Failing(error)
        with pytest.raises(type(error)) as raised:
            clock.retrier(max_attempts).call(attempt, deadline=100, count_all=count_all)
        assert raised.value is error
        assert (attempt.attempts, len(clock.waits)) == (max_attempts, max_attempts - 1)


@pytest.mark.parametrize(("deadline", "attempts"), [(0.4, 1), (0.5, 1), (0.6, 2), (1.5, 2), (1.6, 3)])
def test_a_wait_that_would_cross_the_deadline_is_not_begun(deadline: float, attempts: int) -> None:
    """Nor one that would end just there, where no time is left for an attempt."""
    clock, attempt = RecordingClock(), Failing(UNREACHABLE)
    with pytest.raises(NotAcceptedError):
        clock.retrier().call(attempt, deadline=deadline)
    assert attempt.attempts == attempts
    assert sum(clock.waits) < deadline


@pytest.mark.parametrize(
    ("error", "retry_on", "attempts"),
    [
        (NotAcceptedError("x", "y"), NotAcceptedError, 10),
        (OutcomeUnknownError("x", "y"), NotAcceptedError, 1),
        (NotAcceptedError("x", "y"), RetryableError, 10),
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
        RecordingClock().retrier().call(attempt, deadline=100, retry_on=retry_on)
    assert attempt.attempts == attempts


# the pace that all callers of a gateway share


class Gateway:
    """Accepts requests as its limit allows, on a virtual clock; knows what it accepted and refused, and when.

    Args:
        clock: Its clock, too.
        limit: How many requests it accepts.
        seconds: In any window of so many seconds.
        answer_seconds: How long an accepted request takes.
        retry_after: What a refusal wishes.
    """

    def __init__(
        self,
        clock: Clock,
        limit: int,
        seconds: float,
        *,
        answer_seconds: float = 0.1,
        retry_after: float | None = None,
    ) -> None:
        self.accepted: list[float] = []
        self.refused: list[float] = []
        self._clock = clock
        self._limit = limit
        self._seconds = seconds
        self._answer_seconds = answer_seconds
        self._retry_after = retry_after
        self._lock = threading.Lock()

    def __call__(self) -> str:
        with self._lock:
            now = self._clock.monotonic()
            recent = sum(now - moment < self._seconds for moment in self.accepted)
            is_refused = recent >= self._limit
            (self.refused if is_refused else self.accepted).append(now)
        if is_refused:
            raise ThrottledError("APIGW.0308", "slow down", retry_after_seconds=self._retry_after)
        self._clock.sleep(self._answer_seconds)
        return "accepted"


def call_gateway(gateway: Gateway, clock: VirtualClock, *, count: int, workers: int, seconds: float) -> int:
    """How many of the calls a gateway accepted before the deadline."""
    retrier, throttle = Retrier(clock), Throttle(clock)
    results: list[str] = []

    def call() -> None:
        with contextlib.suppress(NotAcceptedError):
            results.append(retrier.call(gateway, deadline=seconds, throttle=throttle))

    run_until(seconds, [call] * count, clock=clock, concurrency=workers)
    assert clock.elapsed <= seconds
    return len(results)


@pytest.mark.parametrize("retry_after", [None, 1.0])
@pytest.mark.parametrize("workers", [1, 16])
def test_three_a_second_are_used_and_little_is_refused(workers: int, retry_after: float | None) -> None:
    """Sixty requests in one run, at no less than 0.8 of the rate, and later few refusals."""
    clock = VirtualClock()
    gateway = Gateway(clock, limit=3, seconds=1, retry_after=retry_after)
    assert call_gateway(gateway, clock, count=60, workers=workers, seconds=60) == 60
    assert 60 / gateway.accepted[-1] >= 0.8 * 3
    late = [moment for moment in gateway.refused if moment > 3]
    assert len(late) < sum(moment > 3 for moment in gateway.accepted) / 5


@pytest.mark.parametrize("retry_after", [None, 1.0])
def test_a_limit_for_each_minute_is_found_as_well(retry_after: float | None) -> None:
    """Ten a minute over five minutes are 50, of which most are used."""
    clock = VirtualClock()
    gateway = Gateway(clock, limit=10, seconds=60, retry_after=retry_after)
    assert call_gateway(gateway, clock, count=50, workers=16, seconds=300) >= 40
    assert len(gateway.refused) < len(gateway.accepted)


def test_nothing_is_held_up_where_nothing_is_refused() -> None:
    """A thousand requests go out as fast as their answers come."""
    clock = VirtualClock()
    gateway = Gateway(clock, limit=10_000, seconds=1)
    assert call_gateway(gateway, clock, count=1000, workers=20, seconds=60) == 1000
    assert clock.elapsed == pytest.approx(1000 / 20 * 0.1)


def test_a_limit_that_is_lifted_is_noticed() -> None:
    """The pace grows again."""
    clock = VirtualClock()
    gateway = Gateway(clock, limit=2, seconds=1)
    retrier, throttle = Retrier(clock), Throttle(clock)
    for _ in range(20):
        retrier.call(gateway, deadline=1000, throttle=throttle)
    gateway._limit = 10_000  # noqa: SLF001 - the operator of the gateway does
    lifted = clock.elapsed
    for _ in range(100):
        retrier.call(gateway, deadline=1000, throttle=throttle)
    assert clock.elapsed - lifted < 100 / 2


def test_retry_after_stops_everybody() -> None:
    """Until then nothing is sent, whoever was refused."""
    clock, throttle = RecordingClock(), Throttle(RecordingClock())
    throttle = Throttle(clock)
    throttle.report_refusal(throttle.wait(100), 9)
    assert throttle.wait(100) == 9


@pytest.mark.parametrize(("deadline", "is_sent"), [(8, False), (9, False), (9.1, True)])
def test_a_pause_that_would_cross_the_deadline_is_not_begun(deadline: float, is_sent: bool) -> None:
    """It is out of time and not sent, or the gateway's own refusal where there was one."""
    clock, attempt = RecordingClock(), Failing(UNREACHABLE, times=0)
    throttle = Throttle(clock)
    throttle.report_refusal(throttle.wait(100), 9)
    if is_sent:
        assert clock.retrier().call(attempt, deadline=deadline, throttle=throttle) == "an answer"
    else:
        with pytest.raises(NotAcceptedError, match="throttles for longer than the run lasts") as error:
            clock.retrier().call(attempt, deadline=deadline, throttle=throttle)
        assert (error.value.code, error.value.sent) == ("CbrSync.OutOfTime", False)
        with pytest.raises(ThrottledError) as refusal:
            throttle.wait(deadline, THROTTLED)
        assert refusal.value is THROTTLED
    assert attempt.attempts == is_sent


@pytest.mark.parametrize("error", [UNREACHABLE, LOST, NotAcceptedError("503", "later", http_status=503)])
def test_what_is_not_a_matter_of_pace_holds_nobody_up(error: RetryableError) -> None:
    """A lost connection or a 503 is nobody else's."""
    clock = RecordingClock()
    throttle = Throttle(clock)
    with pytest.raises(type(error)):
        clock.retrier(max_attempts=1).call(Failing(error), deadline=100, throttle=throttle, count_all=True)
    assert throttle.wait(100) == 0
