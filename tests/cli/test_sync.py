"""The command ``sync``, against the simulator and its operation logs."""

from __future__ import annotations

import json
import re

import pytest

from cbr_sync.clock import Clock
from cbr_sync.simulator.cloud import Simulator
from cbr_sync.simulator.scenarios import demo_simulator
from cbr_sync.simulator.server import SimulatorServer
from support.cli import run_cli
from support.world import BUSY, FILE, PUBLIC, VMWARE

FROZEN = "9f503152-be96-4e9b-8da2-705d42cf6e07"
BROKEN = "7d3e1f30-9c74-4c79-8b80-5e3b20ad4c05"


def test_named_vaults_are_synced(cloud: Simulator) -> None:
    """Each is shown with its status and its operation; a sync by hand is no automatic trigger."""
    result = run_cli("sync", VMWARE, FILE)
    assert result.exit_code == 0
    assert re.search(rf"{VMWARE}  accepted\n    operation [0-9a-f-]{{36}} \(attempts: 1\)", result.stdout)
    assert result.stdout.endswith("\n2 accepted\n")
    assert not cloud.syncs_of(FILE)[-1].auto_trigger
    assert result.stderr == ""


def test_a_failure_is_shown_in_the_apis_words_and_by_the_exit_code(cloud: Simulator) -> None:
    """One vault's failure stops no other."""
    result = run_cli("sync", PUBLIC, VMWARE)
    assert result.exit_code == 1
    assert "BackupService.7300: The vault type does not support synchronization." in result.stdout
    assert "1 failed, 1 accepted" in result.stdout
    assert len(cloud.syncs_of(VMWARE)) == 15


@pytest.mark.usefixtures("cloud")
def test_every_hybrid_vault_is_synced_and_followed_to_its_end() -> None:
    """With the numbers of copies; a sync that runs already is waited for, what cannot be synced is shown."""
    simulator = demo_simulator(Clock().now, operation_seconds=0, running_seconds=1)
    with SimulatorServer(simulator) as server:
        result = run_cli("sync", "--hybrid", "--wait", "--json", CBR_SYNC_ENDPOINT=server.url)
    outcomes = {outcome["vault_id"]: outcome for outcome in json.loads(result.stdout)["outcomes"]}
    assert outcomes[VMWARE]["status"] == "succeeded"
    assert outcomes[VMWARE]["copies"] == {"synced": 12, "deleted": 1, "failed": 0}
    assert outcomes[BROKEN]["error"]["code"] == "BackupService.6405"
    older, own = simulator.syncs_of(BUSY)[-2:]
    assert own.created_at >= older.ended_at
    assert (outcomes[BUSY]["status"], outcomes[BUSY]["operation_log_id"]) == ("succeeded", own.id)
    assert outcomes[FROZEN]["status"] == "skipped"
    assert PUBLIC not in outcomes
    assert result.exit_code == 1
    assert simulator.refused_signatures == 0


def test_without_names_the_vaults_of_the_settings_are_synced(cloud: Simulator) -> None:
    """As for a timer, ``hybrid`` there means all of them."""
    before = len(cloud.operations)
    assert run_cli("sync").exit_code == 0
    assert [operation.vault_id for operation in cloud.operations[before:]] == [VMWARE]
    counts = json.loads(run_cli("sync", "--json", CBR_SYNC_VAULTS="hybrid").stdout)["counts"]
    assert sum(counts.values()) == 9


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize(
    "destination",
    [
        "urn:fss:cn-north-4:f841e01fd2b14e7fa41b6ae7aa6b0594:function:default:cbr-sync-later",
        "https://sqs.eu-west-1.amazonaws.com/123456789012/work",
    ],
)
def test_nothing_is_handed_on(destination: str) -> None:
    """Whoever typed the command sees what is left, on whichever platform the settings are used."""
    result = run_cli("sync", BUSY, CBR_SYNC_DEFER_TO=destination)
    assert "already running" in result.stdout
    assert result.stderr == ""


