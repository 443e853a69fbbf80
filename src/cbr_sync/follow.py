"""Every sync followed to its end, whoever started it, without a store.

A tick owns an interval of the API's time. What ended or crossed a line inside it is found in the logs alone.
So whoever delivers the same tick again finds the same, and no two ticks of one schedule own the same moment.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, NamedTuple, assert_never

from pydantic import AfterValidator, Field, StrictInt

from cbr_sync.models import WENT_WRONG, Frozen, Status, VaultSelector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cbr_sync.huawei.cbr import OperationLog, Vault

# Periods that divide an hour, so that every hour has the same ticks.
PERIODS = (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60)
MAX_HOURS = 192
MAX_SETTLE_MINUTES = 60
# A platform may name the moment of firing instead of the scheduled one, or one that is a little earlier.
_EARLY = timedelta(seconds=30)
# Logs are read so much further back than any line that may be crossed.
_MARGIN = timedelta(hours=24)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# How an operation ended that we have no word for.
UNKNOWN = "unknown"

Hours = Annotated[float, Field(strict=True, gt=0, le=MAX_HOURS, allow_inf_nan=False)]


def _check_period(minutes: int) -> int:
    if minutes not in PERIODS:
        raise ValueError("not a period that divides an hour")
    return minutes


class FollowParam(Frozen):
    """The options of a tick.

    Attributes:
        every_minutes: The period of the ticks, one of `PERIODS`.
        max_age_hours: A vault is stale if its last success began longer ago than this.
        overdue_hours: An operation is overdue if it runs for longer than this.
        settle_minutes: How long after its end an operation may still show as running.
    """

    every_minutes: Annotated[StrictInt, AfterValidator(_check_period)]
    max_age_hours: Hours = 26
    overdue_hours: Hours = 12
    settle_minutes: Annotated[float, Field(strict=True, ge=0, le=MAX_SETTLE_MINUTES, allow_inf_nan=False)] = 5


class FollowForm(Frozen):
    """The payload ``{"follow": {...}, "vaults": {...}}``; without ``vaults``, it is about all of them."""

    follow: FollowParam
    vaults: VaultSelector = VaultSelector()


class Interval(NamedTuple):
    """What a tick owns: ``(start, end]``.

    Attributes:
        slot: The tick's scheduled moment.
        start: The last moment of the tick before.
        end: The last moment of this one.
        logs_since: Operations that began earlier are not looked at.
    """

    slot: datetime
    start: datetime
    end: datetime
    logs_since: datetime

    def has_moment(self, moment: datetime) -> bool:
        """Return whether a moment lies in it."""
        return self.start < moment <= self.end


def find_interval(time: datetime, param: FollowParam) -> Interval:
    """Return the interval of a tick that fired at *time*: 30 s early to 30 s less than a period late.

    Args:
        time: The event's time; no clock of ours has a say.
        param: The options of the tick.
    """
    period = timedelta(minutes=param.every_minutes)
    slot = _EPOCH + (time - _EPOCH + _EARLY) // period * period
    end = slot - timedelta(minutes=param.settle_minutes)
    window = timedelta(hours=max(param.max_age_hours, param.overdue_hours)) + _MARGIN
    return Interval(slot, end - period, end, slot - window)


class Sync(NamedTuple):
    """What is kept of each operation.

    Attributes:
        ended_at: When it ended; None while it runs.
        created_at: When it began.
        id: Its operation_log_id.
        status: How it ended; None while it runs, and for an end that we have no word for.
    """

    ended_at: datetime | None
    created_at: datetime
    id: str
    status: Status | None


class EdgeKind(StrEnum):
    """A line that was crossed, as the type of its event names it."""

    OVERDUE = "operation.overdue"
    BECAME_STALE = "vault.became_stale"
    RECOVERED = "vault.recovered"


class Edge(NamedTuple):
    """A line that was crossed.

    Attributes:
        kind: Which one.
        vault_id: The vault.
        vault_name: Its name; None where it is not known.
        at: When it was crossed, by the API's clock.
        sync: What crossed it: the operation that is overdue, the success that grew too old, or the new one.
        before: The success before the new one, of an edge ``recovered``; else None.
        limit_hours: The limit that was crossed.
    """

    kind: EdgeKind
    vault_id: str
    vault_name: str | None
    at: datetime
    sync: Sync
    before: Sync | None
    limit_hours: float


class EndedSync(NamedTuple):
    """An operation that ended inside the interval.

    Attributes:
        log: The operation.
        status: How it ended: an outcome's status, or ``unknown``.
        vault_id: The vault.
        vault_name: Its name; None where it is not known.
        ended_at: When.
        last_success_at: When the last success began that ended before it; None where the logs show none.
    """

    log: OperationLog
    status: str
    vault_id: str
    vault_name: str | None
    ended_at: datetime
    last_success_at: datetime | None


class FollowResult(NamedTuple):
    """What happened in the interval of a tick.

    Attributes:
        interval: The interval.
        ended: The operations that ended in it, in the order of their ends.
        edges: The lines that were crossed in it, in the order in which they were.
    """

    interval: Interval
    ended: tuple[EndedSync, ...] = ()
    edges: tuple[Edge, ...] = ()

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to report."""
        return not (self.ended or self.edges)

    @property
    def counts(self) -> dict[str, int]:
        """How many operations ended with each status, and how many edges of each kind there are."""
        statuses = Counter(f"operation.{one.status}" for one in self.ended)
        return dict(statuses + Counter(str(edge.kind) for edge in self.edges))


