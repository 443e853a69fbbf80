"""The command line: what it prints, where to, and its exit codes."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from cbr_sync.cli.main import app
from cbr_sync.local import simulator_environ
from cbr_sync.simulator.server import SimulatorServer
from cbr_sync.triggers import signature
from support.world import SECRET, VMWARE, World, secret_text

EVENTS = Path(__file__).parent.parent.parent / "events"
TIMER = str(EVENTS / "functiongraph-timer.json")
REST = str(EVENTS / "aws-webhook-rest-v1.json")


def run(*words: str, stdin: str | None = None) -> Result:
    """The command with these words; no exception but its exit gets out of it."""
    result = CliRunner().invoke(app, list(words), input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_an_event_is_played_on_a_simulator() -> None:
    """One command, no account: the vault, its status and its operation."""
    result = run("invoke", TIMER, "--simulate")
    assert result.exit_code == 0
    assert re.search(rf"{VMWARE}  accepted\n    operation [0-9a-f-]{{36}} \(attempts: 1\)", result.stdout)
    assert "timer: returned" in result.stdout
    assert "Traceback" not in result.output


def test_a_webhook_file_is_signed_and_its_failures_shown() -> None:
    """The API's code and words are there, and the exit code says that not all is well."""
    result = run("invoke", REST, "--simulate")
    assert result.exit_code == 1
    assert "BackupService.7300" in result.stdout
    assert "webhook: HTTP 207" in result.stdout


def test_json_is_the_reply_and_nothing_else() -> None:
    """For programs."""
    result = run("invoke", TIMER, "--simulate", "--json")
    assert json.loads(result.stdout)["counts"] == {"accepted": 1}


def test_an_error_as_json_has_its_name_and_message() -> None:
    """Also what failed can be read by a program."""
    result = run("invoke", "-", "--simulate", "--json", stdin='{"vault": 1}')
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"] == "EventError"


def test_a_refused_webhook_shows_its_reply() -> None:
    """Without a secret in the environment it goes unsigned, and the adapter says no."""
    result = run("invoke", "-", "--simulate", stdin='{"httpMethod": "GET"}')
    assert result.exit_code == 1
    assert "webhook: HTTP 405" in result.stdout
    assert "only POST is served here" in result.stdout


def test_wrong_settings_are_listed_without_a_trace() -> None:
    """Exit code 2, each mistake on its line."""
    result = run("invoke", REST)
    assert result.exit_code == 1  # a webhook's sender gets a reply, whatever the settings are
    result = run("invoke", TIMER)
    assert result.exit_code == 2
    assert "CBR_SYNC_REGION: not set" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("words", "stdin", "message"),
    [
        (["invoke", "no-such-file.json"], None, "no-such-file.json cannot be read: No such file"),
        (["invoke", "-"], "{", "stdin is not JSON"),
        (["invoke", TIMER, "--platform", "gcp"], None, "'gcp' is not one of"),
        (["webhook", "sign", "{}"], None, "CBR_SYNC_WEBHOOK_SECRET: not set"),
        (["simulate", "--port", "99999"], None, "Invalid value for '--port'"),
        (["simulate", "--fault", "5x3"], None, "--fault 5x3: '5x3' is no fault; known are"),
    ],
)
def test_a_slip_is_told_in_a_line(words: list[str], stdin: str | None, message: str) -> None:
    """Exit code 2, on stderr, no trace."""
    result = run(*words, stdin=stdin)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_a_secret_that_is_none_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's secret never gets into a message."""
    monkeypatch.setenv("CBR_SYNC_WEBHOOK_SECRET", "hunter2hunter2")
    result = run("webhook", "sign", "{}")
    assert result.exit_code == 2
    assert "expected whsec_" in result.stderr
    assert "hunter2" not in result.output


@pytest.mark.parametrize("through_stdin", [False, True])
def test_webhook_sign_prints_headers_and_a_line_that_a_shell_reads(
    monkeypatch: pytest.MonkeyPatch, through_stdin: bool
) -> None:
    """The curl line holds the very headers and body that were signed."""
    monkeypatch.setenv("CBR_SYNC_WEBHOOK_SECRET", secret_text())
    body = '{"vault_id": "it\'s"}'
    words = ["-"] if through_stdin else [body]
    result = run("webhook", "sign", *words, "--url", "https://example.com/x", stdin=body)
    *lines, curl = result.stdout.strip().splitlines()
    headers = dict(line.split(": ", 1) for line in lines if line)
    parsed = shlex.split(curl)
    assert parsed[:4] == ["curl", "--request", "POST", "https://example.com/x"]
    assert parsed[-2:] == ["--data-raw", body]
    assert all(f"{key}: {value}" in parsed for key, value in headers.items())
    signature.verify(headers, body.encode(), [SECRET], now=float(headers["webhook-timestamp"]))
    assert secret_text() not in result.output


