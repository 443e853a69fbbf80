"""Whatever the network, the gateway, the API, the clock and the sinks do: no sync lost, none started twice.

Asserted from the simulator's own books. Time is an argument: nothing sleeps for real, but in the last test.
"""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cbr_sync.aws_lambda import LambdaAdapter
from cbr_sync.clock import Clock
from cbr_sync.errors import SinkError, SyncUnfinished
from cbr_sync.local import LocalLambdaContext, simulator_environ
from cbr_sync.models import format_rfc3339
from cbr_sync.results import RunResult
from cbr_sync.simulator.cloud import Simulator
from cbr_sync.simulator.models import Vault
from cbr_sync.simulator.server import SimulatorServer
from cbr_sync.sinks.messages import RUN_FINISHED
from support.sockets import at, dripping, make_transport, serving, silent_address
from support.world import START, VirtualClock, World

VAULTS = tuple(
    Vault(str(uuid.UUID(int=number, version=4)), f"vault-{number}", ends=ends)
    for number, ends in enumerate(("success", "failed", "skipped", "timeout", "success", "success"), start=1)
)
QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/outcomes"
TIMEOUT_SECONDS = 60.0
# What may be lost on its way, and is well again after some time.
PASSING = [
    "refuse",
    "reset",
    "reset-after",
    "hang",
    "hang-after",
    "truncated",
    "429",
    "500",
    "502",
    "503",
    "504",
]
# What ends a sync with an error: the API's no, or a success that nobody can read.
FINAL = ["html", "302", "404"]


class Cloud:
    """The simulator and a queue that may be out of order; knows what was emitted, and of whole runs."""

    def __init__(self, world: World, sink_faults: list[int]) -> None:
        self.emitted: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []
        self._cbr = world.transport()
        self._sink_faults = sink_faults

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if not request.url.host.startswith("sqs."):
            return self._cbr.handle_request(request)
        if self._sink_faults:
            status = self._sink_faults.pop()
            if status:
                return httpx.Response(status, json={"__type": "com.amazonaws.sqs#InternalFailure"})
        for entry in json.loads(request.content)["Entries"]:
            event = json.loads(entry["MessageBody"])
            (self.runs if event["type"] == RUN_FINISHED else self.emitted).append(event)
        return httpx.Response(200, json={"Successful": []})


def deliver(world: World, event: object, cloud: Cloud, environ: dict[str, str]) -> bool:
    """One delivery of the event; whether the platform may forget it.

    The run ends inside its deadline. (With several workers a made-up clock cannot tell: what they wait for
    at the same time is added up.)
    """
    begun = world.elapsed
    try:
        adapter = LambdaAdapter(environ, **world.options(httpx.MockTransport(cloud)))
        adapter(event, LocalLambdaContext(TIMEOUT_SECONDS))
    except (SyncUnfinished, SinkError):
        return False
    finally:
        assert world.elapsed - begun <= TIMEOUT_SECONDS or environ["CBR_SYNC_CONCURRENCY"] != "1"
    return True


def deliver_until_done(world: World, event: object, cloud: Cloud, environ: dict[str, str]) -> None:
    """As a platform does: again, a minute later, until the run does not fail."""
    for _ in range(60):
        if deliver(world, event, cloud, environ):
            return
        world.sleep(60)
    raise AssertionError("the event was never served")


def schedule(vaults: tuple[Vault, ...] = VAULTS) -> dict[str, Any]:
    """A schedule's event with its own time."""
    ids = [vault.id for vault in vaults]
    return {
        "trigger": "schedule",
        "scheduled_time": format_rfc3339(START),
        "schedule_arn": "arn",
        "vault_ids": ids,
    }


def environ_of(world: World, **more: str) -> dict[str, str]:
    """A function with a queue."""
    keys = {"AWS_ACCESS_KEY_ID": "made-up", "AWS_SECRET_ACCESS_KEY": "made-up"}
    return {**world.environ, "CBR_SYNC_SQS_QUEUE_URL": QUEUE, **keys, **more}


def assert_truthful(world: World, cloud: Cloud) -> None:
    """What was emitted last of each vault is what the books say."""
    logs = {operation.id: operation for operation in world.simulator.operations}
    for event in cloud.emitted:
        outcome = event["data"]
        if outcome["operation_log_id"]:
            assert logs[outcome["operation_log_id"]].vault_id == outcome["vault_id"]
        assert (outcome["status"] in {"failed", "unfinished"}) <= (outcome["error"] is not None) or (
            outcome["operation_log_id"]
        )


FAULTS = st.lists(st.sampled_from(PASSING), max_size=40).map(",".join)
RELAXED = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


