"""The demo: every event in events/ through its door, on the simulator, with moto's SQS as the queue.

Exits with 1 if anything is not as ``playbook.py`` says it should be.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import Counter
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
from moto.server import ThreadedMotoServer
from rich.console import Console
from rich.table import Table

from cbr_sync.app import utc_now
from cbr_sync.aws.sigv4 import SigV4Auth
from cbr_sync.credentials import Credentials
from cbr_sync.local import InvokeResult, platform_of, play, signed, simulator_environ
from cbr_sync.settings import parse_webhook_secret
from cbr_sync.simulator.scenarios import demo_simulator
from cbr_sync.simulator.server import SimulatorServer
from support.sample_events import DEFAULT_VAULTS, PLAYBOOK, Expected, expected_messages, word_of

REGION = "eu-west-1"
AWS_KEYS = Credentials("demo-key", "demo-secret")


class Queue:
    """A queue on moto's server, spoken to as SQS speaks JSON."""

    def __init__(self, endpoint: str) -> None:
        self._client = httpx.Client(
            base_url=endpoint, auth=SigV4Auth(AWS_KEYS, REGION, "sqs", utc_now), trust_env=False
        )
        self.url: str = self._call("CreateQueue", QueueName="outcomes")["QueueUrl"]

    def look(self) -> list[dict[str, Any]]:
        """The messages that came since the last look; they stay in the queue, unseen for a while."""
        bodies: list[dict[str, Any]] = []
        while messages := self._call("ReceiveMessage", QueueUrl=self.url, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            bodies += [json.loads(message["Body"]) for message in messages]
        return bodies

    def _call(self, action: str, **body: Any) -> dict[str, Any]:
        headers = {"X-Amz-Target": f"AmazonSQS.{action}", "Content-Type": "application/x-amz-json-1.0"}
        answer: dict[str, Any] = self._client.post("/", json=body, headers=headers).raise_for_status().json()
        return answer


def main() -> int:
    """Play all, show all, and say whether all was as it should be."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    console = Console(width=None if sys.stdout.isatty() else 120)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    queue = Queue(f"http://{host}:{port}")
    environ = {
        "CBR_SYNC_SQS_QUEUE_URL": queue.url,
        "AWS_ENDPOINT_URL_SQS": f"http://{host}:{port}",
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": AWS_KEYS.access_key,
        "AWS_SECRET_ACCESS_KEY": AWS_KEYS.secret_key,
    }
    messages: list[dict[str, Any]] = []
    mistakes = play_all(console, environ, queue, messages)
    mistakes += show_queue(console, messages)
    moto.stop()
    for mistake in mistakes:
        console.print(f"not as it should be: {mistake}", style="red", markup=False)
    if not mistakes:
        console.print(f"All {len(PLAYBOOK)} events did what they should.", style="green")
    return 1 if mistakes else 0


def play_all(
    console: Console, environ: dict[str, str], queue: Queue, messages: list[dict[str, Any]]
) -> list[str]:
    """Play every event, print a row a vault and keep the messages; gives what is not as it should be."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("event", overflow="fold")  # whole, if on several lines, on a narrow terminal
    for column in ("kind", "vault", "status", "operation", "reply"):
        table.add_column(column, no_wrap=True)
    mistakes = []
    for path, expected in PLAYBOOK.items():
        played = play_one(path, environ)
        emitted = queue.look()
        messages += emitted
        add_rows(table, path.stem, played, [event for event in emitted if "subject" in event])
        if (got := Expected.of(played.answer, emitted)) != expected:
            mistakes.append(f"{path.name}: {got}, expected {expected}")
    console.print(table)
    return mistakes


def play_one(path: Path, environ: dict[str, str]) -> InvokeResult:
    """Play an event on a simulator of its own, which knows of no other event."""
    with SimulatorServer(demo_simulator(utc_now)) as server:
        environ = {**simulator_environ(server.url, DEFAULT_VAULTS), **environ}
        event = json.loads(path.read_text(encoding="utf-8"))
        event = signed(event, parse_webhook_secret(environ["CBR_SYNC_WEBHOOK_SECRET"]), now=time.time())
        with redirect_stderr(StringIO()):  # the log, which the queue repeats
            return play(event, platform_of(path), environ)


def add_rows(table: Table, name: str, played: InvokeResult, told: list[dict[str, Any]]) -> None:
    """A row for each vault; the event is named once."""
    for number, event in enumerate(told):
        first = (name, str(played.kind)) if number == 0 else ("", "")
        word = word_of(event)
        style = "green" if word == "accepted" else "yellow"
        answer = "" if number else played.answer
        table.add_row(*first, short(event["subject"]), f"[{style}]{word}", operation(event["data"]), answer)


def operation(data: dict[str, Any]) -> str:
    """The operation that was started, or the last one known; else why there is none."""
    sync = data if "status" in data else data["last_success"] or {}
    error = sync.get("error") or {}
    return short(sync.get("operation_log_id")) or error.get("code", "-").removeprefix("BackupService.")


def short(identifier: str | None) -> str:
    """The beginning of an id, enough to tell them apart."""
    return f"{identifier[:8]}…" if identifier else ""


def show_queue(console: Console, messages: list[dict[str, Any]]) -> list[str]:
    """Print what lies in the queue, by type; gives what is not as it should be."""
    counts = Counter(message["type"] for message in messages)
    console.print("\nIn the queue lie now:")
    for kind, count in sorted(counts.items()):
        console.print(f"  {count:3}  {kind}", highlight=False)
    console.print("One of them:\n")
    console.print_json(json.dumps(messages[0]))
    console.print()
    wanted = expected_messages()
    return [] if counts == wanted else [f"the queue holds {dict(counts)}, expected {dict(wanted)}"]


if __name__ == "__main__":
    sys.exit(main())
