"""The command ``simulate``: a CBR on loopback."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import httpx
import pytest

from cbr_sync.simulator.server import SimulatorServer
from support.cli import run_cli
from support.world import VMWARE, World


def test_the_simulator_serves_until_it_is_interrupted() -> None:
    """It prints its address and each request, does the fault asked for, and leaves no traceback behind."""
    command = [sys.executable, "-m", "cbr_sync", "simulate", "--port", "0", "--fault", "503"]
    fault = f"--fault={VMWARE}=429"
    environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [*command, fault], stdout=-1, stderr=subprocess.STDOUT, text=True, env=environ
    ) as server:
        assert server.stdout is not None
        lines = [server.stdout.readline() for _ in range(18)]
        url = re.search(r"http://127\.0\.0\.1:\d+", "".join(lines))
        assert url is not None
        assert httpx.get(f"{url[0]}/v3/projects").status_code == 503
        assert httpx.get(f"{url[0]}/v3/projects").status_code == 401
        server.send_signal(signal.SIGINT)
        rest = server.stdout.read()
    assert "GET /v3/projects -> 503" in rest
    assert rest.endswith("stopped\n")
    assert server.returncode == 0


def test_a_port_in_use_is_reported(world: World) -> None:
    """Which one, why, and what to do."""
    with SimulatorServer(world.simulator) as server:
        port = server.url.rpartition(":")[2]
        result = run_cli("simulate", "--port", port)
    assert result.exit_code == 2
    assert f"cannot listen on 127.0.0.1:{port} (" in result.stderr
    assert "choose another port with --port" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--port", "99999"], "Invalid value for '--port'"),
        (["--fault", "5x3"], "--fault 5x3: '5x3' is no fault; known are"),
    ],
)
def test_a_mistake_is_a_line_on_stderr(words: list[str], message: str) -> None:
    """Exit code 2, no traceback."""
    result = run_cli("simulate", *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output
