"""An event in, its kind and the SyncParams it asks for out.

An event is recognised by its envelope, never by what a caller can put into a body. Sources of the
envelopes: Lambda Developer Guide and EventBridge User Guide; FunctionGraph User Guide, "Trigger events".
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, ValidationError

from cbr_sync.errors import EventError, VaultNotAllowedError, WebhookRefusedError
from cbr_sync.models import Kind, SyncParam, Trigger, VaultId, VaultSelector
from cbr_sync.settings import HYBRID
from cbr_sync.validation import describe_value, explain, format_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cbr_sync.reports.models import ReportParam

MAX_VAULTS = 1000
_ID_SHOWN = 256
_MISTAKES_SHOWN = 5
_SECONDS_DIGITS = 11
_MILLISECONDS_BEGIN, _MILLISECONDS_END = 10**11, 10**14
_SELF_TRIGGERED = frozenset({Kind.TIMER, Kind.SCHEDULE})
_EXPECTED = {
    "sync": 'an object with vault_id, or a list of such, as in {"sync": {"vault_id": "<uuid>"}}',
    "vault_id": "a vault id (a UUID such as 8d3a8b28-a697-41e2-8d5d-903669f8a02d)",
    "vault_ids": "a list of at least one vault id (UUID)",
    "auto_trigger": "true or false",
    "vaults": 'an object such as {"object_type": "vmware", "name": "...", "tags": {"env": "prod"}}',
}
_EXPECTED_INSIDE = {"object_type": "a string", "name": "a string", "tags": "an object of strings"}
_EXPECTED_IN_REPORTS = {
    "report": 'an object such as {"max_age_hours": 26}',
    "vaults": _EXPECTED["vaults"],
    "max_age_hours": "a number of hours over 0, at most 8784",
    "history_hours": "a number of hours from 0 to 8784",
    **_EXPECTED_INSIDE,
}

Event = Mapping[str, Any]
_Raw = tuple[str, object, object]  # a message's own id (may be empty), its time, its payload


class Message(NamedTuple):
    """One payload as it arrived, not yet read, and the trigger it belongs to."""

    trigger: Trigger
    payload: object


class Asked(NamedTuple):
    """What one message asks for: vaults by their ids, or all that a selector matches; or a report on them."""

    params: tuple[SyncParam, ...]
    selector: VaultSelector | None = None
    auto_trigger: bool = False
    report: ReportParam | None = None


class HttpRequest(NamedTuple):
    """What a webhook's envelope holds; header names in lower case, the body as the bytes received.

    ``multi_value`` is true for an ALB that wants its answer's headers as lists.
    """

    method: str
    headers: Mapping[str, str]
    body: bytes
    multi_value: bool


class Envelope(NamedTuple):
    """One form that events arrive in: how it is recognised, and its ids, times and payloads."""

    name: str
    kind: Kind
    matches: Callable[[Event], bool]
    read: Callable[[Event], Iterable[_Raw]]


def envelope_of(event: object) -> Envelope:
    """The first envelope that fits; what looks like an HTTP request comes first and is always a webhook."""
    fields = _fields(event)
    return next(envelope for envelope in ENVELOPES if envelope.matches(fields))


def messages(event: object, request_id: str) -> list[Message]:
    """The payloads in an event that is no webhook; ``request_id`` names those that have no id of their own.

    Raises:
        EventError: the event is no object, or of a kind that cannot be read.
    """
    envelope = envelope_of(event)
    if not isinstance(event, dict) and envelope.kind is Kind.DIRECT:
        raise EventError(f"found {describe_value(event)} as the event, expected an object; known: {_known()}")
    return [
        Message(_trigger(envelope.kind, own_id, time, request_id), payload)
        for own_id, time, payload in envelope.read(_fields(event))
    ]


def http_request(event: object) -> HttpRequest:
    """The HTTP request in a webhook's envelope, whatever a stranger put into it.

    Raises:
        WebhookRefusedError: 400, the body is not a string, or not the base64 it claims to be.
    """
    fields = _as_object(event)
    http = _object(_object(fields, "requestContext"), "http")
    method = text(fields, "httpMethod") or text(http, "method")
    single, multi = _object(fields, "headers"), _object(fields, "multiValueHeaders")
    headers = {str(key).lower(): value for key, value in single.items() if isinstance(value, str)}
    for key, values in multi.items():
        strings = [value for value in values if isinstance(value, str)] if isinstance(values, list) else []
        headers.setdefault(str(key).lower(), " ".join(strings))
    body = _body(fields.get("body"), encoded=fields.get("isBase64Encoded") is True)
    return HttpRequest(method.upper(), headers, body, multi_value=bool(multi) and not single)


def webhook_trigger(request: HttpRequest, event: object, request_id: str) -> Trigger:
    """Who asked: the webhook's own id and time, else the gateway's id of the request."""
    context = _object(event, "requestContext")
    own = text(request.headers, "webhook-id") or text(context, "requestId")
    seconds = request.headers.get("webhook-timestamp", "")
    known = seconds.isdecimal() and len(seconds) <= _SECONDS_DIGITS
    time = datetime.fromtimestamp(int(seconds), UTC) if known else None
    return _trigger(Kind.WEBHOOK, own, time, request_id)


class SqsBatch(NamedTuple):
    """The ids of an SQS batch's messages, and whether their order is to be kept."""

    ids: tuple[str, ...]
    in_order: bool


