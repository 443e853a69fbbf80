"""What the commands share: the environment that they run in."""

from __future__ import annotations

import pytest

from cbr_sync.simulator.cloud import Simulator
from support.cli import run_cli
from support.world import FILE, VMWARE


def test_a_simulation_reaches_nobody(monkeypatch: pytest.MonkeyPatch, cloud: Simulator) -> None:
    """Whatever the environment holds: none of its sinks, checks and vaults count."""
    monkeypatch.setenv("CBR_SYNC_PING_URL", "http://127.0.0.1:9/check")
    monkeypatch.setenv("CBR_SYNC_SMN_TOPIC_URN", "urn:smn:cn-north-4:f841e01f:x")
    monkeypatch.setenv("CBR_SYNC_ALLOWED_VAULTS", FILE)
    monkeypatch.setenv("CBR_SYNC_SECRET_ID", "x")
    assert run_cli("sync", VMWARE, "--simulate").exit_code == 0
    assert run_cli("report", "--simulate", "--name", "vault-vmware-01").exit_code == 0
    assert cloud.requests == []
