"""Parse a payload into what it asks for."""

from __future__ import annotations

import codecs
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
)

from cbr_sync.errors import EventError, VaultNotAllowedError
from cbr_sync.models import SELF_TRIGGERED, HandedOn, Kind, SyncParam, Trigger, VaultId, VaultSelector
from cbr_sync.settings import HYBRID
from cbr_sync.triggers.base import BYTE_ORDER_MARK, MAX_ID_LENGTH, UnservedEvent, is_own_event
from cbr_sync.triggers.envelopes import ENVELOPES
from cbr_sync.validation import describe_value, explain, format_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cbr_sync.follow import FollowParam
    from cbr_sync.reports.models import ReportParam
    from cbr_sync.settings import Settings
    from cbr_sync.triggers.base import Message

MAX_VAULTS = 1000
_MAX_MISTAKES = 5
_MAY_ASK_FOR_REPORTS = SELF_TRIGGERED | {Kind.QUEUE, Kind.DIRECT}
_EXPECTED = {
    "sync": 'an object with vault_id, or a list of such, as in {"sync": {"vault_id": "<uuid>"}}',
    "vault_id": "a vault id (a UUID such as 8d3a8b28-a697-41e2-8d5d-903669f8a02d)",
    "vault_ids": "a list of at least one vault id (UUID)",
    "auto_trigger": "true or false",
    "vaults": 'an object such as {"object_type": "vmware", "name": "...", "tags": {"env": "prod"}}',
    "time": "a time with its zone (RFC 3339) such as 2026-11-26T03:00:00Z",
}
_OUR_KEYS = frozenset(
    {"sync", "vault_id", "vault_ids", "vaults", "auto_trigger", "report", "follow", "handed_on"}
)
_EXPECTED_INSIDE = {
    "object_type": "a string",
    "name": "a string of 64 characters at most",
    "tags": "an object of strings",
}
_EXPECTED_IN_HANDED_ON = {
    "handed_on": "an object with kind, id, time, since and times",
    "kind": "a kind of event such as timer",
    "id": "a string of 256 characters at most",
    "time": _EXPECTED["time"],
    "since": _EXPECTED["time"],
    "times": "a whole number from 1 on",
}
_EXPECTED_IN_REPORTS = {
    "report": 'an object such as {"max_age_hours": 26}',
    "vaults": _EXPECTED["vaults"],
    "max_age_hours": "a number of hours over 0, at most 8784",
    "history_hours": "a number of hours from 0 to 8784",
    **_EXPECTED_INSIDE,
}

_EXPECTED_IN_TICKS = {
    "follow": 'an object such as {"every_minutes": 10}',
    "vaults": _EXPECTED["vaults"],
    "every_minutes": "one of 1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30 and 60",
    "max_age_hours": "a number of hours over 0, at most 192",
    "overdue_hours": "a number of hours over 0, at most 192",
    "settle_minutes": "a number of minutes from 0 to 60",
    **_EXPECTED_INSIDE,
}


class SyncRequest(NamedTuple):
    """A message asks for syncs.

    Attributes:
        vaults: The vaults by their ids, or all hybrid ones that a selector matches.
        auto_trigger: For the vaults that the selector finds.
        time: When that happened which makes the sync necessary; None where the payload does not say.
        handed_on: How the trigger has been handed on; None where it came by itself.
    """

    vaults: tuple[SyncParam, ...] | VaultSelector
    auto_trigger: bool = False
    time: datetime | None = None
    handed_on: HandedOn | None = None


class ReportRequest(NamedTuple):
    """A message asks for a report.

    Attributes:
        options: How old a success may be, and how much history is wanted.
        vaults: The vaults by their ids, or all hybrid ones that a selector matches.
        time: When a run first tried to make it, where it was handed on.
        handed_on: How the trigger has been handed on; None where it came by itself.
    """

    options: ReportParam
    vaults: tuple[str, ...] | VaultSelector
    time: datetime | None = None
    handed_on: HandedOn | None = None


class FollowRequest(NamedTuple):
    """A message is a tick: it asks what became of all syncs in its interval.

    Attributes:
        options: The tick's period and limits.
        vaults: The vaults by their ids, or all hybrid ones that a selector matches.
        time: When it fired, where it was handed on.
        handed_on: How the tick has been handed on; None where it came by itself.
    """

    options: FollowParam
    vaults: tuple[str, ...] | VaultSelector
    time: datetime | None = None
    handed_on: HandedOn | None = None