def test_a_dry_run_prints_the_requests_and_sends_none_of_them(cloud: Simulator) -> None:
    """The very requests, without their signatures; a vault that would get none is named with the reason."""
    before = len(cloud.operations)
    result = run_cli("sync", "--hybrid", "--dry-run")
    assert result.exit_code == 0
    assert f'{{"sync": {{"vault_id": "{VMWARE}", "auto_trigger": false}}}}' in result.stdout
    assert "skipped: the vault vault-vmware-frozen is frozen, not available" in result.stdout
    assert result.stdout.endswith("\nNothing was sent.\n")
    assert {request.method for request in cloud.requests} == {"GET"}
    assert len(cloud.operations) == before
    assert "simulator-access-key" not in result.output
    (request,) = json.loads(run_cli("sync", VMWARE, "--dry-run", "--json").stdout)
    assert request["body"] == {"sync": {"vault_id": VMWARE, "auto_trigger": False}}
    assert request["url"].endswith("/v3/f841e01fd2b14e7fa41b6ae7aa6b0594/checkpoints/sync")
    run_cli("sync", VMWARE)
    assert cloud.requests[-1].path == request["url"].partition("/v3")[1] + request["url"].partition("/v3")[2]


@pytest.mark.parametrize(
    ("words", "environ", "code", "message"),
    [
        (["tape-7"], {}, 2, "'tape-7' is not a vault ID (expected a UUID); `cbr-sync vaults` lists them"),
        ([VMWARE, "--hybrid"], {}, 2, "give vault IDs or --hybrid, not both"),
        ([], {"CBR_SYNC_VAULTS": ""}, 2, "no vault given; give vault IDs, use --hybrid for all of them"),
        ([VMWARE], {"CBR_SYNC_REGION": "mars"}, 2, "CBR_SYNC_REGION: found 'mars'"),
        (["--dry-run", "--hybrid"], {"CBR_SYNC_REGION": "mars"}, 2, "CBR_SYNC_REGION: found 'mars'"),
        (
            [VMWARE],
            {"CBR_SYNC_VAULTS": "", "CBR_SYNC_ALLOWED_VAULTS": FILE},
            1,
            "CBR_SYNC_ALLOWED_VAULTS does not",
        ),
        (
            [VMWARE],
            {"CBR_SYNC_ALLOWED_VAULTS": FILE},
            2,
            f"CBR_SYNC_VAULTS: found {VMWARE}, which CBR_SYNC_ALLOWED_VAULTS does",
        ),
        ([VMWARE], {"SSL_CERT_FILE": "/nonexistent"}, 2, "SSL_CERT_FILE: found no certificates"),
    ],
)
def test_a_mistake_is_a_line_on_stderr(
    cloud: Simulator, words: list[str], environ: dict[str, str], code: int, message: str
) -> None:
    """Exit code 2 for settings and usage, 1 for the rest; no traceback, at most one refused signature."""
    result = run_cli("sync", *words, **environ)
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert cloud.refused_signatures <= 1


def test_an_error_is_json_where_json_was_asked_for(cloud: Simulator) -> None:
    """A program reads it as it would read the rest."""
    result = run_cli("sync", "--hybrid", "--dry-run", "--json", HUAWEICLOUD_SDK_SK="wrong")
    assert json.loads(result.stdout)["error"] == "CredentialsRefusedError"
    assert cloud.refused_signatures == 1


def test_a_broken_sink_does_not_hide_the_outcomes(cloud: Simulator) -> None:
    """The syncs run and are shown, whether the sink took them or not."""
    sink = {
        "CBR_SYNC_SMN_TOPIC_URN": "urn:smn:cn-north-4:f841e01f:x",
        "CBR_SYNC_SMN_ENDPOINT": "http://127.0.0.1:9",
        "CBR_SYNC_NOTIFY": "all",
    }
    result = run_cli("sync", VMWARE, CBR_SYNC_MAX_ATTEMPTS="1", **sink)
    assert result.exit_code == 1
    assert f"{VMWARE}  accepted" in result.stdout
    assert "cbr-sync: smn: 1 message not accepted" in result.stderr
    assert len(cloud.syncs_of(VMWARE)) == 15


def test_a_sync_that_cannot_be_followed_is_a_failure(cloud: Simulator) -> None:
    """It was accepted; how it ended could not be seen."""
    cloud.add_faults("403", VMWARE)
    assert run_cli("sync", VMWARE).exit_code == 1
    blind = demo_simulator(Clock().now, operation_seconds=600)
    with SimulatorServer(blind, on_request=lambda _request: blind.add_faults("403*9")) as server:
        result = run_cli("sync", VMWARE, "--wait", CBR_SYNC_ENDPOINT=server.url)
    assert result.exit_code == 1
    assert "could not follow every sync to its end; run `cbr-sync report` later" in result.stderr