def test_the_simulator_serves_until_it_is_interrupted() -> None:
    """It tells how to reach it, shows each request, does the fault asked for, and leaves no trace behind."""
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


def test_a_port_that_is_taken_is_told(world: World) -> None:
    """Which one, why, and what to do."""
    with SimulatorServer(world.simulator) as server:
        result = run("simulate", "--port", server.url.rpartition(":")[2])
    assert result.exit_code == 2
    assert "choose another with --port" in result.stderr


def test_without_the_extra_the_command_says_what_to_install() -> None:
    """The deployed package has no Typer; who runs it by hand is told."""
    code = "import sys; sys.modules['typer'] = None; import cbr_sync.__main__"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr == "cbr-sync's command line needs typer: pip install 'cbr-sync[cli]'\n"


def test_dead_letters_of_a_file_are_replayed(tmp_path: Path) -> None:
    """Each is told of as it goes, then how many were served; what was not is the exit code."""
    path = tmp_path / "letters.jsonl"
    path.write_text(f'{{"vault_id": "{VMWARE}"}}\n{{"vault_id": "tape-7"}}\n', encoding="utf-8")
    result = run("replay", str(path), "--simulate")
    assert result.exit_code == 1
    assert f"{path}, line 1: direct: served\n{VMWARE}  accepted" in result.stdout
    assert f"{path}, line 2: direct: left: EventError" in result.stdout
    assert "vault_id: found a string of 6 characters" in result.stderr
    assert result.stdout.endswith("1 of 2 served\n")
    told = json.loads(run("replay", str(path), "--simulate", "--json").stdout)
    assert [(letter["served"], letter.get("error")) for letter in told] == [
        (True, None),
        (False, "EventError"),
    ]


@pytest.mark.parametrize(
    ("source", "code", "message"),
    [
        ("no-such-file", 2, "no-such-file cannot be read: No such file"),
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/dead", 2, "AWS_ACCESS_KEY_ID: not set"),
        ("http://example.com/123456789012/dead", 2, "the queue: found"),
    ],
)
def test_letters_that_cannot_be_had_are_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, source: str, code: int, message: str
) -> None:
    """A file, keys or a URL that is wrong."""
    for name, value in simulator_environ("http://127.0.0.1:9", VMWARE).items():
        monkeypatch.setenv(name, value)
    result = run("replay", source)
    assert result.exit_code == code
    assert message in result.stderr


def test_no_letter_of_a_real_queue_is_simulated() -> None:
    """It would be deleted, and nothing synced."""
    result = run("replay", "https://sqs.eu-west-1.amazonaws.com/123456789012/dead", "--simulate")
    assert result.exit_code == 2
    assert "--simulate would take letters out of a real queue" in result.stderr


def test_a_webhook_is_sent_signed(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    """What the other side gets is what was signed; its answer and its status are shown."""
    monkeypatch.setenv("CBR_SYNC_WEBHOOK_SECRET", secret_text())
    got: list[tuple[dict[str, str], bytes]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append(({key.lower(): value for key, value in self.headers.items()}, body))
            self.send_response(207 if b"7300" in body else 200)
            self.end_headers()
            self.wfile.write(b'{"outcomes": []}')

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/sync"
        result = run("webhook", "send", f'{{"vault_id": "{VMWARE}"}}', "--url", url)
        mixed = run("webhook", "send", "-", "--url", url, stdin='{"vault_id": "7300"}')
        server.shutdown()
    assert (result.exit_code, result.stdout, result.stderr) == (0, '{"outcomes": []}\n', "HTTP 200 OK\n")
    assert mixed.exit_code == 1
    headers, body = got[0]
    signature.verify(headers, body, [SECRET], now=float(headers["webhook-timestamp"]))
    assert headers["content-type"] == "application/json"
    assert world.simulator.requests == []


def test_a_webhook_that_nobody_takes_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which URL, and why."""
    monkeypatch.setenv("CBR_SYNC_WEBHOOK_SECRET", secret_text())
    result = run("webhook", "send", "{}", "--url", "http://127.0.0.1:9/sync")
    assert result.exit_code == 1
    assert "http://127.0.0.1:9/sync gives no answer: " in result.stderr
    monkeypatch.setenv("HTTPS_PROXY", "garbage://u:hunter2@h")
    result = run("webhook", "send", "{}", "--url", "https://example.com/")
    assert (result.exit_code, "hunter2" in result.output) == (1, False)
    monkeypatch.delenv("HTTPS_PROXY")
    for url in ("nowhere", "https://", "https://..."):
        result = run("webhook", "send", "{}", "--url", url)
        assert result.exit_code == 2
        assert f"--url {url}: expected a URL" in result.stderr
    assert run("webhook", "sign", "\udcff").exit_code == 2


def test_the_schema_is_printed() -> None:
    """For a file."""
    assert json.loads(run("schema").stdout)["title"] == "What cbr-sync emits"
