"""The SAM template and the event files keep the rules that no linter knows."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml

import bundle
from cbr_sync.follow import MAX_HOURS, PERIODS
from cbr_sync.models import Kind, Status
from cbr_sync.monitoring.metrics import (
    ATTEMPTS,
    COLD_START,
    DURATION,
    NAMESPACE,
    OF_FOLLOW,
    OF_STATUS,
    OLDEST_SYNC_AGE,
    SCHEDULED_RUNS,
    SCHEDULED_STALE_VAULTS,
    STALE_VAULTS,
)
from cbr_sync.settings import Settings
from cbr_sync.triggers.payload import FollowRequest, ReportRequest, parse_request
from support.receiver import FakeReceiver, read_messages

ROOT = Path(__file__).parent.parent.parent
TEMPLATE: dict[str, Any] = cfn_yaml.load(str(ROOT / "template.yaml"))
RESOURCES = TEMPLATE["Resources"]
FUNCTION = RESOURCES["Function"]["Properties"]
SCHEDULE = FUNCTION["Events"]["Nightly"]["Properties"]
REPORT_SCHEDULE = FUNCTION["Events"]["Morning"]["Properties"]
TICKS = FUNCTION["Events"]["Follow"]["Properties"]
WORK = FUNCTION["Events"]["Work"]["Properties"]
QUEUES = [name for name, resource in RESOURCES.items() if resource["Type"] == "AWS::SQS::Queue"]
ALARMS = [name for name, resource in RESOURCES.items() if resource["Type"] == "AWS::CloudWatch::Alarm"]
OUR_METRICS = {
    *OF_STATUS.values(),
    *OF_FOLLOW.values(),
    *(ATTEMPTS, COLD_START, DURATION, SCHEDULED_RUNS, STALE_VAULTS, OLDEST_SYNC_AGE),
    SCHEDULED_STALE_VAULTS,
}

TOLD_BY_THE_FUNCTION = {
    "FailedAlarm",
    "IncompleteAlarm",
    "TimedOutAlarm",
    "UnfinishedAlarm",
    "StaleVaultsAlarm",
}

TOPIC = {"Fn::If": ["HasTopicArn", {"Ref": "AlarmTopicArn"}, {"Ref": "AlarmTopic"}]}


def find_metric(name: str) -> dict[str, Any]:
    """Return what an alarm watches: namespace, name and dimensions."""
    alarm = RESOURCES[name]["Properties"]
    metric: dict[str, Any] = alarm["Metrics"][1]["MetricStat"]["Metric"] if "Metrics" in alarm else alarm
    return metric


def list_statements() -> Iterator[dict[str, Any]]:
    """List every statement of every policy in the template."""
    for resource in RESOURCES.values():
        for policy in resource["Properties"].get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                # One that depends on a parameter.
                yield statement["Fn::If"][1] if "Fn::If" in statement else statement


def test_the_handler_exists_in_the_code() -> None:
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
        "CBR_SYNC_PROJECT_ID": "0123456789abcdef0123456789abcdef",
        "CBR_SYNC_WAIT_SECONDS": str(TEMPLATE["Parameters"]["WaitSeconds"]["Default"]),
        "CBR_SYNC_VAULTS": "8d3a8b28-a697-41e2-8d5d-903669f8a02d, 2f1f6ab4-4f0c-4b64-9a3c-0d6f5f7f1a02",
        "CBR_SYNC_ALLOWED_VAULTS": TEMPLATE["Parameters"]["AllowedVaults"]["Default"],
        "CBR_SYNC_SECRET_ID": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:cbr-sync-AbCdEf",
        "CBR_SYNC_SQS_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/stack-ResultQueue-Ab3",
        "CBR_SYNC_DEFER_TO": "https://sqs.eu-west-1.amazonaws.com/123456789012/stack-WorkQueue-Cd4",
        "CBR_SYNC_SNS_TOPIC_ARN": TEMPLATE["Parameters"]["AlarmTopicArn"]["Default"],
        "CBR_SYNC_ENDPOINT": TEMPLATE["Parameters"]["HuaweiEndpoint"]["Default"],
        "CBR_SYNC_NOTIFY": TEMPLATE["Parameters"]["Notify"]["Default"],
        "CBR_SYNC_LANGUAGE": TEMPLATE["Parameters"]["Language"]["Default"],
    }
    assert variables.keys() == {n for n in FUNCTION["Environment"]["Variables"] if n.startswith("CBR_")}
    given_by_lambda = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": "c"}
    settings = Settings.load({**variables, **given_by_lambda}, defers_to="queue")
    assert len(settings.vaults) == 2


@pytest.mark.parametrize("statement", list(list_statements()), ids=lambda statement: str(statement["Action"]))
def test_no_permission_reaches_further_than_needed(statement: dict[str, Any]) -> None:
    """No wildcard action, and no resource but those of this stack and the one secret."""
    assert "*" not in json.dumps([statement["Action"], statement["Resource"]])


ROLE = {
    "logs:CreateLogStream": {"LogGroup"},
    "logs:PutLogEvents": {"LogGroup"},
    "sqs:SendMessage": {"ResultQueue", "FailureQueue", "WorkQueue"},
    "secretsmanager:GetSecretValue": {"SecretArn"},
    "sqs:ReceiveMessage": {"WorkQueue"},
    "sqs:DeleteMessage": {"WorkQueue"},
    "sqs:GetQueueAttributes": {"WorkQueue"},
    "sns:Publish": {"AlarmTopicArn", "AlarmTopic"},
    "kms:Decrypt": {"SecretKmsKeyArn"},
}
SCHEDULE_ROLE = {"lambda:InvokeFunction": {"Function"}, "sqs:SendMessage": {"FailureQueue"}}


def list_permissions(role: str) -> dict[str, set[str]]:
    """Return what a role may do, and to which parameters and resources."""
    found: dict[str, set[str]] = {}
    for policy in RESOURCES[role]["Properties"]["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            inner = statement["Fn::If"][1] if "Fn::If" in statement else statement
            assert inner["Effect"] == "Allow"
            names = re.findall(r"'(?:Ref|Fn::GetAtt)': (?:\['|')(\w+)", str(inner["Resource"]))
            actions = inner["Action"] if isinstance(inner["Action"], list) else [inner["Action"]]
            for action in actions:
                found.setdefault(action, set()).update(names)
    return found


@pytest.mark.parametrize(("role", "permissions"), [("FunctionRole", ROLE), ("ScheduleRole", SCHEDULE_ROLE)])
def test_a_role_may_do_exactly_this(role: str, permissions: dict[str, set[str]]) -> None:
    """No less: without one of them, the first night fails. And nobody else may take the role."""
    assert list_permissions(role) == permissions
    (statement,) = RESOURCES[role]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    service = {"FunctionRole": "lambda.amazonaws.com", "ScheduleRole": "scheduler.amazonaws.com"}[role]
    assert statement["Principal"] == {"Service": service}
    assert statement["Action"] == "sts:AssumeRole"


def test_a_secret_under_a_key_of_ones_own_is_decrypted_through_its_service_alone() -> None:
    """Where it is, which may be another region than the stack's."""
    (statement,) = (one for one in list_statements() if one["Action"] == "kms:Decrypt")
    service, values = statement["Condition"]["StringEquals"]["kms:ViaService"]["Fn::Sub"]
    assert service == "secretsmanager.${SecretRegion}.${AWS::URLSuffix}"
    assert values["SecretRegion"]["Fn::Select"][0] == 3