def sqs_batch(event: object) -> SqsBatch | None:
    """The batch in an SQS event; None for any other."""
    fields = _fields(event)
    if envelope_of(event).read is not _sqs:
        return None
    records = [_as_object(record) for record in fields["Records"]]
    in_order = text(records[0], "eventSourceARN").endswith(".fifo")
    return SqsBatch(tuple(text(record, "messageId") for record in records), in_order)


def unnamed_trigger(kind: Kind, request_id: str) -> Trigger:
    """The trigger of an event that tells nothing of itself."""
    return _trigger(kind, "", None, request_id)


def asked(message: Message, *, default_vaults: Sequence[str], allowed_vaults: Sequence[str]) -> Asked:
    """What a message asks for; empty ``allowed_vaults`` allows all, ``default_vaults`` may be "hybrid" alone.

    Raises:
        EventError: naming the key, what was found and what was expected.
        VaultNotAllowedError: nothing of this message may be synced then.
    """
    kind = message.trigger.kind
    payload = _decoded(message.payload)
    auto_trigger = kind in _SELF_TRIGGERED
    if payload == {}:
        return _defaults(kind, default_vaults)
    if "report" in payload:
        from cbr_sync.reports.models import ReportForm  # noqa: PLC0415 - a sync needs no report

        wanted = _validated(ReportForm, payload, _EXPECTED_IN_REPORTS)
        # As a timer's sync, its report is on the vaults of the settings, unless it says otherwise.
        own = kind in _SELF_TRIGGERED and "vaults" not in payload and default_vaults
        params = _defaults(kind, default_vaults).params if own else ()
        return Asked(params, wanted.vaults, report=wanted.report)
    if "vaults" in payload:
        form = _validated(_SelectorForm, payload, {**_EXPECTED, **_EXPECTED_INSIDE})
        return Asked((), form.vaults, _chosen(form, auto_trigger))
    once: dict[str, SyncParam] = {}
    for param in _read(payload, default=auto_trigger):
        once.setdefault(param.vault_id, param)
    if len(once) > MAX_VAULTS:
        raise EventError(f"found {len(once)} vaults, expected at most {MAX_VAULTS} in one event")
    refused = [vault for vault in once if allowed_vaults and vault not in allowed_vaults]
    if refused:
        raise VaultNotAllowedError(
            f"CBR_SYNC_ALLOWED_VAULTS does not hold {', '.join(refused[:_MISTAKES_SHOWN])}"
        )
    return Asked(tuple(once.values()))


def text(fields: Event, key: str) -> str:
    """The string under this key as it can be shown and sent on; empty where there is none."""
    value = fields.get(key)
    return value[:_ID_SHOWN].encode(errors="replace").decode() if isinstance(value, str) else ""


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class _Vault(_Form):
    vault_id: VaultId
    auto_trigger: StrictBool = False


def _as_list(value: object) -> object:
    return [value] if isinstance(value, dict) else value


class _SyncForm(_Form):
    sync: Annotated[list[_Vault], BeforeValidator(_as_list), Field(min_length=1)]


class _VaultsForm(_Form):
    vault_ids: Annotated[list[VaultId], Field(min_length=1)]
    auto_trigger: StrictBool = False


class _SelectorForm(_Form):
    vaults: VaultSelector
    auto_trigger: StrictBool = False


FormT = TypeVar("FormT", bound=BaseModel)


def _validated(
    form: type[FormT], payload: Mapping[str, object], expected: Mapping[str, str] = _EXPECTED
) -> FormT:
    try:
        return form.model_validate(payload)
    except ValidationError as error:
        lines = explain(error, expected)
        more = f"; and {len(lines) - _MISTAKES_SHOWN} more" if len(lines) > _MISTAKES_SHOWN else ""
        raise EventError("; ".join(lines[:_MISTAKES_SHOWN]) + more) from None


