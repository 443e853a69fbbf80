"""Reports on hybrid vaults, from ListVault and ListOpLogs alone: no state of our own.

They see every sync, whoever started it. ``report_of`` is the pure core, its clock an argument; ``Reporter``
fetches what that core needs. How long the service keeps operation logs is not documented, so an empty
history says nothing about an older vault.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from cbr_sync.cbr import NO_SUCH_VAULT, PAGE
from cbr_sync.errors import ApiError, CredentialsRefused, Retryable
from cbr_sync.models import WENT_WRONG, Status
from cbr_sync.report import Report, State, Sync, VaultReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from aws_lambda_powertools import Logger

    from cbr_sync.cbr import Cbr, OperationLog, Vault
    from cbr_sync.models import Trigger
    from cbr_sync.report import ReportParam
    from cbr_sync.retry import Pace, Retry

T = TypeVar("T")

# A vault younger than this had all of its syncs in logs that are surely still kept (inferred).
YOUNG = timedelta(days=7)
# How far back all logs are fetched, step by step, while vaults are left that have no success in them.
_STEPS = (timedelta(days=7), timedelta(days=30))
# So few vaults are always asked for one by one.
_FEW = 10
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
        self.latest = _later(self.latest, log)
        if log.end is Status.SUCCEEDED:
            self.good = _later(self.good, log)
        elif log.end in WENT_WRONG:
            self.bad = _later(self.bad, log)

    @property
    def running(self) -> OperationLog | None:
        """The sync that goes on: the last one, where it has not ended."""
        return self.latest if self.latest and self.latest.end is None else None

    @property
    def last_error(self) -> OperationLog | None:
        """The last sync that went wrong, unless one succeeded since."""
        healed = self.good and self.bad and self.good.created_at > self.bad.created_at
        return None if healed else self.bad


def _later(known: OperationLog | None, log: OperationLog) -> OperationLog:
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


def report_of(
    vaults: Iterable[Vault], histories: Histories, param: ReportParam, trigger: Trigger, now: datetime
) -> Report:
    """The report on these vaults at this moment."""
    rows = [_judge(vault, histories, param, now) for vault in vaults]
    rows.sort(key=lambda row: (_WORST_FIRST[row.state], -(row.age_hours or 0), row.name, row.vault_id))
    ages = [row.age_hours for row in rows if row.age_hours is not None]
    states = [row.state for row in rows]
    kept = {row.vault_id: _newest_first(histories.of[row.vault_id]) for row in rows}
    most = MAX_HISTORY // max(len(rows), 1)
    return Report(
        at=now,
        max_age_hours=param.max_age_hours,
        history_hours=param.history_hours,
        counts={state: states.count(state) for state in State if state in states},
        oldest_sync_age_hours=max(ages, default=None),
        vaults=tuple(rows),
        history={vault_id: tuple(map(_sync, logs[:most])) for vault_id, logs in kept.items() if logs},
        history_omitted=sum(max(len(logs) - most, 0) for logs in kept.values()),
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
        known = history.whole and _whole_life_is_known(vault, histories.complete_since, now)
        state = State.NEVER if known else State.UNKNOWN
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


def _whole_life_is_known(vault: Vault, complete_since: datetime | None, now: datetime) -> bool:
    """Whether a success of this vault would still be in the logs: it is young, or they go back that far."""
    if vault.created_at is None:
        return False
    return now - vault.created_at <= YOUNG or (
        complete_since is not None and complete_since <= vault.created_at
    )


def _newest_first(history: History) -> list[OperationLog]:
    return sorted(history.kept.values(), key=lambda log: log.created_at, reverse=True)


def _sync(log: OperationLog) -> Sync:
    ended = log.end is not None
    return Sync(
        operation_log_id=log.id,
        status=log.end or log.status,
        started_at=log.created_at,
        ended_at=log.ended_at if ended else None,
        progress=None if ended else log.progress,
        copies=log.copies if ended else None,
        error=log.error,
    )


class Reporter(NamedTuple):
    """Fetches what a report is judged by, until a deadline, a reading of ``retry.clock`` in seconds."""

    cbr: Cbr
    retry: Retry
    pace: Pace
    now: Callable[[], datetime]
    logger: Logger
    until: float

    def report(self, vaults: Sequence[Vault], param: ReportParam, trigger: Trigger) -> Report:
        """The report on these vaults, less those that were deleted meanwhile.

        What is older than the report's own hours is looked up as far as time allows: a vault whose last
        success could not be looked up is unknown.

        Raises:
            ApiError: and its kinds; the logs of the report's own hours cannot be listed.
            CredentialsRefused: at any time.
        """
        now = self.now()
        keep_since = now - timedelta(hours=param.history_hours) if param.history_hours else None
        histories = Histories((vault.id for vault in vaults), keep_since)
        first = timedelta(hours=max(param.max_age_hours, param.history_hours))
        histories.add(self._logs(since=now - first))
        gone = self._look_further(histories, now, first)
        there = [vault for vault in vaults if vault.id not in gone]
        self._look_whether_complete(there, histories, now)
        return report_of(there, histories, param, trigger, now)

    def _look_further(self, histories: Histories, now: datetime, first: timedelta) -> set[str]:
        """Look for the last success of those that have none yet; gives the vaults that are no more.

        All vaults at once, further and further back, until it takes fewer requests to ask for each that is
        left: only a failure of what is far back is no failure of the report.
        """
        try:
            for step in (*(step for step in _STEPS if step > first), None):
                since = now - step if step else None
                left = len(histories.without_success)
                if left <= _FEW or left * PAGE <= self.cbr.count_sync_logs(since=since, again=self._again):
                    break
                histories.add(self._logs(since=since))
                if step is None:
                    return set()
        except ApiError as error:
            self._give_up(histories, histories.without_success, error)
            return set()
        return {one for one in histories.without_success if not self._look_at(histories, one)}

    def _look_at(self, histories: Histories, vault_id: str) -> bool:
        """Take all logs of one vault into account; false where it is no more."""
        try:
            histories.add(self._logs(vault_id=vault_id), vault_id)
        except ApiError as error:
            if error.code == NO_SUCH_VAULT:
                return False
            self._give_up(histories, [vault_id], error)
        return True

    def _give_up(self, histories: Histories, vault_ids: Iterable[str], error: ApiError) -> None:
        """Judge these vaults without their older logs; refused keys are no matter of time."""
        if isinstance(error, CredentialsRefused):
            raise error
        for vault_id in vault_ids:
            histories.of[vault_id].whole = False
        self.logger.warning("older logs could not be read", extra={"reason": str(error)})

    def _look_whether_complete(self, vaults: Iterable[Vault], histories: Histories, now: datetime) -> None:
        """Where a vault has no success and no failure, ask whether logs go back to when it was made."""
        births = sorted(
            {
                vault.created_at
                for vault in vaults
                if vault.created_at and now - vault.created_at > YOUNG and _is_blank(histories.of[vault.id])
            }
        )
        try:
            covered = bisect_left(births, 1, key=self._is_covered)
        except ApiError as error:
            self._give_up(histories, (), error)
            return
        if covered < len(births):
            histories.complete_since = min(histories.complete_since or now, births[covered])

    def _is_covered(self, moment: datetime) -> int:
        return int(self.cbr.has_sync_logs_until(moment, again=self._again))

    def _logs(self, *, since: datetime | None = None, vault_id: str | None = None) -> Iterator[OperationLog]:
        return self.cbr.list_sync_logs(since=since, vault_id=vault_id, again=self._again)

    def _again(self, attempt: Callable[[], T]) -> T:
        return self.retry.call(attempt, until=self.until, retry_on=Retryable, pace=self.pace)


def _is_blank(history: History) -> bool:
    return history.whole and history.good is None and history.bad is None
