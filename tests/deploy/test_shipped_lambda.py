"""The Lambda zip, unpacked and run by the platform's own runtime client, with a Runtime API on loopback."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

import bundle
from cbr_sync.clock import Clock
from cbr_sync.local import simulator_environ
from cbr_sync.simulator.answers import Answer
from cbr_sync.simulator.cloud import Simulator
from cbr_sync.simulator.faults import Fault
from cbr_sync.simulator.models import SIMULATOR_CREDENTIALS, Request
from cbr_sync.simulator.server import SimulatorServer
from support.shipped import PATIENCE_SECONDS, LambdaService, install, on_linux, read_event, unpack
from support.world import FILE, VMWARE, secret_text

pytestmark = on_linux
Start = Callable[..., LambdaService]
SECRET_ID = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:cbr-sync-AbCdEf"


@pytest.fixture(scope="module")
def tree(zips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip, unpacked."""
    return unpack(zips / "cbr-sync-lambda-x86_64.zip", tmp_path_factory.mktemp("task"))


@pytest.fixture(scope="module")
def runtime_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runtime client, beside the function as on the platform."""
    requirements = bundle.ROOT / "requirements-dev.txt"
    only = ("awslambdaric", "simplejson", "snapshot-restore-py")
    return install(tmp_path_factory.mktemp("runtime") / "packages", requirements, only=only)


@pytest.fixture
def simulator() -> Simulator:
    """The API that the function calls."""
    return Simulator(now=Clock().now)


@pytest.fixture
def start_instance(
    tree: Path, runtime_client: Path, runtime_python: str, simulator: Simulator
) -> Iterator[Start]:
    """Starts an instance with these variables over those of a function that is set up well."""
    with SimulatorServer(simulator) as server:
        well = {**simulator_environ(server.url, VMWARE), "CBR_SYNC_WEBHOOK_SECRET": secret_text()}

        def start_service(
            *,
            without: tuple[str, ...] = (),
            secret: str = "",
            timeout_seconds: float = PATIENCE_SECONDS,
            **variables: str,
        ) -> LambdaService:
            environ = {name: value for name, value in {**well, **variables}.items() if name not in without}
            return LambdaService(
                tree, runtime_client, runtime_python, environ, secret, timeout_seconds=timeout_seconds
            )

        yield start_service


def select_outcomes(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The outcomes that were logged."""
    data_of_lines = [line["outcome"]["data"] for line in lines if "outcome" in line]
    return [data for data in data_of_lines if "attempts" in data]


def test_schedule_webhook_and_batch_are_answered_in_one_process(start_instance: Start) -> None:
    """Each as its platform reads it, and each outcome in the log."""
    with start_instance() as service:
        schedule = service.invoke(read_event("aws-schedule-rule"), "request-1")
        webhook = service.invoke(read_event("aws-webhook-function-url"), "request-2")
        batch = service.invoke(read_event("aws-queue-sqs"), "request-3")
    assert schedule.body["counts"] == {"accepted": 1}
    assert webhook.body["statusCode"] == 200
    assert json.loads(webhook.body["body"])["outcomes"][0]["status"] == "accepted"
    assert batch.body == {"batchItemFailures": []}
    assert not any(answer.is_error for answer in (schedule, webhook, batch))
    assert [outcome["trigger"]["kind"] for outcome in select_outcomes(service.logged())] == [
        "schedule", "webhook", "queue", "queue", "queue",
    ]  # fmt: skip


def test_a_second_delivery_in_the_same_process_adopts(start_instance: Start, simulator: Simulator) -> None:
    """What the first began serves the second."""
    event = {"trigger": "schedule", "scheduled_time": Clock().now().isoformat()}
    with start_instance() as service:
        first, second = (service.invoke(event, "request-1") for _ in range(2))
    (before,), (after,) = first.body["outcomes"], second.body["outcomes"]
    assert (before["adopted"], after["adopted"]) == (False, True)
    assert before["operation_log_id"] == after["operation_log_id"]
    assert len(simulator.syncs_of(VMWARE)) == 1


def test_a_report_runs_as_shipped_and_pings(start_instance: Start, simulator: Simulator) -> None:
    """Its modules are in the zip: the reply, the metrics, and two pings of one run at a monitor."""
    pings: list[str] = []

    class Monitor(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            pings.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Monitor) as monitor:
        threading.Thread(target=monitor.serve_forever, args=(0.05,), daemon=True).start()
        with start_instance(
            CBR_SYNC_PING_URL=f"http://127.0.0.1:{monitor.server_address[1]}/check"
        ) as service:
            answer = service.invoke(read_event("aws-schedule-report"), "0f5e3a52-3d5c-4c3a-8a71-6f3f7a3b0001")
        monitor.shutdown()
    (report,) = answer.body["reports"]
    assert report["counts"] == {"unknown": 6}
    assert {request.method for request in simulator.requests} == {"GET"}
    assert any('"StaleVaults":[6' in line for line in service.lines)
    rid = "?rid=0f5e3a52-3d5c-4c3a-8a71-6f3f7a3b0001"
    assert pings == [f"/check/start{rid}", f"/check/fail{rid}"]


def test_an_unfinished_run_is_an_error_that_names_the_vault(
    start_instance: Start, simulator: Simulator
) -> None:
    """The platform delivers the event again; the outcome was emitted before."""
    simulator.add_faults("slow-503*9")
    with start_instance(timeout_seconds=30, CBR_SYNC_LOOK_FIRST="false") as service:
        answer = service.invoke({"vault_id": FILE})
        again = service.invoke({"vault_id": FILE})
    assert answer.is_error
    assert answer.body["errorType"] == "SyncUnfinished"
    assert FILE in answer.body["errorMessage"]
    assert select_outcomes(service.logged())[0]["status"] == "unfinished"
    assert again.is_error, "the instance stays up"


