"""Times are compared on one clock, whoever's they are and in whatever form."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from cbr_sync.errors import EventError
from cbr_sync.local import LocalFunctionGraphContext
from cbr_sync.models import format_rfc3339
from support.builders import Lines
from support.function import (
    LOGS_PATH,
    SYNC_PATH,
    Function,
    build_direct,
    build_queue,
    build_schedule,
    count_syncs,
    list_looks,
    make_world,
)
from support.world import START, VirtualClock, World, webhook_event

OFFSETS = [-240.0, -90.0, -1.5, 0.0, 1.5, 90.0, 240.0]
TIME_FORMATS = ["z", "offset", "naive"]


def at(seconds: float) -> datetime:
    """A moment of the world."""
    return START + timedelta(seconds=seconds)


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("time_format", TIME_FORMATS)
@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.999])
def test_the_same_message_twice_starts_one_sync(offset: float, time_format: str, fraction: float) -> None:
    """A8: the first sync has ended, times are in whole seconds, and the clocks are up to four minutes off."""
    world = make_world(
        operation_seconds=20, clock_offset_seconds=offset, whole_seconds=True, time_format=time_format
    )
    world.sleep(fraction)
    event = build_queue({"vault_id": world.vaults[0].id}, sent=world.now())
    function = Function(world)
    assert function.deliver(event) == {"accepted": 1}
    for _ in range(10):
        world.sleep(40.3)
        assert function.deliver(event) == {"succeeded": 1}
        assert function.outcome.adopted
    assert len(world.simulator.operations) == 1


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize(("before", "is_adopted"), [(1, True), (5, False), (600, False)])
def test_a_sync_from_before_the_trigger_serves_it_within_the_tolerance_only(
    offset: float, before: float, is_adopted: bool
) -> None:
    """On whatever clock the API is; the tolerance is two seconds, and the Date's own second."""
    world = make_world(operation_seconds=1, clock_offset_seconds=offset)
    world.sleep(700)
    began = world.simulator.now() - timedelta(seconds=60 + before)
    world.simulator.start_operation(world.vaults[0].id, at=began)
    function = Function(world)
    function.deliver(build_schedule(world, at(640)))
    assert function.outcome.adopted is is_adopted


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("whole_seconds", [False, True])
@pytest.mark.parametrize("fault", ["reset", "reset-after"])
@pytest.mark.parametrize("build", [build_direct, build_schedule])
def test_a_doubtful_post_is_found_on_the_apis_clock(
    offset: float, whole_seconds: bool, fault: str, build: Callable[[World], object]
) -> None:
    """Beside a sync that ended half a minute before, which is not taken for it."""
    world = make_world(operation_seconds=3, clock_offset_seconds=offset, whole_seconds=whole_seconds)
    vault = world.vaults[0].id
    other = world.simulator.start_operation(vault, at=world.simulator.now() - timedelta(seconds=35))
    world.simulator.add_faults(fault, vault)
    function = Function(world)
    function.deliver(build(world))
    assert function.outcome.adopted is (fault == "reset-after")
    assert len(world.simulator.operations) == 2
    assert function.outcome.operation_log_id != other.id


@pytest.mark.parametrize("offset", OFFSETS)
def test_operations_are_seen_to_end_on_the_apis_clock(offset: float) -> None:
    """A23: two vaults are followed."""
    world = make_world(2, operation_seconds=30, clock_offset_seconds=offset)
    function = Function(world, CBR_SYNC_WAIT_SECONDS="50")
    assert function.deliver(build_direct(world), 120) == {"succeeded": 2}


@pytest.mark.parametrize("seconds_of_answer", [3.0, 8.0])
@pytest.mark.parametrize("is_slow_before", [False, True])
def test_a_slow_first_answer_starts_no_second_sync(seconds_of_answer: float, is_slow_before: bool) -> None:
    """Its Date may be from any moment between sending and receiving, so that it says little."""
    world = make_world(operation_seconds=5, whole_seconds=True)
    event = build_schedule(world)
    assert Function(world).deliver(event) == {"accepted": 1}
    world.sleep(60)
    cloud = world.transport()

    def slow(request: httpx.Request) -> httpx.Response | None:
        if request.url.path != LOGS_PATH:
            return None
        if is_slow_before:
            world.sleep(seconds_of_answer)
        answer = cloud.handle_request(request)
        if not is_slow_before:
            world.sleep(seconds_of_answer)
        return answer

    assert Function(world, intercept=slow).deliver(event) == {"succeeded": 1}
    assert count_syncs(world) == [1]


