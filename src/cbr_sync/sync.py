"""Every trigger and vault gives one SyncOutcome, and no trigger with a time starts two syncs of a vault.

The API has no idempotency key, and platforms deliver events at least once. So the operations are listed
before the first POST (a sync that began after the trigger serves that trigger), and again whenever a POST may
have arrived without an answer, or one is refused since another sync runs.
"""

from __future__ import annotations

import threading
from datetime import timedelta
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from cbr_sync.errors import ApiError, NotAcceptedError, OutcomeUnknownError, RetryableError
from cbr_sync.huawei.cbr import SYNC_ALREADY_RUNNING
from cbr_sync.huawei.clock import TOLERANCE
from cbr_sync.models import OutcomeError, Status, SyncOutcome, SyncParam
from cbr_sync.threads import call_until, run_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from aws_lambda_powertools import Logger

    from cbr_sync.clock import Clock
    from cbr_sync.huawei.cbr import Cbr, OperationLog
    from cbr_sync.huawei.clock import ApiClock
    from cbr_sync.models import Copies, Trigger
    from cbr_sync.retry import Retrier, Throttle

# An older trigger is a sample event or an old dead-lettered one: no operation can serve it.
MAX_TRIGGER_AGE = timedelta(hours=24)
# No operation is expected to run for longer than this.
MAX_RUNNING_AGE = timedelta(days=7)
# When to look for an operation that a POST may have started, in seconds after it.
LOOK_SECONDS = (0.0, 1.0, 3.0, 7.0)
# The waits between two looks at running operations grow from the first to the second, in seconds.
POLL_SECONDS = (1.0, 15.0)
# The duplicate check may take this share of the time that is left, and so many seconds at most.
CHECK_SHARE, CHECK_SECONDS = 0.5, 30.0
# The look that ends the waiting is begun so long before the deadline, in seconds.
LAST_LOOK_SECONDS = 2.0


class Progress(NamedTuple):
    """How far one vault is.

    Attributes:
        vault_id: The vault.
        state: An outcome's status, ``sending``, or the API's word for what goes on.
        percent: How far the operation is; None where nobody knows.
    """

    vault_id: str
    state: str
    percent: int | None = None


class SyncTask(NamedTuple):
    """One vault that one trigger asks to sync.

    Attributes:
        param: The vault, and whether its sync counts as automatic.
        trigger: What asked.
        vault_name: The vault's name, where it is known.
        unavailable: Why the vault cannot be synced as it is; None where it can.
        since: What began from here on serves it; by the trigger's time, if left out.
    """

    param: SyncParam
    trigger: Trigger
    vault_name: str | None = None
    unavailable: str | None = None
    since: datetime | None = None


def find_serving_time(trigger: Trigger, now: datetime) -> datetime | None:
    """Return from when on a sync serves a trigger; None where only one that its own run starts does."""
    time = trigger.time
    return time if time and now - time <= MAX_TRIGGER_AGE else None


class Claim:
    """One trigger's claim to a sync of its vault, and the operation that serves it.

    Attributes:
        task: What the trigger asks for.
        since: What began from here on, on our clock, serves it; None is served by an own POST alone.
        operation_log_id: The operation that serves it; None as long as there is none.
        log: That operation as it was last seen.
        adopted: Whether the operation was found, not answered to our POST.
        outcome: Set once, when it is final.
    """

    def __init__(self, task: SyncTask, now: datetime) -> None:
        """Wait for an operation."""
        self.task = task
        self.since = task.since or find_serving_time(task.trigger, now)
        self.operation_log_id: str | None = None
        self.log: OperationLog | None = None
        self.adopted = False
        self.outcome: SyncOutcome | None = None

    def adopt(self, log: OperationLog) -> None:
        """Be served by an operation that was found."""
        self.log, self.operation_log_id, self.adopted = log, log.id, True

    @property
    def is_served(self) -> bool:
        """Whether an operation serves it."""
        return self.operation_log_id is not None

    @property
    def is_followed(self) -> bool:
        """Whether an operation serves it that has not been seen to end."""
        return self.is_served and not (self.log and self.log.is_ended)


