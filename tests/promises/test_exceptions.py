"""What is not promised: each exception of the promise, and that it goes no further than it says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest

from cbr_sync.models import format_rfc3339
from support.builders import Lines
from support.function import (
    SYNC_PATH,
    Function,
    build_direct,
    build_schedule,
    count_syncs,
    make_world,
)
from support.world import START, World, webhook_event


def at(seconds: float) -> str:
    """A moment of the world, as payloads have it."""
    return format_rfc3339(START + timedelta(seconds=seconds))


@pytest.mark.parametrize("hours", [None, 25])
def test_a_trigger_without_a_time_or_of_yesterday_can_start_a_second_sync(hours: float | None) -> None:
    """Once the first has ended; while it runs, a second delivery starts none."""
    world = make_world(operation_seconds=60)
    event = build_direct(world) if hours is None else build_schedule(world, START - timedelta(hours=hours))
    function = Function(world)
    assert function.deliver(event) == {"accepted": 1}
    world.sleep(30)
    assert function.deliver(event) == {"already_running": 1}
    world.sleep(60)
    assert function.deliver(event) == {"accepted": 1}
    assert count_syncs(world) == [2]


@pytest.mark.parametrize(("time", "syncs"), [(None, 2), (at(0), 1)])
def test_a_webhook_that_is_signed_anew_can_start_a_second_sync(time: str | None, syncs: int) -> None:
    """Where its payload has no time; once the first has ended."""
    world = make_world(operation_seconds=60)
    body = {**build_direct(world), **({"time": time} if time else {})}
    for _ in range(2):
        assert world.on_lambda(webhook_event(body, world))["statusCode"] == 200
        world.sleep(120)
    assert count_syncs(world) == [syncs]


@pytest.mark.parametrize(("operation_seconds", "syncs"), [(0, 2), (60, 1)])
def test_two_deliveries_at_the_very_same_moment_can_start_two(operation_seconds: float, syncs: int) -> None:
    """Both have checked before either has sent, and the first sync ends at once; else it is adopted."""
    world = make_world(operation_seconds=operation_seconds)
    event = build_schedule(world)
    others = iter([Function(world)])

    def deliver_meanwhile(request: httpx.Request) -> None:
        if request.url.path == SYNC_PATH and (other := next(others, None)):
            other.deliver(event)

    function = Function(world, intercept=deliver_meanwhile)
    assert function.deliver(event) == {"accepted": 1}
    assert count_syncs(world) == [syncs]
    assert function.outcome.adopted is (syncs == 1)


@pytest.mark.parametrize(("log_delay_seconds", "syncs"), [(7, 1), (20, 2)])
def test_an_operation_that_shows_late_can_be_doubled(log_delay_seconds: float, syncs: int) -> None:
    """Later than seven seconds after a doubtful POST, and over by the next one."""
    world = make_world(operation_seconds=1, log_delay_seconds=log_delay_seconds)
    world.simulator.add_faults("reset-after", world.vaults[0].id)
    Function(world).deliver(build_direct(world))
    assert count_syncs(world) == [syncs]


@pytest.mark.parametrize(("behind", "is_adopted"), [(0, False), (20, False), (60, True)])
def test_a_senders_clock_that_is_behind_lets_an_earlier_sync_count(behind: float, is_adopted: bool) -> None:
    """By as much as it is behind: a sync began half a minute before what made another one necessary."""
    world = make_world(operation_seconds=1)
    world.simulator.start_operation(world.vaults[0].id, at=START - timedelta(seconds=30))
    function = Function(world)
    function.deliver({**build_direct(world), "time": at(-behind)})
    assert function.outcome.adopted is is_adopted


@pytest.mark.parametrize(("ahead", "syncs"), [(10, 2), (0, 1)])
def test_a_senders_clock_that_is_ahead_can_start_a_second_sync(ahead: float, syncs: int) -> None:
    """Where no platform says when it got the message."""
    world = make_world(operation_seconds=1)
    event = {**build_direct(world), "time": at(ahead)}
    for _ in range(2):
        Function(world).deliver(event)
        world.sleep(60)
    assert count_syncs(world) == [syncs]


def test_what_the_api_accepted_and_skipped_leaves_its_trigger_unserved() -> None:
    """The run that started it says accepted; the next delivery starts one that runs."""
    world = make_world(operation_seconds=5)
    world.simulator.skip_syncs(world.vaults[0].id)
    function = Function(world)
    assert function.deliver(build_schedule(world)) == {"accepted": 1}
    world.sleep(60)
    assert function.deliver(build_schedule(world)) == {"accepted": 1}
    assert [operation.vault.ends for operation in world.started] == ["skipped", "success"]


def prepare_failed(world: World) -> None:
    """The API refuses the sync for good."""
    world.simulator.add_faults("404", world.vaults[0].id)


def prepare_running(world: World) -> None:
    """An older sync runs."""
    world.simulator.start_operation(world.vaults[0].id, at=START - timedelta(hours=1), seconds=99_999)


def prepare_unfinished(world: World) -> None:
    """The API cannot be reached in the whole run."""
    world.simulator.add_faults("503*99", world.vaults[0].id)


@pytest.mark.parametrize(
    ("prepare", "status"),
    [
        (prepare_failed, "failed"),
        (prepare_running, "already_running"),
        (prepare_unfinished, "unfinished"),
    ],
)
def test_a_trigger_whose_outcome_says_so_is_not_served(
    prepare: Callable[[World], None], status: str, log_lines: Lines
) -> None:
    """And is reported as trouble, or raised."""
    world = make_world()
    prepare(world)
    assert Function(world).deliver(build_schedule(world)) == {status: 1}
    assert f"cbr-sync.checkpoint.sync.{status}.v1" in [line["message"] for line in log_lines()]
    assert count_syncs(world) == [0]


@pytest.mark.parametrize(("fault", "syncs"), [("403-permission*9", 2), ("503", 1)])
def test_with_the_check_failing_there_is_one_sync_too_many_rather_than_none(fault: str, syncs: int) -> None:
    """Once the first has ended; a check that fails for a moment only finds it."""
    world = make_world(operation_seconds=5)
    function = Function(world)
    function.deliver(build_schedule(world))
    world.sleep(60)
    world.simulator.add_faults(fault, "ListOpLogs")
    function.deliver(build_schedule(world))
    assert count_syncs(world) == [syncs]