def find_end(log: OperationLog) -> datetime | None:
    """Return when an operation ended, by the API's clock; None while it runs, or where nothing says when."""
    return (log.ended_at or log.updated_at) if log.is_ended else None


class VaultLogs:
    """The operations of one vault in the window, as of any moment of the interval."""

    def __init__(self, syncs: Iterable[Sync]) -> None:
        """Sort them by their ends."""
        self._syncs = list(syncs)
        self._ended = sorted(
            (sync for sync in self._syncs if sync.ended_at), key=lambda sync: (sync.ended_at, *sync[1:3])
        )

    def find_success_before(self, moment: datetime, than: Sync | None = None) -> Sync | None:
        """Return the success that began last, of those that had ended by a moment, and before *than*."""
        successes = [sync for sync in self._list_ended(moment, than) if sync.status is Status.SUCCEEDED]
        return max(successes, key=lambda sync: (sync.created_at, sync.id), default=None)

    def find_edges(self, interval: Interval, param: FollowParam) -> Iterator[tuple[EdgeKind, datetime, Sync]]:
        """Yield the lines that were crossed inside the interval: which, when, and by which operation."""
        overdue, max_age = timedelta(hours=param.overdue_hours), timedelta(hours=param.max_age_hours)
        crossings = [
            *((EdgeKind.OVERDUE, sync.created_at + overdue, sync) for sync in self._syncs),
            *((EdgeKind.BECAME_STALE, sync.created_at + max_age, sync) for sync in self._ended),
            *((EdgeKind.RECOVERED, sync.ended_at, sync) for sync in self._ended if sync.ended_at),
        ]
        for kind, at, sync in crossings:
            if interval.has_moment(at) and self._is_crossing(kind, at, sync, max_age):
                yield kind, at, sync

    def _is_crossing(self, kind: EdgeKind, at: datetime, sync: Sync, max_age: timedelta) -> bool:
        """Return whether an operation has really crossed a line at the moment at which it can have."""
        match kind:
            case EdgeKind.OVERDUE:
                return sync.ended_at is None or sync.ended_at > at
            case EdgeKind.BECAME_STALE:
                return self.find_success_before(at) == sync
            case EdgeKind.RECOVERED:
                return self._is_recovery(sync, max_age)
            case _:
                assert_never(kind)

    def _is_recovery(self, sync: Sync, max_age: timedelta) -> bool:
        """Return whether a vault that was failing or stale has a success again.

        A skipped operation never ran, and one with an end that we have no word for says nothing.
        """
        if sync.status is not Status.SUCCEEDED or sync.ended_at is None:
            return False
        before = self.find_success_before(sync.ended_at, sync)
        if before is None:
            return False
        judged = [
            one
            for one in self._list_ended(sync.ended_at, sync)
            if one.status is Status.SUCCEEDED or one.status in WENT_WRONG
        ]
        return judged[-1].status in WENT_WRONG or sync.ended_at - before.created_at > max_age

    def _list_ended(self, moment: datetime, than: Sync | None) -> list[Sync]:
        before = self._ended if than is None else self._ended[: self._ended.index(than)]
        return [sync for sync in before if sync.ended_at and sync.ended_at <= moment]


