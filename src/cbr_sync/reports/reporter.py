"""Fetch what a report needs from ListVault and ListOpLogs: no state of our own."""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cbr_sync.errors import ApiError, CredentialsRefusedError
from cbr_sync.huawei.cbr import NO_SUCH_VAULT, PAGE
from cbr_sync.reports.history import YOUNG_VAULT_AGE, SyncHistory, build_report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from aws_lambda_powertools import Logger

    from cbr_sync.huawei.cbr import Cbr, OperationLog, Vault
    from cbr_sync.models import Trigger
    from cbr_sync.reports.models import Report, ReportParam
    from cbr_sync.retry import Retry

# How far back all logs are fetched, step by step, while vaults are left that have no success in them.
_LOOKBACK_STEPS = (timedelta(days=7), timedelta(days=30))
# So few vaults are always asked for one by one.
_FEW_VAULTS = 10


class Reporter:
    """Makes reports from the API's lists."""

    def __init__(self, *, cbr: Cbr, retry: Retry, now: Callable[[], datetime], logger: Logger) -> None:
        """Report over one project's API.

        Args:
            cbr: The API.
            retry: Calls a request again until the deadline.
            now: Returns the current time.
            logger: Gets what could not be read.
        """
        self._cbr = cbr
        self._retry = retry
        self._now = now
        self._logger = logger

    def report(self, vaults: Sequence[Vault], param: ReportParam, trigger: Trigger) -> Report:
        """Return the report on some vaults, without those that were deleted meanwhile.

        What is older than the report's own hours is looked up as far as time allows: a vault whose last
        success could not be looked up is unknown.

        Args:
            vaults: The vaults to report on.
            param: What was asked for.
            trigger: What asked.

        Raises:
            ApiError: The logs of the report's own hours cannot be listed.
            CredentialsRefusedError: The API refused the keys at any time.
        """
        now = self._now()
        history = SyncHistory(vault.id for vault in vaults)
        covered = timedelta(hours=max(param.max_age_hours, param.history_hours))
        list_since = now - timedelta(hours=param.history_hours) if param.history_hours else None
        history.add(self._list_logs(since=now - covered), list_since=list_since)
        deleted = self._read_older_logs(history, now, covered)
        left = [vault for vault in vaults if vault.id not in deleted]
        self._check_how_far_back(left, history, now)
        return build_report(left, history, param, trigger, now)

    def _read_older_logs(self, history: SyncHistory, now: datetime, covered: timedelta) -> set[str]:
        """Search older logs for a success of each vault that has none yet.

        All vaults at once, further and further back, until it takes fewer requests to ask for each vault that
        is left. A failure here does not fail the report.

        Args:
            history: What is known; takes what is found.
            now: The moment of the report.
            covered: How far back the logs were read already.

        Returns:
            The ids of the vaults that do not exist any more.
        """
        try:
            for step in (*(step for step in _LOOKBACK_STEPS if step > covered), None):
                since = now - step if step else None
                left = len(history.without_success)
                if left <= _FEW_VAULTS or left * PAGE <= self._cbr.count_sync_logs(
                    since=since, retry=self._retry
                ):
                    break
                history.add(self._list_logs(since=since))
                if step is None:
                    return set()
        except ApiError as error:
            self._mark_incomplete(history, history.without_success, error)
            return set()
        return {vault_id for vault_id in history.without_success if not self._read_vault(history, vault_id)}

    def _read_vault(self, history: SyncHistory, vault_id: str) -> bool:
        """Read all logs of one vault, and return whether it still exists."""
        try:
            history.add(self._list_logs(vault_id=vault_id), vault_id=vault_id)
        except ApiError as error:
            if error.code == NO_SUCH_VAULT:
                return False
            self._mark_incomplete(history, [vault_id], error)
        return True

    def _mark_incomplete(self, history: SyncHistory, vault_ids: Iterable[str], error: ApiError) -> None:
        """Judge these vaults without their older logs.

        Raises:
            CredentialsRefusedError: The error is one; no later request can do better.
        """
        if isinstance(error, CredentialsRefusedError):
            raise error
        for vault_id in vault_ids:
            history.by_vault[vault_id].is_complete = False
        self._logger.warning("older logs could not be read", extra={"reason": str(error)})

    def _check_how_far_back(self, vaults: Iterable[Vault], history: SyncHistory, now: datetime) -> None:
        """Find out how far back logs go, where a vault has no success and no failure in them."""
        births = sorted(
            {
                vault.created_at
                for vault in vaults
                if vault.created_at
                and now - vault.created_at > YOUNG_VAULT_AGE
                and history.by_vault[vault.id].is_blank
            }
        )
        try:
            # Logs that go back to one moment go back to all later ones.
            covered = bisect_left(
                births, 1, key=lambda birth: int(self._cbr.has_sync_logs_until(birth, retry=self._retry))
            )
        except ApiError as error:
            self._mark_incomplete(history, (), error)
            return
        if covered < len(births):
            history.complete_since = min(history.complete_since or now, births[covered])

    def _list_logs(
        self, *, since: datetime | None = None, vault_id: str | None = None
    ) -> Iterator[OperationLog]:
        return self._cbr.list_sync_logs(since=since, vault_id=vault_id, retry=self._retry)