class VaultSync:
    """The sync of one vault under way, for every trigger that asks for it.

    Attributes:
        claims: The triggers.
        started_at: When the first POST was sent or, before that, when the run began.
        known: Ids of operations from before the first POST.
        attempts: POSTs sent.
        posted_at: When the first POST was sent, on our clock.
        is_doubtful: Whether a POST may have been accepted without an answer.
        is_blocked: Whether an older operation keeps ours from being started.
        older: That operation; None where it may not be listed.
        error: Why the POSTs were given up.
    """

    def __init__(self, claims: Sequence[Claim], clock: Clock, api_clock: ApiClock) -> None:
        """Begin now.

        Args:
            claims: As the attribute.
            clock: Our clock.
            api_clock: How far the API's is off it.
        """
        self.claims = claims
        self._api_clock = api_clock
        self.started_at = clock.now()
        self.began = clock.monotonic()
        self.seconds = 0.0
        self.known: frozenset[str] = frozenset()
        self.attempts = 0
        self.posted_at: datetime | None = None
        self.is_doubtful = False
        self.is_blocked = False
        self.older: OperationLog | None = None
        self.error: ApiError | None = None

    @property
    def vault_id(self) -> str:
        """The vault."""
        return self.claims[0].task.param.vault_id

    @property
    def open_claims(self) -> list[Claim]:
        """The triggers that no operation serves yet."""
        return [claim for claim in self.claims if not claim.is_served]

    @property
    def is_going_on(self) -> bool:
        """Whether waiting may bring news: an operation is followed, or an older one awaited."""
        return self.is_blocked or any(claim.is_followed for claim in self.claims)

    def build_param(self) -> SyncParam:
        """Return what a POST asks for: automatic only if every trigger that is left says so."""
        auto_trigger = all(claim.task.param.auto_trigger for claim in self.open_claims)
        return SyncParam(vault_id=self.vault_id, auto_trigger=auto_trigger)

    def adopt_serving(self, logs: Iterable[OperationLog]) -> None:
        """Let every trigger that is left adopt the first operation that began after it.

        An operation that was skipped never ran, and serves nobody.
        """
        candidates = sorted(
            (log for log in logs if log.end_status is not Status.SKIPPED), key=_get_created_at
        )
        for claim in self.open_claims:
            if claim.since is not None:
                since = self._api_clock.convert_start(claim.since)
                if log := next((log for log in candidates if log.created_at >= since), None):
                    claim.adopt(log)

    def adopt_own(self, logs: Iterable[OperationLog]) -> None:
        """Let the triggers that are left adopt what a doubtful POST has started, if it is among these."""
        if not (self.is_doubtful and self.posted_at):
            return
        since = self._api_clock.convert(self.posted_at) - TOLERANCE
        own = [log for log in logs if log.id not in self.known and log.created_at >= since]
        if own:
            for claim in self.open_claims:
                claim.adopt(max(own, key=_get_created_at))

    def note_older(self, logs: Iterable[OperationLog]) -> None:
        """Note the operation that still runs and does not serve every trigger, if one is among these."""
        running = [log for log in logs if not log.is_ended]
        self.older = max(running, key=_get_created_at, default=None)
        self.is_blocked = self.older is not None and bool(self.open_claims)


