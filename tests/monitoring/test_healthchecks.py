"""Pings: a monitor hears of the beginning and the end of each run, and never disturbs one."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from typing import Any

import httpx
import pytest

from cbr_sync.app import App
from cbr_sync.errors import CbrSyncError, SettingMistake, SettingsError, SinkError, SyncUnfinished
from cbr_sync.local import LocalLambdaContext
from cbr_sync.models import Status
from cbr_sync.monitoring.healthchecks import HealthchecksPing, build_body
from cbr_sync.monitoring.logger import make_logger
from cbr_sync.results import Ending, RunResult
from cbr_sync.settings import Settings
from cbr_sync.simulator.scenarios import PastSync, demo_simulator
from cbr_sync.transport import new_request, send
from support.builders import VAULT, Lines, build_outcome, build_result, build_world
from support.sockets import read_request, serving
from support.world import BUSY, FILE, PUBLIC, SECRET, VMWARE, World, webhook_event

CHECK = "https://hc.example.com/3c5f0a6e-6c3b-4d0f-9b0e-000000000001"
EVENT = {"trigger": "schedule", "vault_id": VMWARE}
RUN = "0f5e3a52-3d5c-4c3a-8a71-6f3f7a3b0001"


class Monitor:
    """A monitor beside the simulator; keeps what it was sent, in order."""

    def __init__(self, world: World, status: int = 200) -> None:
        self.pings: list[httpx.Request] = []
        self._status = status
        self._cloud = world.transport()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.host != "hc.example.com":
            return self._cloud.handle_request(request)
        self.pings.append(request)
        return httpx.Response(self._status)

    @property
    def suffixes(self) -> list[str]:
        """What follows the check's own path."""
        return [request.url.path.removeprefix(httpx.URL(CHECK).path) for request in self.pings]

    @property
    def said(self) -> str:
        """The body of the last ping."""
        return self.pings[-1].content.decode()


def run(
    world: World, event: object, monitor: Monitor, context: LocalLambdaContext | None = None, **environ: str
) -> dict[str, Any]:
    """A run of a function that pings, by a schedule where the event is a payload."""
    event = {"trigger": "schedule", **event} if isinstance(event, dict) and "headers" not in event else event
    environ = {**world.environ, "CBR_SYNC_PING_URL": CHECK, **environ}
    return world.on_lambda(event, environ, transport=httpx.MockTransport(monitor), context=context)


def test_a_run_pings_at_its_beginning_and_its_end(world: World) -> None:
    """POSTs to the check, joined by the run's id, with a few words."""
    monitor = Monitor(world)
    run(world, {"vault_ids": [VMWARE, FILE]}, monitor, LocalLambdaContext(aws_request_id=RUN))
    assert [str(request.url) for request in monitor.pings] == [
        f"{CHECK}/start?rid={RUN}",
        f"{CHECK}?rid={RUN}",
    ]
    assert {request.method for request in monitor.pings} == {"POST"}
    assert monitor.said == "syncs: 2 accepted"


def test_a_vault_whose_older_sync_still_runs_is_a_failure(world: World) -> None:
    """Its trigger is not served; where CBR_SYNC_DEFER_TO says whereto, it is handed on instead."""
    monitor = Monitor(world)
    run(world, {"vault_ids": [VMWARE, BUSY]}, monitor)
    assert monitor.suffixes == ["/start", "/fail"]
    assert monitor.said.splitlines()[0] == "syncs: 1 already_running, 1 accepted"


def test_a_run_whose_id_is_no_uuid_gets_one(world: World) -> None:
    """The monitor takes nothing else; both pings bear the same."""
    monitor = Monitor(world)
    run(world, {"vault_id": VMWARE}, monitor, LocalLambdaContext(aws_request_id="run-7"))
    first, last = (request.url.params["rid"] for request in monitor.pings)
    assert first == last == str(uuid.UUID(first))


def test_a_failed_sync_is_a_failure_in_the_apis_words(world: World) -> None:
    """The worst first, a line each."""
    monitor = Monitor(world)
    run(world, {"vault_ids": [VMWARE, PUBLIC]}, monitor)
    assert monitor.suffixes == ["/start", "/fail"]
    assert monitor.said.splitlines() == [
        "syncs: 1 failed, 1 accepted",
        f"failed: {PUBLIC}: BackupService.7300: The vault type does not support synchronization.",
    ]


def test_what_another_delivery_may_finish_is_only_logged(world: World) -> None:
    """Neither success nor failure: the check waits for the next one, or for its time to run out."""
    world.simulator.add_faults("429*9", FILE)
    monitor = Monitor(world)
    with pytest.raises(SyncUnfinished):
        run(world, {"vault_ids": [VMWARE, FILE]}, monitor)
    assert monitor.suffixes == ["/start", "/log"]
    assert monitor.said.startswith(f"syncs: 1 unfinished, 1 accepted\nunfinished: {FILE}: APIGW.0308: ")


