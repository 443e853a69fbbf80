"""The command that serves the simulator to any client."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from email.utils import parsedate_to_datetime

import httpx
import pytest
from typer.testing import CliRunner

from cbr_sync.cli.main import app
from cbr_sync.clock import Clock
from cbr_sync.huawei.signing import SdkHmacAuth
from cbr_sync.simulator.faults import Fault
from cbr_sync.simulator.models import SIMULATOR_CREDENTIALS
from support.simulator_client import LOGS, VAULTS, post_sync, read_error, show_log, start_sync
from support.world import FILE, VMWARE


@contextmanager
def run_simulate(*words: str, behind: timedelta = timedelta()) -> Iterator[httpx.Client]:
    """Run the command with these words, and give a client of it whose clock is so much behind."""
    command = [sys.executable, "-m", "cbr_sync", "simulate", "--port", "0", *words]
    environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=-1, stderr=subprocess.STDOUT, text=True, env=environ) as server:
        assert server.stdout is not None
        url = re.search(r"http://127\.0\.0\.1:\d+", server.stdout.readline())
        assert url is not None
        auth = SdkHmacAuth(SIMULATOR_CREDENTIALS, lambda: Clock().now() - behind)
        with httpx.Client(base_url=url[0], auth=auth, timeout=10) as client:
            yield client
        server.send_signal(signal.SIGINT)
        assert server.stdout.read().endswith("stopped\n")
    assert server.returncode == 0


def test_fault_list_explains_every_fault() -> None:
    """One line each, and nothing is served."""
    result = CliRunner().invoke(app, ["simulate", "--fault", "list"])
    assert result.exit_code == 0
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert set(Fault) < lines.keys()
    assert lines["drip"] == "the answer arrives a byte every half second; accepted"
    assert len(lines) == len(Fault) + 2


def test_the_options_reach_the_simulator() -> None:
    """A clock ahead by a quarter of an hour less a bit, whole seconds, odd rows, faults of one operation."""
    words = ["--clock-offset=840", "--whole-seconds", "--odd-rows", "--operation-seconds=0"]
    with run_simulate(*words, "--fault", "ShowVault=403-permission") as client:
        log = show_log(client, start_sync(client, VMWARE))
        listed = client.get(LOGS)
        assert read_error(client.get(f"{VAULTS}/{FILE}")) == (403, "BackupService.0103")
        assert client.get(f"{VAULTS}/{FILE}").status_code == 200
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", log["created_at"])
    assert 830 < (parsedate_to_datetime(listed.headers["Date"]) - Clock().now()).total_seconds() < 841
    assert any("id" not in row for row in listed.json()["operation_logs"])


def test_a_rate_of_less_than_one_a_second_is_possible() -> None:
    """The bucket holds one request, so the second one is limited."""
    with run_simulate("--rate-per-second", "0.001") as client:
        assert post_sync(client, VMWARE).status_code == 200
        limited = post_sync(client, FILE)
    assert read_error(limited) == (429, "APIGW.0308")
    assert limited.json()["error_msg"].endswith("limit:0.001,time:1 second")


@pytest.mark.parametrize("spec", ["ListLogs=503", "drip-before"])
def test_an_unknown_fault_or_target_is_an_error_of_usage(spec: str) -> None:
    """With what was found, and what is known."""
    result = CliRunner().invoke(app, ["simulate", "--fault", spec])
    assert result.exit_code == 2
    assert "known are" in result.stderr
    assert spec.partition("=")[0] in result.stderr
