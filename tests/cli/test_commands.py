"""The commands of whoever runs backups, against the simulator and its book of histories."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from cbr_sync.app import utc_now
from cbr_sync.cli import console
from cbr_sync.cli.main import app
from cbr_sync.local import simulator_environ
from cbr_sync.models import Status
from cbr_sync.simulator.cloud import Simulator
from cbr_sync.simulator.scenarios import demo_simulator
from cbr_sync.simulator.server import SimulatorServer
from cbr_sync.sync import Progress
from support.world import FILE, PUBLIC, VMWARE

FROZEN = "9f503152-be96-4e9b-8da2-705d42cf6e07"
BROKEN = "7d3e1f30-9c74-4c79-8b80-5e3b20ad4c05"
COMMANDS = [
    *(["sync"], ["report"], ["vaults"], ["doctor"], ["invoke"], ["replay"], ["simulate"], ["schema"]),
    *(["webhook", "sign"], ["webhook", "send"]),
]


def run(*words: str, **environ: str) -> Result:
    """The command with these words; no exception but its exit gets out of it."""
    result = CliRunner(env=environ).invoke(app, list(words))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A simulator that the environment points to, as `cbr-sync simulate` makes it."""
    simulator = demo_simulator(utc_now, operation_seconds=0)
    with SimulatorServer(simulator) as server:
        for name, value in simulator_environ(server.url, VMWARE).items():
            monkeypatch.setenv(name, value)
        yield simulator


def test_vaults_that_are_named_are_synced(cloud: Simulator) -> None:
    """Each with its status and its operation; by hand, so not an automatic trigger."""
    result = run("sync", VMWARE, FILE)
    assert result.exit_code == 0
    assert re.search(rf"{VMWARE}  accepted\n    operation [0-9a-f-]{{36}} \(attempts: 1\)", result.stdout)
    assert result.stdout.endswith("\n2 accepted\n")
    assert not cloud.syncs_of(FILE)[-1].auto_trigger
    assert result.stderr == ""


def test_a_failure_is_told_in_the_apis_words_and_by_the_exit_code(cloud: Simulator) -> None:
    """One vault's failure stops no other."""
    result = run("sync", PUBLIC, VMWARE)
    assert result.exit_code == 1
    assert "BackupService.7300: The vault type does not support synchronization." in result.stdout
    assert "1 failed, 1 accepted" in result.stdout
    assert len(cloud.syncs_of(VMWARE)) == 15


def test_every_hybrid_vault_is_synced_and_followed_to_its_end(cloud: Simulator) -> None:
    """The numbers of copies are there then; one that cannot be synced is told of."""
    result = run("sync", "--hybrid", "--wait", "--json")
    outcomes = {outcome["vault_id"]: outcome for outcome in json.loads(result.stdout)["outcomes"]}
    assert outcomes[VMWARE]["status"] == "succeeded"
    assert outcomes[VMWARE]["copies"] == {"synced": 12, "deleted": 1, "failed": 0}
    assert outcomes[BROKEN]["error"]["code"] == "BackupService.6405"
    assert outcomes[FROZEN]["status"] == "skipped"
    assert PUBLIC not in outcomes
    assert result.exit_code == 1
    assert cloud.refused_signatures == 0


def test_without_names_the_vaults_of_the_settings_are_synced(cloud: Simulator) -> None:
    """As a timer would; hybrid there is all of them."""
    before = len(cloud.operations)
    assert run("sync").exit_code == 0
    assert [operation.vault_id for operation in cloud.operations[before:]] == [VMWARE]
    counts = json.loads(run("sync", "--json", CBR_SYNC_VAULTS="hybrid").stdout)["counts"]
    assert sum(counts.values()) == 9


def test_a_dry_run_prints_what_would_be_sent_and_sends_nothing(cloud: Simulator) -> None:
    """The very requests, less what they are signed with; and which vault there would be none for."""
    before = len(cloud.operations)
    result = run("sync", "--hybrid", "--dry-run")
    assert result.exit_code == 0
    assert f'{{"sync": {{"vault_id": "{VMWARE}", "auto_trigger": false}}}}' in result.stdout
    assert "nothing: the vault vault-vmware-frozen is frozen, not available" in result.stdout
    assert {request.method for request in cloud.requests} == {"GET"}
    assert len(cloud.operations) == before
    assert "simulator-access-key" not in result.output
    (request,) = json.loads(run("sync", VMWARE, "--dry-run", "--json").stdout)
    assert request["body"] == {"sync": {"vault_id": VMWARE, "auto_trigger": False}}
    assert request["url"].endswith("/v3/f841e01fd2b14e7fa41b6ae7aa6b0594/checkpoints/sync")
    run("sync", VMWARE)
    assert cloud.requests[-1].path == request["url"].partition("/v3")[1] + request["url"].partition("/v3")[2]


