"""What ticks have to report, said once more in another way: by going through each vault's moments."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cbr_sync.follow import FollowParam

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WENT_WRONG = {"failed", "timed_out", "partial"}


class Op(NamedTuple):
    """An operation: its status is the last word of the event that reports its end."""

    id: str
    vault_id: str
    created_at: datetime
    ended_at: datetime | None
    status: str = "succeeded"


class Fact(NamedTuple):
    """Something to report: the event's type, its operation, and when it happened on the API's clock."""

    type: str
    operation_log_id: str
    at: datetime


def list_facts(ops: Iterable[Op], param: FollowParam) -> Iterator[Fact]:
    """Yield all that happened to these operations and their vaults, whichever tick owns it."""
    ops = list(ops)
    for vault_id in {op.vault_id for op in ops}:
        own = [op for op in ops if op.vault_id == vault_id]
        for moment in sorted({one for op in own for one in list_moments(op, param)}):
            yield from list_facts_at(moment, own, param)


def list_moments(op: Op, param: FollowParam) -> Iterator[datetime]:
    """Yield when something may happen on account of an operation."""
    if op.ended_at:
        yield op.ended_at
    yield op.created_at + timedelta(hours=param.overdue_hours)
    yield op.created_at + timedelta(hours=param.max_age_hours)


def list_facts_at(moment: datetime, own: list[Op], param: FollowParam) -> Iterator[Fact]:
    """Yield what happens to one vault at this moment."""
    period, settle = param.every_minutes * 60, param.settle_minutes * 60
    slot = math.ceil(((moment - EPOCH).total_seconds() + settle) / period) * period
    window = max(param.max_age_hours, param.overdue_hours) + 24
    begin = EPOCH + timedelta(seconds=slot) - timedelta(hours=window)
    visible = [op for op in own if op.created_at >= begin]
    order = sorted((op for op in visible if op.ended_at), key=lambda op: (op.ended_at, op.created_at, op.id))
    last_success: Op | None = None
    is_wrong = False
    for op in itertools.takewhile(lambda op: op.ended_at and op.ended_at <= moment, order):
        age = moment - last_success.created_at if last_success else timedelta()
        is_back = last_success and (is_wrong or age > timedelta(hours=param.max_age_hours))
        if op.ended_at == moment:
            yield Fact(f"cbr-sync.operation.{op.status}.v1", op.id, moment)
            if op.status == "succeeded" and is_back:
                yield Fact("cbr-sync.vault.recovered.v1", op.id, moment)
        if op.status == "succeeded":
            is_wrong = False
            if last_success is None or op.created_at > last_success.created_at:
                last_success = op
        elif op.status in WENT_WRONG:
            is_wrong = True
    if last_success and last_success.created_at + timedelta(hours=param.max_age_hours) == moment:
        yield Fact("cbr-sync.vault.became_stale.v1", last_success.id, moment)
    for op in set(visible) - {op for op in order if op.ended_at and op.ended_at <= moment}:
        if op.created_at + timedelta(hours=param.overdue_hours) == moment:
            yield Fact("cbr-sync.operation.overdue.v1", op.id, moment)
