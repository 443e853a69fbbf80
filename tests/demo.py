"""The demo: run every event in events/ through its handler, on the simulator, with moto's SQS as the queue.

Exits with 1 if a result is not the one that ``support/sample_events.py`` expects.
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

from cbr_sync.aws.sigv4 import SigV4Auth
from cbr_sync.clock import Clock
from cbr_sync.credentials import Credentials
from cbr_sync.local import InvokeResult, guess_platform, invoke, sign_event, simulator_environ
from cbr_sync.settings import parse_webhook_secret
from cbr_sync.simulator.scenarios import demo_simulator
from cbr_sync.simulator.server import SimulatorServer
from support.handing_on import show_handing_on
from support.sample_events import (
    DEFAULT_VAULTS,
    EXPECTED_RESULTS,
    Expected,
    count_expected_messages,
    get_status,
)

REGION = "eu-west-1"
AWS_KEYS = Credentials("demo-key", "demo-secret")


class Queue:
    """A queue on moto's server, called with the JSON protocol of SQS.

    Attributes:
        url: The queue's URL.
    """

    def __init__(self, endpoint: str) -> None:
        """Create the queue on the server at this endpoint."""
        self._client = httpx.Client(
            base_url=endpoint, auth=SigV4Auth(AWS_KEYS, REGION, "sqs", Clock().now), trust_env=False
        )
        self.url: str = self._call("CreateQueue", QueueName="outcomes")["QueueUrl"]

    def receive_new(self) -> list[dict[str, Any]]:
        """Receive the messages sent since the last call; they stay in the queue, invisible for a while."""
        bodies: list[dict[str, Any]] = []
        while messages := self._call("ReceiveMessage", QueueUrl=self.url, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            bodies += [json.loads(message["Body"]) for message in messages]
        return bodies

    def _call(self, action: str, **body: Any) -> dict[str, Any]:
        headers = {"X-Amz-Target": f"AmazonSQS.{action}", "Content-Type": "application/x-amz-json-1.0"}
        response = self._client.post("/", json=body, headers=headers).raise_for_status()
        result: dict[str, Any] = response.json()
        return result


def main() -> int:
    """Run every event, show the results, and return the exit code."""
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
    mistakes = run_all_events(console, environ, queue, messages)
    mistakes += show_queue(console, messages)
    mistakes += show_handing_on(console)
    moto.stop()
    for mistake in mistakes:
        console.print(f"unexpected: {mistake}", style="red", markup=False)
    if not mistakes:
        console.print(f"All {len(EXPECTED_RESULTS)} events gave the expected results.", style="green")
    return 1 if mistakes else 0


def run_all_events(
    console: Console, environ: dict[str, str], queue: Queue, messages: list[dict[str, Any]]
) -> list[str]:
    """Run every event and print a row for each of its vaults.

    Args:
        console: Where the table is printed.
        environ: The function's settings, without those that point to a simulator.
        queue: Where the function sends its messages.
        messages: Filled with the messages that arrive there.

    Returns:
        The results that differ from the expected ones.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("event", overflow="fold")  # whole, if on several lines, on a narrow terminal
    for column in ("kind", "vault", "status", "operation", "reply"):
        table.add_column(column, no_wrap=True)
    mistakes = []
    for path, expected in EXPECTED_RESULTS.items():
        result = run_event(path, environ)
        emitted = queue.receive_new()
        messages += emitted
        add_rows(table, path.stem, result, [event for event in emitted if "subject" in event])
        if (found := Expected.of(result.answer, emitted)) != expected:
            mistakes.append(f"{path.name}: {found}, expected {expected}")
    console.print(table)
    return mistakes


def run_event(path: Path, environ: dict[str, str]) -> InvokeResult:
    """Run the event in a file on a simulator of its own, so that no other event changes its result."""
    with SimulatorServer(demo_simulator(Clock().now)) as server:
        environ = {**simulator_environ(server.url, DEFAULT_VAULTS), **environ}
        event = json.loads(path.read_text(encoding="utf-8"))
        event = sign_event(event, parse_webhook_secret(environ["CBR_SYNC_WEBHOOK_SECRET"]), now=time.time())
        with redirect_stderr(StringIO()):  # the log has the same messages as the queue
            return invoke(event, guess_platform(path), environ)


def add_rows(table: Table, name: str, result: InvokeResult, emitted: list[dict[str, Any]]) -> None:
    """Add a row for each vault to the table; the first one has what belongs to the event as a whole.

    Args:
        table: The table of all events.
        name: The event's name.
        result: Its result.
        emitted: The messages about its vaults.
    """
    for number, message in enumerate(emitted):
        first = number == 0
        status = get_status(message)
        style = "green" if status == "accepted" else "yellow"
        table.add_row(
            name if first else "",
            result.kind if first else "",
            shorten_id(message["subject"]),
            f"[{style}]{status}",
            describe_operation(message["data"]),
            result.answer if first else "",
        )


def describe_operation(data: dict[str, Any]) -> str:
    """Name the operation that was started, or else the last one known, or else the error."""
    sync = data if "status" in data else data["last_success"] or {}
    error = sync.get("error") or {}
    return shorten_id(sync.get("operation_log_id")) or error.get("code", "-").removeprefix("BackupService.")


def shorten_id(identifier: str | None) -> str:
    """Return the first characters of an id, enough to distinguish several."""
    return f"{identifier[:8]}…" if identifier else ""


def show_queue(console: Console, messages: list[dict[str, Any]]) -> list[str]:
    """Print how many messages of each type are in the queue, and return what is unexpected about them."""
    counts = Counter(message["type"] for message in messages)
    console.print("\nMessages in the queue:")
    for kind, count in sorted(counts.items()):
        console.print(f"  {count:3}  {kind}", highlight=False)
    console.print("The first one:\n")
    console.print_json(json.dumps(messages[0]))
    console.print()
    expected = count_expected_messages()
    return [] if counts == expected else [f"found {dict(counts)} in the queue, expected {dict(expected)}"]


if __name__ == "__main__":
    sys.exit(main())
