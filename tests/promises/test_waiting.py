"""What is waited for ends in time with a look, and what has waited is served."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest

from support.builders import Lines
from support.function import (
    LOGS_PATH,
    Function,
    build_direct,
    build_queue,
    build_schedule,
    count_syncs,
    list_looks,
    list_posts,
    make_world,
)
from support.world import START


@pytest.mark.parametrize(
    ("ends_after", "limit", "status"),
    [
        (50, 60, "succeeded"),
        (50, 300, "succeeded"),
        (59, 300, "succeeded"),
        (61, 300, "accepted"),
        (52.9, 60, "succeeded"),
        (54, 60, "accepted"),
    ],
)
@pytest.mark.parametrize("vaults", [1, 3])
def test_the_last_look_is_at_the_end_of_the_waiting(
    ends_after: float, limit: float, status: str, vaults: int
) -> None:
    """A18: CBR_SYNC_WAIT_SECONDS=60; the run itself may leave less."""
    world = make_world(vaults, operation_seconds=ends_after)
    function = Function(world, CBR_SYNC_WAIT_SECONDS="60")
    assert function.deliver(build_direct(world), limit) == {status: vaults}
    if status == "accepted":
        assert list_looks(world)[-1] >= min(60, limit - 7.1)


@pytest.mark.parametrize("ends_after", [0.5, 5, 20, 37, 44])
@pytest.mark.parametrize("is_timed", [True, False])
def test_an_older_sync_is_waited_for_and_ours_started_after_it(ends_after: float, is_timed: bool) -> None:
    """Whether it is seen by the check or by a conflict."""
    world = make_world(3, operation_seconds=600)
    older = world.vaults[1].id
    world.simulator.start_operation(older, at=START - timedelta(seconds=60), seconds=60 + ends_after)
    function = Function(world, CBR_SYNC_WAIT_SECONDS="45")
    event = build_schedule(world) if is_timed else build_direct(world)
    assert function.deliver(event, 120) == {"accepted": 3}
    assert count_syncs(world) == [1, 1, 1]
    assert list_posts(world, older)[-1] >= ends_after


@pytest.mark.parametrize("wait", ["0", "20"])
def test_an_older_sync_that_never_ends_is_already_running(wait: str) -> None:
    """For the one vault alone."""
    world = make_world(3)
    running = world.simulator.start_operation(
        world.vaults[1].id, at=START - timedelta(seconds=60), seconds=9999
    )
    function = Function(world, CBR_SYNC_WAIT_SECONDS=wait)
    assert function.deliver(build_schedule(world)) == {"accepted": 2, "already_running": 1}
    assert function.outcomes[1].operation_log_id == running.id
    assert world.elapsed <= int(wait)


def test_one_budget_is_for_waiting_and_for_following() -> None:
    """The older one ends after 20 s of 45, ours runs for 20 more: it is seen to end. With 30 it is not."""
    for seconds, status in ((20, "succeeded"), (30, "accepted")):
        world = make_world(operation_seconds=seconds)
        world.simulator.start_operation(
            world.vaults[0].id, at=START - timedelta(seconds=60), seconds=80, ends="failed"
        )
        function = Function(world, CBR_SYNC_WAIT_SECONDS="45")
        assert function.deliver(build_schedule(world), 300) == {status: 1}
        assert world.elapsed <= 46


def test_a_sync_of_somebody_else_that_begins_while_we_wait_serves() -> None:
    """The older one ends, and the console starts another before our next look: it is adopted."""
    world = make_world()
    vault = world.vaults[0].id
    world.simulator.start_operation(vault, at=START - timedelta(seconds=60), seconds=70)
    other = world.simulator.start_operation(vault, at=START + timedelta(seconds=10.1), seconds=600)
    function = Function(world, CBR_SYNC_WAIT_SECONDS="40")
    assert function.deliver(build_schedule(world)) == {"accepted": 1}
    assert (function.outcome.operation_log_id, function.outcome.adopted) == (other.id, True)


def test_a_chain_of_syncs_that_are_all_older_than_a_trigger_without_a_time() -> None:
    """One ends, the next begins: what began in our run, and is not ours, serves none that has no time."""
    world = make_world()
    vault = world.vaults[0].id
    for number in range(6):
        at = START + timedelta(seconds=10 * number - 5)
        world.simulator.start_operation(vault, at=at, seconds=10)
    function = Function(world, CBR_SYNC_WAIT_SECONDS="100")
    assert function.deliver(build_direct(world), 300) == {"accepted": 1}
    assert not function.outcome.adopted
    assert list_posts(world)[-1] >= 55


def test_of_two_triggers_one_is_followed_and_the_other_started_afterwards() -> None:
    """The running sync serves the first; its end is seen, and then ours is started for the second."""
    world = make_world(operation_seconds=10)
    vault = world.vaults[0].id
    world.sleep(120)
    running = world.simulator.start_operation(vault, at=START + timedelta(seconds=60), seconds=70)
    event = build_queue({"vault_id": vault}, {"vault_id": vault, "time": "2026-11-23T03:01:30Z"})
    function = Function(world, CBR_SYNC_WAIT_SECONDS="40")
    assert function.deliver(event) == {"succeeded": 2}
    first, second = function.outcomes
    assert first.operation_log_id == running.id
    assert (first.adopted, second.adopted) == (True, False)
    assert len(list_posts(world)) == 1


def test_a_look_that_hangs_while_waiting_ends_with_the_run(log_lines: Lines) -> None:
    """What was accepted stays accepted."""
    world = make_world(3)
    world.simulator.add_faults("hang*99", "ListOpLogs")
    function = Function(world, CBR_SYNC_WAIT_SECONDS="60")
    assert function.deliver(build_direct(world)) == {"accepted": 3}
    assert "could not follow the operations" in [line["message"] for line in log_lines()]


@pytest.mark.parametrize("fault", ["503*3", "429*3", "reset*3", "huge", "bomb", "charset"])
def test_a_look_that_fails_while_waiting_is_repeated(fault: str) -> None:
    """And the end is seen."""
    world = make_world(3, operation_seconds=30)
    world.simulator.add_faults(fault, "ListOpLogs")
    function = Function(world, CBR_SYNC_WAIT_SECONDS="50")
    assert function.deliver(build_direct(world), 120) == {"succeeded": 3}


def test_nothing_that_is_raised_while_waiting_costs_an_outcome(log_lines: Lines) -> None:
    """Foreseen or not: what was accepted is reported as such at once, and the traceback is in the log."""
    world = make_world(3, operation_seconds=30)

    def break_down(request: httpx.Request) -> httpx.Response | None:
        if request.url.path == LOGS_PATH and world.elapsed > 1:
            raise RuntimeError("unforeseen")
        return None

    function = Function(world, intercept=break_down, CBR_SYNC_WAIT_SECONDS="50")
    assert function.deliver(build_direct(world), 120) == {"accepted": 3}
    assert world.elapsed < 10
    assert any("unforeseen" in line.get("exception", "") for line in log_lines())


def test_odd_rows_are_no_reason_to_wait() -> None:
    """Rows of other vaults that are null or malformed in places, while an older sync is waited for."""
    world = make_world(3, operation_seconds=10, odd_rows=True)
    world.simulator.start_operation(
        world.vaults[1].id, at=START - timedelta(seconds=60), seconds=70, ends="skipped"
    )
    function = Function(world, CBR_SYNC_WAIT_SECONDS="40")
    assert function.deliver(build_schedule(world)) == {"succeeded": 3}
    assert count_syncs(world) == [1, 1, 1]


@pytest.mark.parametrize("offset", [-240, 240])
def test_waiting_is_done_on_the_apis_clock(offset: float) -> None:
    """Four minutes off in either direction, in whole seconds."""
    world = make_world(2, operation_seconds=10, clock_offset_seconds=offset, whole_seconds=True)
    older_at = world.simulator.now() - timedelta(seconds=60)
    world.simulator.start_operation(world.vaults[1].id, at=older_at, seconds=75)
    function = Function(world, CBR_SYNC_WAIT_SECONDS="50")
    assert function.deliver(build_schedule(world), 120) == {"succeeded": 2}
    assert len(world.simulator.operations) == 3
