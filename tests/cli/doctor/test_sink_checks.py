"""The sinks: what is wrong with them, without sending anything to them."""

from __future__ import annotations

import socket

import httpx
import pytest

from cbr_sync.cli.doctor.finding import Verdict
from support.doctor import (
    AWS,
    CBR,
    EVENTGRID,
    MONITOR,
    QUEUE,
    SINKS,
    SMN,
    SQS,
    Answer,
    CheckedCloud,
    answer_with,
    break_connection,
    find_worst,
    list_bad,
    refuse,
    run_doctor,
)


def refuse_as_sqs(status: int, code: str) -> Answer:
    """Answer with an error, in the form of SQS."""
    return answer_with(status, {"__type": f"com.amazonaws.sqs#{code}", "message": "no"})


@pytest.mark.parametrize(
    ("host", "wrong", "subject", "verdict", "words"),
    [
        (SQS, refuse_as_sqs(400, "QueueDoesNotExist"), "SQS", Verdict.FAILED, "set CBR_SYNC_SQS_QUEUE_URL"),
        (SQS, refuse_as_sqs(403, "AccessDenied"), "SQS", Verdict.WARNING, "sqs:SendMessage"),
        (SQS, refuse_as_sqs(403, "InvalidClientTokenId"), "SQS", Verdict.FAILED, "AWS_SESSION_TOKEN again"),
        (SQS, refuse_as_sqs(400, "IncompleteSignature"), "SQS", Verdict.FAILED, "AWS_SESSION_TOKEN again"),
        (SQS, refuse_as_sqs(400, "InvalidAddress"), "SQS", Verdict.FAILED, "API reference"),
        (SQS, answer_with(503), "SQS", Verdict.FAILED, "try again"),
        (SQS, break_connection(httpx.ConnectTimeout), "SQS", Verdict.FAILED, "firewall"),
        (
            SMN,
            answer_with(404, {"code": "SMN.0006", "message": "Topic not found."}),
            "SMN",
            Verdict.FAILED,
            "set CBR_SYNC_SMN_TOPIC_URN",
        ),
        (
            SMN,
            answer_with(403, {"code": "SMN.0003", "message": "no"}),
            "SMN",
            Verdict.WARNING,
            "smn:topic:publish",
        ),
        (SMN, refuse(401, "APIGW.0301"), "SMN", Verdict.FAILED, "set the access key"),
        (EVENTGRID, answer_with(404), "EventGrid", Verdict.FAILED, "set CBR_SYNC_EVENTGRID_CHANNEL_ID"),
        (EVENTGRID, answer_with(403), "EventGrid", Verdict.WARNING, "eg:channels:putEvents"),
        (EVENTGRID, answer_with(503), "EventGrid", Verdict.FAILED, "try again"),
        (
            EVENTGRID,
            answer_with(200, {"provider_type": "OFFICIAL"}),
            "EventGrid",
            Verdict.FAILED,
            "a channel of your own",
        ),
        (
            MONITOR,
            break_connection(httpx.ConnectError, socket.gaierror("unknown")),
            "ping",
            Verdict.FAILED,
            "DNS",
        ),
    ],
)
def test_a_sink_that_is_not_well_is_reported(
    checked: CheckedCloud, host: str, wrong: Answer, subject: str, verdict: Verdict, words: str
) -> None:
    """One stops no other, but for refused keys."""
    checked.wrong = {host: wrong}
    findings = run_doctor(checked, **SINKS)
    assert list_bad(findings) == [f"sink {subject}"]
    finding = find_worst(findings, f"sink {subject}")
    assert finding.verdict is verdict
    assert words in finding.remedy


def test_a_queue_of_no_known_region_is_reported(checked: CheckedCloud) -> None:
    """Neither its URL nor a variable names one."""
    findings = run_doctor(checked, **AWS, CBR_SYNC_SQS_QUEUE_URL="https://queues.example.com/q")
    assert list_bad(findings) == ["AWS_REGION"]


def test_a_fifo_queue_is_known_by_its_name(checked: CheckedCloud) -> None:
    """Its messages get a group and a deduplication id."""
    findings = run_doctor(checked, **AWS, CBR_SYNC_SQS_QUEUE_URL=f"{QUEUE}.fifo")
    assert find_worst(findings, "sink SQS").found.startswith("a FIFO queue")


