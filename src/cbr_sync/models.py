"""The records that all packages share: triggers, vaults to sync, and outcomes."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, NamedTuple, TypeGuard

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictBool,
    StrictStr,
    WithJsonSchema,
)

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def format_rfc3339(moment: datetime) -> str:
    """Return a moment in UTC with milliseconds, as in ``2026-01-02T03:04:05.678Z``.

    Raises:
        ValueError: The moment has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"a moment without a time zone: {moment}")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def is_vault_id(value: object) -> TypeGuard[str]:
    """Return whether a value is a vault id: those of CBR are UUIDs with hyphens."""
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def parse_vault_id(value: object) -> str:
    """Return a vault id in lower case.

    Raises:
        ValueError: The value is not a string that holds a UUID with hyphens.
    """
    if is_vault_id(value):
        return value.lower()
    raise ValueError("not a UUID")


def check_unicode(value: str) -> str:
    """Return the text itself.

    Raises:
        ValueError: It holds a lone surrogate, which JSON can hold and no URL or reply can.
    """
    value.encode()
    return value


VaultId = Annotated[
    str, BeforeValidator(parse_vault_id), WithJsonSchema({"type": "string", "format": "uuid"})
]
Text = Annotated[StrictStr, AfterValidator(check_unicode)]
Timestamp = Annotated[
    datetime,
    PlainSerializer(format_rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class Kind(StrEnum):
    """The kind of an event, by its envelope."""

    TIMER = "timer"
    SCHEDULE = "schedule"
    WEBHOOK = "webhook"
    QUEUE = "queue"
    NOTIFICATION = "notification"
    EVENT = "event"
    DIRECT = "direct"


# What comes by the clock.
SELF_TRIGGERED = frozenset({Kind.TIMER, Kind.SCHEDULE})


class Status(StrEnum):
    """How one sync went.

    ``failed`` is final; ``unfinished`` means that retrying may help; ``deferred`` is handed on, and served
    later. The words of an operation's end
    follow the API's states: success (``succeeded``, or ``partial`` when some copies failed), skipped,
    timeout (``timed_out``).
    """

    ACCEPTED = "accepted"
    ALREADY_RUNNING = "already_running"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    SKIPPED = "skipped"
    TIMED_OUT = "timed_out"
    FAILED = "failed"
    UNFINISHED = "unfinished"
    DEFERRED = "deferred"


# A sync that was made, and did not do what it was made for.
WENT_WRONG = frozenset({Status.FAILED, Status.TIMED_OUT, Status.PARTIAL})
# What a later run may still serve.
DEFERRABLE = frozenset({Status.ALREADY_RUNNING, Status.UNFINISHED})


class Frozen(BaseModel):
    """Base of all records: they do not change, and unknown keys are mistakes."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_serialization_defaults_required=True,
    )


class SyncParam(Frozen):
    """One vault to sync, in the API's own words.

    Source: API reference of CBR, ImportCheckpoint, table SyncParam.
    """

    vault_id: VaultId
    auto_trigger: StrictBool


class VaultSelector(Frozen):
    """Selects the hybrid vaults that match all that is given; without anything given, all of them."""

    object_type: Text | None = None
    name: Annotated[Text, Field(max_length=64)] | None = None
    tags: dict[Text, Text] = Field(default_factory=dict)

    def __str__(self) -> str:
        """Return the names of what is given; values stay out of errors."""
        return ", ".join(sorted(self.model_fields_set)) or "at all"


class Trigger(Frozen):
    """The event that asks for something: its kind, an id that all deliveries share, and its own time."""

    kind: Kind
    id: str
    time: Timestamp | None = None


class HandedOn(NamedTuple):
    """How a trigger that was not served has been handed on.

    Attributes:
        trigger: The event that asked in the first place.
        since: When its first run began to serve it.
        times: How many times it has been handed on.
    """

    trigger: Trigger
    since: datetime
    times: int


class Copies(Frozen):
    """How many copies an operation has synced, deleted in the cloud, and failed to sync."""

    synced: int
    deleted: int
    failed: int


class OutcomeError(Frozen):
    """Why a sync did not succeed, in the API's own words, redacted."""

    code: str
    message: str
    request_id: str | None = None
    http_status: int | None = None


class SyncOutcome(Frozen):
    """The result of one SyncParam; each gets exactly one."""

    vault_id: VaultId
    vault_name: str | None = Field(default=None, description="null where it is not known")
    auto_trigger: StrictBool
    status: Status
    operation_log_id: str | None = None
    adopted: bool = Field(default=False, description="found in the logs, not answered to our POST")
    copies: Copies | None = Field(default=None, description="null until the operation has ended")
    error: OutcomeError | None = None
    attempts: int = Field(description="POSTs sent")
    started_at: Timestamp
    duration_seconds: float
    trigger: Trigger