def test_the_runtime_and_the_machine_are_those_that_are_built() -> None:
    """The wheels in the zip are for these alone."""
    assert FUNCTION["Runtime"] == f"python{bundle.RUNTIME}"
    (architecture,) = FUNCTION["Architectures"]
    assert bundle.ZIPS[f"cbr-sync-lambda-{architecture}.zip"] == architecture
    makefile = (ROOT / "src" / "Makefile").read_text(encoding="utf-8")
    assert architecture in makefile


def test_the_metrics_have_the_dimension_that_the_alarms_watch() -> None:
    """Under another name no alarm would ever be raised."""
    assert FUNCTION["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] == {"Ref": "AWS::StackName"}


def test_what_a_run_may_take_fits_the_gateway_the_queue_and_the_schedule() -> None:
    """A poll must not show a message twice while it is served, and asynchronous events end within an hour."""
    assert FUNCTION["Timeout"] == 60
    assert RESOURCES["WorkQueue"]["Properties"]["VisibilityTimeout"] == 6 * FUNCTION["Timeout"]
    assert FUNCTION["MemorySize"] == 512
    redrive = RESOURCES["WorkQueue"]["Properties"]["RedrivePolicy"]
    assert redrive == {
        "deadLetterTargetArn": {"Fn::GetAtt": ["WorkDeadLetterQueue", "Arn"]},
        "maxReceiveCount": 5,
    }
    config = FUNCTION["EventInvokeConfig"]
    assert (config["MaximumEventAgeInSeconds"], config["MaximumRetryAttempts"]) == (3600, 2)
    failure = {"Type": "SQS", "Destination": {"Fn::GetAtt": ["FailureQueue", "Arn"]}}
    assert config["DestinationConfig"] == {"OnFailure": failure}
    for schedule in (SCHEDULE, REPORT_SCHEDULE, TICKS):
        retry = {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 3}
        assert schedule["RetryPolicy"] == retry
        assert schedule["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": ["FailureQueue", "Arn"]}}
        assert schedule["OmitName"] is True
    assert WORK["BatchSize"] == 10


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_is_raised_by_the_first_period(name: str) -> None:
    """But for silence: those that count, at once, and by a sum or the highest value."""
    alarm = RESOURCES[name]["Properties"]
    if name.startswith("Quiet"):
        return
    assert alarm["EvaluationPeriods"] == 1
    assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
    statistic, period, threshold = {
        "FailureQueueAlarm": ("Maximum", 60, 0),
        "WorkDeadLetterAlarm": ("Maximum", 60, 0),
        "WorkQueueAgeAlarm": ("Maximum", 300, 3600),
        "StaleVaultsAlarm": ("Maximum", 3600, 0),
        "UnfinishedAlarm": ("SampleCount", 3600, 2),
    }.get(name, ("Sum", 300, 0))
    assert (alarm["Statistic"], alarm["Period"], alarm["Threshold"]) == (statistic, period, threshold)


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