def test_the_hybrid_vaults_are_listed(cloud: Simulator) -> None:
    """With their ids, whole on a narrow terminal; public ones are none of ours."""
    result = run("vaults", COLUMNS="80")
    assert result.exit_code == 0
    assert all(vault.id in result.stdout for vault in cloud.vaults if vault.cloud_type == "hybrid")
    assert PUBLIC not in result.stdout
    found = json.loads(run("vaults", "--tag", "env=prod", "--object-type", "file", "--json").stdout)
    assert [vault["id"] for vault in found] == [FILE]


def test_a_report_shows_the_worst_first(cloud: Simulator) -> None:
    """State, age, name and why; exit code 1, since not all is well."""
    result = run("report")
    assert result.exit_code == 1
    states = re.findall(r"^(failing|never|stale|unknown|fresh) ", result.stdout, re.MULTILINE)
    assert states == ["failing"] * 2 + ["never"] + ["stale"] * 3 + ["unknown"] + ["fresh"] * 2
    assert "BackupService.6405: Bucket object deletion failed." in result.stdout
    assert "2 failing, 1 never, 3 stale, 1 unknown, 2 fresh (limit: 26 hours)" in result.stdout
    assert result.stderr == "", "the log is not for people"
    assert {request.method for request in cloud.requests} == {"GET"}


def test_a_report_on_what_is_fresh_exits_well(cloud: Simulator) -> None:
    """For a monitor that runs the command."""
    assert run("report", "--name", "vault-vmware-01").exit_code == 0
    assert run("report", "--name", "vault-vmware-01", "--max-age-hours", "6").exit_code == 1
    found = json.loads(run("report", "--object-type", "file", "--json").stdout)
    assert found["counts"] == {"never": 1, "fresh": 1}
    assert cloud.refused_signatures == 0


def test_a_report_can_be_a_page(cloud: Simulator, tmp_path: Path) -> None:
    """With two weeks of syncs; the command says where it is, and what it comes to."""
    path = tmp_path / "report.html"
    result = run("report", "--html", str(path))
    assert result.exit_code == 1
    assert f"The page is in {path}" in result.stdout
    page = path.read_text(encoding="utf-8")
    assert "7 of 9 vaults need a look" in page
    assert "14 syncs in the last 14 days" in page
    assert len(cloud.requests) > 1


@pytest.mark.parametrize(
    ("words", "environ", "code", "message"),
    [
        (["sync", "tape-7"], {}, 2, "'tape-7' is no vault id (a UUID); `cbr-sync vaults` lists them"),
        (["sync", VMWARE, "--hybrid"], {}, 2, "name vaults or say --hybrid, not both"),
        (["sync"], {"CBR_SYNC_VAULTS": ""}, 2, "name vaults, or say --hybrid for all of them"),
        (["sync", VMWARE], {"CBR_SYNC_REGION": "mars"}, 2, "CBR_SYNC_REGION: found 'mars'"),
        (["sync", "--dry-run", "--hybrid"], {"CBR_SYNC_REGION": "mars"}, 2, "CBR_SYNC_REGION: found 'mars'"),
        (["sync", VMWARE], {"CBR_SYNC_ALLOWED_VAULTS": FILE}, 1, "CBR_SYNC_ALLOWED_VAULTS does not hold"),
        (["vaults"], {"CBR_SYNC_REGION": "mars"}, 2, "CBR_SYNC_REGION: found 'mars'"),
        (["vaults"], {"HUAWEICLOUD_SDK_SK": "wrong"}, 1, "APIGW.0301: Incorrect IAM authentication"),
        (["vaults", "--tag", "env"], {}, 2, "--tag env: expected KEY=VALUE"),
        (["report"], {"HUAWEICLOUD_SDK_SK": "wrong"}, 1, "APIGW.0301: Incorrect IAM authentication"),
        (["report"], {"CBR_SYNC_REGION": "mars"}, 2, "CBR_SYNC_REGION: found 'mars'"),
        (
            ["report", "--name", "nobody"],
            {},
            1,
            "no hybrid vault matches name, so there is nothing",
        ),
        (["report", "--max-age-hours", "0"], {}, 2, "Invalid value for '--max-age-hours'"),
        (["report"], {"ALL_PROXY": "socks5://u:hunter2@h:1"}, 2, "ALL_PROXY: found a SOCKS proxy"),
        (
            ["vaults"],
            {"HTTPS_PROXY": "garbage://u:hunter2@h"},
            2,
            "HTTPS_PROXY: found neither an http:// nor",
        ),
        (["sync", VMWARE], {"SSL_CERT_FILE": "/nonexistent"}, 2, "SSL_CERT_FILE: found no certificates"),
        (["report", "--html", "/no/such/folder/x.html"], {}, 1, "/no/such/folder/x.html cannot be written"),
        (["report", "--max-age-hours", "soon"], {}, 2, "Invalid value for '--max-age-hours'"),
    ],
)
def test_what_goes_wrong_is_a_line_on_stderr(
    cloud: Simulator, words: list[str], environ: dict[str, str], code: int, message: str
) -> None:
    """Exit code 2 for settings and usage, 1 for the rest; no trace, at most one refused signature."""
    result = run(*words, **environ)
    assert result.exit_code == code
    assert message in result.stderr
    assert "hunter2" not in result.output
    assert cloud.refused_signatures <= 1