class Syncer:
    """Syncs vaults until a deadline."""

    def __init__(  # noqa: PLR0913 - all but the first by name
        self,
        *,
        cbr: Cbr,
        api_clock: ApiClock,
        retrier: Retrier,
        throttle: Throttle,
        logger: Logger,
        deadline: float,
        concurrency: int = 16,
        check_duplicates: bool = True,
        wait_seconds: float = 0.0,
        on_progress: Callable[[Progress], None] = lambda _: None,
        on_outcome: Callable[[SyncOutcome], None] = lambda _: None,
    ) -> None:
        """Sync over one project's API.

        Args:
            cbr: The API.
            api_clock: How far its clock is off ours.
            retrier: Repeats attempts; its clock is ours.
            throttle: The pace of the API.
            logger: Gets what goes wrong beside the outcomes.
            deadline: Reading of the clock, in seconds; nothing is sent after it.
            concurrency: How many POSTs are under way at the same time, at most.
            check_duplicates: Whether operations are listed before the first POST.
            wait_seconds: How long older syncs are waited for, and ours followed.
            on_progress: Called with each vault's progress, from several threads.
            on_outcome: Called with each outcome as soon as it is final, from several threads.
        """
        self._cbr = cbr
        self._api_clock = api_clock
        self._retrier = retrier
        self._clock: Clock = retrier.clock
        self._throttle = throttle
        self._logger = logger
        self._deadline = deadline
        self._concurrency = concurrency
        self._check_duplicates = check_duplicates
        self._wait_seconds = wait_seconds
        self._on_progress = on_progress
        self._on_outcome = on_outcome
        self._settling = threading.Lock()

    def sync_all(self, tasks: Sequence[SyncTask]) -> list[SyncOutcome]:
        """Return one outcome for each task, in their order; an error of the API is an outcome."""
        now = self._clock.now()
        claims = [Claim(task, now) for task in tasks]
        syncs = self._group(claims)
        if self._check_duplicates:
            self._adopt_duplicates(syncs)
        wait_end = self._clock.monotonic() + self._wait_seconds
        self._start_all([sync for sync in syncs if sync.open_claims and not sync.is_blocked])
        if self._wait_seconds > 0:
            self._follow(syncs, wait_end)
        for sync in syncs:
            self._settle(sync, is_final=True)
        return [claim.outcome or build_skipped_outcome(claim.task, self._clock.now()) for claim in claims]

    def _group(self, claims: Iterable[Claim]) -> list[VaultSync]:
        """Return one sync for each vault that can be synced."""
        by_vault: dict[str, list[Claim]] = {}
        for claim in claims:
            if claim.task.unavailable is None:
                by_vault.setdefault(claim.task.param.vault_id, []).append(claim)
            else:
                claim.outcome = build_skipped_outcome(claim.task, self._clock.now())
                self._on_outcome(claim.outcome)
        return [VaultSync(own, self._clock, self._api_clock) for own in by_vault.values()]

    # The duplicate check

    def _adopt_duplicates(self, syncs: Sequence[VaultSync]) -> None:
        """Adopt what an earlier delivery of the same triggers has started: one list for all vaults."""
        times = [claim.since for sync in syncs for claim in sync.claims if claim.since]
        if not times:
            return
        share = self._clock.remaining_seconds(self._deadline) * CHECK_SHARE
        deadline = self._clock.monotonic() + min(share, CHECK_SECONDS)
        logs = self._list_for_check({sync.vault_id for sync in syncs}, min(times), deadline)
        if logs is None:
            return
        for sync in syncs:
            own = logs.get(sync.vault_id, [])
            sync.known = frozenset(log.id for log in own)
            sync.adopt_serving(own)
            sync.note_older(own)
            self._settle(sync)

    def _list_for_check(
        self, vault_ids: set[str], since: datetime, deadline: float
    ) -> dict[str, list[OperationLog]] | None:
        """Return the operations of these vaults since a moment on our clock; None if that fails."""
        begin = self._api_clock.convert(since) - self._api_clock.margin - TOLERANCE
        cbr = self._cbr.limit_to(deadline)
        retry = self._retrier.bind(deadline=deadline, throttle=self._throttle)

        def list_logs() -> dict[str, list[OperationLog]]:
            found: dict[str, list[OperationLog]] = {}
            for log in cbr.list_sync_logs(since=begin, retry=retry):
                if (vault_id := (log.vault_id or "").lower()) in vault_ids:
                    found.setdefault(vault_id, []).append(log)
            return found

        try:
            return call_until(deadline, list_logs, clock=self._clock)
        except ApiError as error:
            reason = str(error)
        except Exception as error:  # it must not keep the POSTs from being sent
            self._logger.exception("unexpected error in the duplicate check")
            reason = type(error).__name__
        self._logger.warning("could not list operations before the first POST", extra={"reason": reason})
        return None

    # The POSTs

    def _start_all(self, syncs: Sequence[VaultSync]) -> None:
        jobs = [partial(self._start, sync) for sync in syncs]
        run_until(self._deadline, jobs, clock=self._clock, concurrency=self._concurrency)

    def _start(self, sync: VaultSync) -> Iterator[float]:
        """Start the sync of one vault, or find out why not; raises nothing.

        Yields:
            For how many seconds it has to wait, which holds up no other vault.
        """
        self._on_progress(Progress(sync.vault_id, "sending"))
        if not sync.attempts:
            sync.began, sync.started_at = self._clock.monotonic(), self._clock.now()
        try:
            yield from self._retrier.iterate(
                partial(self._attempt, sync), deadline=self._deadline, throttle=self._throttle
            )
        except ApiError as error:
            sync.error = error
        except Exception as error:  # one vault must not take the others with it
            self._logger.exception("unexpected error in a sync", extra={"vault_id": sync.vault_id})
            sync.error = OutcomeUnknownError("CbrSync.UnexpectedError", type(error).__name__)
        sync.seconds = self._clock.monotonic() - sync.began
        if not (sync.error or sync.open_claims):
            self._on_progress(Progress(sync.vault_id, Status.ACCEPTED))
        self._settle(sync)

    def _attempt(self, sync: VaultSync) -> None:
        """Send one POST, and find out what became of it where that is not certain."""
        sync.posted_at = sync.posted_at or self._clock.now()
        try:
            operation_log_id = self._cbr.import_checkpoint(sync.build_param())
        except ApiError as error:
            sync.attempts += error.sent
            if error.code == SYNC_ALREADY_RUNNING:
                self._resolve_conflict(sync, error)
            elif isinstance(error, OutcomeUnknownError):
                sync.is_doubtful = True
                self._resolve_doubt(sync, error)
            else:
                raise
        else:
            sync.attempts += 1
            for claim in sync.open_claims:
                claim.operation_log_id = operation_log_id

    def _resolve_doubt(self, sync: VaultSync, error: OutcomeUnknownError) -> None:
        """Adopt what the POST has started; where nobody can look, no second one is sent.

        Raises:
            OutcomeUnknownError: It has started nothing; another POST may.
        """
        try:
            for logs in self._look(sync, sync.posted_at or sync.started_at):
                sync.adopt_own(logs)
                if not sync.open_claims:
                    return
        except ApiError as reason:
            self._logger.warning("could not look for the operation", extra=_explain(sync, reason))
            sync.error = error
            return
        raise error

    def _resolve_conflict(self, sync: VaultSync, conflict: ApiError) -> None:
        """Adopt the operation that keeps ours from being started, or note that it is older.

        Raises:
            NotAcceptedError: Nothing runs any more; another POST may start ours.
        """
        since = self._clock.now() - MAX_RUNNING_AGE
        try:
            for logs in self._look(sync, since, LOOK_SECONDS if sync.is_doubtful else (0.0,)):
                sync.adopt_serving(logs)
                sync.adopt_own(logs)
                sync.note_older(logs)
                if sync.is_blocked or not sync.open_claims:
                    return
        except ApiError as reason:
            self._logger.warning("could not look for the running operation", extra=_explain(sync, reason))
            sync.is_blocked = True
            return
        raise NotAcceptedError(
            conflict.code, conflict.message, request_id=conflict.request_id, http_status=conflict.http_status
        )

    def _look(
        self, sync: VaultSync, since: datetime, moments: Sequence[float] = LOOK_SECONDS
    ) -> Iterator[list[OperationLog]]:
        """Yield the vault's operations since then, as they are at these moments from now on.

        Raises:
            ApiError: They cannot be listed, or the time is over.
        """
        for before, moment in pairwise((0.0, *moments)):
            if moment - before >= self._clock.remaining_seconds(self._deadline):
                raise NotAcceptedError("CbrSync.OutOfTime", "no time is left to look", sent=False)
            self._clock.sleep(moment - before)
            yield self._list(since, sync.vault_id, self._deadline)

    def _list(self, since: datetime, vault_id: str | None, deadline: float) -> list[OperationLog]:
        """Return the operations that began since a moment of our clock, and perhaps a few before."""
        begin = self._api_clock.convert(since) - self._api_clock.margin - TOLERANCE
        retry = self._retrier.bind(deadline=deadline, throttle=self._throttle)
        cbr = self._cbr.limit_to(deadline)
        return list(cbr.list_sync_logs(since=begin, vault_id=vault_id, retry=retry))

    # Waiting

    def _follow(self, syncs: Sequence[VaultSync], wait_end: float) -> None:
        """Wait for older operations and follow ours, until they have ended or the time to wait is over."""
        end = min(wait_end, self._deadline - LAST_LOOK_SECONDS)
        wait, longest = POLL_SECONDS
        while going_on := [sync for sync in syncs if sync.is_going_on]:
            remaining = self._clock.remaining_seconds(end)
            if remaining <= 0:
                return
            self._clock.sleep(min(wait, remaining))
            wait = min(longest, wait * 1.5)
            try:
                self._look_at(going_on, end + LAST_LOOK_SECONDS)
            except ApiError as error:
                self._logger.warning("could not follow the operations", extra={"reason": str(error)})
                return
            except Exception:  # what was started stays started, and every vault gets its outcome
                self._logger.exception("unexpected error while following the operations")
                return
            self._start_all([sync for sync in going_on if sync.open_claims and not sync.is_blocked])
            for sync in going_on:
                self._settle(sync)

    def _look_at(self, syncs: Sequence[VaultSync], deadline: float) -> None:
        """See how the operations are that are followed or awaited: one list for all.

        Raises:
            ApiError: They cannot be listed.
        """
        offset = self._api_clock.offset
        since = min(moment for sync in syncs for moment in _list_beginnings(sync, offset))
        vault_id = syncs[0].vault_id if len(syncs) == 1 else None
        logs = call_until(deadline, partial(self._list, since, vault_id, deadline), clock=self._clock)
        by_id = {log.id: log for log in logs}
        for sync in syncs:
            for claim in sync.claims:
                if log := by_id.get(claim.operation_log_id or ""):
                    claim.log = log
                    self._on_progress(Progress(sync.vault_id, log.end_status or log.status, log.progress))
            if sync.is_blocked:
                own = [log for log in logs if (log.vault_id or "").lower() == sync.vault_id]
                sync.adopt_serving(own)
                sync.note_older(own)
            sync.seconds = self._clock.monotonic() - sync.began

    # Outcomes

    def _settle(self, sync: VaultSync, *, is_final: bool = False) -> None:
        """Build the outcomes that are final, each once."""
        waits = self._wait_seconds > 0 and not is_final
        with self._settling:
            for claim in sync.claims:
                if claim.outcome is None and (is_final or _is_decided(sync, claim, waits=waits)):
                    claim.outcome = build_outcome(sync, claim)
                    self._on_progress(Progress(sync.vault_id, claim.outcome.status))
                    self._on_outcome(claim.outcome)


