"""A run ends before the platform ends it, whatever the network does, and every vault has its outcome."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from typing import Any

import httpx
import pytest

from cbr_sync.aws_lambda import LambdaAdapter
from cbr_sync.clock import Clock
from cbr_sync.errors import CbrSyncError, SinkError, SyncUnfinished
from cbr_sync.local import LocalLambdaContext, simulator_environ
from cbr_sync.models import SyncOutcome
from cbr_sync.results import RunResult
from cbr_sync.simulator.cloud import Simulator
from cbr_sync.simulator.models import Vault
from support.builders import Lines
from support.function import (
    QUEUE_ENVIRON,
    Function,
    build_direct,
    build_schedule,
    count_syncs,
    list_looks,
    list_posts,
    make_vaults,
    make_world,
)
from support.sockets import NAME, at, dripping, hanging, make_transport, serving, silent_address

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"


class RealRun:
    """One run in real time.

    Attributes:
        outcomes: What it reported.
        error: How it failed.
        seconds: How long it took.
    """

    def __init__(self, event: object, transport: httpx.BaseTransport, limit: float, **environ: str) -> None:
        results: list[RunResult] = []
        own = {**simulator_environ(f"https://{NAME}", make_vaults(1)[0].id), **environ}
        adapter = LambdaAdapter(own, transport=transport, on_result=results.append)
        began = time.monotonic()
        self.error: CbrSyncError | None = None
        try:
            adapter(event, LocalLambdaContext(limit))
        except CbrSyncError as error:
            self.error = error
        self.seconds = time.monotonic() - began
        adapter.close()
        self.outcomes: list[SyncOutcome] = results[-1].outcomes
        assert self.seconds < limit

    @property
    def statuses(self) -> dict[str, int]:
        return dict(Counter(str(outcome.status) for outcome in self.outcomes))


class Detour(httpx.BaseTransport):
    """The simulator, but for requests that hold these bytes, which go over a socket to another server."""

    def __init__(self, simulator: Simulator, marked: bytes, url: str) -> None:
        self._simulator = simulator.transport()
        self._marked = marked
        self._url = httpx.URL(url)
        self._sockets = make_transport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self._marked not in request.read() + request.url.raw_path + request.url.host.encode():
            return self._simulator.handle_request(request)
        request.url = self._url
        return self._sockets.handle_request(request)

    def close(self) -> None:
        self._sockets.close()


def direct(vaults: tuple[Vault, ...]) -> dict[str, Any]:
    """A direct event."""
    return {"vault_ids": [vault.id for vault in vaults]}


def test_addresses_that_swallow_packets_keep_no_run_from_its_end(log_lines: Lines) -> None:
    """A1: three of them, a run of 8 s, over all attempts and vaults; everything is reported."""
    vaults = make_vaults(6)
    with silent_address() as one, silent_address() as two, silent_address() as three:
        run = RealRun(direct(vaults), make_transport(resolve=at(one, two, three)), 8)
    assert isinstance(run.error, SyncUnfinished)
    assert run.statuses == {"unfinished": 6}
    assert len([line for line in log_lines() if line["message"].endswith("sync.unfinished.v1")]) == 6


def test_a_name_server_that_hangs_keeps_no_run_from_its_end() -> None:
    """A1: look-ups have no timeout of their own."""
    answer = threading.Event()

    def resolve(_host: str, _port: int) -> list[Any]:
        answer.wait(30)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    run = RealRun(direct(make_vaults(3)), make_transport(resolve=resolve), 3)
    answer.set()
    assert run.statuses == {"unfinished": 3}


def test_an_answer_that_drips_keeps_no_run_from_its_end() -> None:
    """A2: one of three vaults', a byte every 0.5 s, in a run of 10 s; nothing more is sent for it."""
    vaults = make_vaults(3)
    simulator = Simulator(now=Clock().now, vaults=vaults)
    with serving(dripping(HEAD, b" ", every_seconds=0.5)) as server:
        run = RealRun(direct(vaults), Detour(simulator, vaults[1].id.encode(), server.url), 10)
        connections = server.connections
        assert not server.stop.wait(1)
        assert server.connections == connections
    assert run.statuses == {"accepted": 2, "unfinished": 1}
    assert run.outcomes[1].status == "unfinished"
    assert isinstance(run.error, SyncUnfinished)


