"""The README is true: what it names exists, and what exists it names."""

from __future__ import annotations

import json
import re

import boto3
import pytest
import typer
from moto import mock_aws

import bundle
from cbr_sync.cli.main import app
from cbr_sync.errors import EventError
from cbr_sync.models import OutcomeError, Status
from cbr_sync.monitoring.metrics import (
    ATTEMPTS,
    COLD_START,
    DURATION,
    OF_FOLLOW,
    OF_STATUS,
    OLDEST_SYNC_AGE,
    SCHEDULED_RUNS,
    SCHEDULED_STALE_VAULTS,
    STALE_VAULTS,
)
from cbr_sync.reports.models import State
from cbr_sync.settings import DOCUMENTED_NAMES, Settings
from cbr_sync.simulator.faults import parse_faults
from cbr_sync.sinks.messages import (
    BECAME_STALE,
    NOTICE,
    OVERDUE,
    RECOVERED,
    REJECTED,
    REPORT,
    RUN_FINISHED,
    build_events,
)
from support.builders import SOURCE, TRIGGER, build_outcome, build_result
from support.world import START, World

ROOT = bundle.ROOT
TEMPLATE = (ROOT / "template.yaml").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
METRICS = {
    *OF_STATUS.values(),
    *OF_FOLLOW.values(),
    *(ATTEMPTS, COLD_START, DURATION, SCHEDULED_RUNS, STALE_VAULTS, SCHEDULED_STALE_VAULTS, OLDEST_SYNC_AGE),
}
COMMAND: typer.core.TyperGroup = typer.main.get_command(app)  # type: ignore[assignment]


def list_code_spans() -> set[str]:
    """List everything between backticks in a line."""
    return set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", README, flags=re.DOTALL)))