def _is_decided(sync: VaultSync, claim: Claim, *, waits: bool) -> bool:
    """Return whether nothing more will happen to a claim in this run."""
    if claim.is_served:
        return not (waits and claim.is_followed)
    return sync.error is not None or (sync.is_blocked and not waits)


def _explain(sync: VaultSync, reason: ApiError) -> dict[str, str]:
    return {"vault_id": sync.vault_id, "reason": str(reason)}


def _get_created_at(log: OperationLog) -> datetime:
    return log.created_at


def _list_beginnings(sync: VaultSync, offset: timedelta) -> Iterator[datetime]:
    """Yield when the operations began that this sync follows or waits for, on our clock."""
    for log in (sync.older, *(claim.log for claim in sync.claims)):
        if log is not None:
            yield log.created_at - offset
    if sync.posted_at:
        yield sync.posted_at


def build_outcome(sync: VaultSync, claim: Claim) -> SyncOutcome:
    """Return what became of one trigger's claim."""
    status, copies, error = _judge(sync, claim)
    log = claim.log or sync.older
    older_id = sync.older.id if status is Status.ALREADY_RUNNING and sync.older else None
    return SyncOutcome(
        **claim.task.param.model_dump(),
        vault_name=claim.task.vault_name or (log.vault_name if log else None),
        status=status,
        operation_log_id=older_id or claim.operation_log_id,
        adopted=claim.adopted,
        copies=copies,
        error=error,
        attempts=sync.attempts,
        started_at=sync.started_at,
        duration_seconds=round(sync.seconds, 3),
        trigger=claim.task.trigger,
    )


