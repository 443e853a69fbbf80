"""An operation is ours where it is, and nobody else's is taken for it; no trigger starts two."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest

from cbr_sync.models import Status
from support.function import (
    LOGS_PATH,
    SYNC_PATH,
    Function,
    build_direct,
    build_queue,
    build_schedule,
    count_syncs,
    list_looks,
    list_posts,
    make_world,
)
from support.world import START, World

CONFLICT = {"error_code": "BackupService.7302", "error_msg": "The vault is being synchronized."}
# Answers to a POST after which nobody knows whether the API took it.
LOST = ["reset-after", "hang-after", "interim-after", "truncated", "drip", "drip-after", "html", "bomb"]
LOST_STATUSES = ["408-after", "499-after", "500-after", "502-after", "504-after"]
# The same where it did not.
NEVER_ARRIVED = ["reset", "hang", "interim", "charset", "huge", "408", "499", "500", "502", "504"]


def test_a_sync_that_ended_before_is_not_taken_for_ours() -> None:
    """A7: it ended 35 seconds ago; the POST of a direct event is reset before it arrives."""
    world = make_world()
    vault = world.vaults[0].id
    world.simulator.start_operation(vault, at=START - timedelta(seconds=95), seconds=60)
    world.simulator.add_faults("reset", vault)
    function = Function(world)
    assert function.deliver(build_direct(world)) == {"accepted": 1}
    assert not function.outcome.adopted
    assert count_syncs(world) == [1]


@pytest.mark.parametrize("fault", LOST + LOST_STATUSES)
@pytest.mark.parametrize("max_attempts", ["1", "5"])
@pytest.mark.parametrize("log_delay_seconds", [0.0, 6.0])
@pytest.mark.parametrize("build", [build_direct, build_schedule])
def test_a_lost_answer_is_found(
    fault: str, max_attempts: str, log_delay_seconds: float, build: Callable[[World], object]
) -> None:
    """A10: also where no second POST is allowed, and where the logs show it only six seconds later."""
    world = make_world(log_delay_seconds=log_delay_seconds)
    world.simulator.add_faults(fault, world.vaults[0].id)
    function = Function(world, CBR_SYNC_MAX_ATTEMPTS=max_attempts)
    assert function.deliver(build(world)) == {"accepted": 1}
    assert (function.outcome.adopted, function.outcome.attempts) == (True, 1)
    assert function.outcome.operation_log_id == world.started[0].id
    assert count_syncs(world) == [1]


@pytest.mark.parametrize("fault", NEVER_ARRIVED)
@pytest.mark.parametrize("build", [build_direct, build_schedule])
def test_what_never_arrived_is_looked_for_and_sent_again(
    fault: str, build: Callable[[World], object]
) -> None:
    """A20: a 408 of a load balancer is no more final than a reset."""
    world = make_world()
    world.simulator.add_faults(fault, world.vaults[0].id)
    function = Function(world)
    assert function.deliver(build(world)) == {"accepted": 1}
    assert (function.outcome.adopted, function.outcome.attempts) == (False, 2)
    first, second = list_posts(world)
    assert len([at for at in list_looks(world) if first < at < second]) >= 3
    assert count_syncs(world) == [1]


def test_the_last_post_is_looked_for_as_well() -> None:
    """Five answers are lost on their way; the fifth POST was taken."""
    world = make_world()
    world.simulator.add_faults("reset*4,reset-after", world.vaults[0].id)
    function = Function(world)
    assert function.deliver(build_direct(world), 300) == {"accepted": 1}
    assert (function.outcome.adopted, function.outcome.attempts) == (True, 5)


def test_attempts_that_are_used_up_leave_it_unfinished() -> None:
    """Nothing was taken, and nothing is started by a sixth."""
    world = make_world()
    world.simulator.add_faults("reset*9", world.vaults[0].id)
    function = Function(world)
    assert function.deliver(build_direct(world), 300) == {"unfinished": 1}
    assert (function.outcome.attempts, count_syncs(world)) == (5, [0])


@pytest.mark.parametrize("look", [400, 403, 404, 500, 503])
def test_a_conflict_is_no_failure_whatever_the_look_says(look: int) -> None:
    """A14: 7302, then the listing is refused."""
    world = make_world()
    world.simulator.start_operation(world.vaults[0].id, at=START - timedelta(hours=1), seconds=7200)

    def refuse(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(look, json={}) if request.url.path == LOGS_PATH else None

    function = Function(world, intercept=refuse)
    assert function.deliver(build_direct(world)) == {"already_running": 1}
    assert function.outcome.error is None
    assert function.error is None


def test_a_storm_of_conflicts_that_nothing_explains_ends_in_a_sync() -> None:
    """Twenty times 7302, though nothing runs."""
    world = make_world()
    conflicts = iter(range(20))

    def conflict(request: httpx.Request) -> httpx.Response | None:
        is_sync = request.url.path == SYNC_PATH and next(conflicts, None) is not None
        return httpx.Response(400, json=CONFLICT) if is_sync else None

    function = Function(world, intercept=conflict)
    assert function.deliver(build_direct(world), 900) == {"accepted": 1}
    assert function.outcome.attempts == 21
    assert count_syncs(world) == [1]


def test_a_storm_of_conflicts_without_end_is_already_running() -> None:
    """And ends with its run."""
    world = make_world()

    def conflict(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(400, json=CONFLICT) if request.url.path == SYNC_PATH else None

    function = Function(world, intercept=conflict)
    assert function.deliver(build_direct(world)) == {"already_running": 1}
    assert count_syncs(world) == [0]


def test_a_conflict_with_our_own_doubtful_post_is_resolved_once_the_logs_show_it() -> None:
    """The first POST was taken, its answer lost, the logs late; the second one finds it running."""
    world = make_world(log_delay_seconds=12)
    world.simulator.add_faults("reset-after", world.vaults[0].id)
    function = Function(world)
    assert function.deliver(build_direct(world)) == {"accepted": 1}
    assert (function.outcome.adopted, count_syncs(world)) == (True, [1])


@pytest.mark.parametrize("seconds", [-30.0, -1.0, 1.0, 28.0])
def test_somebody_elses_skipped_operation_serves_nobody(seconds: float) -> None:
    """A17: it began so long after the trigger, or before it, and never ran."""
    world = make_world()
    world.sleep(60)
    began = START + timedelta(seconds=30 + seconds)
    other = world.simulator.start_operation(world.vaults[0].id, at=began, seconds=1, ends="skipped")
    function = Function(world)
    trigger = build_schedule(world, START + timedelta(seconds=30))
    assert function.deliver(trigger) == {"accepted": 1}
    assert function.outcome.operation_log_id != other.id


def test_a_sync_that_the_api_skips_is_reported_as_such() -> None:
    """Its outcome says that the trigger is not served; another delivery starts another one."""
    world = make_world(operation_seconds=5)
    world.simulator.skip_syncs(world.vaults[0].id)
    function = Function(world, CBR_SYNC_WAIT_SECONDS="20")
    assert function.deliver(build_schedule(world)) == {"skipped": 1}
    assert function.deliver(build_schedule(world)) == {"succeeded": 1}
    assert count_syncs(world) == [2]


def test_deliveries_while_an_older_sync_runs_start_one_after_it() -> None:
    """However often; the first one after its end starts ours, and those after that adopt it."""
    world = make_world()
    world.simulator.start_operation(world.vaults[0].id, at=START - timedelta(minutes=5), seconds=600)
    function = Function(world)
    statuses: list[str] = []
    for _ in range(8):
        statuses += function.deliver(build_schedule(world))
        world.sleep(60)
    assert statuses[:5] == ["already_running"] * 5
    assert set(statuses[5:]) == {"accepted"}
    # Seen running in the logs, so that no POST had to find out.
    assert len(list_posts(world)) == 1
    assert function.outcome.adopted


def test_of_several_triggers_in_a_run_each_is_served_by_what_began_after_it() -> None:
    """A sync runs that began between the two: it serves the first one, and the second has to wait."""
    world = make_world()
    vault = world.vaults[0].id
    world.sleep(120)
    running = world.simulator.start_operation(vault, at=START + timedelta(seconds=60), seconds=300)
    event = build_queue({"vault_id": vault}, {"vault_id": vault, "time": "2026-11-23T03:01:30Z"})
    function = Function(world)
    assert function.deliver(event) == {"accepted": 1, "already_running": 1}
    first, second = function.outcomes
    assert (first.operation_log_id, first.adopted) == (running.id, True)
    assert (second.operation_log_id, second.adopted, second.trigger.id) == (running.id, False, "m1")
    assert list_posts(world) == []


def test_of_several_triggers_the_one_that_is_left_gets_a_post_of_its_own() -> None:
    """The sync from between has ended; the waiting one is started, and counts as automatic as it says."""
    world = make_world()
    vault = world.vaults[0].id
    world.sleep(120)
    world.simulator.start_operation(vault, at=START + timedelta(seconds=60), seconds=10)
    event = build_queue(
        {"vault_id": vault, "auto_trigger": False},
        {"vault_id": vault, "auto_trigger": True, "time": "2026-11-23T03:01:30Z"},
    )
    function = Function(world)
    for delivery in range(3):
        assert function.deliver(event) == {"succeeded": 1, "accepted": 1}
        assert [outcome.adopted for outcome in function.outcomes] == [True, delivery > 0]
    assert [operation.auto_trigger for operation in world.simulator.operations] == [True, True]
    assert len(world.simulator.operations) == 2


def test_triggers_that_share_a_post_are_manual_if_one_is() -> None:
    """Five of one vault in one run are one POST."""
    world = make_world()
    vault = world.vaults[0].id
    bodies = [{"vault_id": vault, "auto_trigger": number != 3} for number in range(5)]
    function = Function(world)
    assert function.deliver(build_queue(*bodies)) == {"accepted": 5}
    assert [operation.auto_trigger for operation in world.started] == [False]
    assert len({outcome.operation_log_id for outcome in function.outcomes}) == 1


def test_without_a_time_beside_one_with_a_time_only_the_latter_adopts() -> None:
    """A running sync began before this run, so that it serves the message with its time and no other."""
    world = make_world()
    vault = world.vaults[0].id
    world.sleep(60)
    world.simulator.start_operation(vault, at=START + timedelta(seconds=30), seconds=300)
    event = build_queue({"vault_id": vault}, {"vault_id": vault})
    del event["Records"][1]["attributes"]
    function = Function(world)
    function.deliver(event)
    assert [outcome.status for outcome in function.outcomes] == [Status.ACCEPTED, Status.ALREADY_RUNNING]


def test_an_operation_in_a_state_that_is_not_known_blocks_nobody_once_it_has_ended() -> None:
    """A new way of ending is no running sync: ours is started, also where the trigger has no time."""
    world = make_world()
    vault = world.vaults[0].id
    world.simulator.start_operation(vault, at=START - timedelta(minutes=5), seconds=60, ends="exploded")
    function = Function(world)
    assert function.deliver(build_schedule(world)) == {"accepted": 1}
    assert not function.outcome.adopted
    assert count_syncs(world) == [1]