@pytest.mark.parametrize(("event", "name"), [(SCHEDULE, "Schedule"), (REPORT_SCHEDULE, "ReportSchedule")])
def test_a_schedule_has_six_fields_and_a_time_zone(event: dict[str, Any], name: str) -> None:
    """EventBridge's cron has a year; five fields fail only at deployment."""
    assert event["ScheduleExpression"] == {"Ref": name}
    schedule = TEMPLATE["Parameters"][name]
    assert re.fullmatch(schedule["AllowedPattern"], schedule["Default"])
    assert not re.fullmatch(schedule["AllowedPattern"], "cron(0 3 * * ?)")
    assert event["ScheduleExpressionTimezone"] == {"Ref": "ScheduleTimezone"}
    assert TEMPLATE["Parameters"]["ScheduleTimezone"]["Default"]


def test_two_stacks_do_not_fight_over_the_schedules_name() -> None:
    """SAM names it after the logical ids, the same in every stack of an account and region."""
    assert SCHEDULE["OmitName"] is True
    assert REPORT_SCHEDULE["OmitName"] is True


def test_the_schedules_input_is_read_as_a_schedule() -> None:
    """Its own keys are taken out, what is left is an empty payload: the default vaults."""
    event = json.loads(SCHEDULE["Input"].replace("<aws.scheduler.scheduled-time>", "2026-11-23T03:00:00Z"))
    (message,) = read_messages(event)
    assert message.trigger.kind is Kind.SCHEDULE
    assert message.trigger.time is not None
    assert message.payload == {}
    assert event.keys() == {"trigger", "scheduled_time", "schedule_arn"}


