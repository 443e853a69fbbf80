"""The pure core of a report: operation logs in, the state of each vault out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cbr_sync.models import WENT_WRONG, Status
from cbr_sync.reports.models import Report, State, SyncRecord, VaultReport

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cbr_sync.huawei.cbr import OperationLog, Vault
    from cbr_sync.models import Trigger
    from cbr_sync.reports.models import ReportParam


# A vault younger than this had all of its syncs in logs that are surely still kept (inferred).
YOUNG_VAULT_AGE = timedelta(days=7)
# More syncs than these would not fit into a reply, which may have 6 MB on Lambda.
MAX_HISTORY = 10_000
_WORST_FIRST = {state: rank for rank, state in enumerate(State)}


@dataclass(eq=False)
class History:
    """What the logs of one vault tell, in any order, a log more than once: only what is judged by is kept.

    ``whole`` is false where a success may stand in logs that could not be read.
    """

    good: OperationLog | None = None
    bad: OperationLog | None = None
    latest: OperationLog | None = None
    whole: bool = True
    kept: dict[str, OperationLog] = field(default_factory=dict)

    def add(self, log: OperationLog, *, keep: bool = False) -> None:
        """Take a log into account; ``keep`` it to be listed."""
        if keep and not (log.id in self.kept and log.end is None):
            self.kept[log.id] = log
        self.latest = _choose_later(self.latest, log)
        if log.end is Status.SUCCEEDED:
            self.good = _choose_later(self.good, log)
        elif log.end in WENT_WRONG:
            self.bad = _choose_later(self.bad, log)

    @property
    def running(self) -> OperationLog | None:
        """The sync that goes on: the last one, where it has not ended."""
        return self.latest if self.latest and self.latest.end is None else None

    @property
    def last_error(self) -> OperationLog | None:
        """The last sync that went wrong, unless one succeeded since."""
        healed = self.good and self.bad and self.good.created_at > self.bad.created_at
        return None if healed else self.bad


def _choose_later(known: OperationLog | None, log: OperationLog) -> OperationLog:
    """Of two logs the one that began later; of one that ended between two pages the end."""
    if known is None or log.created_at > known.created_at:
        return log
    return log if log.created_at == known.created_at and known.end is None else known


class Histories:
    """The histories of vaults; ``complete_since`` is since when no log is lost, None where nobody knows."""

    def __init__(self, vault_ids: Iterable[str], keep_since: datetime | None = None) -> None:
        self.of = {vault_id: History() for vault_id in vault_ids}
        self.complete_since: datetime | None = None
        self._keep_since = keep_since

    def add(self, logs: Iterable[OperationLog], vault_id: str | None = None) -> None:
        """Take these into account; of one vault, where they are a list of its own.

        Those of other vaults, deleted ones say, tell only how far back logs go.
        """
        for log in logs:
            self.complete_since = min(self.complete_since or log.created_at, log.created_at)
            if history := self.of.get(vault_id or (log.vault_id or "").lower()):
                keep = self._keep_since is not None and log.created_at >= self._keep_since
                history.add(log, keep=keep)

    @property
    def without_success(self) -> list[str]:
        """The vaults of which no success is known."""
        return [vault_id for vault_id, history in self.of.items() if history.good is None]


def build_report(
    vaults: Iterable[Vault], histories: Histories, param: ReportParam, trigger: Trigger, now: datetime
) -> Report:
    """The report on these vaults at this moment."""
    rows = [_judge_vault(vault, histories, param, now) for vault in vaults]
    rows.sort(key=lambda row: (_WORST_FIRST[row.state], -(row.age_hours or 0), row.name, row.vault_id))
    ages = [row.age_hours for row in rows if row.age_hours is not None]
    states = [row.state for row in rows]
    kept = {row.vault_id: _sort_newest_first(histories.of[row.vault_id]) for row in rows}
    most = MAX_HISTORY // max(len(rows), 1)
    return Report(
        at=now,
        max_age_hours=param.max_age_hours,
        history_hours=param.history_hours,
        counts={state: states.count(state) for state in State if state in states},
        oldest_sync_age_hours=max(ages, default=None),
        vaults=tuple(rows),
        history={vault_id: tuple(map(_build_record, logs[:most])) for vault_id, logs in kept.items() if logs},
        history_omitted=sum(max(len(logs) - most, 0) for logs in kept.values()),
        trigger=trigger,
    )


def _judge_vault(vault: Vault, histories: Histories, param: ReportParam, now: datetime) -> VaultReport:
    history = histories.of[vault.id]
    good, error = history.good, history.last_error
    # The API's clock may be ahead of ours.
    age = max(now - good.created_at, timedelta()) if good else None
    if error:
        state = State.FAILING
    elif age is not None:
        state = State.FRESH if age <= timedelta(hours=param.max_age_hours) else State.STALE
    else:
        known = history.whole and _whole_life_is_known(vault, histories.complete_since, now)
        state = State.NEVER if known else State.UNKNOWN
    return VaultReport(
        vault_id=vault.id,
        name=vault.name,
        object_type=vault.billing.object_type,
        vault_status=vault.billing.status,
        state=state,
        age_hours=None if age is None else round(age / timedelta(hours=1), 2),
        last_success=_build_record(good) if good else None,
        running=_build_record(history.running) if history.running else None,
        last_error=_build_record(error) if error else None,
    )


def _whole_life_is_known(vault: Vault, complete_since: datetime | None, now: datetime) -> bool:
    """Whether a success of this vault would still be in the logs: it is young, or they go back that far."""
    if vault.created_at is None:
        return False
    return now - vault.created_at <= YOUNG_VAULT_AGE or (
        complete_since is not None and complete_since <= vault.created_at
    )


def _sort_newest_first(history: History) -> list[OperationLog]:
    return sorted(history.kept.values(), key=lambda log: log.created_at, reverse=True)


def _build_record(log: OperationLog) -> SyncRecord:
    ended = log.end is not None
    return SyncRecord(
        operation_log_id=log.id,
        status=log.end or log.status,
        started_at=log.created_at,
        ended_at=log.ended_at if ended else None,
        progress=None if ended else log.progress,
        copies=log.copies if ended else None,
        error=log.error,
    )
