"""Every SyncParam gives one SyncOutcome, and every trigger starts at most one sync for each vault.

The API has no idempotency key, and platforms deliver events at least once. So the operation logs are looked
at before the first POST (a sync that began after the trigger serves that trigger), and again whenever a POST
may have arrived without an answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from cbr_sync.errors import (
    ApiError,
    CredentialsRefusedError,
    NotAcceptedError,
    OutcomeUnknownError,
    RetryableError,
)
from cbr_sync.huawei.cbr import SYNC_ALREADY_RUNNING, Cbr, OperationLog
from cbr_sync.models import OutcomeError, Status, SyncOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from aws_lambda_powertools import Logger

    from cbr_sync.models import Copies, SyncParam, Trigger
    from cbr_sync.retry import Retry, Throttle

# How far the API's clock and ours may be apart when its logs are searched for our POST.
CLOCK_MARGIN = timedelta(seconds=60)
# An older trigger is a sample event or an old dead letter: nothing in the logs can serve it.
TRIGGER_AGE = timedelta(hours=24)
# A log may not be visible at once: the waits, in seconds, before it is asked for again.
VISIBLE_WAITS = (1.0, 2.0)
# The waits between two looks at running operations grow from the first to the second, in seconds.
POLL_SECONDS = (1.0, 15.0)
# Looking first may take this share of the time that is left.
LOOK_SHARE = 0.5

Asked = tuple["SyncParam", "Trigger"]


class Progress(NamedTuple):
    """How far one vault is: ``state`` is an outcome's word, ``sending``, or the API's for what goes on."""

    vault_id: str
    state: str
    percent: int | None = None


@dataclass(eq=False, repr=False)
class _Run:
    """One vault's sync on its way."""

    param: SyncParam
    trigger: Trigger
    started_at: datetime
    began: float
    since: datetime | None = None  # what began from here on serves the trigger
    known: frozenset[str] = frozenset()  # the vault's logs from before the first POST
    posts: int = 0
    first_post_at: datetime | None = None
    in_doubt: bool = False  # a POST may have been taken without an answer
    operation_log_id: str | None = None
    adopted: bool = False
    already_running: bool = False
    log: OperationLog | None = None
    error: ApiError | None = None
    seconds: float = 0.0

    def adopt(self, log: OperationLog) -> None:
        """Take this operation for ours."""
        self.operation_log_id, self.log, self.adopted = log.id, log, True

    def serves(self, log: OperationLog) -> bool:
        """Whether an operation began after the trigger's own time, or may be what our POST started."""
        if self.since is not None and log.created_at >= self.since:
            return True
        posted = self.first_post_at if self.in_doubt else None
        return posted is not None and log.id not in self.known and log.created_at >= posted - CLOCK_MARGIN


