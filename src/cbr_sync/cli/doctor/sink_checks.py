"""Checks of the sinks; nothing is sent to any of them."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from pydantic import BaseModel

from cbr_sync.aws.sqs import build_sqs_client
from cbr_sync.errors import ApiError, CredentialsRefusedError, RetryableError, SettingsError
from cbr_sync.huawei.endpoints import build_topic_url, find_eventgrid_endpoint, parse_topic_urn
from cbr_sync.settings import AWS_KEY_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cbr_sync.cli.doctor.calls import Calls
from cbr_sync.cli.doctor.advice import find_network_remedy, find_remedy
from cbr_sync.cli.doctor.finding import Finding, Verdict
from cbr_sync.cli.doctor.settings_checks import build_mistake_finding


def check_sinks(calls: Calls) -> Iterator[Finding]:
    """A line for each sink; nothing is sent to any of them."""
    settings = calls.app.settings
    yield Finding("sink log", Verdict.OK, "always on")
    if settings.sqs_queue_url:
        yield _check_queue(calls, settings.sqs_queue_url)
    if settings.smn_topic_urn:
        url = build_topic_url(settings, parse_topic_urn(settings.smn_topic_urn))
        yield _check_exists(calls, _SMN, url)
    if settings.eventgrid_channel_id:
        url = f"{find_eventgrid_endpoint(settings)}/v1/{calls.project_id}/channels/{settings.eventgrid_channel_id}"
        yield _check_exists(calls, _EVENTGRID, url)
    if settings.ping_url:
        yield _check_ping(calls, settings.ping_url.get_secret_value())


class _Sink(NamedTuple):
    """A sink on Huawei Cloud; ``looking`` is the permission to look at it, ``sending`` that to send to it."""

    subject: str
    setting: str
    looking: str
    sending: str


# Sources: SMN API reference, ListTopicDetails; EventGrid API reference, ShowDetailOfChannel.
_SMN = _Sink("sink SMN", "CBR_SYNC_SMN_TOPIC_URN", "smn:topic:get", "smn:topic:publish")


_EVENTGRID = _Sink(
    "sink EventGrid", "CBR_SYNC_EVENTGRID_CHANNEL_ID", "eg:channels:get", "eg:channels:putEvents"
)


_MAY_NOT_LOOK = "the signature is right, the right to look is missing; whether it may send cannot be told so"


class _TopicOrChannel(BaseModel):
    provider_type: str | None = None


def _check_exists(calls: Calls, sink: _Sink, url: str) -> Finding:
    """Whether what a sink sends to is there."""
    if calls.kept_from:
        return Finding(sink.subject, Verdict.SKIPPED, calls.kept_from)
    try:
        provider = calls.get(_TopicOrChannel, url).provider_type
    except ApiError as error:
        return _explain_missing(sink, error)
    if provider == "OFFICIAL":
        found = "the channel is that of the cloud services, which takes no events of ours"
        return Finding(sink.subject, Verdict.FAILED, found, f"set {sink.setting} to a channel of your own")
    return Finding(sink.subject, Verdict.OK, "it is there; nothing was sent")


def _explain_missing(sink: _Sink, error: ApiError) -> Finding:
    if error.http_status == HTTPStatus.FORBIDDEN:
        remedy = f"see that the keys have {sink.sending}; {sink.looking} lets this look further"
        return Finding(sink.subject, Verdict.WARNING, f"{error}: {_MAY_NOT_LOOK}", remedy)
    if isinstance(error, (CredentialsRefusedError, RetryableError)):
        return Finding(sink.subject, Verdict.FAILED, str(error), find_remedy(error, sink.looking))
    return Finding(sink.subject, Verdict.FAILED, str(error), f"set {sink.setting} to one that is there")


def _check_queue(calls: Calls, queue_url: str) -> Finding:
    app, subject = calls.app, "sink SQS"
    body = {"QueueUrl": queue_url, "AttributeNames": ["QueueArn"]}
    try:
        sqs = build_sqs_client(app.http, queue_url, app.environ, app.now)
        calls.patiently(lambda: sqs.call("GetQueueAttributes", body, timeout_seconds=calls.timeout_seconds()))
    except SettingsError as error:
        return build_mistake_finding(error.mistakes[0])
    except ApiError as error:
        return Finding(subject, *_explain_queue_error(error))
    kind = "a FIFO queue" if queue_url.endswith(".fifo") else "a standard queue"
    return Finding(subject, Verdict.OK, f"{kind}, and it is there; nothing was sent")


def _explain_queue_error(error: ApiError) -> tuple[Verdict, str, str]:
    """Source: SQS API reference, GetQueueAttributes and "Common errors"."""
    if isinstance(error, RetryableError):
        return Verdict.FAILED, str(error), find_network_remedy(error)
    if "AccessDenied" in error.code:
        remedy = "see that the function has sqs:SendMessage; sqs:GetQueueAttributes lets this look further"
        return Verdict.WARNING, f"{error}: {_MAY_NOT_LOOK}", remedy
    if "QueueDoesNotExist" in error.code or "NonExistentQueue" in error.code:
        return Verdict.FAILED, str(error), "set CBR_SYNC_SQS_QUEUE_URL to one that is there, and its region"
    if error.http_status == HTTPStatus.FORBIDDEN or "Signature" in error.code:
        remedy = f"set {', '.join(AWS_KEY_NAMES)} and AWS_SESSION_TOKEN anew: temporary keys expire"
        return Verdict.FAILED, str(error), remedy
    return Verdict.FAILED, str(error), "look the code up in the SQS API reference, and check the queue's URL"


def _check_ping(calls: Calls, url: str) -> Finding:
    """Whether the monitor answers at its root: a request to the URL itself would be a ping."""
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    if not parts.path.strip("/"):
        return Finding("sink ping", Verdict.SKIPPED, "its host cannot be asked without pinging it")
    try:
        status = calls.unsigned(origin).status_code
    except ApiError as error:
        return Finding("sink ping", Verdict.FAILED, error.message, find_network_remedy(error))
    return Finding("sink ping", Verdict.OK, f"{origin} answers (HTTP {status}); nothing was pinged")
