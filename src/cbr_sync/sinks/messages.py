"""What is emitted: CloudEvents, and which of them are trouble.

Source of the envelope: CloudEvents 1.0.2, JSON event format.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from itertools import accumulate, takewhile
from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict  # pydantic's own, which the standard one is not before 3.12

from cbr_sync.models import Copies, OutcomeError, Status, format_rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from pydantic import BaseModel

    from cbr_sync.follow import Edge, EndedSync
    from cbr_sync.models import SyncOutcome, Trigger
    from cbr_sync.reports.models import Report
    from cbr_sync.results import RunResult


CloudEvent = dict[str, Any]
REJECTED = "cbr-sync.trigger.rejected.v1"
RUN_FINISHED = "cbr-sync.run.finished.v1"
REPORT = "cbr-sync.report.v1"
OVERDUE = "cbr-sync.operation.overdue.v1"
BECAME_STALE = "cbr-sync.vault.became_stale.v1"
RECOVERED = "cbr-sync.vault.recovered.v1"
NOTICE = "cbr-sync.notice.v1"
# The least that a sink takes is EventGrid's 64 KB for one event, here in its longest form of JSON.
MAX_BYTES = 64_000
# How operations end; the last where we have no word for it.
ENDS = (
    *(Status.SUCCEEDED, Status.PARTIAL, Status.SKIPPED, Status.TIMED_OUT, Status.FAILED),
    "unknown",
)
WORST_FIRST = (
    *(Status.FAILED, Status.TIMED_OUT, Status.UNFINISHED, Status.PARTIAL),
    *(Status.SKIPPED, Status.ALREADY_RUNNING, Status.DEFERRED, Status.ACCEPTED, Status.SUCCEEDED),
)
_RANK = {status: rank for rank, status in enumerate(WORST_FIRST)}
# A vault that is not available is skipped, and so is a sync that the API accepted and never ran.
TROUBLE_STATUSES = ("failed", "timed_out", "partial", "unfinished", "already_running", "skipped")
# As words, since their models are for reports alone.
_TROUBLE_STATES = ("failing", "never", "stale", "unknown")
_TROUBLE = frozenset({*TROUBLE_STATUSES, *_TROUBLE_STATES})
_TROUBLE_TYPES = frozenset({REJECTED, OVERDUE, BECAME_STALE})


class Rejected(TypedDict):
    """An event that could not be read: what was wrong, never its payload."""

    kind: str
    id: str
    error: str


class RunVault(TypedDict):
    """One outcome of a run, in short."""

    vault_id: str
    status: Status
    operation_log_id: str | None
    error: OutcomeError | None


class RunFinished(TypedDict):
    """The result of one run: ``vaults`` holds the worst first, and ``omitted`` counts those left out."""

    run_id: str
    counts: dict[Status, int]
    rejected: int
    vaults: list[RunVault]
    omitted: int


class OperationEnded(TypedDict):
    """An operation that ended, whoever started it; ``unknown`` is an end that has no word of ours."""

    vault_id: str
    vault_name: str | None
    operation_log_id: str
    status: str
    started_at: str
    ended_at: str
    copies: Copies | None
    error: OutcomeError | None
    last_success_at: str | None


class OperationOverdue(TypedDict):
    """An operation that has run for longer than ``overdue_hours``."""

    vault_id: str
    vault_name: str | None
    operation_log_id: str
    started_at: str
    overdue_hours: float


class VaultBecameStale(TypedDict):
    """A vault whose last success began ``max_age_hours`` before this event; its operation is that success."""

    vault_id: str
    vault_name: str | None
    operation_log_id: str
    last_success_at: str
    max_age_hours: float


class NoticeItem(TypedDict):
    """One thing that a notice is about: an event, in short."""

    id: str
    type: str
    vault_id: str | None
    vault_name: str | None


class Notice(TypedDict):
    """What people were told where no other event says all of it; ``omitted`` counts what did not fit."""

    subject: str
    events: list[NoticeItem]
    omitted: int


class VaultRecovered(TypedDict):
    """A vault that has a success again, after it was failing or stale; its operation is that success."""

    vault_id: str
    vault_name: str | None
    operation_log_id: str
    started_at: str
    ended_at: str
    previous_success_at: str | None
    max_age_hours: float


def build_events(result: RunResult, run_id: str, source: str, now: datetime) -> Iterator[CloudEvent]:
    """Yield everything that a run has to report.

    The summaries of a run with more than one vault, and of reports, come first: where a sink runs out of
    time, it has them at least.

    Args:
        result: The result of the run.
        run_id: The platform's id of the invocation.
        source: The CloudEvents source.
        now: The time of what has no time of its own.
    """
    outcomes, rejected = result.emitted_outcomes, result.rejected
    if len({outcome.vault_id for outcome in outcomes}) > 1:
        yield build_run_finished_event(run_id, outcomes, len(rejected), source, now)
    for outcome in outcomes:
        yield build_outcome_event(outcome, source)
    for trigger, error in rejected:
        yield build_rejected_event(trigger, str(error), source, now)
    for report in result.reports:
        yield from build_report_events(report, source)
    for follow in result.follows:
        yield from build_follow_events(follow.ended, follow.edges, source)


def build_outcome_event(outcome: SyncOutcome, source: str) -> CloudEvent:
    """Return the CloudEvent of an outcome; its id is the same whenever the same outcome is emitted again."""
    data = outcome.model_dump(mode="json")
    identity = [data["trigger"], *_list_identity(outcome)]
    kind = f"cbr-sync.checkpoint.sync.{outcome.status}.v1"
    return _build_event(kind, source, identity, data["started_at"], data, subject=outcome.vault_id)


def build_rejected_event(trigger: Trigger, why: str, source: str, now: datetime) -> CloudEvent:
    """Return the CloudEvent of an event that could not be read.

    Args:
        trigger: That event.
        why: What was wrong with it, without its payload.
        source: The CloudEvents source.
        now: The time of the CloudEvent.

    Returns:
        An event with `Rejected` as its data.
    """
    fields = trigger.model_dump(mode="json")
    data: Rejected = {"kind": fields["kind"], "id": fields["id"], "error": why}
    return _build_event(REJECTED, source, [fields, why], format_rfc3339(now), data)


def build_run_finished_event(
    run_id: str, outcomes: Sequence[SyncOutcome], rejected: int, source: str, now: datetime
) -> CloudEvent:
    """Return the CloudEvent that sums up a run, in at most 64 KB.

    Args:
        run_id: The platform's id of the invocation.
        outcomes: All outcomes of the run.
        rejected: How many events could not be read.
        source: The CloudEvents source.
        now: The time of the CloudEvent.

    Returns:
        An event with `RunFinished` as its data.
    """
    worst_first = sorted(outcomes, key=lambda outcome: _RANK[outcome.status])
    # By hand, since whole outcomes are dumped already, one by one.
    rows = [
        {
            "vault_id": outcome.vault_id,
            "status": outcome.status,
            "operation_log_id": outcome.operation_log_id,
            "error": outcome.error.model_dump(mode="json") if outcome.error else None,
        }
        for outcome in worst_first
    ]
    counts = Counter(outcome.status for outcome in worst_first)
    data = {"run_id": run_id, "counts": dict(counts), "rejected": rejected, "vaults": rows, "omitted": 0}
    identity = [RUN_FINISHED, run_id, rejected, *map(_list_identity, worst_first)]
    return _shorten_event(_build_event(RUN_FINISHED, source, identity, format_rfc3339(now), data))


def _list_identity(outcome: SyncOutcome) -> list[str | None]:
    """Return what distinguishes two outcomes of one trigger."""
    error = outcome.error.code if outcome.error else None
    return [outcome.vault_id, outcome.status, outcome.operation_log_id, error]


def build_report_events(report: Report, source: str) -> Iterator[CloudEvent]:
    """Yield the CloudEvent that sums up a report, in at most 64 KB, then one for each vault not fresh."""
    sums = report.model_dump(mode="json", exclude={"vaults", "history", "history_omitted"})
    trigger = sums["trigger"]
    rows = [vault.model_dump(mode="json") for vault in report.not_fresh]
    data = {**sums, "vaults": rows, "omitted": 0}
    yield _shorten_event(_build_event(REPORT, source, [REPORT, trigger, sums["counts"]], sums["at"], data))
    for row in rows:
        kind = f"cbr-sync.vault.{row['state']}.v1"
        data = {**row, "max_age_hours": report.max_age_hours, "trigger": trigger}
        identity = [kind, trigger, row["vault_id"]]
        yield _build_event(kind, source, identity, sums["at"], data, subject=row["vault_id"])


def build_follow_events(
    ended: Sequence[EndedSync], edges: Sequence[Edge], source: str
) -> Iterator[CloudEvent]:
    """Yield the CloudEvents of what happened in a tick's interval.

    Their ids are made of the operation, and of its status or the limit that was crossed: whoever reports the
    same again does so under the same id.
    """
    for one in ended:
        data: OperationEnded = {
            "vault_id": one.vault_id,
            "vault_name": one.vault_name,
            "operation_log_id": one.log.id,
            "status": one.status,
            "started_at": format_rfc3339(one.log.created_at),
            "ended_at": format_rfc3339(one.ended_at),
            "copies": _dump(one.log.copies),
            "error": _dump(one.log.error),
            "last_success_at": format_rfc3339(one.last_success_at) if one.last_success_at else None,
        }
        kind = f"cbr-sync.operation.{one.status}.v1"
        yield _build_event(kind, source, [kind, one.log.id], data["ended_at"], data, subject=one.vault_id)
    for edge in edges:
        kind = f"cbr-sync.{edge.kind}.v1"
        crossing = {
            "vault_id": edge.vault_id,
            "vault_name": edge.vault_name,
            "operation_log_id": edge.sync.id,
            **_describe_limit(edge, kind),
        }
        identity = [kind, edge.sync.id, edge.limit_hours]
        yield _build_event(kind, source, identity, format_rfc3339(edge.at), crossing, subject=edge.vault_id)


def build_notice_event(subject: str, events: Sequence[CloudEvent], source: str, now: datetime) -> CloudEvent:
    """Return the CloudEvent of what people are told, in at most 64 KB.

    Args:
        subject: What they read first.
        events: The events that say it.
        source: The CloudEvents source.
        now: The time of the CloudEvent.

    Returns:
        An event with `Notice` as its data; its id is made of those of the events.
    """
    rows: list[NoticeItem] = [
        {
            "id": event["id"],
            "type": event["type"],
            "vault_id": event["data"].get("vault_id"),
            "vault_name": event["data"].get("vault_name"),
        }
        for event in events
    ]
    data = {"subject": subject, "events": rows, "omitted": 0}
    identity = [NOTICE, *(event["id"] for event in events)]
    return _shorten_event(_build_event(NOTICE, source, identity, format_rfc3339(now), data), "events")


def _describe_limit(edge: Edge, kind: str) -> dict[str, Any]:
    """Return which limit was crossed, and since when."""
    began = format_rfc3339(edge.sync.created_at)
    if kind == OVERDUE:
        return {"started_at": began, "overdue_hours": edge.limit_hours}
    if kind == BECAME_STALE:
        return {"last_success_at": began, "max_age_hours": edge.limit_hours}
    return {
        "started_at": began,
        "ended_at": format_rfc3339(edge.at),
        "previous_success_at": format_rfc3339(edge.before.created_at) if edge.before else None,
        "max_age_hours": edge.limit_hours,
    }


def _dump(record: BaseModel | None) -> Any:
    return record.model_dump(mode="json") if record else None


def is_trouble(event: CloudEvent) -> bool:
    """Return whether an event is about trouble: the words of its status, its state or its counts say so."""
    data: Mapping[str, Any] = event["data"]
    words = {data.get("status"), data.get("state"), *data.get("counts", ())}
    return event["type"] in _TROUBLE_TYPES or bool(data.get("rejected")) or not _TROUBLE.isdisjoint(words)


def _build_event(
    kind: str, source: str, identity: list[Any], time: str, data: Any, subject: str | None = None
) -> CloudEvent:
    name = json.dumps([source, *identity], sort_keys=True)
    return {
        "specversion": "1.0",
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
        "source": source,
        "type": kind,
        **({"subject": subject} if subject else {}),
        "time": time,
        "datacontenttype": "application/json",
        "data": data,
    }


def _shorten_event(event: CloudEvent, name: str = "vaults") -> CloudEvent:
    """Return the event with as many of its rows as fit; ``omitted`` counts the others."""
    data = event["data"]
    rows = data[name]
    # No number of omitted ones is longer than that of all.
    left = MAX_BYTES - len(json.dumps({**event, "data": {**data, name: [], "omitted": len(rows)}}))
    sizes = accumulate(len(json.dumps(row)) + len(", ") for row in rows)
    fitting = sum(1 for _ in takewhile(lambda size: size <= left, sizes))
    return {**event, "data": {**data, name: rows[:fitting], "omitted": len(rows) - fitting}}
