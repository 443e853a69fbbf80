"""The FunctionGraph zip, unpacked, index.py loaded by path, with the platform's old libraries behind it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cbr_sync.clock import Clock
from cbr_sync.local import simulator_environ
from cbr_sync.simulator.cloud import Simulator
from cbr_sync.simulator.server import SimulatorServer
from support.shipped import PATIENCE_SECONDS, TESTS, install, on_linux, read_event, unpack
from support.world import FILE, VMWARE, secret_text

pytestmark = on_linux
Run = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def code(zips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip, unpacked."""
    return unpack(zips / "cbr-sync-functiongraph-x86_64.zip", tmp_path_factory.mktemp("code"))


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the platform has of its own, too old for us."""
    target = tmp_path_factory.mktemp("platform") / "site-packages"
    return install(target, TESTS / "support" / "functiongraph-libraries.txt")


@pytest.fixture
def run_instance(code: Path, libraries: Path, runtime_python: str) -> Iterator[Run]:
    """Runs an instance: what the initializer and each event gave, and at last which modules it had."""
    with SimulatorServer(Simulator(now=Clock().now)) as server:
        well = {**simulator_environ(server.url, VMWARE), "CBR_SYNC_WEBHOOK_SECRET": secret_text()}

        def run_events(*events: object, **variables: str) -> list[dict[str, Any]]:
            command = [runtime_python, "-I", "-S", str(TESTS / "support" / "functiongraph_runtime.py")]
            done = subprocess.run(
                [*command, str(code), str(libraries)],
                input="".join(f"{json.dumps(event)}\n" for event in events),
                env={"RUNTIME_TIMEOUT": "60", **well, **variables},
                check=True,
                capture_output=True,
                text=True,
                timeout=PATIENCE_SECONDS,
            )
            lines = done.stdout.splitlines()
            # CloudWatch's metrics would be noise in LTS: each line there is one of the logger's.
            logged = (json.loads(line) for line in lines if not line.startswith("ANSWER "))
            assert all({"level", "message", "service"} <= line.keys() for line in logged)
            return [json.loads(line.removeprefix("ANSWER ")) for line in lines if line.startswith("ANSWER ")]

        yield run_events


def test_timer_and_gateway_events_are_answered(run_instance: Run) -> None:
    """One instance, initialised once, serves a timer and both forms of a gateway's body."""
    names = ("functiongraph-timer", "functiongraph-webhook-apig", "functiongraph-webhook-apig-base64")
    started, timer, plain, base64, _ = run_instance(*map(read_event, names))
    assert started == {"reply": None}
    assert timer["reply"]["counts"] == {"accepted": 1}
    assert [plain["reply"]["statusCode"], base64["reply"]["statusCode"]] == [200, 200]
    (outcome,) = json.loads(base64["reply"]["body"])["outcomes"]
    assert outcome["vault_id"] == FILE


def test_a_report_runs_as_shipped(run_instance: Run) -> None:
    """What only a report imports is in the zip, too."""
    _, answer, _ = run_instance(read_event("functiongraph-timer-report"))
    (report,) = answer["reply"]["reports"]
    assert report["counts"] == {"unknown": 7}


def test_our_packages_win_over_the_platforms_old_ones(run_instance: Run, code: Path) -> None:
    """Pydantic needs a newer typing-extensions than the one that lies behind."""
    *_, seen = run_instance(read_event("functiongraph-timer"))
    assert {"typing_extensions", "certifi"} <= seen["files"].keys()
    assert all(Path(file).is_relative_to(code) for file in seen["files"].values())
    assert {"requests", "urllib3", "boto3"}.isdisjoint(seen["modules"])


def test_wrong_settings_fail_the_initializer_by_name(run_instance: Run) -> None:
    """The platform discards the instance and shows the message."""
    started, *_ = run_instance(CBR_SYNC_CONCURRENCY="none")
    assert started["errorType"] == "SettingsError"
    assert "CBR_SYNC_CONCURRENCY" in started["errorMessage"]


def test_an_unfinished_run_raises_so_that_the_platform_retries(run_instance: Run) -> None:
    """A handler that returns is a success to the platform."""
    _, answer, _ = run_instance(
        {"vault_id": VMWARE},
        CBR_SYNC_ENDPOINT="http://127.0.0.1:1",
        RUNTIME_TIMEOUT="5",
    )
    assert answer["errorType"] == "SyncUnfinished"
    assert VMWARE in answer["errorMessage"]
