"""What is shipped, unpacked and run as the platforms run it: another interpreter, another process."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest

import bundle
from cbr_sync.local import sign_event
from support.sample_events import EVENTS
from support.world import SECRET

TESTS = Path(__file__).parent.parent
# Longer than any run of a test, so a function that hangs fails its test and not the machine.
PATIENCE_SECONDS = 60


# The zips hold one compiled module, for Linux; that of x86_64 is the one that can be run on most machines.
on_linux = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="the x86_64 zips run on Linux on x86_64"
)


def unpack(path: Path, folder: Path) -> Path:
    """A zip's content in a folder."""
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    return folder


def read_event(name: str) -> Any:
    """Read an event from its file, freshly signed where it is a webhook."""
    event = json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
    return sign_event(event, SECRET, now=time.time())


def install(
    target: Path, requirements: Path, *, python: str = bundle.RUNTIME, only: Sequence[str] | None = None
) -> Path:
    """A folder with pinned packages for a version of Python on this machine; ``only`` picks some by name."""
    text = requirements.read_text(encoding="utf-8")
    if only is not None:
        pins = re.findall(r"^[a-z0-9-]+==.*(?:\n +.*)*", text, re.MULTILINE)
        text = "\n".join(pin for pin in pins if pin.partition("==")[0] in only)
    target.mkdir()
    picked = target.with_suffix(".txt")
    picked.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--only-binary=:all:", f"--python-version={python}"]
    subprocess.run([*command, f"--target={target}", f"--requirement={picked}"], check=True)
    return target


def build_once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], object]) -> Path:
    """Build a folder once for all workers of a test run. Who comes second waits for the first.

    Args:
        factory: Knows the temporary folder of this run.
        name: Name of the folder, one for each content.
        build: Makes and fills the folder that it is called with.

    Returns:
        The folder, complete.
    """
    base = factory.getbasetemp()
    # Each worker of pytest-xdist has a temporary folder of its own, inside one that belongs to the run.
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = root / name
    with (root / f"{name}.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed, however its process ends
        if not folder.exists():
            unfinished = root / f"{name}-unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            build(unfinished)
            unfinished.rename(folder)
    return folder


@dataclass(frozen=True, slots=True)
class Answer:
    """What the function posted for one event: the reply, or the error's body."""

    body: Any
    is_error: bool


@dataclass(slots=True)
class LambdaService:
    """Lambda around one instance of the function: the Runtime API and Secrets Manager, on loopback.

    Source: Lambda Developer Guide, "Using the Lambda runtime API for custom runtimes". The runtime client is
    the platform's own, awslambdaric.
    """

    tree: Path
    runtime_client: Path
    python: str
    environ: Mapping[str, str]
    secret: str = ""
    timeout_seconds: float = PATIENCE_SECONDS
    secret_requests: list[tuple[str, str | None]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    exit_code: int | None = None
    _events: queue.Queue[tuple[str, bytes]] = field(default_factory=queue.Queue)
    _answers: queue.Queue[Answer] = field(default_factory=queue.Queue)
    _over: threading.Event = field(default_factory=threading.Event)
    _server: ThreadingHTTPServer = field(init=False)
    _process: subprocess.Popen[str] = field(init=False)
    _reader: threading.Thread = field(init=False)

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"service": self}))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        port = self._server.server_address[1]
        environ = {
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "made-up",
            "AWS_SESSION_TOKEN": "the-session-token",
            "AWS_REGION": "eu-west-1",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_python{bundle.RUNTIME}",
            "AWS_LAMBDA_FUNCTION_NAME": "cbr-sync",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            "AWS_LAMBDA_LOG_FORMAT": "JSON",
            "AWS_LAMBDA_LOG_LEVEL": "INFO",
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": f"http://127.0.0.1:{port}",
            "LAMBDA_TASK_ROOT": str(self.tree),
            "PYTHONPATH": f"{self.tree}{os.pathsep}{self.runtime_client}",
            "PATH": os.environ["PATH"],
            "TZ": ":UTC",
            **self.environ,
        }
        self._process = subprocess.Popen(
            [self.python, "-m", "awslambdaric", "cbr_sync.aws_lambda.handler"],
            cwd=self.tree,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._process.terminate()
        self.exit_code = self._process.wait(PATIENCE_SECONDS)
        self._reader.join()
        self._server.shutdown()
        self._server.server_close()

    def invoke(self, event: object, request_id: str = "request-1") -> Answer:
        """What the function posts for this event."""
        self._events.put((request_id, json.dumps(event).encode()))
        try:
            return self._answers.get(timeout=PATIENCE_SECONDS)
        except queue.Empty:
            raise AssertionError("\n".join(["the function does not answer:", *self.lines])) from None

    def logged(self) -> list[dict[str, Any]]:
        """The lines that the function has written, each of which is JSON."""
        return [json.loads(line) for line in self.lines if line.strip()]

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            for line in stdout:
                self.lines.append(line)  # at once, so that a hanging function's last words are seen

    def next_event(self) -> tuple[str, bytes] | None:
        """The next event, when there is one; None when the instance is to end."""
        while not self._over.is_set():
            try:
                return self._events.get(timeout=0.05)
            except queue.Empty:
                continue
        return None

    def posted(self, body: bytes, *, is_error: bool) -> None:
        """Keep what the function posted; JSON has no NaN, whatever Python's reader thinks."""
        self._answers.put(Answer(json.loads(body.decode(), parse_constant=_no_json), is_error=is_error))


def _no_json(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: LambdaService

    def do_GET(self) -> None:
        if (event := self.service.next_event()) is not None:
            request_id, body = event
            deadline = str(int((time.time() + self.service.timeout_seconds) * 1000))
            arn = "arn:aws:lambda:eu-west-1:123456789012:function:cbr-sync"
            names = ("Aws-Request-Id", "Deadline-Ms", "Invoked-Function-Arn", "Trace-Id")
            values = (request_id, deadline, arn, "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700")
            headers = {f"Lambda-Runtime-{name}": value for name, value in zip(names, values, strict=True)}
            self._send(200, body, headers)
        else:
            self.close_connection = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["X-Amz-Target"] == "secretsmanager.GetSecretValue":
            self.service.secret_requests.append((body.decode(), self.headers["X-Amz-Security-Token"]))
            self._send(200, json.dumps({"SecretString": self.service.secret}).encode())
            return
        self.service.posted(body, is_error=self.path.endswith("/error"))
        self._send(202, b"{}")

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        # The runtime client's native part ends without a word where the type is missing.
        all_headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **(headers or {}),
        }
        for key, value in all_headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing."""