def test_an_event_that_cannot_be_read_is_a_failure(world: World) -> None:
    """Somebody has to fix it."""
    monitor = Monitor(world)
    with pytest.raises(CbrSyncError):
        run(world, {"vault_id": "tape-7"}, monitor)
    assert monitor.suffixes == ["/start", "/fail"]
    assert monitor.said.startswith("rejected: schedule ")
    assert "vault_id: found a string of 6 characters" in monitor.said


def test_a_broken_sink_is_a_failure(world: World) -> None:
    """The syncs went well, but nobody was notified."""
    world.simulator.add_faults("404*9")
    monitor = Monitor(world)
    topic = "urn:smn:cn-north-4:f841e01fd2b14e7fa41b6ae7aa6b0594:backup"
    with pytest.raises(SinkError):
        run(
            world,
            {"vault_id": VMWARE},
            monitor,
            CBR_SYNC_SMN_TOPIC_URN=topic,
            CBR_SYNC_SMN_ENDPOINT="http://127.0.0.1:9",
            CBR_SYNC_NOTIFY="all",
        )
    assert monitor.suffixes == ["/start", "/fail"]
    assert "SinkError: smn: " in monitor.said


@pytest.mark.parametrize(
    ("hours_ago", "suffix", "words"),
    [(3, "", "vaults: 1 fresh"), (30, "/fail", "vaults: 1 stale\nstale: vault (8d3a8b28-")],
)
def test_a_report_is_well_where_all_is_fresh(hours_ago: float, suffix: str, words: str) -> None:
    """So one check shows both that reports come and that they are good."""
    world = build_world((VAULT, [PastSync(hours_ago)]))
    monitor = Monitor(world)
    run(world, {"report": {}}, monitor)
    assert monitor.suffixes == ["/start", suffix]
    assert monitor.said.startswith(words)


def test_a_long_list_is_cut(world: World) -> None:
    """A few lines are read, a thousand are not."""
    result = build_result(*(build_outcome(status=Status.FAILED) for _ in range(50)))
    lines = build_body(result, None).splitlines()
    assert (len(lines), lines[-1]) == (11, "and 41 more")
    world.simulator = demo_simulator(world.now)
    monitor = Monitor(world)
    run(world, {"report": {}, "vaults": {}}, monitor)
    assert "failing: vault-vmware-broken" in monitor.said
    assert "BackupService.6405: Bucket object deletion failed." in monitor.said


def test_only_what_comes_by_the_clock_pings(world: World) -> None:
    """A monitor waits for timers and schedules; a webhook says nothing about them, nor does a tick."""
    monitor = Monitor(world)
    event = webhook_event({"vault_id": VMWARE}, world, secret=b"the stranger's own, thirty-two b")
    assert run(world, event, monitor)["statusCode"] == 401
    assert run(world, webhook_event({"vault_id": VMWARE}, world, secret=SECRET), monitor)["statusCode"] == 200
    world.on_lambda({"vault_id": FILE}, transport=httpx.MockTransport(monitor))
    run(world, {"follow": {"every_minutes": 10}, "scheduled_time": "2026-11-23T03:00:00Z"}, monitor)
    assert monitor.pings == []


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_ping_that_is_refused_changes_nothing(world: World, log_lines: Lines, status: int) -> None:
    """It is logged, without the check's address, which is a secret."""
    monitor = Monitor(world, status)
    assert run(world, {"vault_id": VMWARE}, monitor)["counts"] == {"accepted": 1}
    warnings = [line for line in log_lines() if line["message"] == "a ping was not accepted"]
    assert [line["reason"] for line in warnings] == [f"HTTP {status}"] * 2
    assert "000000000001" not in str(warnings)


def test_a_ping_without_a_connection_changes_nothing(world: World, log_lines: Lines) -> None:
    """No name, no route, no listener."""
    cloud = world.transport()

    def unreachable(request: httpx.Request) -> httpx.Response:
        if request.url.host == "hc.example.com":
            raise httpx.ConnectError("Name or service not known", request=request)
        return cloud.handle_request(request)

    environ = {**world.environ, "CBR_SYNC_PING_URL": CHECK}
    reply = world.on_lambda(EVENT, environ, transport=httpx.MockTransport(unreachable))
    assert reply["counts"] == {"accepted": 1}
    reasons = [line["reason"] for line in log_lines() if "reason" in line]
    message = "CbrSync.Unreachable: no connection to https://hc.example.com: Name or service not known"
    assert reasons == [message] * 2


