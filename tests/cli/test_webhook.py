"""The commands ``webhook sign`` and ``webhook send``."""

from __future__ import annotations

import shlex
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from cbr_sync.settings import Settings
from cbr_sync.triggers import signature
from support.cli import run_cli
from support.world import SECRET, VMWARE, World, secret_text


def test_a_missing_secret_is_a_line_on_stderr() -> None:
    """Exit code 2, no traceback."""
    result = run_cli("webhook", "sign", "{}")
    assert result.exit_code == 2
    assert "CBR_SYNC_WEBHOOK_SECRET: not set" in result.stderr
    assert "Traceback" not in result.output


def test_an_invalid_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's secret never gets into a message."""
    monkeypatch.setenv("CBR_SYNC_WEBHOOK_SECRET", "hunter2hunter2")
    result = run_cli("webhook", "sign", "{}")
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
    result = run_cli("webhook", "sign", *words, "--url", "https://example.com/x", stdin=body)
    *lines, curl = result.stdout.strip().splitlines()
    headers = dict(line.split(": ", 1) for line in lines if line)
    parsed = shlex.split(curl)
    assert parsed[:4] == ["curl", "--request", "POST", "https://example.com/x"]
    assert parsed[-2:] == ["--data-raw", body]
    assert all(f"{key}: {value}" in parsed for key, value in headers.items())
    signature.verify(headers, body.encode(), [SECRET], now=float(headers["webhook-timestamp"]))
    assert secret_text() not in result.output


def test_a_webhook_is_sent_signed(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    """What the other side gets is what was signed; its response and its status are shown."""
    monkeypatch.setenv("CBR_SYNC_WEBHOOK_SECRET", secret_text())
    received: list[tuple[dict[str, str], bytes]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(({key.lower(): value for key, value in self.headers.items()}, body))
            self.send_response(207 if b"7300" in body else 200)
            self.end_headers()
            self.wfile.write(b'{"outcomes": []}')

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/sync"
        result = run_cli("webhook", "send", f'{{"vault_id": "{VMWARE}"}}', "--url", url)
        mixed = run_cli("webhook", "send", "-", "--url", url, stdin='{"vault_id": "7300"}')
        server.shutdown()
    assert (result.exit_code, result.stdout, result.stderr) == (0, '{"outcomes": []}\n', "HTTP 200 OK\n")
    assert mixed.exit_code == 1
    headers, body = received[0]
    signature.verify(headers, body, [SECRET], now=float(headers["webhook-timestamp"]))
    assert headers["content-type"] == "application/json"
    assert world.simulator.requests == []


def test_a_webhook_without_a_response_is_a_line_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which URL, and why; the password of a proxy is not shown."""
    monkeypatch.setenv("CBR_SYNC_WEBHOOK_SECRET", secret_text())
    result = run_cli("webhook", "send", "{}", "--url", "http://127.0.0.1:9/sync")
    assert result.exit_code == 1
    assert "no response from http://127.0.0.1:9/sync: " in result.stderr
    monkeypatch.setenv("HTTPS_PROXY", "garbage://u:hunter2@h")
    result = run_cli("webhook", "send", "{}", "--url", "https://example.com/")
    assert (result.exit_code, "hunter2" in result.output) == (1, False)
    assert "no response from https://example.com/: check HTTPS_PROXY" in result.stderr
    monkeypatch.delenv("HTTPS_PROXY")
    for url in ("nowhere", "https://", "https://..."):
        result = run_cli("webhook", "send", "{}", "--url", url)
        assert result.exit_code == 2
        assert f"--url {url}: expected a URL" in result.stderr


def test_a_body_that_is_no_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte of the command line that is not UTF-8 cannot be signed as JSON."""
    monkeypatch.setenv("CBR_SYNC_WEBHOOK_SECRET", secret_text())
    result = run_cli("webhook", "sign", "\udcff")
    assert result.exit_code == 2
    assert "the body is not UTF-8 text" in result.stderr


def test_a_new_secret_is_one_that_the_function_accepts(world: World) -> None:
    """Two calls make two of them."""
    first, second = (run_cli("webhook", "new-secret").stdout for _ in range(2))
    given = dict(line.split("=", 1) for line in first.splitlines())
    settings = Settings.load({**world.environ, **given})
    assert len(settings.webhook_secrets[0].get_secret_value()) == 32
    assert len(settings.webhook_tokens[0].get_secret_value()) >= 32
    assert not set(first.splitlines()) & set(second.splitlines())
