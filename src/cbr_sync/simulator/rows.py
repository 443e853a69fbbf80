"""Vaults and operations as the API shows them.

Sources: API reference of CBR, ShowOpLog and ListVault. No log of a sync is published; its row is assembled
from the documented fields. Of its times the reference says ``2020-02-23T01:00:32Z``, its samples have an
offset and milliseconds, and those of vaults microseconds and no zone, as recorded answers of ListVault do.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cbr_sync.simulator.models import Operation, Vault

if TYPE_CHECKING:
    from cbr_sync.simulator.models import TimeFormat

_VMWARE_PROVIDER = "a13639de-00be-4e94-af30-26912d75e4a2"
_SERVER_PROVIDER = "0daac4c5-6707-4851-97ba-169e36266b66"
_MISSING = object()
_ODD_ID = "0dd00000-0000-4000-8000-{:012x}"
_OPERATION_FLAWS: tuple[dict[str, Any], ...] = (
    {"created_at": None},
    {"created_at": "yesterday"},
    {"created_at": "99999-01-01T00:00:00.000Z"},
    {"created_at": _MISSING},
    {"id": None},
    {"id": _MISSING},
    {"status": None},
    {"status": "paused"},
    {"vault_id": None},
    {"vault_id": 7},
    {"error_info": "none"},
    {"extra_info": "none"},
)
_VAULT_FLAWS: tuple[dict[str, Any], ...] = (
    {"tags": [{"key": "env", "value": None}]},
    {"tags": [{"value": "prod"}]},
    {"tags": "env=prod"},
    {"id": None},
    {"id": _MISSING},
    {"id": "tape-7"},
    {"name": None},
    {"name": _MISSING},
    {"billing": None},
    {"billing": _MISSING},
    {"created_at": "0000-00-00T00:00:00"},
)
_VAULT_CREATED_AT = datetime(2026, 1, 5, 10, 38, 34, 209782, tzinfo=UTC)


class RowFormatter:
    """Formats the rows of one project.

    Attributes:
        whole_seconds: Whether the times of operations are cut to whole seconds.
    """

    def __init__(self, project_id: str, time_format: TimeFormat, *, whole_seconds: bool) -> None:
        """Fix what all rows have in common.

        Args:
            project_id: The project.
            time_format: The form of an operation's times: ``z``, ``offset`` (both with milliseconds) or
                ``naive`` (microseconds, no zone).
            whole_seconds: Cut the times of operations to whole seconds, and leave the fraction out.
        """
        self._project_id = project_id
        self._time_format = time_format
        self.whole_seconds = whole_seconds

    def format_time(self, moment: datetime) -> str:
        """Return a moment as the times of operations are shown."""
        timespec = "microseconds" if self._time_format == "naive" else "milliseconds"
        text = moment.astimezone(UTC).isoformat(timespec="seconds" if self.whole_seconds else timespec)
        if self._time_format == "offset":
            return text
        return text.removesuffix("+00:00") + ("Z" if self._time_format == "z" else "")

    def format_operation(self, operation: Operation, now: datetime) -> dict[str, Any]:
        """Return an operation as ShowOpLog and ListOpLogs show it at this moment."""
        vault, ended_at = operation.vault, operation.get_ended_at(now)
        created_at = self.format_time(operation.created_at)
        code, message = (now >= operation.ended_at and vault.error) or ("", "")
        return {
            "id": operation.id,
            "project_id": self._project_id,
            "operation_type": "sync",
            "status": operation.get_status(now),
            "created_at": created_at,
            "started_at": created_at,
            "updated_at": self.format_time(min(now, operation.updated_at)),
            "ended_at": self.format_time(ended_at) if ended_at else None,
            "vault_id": vault.id,
            "vault_name": vault.name,
            "provider_id": _VMWARE_PROVIDER,
            "checkpoint_id": None,
            "policy_id": None,
            "error_info": {"code": code, "message": message},
            "extra_info": _format_extra_info(operation, operation.get_progress(now)),
        }

    def format_vault(self, vault: Vault) -> dict[str, Any]:
        """Return a vault as ShowVault and ListVault show it."""
        is_hybrid = vault.cloud_type == "hybrid"
        return {
            "id": vault.id,
            "name": vault.name,
            "project_id": self._project_id,
            "provider_id": _VMWARE_PROVIDER if is_hybrid else _SERVER_PROVIDER,
            "resources": [],
            "tags": [{"key": key, "value": value} for key, value in vault.tags.items()],
            "enterprise_project_id": "0",
            "created_at": (vault.created_at or _VAULT_CREATED_AT).astimezone(UTC).isoformat()[:-6],
            "billing": {
                "allocated": 0,
                "charging_mode": "post_paid",
                "cloud_type": vault.cloud_type,
                "consistent_level": "crash_consistent",
                "object_type": vault.object_type,
                "protect_type": "hybrid" if is_hybrid else "backup",
                "size": 1000,
                "spec_code": f"vault.{'hybrid' if is_hybrid else 'backup'}.server.normal",
                "status": vault.status,
                "used": 20480,
            },
        }

    def format_odd_operations(self, now: datetime) -> list[dict[str, Any]]:
        """Return rows of other vaults with one flaw each; what can be read of them is a sync that runs."""
        rows = []
        for number, flaw in enumerate(_OPERATION_FLAWS):
            operation = Operation(
                id=_ODD_ID.format(number + 0x100),
                vault=Vault(_ODD_ID.format(number), f"vault-odd-{number}"),
                created_at=now - timedelta(hours=1),
                seconds=24 * 3600,
                auto_trigger=True,
            )
            rows.append(_spoil(self.format_operation(operation, now), flaw))
        return rows

    def format_odd_vaults(self) -> list[dict[str, Any]]:
        """Return rows of other hybrid vaults with one flaw each; nothing else knows these vaults."""
        return [
            _spoil(self.format_vault(Vault(_ODD_ID.format(number), f"vault-odd-{number}")), flaw)
            for number, flaw in enumerate(_VAULT_FLAWS)
        ]


def _format_extra_info(operation: Operation, progress: float) -> dict[str, Any]:
    vault, has_ended = operation.vault, progress >= 1
    return {
        "common": {"progress": int(100 * progress), "request_id": f"req-{operation.id}", "task_id": None},
        "sync": {
            "sync_backup_num": vault.synced if has_ended else 0,
            "delete_backup_num": vault.deleted if has_ended else 0,
            "err_sync_backup_num": vault.failed if has_ended else 0,
        },
        "resource": None,
    }


def _spoil(row: dict[str, Any], flaw: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in (row | flaw).items() if value is not _MISSING}