def list_blocks(language: str) -> list[str]:
    """List the fenced blocks in this language."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", README, flags=re.DOTALL | re.MULTILINE)


def test_every_setting_is_named_and_only_such() -> None:
    """The table is complete, and nothing in it is made up."""
    known = {field.alias for field in Settings.model_fields.values()}
    assert set(re.findall(r"\bCBR_SYNC_[A-Z_]+[A-Z]", README)) == known


def test_the_table_of_settings_names_every_variable_that_is_read() -> None:
    """The project's own and the standard ones, and nothing else."""
    rows = re.findall(r"^\| (`[A-Z]+_[A-Z_]+`.*)$", README, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([A-Z]+_[A-Z_]+)`", row)}
    assert named == {name.upper() for name in DOCUMENTED_NAMES}


def test_every_event_file_is_named_and_only_such() -> None:
    """Each trigger has a file to try, and each file is mentioned."""
    files = {f"events/{path.name}" for path in (ROOT / "events").iterdir()}
    assert set(re.findall(r"events/[a-z0-9-]+\.json", README)) == files


def test_every_command_is_named_and_every_option_exists() -> None:
    """What it says to type works."""
    typed = re.findall(r"(?:`|^ *)cbr-sync ([a-z]+[^`\n#]*)", README, re.MULTILINE)
    assert {line.split()[0] for line in typed} == set(COMMAND.commands)
    for line in typed:
        name, *words = line.split()
        known = list_options(COMMAND.commands[name])
        assert {word for word in words if word.startswith("--")} <= known, line
    row_options = re.findall(r"^\| `cbr-sync ([a-z]+)` \|(.*)\|$", README, re.MULTILINE)
    assert {name for name, _ in row_options} == set(COMMAND.commands)
    for name, row in row_options:
        assert set(re.findall(r"`(--[a-z-]+)", row)) <= list_options(COMMAND.commands[name]), name
    for spec in re.findall(r"--fault ([a-z0-9,*-]+)", README):
        assert parse_faults(spec)


def list_options(command: object) -> set[str]:
    """List the options of a command and of those below it."""
    found: set[str] = set()
    for below in getattr(command, "commands", {}).values():
        found |= list_options(below)
    return found.union(*(parameter.opts for parameter in getattr(command, "params", ())))


def test_the_make_targets_exist() -> None:
    """What it says to type works."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = {a or b for a, b in re.findall(r"`make ([a-z-]+)`|^make ([a-z-]+)", README, re.MULTILINE)}
    assert {"demo", "test", "build"} <= named <= targets


def test_every_alarm_metric_and_zip_is_explained() -> None:
    """And nothing that is not there."""
    alarms = set(re.findall(r"^  ([A-Za-z]+Alarm):", TEMPLATE, re.MULTILINE))
    assert set(re.findall(r"`([A-Za-z]+Alarm)`", README)) == alarms
    assert set(re.findall(r"`([A-Za-z]+)`", README)) >= METRICS
    assert set(re.findall(r"dist/(cbr-sync[a-z0-9_-]+\.zip)", README)) == set(bundle.ZIPS)


def test_the_template_parameters_exist() -> None:
    """A name in CamelCase is a parameter, an alarm, a metric or an error."""
    names = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+)`", README)) - METRICS
    assert {name for name in names if f"  {name}:\n" not in TEMPLATE} <= {"SyncUnfinished", "CbrSync"}


def test_the_terraform_variables_exist() -> None:
    """Those that are set in a block or named in the text."""
    folder = ROOT / "deploy" / "functiongraph"
    root, module = (
        set(re.findall(r'^variable "([a-z_]+)"', path.read_text(encoding="utf-8"), re.MULTILINE))
        for path in (folder / "main.tf", folder / "module" / "variables.tf")
    )
    assert set(re.findall(r"^ *([a-z_]+) += ", "".join(list_blocks("sh")), re.MULTILINE)) <= root
    assert {"topic_urn", "alarm_user", "failure_bucket", "max_instances"} <= module & list_code_spans()


def test_the_runbook_knows_every_status_state_and_code_of_ours() -> None:
    """Whoever meets one finds it, and what to do."""
    words = list_code_spans()
    assert {*Status, *State} <= words
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src" / "cbr_sync").rglob("*.py"))
    assert set(re.findall(r'"(CbrSync\.[A-Za-z]+)"', source)) == {
        word for word in words if word.startswith("CbrSync.")
    }


def test_every_message_is_documented() -> None:
    """By its type."""
    types = {
        "cbr-sync.checkpoint.sync.{status}.v1",
        "cbr-sync.vault.{state}.v1",
        "cbr-sync.operation.{status}.v1",
        *(OVERDUE, BECAME_STALE, RECOVERED),
        *(REJECTED, NOTICE),
        REPORT,
        RUN_FINISHED,
    }
    assert {word for word in list_code_spans() if word.startswith("cbr-sync.")} == types


def test_the_links_lead_somewhere() -> None:
    """To a file that is there, or to a heading of the page."""
    headings = re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if target.startswith("#"):
            assert target[1:] in anchors
        elif not target.startswith("https://"):
            assert (ROOT / target).is_file(), target


@mock_aws
def test_the_consumer_works(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The program in the text, as it stands there, on a queue with one message of each kind."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "made-up")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    (program,) = list_blocks("python")
    assert len(program.splitlines()) <= 22
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName="results")["QueueUrl"]
    world = World()
    result = build_result(
        build_outcome(),
        build_outcome(status=Status.FAILED, error=OutcomeError(code="BackupService.7300", message="no")),
        errors=[(TRIGGER, EventError("found nothing"))],
    )
    for event in build_events(result, "run", SOURCE, START):
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps(event))
    world.on_lambda({"report": {}}, {**world.environ})
    reported = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for line in reported:
        if "outcome" in line:
            sqs.send_message(QueueUrl=url, MessageBody=json.dumps(line["outcome"]))
    once = re.sub(r'"https://sqs[^"]+"', repr(url), program).replace("while True:", "for _ in range(3):")
    exec(compile(once.replace("WaitTimeSeconds=20", "WaitTimeSeconds=0"), "README.md", "exec"), {})  # noqa: S102
    shown = capsys.readouterr().out
    assert "failed: {'code': 'BackupService.7300'" in shown
    assert "an event could not be read: found nothing" in shown
    assert shown.count(" is unknown; hours since its last success: None") == 7
    assert "accepted" not in shown
    left = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert left["ApproximateNumberOfMessages"] == "0"