@pytest.mark.parametrize("seconds_of_answer", [3.0, 8.0])
def test_a_slow_first_answer_hides_no_operation_of_ours(seconds_of_answer: float) -> None:
    """The POST's answer is lost, and every answer of the network takes so long."""
    world = make_world()
    cloud = world.transport()
    world.simulator.add_faults("reset-after", world.vaults[0].id)

    def slow(request: httpx.Request) -> httpx.Response | None:
        world.sleep(seconds_of_answer)
        return cloud.handle_request(request)

    function = Function(world, intercept=slow)
    assert function.deliver(build_schedule(world), 300) == {"accepted": 1}
    assert (function.outcome.adopted, count_syncs(world)) == (True, [1])


@pytest.mark.parametrize("date", [None, "yesterday", "Mon, 23 Nov 2026 04:00:00 GMT", ""])
def test_a_date_that_cannot_be_right_counts_as_none_with_one_warning(
    date: str | None, log_lines: Lines
) -> None:
    """Over 15 minutes off, or not there: the clocks are taken for the same, and duplicates found."""
    world = make_world()
    cloud = world.transport()

    def redate(request: httpx.Request) -> httpx.Response:
        answer = cloud.handle_request(request)
        headers = {name: value for name, value in answer.headers.items() if name != "date"}
        if date is not None:
            headers["date"] = date
        return httpx.Response(answer.status_code, headers=headers, content=answer.read())

    for _ in range(2):
        assert Function(world, intercept=redate).deliver(build_schedule(world)) == {"accepted": 1}
        lines = [line["message"] for line in log_lines()]
        assert lines.count("the API's clock is taken for ours") == 1
    assert count_syncs(world) == [1]


# the trigger's time


def build_events(world: World, time: object) -> dict[str, Any]:
    """An event of each kind with a payload that has this time, sent at the beginning of the world."""
    payload = {"vault_id": world.vaults[0].id, "time": time}
    seconds = int(START.timestamp())
    return {
        "schedule": {
            **payload,
            "trigger": "schedule",
            "scheduled_time": format_rfc3339(START),
            "schedule_arn": "a",
        },
        "webhook": webhook_event(payload, World(VirtualClock())),
        "queue": build_queue(payload),
        "notification": {
            "Records": [
                {
                    "EventSource": "aws:sns",
                    "Sns": {
                        "MessageId": "m",
                        "Timestamp": format_rfc3339(START),
                        "Message": json.dumps(payload),
                    },
                }
            ]
        },
        "event": {
            "detail-type": "Copied",
            "source": "my.backup",
            "id": "e",
            "time": format_rfc3339(START),
            "detail": payload,
        },
        "direct": payload,
        "timer": {
            "trigger_type": "TIMER",
            "time": format_rfc3339(START),
            "user_event": json.dumps(payload),
        },
        "kafka": {
            "trigger_type": "KAFKA",
            "event_time": seconds,
            "instance_id": "i",
            "records": [{"topic_id": "t", "messages": [json.dumps(payload)]}],
        },
    }


AWS_KINDS = ["schedule", "webhook", "queue", "notification", "event", "direct"]
FUNCTIONGRAPH_KINDS = ["timer", "kafka"]


def deliver(world: World, kind: str, event: dict[str, Any]) -> None:
    """Deliver an event on the platform that sends it."""
    if kind in AWS_KINDS:
        world.on_lambda(event)
    else:
        world.on_functiongraph(event)


@pytest.mark.parametrize("kind", AWS_KINDS + FUNCTIONGRAPH_KINDS)
def test_the_payloads_time_counts_in_events_of_every_kind(kind: str) -> None:
    """A sync that began after it is adopted, also where it began before the message was sent."""
    world = make_world(operation_seconds=5)
    other = world.simulator.start_operation(world.vaults[0].id, at=at(-60))
    deliver(world, kind, build_events(world, format_rfc3339(at(-120)))[kind])
    assert world.simulator.operations == [other]
    deliver(world, kind, build_events(world, format_rfc3339(at(-30)))[kind])
    assert len(world.simulator.operations) == 2


@pytest.mark.parametrize("kind", AWS_KINDS + FUNCTIONGRAPH_KINDS)
@pytest.mark.parametrize("time", [1764126000, "yesterday", "2026-11-23T03:00:00", "2026-11-23", "", True, {}])
def test_a_time_that_is_none_is_an_error_that_names_it(kind: str, time: object, log_lines: Lines) -> None:
    """In events of every kind; nothing is synced."""
    world = make_world()
    with contextlib.suppress(EventError):
        deliver(world, kind, build_events(world, time)[kind])
    assert count_syncs(world) == [0]
    assert "time: found" in str(log_lines())