@pytest.mark.parametrize("minutes", TEMPLATE["Parameters"]["FollowMinutes"]["AllowedValues"])
def test_ticks_fire_by_cron_in_utc_at_whole_multiples_of_their_period(minutes: int) -> None:
    """A rate would begin at any second; 0 switches them off, and EventBridge knows no step of 60 minutes."""
    is_within_hour, expression, hourly = TICKS["ScheduleExpression"]["Fn::If"]
    assert is_within_hour == "FollowingWithinTheHour"
    assert TEMPLATE["Conditions"]["FollowingWithinTheHour"] == {
        "Fn::And": [{"Condition": "Following"}, {"Fn::Not": [{"Fn::Equals": [{"Ref": "FollowMinutes"}, 60]}]}]
    }
    assert TEMPLATE["Conditions"]["Following"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "FollowMinutes"}, 0]}]}
    assert TICKS["State"] == {"Fn::If": ["Following", "ENABLED", "DISABLED"]}
    assert TICKS["ScheduleExpressionTimezone"] == "UTC"
    assert (expression, hourly) == (
        {"Fn::Sub": "cron(0/${FollowMinutes} * * * ? *)"},
        "cron(0 * * * ? *)",
    )
    assert minutes in {0, *PERIODS}
    text = TICKS["Input"]["Fn::Sub"].replace("${FollowMinutes}", str(minutes)).replace("${MaxAgeHours}", "26")
    event = json.loads(text.replace("<aws.scheduler.scheduled-time>", "2026-11-23T09:00:00Z"))
    (message,) = read_messages(event)
    assert message.trigger.time == datetime(2026, 11, 23, 9, tzinfo=UTC)
    if minutes:
        request = parse_request(message, FakeReceiver().settings)
        assert isinstance(request, FollowRequest)
        assert request.options.every_minutes == minutes


def test_the_longest_age_is_one_that_ticks_can_see() -> None:
    """They look back no further."""
    assert TEMPLATE["Parameters"]["MaxAgeHours"]["MaxValue"] == MAX_HOURS


def test_the_reports_input_is_read_as_a_report() -> None:
    """On all hybrid vaults, with the limit that the operator chose."""
    text = REPORT_SCHEDULE["Input"]["Fn::Sub"]
    hours = str(TEMPLATE["Parameters"]["MaxAgeHours"]["Default"])
    filled = text.replace("${MaxAgeHours}", hours).replace(
        "<aws.scheduler.scheduled-time>", "2026-11-23T09:00:00Z"
    )
    (message,) = read_messages(json.loads(filled))
    assert message.trigger.kind is Kind.SCHEDULE
    assert message.trigger.time is not None
    request = parse_request(message, FakeReceiver().settings)
    assert isinstance(request, ReportRequest)
    assert request.options.max_age_hours == 26
    assert str(request.vaults) == "at all"


def test_no_event_is_lost_silently() -> None:
    """Schedules and asynchronous invokes are retried, and end in a queue."""
    failure_queue = {"Fn::GetAtt": ["FailureQueue", "Arn"]}
    for schedule in (SCHEDULE, REPORT_SCHEDULE):
        assert schedule["DeadLetterConfig"]["Arn"] == failure_queue
        assert schedule["RetryPolicy"]["MaximumRetryAttempts"] > 0
    assert FUNCTION["EventInvokeConfig"]["DestinationConfig"]["OnFailure"]["Destination"] == failure_queue


def test_a_message_comes_back_only_when_its_batch_is_over() -> None:
    """Six timeouts, as Lambda advises; what comes back too often ends in a queue of its own."""
    queue = RESOURCES["WorkQueue"]["Properties"]
    assert queue["VisibilityTimeout"] >= 6 * FUNCTION["Timeout"] + WORK.get(
        "MaximumBatchingWindowInSeconds", 0
    )
    assert queue["RedrivePolicy"]["deadLetterTargetArn"] == {"Fn::GetAtt": ["WorkDeadLetterQueue", "Arn"]}
    assert queue["RedrivePolicy"]["maxReceiveCount"] >= 5


def test_what_is_not_served_is_handed_on_to_the_work_queue() -> None:
    """The queue triggers the function, which may send to it; Lambda does not take that for a loop."""
    assert FUNCTION["Environment"]["Variables"]["CBR_SYNC_DEFER_TO"] == {"Ref": "WorkQueue"}
    assert WORK["Queue"] == {"Fn::GetAtt": ["WorkQueue", "Arn"]}
    assert "FifoQueue" not in RESOURCES["WorkQueue"]["Properties"]
    assert FUNCTION["RecursiveLoop"] == "Allow"
    sending = [one["Resource"] for one in list_statements() if one["Action"] == "sqs:SendMessage"]
    assert any({"Fn::GetAtt": ["WorkQueue", "Arn"]} in resources for resources in sending)


def test_only_what_failed_in_a_batch_comes_back() -> None:
    """The handler answers with the messages that it hands back, and few batches go at once."""
    assert WORK["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert WORK["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "WorkConcurrency"}}
    assert TEMPLATE["Parameters"]["WorkConcurrency"]["MinValue"] >= 2, "SQS's least"


