"""No reply is longer than what its platform passes on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cbr_sync.models import Kind, OutcomeError, Status, Trigger
from cbr_sync.reports.models import Report, State, SyncRecord, VaultReport
from cbr_sync.results import MessageResult, RunResult
from cbr_sync.triggers.base import MAX_REPLY_BYTES
from cbr_sync.triggers.envelopes import find_envelope
from cbr_sync.triggers.webhook import MAX_ALB_REPLY_BYTES
from support.builders import TRIGGER, build_outcome, make_ids
from support.world import START, VMWARE, World, webhook_event

MEGABYTE = 1024 * 1024
URL = {"rawPath": "/", "requestContext": {"http": {"method": "POST"}}}
ALB = {"httpMethod": "POST", "headers": {"a": "b"}, "requestContext": {"elb": {}}}
ALB_WITH_LISTS = {"httpMethod": "POST", "multiValueHeaders": {"a": ["b"]}, "requestContext": {"elb": {}}}


def build_failures(count: int) -> RunResult:
    """So many vaults that failed with a long message in Chinese."""
    error = OutcomeError(code="BackupService.6113", message="存储库状态不支持备份" * 30)
    outcomes = [
        build_outcome(vault_id=vault_id, vault_name="数据库" * 8, status=Status.FAILED, error=error)
        for vault_id in make_ids(count)
    ]
    return RunResult([MessageResult(TRIGGER, outcomes=tuple(outcomes))])


@pytest.mark.parametrize(
    ("event", "limit"),
    [(URL, 6 * MEGABYTE), (ALB, MEGABYTE), (ALB_WITH_LISTS, MEGABYTE)],
    ids=["function-url", "alb", "alb-multi-value"],
)
def test_a_webhooks_reply_is_bounded(event: dict[str, Any], limit: int) -> None:
    """B9: outcomes are left out from the end of the list, and counted; so many as fit are there."""
    result = build_failures(2300)
    reply = find_envelope(event)[0].reply(result)
    # As the platform sends it, whether or not it escapes Chinese.
    size = len(json.dumps(reply))
    assert size <= limit
    body = json.loads(reply["body"])
    assert len(body["outcomes"]) + body.get("omitted", 0) == 2300
    assert body["outcomes"] == [
        one.model_dump(mode="json") for one in result.outcomes[: len(body["outcomes"])]
    ]
    # What is left out would not have fitted.
    if "omitted" in body:
        assert size > 0.9 * min(limit, MAX_ALB_REPLY_BYTES if limit == MEGABYTE else MAX_REPLY_BYTES)


def test_chinese_stays_readable_in_a_reply() -> None:
    """Without escapes: an operator reads it in a terminal."""
    reply = find_envelope(URL)[0].reply(build_failures(1))
    assert "存储库状态不支持备份" in reply["body"]


@pytest.mark.parametrize("count", [1, 100, 101, 1000])
def test_what_fits_is_complete(count: int) -> None:
    """Nothing is counted as left out."""
    trigger = Trigger(kind=Kind.DIRECT, id="d")
    outcomes = tuple(build_outcome(vault_id=vault_id, trigger=trigger) for vault_id in make_ids(count))
    reply = find_envelope({"vault_ids": []})[0].reply(RunResult([MessageResult(trigger, outcomes=outcomes)]))
    assert len(reply["outcomes"]) == count
    assert "omitted" not in reply
    assert reply["counts"] == {"accepted": count}


def test_a_report_is_bounded_as_well() -> None:
    """The history goes first, then the vaults that are well."""
    vaults = tuple(
        VaultReport(
            vault_id=vault_id,
            name="数据库" * 20,
            object_type="vmware",
            vault_status="available",
            state=State.FRESH,
            age_hours=1,
            last_success=None,
            running=None,
            last_error=None,
        )
        for vault_id in make_ids(12_000)
    )
    record = SyncRecord(operation_log_id="o", status="succeeded", started_at=START)
    report = Report(
        at=START,
        max_age_hours=26,
        history_hours=336,
        counts={State.FRESH: len(vaults)},
        oldest_sync_age_hours=1,
        trigger=TRIGGER,
        vaults=vaults,
        history={VMWARE: (record,) * 5000},
        history_omitted=7,
    )
    reply = find_envelope({"report": {}})[0].reply(RunResult([MessageResult(TRIGGER, report=report)]))
    assert len(json.dumps(reply)) <= 6 * MEGABYTE
    (shown,) = reply["reports"]
    assert shown["history"] == {}
    assert shown["history_omitted"] == 5007
    assert len(shown["vaults"]) + shown["omitted"] == 12_000
    assert shown["omitted"] > 0


def test_a_real_run_behind_an_alb_is_answered_whole(world: World) -> None:
    """The common case, through the entry point."""
    event = webhook_event({"vault_id": VMWARE}, world)
    event |= {"httpMethod": "POST", "requestContext": {"elb": {"targetGroupArn": "arn"}}}
    reply = world.on_lambda(event)
    assert reply["statusCode"] == 200
    assert "omitted" not in json.loads(reply["body"])
