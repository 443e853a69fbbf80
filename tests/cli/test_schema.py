"""The command ``schema``, and the schema of emitted messages: built from the models, true of nothing else."""

from __future__ import annotations

import copy
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.formats.json import JSONFormat
from jsonschema import Draft202012Validator

from cbr_sync.cli.schema import build_schema
from cbr_sync.errors import EventError
from cbr_sync.follow import Edge, EdgeKind, EndedSync, FollowParam, FollowResult, Sync, find_interval
from cbr_sync.huawei.cbr import OperationLog
from cbr_sync.models import Copies, OutcomeError, Status
from cbr_sync.reports.models import State
from cbr_sync.simulator.scenarios import demo_simulator
from cbr_sync.sinks.messages import (
    BECAME_STALE,
    ENDS,
    NOTICE,
    OVERDUE,
    RECOVERED,
    REJECTED,
    REPORT,
    RUN_FINISHED,
    CloudEvent,
    build_follow_events,
    build_notice_event,
    build_outcome_event,
)
from support.builders import SOURCE, Lines, build_outcome
from support.cli import run_cli
from support.world import PUBLIC, START, VMWARE, World

KEPT = Path(__file__).parent.parent.parent / "docs" / "messages.schema.json"
VALIDATOR = Draft202012Validator(build_schema(), format_checker=Draft202012Validator.FORMAT_CHECKER)

SYNC = Sync(START, START, "o", Status.SUCCEEDED)
LOG = OperationLog.model_validate(
    {
        "id": "o",
        "status": "success",
        "created_at": START,
        "extra_info": {"sync": {"sync_backup_num": 3}},
        "vault_id": VMWARE,
    }
)
FOLLOW = FollowResult(
    find_interval(START, FollowParam(every_minutes=10)),
    tuple(EndedSync(LOG, status, VMWARE, "vault", START, START) for status in ENDS),
    tuple(Edge(kind, VMWARE, "vault", START, SYNC, SYNC, 26) for kind in EdgeKind),
)


@pytest.fixture
def messages(log_lines: Lines) -> list[CloudEvent]:
    """One of each kind at least, as it was really emitted."""
    world = World()
    world.simulator = demo_simulator(world.now)
    world.on_lambda({"report": {"history_hours": 48}})
    world.on_lambda({"vault_ids": [VMWARE, PUBLIC]})
    with pytest.raises(EventError):
        world.on_lambda({"vault_id": "tape-7"})
    emitted = [line["outcome"] for line in log_lines() if "outcome" in line]
    error = OutcomeError(code="BackupService.6405", message="Failed.", request_id="r", http_status=400)
    copies = Copies(synced=1, deleted=2, failed=3)
    more = [
        build_outcome_event(build_outcome(status=status, copies=copies, error=error), SOURCE)
        for status in Status
    ]
    follow = [*build_follow_events(FOLLOW.ended, FOLLOW.edges, SOURCE)]
    notice = build_notice_event("FAILED: vault", [*more, *follow, emitted[-1]], SOURCE, START)
    return [*emitted, *more, *follow, notice]


def test_the_schema_is_printed() -> None:
    """For a file; JSON and nothing else."""
    result = run_cli("schema")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == build_schema()
    assert build_schema()["title"] == "Messages of cbr-sync"


def test_the_schema_in_the_repository_is_the_one_of_the_models() -> None:
    """`cbr-sync schema > docs/messages.schema.json` makes it anew."""
    assert json.loads(KEPT.read_text(encoding="utf-8")) == build_schema()
    Draft202012Validator.check_schema(build_schema())


def test_every_message_keeps_to_the_schema(messages: list[CloudEvent]) -> None:
    """Each kind that the schema knows was emitted, and each that was emitted is known."""
    for message in messages:
        VALIDATOR.validate(message)
    assert {message["type"] for message in messages} == {
        *(f"cbr-sync.checkpoint.sync.{status}.v1" for status in Status),
        *(f"cbr-sync.vault.{state}.v1" for state in State if state is not State.FRESH),
        *(f"cbr-sync.operation.{status}.v1" for status in ENDS),
        *(OVERDUE, BECAME_STALE, RECOVERED),
        *(REJECTED, RUN_FINISHED, REPORT, NOTICE),
    }
    assert {message["type"] for message in messages} == set(build_schema()["discriminator"]["mapping"])


def test_the_schema_refuses_what_is_not_emitted(messages: list[CloudEvent]) -> None:
    """A key too much or too few, in the envelope or in the data; another type; an id that is none."""
    for message in {message["type"]: message for message in messages}.values():
        for broken in mutants(message):
            assert not VALIDATOR.is_valid(broken), broken


def mutants(message: CloudEvent) -> list[dict[str, Any]]:
    """The message, wrong in one way each."""
    wrong: list[dict[str, Any]] = [{key: message[key] for key in message if key != left} for left in message]
    wrong += [{**message, "more": 1}, {**message, "type": "cbr-sync.other.v1"}, {**message, "id": 7}]
    for key in message["data"]:
        data = copy.deepcopy(message["data"])
        del data[key]
        wrong.append({**message, "data": data})
    return [*wrong, {**message, "data": {**message["data"], "more": 1}}]


def test_every_message_is_a_cloudevent_to_the_cloudevents_sdk(messages: list[CloudEvent]) -> None:
    """It reads what we emit, and writes the same again."""
    for message in messages:
        event = JSONFormat().read(None, json.dumps(message).encode())
        assert event.get_data() == message["data"]
        assert event.get_type() == message["type"]
        assert event.get_subject() == message.get("subject")
        again = json.loads(JSONFormat().write(event))
        assert datetime.fromisoformat(again["time"]) == datetime.fromisoformat(message["time"])
        assert {**again, "time": message["time"]} == message
