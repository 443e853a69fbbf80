"""The command ``doctor``: what it prints, and its exit codes."""

from __future__ import annotations

import json

from cbr_sync.simulator.cloud import Simulator
from support.cli import run_cli
from support.world import PUBLIC


def test_the_doctor_prints_each_finding(cloud: Simulator) -> None:
    """All well, and nothing changed; then something that is not, and what to do."""
    before = len(cloud.operations)
    result = run_cli("doctor")
    assert result.exit_code == 0
    assert len(cloud.operations) == before
    result = run_cli("doctor", CBR_SYNC_VAULTS=PUBLIC)
    assert result.exit_code == 1
    assert "BackupService.7300 would follow" in " ".join(result.stdout.split())
    assert "\n         > " in result.stdout
    findings = json.loads(run_cli("doctor", "--json").stdout)
    assert {finding["verdict"] for finding in findings if finding["subject"] != "people"} == {"ok"}
    result = run_cli("doctor", CBR_SYNC_REGION="mars")
    assert result.exit_code == 2
    assert "CBR_SYNC_REGION: found 'mars'" in " ".join(result.stdout.split())