def test_the_functions_own_messages_go_to_the_alarms_topic() -> None:
    """It may publish there and nowhere else; without a topic there is neither."""
    variable = FUNCTION["Environment"]["Variables"]["CBR_SYNC_SNS_TOPIC_ARN"]
    own = {"Fn::If": ["HasEmail", {"Ref": "AlarmTopic"}, ""]}
    assert variable == {"Fn::If": ["HasTopicArn", {"Ref": "AlarmTopicArn"}, own]}
    (resource,) = [one["Resource"] for one in list_statements() if one["Action"] == "sns:Publish"]
    assert resource == TOPIC


def test_a_mail_address_is_all_that_it_takes_to_be_notified() -> None:
    """It makes a topic, unless one is given, and subscribes to it."""
    assert RESOURCES["AlarmTopic"]["Condition"] == "MakesTopic"
    subscription = RESOURCES["AlarmSubscription"]
    assert subscription["Condition"] == "HasEmail"
    properties = {"TopicArn": TOPIC, "Protocol": "email", "Endpoint": {"Ref": "AlarmEmail"}}
    assert subscription["Properties"] == properties


def test_no_parameter_is_hidden_and_empty() -> None:
    """SAM asks for a hidden one again until it is given, for ever."""
    for name, parameter in TEMPLATE["Parameters"].items():
        assert not (parameter.get("NoEcho") and parameter.get("Default") == ""), name


def test_no_parameter_is_taken_for_one_of_aws() -> None:
    """SAM asks for the region of the stack beside them."""
    assert not {"Region", "ProjectId", "StackName"} & TEMPLATE["Parameters"].keys()


def test_the_variables_fit_into_lambdas_four_kilobytes() -> None:
    """With every parameter as long as it may be. Source: Lambda Developer Guide, quotas."""
    fixed = {
        "WorkQueue": 120,
        "ResultQueue": 120,
        "AWS::StackName": 128,
        "AlarmTopicArn": 340,
        "SecretArn": 600,
    }
    size = 0
    for name, value in FUNCTION["Environment"]["Variables"].items():
        refs = re.findall(r"'Ref': '([A-Za-z:]+)'", str(value))
        lengths = [fixed.get(ref) or TEMPLATE["Parameters"].get(ref, {}).get("MaxLength", 64) for ref in refs]
        size += len(name) + max(lengths, default=0)
    assert size <= 4096


def test_who_may_use_a_queue_as_a_dead_letter_queue() -> None:
    """Only the work queue has one; a queue of somebody else may not fill ours."""
    for name in QUEUES:
        policy = RESOURCES[name]["Properties"].get("RedriveAllowPolicy")
        assert policy == (None if name == "WorkDeadLetterQueue" else {"redrivePermission": "denyAll"}), name


def test_the_webhooks_log_says_what_the_gateway_met() -> None:
    """Also where the function could not be invoked; its group needs no policy of its own."""
    form = RESOURCES["WebhookStage"]["Properties"]["AccessLogSettings"]["Format"]
    assert "$context.integrationErrorMessage" in form
    assert json.loads(form)["integration_status"] == "$context.integrationStatus"
    group = RESOURCES["WebhookLogGroup"]["Properties"]["LogGroupName"]["Fn::Sub"]
    assert group.startswith("/aws/vendedlogs/")


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_the_dashboards_url_is_that_of_the_partition(partition: str) -> None:
    """Each has a console of its own."""
    assert TEMPLATE["Mappings"]["Consoles"][partition]["Host"].startswith(
        "console.amazonaws" if partition != "aws" else "console.aws."
    )
    assert "${Host}" in TEMPLATE["Outputs"]["DashboardUrl"]["Value"]["Fn::Sub"][0]


def test_no_schedule_falls_into_an_hour_that_a_zone_skips() -> None:
    """Clocks are changed between midnight and four."""
    for name in ("Schedule", "ReportSchedule"):
        hour = int(TEMPLATE["Parameters"][name]["Default"].split()[1])
        assert 4 <= hour <= 23, name