def test_a_monitor_that_cannot_be_asked_without_a_ping_is_not_asked(checked: CheckedCloud) -> None:
    """Its URL has nothing but a host."""
    findings = run_doctor(checked, CBR_SYNC_PING_URL=f"https://{MONITOR}")
    assert find_worst(findings, "sink ping").verdict is Verdict.SKIPPED
    assert [request.url.host for request in checked.requests if request.url.host != CBR] == []


def test_a_topic_is_checked_where_its_urn_says(checked: CheckedCloud) -> None:
    """In its own region and project."""
    urn = "urn:smn:eu-west-101:a0b1c2d3e4f54a5b8c7d6e5f4a3b2c1d:backup"
    findings = run_doctor(checked, CBR_SYNC_SMN_TOPIC_URN=urn)
    assert find_worst(findings, "sink SMN").verdict is Verdict.OK
    (request,) = [request for request in checked.requests if request.url.host.startswith("smn")]
    assert request.url.host == "smn.eu-west-101.myhuaweicloud.eu"
    assert request.url.path == f"/v2/a0b1c2d3e4f54a5b8c7d6e5f4a3b2c1d/notifications/topics/{urn}"
    assert request.headers["X-Project-Id"] == "a0b1c2d3e4f54a5b8c7d6e5f4a3b2c1d"


SNS = {"CBR_SYNC_SNS_TOPIC_ARN": "arn:aws:sns:eu-west-1:123456789012:people", **AWS}
SNS_HOST = "sns.eu-west-1.amazonaws.com"


def answer_as_sns(status: int, text: str) -> Answer:
    """Answer with XML."""
    return lambda _request: httpx.Response(status, text=text)


def count_subscriptions(count: int) -> Answer:
    """Answer as GetTopicAttributes does; the sample of the SNS API reference has entries of this form."""
    entry = f"<entry><key>SubscriptionsConfirmed</key><value>{count}</value></entry>"
    return answer_as_sns(200, f"<GetTopicAttributesResponse>{entry}</GetTopicAttributesResponse>")


@pytest.mark.parametrize(
    ("answer", "verdict", "words"),
    [
        (count_subscriptions(2), Verdict.OK, "2 confirmed subscriptions"),
        (count_subscriptions(0), Verdict.WARNING, "confirm by the link"),
        (answer_as_sns(404, "<Code>NotFound</Code>"), Verdict.FAILED, "set CBR_SYNC_SNS_TOPIC_ARN"),
        (answer_as_sns(403, "<Code>AuthorizationError</Code>"), Verdict.WARNING, "sns:Publish"),
        (answer_as_sns(403, "<Code>InvalidClientTokenId</Code>"), Verdict.FAILED, "AWS_SESSION_TOKEN again"),
        (answer_as_sns(503, ""), Verdict.FAILED, "try again"),
    ],
)
def test_a_topic_of_sns_is_checked(
    checked: CheckedCloud, answer: Answer, verdict: Verdict, words: str
) -> None:
    """Nothing is published; whether anybody has subscribed is said, too."""
    checked.wrong = {SNS_HOST: answer}
    finding = find_worst(run_doctor(checked, **SNS), "sink SNS")
    assert finding.verdict is verdict
    assert words in finding.found + finding.remedy
    (request,) = {request.content for request in checked.requests if request.url.host == SNS_HOST}
    assert request.startswith(b"Action=GetTopicAttributes&Version=2010-03-31&TopicArn=")


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "nobody is notified: neither CBR_SYNC_SMN_TOPIC_URN nor CBR_SYNC_SNS_TOPIC_ARN is set"),
        (
            SNS,
            "subscribers of arn:aws:sns:eu-west-1:123456789012:people are notified of trouble, in English",
        ),
        (
            {**SINKS, "CBR_SYNC_NOTIFY": "all", "CBR_SYNC_LANGUAGE": "zh"},
            "are notified of every run, good or bad, in Chinese",
        ),
    ],
)
def test_who_would_be_notified_is_said(checked: CheckedCloud, environ: dict[str, str], words: str) -> None:
    """And of what, in which language."""
    assert words in find_worst(run_doctor(checked, **environ), "people").found
