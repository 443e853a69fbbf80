"""Fetch what a report needs from ListVault and ListOpLogs: no state of our own."""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from cbr_sync.errors import ApiError, CredentialsRefusedError
from cbr_sync.huawei.cbr import NO_SUCH_VAULT, PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from aws_lambda_powertools import Logger

    from cbr_sync.huawei.cbr import Cbr, OperationLog, Vault
    from cbr_sync.models import Trigger
    from cbr_sync.reports.models import Report, ReportParam
    from cbr_sync.retry import Retry
from cbr_sync.reports.history import YOUNG_VAULT_AGE, Histories, History, build_report

T = TypeVar("T")
# How far back all logs are fetched, step by step, while vaults are left that have no success in them.
_LOOKBACK_STEPS = (timedelta(days=7), timedelta(days=30))
# So few vaults are always asked for one by one.
_FEW_VAULTS = 10


class Reporter:
    """Fetches what a report is judged by."""

    def __init__(self, *, cbr: Cbr, retry: Retry, now: Callable[[], datetime], logger: Logger) -> None:
        """Report over one project's API.

        Args:
            cbr: The API.
            retry: Calls a request again until the deadline.
            now: Tells the wall clock's time.
            logger: Gets what could not be read.
        """
        self._cbr = cbr
        self._retry = retry
        self._now = now
        self._logger = logger

    def report(self, vaults: Sequence[Vault], param: ReportParam, trigger: Trigger) -> Report:
        """The report on these vaults, less those that were deleted meanwhile.

        What is older than the report's own hours is looked up as far as time allows: a vault whose last
        success could not be looked up is unknown.

        Raises:
            ApiError: and its kinds; the logs of the report's own hours cannot be listed.
            CredentialsRefusedError: at any time.
        """
        now = self._now()
        keep_since = now - timedelta(hours=param.history_hours) if param.history_hours else None
        histories = Histories((vault.id for vault in vaults), keep_since)
        first = timedelta(hours=max(param.max_age_hours, param.history_hours))
        histories.add(self._logs(since=now - first))
        gone = self._look_further(histories, now, first)
        there = [vault for vault in vaults if vault.id not in gone]
        self._look_whether_complete(there, histories, now)
        return build_report(there, histories, param, trigger, now)

    def _look_further(self, histories: Histories, now: datetime, first: timedelta) -> set[str]:
        """Look for the last success of those that have none yet; gives the vaults that are no more.

        All vaults at once, further and further back, until it takes fewer requests to ask for each that is
        left: only a failure of what is far back is no failure of the report.
        """
        try:
            for step in (*(step for step in _LOOKBACK_STEPS if step > first), None):
                since = now - step if step else None
                left = len(histories.without_success)
                if left <= _FEW_VAULTS or left * PAGE <= self._cbr.count_sync_logs(
                    since=since, retry=self._retry
                ):
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
        if isinstance(error, CredentialsRefusedError):
            raise error
        for vault_id in vault_ids:
            histories.of[vault_id].whole = False
        self._logger.warning("older logs could not be read", extra={"reason": str(error)})

    def _look_whether_complete(self, vaults: Iterable[Vault], histories: Histories, now: datetime) -> None:
        """Where a vault has no success and no failure, ask whether logs go back to when it was made."""
        births = sorted(
            {
                vault.created_at
                for vault in vaults
                if vault.created_at
                and now - vault.created_at > YOUNG_VAULT_AGE
                and _is_blank(histories.of[vault.id])
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
        return int(self._cbr.has_sync_logs_until(moment, retry=self._retry))

    def _logs(self, *, since: datetime | None = None, vault_id: str | None = None) -> Iterator[OperationLog]:
        return self._cbr.list_sync_logs(since=since, vault_id=vault_id, retry=self._retry)


def _is_blank(history: History) -> bool:
    return history.whole and history.good is None and history.bad is None
