"""The events that AWS services send: EventBridge, Scheduler, SNS and SQS.

Sources: Lambda Developer Guide ("Using Lambda with Amazon SQS", "... SNS"); EventBridge User Guide;
EventBridge Scheduler User Guide, "Adding context attributes".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cbr_sync.triggers.base import (
    BYTE_ORDER_MARK,
    Envelope,
    Event,
    RawMessage,
    Reply,
    as_object,
    get_first,
    get_object,
    get_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cbr_sync.results import RunResult

_INPUT_KEYS = frozenset({"trigger", "schedule_arn", "scheduled_time"})


class SqsEnvelope(Envelope):
    """A batch of SQS messages, answered with those that are to be delivered again.

    Source: Lambda Developer Guide, "Reporting batch item failures".
    """

    def in_order(self, event: Event) -> bool:
        """Return whether the queue is FIFO: its batch stops at the first unfinished message."""
        return get_text(get_first(event, "Records"), "eventSourceARN").endswith(".fifo")

    def reply(self, result: RunResult) -> Reply:
        """Return the messages to hand back: unreadable and unfinished ones; all others are acknowledged."""
        return {
            "batchItemFailures": [
                {"itemIdentifier": one.message_id} for one in result.messages if one.is_handed_back
            ]
        }


def is_sqs(event: Event) -> bool:
    """Return whether the event is a batch of SQS messages."""
    return get_first(event, "Records").get("eventSource") == "aws:sqs"


def is_sns(event: Event) -> bool:
    """Return whether the event is a notification of SNS."""
    return get_first(event, "Records").get("EventSource") == "aws:sns"


def is_rule_schedule(event: Event) -> bool:
    """Return whether the event comes from an EventBridge rule with a schedule."""
    return (event.get("source"), event.get("detail-type")) == ("aws.events", "Scheduled Event")


def is_scheduler(event: Event) -> bool:
    """Return whether the event comes from EventBridge Scheduler without an Input."""
    return event.get("source") == "aws.scheduler" and "detail-type" in event


def is_scheduler_input(event: Event) -> bool:
    """Return whether the event is an Input of EventBridge Scheduler that says so."""
    return event.get("trigger") == "schedule"


def is_event_bridge(event: Event) -> bool:
    """Return whether the event comes from an EventBridge bus."""
    return "detail-type" in event and "source" in event


def read_event_bridge(event: Event) -> Iterable[RawMessage]:
    """Read an event of EventBridge: its detail is the payload."""
    yield RawMessage(get_text(event, "id"), event.get("time"), event.get("detail"))


def read_scheduler_input(event: Event) -> Iterable[RawMessage]:
    """Read a schedule's Input: all of it but its context attributes is the payload."""
    own_id = "/".join(filter(None, (get_text(event, "schedule_arn"), get_text(event, "scheduled_time"))))
    payload = {key: event[key] for key in event if key not in _INPUT_KEYS}
    yield RawMessage(own_id, event.get("scheduled_time"), payload)


def read_sns(event: Event) -> Iterable[RawMessage]:
    """Read the notifications of a topic."""
    for record in event["Records"]:
        sns = get_object(record, "Sns")
        time = sns.get("Timestamp")
        payload = _unwrap(sns.get("Message"))
        yield RawMessage(get_text(sns, "MessageId"), time, payload, platform_time=time)


def read_sqs(event: Event) -> Iterable[RawMessage]:
    """Read the messages of a batch; their ids are the same in every delivery."""
    for record in event["Records"]:
        attributes = get_object(record, "attributes")
        sent = get_text(attributes, "SentTimestamp")
        count = get_text(attributes, "ApproximateReceiveCount")
        time = int(sent) if sent.isdecimal() else None
        message = as_object(record)
        payload = _unwrap(message.get("body"))
        yield RawMessage(
            get_text(message, "messageId"),
            time,
            payload,
            platform_time=time,
            queue_arn=get_text(message, "eventSourceARN"),
            deliveries=int(count) if count.isdecimal() else 1,
        )


def _unwrap(body: object) -> object:
    """Return the payload in a message's body, out of what an SNS topic or an EventBridge rule puts around it.

    A rule may send to a topic, and a topic to a queue, so there are two of these at most.
    """
    for _ in range(2):
        try:
            inner = json.loads(body.removeprefix(BYTE_ORDER_MARK)) if isinstance(body, str) else body
        except (ValueError, RecursionError):
            return body
        match inner:
            case {"Type": "Notification", "TopicArn": _, "Message": message}:
                body = message
            case {"detail-type": _, "source": _, "detail": detail}:
                return detail
            case _:
                break
    return body
