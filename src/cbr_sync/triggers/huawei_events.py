"""The events that Huawei Cloud's services send: TIMER, DMS, SMN and EventGrid.

Source: FunctionGraph User Guide, "Trigger events".
"""

from __future__ import annotations

import base64
from collections import Counter
from typing import TYPE_CHECKING

from cbr_sync.triggers.base import (
    Event,
    RawMessage,
    as_object,
    get_first,
    get_list,
    get_object,
    get_text,
    is_own_event,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


def is_timer(event: Event) -> bool:
    """Return whether the event comes from a timer."""
    return event.get("trigger_type") == "TIMER"


def is_broker(event: Event) -> bool:
    """Return whether the event is a batch of DMS, Kafka or RocketMQ."""
    return event.get("trigger_type") in ("KAFKA", "ROCKETMQ")


def is_smn(event: Event) -> bool:
    """Return whether the event is a notification of SMN."""
    return "smn" in get_first(event, "record")


def is_cloud_event(event: Event) -> bool:
    """Return whether the event is a CloudEvent, as EventGrid delivers it."""
    return "specversion" in event and "type" in event


def is_cloud_event_batch(event: Event) -> bool:
    """Return whether the event is a batch of CloudEvents."""
    return is_cloud_event(get_first(event, "events"))


def read_timer(event: Event) -> Iterable[RawMessage]:
    """Read a timer's event: its user_event is the payload."""
    own_id = "/".join(filter(None, (get_text(event, "trigger_name"), get_text(event, "time"))))
    yield RawMessage(own_id, event.get("time"), event.get("user_event"))


def read_brokers(event: Event) -> Iterable[RawMessage]:
    """Read the messages of a batch: bare strings, which only their place in the batch can name.

    Several records may be of one topic, so its messages are counted through all of them.
    """
    time = event.get("event_time")
    counts: Counter[str] = Counter()
    for batch in get_list(event, "records"):
        topic = get_text(as_object(batch), "topic_id")
        for message in get_list(batch, "messages"):
            yield RawMessage(f"{topic}/{time}/{counts[topic]}", time, message, platform_time=time)
            counts[topic] += 1


def read_smn(event: Event) -> Iterable[RawMessage]:
    """Read the notifications of a topic."""
    for record in event["record"]:
        smn = get_object(record, "smn")
        time = smn.get("timestamp")
        yield RawMessage(get_text(smn, "message_id"), time, smn.get("message"), platform_time=time)


def read_cloud_event(event: Event) -> Iterable[RawMessage]:
    """Read a CloudEvent: its data is the payload; of one of our own, the whole event, which says so.

    Source: CloudEvents 1.0.2, JSON event format: binary data is in ``data_base64``.
    """
    payload = event if is_own_event(event) else event.get("data")
    if payload is None and isinstance(encoded := event.get("data_base64"), str):
        payload = _decode_base64(encoded)
    yield RawMessage(get_text(event, "id"), event.get("time"), payload)


def _decode_base64(text: str) -> object:
    """Return the bytes; the text itself, which no payload is, where it is no base64."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return text


def read_cloud_event_batch(event: Event) -> Iterable[RawMessage]:
    """Read a batch of CloudEvents."""
    for item in event["events"]:
        yield from read_cloud_event(as_object(item))