def test_webhooks_are_throttled_before_they_cost_a_run() -> None:
    """Only POSTs to one path get through, so many in a second; no URL leads around the gateway."""
    routes = [one["Properties"] for one in RESOURCES.values() if one["Type"] == "AWS::ApiGatewayV2::Route"]
    assert [route["RouteKey"] for route in routes] == ["POST /sync"]
    throttling = RESOURCES["WebhookStage"]["Properties"]["DefaultRouteSettings"]
    assert throttling.keys() == {"ThrottlingRateLimit", "ThrottlingBurstLimit"}
    assert set(map(str, throttling.values())) == {"{'Ref': 'WebhooksPerSecond'}"}
    assert RESOURCES["WebhookPermission"]["Properties"]["SourceArn"]["Fn::Sub"].endswith("/*/POST/sync")
    assert "FunctionUrlConfig" not in FUNCTION


def test_the_gateway_hands_over_the_whole_request() -> None:
    """Without proxy integration a stranger's body would look like a direct invocation, and be trusted."""
    integration = RESOURCES["WebhookIntegration"]["Properties"]
    assert (integration["IntegrationType"], integration["PayloadFormatVersion"]) == ("AWS_PROXY", "2.0")
    assert integration["TimeoutInMillis"] == 30_000


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_says_what_it_means_and_notifies_the_topic(name: str) -> None:
    """It watches something of this stack that exists; without a topic it is still seen on the dashboard.

    What the function itself notifies people of is not mailed again.
    Nor is the end of what is no state: after a run that failed, another one fixes nothing.
    """
    alarm = RESOURCES[name]["Properties"]
    assert alarm["AlarmDescription"].endswith(f". See {name} in README.md#monitoring")
    actions = {"Fn::If": ["Alarming", [TOPIC], {"Ref": "AWS::NoValue"}]}
    assert alarm.get("AlarmActions") == (None if name in TOLD_BY_THE_FUNCTION else actions)
    is_state = name not in TOLD_BY_THE_FUNCTION | {"ErrorsAlarm", "ThrottlesAlarm"}
    assert alarm.get("OKActions") == (actions if is_state else None)
    metric = find_metric(name)
    (dimension,) = metric["Dimensions"]
    if metric["Namespace"] == NAMESPACE:
        assert metric["MetricName"] in OUR_METRICS
        assert dimension == {"Name": "service", "Value": {"Ref": "AWS::StackName"}}
    else:
        (target,) = dimension["Value"].values()
        assert (target if isinstance(target, str) else target[0]) in RESOURCES


def test_each_kind_of_failure_has_its_alarm() -> None:
    """Given up, turned away, failed at the API, not finished, and silence."""
    watched = {(find_metric(n)["Namespace"], find_metric(n)["MetricName"]) for n in ALARMS}
    trouble = (Status.FAILED, Status.PARTIAL, Status.TIMED_OUT, Status.UNFINISHED)
    assert {(NAMESPACE, OF_STATUS[status]) for status in trouble} <= watched
    assert (NAMESPACE, SCHEDULED_STALE_VAULTS) in watched
    assert {("AWS/Lambda", name) for name in ("Errors", "Throttles")} <= watched
    depth = "ApproximateNumberOfMessagesVisible"
    deep = [n for n in ALARMS if find_metric(n)["MetricName"] == depth]
    named = {str(RESOURCES[n]["Properties"]["Dimensions"][0]["Value"]) for n in deep}
    assert named == {
        f"{{'Fn::GetAtt': ['{queue}', 'QueueName']}}" for queue in ("FailureQueue", "WorkDeadLetterQueue")
    }


@pytest.mark.parametrize(
    ("name", "metric"), [("QuietAlarm", SCHEDULED_RUNS), ("QuietReportAlarm", SCHEDULED_STALE_VAULTS)]
)
def test_silence_is_an_alarm(name: str, metric: str) -> None:
    """No run is no data, and that is what it is for; so is no report. Without hours there is no such alarm.

    Filled with zeros, since CloudWatch looks further back where data are missing, and is late then.
    """
    assert RESOURCES[name]["Condition"] == "WatchingSilence"
    quiet = RESOURCES[name]["Properties"]
    assert quiet["TreatMissingData"] == "breaching"
    filled, seen = quiet["Metrics"]
    assert filled["Expression"] == f"FILL({seen['Id']}, 0)"
    assert (seen["ReturnData"], filled.get("ReturnData", True)) == (False, True)
    assert find_metric(name)["MetricName"] == metric
    assert (quiet["ComparisonOperator"], quiet["Threshold"]) == ("LessThanThreshold", 1)
    period = seen["MetricStat"]["Period"]
    assert (period, quiet["EvaluationPeriods"]) == (3600, {"Ref": "QuietHours"})
    hours = TEMPLATE["Parameters"]["QuietHours"]
    assert hours["MinValue"] == 0
    assert hours["MaxValue"] * period <= 7 * 24 * 3600, "CloudWatch's most"


