"""The pure core of a report: operation logs in, the state of each vault out."""

from __future__ import annotations

import heapq
from datetime import timedelta
from typing import TYPE_CHECKING

from cbr_sync.huawei.cbr import PAGE
from cbr_sync.models import WENT_WRONG, Status
from cbr_sync.reports.models import Report, State, SyncRecord, VaultReport

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from cbr_sync.huawei.cbr import OperationLog, Vault
    from cbr_sync.models import Trigger
    from cbr_sync.reports.models import ReportParam


# A vault younger than this had all of its syncs in logs that are surely still kept (inferred).
YOUNG_VAULT_AGE = timedelta(days=7)
# More syncs than these, of all vaults together, would not fit into a reply, which may have 6 MB on Lambda.
MAX_HISTORY = 10_000
# While a list is read, new rows push others to the next page, where they arrive a second time.
_REMEMBERED_IDS = 2 * PAGE
_WORST_FIRST = {state: rank for rank, state in enumerate(State)}


class VaultHistory:
    """The logs that one vault is judged by, out of any number that arrive in any order and more than once.

    Attributes:
        last_success: The last sync that succeeded.
        last_failure: The last sync that failed, timed out or left copies behind.
        latest: The last sync of all.
        is_complete: False where a success may stand in logs that could not be read.
        recent_count: How many syncs began in the hours whose syncs are to be listed.
    """

    def __init__(self) -> None:
        self.last_success: OperationLog | None = None
        self.last_failure: OperationLog | None = None
        self.latest: OperationLog | None = None
        self.is_complete = True
        self.recent_count = 0

    def add(self, log: OperationLog) -> None:
        """Take a log into account."""
        self.latest = _choose_later(self.latest, log)
        if log.end_status is Status.SUCCEEDED:
            self.last_success = _choose_later(self.last_success, log)
        elif log.end_status in WENT_WRONG:
            self.last_failure = _choose_later(self.last_failure, log)

    @property
    def running(self) -> OperationLog | None:
        """The last sync, if it still runs."""
        return self.latest if self.latest and self.latest.end_status is None else None

    @property
    def last_error(self) -> OperationLog | None:
        """The last sync that went wrong, unless one succeeded since."""
        success, failure = self.last_success, self.last_failure
        return None if success and failure and success.created_at > failure.created_at else failure

    @property
    def is_blank(self) -> bool:
        """Whether all logs were read, and none of them is a success or a failure."""
        return self.is_complete and self.last_success is None and self.last_failure is None


def _choose_later(known: OperationLog | None, log: OperationLog) -> OperationLog:
    """Return the log that began later; of one that ended between two pages, the one that says so."""
    if known is None or log.created_at > known.created_at:
        return log
    return log if log.created_at == known.created_at and known.end_status is None else known


class RecentSyncs:
    """The newest syncs of all vaults together, as many as fit into a reply."""

    def __init__(self) -> None:
        self._oldest_first: list[tuple[datetime, str]] = []
        self._kept: dict[str, tuple[str, SyncRecord]] = {}
        # The last ids that were left out, in the order in which they were.
        self._left_out: dict[str, None] = {}

    def add(self, vault_id: str, log: OperationLog) -> bool:
        """Keep a sync, unless newer ones take all places.

        Returns:
            Whether it is a sync that was not added before.
        """
        if log.id in self._kept or log.id in self._left_out:
            self.update(log)
            return False
        key = (log.created_at, log.id)
        if len(self._kept) < MAX_HISTORY:
            heapq.heappush(self._oldest_first, key)
        elif key < self._oldest_first[0]:
            self._leave_out(log.id)
            return True
        else:
            _, oldest_id = heapq.heapreplace(self._oldest_first, key)
            del self._kept[oldest_id]
            self._leave_out(oldest_id)
        self._kept[log.id] = (vault_id, _build_record(log))
        return True

    def update(self, log: OperationLog) -> None:
        """Show a sync that is kept as it is now; what has ended does not run again."""
        if log.id in self._kept and log.end_status is not None:
            self._kept[log.id] = (self._kept[log.id][0], _build_record(log))

    def group_by_vault(self) -> dict[str, list[SyncRecord]]:
        """Return the syncs of each vault, the newest first."""
        groups: dict[str, list[SyncRecord]] = {}
        for _, log_id in sorted(self._oldest_first, reverse=True):
            vault_id, record = self._kept[log_id]
            groups.setdefault(vault_id, []).append(record)
        return groups

    def _leave_out(self, log_id: str) -> None:
        self._left_out[log_id] = None
        if len(self._left_out) > _REMEMBERED_IDS:
            del self._left_out[next(iter(self._left_out))]


