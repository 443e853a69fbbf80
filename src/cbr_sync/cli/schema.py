"""The JSON Schema of every message that is emitted, made from the models.

Source of the envelope: CloudEvents 1.0.2, JSON event format.
"""

from __future__ import annotations

import functools
import operator
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model

from cbr_sync.models import Status, SyncOutcome, Timestamp, Trigger, VaultId
from cbr_sync.reports.models import ReportSummaryFields, State, VaultReport
from cbr_sync.sinks.messages import REJECTED, REPORT, RUN_FINISHED, Rejected, RunFinished


class _Envelope(BaseModel):
    model_config = ConfigDict(extra="forbid")

    specversion: Literal["1.0"]
    id: Annotated[str, Field(json_schema_extra={"format": "uuid"})]
    source: Annotated[str, Field(pattern=r"^/cbr/", description="/cbr/{region}/{project_id}")]
    time: Timestamp
    datacontenttype: Literal["application/json"]


class VaultNotFresh(VaultReport):
    """A vault that somebody should look at; from how many hours on it is stale, and who asked."""

    max_age_hours: float
    trigger: Trigger


class ReportSummary(ReportSummaryFields):
    """The sums of a report, and its worst vaults; ``omitted`` counts those of them that are left out."""

    vaults: tuple[VaultReport, ...]
    omitted: int


def build_schema() -> dict[str, Any]:
    """The schema of one message, JSON Schema 2020-12: one of several, told apart by ``type``."""
    messages: list[Any] = [
        *(
            _message(f"cbr-sync.checkpoint.sync.{status}.v1", SyncOutcome, subject=(VaultId, ...))
            for status in Status
        ),
        _message(REJECTED, Rejected),
        _message(RUN_FINISHED, RunFinished),
        *(
            _message(f"cbr-sync.vault.{state}", VaultNotFresh, subject=(VaultId, ...))
            for state in State
            if state is not State.FRESH
        ),
        _message(REPORT, ReportSummary),
    ]
    message: Any = Annotated[functools.reduce(operator.or_, messages), Field(discriminator="type")]
    adapter: TypeAdapter[Any] = TypeAdapter(message)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What cbr-sync emits",
        **adapter.json_schema(mode="serialization"),
    }


def _message(kind: str, data: Any, **more: Any) -> type[BaseModel]:
    name = "".join(map(str.capitalize, re.findall(r"[a-z]+(?![0-9])", kind)))
    this: Any = Literal[kind]
    return create_model(name, __base__=_Envelope, type=(this, ...), data=(data, ...), **more)
