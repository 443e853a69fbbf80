"""What is emitted: CloudEvents with ids that last, log lines in JSON, no sink that silences others."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cbr_sync.errors import EventError, SinkError
from cbr_sync.models import Kind, OutcomeError, Status, Trigger, format_rfc3339
from cbr_sync.monitoring.logger import make_logger
from cbr_sync.sinks.base import emit_to_all
from cbr_sync.sinks.log import LogSink
from cbr_sync.sinks.messages import CloudEvent, build_outcome_event, build_rejected_event
from support.builders import SOURCE, TRIGGER, TROUBLE, Lines, build_outcome
from support.world import FILE, START, VMWARE, World


def test_an_outcome_is_a_cloudevent() -> None:
    """With all that version 1.0 asks for, and the outcome as its data."""
    event = build_outcome_event(build_outcome(), SOURCE)
    assert set(event) == {
        *("specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"),
    }
    assert event["specversion"] == "1.0"
    assert event["type"] == "cbr-sync.checkpoint.sync.accepted.v1"
    assert (event["source"], event["subject"]) == (SOURCE, VMWARE)
    assert event["time"] == "2026-11-23T03:00:00.000Z"
    assert event["data"] == json.loads(build_outcome().model_dump_json())


@pytest.mark.parametrize(
    "event",
    [
        *(build_outcome_event(build_outcome(status=status), SOURCE) for status in Status),
        build_rejected_event(TRIGGER, "no JSON", SOURCE, START + timedelta(microseconds=1)),
    ],
    ids=lambda event: str(event["type"]),
)
def test_every_event_keeps_to_cloudevents(event: CloudEvent) -> None:
    """Source: CloudEvents 1.0.2, context attributes: names, types, and what may not be empty."""
    assert all(re.fullmatch("[a-z0-9]{1,20}", name) for name in event)
    assert all(isinstance(value, str) and value for name, value in event.items() if name != "data")
    assert (event["specversion"], event["datacontenttype"]) == ("1.0", "application/json")
    assert str(uuid.UUID(event["id"])) == event["id"]
    assert re.fullmatch(r"/[a-z0-9/-]+", event["source"])  # a URI-reference
    assert re.fullmatch(r"cbr-sync\.(checkpoint\.sync|trigger)\.[a-z_]+\.v1", event["type"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"])  # RFC 3339
    assert datetime.fromisoformat(event["time"]) == START
    assert json.loads(json.dumps(event)) == event


@pytest.mark.parametrize(
    "change",
    [
        {"adopted": True},
        {"attempts": 0},
        {"started_at": START + timedelta(seconds=60)},
        {"duration_seconds": 9.0},
    ],
)
def test_the_same_outcome_emitted_again_has_the_same_id(change: dict[str, Any]) -> None:
    """Another delivery may have needed another time, or adopted what the first has started."""
    assert (
        build_outcome_event(build_outcome(**change), SOURCE)["id"]
        == build_outcome_event(build_outcome(), SOURCE)["id"]
    )


@pytest.mark.parametrize(
    "change",
    [
        {"vault_id": FILE},
        {"status": Status.SUCCEEDED},
        {"operation_log_id": "another"},
        {"error": OutcomeError(code="X.1", message="no")},
        {"trigger": Trigger(kind=Kind.TIMER, id="night", time=START + timedelta(days=1))},
    ],
)
def test_another_outcome_has_another_id(change: dict[str, Any]) -> None:
    """Another vault, status, operation, error or trigger."""
    assert (
        build_outcome_event(build_outcome(**change), SOURCE)["id"]
        != build_outcome_event(build_outcome(), SOURCE)["id"]
    )


def test_the_same_outcome_of_another_project_has_another_id() -> None:
    """Its source is part of what it is."""
    assert (
        build_outcome_event(build_outcome(), "/cbr/a/b")["id"]
        != build_outcome_event(build_outcome(), SOURCE)["id"]
    )


def test_a_rejected_event_emitted_again_has_the_same_id() -> None:
    """Whenever it is emitted; what was wrong, and with which event, makes it another."""
    first = build_rejected_event(TRIGGER, "no JSON", SOURCE, START)
    again = build_rejected_event(TRIGGER, "no JSON", SOURCE, START + timedelta(seconds=60))
    other = build_rejected_event(TRIGGER, "no vault", SOURCE, START)
    another = build_rejected_event(Trigger(kind=Kind.TIMER, id="noon", time=START), "no JSON", SOURCE, START)
    assert first["id"] == again["id"]
    assert len({event["id"] for event in (first, other, another)}) == 3


def test_a_rejected_event_says_what_was_wrong() -> None:
    """Its kind, its id and the reason."""
    event = build_rejected_event(TRIGGER, "no JSON", SOURCE, START)
    assert event["type"] == "cbr-sync.trigger.rejected.v1"
    assert event["data"] == {"kind": "timer", "id": "night", "error": "no JSON"}
    assert "subject" not in event


def test_a_time_without_a_zone_is_an_error() -> None:
    """It would be an hour or eight off."""
    with pytest.raises(ValueError, match="without a time zone"):
        format_rfc3339(START.replace(tzinfo=None))


def test_the_log_is_a_json_line_an_event(log_lines: Lines) -> None:
    """Trouble as WARNING; Chinese stays readable, and what UTF-8 cannot hold becomes an escape."""
    trigger = Trigger(kind=Kind.TIMER, id="夜间", time=START)
    events = [
        build_outcome_event(build_outcome(trigger=trigger), SOURCE),
        build_outcome_event(build_outcome(status=Status.PARTIAL), SOURCE),
        build_rejected_event(TRIGGER, "found \ud800", SOURCE, START),
    ]
    LogSink(make_logger({})).emit(events, deadline=0)
    lines = log_lines()
    assert [line["level"] for line in lines] == ["INFO", "WARNING", "WARNING"]
    assert [line["outcome"] for line in lines] == events
    assert {line["service"] for line in lines} == {"cbr-sync"}


def test_a_line_has_the_fields_that_the_log_is_searched_by(world: World, log_lines: Lines) -> None:
    """The trigger, the vault, the operation and the run, each under a key of its own."""
    reply = world.on_lambda({"vault_id": VMWARE})
    with pytest.raises(EventError):
        world.on_lambda({"vault_id": "tape-7"})
    accepted, rejected, _ = log_lines()
    (outcome,) = reply["outcomes"]
    assert accepted["vault_id"] == VMWARE
    assert accepted["operation_log_id"] == outcome["operation_log_id"]
    assert accepted["trigger_id"] == outcome["trigger"]["id"]
    assert rejected["trigger_id"] == rejected["outcome"]["data"]["id"]
    assert accepted["request_id"] != rejected["request_id"]


@pytest.mark.parametrize("status", Status)
def test_trouble_is_a_warning(status: Status, log_lines: Lines) -> None:
    """All but a sync that was accepted, or succeeded: the others leave their trigger unserved."""
    LogSink(make_logger({})).emit([build_outcome_event(build_outcome(status=status), SOURCE)], deadline=0)
    trouble = status in TROUBLE
    assert [line["level"] for line in log_lines()] == ["WARNING" if trouble else "INFO"]


@given(text=st.text(st.characters(), max_size=40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_an_event_holds_is_one_line_of_json(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Line breaks of every script, quotes, control characters and lone surrogates survive."""
    event = build_rejected_event(Trigger(kind=Kind.TIMER, id=text, time=START), text, SOURCE, START)
    LogSink(make_logger({})).emit([event], 0)
    line, end = capsys.readouterr().out.split("\n")
    assert (json.loads(line)["outcome"], end) == (event, "")