def _read(payload: Mapping[str, object], *, default: bool) -> list[SyncParam]:
    match payload:
        case {"sync": _}:
            vaults = _validated(_SyncForm, payload).sync
            return [SyncParam(vault_id=one.vault_id, auto_trigger=_chosen(one, default)) for one in vaults]
        case {"vault_ids": _}:
            several = _validated(_VaultsForm, payload)
            chosen = _chosen(several, default)
            return [SyncParam(vault_id=vault, auto_trigger=chosen) for vault in several.vault_ids]
        case {"vault_id": _}:
            one = _validated(_Vault, payload)
            return [SyncParam(vault_id=one.vault_id, auto_trigger=_chosen(one, default))]
    keys = ", ".join(format_key(key) for key in list(payload)[:_MISTAKES_SHOWN])
    raise EventError(
        f"found an object with the keys {keys}, expected one of sync, vault_id, vault_ids, vaults, report "
        f"in one of the known envelopes: {_known()}"
    )


def _chosen(form: _Vault | _VaultsForm | _SelectorForm, default: bool) -> bool:  # noqa: FBT001
    return form.auto_trigger if "auto_trigger" in form.model_fields_set else default


def _defaults(kind: Kind, default_vaults: Sequence[str]) -> Asked:
    if kind not in _SELF_TRIGGERED:
        raise EventError(f"found an empty payload, expected one of {', '.join(_EXPECTED)}, report")
    if not default_vaults:
        raise EventError("found an empty payload and no CBR_SYNC_VAULTS; set it, or name vaults in the event")
    if HYBRID in default_vaults:
        return Asked((), VaultSelector(), auto_trigger=True)
    return Asked(tuple(SyncParam(vault_id=one, auto_trigger=True) for one in dict.fromkeys(default_vaults)))


def _decoded(payload: object) -> Mapping[str, object]:
    """The payload as an object; empty for null, empty text and the empty object alike."""
    if isinstance(payload, (str, bytes)):
        payload = _json(payload) if payload.strip() else None
    if payload is None:
        return {}
    if not isinstance(payload, dict):
        raise EventError(f"found {describe_value(payload)} as the payload, expected a JSON object")
    return payload


def _json(payload: str | bytes) -> object:
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):
        raise EventError(f"found {len(payload)} characters that are not JSON, expected an object") from None


def _body(body: object, *, encoded: bool) -> bytes:
    if body is None:
        return b""
    if not isinstance(body, str):
        raise WebhookRefusedError(
            HTTPStatus.BAD_REQUEST, f"found {describe_value(body)} as the body, expected a string"
        )
    if not encoded:
        return body.encode(errors="replace")
    try:
        return base64.b64decode(body.encode(errors="replace"), validate=True)
    except binascii.Error:
        raise WebhookRefusedError(
            HTTPStatus.BAD_REQUEST, "the body is not the base64 it claims to be"
        ) from None


def _trigger(kind: Kind, own_id: str, time: object, request_id: str) -> Trigger:
    return Trigger(kind=kind, id=own_id or request_id, time=_moment(time))


