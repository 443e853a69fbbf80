"""The command ``schema``, and the JSON Schema of every emitted message, built from the models.

Source of the envelope: CloudEvents 1.0.2, JSON event format.
"""

from __future__ import annotations

import functools
import operator
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model

from cbr_sync.cli.console import print_json
from cbr_sync.models import Status, SyncOutcome, Timestamp, Trigger, VaultId
from cbr_sync.reports.models import ReportSummaryFields, State, VaultReport
from cbr_sync.sinks.messages import (
    BECAME_STALE,
    ENDS,
    NOTICE,
    OVERDUE,
    RECOVERED,
    REJECTED,
    REPORT,
    RUN_FINISHED,
    Notice,
    OperationEnded,
    OperationOverdue,
    Rejected,
    RunFinished,
    VaultBecameStale,
    VaultRecovered,
)


class _Envelope(BaseModel):
    model_config = ConfigDict(extra="forbid")

    specversion: Literal["1.0"]
    id: Annotated[str, Field(json_schema_extra={"format": "uuid"})]
    source: Annotated[str, Field(pattern=r"^/cbr/", description="/cbr/{region}/{project_id}")]
    time: Timestamp
    datacontenttype: Literal["application/json"]


class VaultNotFresh(VaultReport):
    """A vault that is not fresh, with the limit that it was measured against and the report's trigger."""

    max_age_hours: float
    trigger: Trigger


class ReportSummary(ReportSummaryFields):
    """The totals of a report and its worst vaults; ``omitted`` counts those that did not fit."""

    vaults: tuple[VaultReport, ...]
    omitted: int


def print_schema() -> None:
    """Print the JSON Schema of every message that is emitted.

    Example: cbr-sync schema > messages.schema.json
    """
    print_json(build_schema())


def build_schema() -> dict[str, Any]:
    """Build the schema of one message (JSON Schema 2020-12): one of several, chosen by its ``type``."""
    messages: list[Any] = [
        *(
            _build_message(f"cbr-sync.checkpoint.sync.{status}.v1", SyncOutcome, subject=(VaultId, ...))
            for status in Status
        ),
        _build_message(REJECTED, Rejected),
        _build_message(RUN_FINISHED, RunFinished),
        *(
            _build_message(f"cbr-sync.vault.{state}.v1", VaultNotFresh, subject=(VaultId, ...))
            for state in State
            if state is not State.FRESH
        ),
        _build_message(REPORT, ReportSummary),
        *(
            _build_message(f"cbr-sync.operation.{status}.v1", OperationEnded, subject=(VaultId, ...))
            for status in ENDS
        ),
        _build_message(OVERDUE, OperationOverdue, subject=(VaultId, ...)),
        _build_message(BECAME_STALE, VaultBecameStale, subject=(VaultId, ...)),
        _build_message(RECOVERED, VaultRecovered, subject=(VaultId, ...)),
        _build_message(NOTICE, Notice),
    ]
    message: Any = Annotated[functools.reduce(operator.or_, messages), Field(discriminator="type")]
    adapter: TypeAdapter[Any] = TypeAdapter(message)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Messages of cbr-sync",
        **adapter.json_schema(mode="serialization"),
    }


def _build_message(type_: str, data: Any, **fields: Any) -> type[BaseModel]:
    name = "".join(map(str.capitalize, re.findall(r"[a-z]+(?![0-9])", type_)))
    literal: Any = Literal[type_]
    return create_model(name, __base__=_Envelope, type=(literal, ...), data=(data, ...), **fields)