def test_chinese_is_not_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """Who reads the log reads Chinese."""
    make_logger({"POWERTOOLS_SERVICE_NAME": "夜间"}).info("夜间")
    assert '"message":"夜间"' in capsys.readouterr().out


class RecordingSink:
    """A sink that keeps what it got, and its deadline."""

    def __init__(self, world: World, seconds: float = 0, error: Exception | None = None) -> None:
        self.events: list[CloudEvent] = []
        self.deadline = 0.0
        self._world = world
        self._seconds = seconds
        self._error = error

    def emit(self, events: Sequence[CloudEvent], deadline: float) -> None:
        self.events += events
        self.deadline = deadline
        self._world.sleep(self._seconds)
        if self._error:
            raise self._error


def test_a_broken_sink_does_not_silence_the_others(world: World, log_lines: Lines) -> None:
    """All are tried, each in its share of the time; then the error names those that failed."""
    sinks = {
        "slow": RecordingSink(world, 4, SinkError("not taken")),
        "broken": RecordingSink(world, 0, ZeroDivisionError("hunter2")),
        "well": RecordingSink(world),
    }
    event = build_outcome_event(build_outcome(), SOURCE)
    with pytest.raises(SinkError, match=r"^slow: not taken; broken: ZeroDivisionError$"):
        emit_to_all(
            [(name, partial(sink.emit, [event])) for name, sink in sinks.items()],
            deadline=12,
            clock=world.clock,
            logger=make_logger({}),
        )
    assert all(sink.events == [event] for sink in sinks.values())
    assert [sink.deadline for sink in sinks.values()] == [4, 8, 12]
    assert log_lines()[0]["message"] == "unexpected sink error"


def test_sinks_that_accept_everything_are_not_mentioned(world: World, log_lines: Lines) -> None:
    """Nothing is raised, and nothing is logged."""
    well = [RecordingSink(world), RecordingSink(world)]
    events = [
        build_outcome_event(build_outcome(), SOURCE),
        build_outcome_event(build_outcome(vault_id=FILE), SOURCE),
    ]
    emitters = [("one", partial(well[0].emit, events)), ("two", partial(well[1].emit, events))]
    emit_to_all(emitters, deadline=12, clock=world.clock, logger=make_logger({}))
    assert [sink.events for sink in well] == [events, events]
    assert log_lines() == []