Request = SyncRequest | ReportRequest | FollowRequest


def parse_request(message: Message, settings: Settings, *, may_be_handed_on: bool = False) -> Request:
    """Return what a message asks for.

    Args:
        message: The message.
        settings: The function's settings.
        may_be_handed_on: Whether it came from where CBR_SYNC_DEFER_TO hands on to.

    Raises:
        EventError: Names the key, what was found and what was expected.
        VaultNotAllowedError: A vault is outside CBR_SYNC_ALLOWED_VAULTS, so nothing of it may be synced.
    """
    kind = message.trigger.kind
    if isinstance(message.payload, UnservedEvent):
        raise EventError(f"found {message.payload.envelope}, which is not served; known: {_list_forms()}")
    if kind is Kind.DIRECT and not isinstance(message.payload, dict):
        found = describe_value(message.payload)
        raise EventError(f"found {found} as the event, expected an object; known: {_list_forms()}")
    payload = _decode(message.payload)
    if "handed_on" in payload:
        return _parse_handed_on(payload, settings, may_be_handed_on=may_be_handed_on)
    return _parse_payload(payload, kind, settings)


def is_tick(payload: object) -> bool:
    """Return whether a payload asks to follow; one that cannot be read does not."""
    return "follow" in _decode_or_empty(payload)


def is_report(payload: object) -> bool:
    """Return whether a payload asks for a report; one that cannot be read does not."""
    return "report" in _decode_or_empty(payload)


def is_own_message(payload: object) -> bool:
    """Return whether a payload is a CloudEvent that cbr-sync has emitted itself."""
    return is_own_event(_decode_or_empty(payload))


def _decode_or_empty(payload: object) -> Mapping[str, object]:
    try:
        return _decode(payload)
    except EventError:
        return {}


def _parse_payload(payload: Mapping[str, object], kind: Kind, settings: Settings) -> Request:
    is_self_triggered = kind in SELF_TRIGGERED
    if payload == {}:
        return _build_default_request(kind, settings.vaults)
    default_vaults = settings.vaults if is_self_triggered else ()
    if "follow" in payload:
        _check_kind("follow", kind, SELF_TRIGGERED)
        return _parse_follow(payload, default_vaults)
    if "report" in payload:
        _check_kind("report", kind, _MAY_ASK_FOR_REPORTS)
        return _parse_report(payload, default_vaults)
    if foreign_vaults := _find_foreign_scope(payload, kind, settings):
        return _build_foreign_request(payload, foreign_vaults)
    if "vaults" in payload:
        form = _validate(_SelectorForm, payload, {**_EXPECTED, **_EXPECTED_INSIDE})
        return SyncRequest(form.vaults, _choose_auto_trigger(form, default=is_self_triggered), form.time)
    params, time = _parse_params(payload, default=is_self_triggered)
    named = _drop_repeated(params)
    _check_allowed(named, settings.allowed_vaults)
    return SyncRequest(named, time=time)


def _find_foreign_scope(payload: Mapping[str, object], kind: Kind, settings: Settings) -> Sequence[str]:
    """Return the vaults that a payload of somebody else's syncs; none where it is ours or may sync nothing.

    It has none of our keys but ``time``, which is everybody's, and none that is one of ours mistyped.
    """
    vaults = {Kind.WEBHOOK: settings.webhook_vaults, Kind.NOTIFICATION: settings.notification_vaults}
    is_ours = any(key in _OUR_KEYS or key.lower().startswith(("vault", "sync")) for key in payload)
    return () if is_ours else vaults.get(kind, ())