@pytest.mark.parametrize(
    "time",
    [
        "2026-11-23T02:59:00Z",
        "2026-11-23T02:59:00.000Z",
        "2026-11-23T02:59:00.123456789Z",
        "2026-11-23T10:59:00+08:00",
        "2026-11-22T21:59:00-05:00",
        "2026-11-23t02:59:00z",
        "2026-11-23 02:59:00Z",
        "2026-11-23T02:59:00-00:00",
    ],
)
def test_every_form_of_rfc_3339_is_read(time: str) -> None:
    """Zones, fractions, small letters: all the same minute."""
    for began, statuses in ((at(-58), {"succeeded": 1}), (at(-70), {"accepted": 1})):
        world = make_world(operation_seconds=5)
        world.simulator.start_operation(world.vaults[0].id, at=began)
        assert Function(world).deliver({**build_direct(world), "time": time}) == statuses


def test_a_time_ahead_gives_way_to_the_sent_time() -> None:
    """A9: ten minutes ahead in an SQS message, delivered three times."""
    world = make_world(operation_seconds=5)
    event = build_queue({"vault_id": world.vaults[0].id, "time": format_rfc3339(at(600))})
    function = Function(world)
    assert function.deliver(event) == {"accepted": 1}
    for _ in range(2):
        world.sleep(60)
        assert function.deliver(event) == {"succeeded": 1}
    assert count_syncs(world) == [1]
    assert function.outcome.trigger.time == START


@pytest.mark.parametrize("kind", ["queue", "notification"])
@pytest.mark.parametrize("ahead", [1.0, 3600.0, 10 * 365 * 86400.0])
def test_whatever_it_is_ahead_by(kind: str, ahead: float) -> None:
    """Wherever the platform says when it got the message."""
    world = make_world(operation_seconds=5)
    event = build_events(world, format_rfc3339(at(ahead)))[kind]
    for _ in range(3):
        deliver(world, kind, event)
        world.sleep(0.3)
    world.sleep(30)
    deliver(world, kind, event)
    assert count_syncs(world) == [1]


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"])
def test_a_time_beyond_the_calendar_is_an_error_and_no_crash(time: str) -> None:
    """In UTC there is no such moment."""
    world = make_world()
    function = Function(world)
    function.deliver(build_queue({"vault_id": world.vaults[0].id, "time": time}))
    assert function.reply == {"batchItemFailures": [{"itemIdentifier": "m0"}]}


@pytest.mark.parametrize("hours", [23.9, 24.1, 24 * 365])
def test_what_is_over_a_day_old_is_served_by_a_sync_of_its_own(hours: float) -> None:
    """A sync that began after it is not its own, and a POST of its own starts another one."""
    world = make_world(operation_seconds=5)
    world.simulator.start_operation(world.vaults[0].id, at=at(-60))
    function = Function(world)
    function.deliver(build_schedule(world, at(-3600 * hours)))
    assert function.outcome.adopted is (hours < 24)
    assert count_syncs(world) == [0 if hours < 24 else 1]
    assert bool(list_looks(world)) is (hours < 24)


def test_what_already_runs_does_not_serve_a_trigger_that_is_over_a_day_old() -> None:
    """Though it began after it."""
    world = make_world()
    running = world.simulator.start_operation(world.vaults[0].id, at=at(-60))
    function = Function(world)
    assert function.deliver(build_schedule(world, at(-90000))) == {"already_running": 1}
    assert function.outcome.operation_log_id == running.id


def test_the_first_listing_asks_a_quarter_of_an_hour_further_back() -> None:
    """The clocks may be off by so much, and no answer has shown it yet."""
    world = make_world()
    queries = []

    def record(request: httpx.Request) -> None:
        if request.url.path == LOGS_PATH:
            queries.append(dict(request.url.params))

    Function(world, intercept=record).deliver(build_schedule(world))
    assert [query["start_time"] for query in queries] == ["2026-11-23T02:44:58Z"]
    assert "vault_id" not in queries[0]
    assert queries[0]["operation_type"] == "sync"


def test_a_function_whose_clock_is_off_is_still_inside_the_signatures_quarter_of_an_hour() -> None:
    """14 minutes: syncs are made, and found again."""
    world = make_world(operation_seconds=5, clock_offset_seconds=14 * 60)
    for statuses in ({"accepted": 1}, {"succeeded": 1}):
        assert Function(world).deliver(build_schedule(world)) == statuses
        world.sleep(30)
    assert world.simulator.refused_signatures == 0
    assert len([one for one in world.simulator.requests if one.path == SYNC_PATH]) == 1


def test_functiongraph_reads_the_same_times() -> None:
    """A timer delivered twice, with the clocks four minutes off."""
    world = make_world(operation_seconds=5, clock_offset_seconds=-240, whole_seconds=True)
    event = {
        "trigger_type": "TIMER",
        "time": format_rfc3339(START),
        "user_event": json.dumps(build_direct(world)),
    }
    for _ in range(2):
        world.on_functiongraph(event)
        world.sleep(60)
    assert len(world.simulator.operations) == 1
    assert LocalFunctionGraphContext(world.environ).project_id is None
