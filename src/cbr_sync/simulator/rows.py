"""Vaults and operations as the API shows them.

Source: API reference of CBR, ShowOpLog and ListVault. No log of a sync is published; its row is assembled
from the documented fields.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cbr_sync.models import rfc3339

if TYPE_CHECKING:
    from cbr_sync.simulator.models import Operation, Vault

_VMWARE_PROVIDER = "a13639de-00be-4e94-af30-26912d75e4a2"
_SERVER_PROVIDER = "0daac4c5-6707-4851-97ba-169e36266b66"
_VAULT_CREATED_AT = datetime(2026, 1, 5, 10, 38, 34, 209782, tzinfo=UTC)


class RowFormatter:
    """Formats the rows of one project."""

    def __init__(self, project_id: str) -> None:
        self._project_id = project_id

    def format_operation(self, operation: Operation, now: datetime) -> dict[str, Any]:
        """Return an operation as ShowOpLog and ListOpLogs show it at this moment."""
        vault, progress = operation.vault, operation.get_progress(now)
        has_ended = progress >= 1
        code, message = (has_ended and vault.error) or ("", "")
        return {
            "id": operation.id,
            "project_id": self._project_id,
            "operation_type": "sync",
            "status": operation.get_status(now),
            "created_at": rfc3339(operation.created_at),
            "started_at": rfc3339(operation.created_at),
            "updated_at": rfc3339(min(now, operation.ended_at)),
            "ended_at": rfc3339(operation.ended_at) if has_ended else None,
            "vault_id": vault.id,
            "vault_name": vault.name,
            "provider_id": _VMWARE_PROVIDER,
            "checkpoint_id": None,
            "policy_id": None,
            "error_info": {"code": code, "message": message},
            "extra_info": {
                "common": {
                    "progress": int(100 * progress),
                    "request_id": f"req-{operation.id}",
                    "task_id": None,
                },
                "sync": {
                    "sync_backup_num": vault.synced if has_ended else 0,
                    "delete_backup_num": vault.deleted if has_ended else 0,
                    "err_sync_backup_num": vault.failed if has_ended else 0,
                },
                "resource": None,
            },
        }

    def format_vault(self, vault: Vault) -> dict[str, Any]:
        """Return a vault as ShowVault and ListVault show it; its times have no zone, as recorded."""
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
