"""Records of the simulated cloud: vaults, sync operations and requests."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from cbr_sync.credentials import Credentials
from cbr_sync.simulator.answers import ApiRefusal, parse_sync_body

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cbr_sync.simulator.faults import Fault, StatusFault

SIMULATOR_CREDENTIALS = Credentials("simulator-access-key", "simulator-secret-key")
SIMULATOR_PROJECT_ID = "f841e01fd2b14e7fa41b6ae7aa6b0594"
SIMULATOR_REGION = "cn-north-4"

TERMINAL_STATUSES = frozenset({"success", "failed", "skipped", "timeout"})

# The form of a Retry-After header, and that of an operation's times.
RetryAfter = Literal["seconds", "date"]
TimeFormat = Literal["z", "offset", "naive"]

# An operation waits for this share of its time before it runs.
_WAITING_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Vault:
    """A vault, and how its syncs end.

    Attributes:
        id: A lower-case UUID.
        name: The name that ListVault shows.
        cloud_type: ``hybrid`` or ``public``; only hybrid vaults can be synced.
        object_type: What the vault protects, such as ``vmware``, ``file`` or ``server``.
        status: ``available``, or a status in which the API refuses to sync: ``lock``, ``frozen``,
            ``deleting`` or ``error``.
        tags: Tag keys and values.
        ends: The status in which its syncs end: ``success``, ``failed``, ``skipped`` or ``timeout``.
        synced: Number of copies synced when a sync has ended.
        deleted: Number of copies deleted on the cloud side when a sync has ended.
        failed: Number of copies that failed to sync when a sync has ended.
        error: Code and message of the error_info of an ended sync.
        operation_seconds: Duration of its syncs; None takes the simulator's.
        created_at: When the vault was created; None takes a fixed moment in January 2026.
        running_since_before: Whether a sync already runs when the simulator starts.
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

    def change_end(self, ends: str, *, failed: int = 0, error: tuple[str, str] | None = None) -> Vault:
        """Return this vault with another end of its syncs.

        Args:
            ends: The status; any word, also one that the API does not document.
            failed: Number of copies that fail to sync.
            error: Code and message of the error_info.

        Returns:
            A vault whose syncs have the same counts where they end in success, and none otherwise.
        """
        is_success = ends == "success"
        return replace(
            self,
            ends=ends,
            synced=self.synced if is_success else 0,
            deleted=self.deleted if is_success else 0,
            failed=failed,
            error=error,
        )


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
    """A sync that the API accepted; its status depends on the moment only.

    Attributes:
        id: The operation_log_id.
        vault: The vault, which also says how this sync ends.
        created_at: When the API accepted it.
        seconds: Duration from creation to end.
        auto_trigger: As the request said.
        has_ended_at: Whether its log has an ``ended_at`` once it has ended; null otherwise.
        update_delay_seconds: How long after its end the last ``updated_at`` is.
    """

    id: str
    vault: Vault
    created_at: datetime
    seconds: float
    auto_trigger: bool
    has_ended_at: bool = True
    update_delay_seconds: float = 0.0

    @property
    def vault_id(self) -> str:
        """The id of the vault that is synced."""
        return self.vault.id

    @property
    def ended_at(self) -> datetime:
        """When it ends or has ended."""
        return self.created_at + timedelta(seconds=self.seconds)

    @property
    def updated_at(self) -> datetime:
        """When it was updated last, once all is over."""
        return self.ended_at + timedelta(seconds=self.update_delay_seconds)

    def get_progress(self, now: datetime) -> float:
        """Return which share of its time is over, from 0 to 1; 1 means that it has ended."""
        return 1.0 if now >= self.ended_at else (now - self.created_at).total_seconds() / self.seconds

    def get_ended_at(self, now: datetime) -> datetime | None:
        """Return the ``ended_at`` that its log shows, if it shows one at this moment."""
        return self.ended_at if self.has_ended_at and now >= self.ended_at else None

    def get_status(self, now: datetime) -> str:
        """Return ``waiting`` at first, then ``running``, then the status in which the vault's syncs end."""
        progress = self.get_progress(now)
        if progress >= 1:
            return self.vault.ends
        return "waiting" if progress < _WAITING_SHARE else "running"


@dataclass(frozen=True, slots=True)
class Request:
    """A request that the simulator received, for assertions and for display.

    Attributes:
        method: The HTTP method.
        path: The path without its query.
        vault_id: The vault that the request asks to sync; None for every other request.
        status: The HTTP status of the answer; None without an answer.
        fault: The injected fault; None where the fault was an HTTP status.
        signed_ok: Whether the signature is right, also where a fault came before the check.
        access_key: The access key that signed it; None without one.
        received_at: When it arrived, on the clock that the simulator was given.
    """

    method: str
    path: str
    vault_id: str | None
    status: int | None
    fault: Fault | None
    signed_ok: bool
    access_key: str | None
    received_at: datetime


@dataclass(slots=True)
class IncomingRequest:
    """A request on its way through the simulator.

    Attributes:
        method: The HTTP method.
        target: Path and query as in the request line.
        headers: Headers with lower-case names.
        body: The body, perhaps empty.
        access_key: The access key that signed it; None without one.
        mistake: What is wrong with the signature; None if it is right.
        fault: The fault that this request meets, if any.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    access_key: str | None = None
    mistake: str | None = None
    fault: Fault | StatusFault | None = None

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The query without its question mark, perhaps empty."""
        return self.target.partition("?")[2]

    @property
    def vault_id(self) -> str | None:
        """The vault that the request asks to sync; None for every other request."""
        if self.method != "POST" or not self.path.endswith("/checkpoints/sync"):
            return None
        try:
            return parse_sync_body(self.body)[0]
        except ApiRefusal:
            return None
