"""Dead letters played once more, through the handler that could not serve them.

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

from cbr_sync.errors import (
    EventError,
)
from cbr_sync.local import guess_platform
from cbr_sync.models import Kind
from cbr_sync.triggers.base import Platform
from cbr_sync.triggers.envelopes import find_envelope

_ARN_COLONS = 5


# By one of these sets of attributes a service marks a message whose body is the very event.
_MARKS = ({"SCHEDULE_ARN"}, {"RULE_ARN"}, {"RequestID", "ErrorCode"})


# What a schedule's Input may ask for, and the attribute that tells it too.
_SCHEDULED = {"scheduled_time": "SCHEDULED_TIME", "schedule_arn": "SCHEDULE_ARN"}


class DeadLetter(NamedTuple):
    """An event that was given up; ``unreadable`` says why it cannot be played, and is empty where it can."""

    name: str
    event: object
    platform: Platform = Platform.AWS
    unreadable: str = ""


def read_dead_letters(name: str, text: str) -> list[DeadLetter]:
    """The letters in a file: one event, a list of them, or one on each line.

    Each may be wrapped, as a destination of Lambda or of FunctionGraph gets it, or as ``aws sqs
    receive-message`` shows it, with all attributes: only its own time tells what was served after all.

    Raises:
        EventError: there is none, or a line that is no JSON.
    """
    letters = [
        _parse_dead_letter(where, content, guess_platform(Path(name)))
        for where, content in _split_contents(name, text)
    ]
    if not letters:
        raise EventError(f"{name} holds no event")
    return letters


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
    """The events on the lines of a text that is no JSON as a whole, for this reason."""
    found: list[tuple[str, object]] = []
    for number, line in enumerate(text.split("\n"), 1):
        where = f"{name}, line {number}"
        if not line.strip():
            continue
        try:
            found.append((where, json.loads(line)))
        except (ValueError, RecursionError) as wrong:
            if not found:
                raise EventError(f"{name} is not JSON: {error}") from None
            raise EventError(f"{where}, is not JSON, as the lines before it are: {wrong}") from None
    return found


def _parse_dead_letter(name: str, content: object, platform: Platform) -> DeadLetter:
    match content:
        case {"MessageId": _, "Body": _}:
            return _parse_message(content, name)
        case {"requestContext": {}, "requestPayload": payload}:
            return DeadLetter(name, payload)
        case {"request_context": {}, "request_payload": payload}:
            return _parse_functiongraph_record(name, payload)
    envelope, _ = find_envelope(content)
    return DeadLetter(name, content, envelope.platform or platform)


def _parse_functiongraph_record(name: str, payload: object) -> DeadLetter:
    """The event in a record of FunctionGraph, which may hold it as text."""
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
        return DeadLetter(
            name, None, platform, f"found {len(text)} characters that are not JSON, expected an event"
        )


class _Attribute(BaseModel):
    data_type: str = Field(default="", alias="DataType")
    string_value: str | None = Field(default=None, alias="StringValue")


class QueueMessage(BaseModel):
    """A message as ReceiveMessage gives it."""

    message_id: str = Field(alias="MessageId")
    receipt_handle: str = Field(default="", alias="ReceiptHandle")
    body: str = Field(alias="Body")
    attributes: dict[str, str] = Field(default_factory=dict, alias="Attributes")
    message_attributes: dict[str, _Attribute] = Field(default_factory=dict, alias="MessageAttributes")

    @property
    def own(self) -> dict[str, str]:
        """The message attributes that are text."""
        return {name: one.string_value or "" for name, one in self.message_attributes.items()}

    def letter(self, queue_arn: str) -> DeadLetter:
        """The event that this message is, or brought: a service's, or one of a work queue's."""
        if any(mark <= self.own.keys() for mark in _MARKS):
            return self._event_in_body()
        with contextlib.suppress(ValueError, RecursionError):
            match json.loads(self.body):
                case {"requestContext": {}, "requestPayload": payload}:
                    return DeadLetter(self.message_id, payload)
        return DeadLetter(self.message_id, {"Records": [self._record(queue_arn)]})

    def _event_in_body(self) -> DeadLetter:
        own = self.own
        if own.get("IS_PAYLOAD_TRUNCATED", "").lower() == "true":
            unreadable = (
                "the scheduler cut its payload off (IS_PAYLOAD_TRUNCATED); invoke the function instead"
            )
            return DeadLetter(self.message_id, None, unreadable=unreadable)
        letter = _parse_text(self.message_id, self.body)
        if not isinstance(letter.event, dict) or letter.event.get("trigger") != "schedule":
            return letter
        # Whether the body has what its Input asked for or still asks for it, no page says.
        told = {key: own[name] for key, name in _SCHEDULED.items() if name in own}
        kept = {key: value for key, value in letter.event.items() if not str(value).startswith("<aws.")}
        return letter._replace(event={**told, **kept})

    def _record(self, queue_arn: str) -> dict[str, Any]:
        """The message as Lambda hands it over. Source: Lambda Developer Guide, "Using Lambda with SQS"."""
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


def _parse_message(content: object, name: str) -> DeadLetter:
    try:
        return QueueMessage.model_validate(content).letter("")
    except ValidationError:
        return DeadLetter(
            name, None, unreadable="found a message, but not as `aws sqs receive-message` shows it"
        )
