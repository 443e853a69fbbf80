"""The forms in which platforms keep the events that they gave up.

Sources: EventBridge Scheduler User Guide, "Configuring a schedule's dead-letter queue"; EventBridge User
Guide, "Using dead-letter queues"; Lambda Developer Guide, "Capturing records of asynchronous invocations" and
"Adding a dead-letter queue"; FunctionGraph User Guide, "Asynchronous notification"; SQS API reference.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, Field, ValidationError

from cbr_sync.errors import EventError
from cbr_sync.local import guess_platform
from cbr_sync.models import Kind
from cbr_sync.triggers.base import Platform
from cbr_sync.triggers.envelopes import find_envelope

_ARN_COLONS = 5
# By one of these sets of attributes a service marks a message whose body is the very event.
_MARKS = ({"SCHEDULE_ARN"}, {"RULE_ARN"}, {"RequestID", "ErrorCode"})
# What a schedule's Input may ask for, and the attribute that has it too.
_SCHEDULE_ATTRIBUTES = {"scheduled_time": "SCHEDULED_TIME", "schedule_arn": "SCHEDULE_ARN"}


class DeadLetter(NamedTuple):
    """An event that a platform gave up.

    Attributes:
        name: Where it was found: a queue's message id, or a file with the event's place in it.
        event: As the platform would hand it over; None where it cannot be read.
        platform: Whose event it is.
        unreadable: Why it cannot be replayed; empty where it can.
    """

    name: str
    event: object
    platform: Platform = Platform.AWS
    unreadable: str = ""


def read_dead_letters(name: str, text: str) -> list[DeadLetter]:
    """Return the events in a file: one event, a list of them, or one on each line.

    Each may be wrapped, as a destination of Lambda or of FunctionGraph gets it, or as ``aws sqs
    receive-message`` shows it; with all its attributes, for what an earlier delivery served is found by the
    message's own time alone.

    Args:
        name: The file's name; the platform is guessed by it where the event itself does not say.
        text: The file's content.

    Raises:
        EventError: There is no event, or a line is not JSON.
    """
    platform = guess_platform(Path(name))
    events = [_parse_dead_letter(where, content, platform) for where, content in _split_contents(name, text)]
    if not events:
        raise EventError(f"{name} holds no event")
    return events


def _split_contents(name: str, text: str) -> list[tuple[str, object]]:
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        return _split_lines(name, text, error)
    match whole:
        case {"Messages": [*several]}:
            pass
        # A bare list of CloudEvents is one event of EventGrid.
        case [*several] if find_envelope(whole)[0].kind is Kind.DIRECT:
            pass
        case _:
            return [(name, whole)]
    return [(f"{name}, event {number}", one) for number, one in enumerate(several, 1)]


def _split_lines(name: str, text: str, error: Exception) -> list[tuple[str, object]]:
    """Return the event on each line of a text that is not JSON as a whole.

    Raises:
        EventError: Neither is its first line, which *error* explains best, or a later one.
    """
    found: list[tuple[str, object]] = []
    for number, line in enumerate(text.split("\n"), 1):
        where = f"{name}, line {number}"
        if not line.strip():
            continue
        try:
            found.append((where, json.loads(line)))
        except (ValueError, RecursionError) as line_error:
            if not found:
                raise EventError(f"{name} is not JSON: {error}") from None
            raise EventError(f"{where}, is not JSON, as the lines before it are: {line_error}") from None
    return found


def _parse_dead_letter(name: str, content: object, platform: Platform) -> DeadLetter:
    match content:
        case {"MessageId": _, "Body": _}:
            return _parse_message(name, content)
        case {"requestContext": {}, "requestPayload": payload}:
            return DeadLetter(name, payload)
        case {"request_context": {}, "request_payload": payload}:
            return _parse_functiongraph_record(name, payload)
    envelope, _ = find_envelope(content)
    return DeadLetter(name, content, envelope.platform or platform)


def _parse_functiongraph_record(name: str, payload: object) -> DeadLetter:
    """Return the event in a record of FunctionGraph, which may hold it as text."""
    if payload == "":
        unreadable = "its request_payload is empty, as FunctionGraph leaves it where it is over 256 KB"
        return DeadLetter(name, None, Platform.FUNCTIONGRAPH, unreadable)
    if not isinstance(payload, str):
        return DeadLetter(name, payload, Platform.FUNCTIONGRAPH)
    return _parse_text(name, payload, Platform.FUNCTIONGRAPH)


def _parse_text(name: str, text: str, platform: Platform = Platform.AWS) -> DeadLetter:
    try:
        return DeadLetter(name, json.loads(text), platform)
    except (ValueError, RecursionError):
        unreadable = f"found {len(text)} characters that are not JSON, expected an event"
        return DeadLetter(name, None, platform, unreadable)


def _parse_message(name: str, content: object) -> DeadLetter:
    try:
        return QueueMessage.model_validate(content).build_dead_letter()
    except ValidationError:
        unreadable = "found a message, but not as `aws sqs receive-message` shows it"
        return DeadLetter(name, None, unreadable=unreadable)


class _Attribute(BaseModel):
    data_type: str = Field(default="", alias="DataType")
    string_value: str | None = Field(default=None, alias="StringValue")


class QueueMessage(BaseModel):
    """A message as ReceiveMessage returns it."""

    message_id: str = Field(alias="MessageId")
    receipt_handle: str = Field(default="", alias="ReceiptHandle")
    body: str = Field(alias="Body")
    attributes: dict[str, str] = Field(default_factory=dict, alias="Attributes")
    message_attributes: dict[str, _Attribute] = Field(default_factory=dict, alias="MessageAttributes")

    @property
    def text_attributes(self) -> dict[str, str]:
        """The message attributes as text; those that are not text are empty."""
        return {name: one.string_value or "" for name, one in self.message_attributes.items()}

    def build_dead_letter(self, queue_arn: str = "") -> DeadLetter:
        """Return the event in this message: what a service gave up, else the message as an event of SQS.

        Args:
            queue_arn: The queue that it was received from; if left out, the one that its attributes name.
        """
        if any(mark <= self.text_attributes.keys() for mark in _MARKS):
            return self._parse_body()
        with contextlib.suppress(ValueError, RecursionError):
            match json.loads(self.body):
                case {"requestContext": {}, "requestPayload": payload}:
                    return DeadLetter(self.message_id, payload)
        return DeadLetter(self.message_id, {"Records": [self._build_record(queue_arn)]})

    def _parse_body(self) -> DeadLetter:
        """Return the event that is the body, with what a schedule's attributes know of it."""
        attributes = self.text_attributes
        if attributes.get("IS_PAYLOAD_TRUNCATED", "").lower() == "true":
            unreadable = (
                "the scheduler cut its payload off (IS_PAYLOAD_TRUNCATED); invoke the function instead"
            )
            return DeadLetter(self.message_id, None, unreadable=unreadable)
        parsed = _parse_text(self.message_id, self.body)
        if not isinstance(parsed.event, dict) or parsed.event.get("trigger") != "schedule":
            return parsed
        # No page says whether the body has its Input filled in, or still with the placeholders.
        known = {key: attributes[name] for key, name in _SCHEDULE_ATTRIBUTES.items() if name in attributes}
        filled = {key: value for key, value in parsed.event.items() if not str(value).startswith("<aws.")}
        return parsed._replace(event={**known, **filled})

    def _build_record(self, queue_arn: str) -> dict[str, Any]:
        """Return the message as Lambda hands it over.

        Source: Lambda Developer Guide, "Using Lambda with SQS".
        """
        arn = queue_arn or self.attributes.get("DeadLetterQueueSourceArn", "")
        return {
            "messageId": self.message_id,
            "body": self.body,
            "attributes": self.attributes,
            "messageAttributes": {
                name: {"dataType": one.data_type, "stringValue": one.string_value}
                for name, one in self.message_attributes.items()
            },
            "eventSource": "aws:sqs",
            "eventSourceARN": arn,
            "awsRegion": arn.split(":")[3] if arn.count(":") == _ARN_COLONS else "",
        }