def _build_foreign_request(payload: Mapping[str, object], vaults: Sequence[str]) -> SyncRequest:
    """Return what a payload of somebody else's asks for: the vaults of the settings, or nothing.

    Sources: Alertmanager and Grafana, "Webhook" (``status``); GitHub, "Webhook events and payloads", ping
    (``zen`` and ``hook_id``).
    """
    is_resolved = payload.get("status") == "resolved" and isinstance(payload.get("alerts"), list)
    if is_resolved or {"zen", "hook_id"} <= payload.keys():
        return SyncRequest(())
    return _build_scope_request(vaults, auto_trigger=False)


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _parse_time(value: object) -> datetime:
    """Return an RFC 3339 time in UTC; without its zone it would be another moment for every reader."""
    # RFC 3339 allows small letters, and Python does not.
    moment = datetime.fromisoformat(value.upper()) if isinstance(value, str) else None
    if moment is None or moment.tzinfo is None:
        raise ValueError("not a time with its zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("beyond what a calendar holds") from None


class _TimedForm(_Form):
    time: Annotated[datetime, BeforeValidator(_parse_time)] | None = None


class _VaultForm(_Form):
    vault_id: VaultId
    auto_trigger: StrictBool = False


class _OneVaultForm(_TimedForm, _VaultForm):
    pass


def _wrap_object(value: object) -> object:
    return [value] if isinstance(value, dict) else value


class _HandedOnForm(_Form):
    kind: Kind
    id: Annotated[StrictStr, Field(max_length=MAX_ID_LENGTH)]
    time: Annotated[datetime, BeforeValidator(_parse_time)] | None
    since: Annotated[datetime, BeforeValidator(_parse_time)]
    times: Annotated[StrictInt, Field(ge=1)]


class _HandedOnMarksForm(_Form):
    time: Annotated[datetime, BeforeValidator(_parse_time)]
    handed_on: _HandedOnForm


class _SyncForm(_TimedForm):
    sync: Annotated[list[_VaultForm], BeforeValidator(_wrap_object), Field(min_length=1)]


class _VaultsForm(_TimedForm):
    vault_ids: Annotated[list[VaultId], Field(min_length=1)]
    auto_trigger: StrictBool = False


class _SelectorForm(_TimedForm):
    vaults: VaultSelector
    auto_trigger: StrictBool = False


FormT = TypeVar("FormT", bound=BaseModel)


def _validate(
    form: type[FormT], payload: Mapping[str, object], expected: Mapping[str, str] = _EXPECTED
) -> FormT:
    try:
        return form.model_validate(payload)
    except ValidationError as error:
        mistakes = explain(error, expected)
        more = f"; and {len(mistakes) - _MAX_MISTAKES} more" if len(mistakes) > _MAX_MISTAKES else ""
        raise EventError("; ".join(mistakes[:_MAX_MISTAKES]) + more) from None


def _parse_handed_on(payload: Mapping[str, object], settings: Settings, *, may_be_handed_on: bool) -> Request:
    """Return what was handed on: by the kind of its first trigger, and with that trigger.

    Raises:
        EventError: It comes from elsewhere, where anybody could give himself out as another trigger.
    """
    if not may_be_handed_on:
        raise EventError(
            "found handed_on, expected it only from the queue that CBR_SYNC_DEFER_TO names, or as a direct "
            "invoke on FunctionGraph; take it out"
        )
    given = {key: payload[key] for key in ("time", "handed_on") if key in payload}
    marks = _validate(_HandedOnMarksForm, given, _EXPECTED_IN_HANDED_ON)
    form = marks.handed_on
    trigger = Trigger(kind=form.kind, id=form.id, time=form.time)
    rest = {key: value for key, value in payload.items() if key not in given}
    if rest.keys().isdisjoint({"sync", "report", "follow"}):
        raise EventError("found handed_on without sync, report or follow, expected one of them beside it")
    request = _parse_payload(rest, form.kind, settings)
    return request._replace(time=marks.time, handed_on=HandedOn(trigger, form.since, form.times))


def _parse_report(payload: Mapping[str, object], default_vaults: Sequence[str]) -> ReportRequest:
    """Return the report that is asked for: without ``vaults``, on *default_vaults* where there are any."""
    from cbr_sync.reports.models import ReportForm  # noqa: PLC0415 - a sync needs no report

    form = _validate(ReportForm, payload, _EXPECTED_IN_REPORTS)
    return ReportRequest(form.report, _choose_scope(payload, form.vaults, default_vaults))


def _parse_follow(payload: Mapping[str, object], default_vaults: Sequence[str]) -> FollowRequest:
    """Return what a tick asks for: without ``vaults``, about *default_vaults* where there are any."""
    from cbr_sync.follow import FollowForm  # noqa: PLC0415 - a sync needs no ticks

    form = _validate(FollowForm, payload, _EXPECTED_IN_TICKS)
    return FollowRequest(form.follow, _choose_scope(payload, form.vaults, default_vaults))


def _choose_scope(
    payload: Mapping[str, object], selector: VaultSelector, default_vaults: Sequence[str]
) -> tuple[str, ...] | VaultSelector:
    if "vaults" not in payload and default_vaults and HYBRID not in default_vaults:
        return tuple(default_vaults)
    return selector


def _check_kind(key: str, kind: Kind, allowed: Iterable[Kind]) -> None:
    if kind not in allowed:
        kinds = ", ".join(sorted(allowed))
        raise EventError(f"found {key} in an event of kind {kind}, expected it only in one of kind {kinds}")


def _parse_params(payload: Mapping[str, object], *, default: bool) -> tuple[list[SyncParam], datetime | None]:
    """Return the vaults that a payload names, and its time."""
    match payload:
        case {"sync": _}:
            form = _validate(_SyncForm, payload)
            chosen = [(one.vault_id, _choose_auto_trigger(one, default=default)) for one in form.sync]
            return _build_params(chosen), form.time
        case {"vault_ids": _}:
            several = _validate(_VaultsForm, payload)
            auto_trigger = _choose_auto_trigger(several, default=default)
            return _build_params((vault, auto_trigger) for vault in several.vault_ids), several.time
        case {"vault_id": _}:
            one_form = _validate(_OneVaultForm, payload)
            auto_trigger = _choose_auto_trigger(one_form, default=default)
            return _build_params([(one_form.vault_id, auto_trigger)]), one_form.time
    keys = ", ".join(format_key(key) for key in list(payload)[:_MAX_MISTAKES])
    raise EventError(
        f"found an object with the keys {keys}, expected one of sync, vault_id, vault_ids, vaults, report, "
        f"follow in one of the known envelopes: {_list_forms()}"
    )


def _build_params(chosen: Iterable[tuple[str, bool]]) -> list[SyncParam]:
    return [SyncParam(vault_id=vault_id, auto_trigger=auto_trigger) for vault_id, auto_trigger in chosen]


def _drop_repeated(params: Iterable[SyncParam]) -> tuple[SyncParam, ...]:
    first: dict[str, SyncParam] = {}
    for param in params:
        first.setdefault(param.vault_id, param)
    if len(first) > MAX_VAULTS:
        raise EventError(f"found {len(first)} vaults, expected at most {MAX_VAULTS} in one event")
    return tuple(first.values())


def _check_allowed(params: Iterable[SyncParam], allowed: Sequence[str]) -> None:
    refused = [param.vault_id for param in params if allowed and param.vault_id not in allowed]
    if refused:
        raise VaultNotAllowedError(
            f"CBR_SYNC_ALLOWED_VAULTS does not hold {', '.join(refused[:_MAX_MISTAKES])}"
        )


def _choose_auto_trigger(form: _VaultForm | _VaultsForm | _SelectorForm, *, default: bool) -> bool:
    return form.auto_trigger if "auto_trigger" in form.model_fields_set else default


def _build_default_request(kind: Kind, default_vaults: Sequence[str]) -> SyncRequest:
    if kind not in SELF_TRIGGERED:
        raise EventError(f"found an empty payload, expected one of {', '.join(_EXPECTED)}, report")
    if not default_vaults:
        raise EventError("found an empty payload and no CBR_SYNC_VAULTS; set it, or name vaults in the event")
    return _build_scope_request(default_vaults, auto_trigger=True)


def _build_scope_request(vaults: Sequence[str], *, auto_trigger: bool) -> SyncRequest:
    """Return a request for the vaults of a setting: ids, or all hybrid ones."""
    if HYBRID in vaults:
        return SyncRequest(VaultSelector(), auto_trigger=auto_trigger)
    return SyncRequest(_drop_repeated(SyncParam(vault_id=one, auto_trigger=auto_trigger) for one in vaults))


def _decode(payload: object) -> Mapping[str, object]:
    """Return the payload as an object; empty for null, empty text and the empty object alike."""
    if isinstance(payload, bytes):
        payload = payload.removeprefix(codecs.BOM_UTF8)
    if isinstance(payload, str):
        payload = payload.removeprefix(BYTE_ORDER_MARK)
    if isinstance(payload, (str, bytes)):
        payload = _parse_json(payload) if payload.strip() else None
    if payload is None:
        return {}
    if not isinstance(payload, dict):
        raise EventError(f"found {describe_value(payload)} as the payload, expected a JSON object")
    return payload


def _parse_json(payload: str | bytes) -> object:
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):
        raise EventError(f"found {len(payload)} characters that are not JSON, expected an object") from None


def _list_forms() -> str:
    return ", ".join(dict.fromkeys(envelope.name for envelope in ENVELOPES if envelope.is_served))