class SyncHistory:
    """The histories of all vaults in a report. What it holds does not grow with the number of logs.

    Attributes:
        by_vault: The history of each vault, by its id.
        complete_since: No log since this moment is lost; None where nobody knows.
        recent: The newest syncs of the hours whose syncs are to be listed.
    """

    def __init__(self, vault_ids: Iterable[str]) -> None:
        self.by_vault = {vault_id: VaultHistory() for vault_id in vault_ids}
        self.complete_since: datetime | None = None
        self.recent = RecentSyncs()

    def add(
        self,
        logs: Iterable[OperationLog],
        *,
        vault_id: str | None = None,
        list_since: datetime | None = None,
    ) -> None:
        """Take logs into account, one by one as they arrive.

        Those of other vaults, deleted ones say, only show how far back logs go.

        Args:
            logs: Any number of them, in any order.
            vault_id: The vault of all of them; without it, each log names its own.
            list_since: Count the syncs since then, and keep the newest of them. Only one list may do so: a
                second one would count again what is not kept.
        """
        for log in logs:
            self.complete_since = min(self.complete_since or log.created_at, log.created_at)
            own_id = vault_id or (log.vault_id or "").lower()
            history = self.by_vault.get(own_id)
            if history is None:
                continue
            history.add(log)
            if list_since is None:
                self.recent.update(log)
            elif log.created_at >= list_since:
                history.recent_count += self.recent.add(own_id, log)

    @property
    def without_success(self) -> list[str]:
        """The ids of the vaults of which no success is known."""
        return [vault_id for vault_id, history in self.by_vault.items() if history.last_success is None]


def build_report(
    vaults: Iterable[Vault], history: SyncHistory, param: ReportParam, trigger: Trigger, now: datetime
) -> Report:
    """Build the report on some vaults.

    Args:
        vaults: Those to report on, all of them in *history*.
        history: Their syncs.
        param: What was asked for.
        trigger: What asked.
        now: The moment of the report.

    Returns:
        A row for each vault, the worst first.
    """
    rows = [_judge_vault(vault, history, param, now) for vault in vaults]
    rows.sort(key=lambda row: (_WORST_FIRST[row.state], -(row.age_hours or 0), row.name, row.vault_id))
    ages = [row.age_hours for row in rows if row.age_hours is not None]
    states = [row.state for row in rows]
    groups = history.recent.group_by_vault()
    listed = {row.vault_id: tuple(groups[row.vault_id]) for row in rows if row.vault_id in groups}
    began = sum(history.by_vault[row.vault_id].recent_count for row in rows)
    return Report(
        at=now,
        max_age_hours=param.max_age_hours,
        history_hours=param.history_hours,
        counts={state: states.count(state) for state in State if state in states},
        oldest_sync_age_hours=max(ages, default=None),
        vaults=tuple(rows),
        history=listed,
        history_omitted=began - sum(map(len, listed.values())),
        trigger=trigger,
    )


def _judge_vault(vault: Vault, all_syncs: SyncHistory, param: ReportParam, now: datetime) -> VaultReport:
    history = all_syncs.by_vault[vault.id]
    success, error, running = history.last_success, history.last_error, history.running
    # The API's clock may be ahead of ours.
    age = max(now - success.created_at, timedelta()) if success else None
    if error:
        state = State.FAILING
    elif age is not None:
        state = State.FRESH if age <= timedelta(hours=param.max_age_hours) else State.STALE
    else:
        is_known = history.is_complete and _is_whole_life_known(vault, all_syncs.complete_since, now)
        state = State.NEVER if is_known else State.UNKNOWN
    return VaultReport(
        vault_id=vault.id,
        name=vault.name,
        object_type=vault.billing.object_type,
        vault_status=vault.billing.status,
        state=state,
        age_hours=None if age is None else round(age / timedelta(hours=1), 2),
        last_success=_build_record(success) if success else None,
        running=_build_record(running) if running else None,
        last_error=_build_record(error) if error else None,
    )


def _is_whole_life_known(vault: Vault, complete_since: datetime | None, now: datetime) -> bool:
    """Return whether a success would still be in the logs: the vault is young, or they go back that far."""
    if vault.created_at is None:
        return False
    return now - vault.created_at <= YOUNG_VAULT_AGE or (
        complete_since is not None and complete_since <= vault.created_at
    )


def _build_record(log: OperationLog) -> SyncRecord:
    has_ended = log.end_status is not None
    return SyncRecord(
        operation_log_id=log.id,
        status=log.end_status or log.status,
        started_at=log.created_at,
        ended_at=log.ended_at if has_ended else None,
        progress=None if has_ended else log.progress,
        copies=log.copies if has_ended else None,
        error=log.error,
    )
