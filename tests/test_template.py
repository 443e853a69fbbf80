"""The SAM template and the event files keep the rules that no linter knows."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml

from cbr_sync import events
from cbr_sync.models import Kind
from cbr_sync.settings import Settings

ROOT = Path(__file__).parent.parent
TEMPLATE: dict[str, Any] = cfn_yaml.load(str(ROOT / "template.yaml"))
RESOURCES = TEMPLATE["Resources"]
FUNCTION = RESOURCES["Function"]["Properties"]
SCHEDULE = FUNCTION["Events"]["Nightly"]["Properties"]


def statements() -> Iterator[dict[str, Any]]:
    """Every statement of every policy in the template."""
    for resource in RESOURCES.values():
        for policy in resource["Properties"].get("Policies", []):
            yield from policy["PolicyDocument"]["Statement"]


def test_the_handler_is_the_one_that_stands_in_the_code() -> None:
    """A renamed module or function would be found by the first schedule otherwise."""
    assert FUNCTION["Handler"] == "cbr_sync.aws_lambda.handler"
    module, _, function = FUNCTION["Handler"].rpartition(".")
    source = ROOT / FUNCTION["CodeUri"] / f"{module.replace('.', '/')}.py"
    nodes = ast.parse(source.read_text(encoding="utf-8")).body
    assert function in {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


def test_every_variable_is_a_setting() -> None:
    """The function refuses names it does not know."""
    known = {field.alias for field in Settings.model_fields.values()}
    variables = FUNCTION["Environment"]["Variables"]
    assert {name for name in variables if name.startswith("CBR_SYNC_")} <= known


def test_the_settings_it_makes_are_right() -> None:
    """With parameters as a first deployment leaves them, the function starts."""
    variables = {
        "CBR_SYNC_REGION": "cn-north-4",
        "CBR_SYNC_PROJECT_ID": TEMPLATE["Parameters"]["ProjectId"]["Default"],
        "CBR_SYNC_VAULTS": "8d3a8b28-a697-41e2-8d5d-903669f8a02d, 2f1f6ab4-4f0c-4b64-9a3c-0d6f5f7f1a02",
        "CBR_SYNC_ALLOWED_VAULTS": TEMPLATE["Parameters"]["AllowedVaults"]["Default"],
        "CBR_SYNC_SECRET_ID": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:cbr-sync-AbCdEf",
        "CBR_SYNC_SQS_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/stack-ResultQueue-Ab3",
    }
    assert variables.keys() == {n for n in FUNCTION["Environment"]["Variables"] if n.startswith("CBR_")}
    given_by_lambda = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": "c"}
    assert len(Settings.load({**variables, **given_by_lambda}).vaults) == 2


@pytest.mark.parametrize("statement", list(statements()), ids=lambda statement: str(statement["Action"]))
def test_no_right_reaches_further_than_needed(statement: dict[str, Any]) -> None:
    """No wildcard action, and no resource but those of this stack and the one secret."""
    assert "*" not in json.dumps([statement["Action"], statement["Resource"]])


def test_the_secrets_arn_names_one_secret() -> None:
    """It becomes a policy's resource, so a wildcard or a partial ARN stops the deployment."""
    pattern = TEMPLATE["Parameters"]["SecretArn"]["AllowedPattern"]
    arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:"
    assert re.fullmatch(pattern, f"{arn}cbr-sync-AbCdEf")
    assert not any(
        re.fullmatch(pattern, arn + rest) for rest in ("*", "cbr-sync-*", "cbr-sync-??????", "cbr")
    )


def test_the_role_is_given_so_that_sam_adds_none() -> None:
    """SAM's own policies allow writing any log and reading any queue."""
    assert "Fn::GetAtt" in FUNCTION["Role"]
    assert "Policies" not in FUNCTION
    assert not any("ManagedPolicyArns" in resource["Properties"] for resource in RESOURCES.values())
    assert "Fn::GetAtt" in SCHEDULE["RoleArn"]


def test_the_schedule_has_six_fields_and_a_time_zone() -> None:
    """EventBridge's cron has a year; five fields fail only at deployment."""
    assert SCHEDULE["ScheduleExpression"] == {"Ref": "Schedule"}
    schedule = TEMPLATE["Parameters"]["Schedule"]
    assert re.fullmatch(schedule["AllowedPattern"], schedule["Default"])
    assert not re.fullmatch(schedule["AllowedPattern"], "cron(0 3 * * ?)")
    assert SCHEDULE["ScheduleExpressionTimezone"] == {"Ref": "ScheduleTimezone"}
    assert TEMPLATE["Parameters"]["ScheduleTimezone"]["Default"]


def test_two_stacks_do_not_fight_over_the_schedules_name() -> None:
    """SAM names it after the logical ids, the same in every stack of an account and region."""
    assert SCHEDULE["OmitName"] is True


def test_the_schedules_input_is_read_as_a_schedule() -> None:
    """Its own keys are taken out, what is left is an empty payload: the default vaults."""
    event = json.loads(SCHEDULE["Input"].replace("<aws.scheduler.scheduled-time>", "2026-11-23T03:00:00Z"))
    (message,) = events.messages(event, "request-1")
    assert message.trigger.kind is Kind.SCHEDULE
    assert message.trigger.time is not None
    assert message.payload == {}
    assert event.keys() == {"trigger", "scheduled_time", "schedule_arn"}


def test_no_event_is_lost_silently() -> None:
    """Schedule and asynchronous invokes are retried, and end in a queue."""
    failure_queue = {"Fn::GetAtt": ["FailureQueue", "Arn"]}
    assert SCHEDULE["DeadLetterConfig"]["Arn"] == failure_queue
    assert SCHEDULE["RetryPolicy"]["MaximumRetryAttempts"] > 0
    assert FUNCTION["EventInvokeConfig"]["DestinationConfig"]["OnFailure"]["Destination"] == failure_queue


@pytest.mark.parametrize("name", ["ResultQueue", "FailureQueue"])
def test_queues_are_encrypted_and_kept_for_two_weeks(name: str) -> None:
    """Somebody may be on holiday."""
    queue = RESOURCES[name]["Properties"]
    assert queue["SqsManagedSseEnabled"] is True
    assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600


@pytest.mark.parametrize("name", list(TEMPLATE["Parameters"]))
def test_every_parameter_says_what_it_is_and_what_it_may_be(name: str) -> None:
    """Who deploys with --guided sees the description, and is stopped at a typo."""
    parameter = TEMPLATE["Parameters"][name]
    assert parameter["Description"]
    assert {"AllowedPattern", "AllowedValues", "MinValue"} & parameter.keys()


@pytest.mark.parametrize("path", sorted((ROOT / "events").iterdir()), ids=lambda path: path.name)
def test_an_event_file_parses_and_is_named_for_its_platform_and_kind(path: Path) -> None:
    """Its name tells what it holds, and it is written as a formatter would."""
    kinds = "|".join(Kind)
    assert re.fullmatch(rf"(aws|functiongraph)-({kinds})(-[a-z0-9]+)*\.json", path.name)
    text = path.read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
