"""Every form of event that is known, in the order in which they are tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cbr_sync.models import Kind
from cbr_sync.triggers import aws_events, huawei_events, unserved, webhook
from cbr_sync.triggers.base import Envelope, Event, Platform, RawMessage, as_object
from cbr_sync.triggers.unserved import UnservedEnvelope

if TYPE_CHECKING:
    from collections.abc import Iterable


def find_envelope(event: object) -> tuple[Envelope, Event]:
    """Return the first form that fits an event, and the event as an object.

    What looks like an HTTP request is always treated as a webhook. EventGrid may hand over a bare list of
    CloudEvents; what is no object at all counts as a payload that was invoked directly.
    """
    fields = {"events": event} if isinstance(event, list) else as_object(event)
    envelope = next(one for one in ENVELOPES if one.matches(fields))
    if envelope.kind is Kind.DIRECT and not isinstance(event, dict):
        fields = {_BARE: event}
    return envelope, fields


# The key under which an event that is no object is kept, so that its form can be named in an error.
_BARE = ""
_HTTP_NAME = "HTTP requests of API Gateway, Function URL, ALB and APIG"


def _read_direct(event: Event) -> Iterable[RawMessage]:
    yield RawMessage("", None, event.get(_BARE, event))


ENVELOPES: tuple[Envelope, ...] = (
    UnservedEnvelope("a record of a Lambda destination", Kind.EVENT, matches=unserved.is_lambda_record),
    webhook.RefusedWebhookEnvelope("VPC Lattice", matches=webhook.is_lattice),
    webhook.WebhookEnvelope(
        _HTTP_NAME,
        matches=webhook.is_multi_value_http,
        multi_value_headers=True,
        max_reply_bytes=webhook.MAX_ALB_REPLY_BYTES,
    ),
    webhook.WebhookEnvelope(_HTTP_NAME, matches=webhook.is_alb, max_reply_bytes=webhook.MAX_ALB_REPLY_BYTES),
    webhook.WebhookEnvelope(_HTTP_NAME, matches=webhook.is_http),
    Envelope(
        "FunctionGraph TIMER",
        Kind.TIMER,
        platform=Platform.FUNCTIONGRAPH,
        matches=huawei_events.is_timer,
        read=huawei_events.read_timer,
    ),
    Envelope(
        "DMS Kafka or RocketMQ",
        Kind.QUEUE,
        platform=Platform.FUNCTIONGRAPH,
        matches=huawei_events.is_broker,
        read=huawei_events.read_brokers,
    ),
    aws_events.SqsEnvelope(
        "SQS", Kind.QUEUE, platform=Platform.AWS, matches=aws_events.is_sqs, read=aws_events.read_sqs
    ),
    Envelope(
        "SNS", Kind.NOTIFICATION, platform=Platform.AWS, matches=aws_events.is_sns, read=aws_events.read_sns
    ),
    Envelope(
        "SMN",
        Kind.NOTIFICATION,
        platform=Platform.FUNCTIONGRAPH,
        matches=huawei_events.is_smn,
        read=huawei_events.read_smn,
    ),
    Envelope(
        "EventBridge rule schedule",
        Kind.SCHEDULE,
        platform=Platform.AWS,
        matches=aws_events.is_rule_schedule,
        read=aws_events.read_event_bridge,
    ),
    Envelope(
        "EventBridge Scheduler",
        Kind.SCHEDULE,
        platform=Platform.AWS,
        matches=aws_events.is_scheduler,
        read=aws_events.read_event_bridge,
    ),
    Envelope(
        'EventBridge Scheduler with {"trigger": "schedule"} in its Input',
        Kind.SCHEDULE,
        platform=Platform.AWS,
        matches=aws_events.is_scheduler_input,
        read=aws_events.read_scheduler_input,
    ),
    Envelope(
        "EventBridge event",
        Kind.EVENT,
        platform=Platform.AWS,
        matches=aws_events.is_event_bridge,
        read=aws_events.read_event_bridge,
    ),
    Envelope(
        "CloudEvent",
        Kind.EVENT,
        platform=Platform.FUNCTIONGRAPH,
        matches=huawei_events.is_cloud_event,
        read=huawei_events.read_cloud_event,
    ),
    Envelope(
        "EventGrid batch",
        Kind.EVENT,
        platform=Platform.FUNCTIONGRAPH,
        matches=huawei_events.is_cloud_event_batch,
        read=huawei_events.read_cloud_event_batch,
    ),
    *(UnservedEnvelope(name, Kind.EVENT, matches=matches) for name, matches in unserved.FORMS),
    Envelope("a payload invoked directly", Kind.DIRECT, matches=lambda _: True, read=_read_direct),
)