@pytest.mark.parametrize("words", [["report"], ["vaults"], ["sync", "--hybrid", "--dry-run"]])
def test_an_error_is_json_where_json_was_asked_for(cloud: Simulator, words: list[str]) -> None:
    """A program reads it as it would read the rest."""
    result = run(*words, "--json", HUAWEICLOUD_SDK_SK="wrong")
    assert json.loads(result.stdout)["error"] == "CredentialsRefusedError"
    assert cloud.refused_signatures == 1


def test_a_broken_sink_does_not_hide_what_was_done(cloud: Simulator) -> None:
    """The syncs run, whether anybody was told or not."""
    sink = {
        "CBR_SYNC_SMN_TOPIC_URN": "urn:smn:cn-north-4:f841e01f:x",
        "CBR_SYNC_SMN_ENDPOINT": "http://127.0.0.1:9",
    }
    result = run("sync", VMWARE, CBR_SYNC_MAX_ATTEMPTS="1", **sink)
    assert result.exit_code == 1
    assert f"{VMWARE}  accepted" in result.stdout
    assert "cbr-sync: smn: 1 messages not taken" in result.stderr
    result = run("report", CBR_SYNC_MAX_ATTEMPTS="1", **sink)
    assert "2 failing" in result.stdout
    assert "cbr-sync: smn: " in result.stderr
    assert len(cloud.syncs_of(VMWARE)) == 15


def test_a_sync_that_cannot_be_followed_is_told(cloud: Simulator) -> None:
    """It was accepted; what came of it nobody may see."""
    cloud.add_faults("403", VMWARE)
    assert run("sync", VMWARE).exit_code == 1
    blind = demo_simulator(utc_now, operation_seconds=600)
    with SimulatorServer(blind, on_request=lambda _request: blind.add_faults("403*9")) as server:
        result = run("sync", VMWARE, "--wait", CBR_SYNC_ENDPOINT=server.url)
    assert result.exit_code == 1
    assert "not all of them could be followed to their end" in result.stderr


def test_a_simulation_reaches_nobody(monkeypatch: pytest.MonkeyPatch, cloud: Simulator) -> None:
    """Whatever the environment holds: no sink, no check and no vault of it."""
    monkeypatch.setenv("CBR_SYNC_PING_URL", "http://127.0.0.1:9/check")
    monkeypatch.setenv("CBR_SYNC_SMN_TOPIC_URN", "urn:smn:cn-north-4:f841e01f:x")
    monkeypatch.setenv("CBR_SYNC_ALLOWED_VAULTS", FILE)
    monkeypatch.setenv("CBR_SYNC_SECRET_ID", "x")
    assert run("sync", VMWARE, "--simulate").exit_code == 0
    assert run("report", "--simulate", "--name", "vault-vmware-01").exit_code == 0
    assert cloud.requests == []