class Syncer(NamedTuple):
    """Syncs vaults until a deadline, a reading of ``retry.clock`` in seconds."""

    cbr: Cbr
    retry: Retry
    pace: Throttle
    now: Callable[[], datetime]
    logger: Logger
    until: float
    concurrency: int = 16
    look_first: bool = True
    wait_seconds: float = 0.0
    watch: Callable[[Progress], None] = lambda _progress: None

    def sync_all(self, asked: Sequence[Asked]) -> list[SyncOutcome]:
        """One outcome for each, in the order asked; an error of the API is an outcome, not an exception."""
        now, begun = self.now(), self.retry.clock()
        runs = [_Run(param, trigger, now, begun, self._since(trigger)) for param, trigger in asked]
        self._look_first(runs)
        self._start_all([run for run in runs if run.operation_log_id is None])
        self._follow([run for run in runs if run.operation_log_id and not (run.log and run.log.ended)])
        return [outcome_of(run) for run in runs]

    def _look_first(self, runs: Sequence[_Run]) -> None:
        """Adopt what an earlier delivery of the same trigger has started: one look for all vaults."""
        times = [run.since for run in runs if run.since]
        if not (self.look_first and times):
            return
        until = self.retry.clock() + self.retry.remaining_seconds(self.until) * LOOK_SHARE
        try:
            logs = self._logs(until, since=min(times) - CLOCK_MARGIN)
        except ApiError as error:
            self.logger.warning("looking first failed", extra={"reason": str(error)})
            return
        by_vault: dict[str, list[OperationLog]] = {}
        for log in logs:
            by_vault.setdefault((log.vault_id or "").lower(), []).append(log)
        for run in runs:
            own = by_vault.get(run.param.vault_id, [])
            run.known = frozenset(log.id for log in own)
            if served := [log for log in own if run.serves(log)]:
                run.adopt(min(served, key=_begun))
                self._tell(run)

    def _since(self, trigger: Trigger) -> datetime | None:
        recent = trigger.time is not None and self.now() - trigger.time <= TRIGGER_AGE
        return trigger.time if recent else None

    def _start_all(self, runs: Sequence[_Run]) -> None:
        if len(runs) <= 1:
            for run in runs:
                self._start(run)
            return
        # Threads are for many vaults alone; a single one need not pay for the import.
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

        with ThreadPoolExecutor(min(self.concurrency, len(runs))) as pool:
            for _ in pool.map(self._start, runs):
                pass

    def _start(self, run: _Run) -> None:
        self.watch(Progress(run.param.vault_id, "sending"))
        run.began, run.started_at = self.retry.clock(), self.now()
        try:
            self.retry.call(
                lambda: self._post(run), until=self.until, retry_on=RetryableError, pace=self.pace
            )
        except ApiError as error:
            run.error = error
        run.seconds = self.retry.clock() - run.began
        self._tell(run)

    def _tell(self, run: _Run) -> None:
        self.watch(Progress(run.param.vault_id, _judge(run)[0]))

    def _post(self, run: _Run) -> None:
        """One attempt: send the POST, unless an earlier one turns out to have been taken."""
        if run.in_doubt and self._adopted(run):
            return
        run.first_post_at = run.first_post_at or self.now()
        try:
            run.operation_log_id = self.cbr.import_checkpoint(run.param)
        except ApiError as error:
            run.posts += error.sent
            run.in_doubt = run.in_doubt or isinstance(error, OutcomeUnknownError)
            if error.code != SYNC_ALREADY_RUNNING:
                raise
            self._find_running(run, error)
        else:
            run.posts += 1

    def _adopted(self, run: _Run) -> bool:
        """Whether the logs hold an operation that is ours; it may take a moment to be visible."""
        since = (run.first_post_at or run.started_at) - CLOCK_MARGIN
        for wait in (0.0, *VISIBLE_WAITS):
            if wait >= self.retry.remaining_seconds(self.until):
                raise NotAcceptedError(
                    "CbrSync.OutOfTime", "no time is left to look whether the request was taken"
                )
            self.retry.sleep(wait)
            logs = self.cbr.list_sync_logs(since=since, vault_id=run.param.vault_id)
            if ours := [log for log in logs if run.serves(log)]:
                run.adopt(max(ours, key=_begun))
                return True
        return False

    def _find_running(self, run: _Run, conflict: ApiError) -> None:
        """After 7302: adopt the running operation if it serves the trigger, else report it.

        Raises:
            NotAcceptedError: nothing runs any more; another POST may succeed.
        """
        for wait in (0.0, *VISIBLE_WAITS):
            if wait >= self.retry.remaining_seconds(self.until):
                break
            self.retry.sleep(wait)
            try:
                logs = list(self.cbr.list_sync_logs(vault_id=run.param.vault_id))
            except CredentialsRefusedError:  # one runs, that much is known; which one, we may not see
                run.already_running = True
                return
            if ours := [log for log in logs if run.serves(log)]:
                run.adopt(max(ours, key=_begun))
                return
            if running := [log for log in logs if not log.ended]:
                run.operation_log_id, run.already_running = max(running, key=_begun).id, True
                return
        raise NotAcceptedError(
            conflict.code, conflict.message, request_id=conflict.request_id, http_status=conflict.http_status
        )

    def _follow(self, runs: Sequence[_Run]) -> None:
        """Look at running operations until they have ended, or the time to wait is over."""
        until = min(self.until, self.retry.clock() + self.wait_seconds)
        running = {run.operation_log_id or "": run for run in runs if not run.already_running}
        wait, longest = POLL_SECONDS
        while running and wait < self.retry.remaining_seconds(until):
            self.retry.sleep(wait)
            try:
                logs = self._states(running)
            except CredentialsRefusedError as error:
                self.logger.warning("following is not allowed", extra={"reason": str(error)})
                return
            except ApiError as error:
                self.logger.warning("following failed, and goes on", extra={"reason": str(error)})
                logs = []
            for log in logs:
                run = running.get(log.id)
                if run and log.ended:
                    del running[log.id]
                    run.log = log
                    run.seconds = self.retry.clock() - run.began
                if run:
                    self.watch(Progress(run.param.vault_id, log.end or log.status, log.progress))
            wait = min(longest, wait * 1.5)

    def _states(self, running: dict[str, _Run]) -> Iterable[OperationLog]:
        """The operations as they are now: one GET for a single one, else one list for all."""
        if len(running) == 1:
            return [self.cbr.show_op_log(next(iter(running)))]
        begun = [run.log.created_at if run.log else run.started_at for run in running.values()]
        return list(self.cbr.list_sync_logs(since=min(begun) - CLOCK_MARGIN))

    def _logs(self, until: float, *, since: datetime) -> list[OperationLog]:
        return self.retry.call(
            lambda: list(self.cbr.list_sync_logs(since=since)),
            until=until,
            retry_on=RetryableError,
            pace=self.pace,
        )


def _begun(log: OperationLog) -> datetime:
    return log.created_at


def outcome_of(run: _Run) -> SyncOutcome:
    """What came of it all."""
    status, copies, error = _judge(run)
    return SyncOutcome(
        **run.param.model_dump(),
        status=status,
        operation_log_id=run.operation_log_id,
        adopted=run.adopted,
        copies=copies,
        error=error,
        attempts=run.posts,
        started_at=run.started_at,
        duration_seconds=round(run.seconds, 3),
        trigger=run.trigger,
    )


def _judge(run: _Run) -> tuple[Status, Copies | None, OutcomeError | None]:
    if run.error is not None:
        return status_of(run.error), None, describe(run.error)
    if run.already_running:
        return Status.ALREADY_RUNNING, None, None
    log = run.log
    if log is None or log.end is None:
        return Status.ACCEPTED, None, None
    return log.end, log.copies, log.error


def not_begun(param: SyncParam, trigger: Trigger, error: ApiError, now: datetime) -> SyncOutcome:
    """The outcome of a sync that was never sent, since something that it needs failed before."""
    return outcome_of(_Run(param, trigger, now, 0.0, error=error))


def status_of(error: ApiError) -> Status:
    """What an error makes of a sync."""
    return Status.UNFINISHED if isinstance(error, RetryableError) else Status.FAILED


def describe(error: ApiError) -> OutcomeError:
    """The error as an outcome shows it."""
    return OutcomeError(
        code=error.code, message=error.message, request_id=error.request_id, http_status=error.http_status
    )
