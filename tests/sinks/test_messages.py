"""What is emitted of a whole run: once, the failures first, never too long; and what counts as trouble."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbr_sync.models import OutcomeError, Status
from cbr_sync.reports.models import State
from cbr_sync.sinks.messages import (
    MAX_BYTES,
    REPORT,
    RUN_FINISHED,
    build_events,
    build_run_finished_event,
    is_trouble,
)
from support.builders import (
    SOURCE,
    TOPIC,
    TROUBLE,
    VAULT,
    HuaweiServices,
    Lines,
    build_outcome,
    build_result,
    build_sqs_event,
    build_world,
    make_ids,
)
from support.people import check_publish_message
from support.world import BUSY, FILE, PUBLIC, START, VMWARE, World


def select_run_events(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was emitted about whole runs."""
    return [line["outcome"] for line in lines if line.get("outcome", {}).get("type") == RUN_FINISHED]


def test_a_run_with_several_vaults_is_summed_up_once(world: World, log_lines: Lines) -> None:
    """Counts by status, then each vault in short, the failures first."""
    world.on_lambda({"vault_ids": [VMWARE, BUSY, PUBLIC]})
    lines = log_lines()
    (run,) = select_run_events(lines)
    assert run["data"]["run_id"] == lines[0]["request_id"]
    assert run["data"]["counts"] == {"failed": 1, "already_running": 1, "accepted": 1}
    assert [row["vault_id"] for row in run["data"]["vaults"]] == [PUBLIC, BUSY, VMWARE]
    assert run["data"]["vaults"][0]["error"]["code"] == "BackupService.7300"
    assert (run["data"]["rejected"], run["data"]["omitted"]) == (0, 0)
    assert [line["level"] for line in lines if line["message"] == RUN_FINISHED] == ["WARNING"]


def test_a_run_with_one_vault_is_not_summed_up(world: World, log_lines: Lines) -> None:
    """Its outcome says it all."""
    world.on_lambda({"vault_id": VMWARE})
    assert select_run_events(log_lines()) == []


def test_a_batch_in_order_is_one_run(world: World, log_lines: Lines) -> None:
    """Though its messages are served one after the other; what could not be read is counted."""
    event = build_sqs_event({"vault_id": VMWARE}, "poison", {"vault_id": FILE})
    for record in event["Records"]:
        record["eventSourceARN"] = "arn:aws:sqs:eu-west-1:123456789012:work.fifo"
    world.on_lambda(event)
    (run,) = select_run_events(log_lines())
    assert (run["data"]["counts"], run["data"]["rejected"]) == ({"accepted": 2}, 1)
    assert is_trouble(run)


ERRORS = st.none() | st.builds(OutcomeError, code=st.text(max_size=40), message=st.text(max_size=500))


@settings(max_examples=50, deadline=None)
@given(count=st.integers(2, 1000), error=ERRORS, statuses=st.lists(st.sampled_from(Status), min_size=1))
def test_a_run_of_any_size_fits_and_its_numbers_are_right(
    count: int, error: OutcomeError | None, statuses: list[Status]
) -> None:
    """Whole rows, valid JSON, and what is left out is counted."""
    outcomes = [
        build_outcome(vault_id=one, status=statuses[number % len(statuses)], error=error)
        for number, one in enumerate(make_ids(count))
    ]
    event = build_run_finished_event("run", outcomes, 0, SOURCE, START)
    text = json.dumps(event)
    data = json.loads(text)["data"]
    assert len(text.encode()) <= MAX_BYTES
    assert sum(data["counts"].values()) == count == len(data["vaults"]) + data["omitted"]
    assert data["omitted"] == 0 or len(text) + 2 * len(json.dumps(data["vaults"][0])) > MAX_BYTES - 2000


def test_a_vault_that_two_messages_name_in_order_is_one_vault(world: World, log_lines: Lines) -> None:
    """Each message has its outcome; there is nothing to sum up."""
    event = build_sqs_event({"vault_id": VMWARE}, {"vault_id": VMWARE})
    for record in event["Records"]:
        record["eventSourceARN"] = "arn:aws:sqs:eu-west-1:123456789012:work.fifo"
    world.on_lambda(event)
    assert select_run_events(log_lines()) == []


def test_the_summary_is_emitted_first() -> None:
    """A sink that runs out of time has them at least."""
    result = build_result(build_outcome(), build_outcome(vault_id=FILE))
    assert next(build_events(result, "run", SOURCE, START))["type"] == RUN_FINISHED


def test_the_same_run_emitted_again_has_the_same_id() -> None:
    """And with another result another one; what a gateway calls the request does not count."""
    no = [OutcomeError(code="BackupService.7300", message="no", request_id=one) for one in ("r1", "r2")]
    first = [build_outcome(error=no[0]), build_outcome(vault_id=FILE)]
    again = [build_outcome(error=no[1], duration_seconds=9.0), build_outcome(vault_id=FILE)]
    other = [build_outcome(), build_outcome(vault_id=FILE, status=Status.FAILED)]
    ids = [
        build_run_finished_event("run", outcomes, 0, SOURCE, START)["id"]
        for outcomes in (first, again, other)
    ]
    assert ids[0] == ids[1] != ids[2]


def test_a_report_is_one_message_for_people() -> None:
    """Which vault, by the name that people know; and how many of how many."""
    world = build_world((VAULT, []))
    environ = {**world.environ, "CBR_SYNC_SMN_TOPIC_URN": TOPIC}
    services = HuaweiServices(world)
    world.on_lambda({"report": {}}, environ, transport=httpx.MockTransport(services))
    (body,) = services.bodies
    assert body["subject"] == "UNKNOWN: 1 of 1 vaults is not fresh | cbr-sync cn-north-4"
    texts = check_publish_message(body)
    assert "- vault: unknown, no success in the logs" in texts["email"]
    assert json.loads(texts["default"])["type"] == REPORT


@pytest.mark.parametrize("status", Status)
def test_trouble_is_what_somebody_should_check(status: Status) -> None:
    """In an outcome and in a run's sums alike."""
    trouble = status in TROUBLE
    result = build_result(build_outcome(status=status), build_outcome(vault_id=FILE))
    run, first, _ = build_events(result, "run", SOURCE, START)
    assert (is_trouble(first), is_trouble(run)) == (trouble, trouble)


@pytest.mark.parametrize("state", State)
def test_a_vault_that_is_not_fresh_is_trouble(state: State) -> None:
    """In its own event and in the report's sums alike."""
    events = [
        {"type": f"cbr-sync.vault.{state}.v1", "data": {"state": state}},
        {"type": REPORT, "data": {"counts": {state: 1}}},
    ]
    assert [is_trouble(event) for event in events] == [state is not State.FRESH] * 2


def test_vaults_that_cannot_be_synced_as_they_are_are_trouble(world: World, log_lines: Lines) -> None:
    """All of them frozen: nothing was sent, so nothing failed, and nothing was synced."""
    world.on_lambda({"vaults": {"name": "vault-vmware-frozen"}})
    (line,) = log_lines()
    assert line["outcome"]["data"]["error"]["code"] == "CbrSync.VaultNotAvailable"
    assert line["level"] == "WARNING"