def _judge(sync: VaultSync, claim: Claim) -> tuple[Status, Copies | None, OutcomeError | None]:
    if claim.is_served:
        log = claim.log
        if log is None or log.end_status is None:
            return Status.ACCEPTED, None, None
        return log.end_status, log.copies, log.error
    error = sync.error
    if sync.is_blocked or (error and error.code == SYNC_ALREADY_RUNNING):
        return Status.ALREADY_RUNNING, None, None
    if error is None:
        error = NotAcceptedError(
            "CbrSync.OutOfTime", "the run's time was used up before the API had answered"
        )
    return choose_status(error), None, describe_error(error)


def build_skipped_outcome(task: SyncTask, now: datetime) -> SyncOutcome:
    """Return the outcome of a vault that cannot be synced as it is."""
    error = OutcomeError(code="CbrSync.VaultNotAvailable", message=task.unavailable or "")
    return _build_unsent(task, Status.SKIPPED, error, now)


def build_unsent_outcome(task: SyncTask, error: ApiError, now: datetime) -> SyncOutcome:
    """Return the outcome of a sync that was never sent, since something that it needs failed before."""
    return _build_unsent(task, choose_status(error), describe_error(error), now)


def _build_unsent(task: SyncTask, status: Status, error: OutcomeError, now: datetime) -> SyncOutcome:
    return SyncOutcome(
        **task.param.model_dump(),
        vault_name=task.vault_name,
        status=status,
        error=error,
        attempts=0,
        started_at=now,
        duration_seconds=0,
        trigger=task.trigger,
    )


def choose_status(error: ApiError) -> Status:
    """Return what an error makes of a sync."""
    return Status.UNFINISHED if isinstance(error, RetryableError) else Status.FAILED


def describe_error(error: ApiError) -> OutcomeError:
    """Return the error as an outcome shows it."""
    return OutcomeError(
        code=error.code, message=error.message, request_id=error.request_id, http_status=error.http_status
    )
