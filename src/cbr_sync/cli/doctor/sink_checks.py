"""Checks of the sinks; nothing is sent to any of them."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from pydantic import BaseModel

from cbr_sync.aws.sns import build_sns_client
from cbr_sync.aws.sqs import build_sqs_client
from cbr_sync.cli.doctor.advice import find_network_remedy, find_remedy
from cbr_sync.cli.doctor.finding import Finding, Verdict
from cbr_sync.errors import ApiError, CredentialsRefusedError, RetryableError
from cbr_sync.huawei.endpoints import build_topic_url, find_eventgrid_endpoint, parse_topic_urn
from cbr_sync.settings import AWS_KEY_NAMES
from cbr_sync.sinks.registry import ALL_SINKS, PEOPLE_SINKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cbr_sync.cli.doctor.calls import Calls
    from cbr_sync.settings import Settings

_MAY_NOT_READ = (
    "the keys are accepted, but may not read it, so that it is not known whether they may send to it"
)


def check_sinks(calls: Calls) -> Iterator[Finding]:
    """Yield a finding for each sink that is set, for who is notified, and for the check that runs ping."""
    settings = calls.app.settings
    yield Finding("sink log", Verdict.OK, "always on")
    for sink in ALL_SINKS:
        if sink.is_on(settings):
            yield from SINK_CHECKS[sink.name](calls)
    yield _describe_recipients(settings)
    if settings.ping_url:
        yield from _check_ping(calls, settings.ping_url.get_secret_value())


def _describe_recipients(settings: Settings) -> Finding:
    """Return whom the function writes to, and about what."""
    topics = [topic for topic in (settings.smn_topic_urn, settings.sns_topic_arn) if topic]
    if not topics:
        names = " nor ".join(sink.setting for sink in PEOPLE_SINKS)
        return Finding("people", Verdict.SKIPPED, f"nobody is notified: neither {names} is set")
    what = "trouble" if settings.notify == "problems" else "every run, good or bad"
    language = "Chinese" if settings.language == "zh" else "English"
    found = f"the subscribers of {' and '.join(topics)} are notified of {what}, in {language}"
    return Finding("people", Verdict.OK, f"{found}; cbr-sync notify --preview shows the messages")


class _Sink(NamedTuple):
    """A sink, with the permissions to read it and to send to it."""

    subject: str
    setting: str
    read_permission: str
    send_permission: str


# Sources: SMN API reference, ListTopicDetails; EventGrid API reference, ShowDetailOfChannel.
_SQS = _Sink("sink SQS", "CBR_SYNC_SQS_QUEUE_URL", "sqs:GetQueueAttributes", "sqs:SendMessage")
_SNS = _Sink("sink SNS", "CBR_SYNC_SNS_TOPIC_ARN", "sns:GetTopicAttributes", "sns:Publish")
_SMN = _Sink("sink SMN", "CBR_SYNC_SMN_TOPIC_URN", "smn:topic:get", "smn:topic:publish")
_EVENTGRID = _Sink(
    "sink EventGrid", "CBR_SYNC_EVENTGRID_CHANNEL_ID", "eg:channels:get", "eg:channels:putEvents"
)


class _TopicOrChannel(BaseModel):
    provider_type: str | None = None


def _check_topic(calls: Calls) -> Iterator[Finding]:
    settings = calls.app.settings
    topic = parse_topic_urn(settings.smn_topic_urn or "")
    yield from _check_exists(calls, _SMN, build_topic_url(settings, topic), topic.project_id)


def _check_channel(calls: Calls) -> Iterator[Finding]:
    settings = calls.app.settings
    channels_url = f"{find_eventgrid_endpoint(settings)}/v1/{calls.project_id}/channels"
    url = f"{channels_url}/{settings.eventgrid_channel_id}"
    yield from _check_exists(calls, _EVENTGRID, url, calls.project_id)


def _check_exists(calls: Calls, sink: _Sink, url: str, project_id: str) -> Iterator[Finding]:
    """Yield whether the topic or channel is there."""
    if calls.skip_reason:
        yield Finding(sink.subject, Verdict.SKIPPED, calls.skip_reason)
        return
    try:
        provider = calls.fetch(_TopicOrChannel, url, project_id).provider_type
    except ApiError as error:
        yield _explain_missing(sink, error)
        return
    if provider == "OFFICIAL":
        found = "this is the channel of the cloud services, which takes no events of ours"
        yield Finding(sink.subject, Verdict.FAILED, found, f"set {sink.setting} to a channel of your own")
    else:
        yield Finding(sink.subject, Verdict.OK, "it exists; nothing was sent")


def _explain_missing(sink: _Sink, error: ApiError) -> Finding:
    if error.http_status == HTTPStatus.FORBIDDEN:
        remedy = f"check that the keys have {sink.send_permission}; {sink.read_permission} would show more"
        return Finding(sink.subject, Verdict.WARNING, f"{error}: {_MAY_NOT_READ}", remedy)
    if isinstance(error, (CredentialsRefusedError, RetryableError)):
        return Finding(sink.subject, Verdict.FAILED, str(error), find_remedy(error, sink.read_permission))
    return Finding(sink.subject, Verdict.FAILED, str(error), f"set {sink.setting} to one that exists")


def _check_queue(calls: Calls) -> Iterator[Finding]:
    """Yield whether the queue is there."""
    app, subject = calls.app, _SQS.subject
    queue_url = app.settings.sqs_queue_url or ""
    body = {"QueueUrl": queue_url, "AttributeNames": ["QueueArn"]}
    sqs = build_sqs_client(app.http, queue_url, app.environ, app.clock.now)
    try:
        calls.retry(lambda: sqs.call("GetQueueAttributes", body, timeout_seconds=calls.get_timeout_seconds()))
    except ApiError as error:
        yield Finding(subject, *_explain_aws_error(error, _SQS))
        return
    kind = "a FIFO queue" if queue_url.endswith(".fifo") else "a standard queue"
    yield Finding(subject, Verdict.OK, f"{kind}, and it exists; nothing was sent")


def _check_sns_topic(calls: Calls) -> Iterator[Finding]:
    """Yield whether the topic is there, and whether anybody has subscribed to it.

    Source: SNS API reference, GetTopicAttributes.
    """
    app, subject = calls.app, _SNS.subject
    topic_arn = app.settings.sns_topic_arn or ""
    sns = build_sns_client(app.http, topic_arn, app.environ, app.clock.now)
    parameters = {"TopicArn": topic_arn}
    try:
        answer = calls.retry(
            lambda: sns.call("GetTopicAttributes", parameters, timeout_seconds=calls.get_timeout_seconds())
        )
    except ApiError as error:
        yield Finding(subject, *_explain_aws_error(error, _SNS))
        return
    confirmed = re.search(r"<key>SubscriptionsConfirmed</key>\s*<value>(\d+)</value>", answer)
    if confirmed and confirmed[1] == "0":
        found = "the topic exists, and nobody has confirmed a subscription to it"
        yield Finding(subject, Verdict.WARNING, found, "subscribe, and confirm by the link in the mail")
        return
    count = f", with {confirmed[1]} confirmed subscriptions" if confirmed else ""
    yield Finding(subject, Verdict.OK, f"the topic exists{count}; nothing was sent")


def _explain_aws_error(error: ApiError, sink: _Sink) -> tuple[Verdict, str, str]:
    # Sources: SQS API reference, GetQueueAttributes, SNS API reference, GetTopicAttributes, "Common errors".
    if isinstance(error, RetryableError):
        return Verdict.FAILED, str(error), find_network_remedy(error)
    if "AccessDenied" in error.code or "AuthorizationError" in error.code:
        remedy = f"check that the function has {sink.send_permission}; {sink.read_permission} would show more"
        return Verdict.WARNING, f"{error}: {_MAY_NOT_READ}", remedy
    if error.http_status == HTTPStatus.NOT_FOUND or any(
        code in error.code for code in ("QueueDoesNotExist", "NonExistentQueue", "NotFound")
    ):
        return Verdict.FAILED, str(error), f"set {sink.setting} to one that exists, in its region"
    if error.http_status == HTTPStatus.FORBIDDEN or "Signature" in error.code:
        remedy = f"set {', '.join(AWS_KEY_NAMES)} and AWS_SESSION_TOKEN again: temporary keys expire"
        return Verdict.FAILED, str(error), remedy
    return Verdict.FAILED, str(error), f"look the code up in the API reference, and check {sink.setting}"


def _check_ping(calls: Calls, url: str) -> Iterator[Finding]:
    """Yield whether the monitor answers at its root, since a request to the URL itself would be a ping."""
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    if not parts.path.strip("/"):
        yield Finding(
            "sink ping", Verdict.SKIPPED, "it has no path, so that any request to its host is a ping"
        )
        return
    try:
        status = calls.fetch_root(origin).status_code
    except ApiError as error:
        yield Finding("sink ping", Verdict.FAILED, error.message, find_network_remedy(error))
    else:
        yield Finding("sink ping", Verdict.OK, f"{origin} answers (HTTP {status}); nothing was pinged")


# By the sink's name in the registry; a check runs only where its sink is on.
SINK_CHECKS: Mapping[str, Callable[[Calls], Iterator[Finding]]] = {
    "sqs": _check_queue,
    "smn": _check_topic,
    "sns": _check_sns_topic,
    "eventgrid": _check_channel,
}