def test_the_doctor_tells_line_by_line(cloud: Simulator) -> None:
    """All well, and nothing changed; then something that is not, and what to do."""
    before = len(cloud.operations)
    result = run("doctor")
    assert result.exit_code == 0
    assert len(cloud.operations) == before
    result = run("doctor", CBR_SYNC_VAULTS=PUBLIC)
    assert result.exit_code == 1
    assert "BackupService.7300 would follow" in " ".join(result.stdout.split())
    assert "\n         > " in result.stdout
    findings = json.loads(run("doctor", "--json").stdout)
    assert {finding["verdict"] for finding in findings} == {"ok"}
    result = run("doctor", CBR_SYNC_REGION="mars")
    assert result.exit_code == 2
    assert "CBR_SYNC_REGION: found 'mars'" in " ".join(result.stdout.split())


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_a_help_with_an_example(words: list[str]) -> None:
    """That begins with the command itself."""
    result = run(*words, "--help", COLUMNS="80")
    assert result.exit_code == 0
    assert f"Example: cbr-sync {' '.join(words)} " in " ".join(result.stdout.split()) + " "
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_every_command_is_told_of(cloud: Simulator) -> None:
    """The list of this test is complete."""
    listed = {" ".join(words).split()[0] for words in COMMANDS}
    names = {command.callback.__name__ for command in app.registered_commands if command.callback}
    assert names | {"webhook"} == listed
    assert cloud.requests == []


def test_a_shell_can_complete() -> None:
    """Source: Typer, "CLI Option autocompletion"; the script asks the command itself."""
    environ = {
        **os.environ,
        "_CBR_SYNC_COMPLETE": "complete_bash",
        "COMP_WORDS": "cbr-sync re",
        "COMP_CWORD": "1",
    }
    command = [str(Path(sys.executable).parent / "cbr-sync")]
    result = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert result.stdout.split() == ["report", "replay"]


@pytest.mark.parametrize("words", [["report"], ["vaults"], ["doctor"], ["sync", VMWARE]])
def test_what_is_no_terminal_gets_plain_text(cloud: Simulator, words: list[str]) -> None:
    """No colour, no bars, no cursor moved."""
    result = run(*words)
    assert "\x1b" not in result.output
    assert len(cloud.requests) > 0


def shown(*progress: Progress, following: bool = False, terminal: bool = True) -> str:
    """What a terminal gets while these come in."""
    out = StringIO()
    screen = Console(file=out, force_terminal=terminal, width=80, height=30, color_system=None)
    with console.LiveProgress(screen, following=following) as live:
        for one in progress:
            live.watch(one)
    return out.getvalue()


def test_each_vault_has_a_bar_while_it_goes_on() -> None:
    """With the progress that the log tells, and the word it is at."""
    text = shown(Progress(VMWARE, "sending"), Progress(VMWARE, "running", 40), Progress(FILE, "succeeded"))
    assert re.search(rf"{VMWARE} .+  40% running", text)
    assert re.search(rf"{FILE} .+ 100% succeeded", text)


def test_what_is_accepted_goes_on_where_it_is_followed() -> None:
    """Else it is at its end."""
    accepted = Progress(VMWARE, Status.ACCEPTED)
    assert "100% accepted" in shown(accepted)
    assert "  0% accepted" in shown(accepted, following=True)


def test_many_vaults_are_summed_up() -> None:
    """They would not fit on a terminal."""
    vaults = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(30)]
    text = shown(*(Progress(vault, Status.ACCEPTED) for vault in vaults))
    assert "30 of 30 vaults" in text
    assert vaults[19] in text
    assert vaults[20] not in text


def test_nothing_moves_where_nobody_looks() -> None:
    """A log file is no terminal."""
    assert shown(Progress(VMWARE, "running", 40), terminal=False).strip() == ""


def test_an_interrupted_sync_ends_at_once_and_without_a_trace() -> None:
    """Whatever its threads wait for: here for an API that does not answer."""
    simulator = Simulator(now=utc_now)
    simulator.add_faults("hang*9")
    with SimulatorServer(
        simulator, on_request=lambda _request: os.kill(command.pid, signal.SIGINT)
    ) as server:
        environ: dict[str, Any] = {**os.environ, **simulator_environ(server.url, VMWARE)}
        words = [sys.executable, "-m", "cbr_sync", "sync", VMWARE, FILE]
        command = subprocess.Popen(words, env=environ, stdout=-1, stderr=-1, text=True)
        out, err = command.communicate(timeout=30)
    assert command.returncode == 130
    assert err == "\ncbr-sync: interrupted; a sync that was accepted goes on in the cloud\n"
    assert out == ""
