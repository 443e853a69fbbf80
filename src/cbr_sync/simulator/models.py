"""What the simulated cloud holds: vaults, sync operations and the requests it has seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from cbr_sync.credentials import Credentials
from cbr_sync.models import rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cbr_sync.simulator.faults import Fault
from cbr_sync.simulator.answers import ApiRefusal, parse_sync_body

SIMULATOR_CREDENTIALS = Credentials("simulator-access-key", "simulator-secret-key")


SIMULATOR_PROJECT_ID = "f841e01fd2b14e7fa41b6ae7aa6b0594"


SIMULATOR_REGION = "cn-north-4"


HYBRID_VMWARE_PROVIDER = "a13639de-00be-4e94-af30-26912d75e4a2"


TERMINAL_STATUSES = frozenset({"success", "failed", "skipped", "timeout"})


@dataclass(frozen=True, slots=True)
class Vault:
    """A vault, and how its syncs go.

    ``ends`` is the API's word: success, failed, skipped or timeout; ``synced``, ``deleted`` and ``failed``
    are the counts at that end, ``error`` the code and message in its error_info. ``operation_seconds``
    goes before the simulator's own. With ``running_since_before``, a sync of it is running at the start
    and does not end for a day.
    """

    id: str
    name: str
    cloud_type: str = "hybrid"
    object_type: str = "vmware"
    status: str = "available"
    tags: Mapping[str, str] = field(default_factory=dict)
    ends: str = "success"
    synced: int = 12
    deleted: int = 1
    failed: int = 0
    error: tuple[str, str] | None = None
    operation_seconds: float | None = None
    created_at: datetime | None = None
    running_since_before: bool = False


DEFAULT_VAULTS = (
    Vault("8d3a8b28-a697-41e2-8d5d-903669f8a02d", "vault-vmware-01", tags={"env": "prod"}),
    Vault("2f1f6ab4-4f0c-4b64-9a3c-0d6f5f7f1a02", "vault-file-01", object_type="file", tags={"env": "prod"}),
    Vault("5b1c9d1e-7a52-4a57-8f6e-3c1f0e9b2a03", "vault-vmware-02", tags={"env": "test"}),
    Vault("6c2d0e2f-8b63-4b68-9a7f-4d2a1f0c3b04", "vault-vmware-partial", failed=2),
    Vault(
        "7d3e1f30-9c74-4c79-8b80-5e3b20ad4c05",
        "vault-vmware-broken",
        ends="failed",
        error=("BackupService.6405", "Bucket object deletion failed."),
    ),
    Vault("8e4f2041-ad85-4d8a-9c91-6f4c31be5d06", "vault-vmware-busy", running_since_before=True),
    Vault("9f503152-be96-4e9b-8da2-705d42cf6e07", "vault-vmware-frozen", status="frozen"),
    Vault("a0614263-cfa7-4fac-9eb3-816e53d07f08", "vault-server-01", "public", "server"),
)


@dataclass(frozen=True, slots=True)
class Operation:
    """A sync that the API took; its state is a matter of the moment."""

    id: str
    vault: Vault
    created_at: datetime
    seconds: float
    auto_trigger: bool

    @property
    def vault_id(self) -> str:
        """The vault it syncs."""
        return self.vault.id

    def status(self, now: datetime) -> str:
        """Waiting for the first tenth of its time, then running, then as the vault's syncs end."""
        share = self._share(now)
        if share >= 1:
            return self.vault.ends
        return "waiting" if share < 0.1 else "running"  # noqa: PLR2004 - a tenth

    def log(self, now: datetime, project_id: str) -> dict[str, Any]:
        """The operation log. Source: API reference of CBR, ShowOpLog; a sync's own is assembled from it."""
        ended = self._share(now) >= 1
        vault = self.vault
        code, message = (ended and vault.error) or ("", "")
        counts = (vault.synced, vault.deleted, vault.failed) if ended else (0, 0, 0)
        names = ("sync_backup_num", "delete_backup_num", "err_sync_backup_num")
        return {
            "id": self.id,
            "project_id": project_id,
            "operation_type": "sync",
            "status": self.status(now),
            "created_at": rfc3339(self.created_at),
            "started_at": rfc3339(self.created_at),
            "updated_at": rfc3339(min(now, self._end)),
            "ended_at": rfc3339(self._end) if ended else None,
            "vault_id": vault.id,
            "vault_name": vault.name,
            "provider_id": HYBRID_VMWARE_PROVIDER,
            "checkpoint_id": None,
            "policy_id": None,
            "error_info": {"code": code, "message": message},
            "extra_info": {
                "common": {
                    "progress": int(100 * self._share(now)),
                    "request_id": f"req-{self.id}",
                    "task_id": None,
                },
                "sync": dict(zip(names, counts, strict=True)),
                "resource": None,
            },
        }

    @property
    def _end(self) -> datetime:
        return self.created_at + timedelta(seconds=self.seconds)

    def _share(self, now: datetime) -> float:
        return 1.0 if now >= self._end else (now - self.created_at).total_seconds() / self.seconds


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the books have it.

    ``status`` is None where there was no answer; ``fault`` is None where a status was the fault.
    ``signed_ok`` tells whether the signature is right, also where a fault came before the check.
    """

    method: str
    path: str
    vault_id: str | None
    status: int | None
    fault: Fault | None
    signed_ok: bool


@dataclass(slots=True)
class IncomingRequest:
    """A request on its way through the simulator."""

    method: str
    path: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    wrong: str | None = None
    fault: Fault | None = None

    @property
    def vault_id(self) -> str | None:
        """The vault whose sync is asked for; None for anything else."""
        if self.method != "POST" or not self.path.endswith("/checkpoints/sync"):
            return None
        try:
            return parse_sync_body(self.body)[0]
        except ApiRefusal:
            return None
