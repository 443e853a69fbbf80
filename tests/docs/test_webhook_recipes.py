"""The recipes for senders: the scripts run against the function, the configurations say what they should."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from cbr_sync.aws_lambda import LambdaAdapter
from cbr_sync.clock import Clock
from cbr_sync.local import LocalLambdaContext, simulator_environ
from cbr_sync.models import Kind, Trigger
from cbr_sync.settings import Settings
from cbr_sync.simulator.cloud import Simulator
from cbr_sync.simulator.scenarios import demo_simulator
from cbr_sync.simulator.server import SimulatorServer
from cbr_sync.triggers.base import Message
from cbr_sync.triggers.payload import parse_request
from support.imports import ROOT
from support.world import VMWARE, World, secret_text

RECIPES = ROOT / "docs" / "recipes"
PAGE = (ROOT / "docs" / "webhooks.md").read_text(encoding="utf-8")
TOKEN = "made-up-token-" + "x" * 32
# What a script needs; a machine without one of them cannot run it.
needs_curl = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("openssl")), reason="no curl, openssl"
)


class Gateway(ThreadingHTTPServer):
    """Hands HTTP requests to the function, as a Function URL does, and remembers its replies."""

    def __init__(self, adapter: LambdaAdapter) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.adapter = adapter
        self.replies: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}/sync"


class _Handler(BaseHTTPRequestHandler):
    server: Gateway

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        event = {
            "version": "2.0",
            "rawPath": self.path,
            "headers": {key.lower(): value for key, value in self.headers.items()},
            "requestContext": {"http": {"method": self.command}, "requestId": "r"},
            "body": body,
            "isBase64Encoded": False,
        }
        reply = self.server.adapter(event, LocalLambdaContext(60))
        self.server.replies.append(reply)
        self.send_response(reply["statusCode"])
        for key, value in reply["headers"].items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(reply["body"].encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def open_gateway(**environ: str) -> Iterator[tuple[Gateway, Simulator]]:
    """Yield a gateway in front of the function, in front of a simulator, all with the real clock."""
    simulator = demo_simulator(Clock().now, operation_seconds=60)
    with SimulatorServer(simulator) as server:
        settings = {**simulator_environ(server.url, VMWARE), "CBR_SYNC_WEBHOOK_SECRET": "", **environ}
        with closing(LambdaAdapter(settings)) as adapter, Gateway(adapter) as gateway:
            threading.Thread(target=gateway.serve_forever, args=(0.05,), daemon=True).start()
            yield gateway, simulator
            gateway.shutdown()


def run_script(name: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a script with these variables."""
    command = ["sh", str(RECIPES / name), VMWARE]
    return subprocess.run(
        command,
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@needs_curl
@pytest.mark.parametrize("size", [24, 32, 33, 64])
def test_the_signed_script_starts_one_sync(tmp_path: Path, size: int) -> None:
    """With a key of any length, whatever bytes are in it; the function verifies it."""
    secret = secret_text(bytes([0, 255, 10, 37, 92, *range(1, 255)])[:size])
    (tmp_path / "secret").write_text(secret + "\n")
    with open_gateway(CBR_SYNC_WEBHOOK_SECRET=secret) as (gateway, simulator):
        before = len(simulator.syncs_of(VMWARE))
        done = run_script(
            "send-signed.sh", CBR_SYNC_URL=gateway.url, CBR_SYNC_SECRET_FILE=str(tmp_path / "secret")
        )
        assert (done.returncode, done.stderr) == (0, "")
        (outcome,) = json.loads(done.stdout)["outcomes"]
        assert outcome["status"] == "accepted"
        assert re.fullmatch(r"job-[0-9a-f]{32}", outcome["trigger"]["id"])
        assert outcome["trigger"]["time"] is not None
        assert len(simulator.syncs_of(VMWARE)) == before + 1


@needs_curl
def test_a_wrong_secret_fails_the_job(tmp_path: Path) -> None:
    """The script's exit code says so."""
    (tmp_path / "secret").write_text(secret_text(b"w" * 32))
    with open_gateway(CBR_SYNC_WEBHOOK_SECRET=secret_text()) as (gateway, _):
        done = run_script(
            "send-signed.sh", CBR_SYNC_URL=gateway.url, CBR_SYNC_SECRET_FILE=str(tmp_path / "secret")
        )
    assert done.returncode != 0
    assert "401" in done.stderr


@needs_curl
def test_the_script_with_a_token_starts_one_sync(tmp_path: Path) -> None:
    """The header comes from a file."""
    (tmp_path / "token").write_text(f"Authorization: Bearer {TOKEN}")
    with open_gateway(CBR_SYNC_WEBHOOK_TOKEN=TOKEN) as (gateway, _):
        done = run_script(
            "send-with-token.sh", CBR_SYNC_URL=gateway.url, CBR_SYNC_TOKEN_FILE=str(tmp_path / "token")
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["outcomes"][0]["status"] == "accepted"


@pytest.mark.parametrize("name", ["send-signed.sh", "send-with-token.sh"])
def test_no_key_is_an_argument_of_a_program(name: str) -> None:
    """Whoever may list the processes would read it. What is expanded beside a program's name is no secret."""
    code = "".join(
        line
        for line in (RECIPES / name).read_text(encoding="utf-8").splitlines(keepends=True)
        if line.lstrip()[:1] != "#"
    )
    for command in re.findall(r"(?:curl|openssl|cat|od|tr|date)\b[^|;&\n]*(?:\\\n[^|;&\n]*)*", code):
        assert not re.search(r"\$\{?(secret|key)\b", command), command


def list_blocks(language: str) -> list[str]:
    """The fenced blocks of the page in this language."""
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```", PAGE)


def test_the_configurations_are_yaml_that_sends_a_token() -> None:
    """Alertmanager, Grafana, and a step of GitHub Actions."""
    alertmanager, grafana, (step,) = (yaml.safe_load(block) for block in list_blocks("yaml"))
    (config,) = alertmanager["receivers"][0]["webhook_configs"]
    assert config["http_config"]["authorization"]["type"] == "Bearer"
    assert grafana["contactPoints"][0]["receivers"][0]["settings"]["authorization_scheme"] == "Bearer"
    assert "Authorization: Bearer" in step["run"]


def test_the_payloads_on_the_page_are_read() -> None:
    """In commands as in the text."""
    settings = Settings.load(World().environ)
    detail = re.search(r'"Detail": "(.*)"', PAGE)
    body = re.search(r"--message-body '(.*)'", PAGE)
    assert detail
    assert body
    for payload in (json.loads(f'"{detail[1]}"'), body[1]):
        parse_request(Message(Trigger(kind=Kind.QUEUE, id="x"), payload), settings)


def test_the_page_names_every_recipe() -> None:
    """And only such as exist."""
    assert set(re.findall(r"\(recipes/([^)]+)\)", PAGE)) == {path.name for path in RECIPES.iterdir()}
