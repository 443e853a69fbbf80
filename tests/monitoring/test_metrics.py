"""What CloudWatch gets: the embedded metric format, on Lambda's adapter alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cbr_sync.aws_lambda import LambdaAdapter
from cbr_sync.errors import EventError, SyncUnfinished
from cbr_sync.local import LocalLambdaContext, invoke
from cbr_sync.models import Status
from cbr_sync.monitoring.metrics import OF_STATUS
from cbr_sync.simulator.scenarios import demo_simulator
from cbr_sync.triggers.base import Platform
from support.world import BUSY, FILE, PUBLIC, VMWARE, World, webhook_event


def read_metric_lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The metric lines since the last call."""
    lines = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    return [line for line in lines if "_aws" in line]


def read_values(line: dict[str, Any]) -> dict[str, float]:
    """The metrics that a line declares, with their values, as CloudWatch reads them."""
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "cbr-sync"
    assert directive["Dimensions"] == [["service"]]
    assert isinstance(line["_aws"]["Timestamp"], int)
    return {metric["Name"]: sum(line[metric["Name"]]) for metric in directive["Metrics"]}


def test_a_run_counts_its_results(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Each status that a vault had, the POSTs, the time and the cold start, in one line."""
    world.simulator.add_faults("429", FILE)
    world.on_lambda({"vault_ids": [VMWARE, FILE, PUBLIC, BUSY]})
    (line,) = read_metric_lines(capsys)
    duration = read_values(line).pop("Duration")
    assert read_values(line) == {
        "SyncsAccepted": 2, "SyncsFailed": 1, "SyncsAlreadyRunning": 1,
        "Attempts": 5, "ColdStart": 1, "Duration": duration,
    }  # fmt: skip
    assert duration == pytest.approx(world.elapsed * 1000, abs=1)
    assert line["service"] == "cbr-sync"
    units = {metric["Name"]: metric["Unit"] for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    assert units.pop("Duration") == "Milliseconds"
    assert set(units.values()) == {"Count"}


def test_an_instance_is_cold_once(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Its second event is warm."""
    adapter = LambdaAdapter(world.environ, **world.options())
    for vault in (VMWARE, FILE):
        adapter({"vault_id": vault}, LocalLambdaContext())
    assert ["ColdStart" in read_values(line) for line in read_metric_lines(capsys)] == [True, False]


def test_a_run_that_raises_is_counted_too(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """That is when the metrics matter."""
    world.simulator.add_faults("503*99")
    with pytest.raises(SyncUnfinished):
        world.on_lambda({"vault_id": VMWARE})
    with pytest.raises(EventError):
        world.on_lambda({"vault_id": "tape-7"})
    unfinished, unreadable = map(read_values, read_metric_lines(capsys))
    sent = sum(request.method == "POST" for request in world.simulator.requests)
    assert (unfinished["SyncsUnfinished"], unfinished["Attempts"]) == (1, sent)
    assert sent > 5
    assert unreadable.keys() == {"Duration", "ColdStart"}


def test_only_a_scheduled_run_breaks_the_silence(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """A webhook or a stranger's request does not hide that the schedule was switched off."""
    world.on_lambda({"trigger": "schedule"})
    world.on_lambda(webhook_event({"vault_id": FILE}, world))
    scheduled, webhook = map(read_values, read_metric_lines(capsys))
    assert scheduled["ScheduledRuns"] == 1
    assert "ScheduledRuns" not in webhook


def test_a_fifo_batch_is_one_line(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Though its messages are served one after the other."""
    records = [
        {
            "messageId": f"m{number}",
            "body": json.dumps({"vault_id": vault}),
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:work.fifo",
            "attributes": {"SentTimestamp": "1795402800000", "MessageGroupId": vault},
        }
        for number, vault in enumerate([VMWARE, FILE])
    ]
    world.on_lambda({"Records": records})
    (line,) = read_metric_lines(capsys)
    assert read_values(line)["SyncsAccepted"] == 2


def test_the_service_and_the_namespace_are_powertools_own(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """The service distinguishes two stacks."""
    names = {"POWERTOOLS_SERVICE_NAME": "nightly", "POWERTOOLS_METRICS_NAMESPACE": "Backups"}
    world.on_lambda({"vault_id": VMWARE}, {**world.environ, **names})
    (line,) = read_metric_lines(capsys)
    assert line["service"] == "nightly"
    assert line["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Backups"


def test_no_metrics_where_they_are_switched_off_or_nobody_reads_them(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """FunctionGraph's log is no CloudWatch, nor is a terminal."""
    world.on_functiongraph({"vault_id": VMWARE})
    world.on_lambda({"vault_id": FILE}, {**world.environ, "POWERTOOLS_METRICS_DISABLED": "true"})
    invoke({"vault_id": FILE}, Platform.AWS, world.environ, **world.options())
    read = capsys.readouterr()
    assert "_aws" not in read.out + read.err


def test_a_refused_webhook_counts_no_sync(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """A stranger moves no alarm."""
    event = webhook_event({"vault_id": VMWARE}, world, secret=b"the stranger's own, thirty-two b")
    assert world.on_lambda(event)["statusCode"] == 401
    (line,) = read_metric_lines(capsys)
    assert read_values(line).keys() == {"Duration", "ColdStart"}


def test_a_report_counts_what_is_not_fresh(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """And the age of the oldest success; it is no scheduled sync, whose silence it must not hide."""
    world.simulator = demo_simulator(world.now)
    world.on_lambda({"trigger": "schedule", "report": {}, "vaults": {}})
    (line,) = read_metric_lines(capsys)
    assert read_values(line) == {
        "StaleVaults": 7, "ScheduledStaleVaults": 7, "OldestSyncAgeHours": 271.2,
        "ColdStart": 1, "Duration": 0,
    }  # fmt: skip


def test_a_good_report_says_zero(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """An alarm goes out by it; one that somebody asks for meanwhile moves none."""
    world.simulator = demo_simulator(world.now)
    world.on_lambda({"report": {}, "vaults": {"name": "vault-vmware-01"}})
    world.on_lambda({"report": {}, "vaults": {"name": "vault-vmware-forgotten"}})
    well, unknown = map(read_values, read_metric_lines(capsys))
    assert (well["StaleVaults"], well["OldestSyncAgeHours"]) == (0, 7)
    assert unknown["StaleVaults"] == 1
    assert "ScheduledStaleVaults" not in {*well, *unknown}
    assert "OldestSyncAgeHours" not in unknown


def test_every_status_has_a_metric_of_its_own() -> None:
    """An alarm can be put on each."""
    assert OF_STATUS[Status.TIMED_OUT] == "SyncsTimedOut"
    assert len(set(OF_STATUS.values())) == len(Status)