def _moment(value: object) -> datetime | None:
    """The moment in a timestamp, with or without an offset (UTC then), or in (milli)seconds since 1970.

    None for anything else.
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


def _fields(event: object) -> Event:
    """The event as an object; EventGrid may hand over a bare list of CloudEvents."""
    if isinstance(event, list):
        return {"events": event}
    return _as_object(event)


def _first(event: Event, key: str) -> Event:
    items = event.get(key)
    return _as_object(items[0]) if isinstance(items, list) and items else {}


def _object(fields: object, key: str) -> Event:
    return _as_object(_as_object(fields).get(key))


def _as_object(value: object) -> Event:
    """The value where it is an object; else an empty one, since senders may put anything anywhere."""
    return value if isinstance(value, dict) else {}


def _is_http(event: Event) -> bool:
    return not event.keys().isdisjoint({"httpMethod", "requestContext", "isBase64Encoded", "rawPath"})


def _is_cloud_event(event: Event) -> bool:
    return "specversion" in event and "type" in event


def _no_messages(event: Event) -> Iterable[_Raw]:
    del event
    return ()


def _timer(event: Event) -> Iterable[_Raw]:
    own = filter(None, (text(event, "trigger_name"), text(event, "time")))
    yield "/".join(own), event.get("time"), event.get("user_event")


def _event_bridge(event: Event) -> Iterable[_Raw]:
    yield text(event, "id"), event.get("time"), event.get("detail")


def _scheduler_input(event: Event) -> Iterable[_Raw]:
    own = filter(None, (text(event, "schedule_arn"), text(event, "scheduled_time")))
    payload = {key: event[key] for key in event if key not in {"trigger", "schedule_arn", "scheduled_time"}}
    yield "/".join(own), event.get("scheduled_time"), payload


def _sns(event: Event) -> Iterable[_Raw]:
    for record in event["Records"]:
        sns = _object(record, "Sns")
        yield text(sns, "MessageId"), sns.get("Timestamp"), sns.get("Message")


def _smn(event: Event) -> Iterable[_Raw]:
    for record in event["record"]:
        smn = _object(record, "smn")
        yield text(smn, "message_id"), smn.get("timestamp"), smn.get("message")


def _cloud_event(event: Event) -> Iterable[_Raw]:
    yield text(event, "id"), event.get("time"), event.get("data")


def _cloud_events(event: Event) -> Iterable[_Raw]:
    for item in event["events"]:
        yield from _cloud_event(_as_object(item))


def _direct(event: Event) -> Iterable[_Raw]:
    yield "", None, event


def _sqs(event: Event) -> Iterable[_Raw]:
    """A message's id is the same in every delivery; SNS and EventBridge leave their envelope in its body."""
    for record in event["Records"]:
        sent = text(_object(record, "attributes"), "SentTimestamp")
        time = int(sent) if sent.isdecimal() else None
        message = _as_object(record)
        yield text(message, "messageId"), time, _unwrapped(message.get("body"))


def _unwrapped(body: object) -> object:
    """The payload in a message's body, out of the envelope of an SNS topic or an EventBridge rule."""
    try:
        inner = json.loads(body) if isinstance(body, str) else body
    except (ValueError, RecursionError):
        return body
    match inner:
        case {"Type": "Notification", "TopicArn": _, "Message": message}:
            return message
        case {"detail-type": _, "source": _, "detail": detail}:
            return detail
    return body


def _brokers(event: Event) -> Iterable[_Raw]:
    """DMS hands over bare strings; their place in the batch has to name them."""
    for batch in _list(event, "records"):
        topic = text(_as_object(batch), "topic_id")
        for number, message in enumerate(_list(batch, "messages")):
            yield f"{topic}/{event.get('event_time')}/{number}", event.get("event_time"), message


def _list(fields: object, key: str) -> list[Any]:
    value = _as_object(fields).get(key)
    return value if isinstance(value, list) else []


def _known() -> str:
    return ", ".join(envelope.name for envelope in ENVELOPES)


ENVELOPES = (
    Envelope(
        "HTTP requests of API Gateway, Function URL, ALB and APIG", Kind.WEBHOOK, _is_http, _no_messages
    ),
    Envelope("FunctionGraph TIMER", Kind.TIMER, lambda e: e.get("trigger_type") == "TIMER", _timer),
    Envelope(
        "DMS Kafka or RocketMQ",
        Kind.QUEUE,
        lambda e: e.get("trigger_type") in ("KAFKA", "ROCKETMQ"),
        _brokers,
    ),
    Envelope("SQS", Kind.QUEUE, lambda e: _first(e, "Records").get("eventSource") == "aws:sqs", _sqs),
    Envelope("SNS", Kind.NOTIFICATION, lambda e: _first(e, "Records").get("EventSource") == "aws:sns", _sns),
    Envelope("SMN", Kind.NOTIFICATION, lambda e: "smn" in _first(e, "record"), _smn),
    Envelope(
        "EventBridge rule schedule",
        Kind.SCHEDULE,
        lambda e: (e.get("source"), e.get("detail-type")) == ("aws.events", "Scheduled Event"),
        _event_bridge,
    ),
    Envelope(
        "EventBridge Scheduler",
        Kind.SCHEDULE,
        lambda e: e.get("source") == "aws.scheduler" and "detail-type" in e,
        _event_bridge,
    ),
    Envelope(
        'EventBridge Scheduler with {"trigger": "schedule"} in its Input',
        Kind.SCHEDULE,
        lambda e: e.get("trigger") == "schedule",
        _scheduler_input,
    ),
    Envelope("EventBridge event", Kind.EVENT, lambda e: "detail-type" in e and "source" in e, _event_bridge),
    Envelope("CloudEvent", Kind.EVENT, _is_cloud_event, _cloud_event),
    Envelope("EventGrid batch", Kind.EVENT, lambda e: _is_cloud_event(_first(e, "events")), _cloud_events),
    Envelope("a payload invoked directly", Kind.DIRECT, lambda _: True, _direct),
)
