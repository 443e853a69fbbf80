"""A simulator with a past: vaults that were synced, or not, for two weeks.

For people who want to see a report without an account, and for the tests of the report.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from cbr_sync.simulator.cloud import Simulator
from cbr_sync.simulator.models import DEFAULT_VAULTS, Operation, Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

_DAYS = 14
_BUCKET_ERROR = ("BackupService.6405", "Bucket object deletion failed.")


@dataclass(frozen=True, slots=True)
class PastSync:
    """A sync in the past.

    Attributes:
        hours_ago: How long ago it began.
        hours: How long it took.
        ends: The status in which it ended, as in ``Vault``.
        failed: Number of copies that failed to sync.
        error: Code and message of its error_info.
    """

    hours_ago: float
    hours: float = 0.5
    ends: str = "success"
    failed: int = 0
    error: tuple[str, str] | None = None


def build_nightly_history(first_days_ago: int, last_days_ago: int = 0, **change: Any) -> list[PastSync]:
    """Build one sync for each night, at about the same hour.

    Args:
        first_days_ago: How many days ago the first night is.
        last_days_ago: How many days ago the last night is.
        change: Attributes that all of these syncs have, such as ``ends="failed"``.

    Returns:
        The syncs, the latest one first.
    """
    return [
        PastSync(7 + 24 * day + day % 3 * 0.1, 0.4 + day % 4 * 0.15, **change)
        for day in range(last_days_ago, first_days_ago)
    ]


def record_history(simulator: Simulator, vault: Vault, pasts: Sequence[PastSync], now: datetime) -> None:
    """Write syncs of a vault into the simulator's operation logs.

    Args:
        simulator: Gets the operations.
        vault: The vault that was synced.
        pasts: The syncs.
        now: The moment on the API's clock that the syncs' hours are counted from.
    """
    simulator.operations += [
        Operation(
            id=str(uuid.uuid4()),
            vault=vault.change_end(past.ends, failed=past.failed, error=past.error),
            created_at=now - timedelta(hours=past.hours_ago),
            seconds=past.hours * 3600,
            auto_trigger=True,
        )
        for past in pasts
    ]


def demo_simulator(now: Callable[[], datetime], **settings: Any) -> Simulator:
    """Build a simulator with vaults in every state that a report knows.

    Args:
        now: The clock.
        settings: Further keyword arguments of ``Simulator``.

    Returns:
        A simulator with its default vaults, and two that were never synced: one is new, one is not.
    """
    new = Vault(
        "b1725374-d0b8-4db1-8fc4-927f64e19a09",
        "vault-file-new",
        object_type="file",
        created_at=now() - timedelta(days=2),
    )
    forgotten = Vault("c2836485-e1c9-4ec2-9ad5-a38075f2ab10", "vault-vmware-forgotten")
    simulator = Simulator(now=now, vaults=(*DEFAULT_VAULTS, new, forgotten), **settings)
    begun = simulator.now()
    pasts = {
        "vault-vmware-01": build_nightly_history(_DAYS),
        "vault-file-01": [
            *build_nightly_history(_DAYS, 6),
            *build_nightly_history(6, 5, ends="timeout"),
            *build_nightly_history(5),
        ],
        "vault-vmware-02": build_nightly_history(_DAYS, 3),
        "vault-vmware-partial": build_nightly_history(_DAYS, 2) + build_nightly_history(2, failed=2),
        "vault-vmware-broken": build_nightly_history(_DAYS, 3)
        + build_nightly_history(3, ends="failed", error=_BUCKET_ERROR),
        "vault-vmware-busy": build_nightly_history(_DAYS, 1),
        "vault-vmware-frozen": build_nightly_history(_DAYS, 11),
    }
    for vault in DEFAULT_VAULTS:
        record_history(simulator, vault, pasts.get(vault.name, []), begun)
    return simulator
