"""The command line as a whole: its commands, their help, and how it starts and ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cbr_sync
from cbr_sync.cli.main import app
from cbr_sync.clock import Clock
from cbr_sync.local import simulator_environ
from cbr_sync.simulator.cloud import Simulator
from cbr_sync.simulator.server import SimulatorServer
from support.cli import run_cli
from support.world import FILE, VMWARE

COMMANDS = [
    *(
        ["sync"],
        ["report"],
        ["follow"],
        ["vaults"],
        ["notify"],
        ["doctor"],
        ["invoke"],
        ["replay"],
        ["simulate"],
        ["schema"],
    ),
    *(["webhook", "new-secret"], ["webhook", "sign"], ["webhook", "send"]),
]


def test_the_version_is_that_of_the_package() -> None:
    """And no command is needed to see it."""
    result = run_cli("--version")
    assert (result.exit_code, result.stdout) == (0, f"cbr-sync {cbr_sync.__version__}\n")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_a_help_with_an_example(words: list[str]) -> None:
    """The example begins with the command itself."""
    result = run_cli(*words, "--help", COLUMNS="80")
    assert result.exit_code == 0
    assert f"Example: cbr-sync {' '.join(words)} " in " ".join(result.stdout.split()) + " "
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_every_command_is_listed(cloud: Simulator) -> None:
    """The list of this test is complete."""
    listed = {" ".join(words).split()[0] for words in COMMANDS}
    names = {command.name for command in app.registered_commands}
    groups = {group.name for group in app.registered_groups}
    assert names | groups == listed
    assert groups == {"webhook"}
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


def test_without_the_extra_the_command_says_what_to_install() -> None:
    """The deployed package has no Typer; whoever runs it by hand gets a line."""
    code = "import sys; sys.modules['typer'] = None; import cbr_sync.__main__"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr == "cbr-sync's command line needs typer: pip install 'cbr-sync[cli]'\n"


def test_an_interrupted_sync_ends_at_once_and_without_a_traceback() -> None:
    """Whatever its threads wait for: here for an API that does not answer."""
    simulator = Simulator(now=Clock().now)
    simulator.add_faults("hang*9")
    with SimulatorServer(
        simulator, on_request=lambda _request: os.kill(command.pid, signal.SIGINT)
    ) as server:
        environ: dict[str, Any] = {**os.environ, **simulator_environ(server.url, VMWARE)}
        words = [sys.executable, "-m", "cbr_sync", "sync", VMWARE, FILE]
        command = subprocess.Popen(words, env=environ, stdout=-1, stderr=-1, text=True)
        out, err = command.communicate(timeout=30)
    assert command.returncode == 130
    assert err == "\ncbr-sync: interrupted; syncs that were accepted continue in the cloud\n"
    assert out == ""
