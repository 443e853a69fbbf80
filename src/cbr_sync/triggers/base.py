"""What every form of event has in common: how it is recognised, read and answered."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from cbr_sync.errors import CbrSyncError, RetryableError, SyncUnfinished
from cbr_sync.models import Trigger, format_rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from aws_lambda_powertools import Logger

    from cbr_sync.models import Kind, SyncOutcome
    from cbr_sync.results import RunResult
    from cbr_sync.settings import Settings

MAX_ID_LENGTH = 256
# Lambda and FunctionGraph pass on 6 MB; the envelope of a reply is a little more.
MAX_REPLY_BYTES = 6_000_000
# So few rows fit into any reply, whatever stands in them.
_FEW_ROWS = 100
# Some senders begin a text with it; it says nothing.
BYTE_ORDER_MARK = "\ufeff"
_MAX_NAMES = 5
# A number from here on is taken for milliseconds since 1970, up to the end for a moment at all.
_MILLISECONDS_BEGIN, _MILLISECONDS_END = 10**11, 10**14

Event = dict[str, Any]
Reply = dict[str, Any]


class Platform(StrEnum):
    """A cloud whose function receives events."""

    AWS = "aws"
    FUNCTIONGRAPH = "functiongraph"


class RawMessage(NamedTuple):
    """A message as its envelope holds it.

    Attributes:
        id: The message's own id; empty where it has none.
        time: Its own time, in whatever form the envelope has it.
        payload: What it asks for, not yet parsed.
        platform_time: When the platform got it, in the same forms; None where no platform says.
        queue_arn: The queue of SQS that it lay in; empty where it came another way.
        deliveries: How many times it has been delivered, where that is known.
    """

    id: str
    time: object
    payload: object
    platform_time: object = None
    queue_arn: str = ""
    deliveries: int = 1


class UnservedEvent(NamedTuple):
    """The payload of an event whose envelope is known and not served."""

    envelope: str


class Message(NamedTuple):
    """One payload as it arrived, and the trigger that it belongs to.

    Attributes:
        trigger: Kind, id and time of what asked.
        payload: Text, bytes or an object; not yet parsed.
        id: The platform's own id of the message; empty where it has none.
        platform_time: When the platform got it; None where no platform says.
        queue_arn: The queue of SQS that it lay in; empty where it came another way.
        deliveries: How many times it has been delivered, where that is known.
    """

    trigger: Trigger
    payload: object
    id: str = ""
    platform_time: datetime | None = None
    queue_arn: str = ""
    deliveries: int = 1

    def settle_trigger(self, payload_time: datetime | None, now: datetime) -> Trigger:
        """Return the trigger with the time that counts.

        That is the payload's, else the envelope's. One ahead of *now* would have no sync serve it, however
        often it is delivered, so it gives way to the platform's, else to now.

        Args:
            payload_time: The time in the payload, if there is one.
            now: The current time.
        """
        time = payload_time or self.trigger.time
        if time and time > now:
            time = self.platform_time if self.platform_time and self.platform_time <= now else now
        return self.trigger.model_copy(update={"time": time})


class Receiver(Protocol):
    """What an envelope needs to know of the run that receives its event."""

    @property
    def request_id(self) -> str:
        """The platform's id of this invocation."""

    @property
    def settings(self) -> Settings:
        """The settings of this instance."""

    @property
    def webhook_secrets(self) -> Sequence[bytes]:
        """Every secret that a webhook may be signed with."""

    @property
    def webhook_tokens(self) -> Sequence[str]:
        """Every token that lets a webhook in."""

    def now(self) -> datetime:
        """Return the current time, in UTC."""


class Envelope:
    """One form that events arrive in.

    Attributes:
        name: What the form is called in messages to people.
        kind: What its events are.
        platform: The only cloud that sends it; None where both do.
        max_seconds: Within how many seconds its sender has to get the reply.
        max_reply_bytes: How long a reply its platform passes on.
        is_served: False where the form is known, and refused by its name.
    """

    max_seconds = float("inf")
    max_reply_bytes = MAX_REPLY_BYTES
    is_served = True

    def __init__(
        self,
        name: str,
        kind: Kind,
        *,
        matches: Callable[[Event], bool],
        read: Callable[[Event], Iterable[RawMessage]],
        platform: Platform | None = None,
    ) -> None:
        """Define a form.

        Args:
            name: As the attribute.
            kind: As the attribute.
            matches: Whether an event has this form.
            read: The messages in an event that has it.
            platform: As the attribute.
        """
        self.name = name
        self.kind = kind
        self.platform = platform
        self.matches = matches
        self._read = read

    def read(self, event: Event, receiver: Receiver) -> list[Message]:
        """Return the messages in *event*; ids that are missing become the invocation's."""
        return [
            Message(
                build_trigger(self.kind, raw.id, raw.time, receiver.request_id),
                raw.payload,
                raw.id,
                parse_moment(raw.platform_time),
                raw.queue_arn,
                raw.deliveries,
            )
            for raw in self._read(event)
        ]

    def in_order(self, event: Event) -> bool:
        """Return whether a message may be served only after those before it."""
        del event
        return False

    def reply(self, result: RunResult) -> Reply:
        """Return the reply to a run.

        Raises:
            SyncUnfinished: A later delivery of the event may finish what is left.
            EventError: A message cannot be read.
            ApiError: The vaults of a message cannot be listed, and never will be.
        """
        reply = build_body(result, self.max_reply_bytes)
        reply["counts"] = dict(Counter(str(one.status) for one in result.outcomes))
        for _, error in result.errors:
            if isinstance(error, RetryableError):
                raise SyncUnfinished(f"CBR cannot be asked now: {error}") from error
            raise error
        if left := [outcome for message in result.messages for outcome in message.unfinished]:
            counts = f"{len(left)} of {len(result.outcomes)} syncs are unfinished"
            reasons = {f"; they could not be handed on: {error}" for error in result.defer_errors}
            raise SyncUnfinished(f"{counts}: {_list_names(left)}{''.join(sorted(reasons))}")
        return reply

    def reply_to_error(self, error: Exception, logger: Logger) -> Reply:
        """Raise the error again, so that the platform sees it; ours are logged first.

        Raises:
            Exception: Always.
        """
        if isinstance(error, CbrSyncError):
            logger.error(str(error), extra={"error": type(error).__name__})
        raise error