def test_the_other_alarms_stay_quiet_without_data() -> None:
    """Most of what they watch is sent only when it happens."""
    others = {name: RESOURCES[name]["Properties"]["TreatMissingData"] for name in ALARMS}
    del others["QuietAlarm"], others["QuietReportAlarm"]
    assert others.pop("StaleVaultsAlarm") == "ignore", "the last report holds until the next one"
    assert set(others.values()) == {"notBreaching"}


def test_three_unfinished_runs_in_an_hour_are_an_alarm_however_close() -> None:
    """Lambda repeats a run after one and two minutes, so they fall into one period; a run sends it once."""
    unfinished = RESOURCES["UnfinishedAlarm"]["Properties"]
    assert (unfinished["Statistic"], unfinished["Period"], unfinished["Threshold"]) == (
        "SampleCount",
        3600,
        2,
    )
    assert unfinished["EvaluationPeriods"] == 1


def read_dashboard() -> dict[str, Any]:
    """Return the dashboard's body, with names in the place of what CloudFormation fills in."""
    body, more = RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    quiet_alarms = more["QuietAlarms"]["Fn::If"][1]["Fn::Sub"]
    body = body.replace("${QuietAlarms}", quiet_alarms)
    content: dict[str, Any] = json.loads(re.sub(r"\$\{([A-Za-z:.]+)\}", r"\1", body))
    return content


def test_the_dashboard_shows_every_alarm_and_only_metrics_that_exist() -> None:
    """A widget with a misspelt name stays empty, and nobody notices."""
    widgets = read_dashboard()["widgets"]
    shown = [widget["properties"]["alarms"] for widget in widgets if widget["type"] == "alarm"]
    assert [sorted(names) for names in shown] == [sorted(f"{name}.Arn" for name in ALARMS)]
    metrics = [row for widget in widgets for row in widget["properties"].get("metrics", [])]
    ours = {row[1] for row in metrics if row[0] == NAMESPACE}
    assert {*OF_STATUS.values(), SCHEDULED_STALE_VAULTS, OLDEST_SYNC_AGE} <= ours <= OUR_METRICS
    for _, _, dimension, value, *_ in metrics:
        assert dimension in {"service", "FunctionName", "QueueName", "ApiId"}
        assert value == "AWS::StackName" or value.partition(".")[0] in RESOURCES


def test_the_dashboards_widgets_do_not_overlap() -> None:
    """CloudWatch would move them."""
    taken: set[tuple[int, int]] = set()
    for widget in read_dashboard()["widgets"]:
        right, bottom = widget["x"] + widget["width"], widget["y"] + widget["height"]
        cells = {(x, y) for x in range(widget["x"], right) for y in range(widget["y"], bottom)}
        assert right <= 24
        assert taken.isdisjoint(cells)
        taken |= cells


def test_logs_end_and_are_json() -> None:
    """Each log group is the stack's own, so that it has an end."""
    groups = [r["Properties"] for r in RESOURCES.values() if r["Type"] == "AWS::Logs::LogGroup"]
    assert [group["RetentionInDays"] for group in groups] == [{"Ref": "LogRetentionDays"}] * 2
    assert FUNCTION["LoggingConfig"]["LogGroup"] == {"Ref": "LogGroup"}
    assert FUNCTION["LoggingConfig"]["LogFormat"] == "JSON"


@pytest.mark.parametrize("name", QUEUES)
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
    if "AllowedPattern" in parameter and "Default" in parameter:
        assert re.fullmatch(parameter["AllowedPattern"], parameter["Default"])


@pytest.mark.parametrize("path", sorted((ROOT / "events").iterdir()), ids=lambda path: path.name)
def test_an_event_file_parses_and_is_named_for_its_platform_and_kind(path: Path) -> None:
    """Its name says what it contains, and it is formatted."""
    kinds = "|".join(Kind)
    assert re.fullmatch(rf"(aws|functiongraph)-({kinds})(-[a-z0-9]+)*\.json", path.name)
    text = path.read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
