"""Reports on hybrid vaults, from ListVault and ListOpLogs alone: no state of our own.

They see every sync, whoever started it. ``report_of`` is the pure core, its clock an argument; ``Reporter``
fetches what that core needs. How long the service keeps operation logs is not documented, so an empty
history says nothing about an older vault.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from cbr_sync.errors import ApiError, Retryable
from cbr_sync.models import Status
from cbr_sync.report import Report, State, Sync, VaultReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cbr_sync.cbr import Cbr, OperationLog, Vault
    from cbr_sync.models import Trigger
    from cbr_sync.report import ReportParam
    from cbr_sync.retry import Pace, Retry

T = TypeVar("T")

VAULT_GONE = "BackupService.6105"
# A vault younger than this had all of its syncs in logs that are surely still kept (inferred).
YOUNG = timedelta(days=7)
# How far back all logs are fetched, step by step, while more than a few vaults have no success in them.
_STEPS = (timedelta(days=7), timedelta(days=30))
_FEW = 10
_WORST_FIRST = {state: rank for rank, state in enumerate(State)}
_BAD = frozenset({Status.FAILED, Status.TIMED_OUT, Status.PARTIAL})


@dataclass(eq=False)
class History:
    """What the logs of one vault tell, in any order, a log more than once: only what is judged by is kept."""

    good: OperationLog | None = None
    bad: OperationLog | None = None
    unended: OperationLog | None = None
    kept: dict[str, OperationLog] = field(default_factory=dict)

    def add(self, log: OperationLog, *, keep: bool = False) -> None:
        """Take a log into account; ``keep`` it to be listed."""
        if keep:
            self.kept[log.id] = log
        if log.end is None:
            self.unended = _later(self.unended, log)
        elif log.end is Status.SUCCEEDED:
            self.good = _later(self.good, log)
        elif log.end in _BAD:
            self.bad = _later(self.bad, log)

    @property
    def running(self) -> OperationLog | None:
        """The sync that goes on, unless it ended between two pages and is listed twice."""
        ended = {known.id for known in (self.good, self.bad) if known}
        return None if self.unended is None or self.unended.id in ended else self.unended

    @property
    def last_error(self) -> OperationLog | None:
        """The last sync that went wrong, unless one succeeded since."""
        healed = self.good and self.bad and self.good.created_at > self.bad.created_at
        return None if healed else self.bad


class Histories:
    """The histories of vaults; ``oldest`` is when the oldest log of all, whosever, began."""

    def __init__(self, vault_ids: Iterable[str], keep_since: datetime | None = None) -> None:
        self.of = {vault_id: History() for vault_id in vault_ids}
        self.oldest: datetime | None = None
        self._keep_since = keep_since

    def add(self, logs: Iterable[OperationLog]) -> None:
        """Take these into account; those of other vaults, deleted ones say, tell only how old logs get."""
        for log in logs:
            self.oldest = min(self.oldest or log.created_at, log.created_at)
            if history := self.of.get((log.vault_id or "").lower()):
                keep = self._keep_since is not None and log.created_at >= self._keep_since
                history.add(log, keep=keep)

    @property
    def without_success(self) -> list[str]:
        """The vaults of which no success is known."""
        return [vault_id for vault_id, history in self.of.items() if history.good is None]


def _later(known: OperationLog | None, log: OperationLog) -> OperationLog:
    return log if known is None or log.created_at >= known.created_at else known


def report_of(
    vaults: Iterable[Vault], histories: Histories, param: ReportParam, trigger: Trigger, now: datetime
) -> Report:
    """The report on these vaults at this moment."""
    rows = [_judge(vault, histories, param, now) for vault in vaults]
    rows.sort(key=lambda row: (_WORST_FIRST[row.state], -(row.age_hours or 0), row.name, row.vault_id))
    ages = [row.age_hours for row in rows if row.age_hours is not None]
    states = [row.state for row in rows]
    return Report(
        at=now,
        max_age_hours=param.max_age_hours,
        history_hours=param.history_hours,
        counts={state: states.count(state) for state in State if state in states},
        oldest_sync_age_hours=max(ages, default=None),
        vaults=tuple(rows),
        history={row.vault_id: syncs for row in rows if (syncs := _syncs(histories.of[row.vault_id]))},
        trigger=trigger,
    )


def _judge(vault: Vault, histories: Histories, param: ReportParam, now: datetime) -> VaultReport:
    history = histories.of[vault.id]
    good, error = history.good, history.last_error
    # The API's clock may be ahead of ours.
    age = max(now - good.created_at, timedelta()) if good else None
    if error:
        state = State.FAILING
    elif age is not None:
        state = State.FRESH if age <= timedelta(hours=param.max_age_hours) else State.STALE
    else:
        state = State.NEVER if _whole_life_is_known(vault, histories.oldest, now) else State.UNKNOWN
    return VaultReport(
        vault_id=vault.id,
        name=vault.name,
        object_type=vault.billing.object_type,
        vault_status=vault.billing.status,
        state=state,
        age_hours=None if age is None else round(age / timedelta(hours=1), 2),
        last_success=_sync(good) if good else None,
        running=_sync(history.running) if history.running else None,
        last_error=_sync(error) if error else None,
    )


def _whole_life_is_known(vault: Vault, oldest: datetime | None, now: datetime) -> bool:
    """Whether a success of this vault would still be in the logs: it is young, or an older log is there."""
    if vault.created_at is None:
        return False
    return now - vault.created_at <= YOUNG or (oldest is not None and oldest <= vault.created_at)


def _sync(log: OperationLog) -> Sync:
    ended = log.end is not None
    return Sync(
        operation_log_id=log.id,
        status=log.end or log.status,
        started_at=log.created_at,
        ended_at=log.ended_at if ended else None,
        progress=None if ended else log.progress,
        copies=log.copies if ended else None,
        error=None if log.end is Status.SUCCEEDED else log.error,
    )


def _syncs(history: History) -> tuple[Sync, ...]:
    kept = sorted(history.kept.values(), key=lambda log: log.created_at, reverse=True)
    return tuple(_sync(log) for log in kept)


class Reporter(NamedTuple):
    """Fetches what a report is judged by, until a deadline, a reading of ``retry.clock`` in seconds."""

    cbr: Cbr
    retry: Retry
    pace: Pace
    now: Callable[[], datetime]
    until: float

    def report(self, vaults: Sequence[Vault], param: ReportParam, trigger: Trigger) -> Report:
        """The report on these vaults, less those that were deleted meanwhile.

        Raises:
            ApiError: and its kinds; the logs cannot be listed.
        """
        now = self.now()
        keep_since = now - timedelta(hours=param.history_hours) if param.history_hours else None
        histories = Histories((vault.id for vault in vaults), keep_since)
        # All vaults at once, as far back as needed; then the few that are left, each for itself.
        first = timedelta(hours=max(param.max_age_hours, param.history_hours))
        for step in (first, *(step for step in _STEPS if step > first), None):
            histories.add(self._logs(since=now - step if step else None))
            if step and len(histories.without_success) <= _FEW:
                gone = {one for one in histories.without_success if not self._whole(histories, one)}
                vaults = [vault for vault in vaults if vault.id not in gone]
                break
        return report_of(vaults, histories, param, trigger, now)

    def _whole(self, histories: Histories, vault_id: str) -> bool:
        """Take all logs of one vault into account; false where it is no more."""
        try:
            histories.add(self._logs(vault_id=vault_id))
        except ApiError as error:
            if error.code == VAULT_GONE:
                return False
            raise
        return True

    def _logs(self, *, since: datetime | None = None, vault_id: str | None = None) -> Iterator[OperationLog]:
        return self.cbr.list_sync_logs(since=since, vault_id=vault_id, again=self._again)

    def _again(self, attempt: Callable[[], T]) -> T:
        return self.retry.call(attempt, until=self.until, retry_on=Retryable, pace=self.pace)