class FollowLogs:
    """The operations of all vaults in a tick's window.

    Whole logs are kept of those alone that ended inside the interval; of the others a few fields.
    """

    def __init__(self, interval: Interval, param: FollowParam, vault_ids: Iterable[str] | None) -> None:
        """Collect for one tick.

        Args:
            interval: The tick's interval.
            param: The options of the tick.
            vault_ids: The vaults in scope; None for all.
        """
        self._interval = interval
        self._param = param
        self._vault_ids = None if vault_ids is None else frozenset(vault_ids)
        self._by_vault: dict[str, dict[str, Sync]] = {}
        self._ended: dict[str, OperationLog] = {}

    def add(self, log: OperationLog) -> None:
        """Take a log into account; of one that arrives on two pages, the one that says that it has ended."""
        vault_id, ended_at = (log.vault_id or "").lower(), find_end(log)
        if not self._is_in_scope(vault_id, log) or (log.is_ended and ended_at is None):
            return
        syncs = self._by_vault.setdefault(vault_id, {})
        if ended_at is not None or log.id not in syncs:
            syncs[log.id] = Sync(ended_at, log.created_at, log.id, log.end_status)
        if ended_at is not None and self._interval.has_moment(ended_at):
            self._ended[log.id] = log

    def _is_in_scope(self, vault_id: str, log: OperationLog) -> bool:
        is_in_window = self._interval.logs_since <= log.created_at <= self._interval.slot
        return is_in_window and bool(vault_id) and (self._vault_ids is None or vault_id in self._vault_ids)

    def build_result(self) -> FollowResult:
        """Return what happened in the interval, without any name that no log shows."""
        ended: list[EndedSync] = []
        edges: list[Edge] = []
        for vault_id, syncs in self._by_vault.items():
            logs = VaultLogs(syncs.values())
            ended += self._list_ended(vault_id, syncs, logs)
            edges += self._list_edges(vault_id, logs)
        ended.sort(key=lambda one: (one.ended_at, one.log.id))
        edges.sort(key=lambda edge: (edge.at, edge.kind, edge.sync.id))
        return FollowResult(self._interval, tuple(ended), tuple(edges))

    def _list_ended(self, vault_id: str, syncs: dict[str, Sync], logs: VaultLogs) -> Iterator[EndedSync]:
        for log in [self._ended[log_id] for log_id in syncs if log_id in self._ended]:
            sync = syncs[log.id]
            if sync.ended_at and self._interval.has_moment(sync.ended_at):
                before = logs.find_success_before(sync.ended_at, sync)
                last = before.created_at if before else None
                status = log.end_status or UNKNOWN
                yield EndedSync(log, status, vault_id, log.vault_name, sync.ended_at, last)

    def _list_edges(self, vault_id: str, logs: VaultLogs) -> Iterator[Edge]:
        for kind, at, sync in logs.find_edges(self._interval, self._param):
            is_overdue = kind is EdgeKind.OVERDUE
            limit = self._param.overdue_hours if is_overdue else self._param.max_age_hours
            before = logs.find_success_before(at, sync) if kind is EdgeKind.RECOVERED else None
            yield Edge(kind, vault_id, None, at, sync, before, limit)


class Follower:
    """Serves ticks from the API's lists."""

    def __init__(
        self,
        *,
        list_sync_logs: Callable[[datetime], Iterable[OperationLog]],
        find_vaults: Callable[[VaultSelector], Iterable[Vault]],
        allowed_vaults: Iterable[str],
    ) -> None:
        """Follow over one project's API.

        Args:
            list_sync_logs: Returns the syncs that began at a moment of the API's clock or later.
            find_vaults: Returns the hybrid vaults that a selector finds.
            allowed_vaults: The only vaults that may be in scope; all, if empty.
        """
        self._list_sync_logs = list_sync_logs
        self._find_vaults = find_vaults
        self._allowed_vaults = frozenset(allowed_vaults)

    def follow(
        self, vaults: tuple[str, ...] | VaultSelector, param: FollowParam, time: datetime
    ) -> FollowResult:
        """Return what happened in the interval of a tick.

        Args:
            vaults: The vaults in scope: by their ids, or all that a selector finds.
            param: The options of the tick.
            time: When the tick fired, as its event says.

        Raises:
            ApiError: The operations, or the vaults, cannot be listed.
        """
        interval = find_interval(time, param)
        logs = FollowLogs(interval, param, self._choose_ids(vaults))
        for log in self._list_sync_logs(interval.logs_since):
            logs.add(log)
        result = logs.build_result()
        return result if result.is_idle else self._add_names(result, vaults)

    def _choose_ids(self, vaults: tuple[str, ...] | VaultSelector) -> frozenset[str] | None:
        named = frozenset(vaults) if isinstance(vaults, tuple) else None
        if not self._allowed_vaults:
            return named
        return self._allowed_vaults if named is None else named & self._allowed_vaults

    def _add_names(self, result: FollowResult, vaults: tuple[str, ...] | VaultSelector) -> FollowResult:
        """Return the result with the vaults' names, without those that are not selected.

        A vault that does not exist any more grows stale without a word; how its last operation ended is
        reported, unless only its row could say whether it is in scope.
        """
        selector = VaultSelector() if isinstance(vaults, tuple) else vaults
        names = {vault.id: vault.name for vault in self._find_vaults(selector)}
        is_all = selector == VaultSelector()
        ended = [
            one._replace(vault_name=names.get(one.vault_id, one.vault_name))
            for one in result.ended
            if is_all or one.vault_id in names
        ]
        edges = [
            edge._replace(vault_name=names.get(edge.vault_id))
            for edge in result.edges
            if edge.vault_id in names or (is_all and edge.kind is EdgeKind.OVERDUE)
        ]
        return result._replace(ended=tuple(ended), edges=tuple(edges))