def build_body(result: RunResult, max_bytes: int) -> Reply:
    """Return ``{"outcomes": [...]}``, with ``"reports"`` and ``"follows"`` where there are any.

    Args:
        result: The result of the run.
        max_bytes: How long it may be as a text inside of a JSON reply. Outcomes and vaults are left out from
            the end of their lists, and ``omitted`` says how many; sinks get all of them.
    """
    body: Reply = {"outcomes": [outcome.model_dump(mode="json") for outcome in result.outcomes]}
    if result.reports:
        body["reports"] = [report.model_dump(mode="json") for report in result.reports]
    if result.follows:
        body["follows"] = [
            {
                "after": format_rfc3339(follow.interval.start),
                "until": format_rfc3339(follow.interval.end),
                "counts": follow.counts,
            }
            for follow in result.follows
        ]
    return _shorten_body(body, max_bytes)


def _shorten_body(body: Reply, max_bytes: int) -> Reply:
    reports = body.get("reports", [])
    lists = [(body, "outcomes"), *((report, "vaults") for report in reports)]
    rows = sum(len(holder[key]) for holder, key in lists) + sum(len(report["history"]) for report in reports)
    if rows <= _FEW_ROWS or _measure(body) <= max_bytes:
        return body
    for report in reports:
        report["history_omitted"] += sum(map(len, report["history"].values()))
        report["history"] = {}
    left = max_bytes - _measure(
        {**body, "outcomes": [], "reports": [{**one, "vaults": []} for one in reports]}
    )
    for holder, key in lists:
        kept: list[Any] = []
        for row in holder[key]:
            size = _measure(row)
            if size > left:
                break
            left -= size
            kept.append(row)
        if omitted := len(holder[key]) - len(kept):
            holder[key], holder["omitted"], left = kept, omitted, 0
    return body


def _measure(value: object) -> int:
    """Return how many bytes a value takes as JSON in a JSON string, in which all but ASCII is escaped."""
    return len(json.dumps(json.dumps(value, ensure_ascii=False)))


def _list_names(outcomes: Sequence[SyncOutcome]) -> str:
    names = [
        f"{outcome.vault_id} ({outcome.error.code if outcome.error else outcome.status})"
        for outcome in outcomes[:_MAX_NAMES]
    ]
    return ", ".join(names) + (" and more" if len(outcomes) > _MAX_NAMES else "")


def build_trigger(kind: Kind, own_id: str, time: object, request_id: str) -> Trigger:
    """Return the trigger with its own id, or else the invocation's, and its time where it can be read."""
    return Trigger(kind=kind, id=own_id or request_id, time=parse_moment(time))


def parse_moment(value: object) -> datetime | None:
    """Return the moment in a timestamp, in UTC; None for anything else.

    Args:
        value: RFC 3339 with or without an offset (UTC then), seconds or milliseconds since 1970.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MILLISECONDS_END:
        value = datetime.fromtimestamp(value / 1000 if value >= _MILLISECONDS_BEGIN else value, UTC)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    try:
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    except OverflowError:
        return None


def is_own_event(fields: Mapping[str, object]) -> bool:
    """Return whether this is a CloudEvent that cbr-sync emits: their types all begin alike."""
    return get_text(fields, "type").startswith("cbr-sync.")


def get_text(fields: Mapping[str, object], key: str) -> str:
    """Return the string under *key* as it can be shown and sent on; empty where there is none."""
    value = fields.get(key)
    return value[:MAX_ID_LENGTH].encode(errors="replace").decode() if isinstance(value, str) else ""


def get_object(fields: object, key: str) -> Event:
    """Return the object under *key*; an empty one where a sender has put anything else there."""
    return as_object(as_object(fields).get(key))


def get_list(fields: object, key: str) -> list[Any]:
    """Return the list under *key*; an empty one where there is none."""
    value = as_object(fields).get(key)
    return value if isinstance(value, list) else []


def get_first(fields: object, key: str) -> Event:
    """Return the first object of the list under *key*; an empty one where there is none."""
    items = get_list(fields, key)
    return as_object(items[0]) if items else {}


def as_object(value: object) -> Event:
    """Return *value* where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}
