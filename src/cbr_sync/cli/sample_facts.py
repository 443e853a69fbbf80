"""Made-up facts for `cbr-sync notify`: one of each thing that people are told of."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from cbr_sync.follow import Edge, EdgeKind, EndedSync, Sync
from cbr_sync.huawei.cbr import OperationLog
from cbr_sync.models import Kind, OutcomeError, Status, SyncOutcome, Trigger
from cbr_sync.reports.models import Report, State, SyncRecord, VaultReport
from cbr_sync.sinks.wording import Facts

if TYPE_CHECKING:
    from datetime import datetime

_VAULTS = 41
_OPERATION = str(UUID(int=0x60BAED87, version=4))


def build_samples(at: datetime, *, source: str, service: str) -> dict[str, Facts]:
    """Return a run that went wrong, one that did not, a report, a late failure, two edges and a rejection.

    Args:
        at: When it all happened.
        source: The CloudEvents source.
        service: Who speaks.

    Returns:
        The facts by what they are about.
    """
    common = Facts(at, run_id="7c307f6a-example", source=source, service=service)
    trigger = Trigger(kind=Kind.SCHEDULE, id="night", time=at)
    good = [_build_outcome(number, trigger, at) for number in range(_VAULTS)]
    bad = [
        good[0].model_copy(
            update={
                "vault_name": "vmware-prod-01",
                "status": Status.FAILED,
                "error": OutcomeError(
                    code="BackupService.6113", message="The status of a copy does not allow it."
                ),
            }
        ),
        good[1].model_copy(update={"vault_name": "vmware-prod-02", "status": Status.TIMED_OUT}),
        good[2].model_copy(update={"vault_name": "file-hr", "status": Status.ALREADY_RUNNING}),
    ]
    return {
        "run": common._replace(run=(*bad, *good[3:]), outcomes=tuple(bad)),
        "good run": common._replace(run=tuple(good), outcomes=tuple(good)),
        "report": common._replace(reports=(_build_report(trigger, at),)),
        "late failure": common._replace(ended=(_build_late_failure(at),)),
        "stale": common._replace(edges=(_build_edge(EdgeKind.BECAME_STALE, at),)),
        "recovered": common._replace(edges=(_build_edge(EdgeKind.RECOVERED, at),)),
        "rejected": common._replace(
            rejections=1,
            rejected=(
                (
                    Trigger(kind=Kind.WEBHOOK, id="msg_2Kx", time=at),
                    "vault_ids[3]: found 'x', expected a UUID",
                ),
            ),
        ),
    }


def _build_outcome(number: int, trigger: Trigger, at: datetime) -> SyncOutcome:
    return SyncOutcome(
        vault_id=_build_id(number),
        vault_name=f"file-{number:02}",
        auto_trigger=True,
        status=Status.ACCEPTED,
        operation_log_id=_OPERATION,
        attempts=1,
        started_at=at - timedelta(seconds=40),
        duration_seconds=0.4,
        trigger=trigger,
    )


def _build_report(trigger: Trigger, at: datetime) -> Report:
    fresh = [
        _build_vault(number, f"file-{number:02}", State.FRESH, at, timedelta(hours=9))
        for number in range(2, _VAULTS)
    ]
    error = SyncRecord(
        operation_log_id=_OPERATION,
        status="failed",
        started_at=at - timedelta(hours=6),
        error=OutcomeError(code="BackupService.1006", message="A copy could not be imported."),
    )
    failing = _build_vault(0, "file-hr", State.FAILING, at, timedelta(hours=30))
    stale = _build_vault(1, "vmware-prod-02", State.STALE, at, timedelta(hours=51))
    return Report(
        at=at,
        max_age_hours=26,
        history_hours=0,
        counts={State.FAILING: 1, State.STALE: 1, State.FRESH: len(fresh)},
        oldest_sync_age_hours=51,
        trigger=trigger,
        vaults=(failing.model_copy(update={"last_error": error}), stale, *fresh),
        history={},
    )


def _build_vault(number: int, name: str, state: State, at: datetime, age: timedelta) -> VaultReport:
    return VaultReport(
        vault_id=_build_id(number),
        name=name,
        object_type=name.partition("-")[0],
        vault_status="available",
        state=state,
        age_hours=age.total_seconds() / 3600,
        last_success=SyncRecord(operation_log_id=_OPERATION, status="succeeded", started_at=at - age),
        running=None,
        last_error=None,
    )


def _build_late_failure(at: datetime) -> EndedSync:
    log = OperationLog.model_validate(
        {
            "id": _OPERATION,
            "status": "failed",
            "created_at": (at - timedelta(hours=5)).isoformat(),
            "ended_at": (at - timedelta(minutes=18)).isoformat(),
            "error_info": {"code": "BackupService.1006", "message": "A copy could not be imported."},
            "extra_info": {"sync": {"sync_backup_num": 12, "delete_backup_num": 1, "err_sync_backup_num": 3}},
        }
    )
    last_success_at = at - timedelta(hours=29)
    ended_at = at - timedelta(minutes=18)
    return EndedSync(log, "failed", _build_id(0), "vmware-prod-01", ended_at, last_success_at)


def _build_edge(kind: EdgeKind, at: datetime) -> Edge:
    before = Sync(at - timedelta(hours=30), at - timedelta(hours=31), _OPERATION, Status.SUCCEEDED)
    if kind is EdgeKind.BECAME_STALE:
        return Edge(kind, _build_id(1), "vmware-prod-02", at, before, None, 26)
    new = Sync(at, at - timedelta(minutes=20), _OPERATION, Status.SUCCEEDED)
    return Edge(kind, _build_id(1), "vmware-prod-02", at, new, before, 26)


def _build_id(number: int) -> str:
    return str(UUID(int=number, version=4))