@RELAXED
@given(
    faults=FAULTS,
    sink_faults=st.lists(st.sampled_from([0, 0, 500, 503, 400]), max_size=12),
    delays=st.lists(st.sampled_from([0.0, 0.0, 3.0, 9.0, 11.0]), max_size=30),
    wait=st.sampled_from(["0", "20"]),
    operation_seconds=st.sampled_from([0.0, 5.0, 600.0]),
    concurrency=st.sampled_from(["1", "4"]),
    redelivered=st.booleans(),
)
def test_every_vault_is_synced_exactly_once_and_told_of(
    faults: str,
    sink_faults: list[int],
    delays: list[float],
    wait: str,
    operation_seconds: float,
    concurrency: str,
    redelivered: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Over lost answers, throttling, broken sinks, retries and duplicate deliveries."""
    world = World(vaults=VAULTS, operation_seconds=operation_seconds, delays=delays)
    if faults:
        world.simulator.add_faults(faults)
    cloud = Cloud(world, sink_faults)
    environ = environ_of(world, CBR_SYNC_WAIT_SECONDS=wait, CBR_SYNC_CONCURRENCY=concurrency)
    deliver_until_done(world, schedule(), cloud, environ)
    if redelivered:
        deliver_until_done(world, schedule(), cloud, environ)
    # Where the first look fails, the POSTs go on all the same; such a run may start one more.
    blind_runs = capsys.readouterr().out.count("could not list operations before the first POST")
    for vault in VAULTS:
        syncs = world.simulator.syncs_of(vault.id)
        # What was skipped never ran, and serves nobody: another delivery starts another one.
        most = len(syncs) if vault.ends == "skipped" else 1 + blind_runs
        assert 1 <= len(syncs) <= most
    assert {event["subject"] for event in cloud.emitted} == {vault.id for vault in VAULTS}
    assert_truthful(world, cloud)
    assert world.simulator.refused_signatures == 0


@RELAXED
@given(faults=st.lists(st.sampled_from(PASSING + FINAL), max_size=40).map(",".join))
def test_no_weather_starts_a_sync_twice(faults: str) -> None:
    """Also where an answer is final: a vault has then one operation, or none and an error that says why."""
    world = World(vaults=VAULTS)
    if faults:
        world.simulator.add_faults(faults)
    cloud = Cloud(world, [])
    deliver_until_done(world, schedule(), cloud, environ_of(world, CBR_SYNC_CONCURRENCY="1"))
    last = {event["subject"]: event["data"] for event in cloud.emitted}
    for vault in VAULTS:
        syncs = world.simulator.syncs_of(vault.id)
        assert len(syncs) <= 1
        assert syncs or last[vault.id]["status"] == "failed"
    assert_truthful(world, cloud)


@pytest.mark.parametrize("concurrency", ["1", "4"])
def test_an_endless_hang_is_told_before_the_platform_ends_the_run(concurrency: str) -> None:
    """Every vault is emitted as unfinished while there is time for it."""
    world = World(vaults=VAULTS)
    world.simulator.add_faults("hang*200")
    cloud = Cloud(world, [])
    assert not deliver(world, schedule(), cloud, environ_of(world, CBR_SYNC_CONCURRENCY=concurrency))
    assert [event["data"]["status"] for event in cloud.emitted] == ["unfinished"] * len(VAULTS)
    assert world.elapsed <= TIMEOUT_SECONDS


def test_a_clock_twenty_minutes_off_locks_no_key() -> None:
    """One refusal is enough for a thousand vaults and sixteen workers."""
    vaults = tuple(
        Vault(str(uuid.UUID(int=number, version=4)), f"vault-{number}") for number in range(1, 1001)
    )
    api = World(vaults=vaults)
    ours = World(VirtualClock(20 * 60), vaults=vaults)
    cloud = Cloud(api, [])
    assert deliver(ours, schedule(vaults), cloud, environ_of(ours, CBR_SYNC_CONCURRENCY="16"))
    assert {event["data"]["status"] for event in cloud.emitted} == {"failed"}
    assert {event["data"]["error"]["code"] for event in cloud.emitted} == {"APIGW.0301"}
    assert len(cloud.emitted) == 1000
    assert [run["data"]["counts"] for run in cloud.runs] == [{"failed": 1000}]
    assert api.simulator.refused_signatures == 1


def count_statuses(results: list[RunResult]) -> dict[str, int]:
    """How many outcomes of the last run have each status."""
    return dict(Counter(str(outcome.status) for outcome in results[-1].outcomes))


@pytest.mark.parametrize("first_to_break", ["the-check", "a-sync"])
def test_a_gateway_page_in_a_charset_that_does_not_exist_is_one_vaults_trouble(first_to_break: str) -> None:
    """One of 21 POSTs is answered so, or the duplicate check is: the other vaults are synced all the same."""
    vaults = tuple(Vault(str(uuid.UUID(int=number, version=4)), f"vault-{number}") for number in range(1, 22))
    world = World(vaults=vaults)
    cloud = Cloud(world, [])

    def gateway(request: httpx.Request) -> httpx.Response:
        is_check = request.url.path.endswith("/operation-logs")
        if is_check if first_to_break == "the-check" else vaults[7].id.encode() in request.content:
            page = {"Content-Type": "text/html; charset=undefined"}
            return httpx.Response(502, headers=page, content="<h1>Bad Gateway</h1>")
        return cloud(request)

    event = {"vault_ids": [vault.id for vault in vaults]}
    results: list[RunResult] = []
    adapter = LambdaAdapter(
        world.environ, **world.options(httpx.MockTransport(gateway)), on_result=results.append
    )
    if first_to_break == "the-check":
        assert adapter({**schedule(vaults)}, LocalLambdaContext(TIMEOUT_SECONDS))["counts"] == {
            "accepted": 21
        }
    else:
        with pytest.raises(SyncUnfinished):
            adapter(event, LocalLambdaContext(TIMEOUT_SECONDS))
        assert count_statuses(results) == {"accepted": 20, "unfinished": 1}


class OneDrips(httpx.BaseTransport):
    """The simulator, but for one vault's syncs, which go over a socket to another server."""

    def __init__(self, simulator: Simulator, vault_id: str, url: str) -> None:
        self._simulator = simulator.transport()
        self._vault_id = vault_id.encode()
        self._url = httpx.URL(url)
        self._sockets = make_transport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self._vault_id not in request.read():
            return self._simulator.handle_request(request)
        request.url = self._url
        return self._sockets.handle_request(request)

    def close(self) -> None:
        self._sockets.close()


def test_an_answer_that_drips_keeps_no_run_from_its_end() -> None:
    """Two vaults are accepted, the third is unfinished, and nothing more is sent for it."""
    simulator = Simulator(now=Clock().now, vaults=VAULTS[:3])
    results: list[RunResult] = []
    with serving(dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", b" ")) as server:
        transport = OneDrips(simulator, VAULTS[1].id, server.url)
        adapter = LambdaAdapter(
            simulator_environ("http://127.0.0.1:1", VAULTS[0].id),
            transport=transport,
            on_result=results.append,
        )
        began = time.monotonic()
        with pytest.raises(SyncUnfinished):
            adapter({"vault_ids": [vault.id for vault in VAULTS[:3]]}, LocalLambdaContext(5.0))
        assert time.monotonic() - began < 5
        adapter.close()
        connections = server.connections
    assert count_statuses(results) == {"accepted": 2, "unfinished": 1}
    assert server.connections == connections


def test_addresses_that_swallow_packets_keep_no_run_from_its_end() -> None:
    """Three of them, over all attempts and vaults."""
    results: list[RunResult] = []
    with silent_address() as one, silent_address() as two, silent_address() as three:
        environ = simulator_environ("https://cbr.example.com", VAULTS[0].id)
        adapter = LambdaAdapter(
            environ,
            transport=make_transport(resolve=at(one, two, three)),
            on_result=results.append,
        )
        began = time.monotonic()
        with pytest.raises(SyncUnfinished):
            adapter({"vault_ids": [vault.id for vault in VAULTS]}, LocalLambdaContext(5.0))
        assert time.monotonic() - began < 5
        adapter.close()
    assert count_statuses(results) == {"unfinished": len(VAULTS)}


class HurriedClock(Clock):
    """The machine's clock, but that waiting takes next to no time."""

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds / 200)


def test_it_holds_over_sockets_in_real_time() -> None:
    """The wiring: the vaults of a run against a server that breaks connections and forgets answers."""
    vaults = tuple(Vault(str(uuid.UUID(int=number, version=4)), f"vault-{number}") for number in range(1, 31))
    simulator = Simulator(now=Clock().now, vaults=vaults, operation_seconds=600)
    simulator.add_faults("reset,truncated,reset-after,502,503*2,reset-after*3,truncated*2,504")
    with SimulatorServer(simulator) as server:
        environ = simulator_environ(server.url, vaults[0].id)
        adapter = LambdaAdapter(environ, clock=HurriedClock())
        event = {**schedule(vaults), "scheduled_time": format_rfc3339(Clock().now())}
        reply = adapter(event, LocalLambdaContext(TIMEOUT_SECONDS))
        adapter.close()
    assert reply["counts"] == {"accepted": 30}
    assert [len(simulator.syncs_of(vault.id)) for vault in vaults] == [1] * 30
    assert any(outcome["adopted"] for outcome in reply["outcomes"])
