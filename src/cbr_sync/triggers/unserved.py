"""Envelopes that are known and not served, so that they are refused by their names.

Without them an event of the wrong service would be taken for a payload that somebody invoked directly.

Sources: Lambda Developer Guide, "Invoking Lambda with events from other AWS services"; EventBridge User
Guide, "EventBridge Pipes"; FunctionGraph User Guide, "Trigger events" and "Asynchronous invocation".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cbr_sync.triggers.base import Envelope, Event, RawMessage, UnservedEvent, get_first, get_object, get_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cbr_sync.models import Kind


class UnservedEnvelope(Envelope):
    """A form of event that is refused by its name."""

    is_served = False

    def __init__(self, name: str, kind: Kind, *, matches: Callable[[Event], bool]) -> None:
        """Define a form; its one message is that it is not served."""
        super().__init__(name, kind, matches=matches, read=self._read_refusal)

    def _read_refusal(self, event: Event) -> Iterable[RawMessage]:
        del event
        yield RawMessage("", None, UnservedEvent(self.name))


def is_lambda_record(event: Event) -> bool:
    """Return whether the event is what Lambda sends to a destination of asynchronous invocations."""
    return "requestPayload" in event and "functionArn" in get_object(event, "requestContext")


def _is_functiongraph_record(event: Event) -> bool:
    return "request_payload" in event and "function_urn" in get_object(event, "request_context")


def _is_pipe(event: Event) -> bool:
    # A bare list, which stands under "events".
    return get_text(get_first(event, "events"), "eventSource").startswith("aws:")


def _is_aws_record(event: Event) -> bool:
    source = get_text(get_first(event, "Records"), "eventSource") or get_text(event, "eventSource")
    return source.startswith("aws:") or source == "SelfManagedKafka"


FORMS: tuple[tuple[str, Callable[[Event], bool]], ...] = (
    ("a record of an asynchronous notification of FunctionGraph", _is_functiongraph_record),
    ("a batch of EventBridge Pipes", _is_pipe),
    ("records of another AWS service than SQS and SNS (S3, DynamoDB, Kinesis, MSK, SES)", _is_aws_record),
    ("CloudWatch Logs", lambda event: "data" in get_object(event, "awslogs")),
    ("OBS", lambda event: "obs" in get_first(event, "Records")),
    ("CTS", lambda event: isinstance(event.get("cts"), dict)),
    ("LTS", lambda event: isinstance(event.get("lts"), dict)),
    ("DIS", lambda event: "ShardID" in event and "StreamName" in event),
)