def test_an_unreadable_event_is_an_error_that_says_what_was_found(start_instance: Start) -> None:
    """With the class's name, as an alarm's reader looks for it."""
    with start_instance() as service:
        answer = service.invoke({"vault_id": "tape-7"})
    assert answer.is_error
    assert answer.body["errorType"] == "EventError"
    assert "vault_id" in answer.body["errorMessage"]
    assert "tape-7" not in json.dumps(answer.body) + "".join(service.lines)


def test_wrong_settings_do_not_break_the_import_but_name_themselves(start_instance: Start) -> None:
    """All of them, in each event's answer: an import that fails would be shown without its message."""
    with start_instance(CBR_SYNC_CONCURRENCY="none", CBR_SYNC_VALUTS="hybrid") as service:
        answer = service.invoke({"vault_id": VMWARE})
        webhook = service.invoke(read_event("aws-webhook-function-url"))
    assert answer.body["errorType"] == "SettingsError"
    assert "CBR_SYNC_CONCURRENCY" in answer.body["errorMessage"]
    assert "CBR_SYNC_VALUTS" in answer.body["errorMessage"]
    assert webhook.body["statusCode"] == 500
    assert "CBR_SYNC" not in webhook.body["body"]


def test_keys_and_webhook_secret_come_from_the_secret(start_instance: Start) -> None:
    """Asked once with the platform's token; a webhook and a schedule both work from it."""
    keys = {"ak": SIMULATOR_CREDENTIALS.access_key, "sk": SIMULATOR_CREDENTIALS.secret_key}
    secret = json.dumps({**keys, "webhook_secret": secret_text()})
    without = ("HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK", "CBR_SYNC_WEBHOOK_SECRET")
    with start_instance(without=without, secret=secret, CBR_SYNC_SECRET_ID=SECRET_ID) as service:
        schedule = service.invoke({"trigger": "schedule"})
        webhook = service.invoke(read_event("aws-webhook-function-url"))
    assert schedule.body["counts"] == {"accepted": 1}
    assert webhook.body["statusCode"] == 200
    ((body, token),) = service.secret_requests
    assert token == "the-session-token"
    assert json.loads(body) == {"SecretId": SECRET_ID}
    assert SIMULATOR_CREDENTIALS.secret_key not in "".join(service.lines)


class UnencodableSimulator(Simulator):
    """An API that refuses every sync, in words that UTF-8 cannot hold."""

    def serve(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[Answer | Fault, Request]:
        """A lone surrogate, as JSON escapes it, in the place of each sync's answer."""
        answer, entry = super().serve(method, target, headers, body)
        if method == "POST":
            words = json.dumps({"error_code": "Some.\ud800", "error_msg": "no \ud800 way"}).encode()
            answer = Answer(400, {"Content-Type": "application/json"}, words)
        return answer, entry


@pytest.mark.parametrize("simulator", [UnencodableSimulator(now=Clock().now)])
def test_no_text_makes_a_reply_that_cannot_be_sent(start_instance: Start, simulator: Simulator) -> None:
    """The runtime client would end the process over it, after the sync was taken."""
    with start_instance() as service:
        caller = service.invoke({"vaults": {"name": "\ud800"}})
        api = service.invoke(
            {"id": "\ud800", "source": "é…", "detail-type": "x", "detail": {"vault_id": FILE}}
        )
    assert caller.body["errorType"] == "EventError"
    (outcome,) = api.body["outcomes"]
    assert (outcome["error"]["code"], outcome["error"]["message"]) == ("Some.?", "no ? way")
    assert (outcome["trigger"]["id"], len(simulator.requests)) == ("?", 1)


def test_each_run_writes_one_line_of_metrics(start_instance: Start) -> None:
    """As CloudWatch reads it, among lines of JSON; the second run is warm."""
    with start_instance() as service:
        for vault in (VMWARE, FILE):
            service.invoke({"vault_id": vault})
    cold, warm = (line for line in service.logged() if "_aws" in line)
    assert (cold["SyncsAccepted"], cold["ColdStart"], cold["service"]) == ([1.0], [1.0], "cbr-sync")
    assert "ColdStart" not in warm


def test_no_request_is_logged_with_its_url(start_instance: Start) -> None:
    """At INFO httpx logs each, which Lambda's JSON format would let through."""
    with start_instance() as service:
        service.invoke({"vault_id": VMWARE})
    assert not [line for line in service.lines if "HTTP Request" in line or "127.0.0.1" in line]


def test_nothing_is_compiled_or_written_when_it_runs(start_instance: Start, tree: Path) -> None:
    """Every module that a run imports has its bytecode in the zip; the platform could not write it."""
    before = {path: path.stat().st_mtime_ns for path in tree.rglob("*")}
    with start_instance() as service:
        service.invoke(read_event("aws-schedule-rule"))
    assert {path: path.stat().st_mtime_ns for path in tree.rglob("*")} == before


def test_the_instance_ends_at_sigterm(start_instance: Start) -> None:
    """SIGTERM, no traceback."""
    with start_instance() as service:
        service.invoke({"vault_id": VMWARE})
    assert service.exit_code in {0, -signal.SIGTERM}
    assert "Traceback" not in "".join(service.lines)