@pytest.mark.parametrize(
    "parts",
    [
        (b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", b" "),
    ],
    ids=["interim", "headers", "error-page"],
)
@pytest.mark.parametrize("marked", [b"operation-logs", b"checkpoints/sync"])
def test_whatever_drips_the_others_are_served(parts: tuple[bytes, ...], marked: bytes) -> None:
    """In the duplicate check, whose half ends, or in all POSTs."""
    vaults = make_vaults(3)
    simulator = Simulator(now=Clock().now, vaults=vaults)
    event = {**direct(vaults), "trigger": "schedule", "scheduled_time": Clock().now().isoformat()}
    with serving(dripping(*parts, every_seconds=0.1)) as server:
        run = RealRun(event, Detour(simulator, marked, server.url), 2.5)
    assert run.statuses == ({"accepted": 3} if marked == b"operation-logs" else {"unfinished": 3})


def test_a_queue_that_hangs_keeps_no_run_from_its_end(log_lines: Lines) -> None:
    """Its endpoint takes the connection and says nothing; the log has all."""
    vaults = make_vaults(3)
    simulator = Simulator(now=Clock().now, vaults=vaults)
    with serving(hanging) as server:
        transport = Detour(simulator, b"sqs.", server.url)
        run = RealRun(direct(vaults), transport, 3, **QUEUE_ENVIRON)
    assert isinstance(run.error, SinkError)
    assert run.statuses == {"accepted": 3}
    assert len([line for line in log_lines() if line["message"].endswith("sync.accepted.v1")]) == 3


# on a virtual clock


def test_a_check_that_hangs_leaves_half_of_the_time_for_the_posts() -> None:
    """A13: the first ListOpLogs of a run of 12 s."""
    world = make_world(5)
    world.simulator.add_faults("hang*99", "ListOpLogs")
    assert Function(world).deliver(build_schedule(world), 12) == {"accepted": 5}
    assert max(list_posts(world)) <= 6


@pytest.mark.parametrize("limit", [3.0, 12.0, 60.0, 300.0])
def test_a_check_that_hangs_is_left_behind(limit: float) -> None:
    """As where no timeout of ours reaches: the POSTs go on."""
    world = make_world(5, operation_seconds=0)

    def hang(request: httpx.Request) -> httpx.Response | None:
        if request.url.path.endswith("/operation-logs"):
            world.sleep(10_000)
        return None

    function = Function(world, intercept=hang)
    # Keys that no API has accepted yet are tried by one request alone, which would be the one that hangs.
    assert function.deliver(build_direct(world), limit) == {"accepted": 5}
    assert function.deliver(build_schedule(world), limit) == {"accepted": 5}
    assert max(list_posts(world)) <= min(limit / 2, 31)


def test_the_check_looks_at_the_time_between_pages() -> None:
    """Each page takes 3 s, and there are more than half of the time holds."""
    world = make_world(2)
    pages: list[float] = []

    def page(request: httpx.Request) -> httpx.Response | None:
        if not request.url.path.endswith("/operation-logs"):
            return None
        world.sleep(3)
        pages.append(world.elapsed)
        row = {"id": "x", "status": "running", "created_at": "2026-11-23T03:00:00Z", "vault_id": "other"}
        return httpx.Response(200, json={"count": 100_000, "operation_logs": [row] * 1000})

    assert Function(world, intercept=page).deliver(build_schedule(world)) == {"accepted": 2}
    assert max(pages) <= 30
    assert len(pages) >= 5


@pytest.mark.parametrize(
    "fault", ["hang", "drip", "drip-after", "interim", "503", "429", "refuse", "slow-503"]
)
@pytest.mark.parametrize("limit", [1.0, 3.0, 60.0])
@pytest.mark.parametrize("wait", ["0", "600"])
def test_no_run_is_longer_than_its_limit_and_nothing_is_sent_afterwards(
    fault: str, limit: float, wait: str
) -> None:
    """Every request meets trouble that never ends; the threads that are left send nothing later."""
    world = make_world(40)
    world.simulator.add_faults(f"{fault}*9999")
    function = Function(world, CBR_SYNC_WAIT_SECONDS=wait)
    statuses = function.deliver(build_schedule(world), limit)
    assert sum(statuses.values()) == 40
    assert set(statuses) <= {"unfinished"}
    sent = len(world.simulator.requests)
    world.sleep(10_000)
    assert len(world.simulator.requests) == sent
    assert max([*list_posts(world), *list_looks(world), 0]) <= limit * 0.9


def test_posts_that_hang_for_longer_than_they_may_are_left_behind(log_lines: Lines) -> None:
    """As where no timeout of ours reaches: each vault has its outcome, and those behind are not sent."""
    world = make_world(40)

    def hang(request: httpx.Request) -> httpx.Response | None:
        if world.vaults[3].id.encode() in request.content or world.vaults[30].id.encode() in request.content:
            world.sleep(10_000)
        return None

    function = Function(world, intercept=hang)
    assert function.deliver(build_direct(world)) == {"accepted": 38, "unfinished": 2}
    assert len([line for line in log_lines() if "checkpoint.sync" in line["message"]]) == 40
    world.sleep(20_000)
    assert len(list_posts(world)) == len(world.simulator.requests)
    assert sum(count_syncs(world)) <= 40


@pytest.mark.parametrize("operation", ["/vaults", "/checkpoints/sync", "/operation-logs"])
def test_one_request_that_never_returns_costs_no_other_outcome(operation: str) -> None:
    """Of a run alone with it: the run ends before its platform ends it, and says what it does not know."""
    world = make_world(1)

    def hang(request: httpx.Request) -> httpx.Response | None:
        if request.url.path.endswith(operation):
            world.sleep(10_000)
        return None

    function = Function(world, intercept=hang, CBR_SYNC_WAIT_SECONDS="600")
    event = {"trigger": "schedule", "scheduled_time": build_schedule(world)["scheduled_time"], "vaults": {}}
    statuses = function.deliver(event, 60)
    expected = {"/vaults": {}, "/checkpoints/sync": {"unfinished": 1}, "/operation-logs": {"accepted": 1}}
    assert statuses == expected[operation]
    assert isinstance(function.error, SyncUnfinished) is (operation != "/operation-logs")
