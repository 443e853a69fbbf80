"""What the API lets through is used, and one vault's trouble holds up no other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime
from itertools import count

import httpx
import pytest

from support.function import (
    LOGS_PATH,
    SYNC_PATH,
    Function,
    build_direct,
    build_schedule,
    count_syncs,
    list_looks,
    list_posts,
    make_world,
)
from support.world import World

THROTTLED = {"error_code": "APIGW.0308", "error_msg": "The throttling threshold has been reached"}


def list_refusals(world: World, after: float = 0) -> list[float]:
    """When requests were throttled, in seconds of the world."""
    began = world.now() - timedelta(seconds=world.elapsed)
    refused = [one for one in world.simulator.requests if one.status == 429]
    moments = [(one.received_at - began).total_seconds() for one in refused]
    return [moment for moment in moments if moment > after]


@pytest.mark.parametrize("retry_after", [None, "seconds", "date"])
@pytest.mark.parametrize("build", [build_direct, build_schedule])
def test_ten_a_minute_are_used_for_fifty_vaults(
    retry_after: str | None, build: Callable[[World], object]
) -> None:
    """A11: a run of 300 seconds lets fifty requests through; what is left is unfinished."""
    world = make_world(50, rate_per_minute=10, retry_after=retry_after)
    statuses = Function(world).deliver(build(world), 300)
    assert statuses["accepted"] >= 40
    assert sum(statuses.values()) == 50
    assert set(statuses) <= {"accepted", "unfinished"}
    assert sum(count_syncs(world)) == statuses["accepted"]


@pytest.mark.parametrize("retry_after", [None, "seconds", "date"])
@pytest.mark.parametrize("concurrency", ["1", "16", "64"])
def test_three_a_second_serve_sixty_vaults(retry_after: str | None, concurrency: str) -> None:
    """All of them, at 0.8 of the rate or more; after the first seconds fewer than one in five are refused."""
    world = make_world(60, rate_per_second=3, retry_after=retry_after)
    function = Function(world, CBR_SYNC_CONCURRENCY=concurrency)
    assert function.deliver(build_direct(world)) == {"accepted": 60}
    assert count_syncs(world) == [1] * 60
    accepted = [(operation.created_at - world.started[0].created_at) for operation in world.started]
    assert 60 / max(one.total_seconds() for one in accepted) >= 0.8 * 3
    assert len(list_refusals(world, after=3)) < sum(at > 3 for at in list_posts(world)) / 5


def test_a_duplicate_check_that_is_throttled_waits_within_its_half() -> None:
    """A12: ListOpLogs is throttled for 10 s of a 300 s run."""
    world = make_world(5)
    event = build_schedule(world)
    assert Function(world).deliver(event) == {"accepted": 5}
    began = world.elapsed

    def throttle(request: httpx.Request) -> httpx.Response | None:
        is_throttled = request.url.path == LOGS_PATH and world.elapsed - began < 10
        return httpx.Response(429, json=THROTTLED) if is_throttled else None

    function = Function(world, intercept=throttle)
    assert function.deliver(event, 300) == {"accepted": 5}
    assert all(outcome.adopted for outcome in function.outcomes)
    assert count_syncs(world) == [1] * 5


@pytest.mark.parametrize(("seconds", "half"), [(300.0, 30.0), (40.0, 17.5), (10.0, 4.0)])
def test_a_duplicate_check_that_is_throttled_without_end_leaves_time_for_the_posts(
    seconds: float, half: float
) -> None:
    """Half of the time, and thirty seconds at most; then the POSTs go on, at the pace that was found."""
    world = make_world(5)

    def throttle(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(429, json=THROTTLED) if request.url.path == LOGS_PATH else None

    function = Function(world, intercept=throttle)
    statuses = function.deliver(build_schedule(world), seconds)
    assert statuses["accepted"] == (5 if seconds == 300 else statuses["accepted"])
    assert min(list_posts(world)) <= 2 * half


def test_one_vault_that_has_to_wait_holds_up_no_other() -> None:
    """A21: one answers 503 with Retry-After: 40, among 40 vaults, in a run of 60 s."""
    world = make_world(40)
    slow = world.vaults[7].id
    world.simulator.add_faults("slow-503", slow)
    assert Function(world).deliver(build_direct(world)) == {"accepted": 40}
    assert sorted(list_posts(world))[-2] < 1
    assert 40 <= list_posts(world, slow)[1] < 42


@pytest.mark.parametrize("fault", ["503", "425", "refuse", "slow-503"])
@pytest.mark.parametrize(("concurrency", "waiting"), [("1", 1), ("1", 20), ("16", 20), ("16", 39)])
def test_however_many_vaults_have_to_wait_the_others_are_served(
    fault: str, concurrency: str, waiting: int
) -> None:
    """More of them than workers, to the end of the run."""
    world = make_world(40)
    for vault in world.vaults[:waiting]:
        world.simulator.add_faults(f"{fault}*99", vault.id)
    function = Function(world, CBR_SYNC_CONCURRENCY=concurrency)
    assert function.deliver(build_direct(world)) == {"accepted": 40 - waiting, "unfinished": waiting}
    assert count_syncs(world) == [0] * waiting + [1] * (40 - waiting)
    assert all(list_posts(world, vault.id)[0] < 1 for vault in world.vaults[waiting:])


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", ["5", "5.0", "5.7", " 5 ", "date"])
def test_retry_after_is_honoured_in_every_form(status: int, form: str) -> None:
    """A22: an HTTP date, or a fraction of seconds; nothing is sent before."""
    world = make_world()
    attempts = count()

    def refuse(request: httpx.Request) -> httpx.Response | None:
        if request.url.path != SYNC_PATH:
            return None
        moments.append(world.elapsed)
        if next(attempts):
            return None
        date = format_datetime(world.now() + timedelta(seconds=5), usegmt=True)
        headers = {"Retry-After": date if form == "date" else form}
        return httpx.Response(status, json=THROTTLED if status == 429 else {}, headers=headers)

    moments: list[float] = []
    assert Function(world, intercept=refuse).deliver(build_direct(world)) == {"accepted": 1}
    first, second = moments
    assert 5 <= second - first <= 8


@pytest.mark.parametrize("form", ["soon", "-5", "", "1e3", "99999999999", "Thu, 99 Nov 2026 03:00:00 GMT"])
@pytest.mark.parametrize("status", [429, 503])
def test_a_retry_after_that_cannot_be_read_counts_as_none(status: int, form: str) -> None:
    """It is tried again soon."""
    world = make_world()
    attempts = count()

    def refuse(request: httpx.Request) -> httpx.Response | None:
        if request.url.path != SYNC_PATH or next(attempts):
            return None
        return httpx.Response(status, json=THROTTLED if status == 429 else {}, headers={"Retry-After": form})

    assert Function(world, intercept=refuse).deliver(build_direct(world)) == {"accepted": 1}
    assert world.elapsed < 3


@pytest.mark.parametrize("fault", ["429", "503", "425", "refuse"])
def test_what_was_not_accepted_counts_against_no_limit_of_attempts(fault: str) -> None:
    """One attempt is allowed, and ten are refused before it."""
    world = make_world()
    world.simulator.add_faults(f"{fault}*10", world.vaults[0].id)
    function = Function(world, CBR_SYNC_MAX_ATTEMPTS="1")
    assert function.deliver(build_direct(world), 300) == {"accepted": 1}
    assert list_looks(world) == []


def test_a_date_in_retry_after_is_on_the_apis_clock() -> None:
    """Which is four minutes behind ours: its date is in our past, and counts all the same."""
    world = make_world(clock_offset_seconds=-240)
    world.simulator.add_faults("retry-after-date", world.vaults[0].id)
    assert Function(world).deliver(build_direct(world)) == {"accepted": 1}
    first, second = list_posts(world)
    assert 4 <= second - first <= 8