@pytest.mark.parametrize(("left", "least"), [(0.6, 0.4), (0.2, 0), (-1, 0)])
def test_a_ping_that_hangs_costs_its_share_and_no_more(log_lines: Lines, left: float, least: float) -> None:
    """Both together what is left of the run's time, whatever the other side does."""
    over = threading.Event()

    def hang(_request: httpx.Request) -> httpx.Response:
        over.wait(30)
        return httpx.Response(200)

    client = httpx.MockTransport(hang)
    begun = time.monotonic()
    ping = HealthchecksPing(
        transport=client,
        url=CHECK,
        run_id=RUN,
        result=RunResult(),
        logger=make_logger({}),
        remaining_seconds=lambda: left,
    )
    with ping:
        pass
    took = time.monotonic() - begun
    over.set()
    assert least <= took < least + 5
    assert [line["reason"] for line in log_lines()] == ["no answer yet"] * 2


def test_a_hanging_ping_keeps_no_worker_waiting(world: World) -> None:
    """It has connections of its own, which end with the instance's."""
    app = App(Settings.load({**world.environ, "CBR_SYNC_CONCURRENCY": "1"}), world.environ, make_logger({}))
    assert app.ping_http is not app.http
    ends: list[bytes] = []

    def handle(connection: socket.socket, _stop: threading.Event) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        ends.append(connection.recv(1))

    with serving(handle) as server:
        for transport in (app.http, app.ping_http):
            send(transport, new_request("GET", server.url, {}), auth=None, timeout_seconds=5)
        assert ends == []
        app.close()
    assert ends == [b"", b""]


@pytest.mark.parametrize("url", ["https://a..b/x", f"https://{'a' * 64}.example/x"])
def test_a_check_whose_host_cannot_be_is_only_logged(world: World, log_lines: Lines, url: str) -> None:
    """The run goes on as if nobody were to be pinged."""
    environ = {**world.environ, "CBR_SYNC_PING_URL": url}
    cloud = world.transport()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host != "cbr.cn-north-4.myhuaweicloud.com":
            request.url.host.encode("idna")
        return cloud.handle_request(request)

    reply = world.on_lambda(EVENT, environ, transport=httpx.MockTransport(answer))
    assert reply["counts"] == {"accepted": 1}
    assert len([line for line in log_lines() if line["message"] == "a ping was not accepted"]) == 2


def test_what_nobody_foresaw_is_named_without_its_words() -> None:
    """Its text may hold anything; the exception goes on its way."""
    assert build_body(RunResult(), ZeroDivisionError("hunter2")) == "ZeroDivisionError"
    assert RunResult().judge(ZeroDivisionError("hunter2")) is Ending.PROBLEMS
    mistake = SettingMistake("HUAWEICLOUD_SDK_AK", "not set")
    assert RunResult().judge(SettingsError([mistake])) is Ending.PROBLEMS


@pytest.mark.parametrize("status", Status)
def test_each_status_has_its_ending(status: Status) -> None:
    """Trouble is a problem, what comes again is unfinished, the rest is well."""
    problems = ("failed", "timed_out", "partial", "skipped", "already_running")
    ending = Ending.PROBLEMS if status in problems else Ending.OK
    if status is Status.UNFINISHED:
        ending = Ending.UNFINISHED
    assert build_result(build_outcome(status=status)).judge(None) is ending
    worse = [build_outcome(status=status), build_outcome(status=Status.FAILED)]
    assert build_result(*worse).judge(SyncUnfinished("left")) is Ending.PROBLEMS


@pytest.mark.parametrize(
    ("status", "body", "trouble"),
    [
        (200, "OK", ""),
        (200, "", ""),
        (200, "OK (not found)", "OK (not found): check CBR_SYNC_PING_URL"),
        (200, "OK (rate limited)", "OK (rate limited): check CBR_SYNC_PING_URL"),
        (200, "<html>welcome</html>", ""),
        (404, "not found", "HTTP 404"),
    ],
)
def test_an_answer_that_says_that_the_check_is_not_known_is_a_warning(
    world: World, log_lines: Lines, status: int, body: str, trouble: str
) -> None:
    """B15: taken for a success, a mistyped check would never raise an alarm."""
    cloud = world.transport()

    def answer(request: httpx.Request) -> httpx.Response:
        is_ping = str(request.url).startswith(CHECK)
        return httpx.Response(status, text=body) if is_ping else cloud.handle_request(request)

    environ = {**world.environ, "CBR_SYNC_PING_URL": CHECK}
    world.on_lambda(EVENT, environ, transport=httpx.MockTransport(answer))
    reasons = [line["reason"] for line in log_lines() if line["message"] == "a ping was not accepted"]
    assert len(reasons) == (2 if trouble else 0)
    assert all(trouble in reason for reason in reasons)


def test_nobody_is_pinged_where_no_check_is_set(world: World) -> None:
    """The same run without the setting sends what it always sent."""
    monitor = Monitor(world)
    world.on_lambda(EVENT, transport=httpx.MockTransport(monitor))
    assert monitor.pings == []
