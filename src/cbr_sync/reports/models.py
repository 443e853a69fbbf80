"""The records of reports: what is asked for, and the state of each hybrid vault."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from cbr_sync.models import Copies, Frozen, OutcomeError, Timestamp, Trigger, VaultId, VaultSelector

MAX_HOURS = 8784  # a leap year
MAX_AGE_HOURS = 26  # a nightly sync, and two hours of grace


class State(StrEnum):
    """How a vault stands, the worst first.

    ``fresh``: the last success began no longer ago than is allowed, and nothing failed since; ``stale``: it
    began earlier; ``failing``: the last sync failed, timed out or left copies behind, however old the success
    before it is; ``never``: no sync of it ever succeeded; ``unknown``: no success is in the logs, but they
    may have lost one.
    """

    FAILING = "failing"
    NEVER = "never"
    STALE = "stale"
    UNKNOWN = "unknown"
    FRESH = "fresh"


class ReportParam(Frozen):
    """The options of a report.

    Attributes:
        max_age_hours: A vault is stale if its last success began longer ago than this.
        history_hours: How many hours of syncs are listed.
    """

    max_age_hours: Annotated[float, Field(strict=True, gt=0, le=MAX_HOURS, allow_inf_nan=False)] = (
        MAX_AGE_HOURS
    )
    history_hours: Annotated[float, Field(strict=True, ge=0, le=MAX_HOURS, allow_inf_nan=False)] = 0


class ReportForm(Frozen):
    """The payload ``{"report": {...}, "vaults": {...}}``; without ``vaults``, it is about all of them."""

    report: ReportParam
    vaults: VaultSelector = VaultSelector()


class SyncRecord(Frozen):
    """A sync in a vault's history; ``status`` is an outcome's word, or the API's for one that goes on."""

    operation_log_id: str
    status: str
    started_at: Timestamp
    ended_at: Timestamp | None = None
    progress: int | None = Field(default=None, description="percent, while it goes on")
    copies: Copies | None = Field(default=None, description="null until it has ended")
    error: OutcomeError | None = None


class VaultReport(Frozen):
    """How one vault stands."""

    vault_id: VaultId
    name: str
    object_type: str | None = Field(description="the API's word: vmware or file")
    vault_status: str | None = Field(description="the API's word: available, lock, frozen, deleting, error")
    state: State
    age_hours: float | None = Field(description="since the last success began; what is newer it may lack")
    last_success: SyncRecord | None
    running: SyncRecord | None
    last_error: SyncRecord | None = Field(description="the last that went wrong since the last success")


class ReportSummaryFields(Frozen):
    """The sums of a report."""

    at: Timestamp
    max_age_hours: float
    history_hours: float
    counts: dict[State, int] = Field(description="only states that a vault is in")
    oldest_sync_age_hours: float | None = Field(description="of the vaults whose last success is known")
    trigger: Trigger


class Report(ReportSummaryFields):
    """How all vaults in scope stand, the worst first."""

    vaults: tuple[VaultReport, ...]
    history: dict[VaultId, tuple[SyncRecord, ...]] = Field(
        description="the syncs of the last history_hours, the newest first; empty where none were asked for"
    )
    history_omitted: int = Field(default=0, description="older syncs of those hours that did not fit")

    @property
    def not_fresh(self) -> tuple[VaultReport, ...]:
        """The vaults that need attention, the worst first."""
        return tuple(vault for vault in self.vaults if vault.state is not State.FRESH)
