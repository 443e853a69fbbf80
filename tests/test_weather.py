"""Whatever the network, the gateway, the API, the clock and the sinks do: no sync lost, none started twice.

Asserted from the simulator's own books. Time is an argument: nothing sleeps for real, but in the last test.
"""

from __future__ import annotations

import json
import os
import uuid
from datetime import timedelta
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cbr_sync.aws_lambda import LambdaAdapter
from cbr_sync.clock import Clock
from cbr_sync.credentials import Credentials
from cbr_sync.errors import SinkError, SyncUnfinished
from cbr_sync.functiongraph import FunctionGraphAdapter
from cbr_sync.local import LocalFunctionGraphContext, LocalLambdaContext, simulator_environ
from cbr_sync.models import Status, SyncOutcome, format_rfc3339
from cbr_sync.results import RunResult
from cbr_sync.simulator.cloud import Simulator
from cbr_sync.simulator.models import SIMULATOR_CREDENTIALS, SIMULATOR_PROJECT_ID, Vault
from cbr_sync.simulator.server import SimulatorServer
from cbr_sync.sinks.messages import RUN_FINISHED
from support.builders import build_sqs_event
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
# The same in all the other forms that the simulator has.
ODD = [
    *(
        "408",
        "408-after",
        "425",
        "499",
        "499-after",
        "500-after",
        "502-after",
        "504-after",
        "charset",
        "huge",
    ),
    *("interim", "interim-after", "drip", "drip-after", "html", "bomb", "slow-503", "retry-after-date"),
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

    The run ends inside its deadline. (With several workers a made-up clock cannot show it: what they wait for
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
# WEATHER_EXAMPLES=5000 tries more.
EXAMPLES = int(os.environ.get("WEATHER_EXAMPLES") or 150)
RELAXED = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


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


class Agency(LocalFunctionGraphContext):
    """An agency whose keys are others as soon as the API has refused the first ones."""

    def getSecurityAccessKey(self) -> str:  # noqa: N802
        """The access key that counts now."""
        return self._current.access_key

    def getSecuritySecretKey(self) -> str:  # noqa: N802
        """Its secret key."""
        return self._current.secret_key

    @property
    def _current(self) -> Credentials:
        is_refused = self.agency is None or SIMULATORS[-1].count_refusals(self.agency.access_key) > 0
        return REPLACEMENT if is_refused else SIMULATOR_CREDENTIALS


REPLACEMENT = Credentials("made-up-replacement-key", "made-up-replacement-secret")
SIMULATORS: list[Simulator] = []
TARGETS = st.sampled_from([None, None, "ListOpLogs", *(vault.id for vault in VAULTS)])
CLOUDS = st.fixed_dictionaries(
    {
        "operation_seconds": st.sampled_from([0.5, 5.0, 45.0, 600.0]),
        "rate_per_second": st.sampled_from([None, None, 0.5, 3.0]),
        "rate_per_minute": st.sampled_from([None, None, 10]),
        "retry_after": st.sampled_from([None, "seconds", "date"]),
        "log_delay_seconds": st.sampled_from([0.0, 0.0, 5.0]),
        "time_format": st.sampled_from(["z", "offset", "naive"]),
        "whole_seconds": st.booleans(),
        "odd_rows": st.booleans(),
    }
)


def build_event(kind: str, vault_ids: list[str]) -> dict[str, Any]:
    """An event of this kind for these vaults, with the beginning of the world as its time."""
    if kind == "queue":
        return build_sqs_event(*({"vault_id": vault_id} for vault_id in vault_ids))
    if kind == "timer":
        payload = json.dumps({"vault_ids": vault_ids})
        return {"trigger_type": "TIMER", "time": format_rfc3339(START), "user_event": payload}
    return {**schedule(), "vault_ids": vault_ids}


class Platform:
    """Delivers an event to fresh instances until it is served; keeps the outcomes of each run."""

    def __init__(self, world: World, kind: str, environ: dict[str, str]) -> None:
        self.runs: list[list[SyncOutcome]] = []
        self._world, self._kind, self._environ = world, kind, environ

    def deliver(self) -> None:
        """Deliver it, and what is handed back of a batch, a minute later."""
        left = [vault.id for vault in VAULTS]
        for _ in range(60):
            left = self._run(left)
            if not left:
                return
            self._world.sleep(60)
        raise AssertionError(f"never served: {left}")

    def _run(self, vault_ids: list[str]) -> list[str]:
        """Return the vaults of what has to be delivered again."""
        world, results = self._world, list[RunResult]()
        event, began = build_event(self._kind, vault_ids), world.elapsed
        options = {**world.options(), "on_result": results.append}
        reply: dict[str, Any] = {}
        try:
            if self._kind == "timer":
                environ = {"CBR_SYNC_REGION": "cn-north-4", **self._environ}
                context = Agency(environ, SIMULATOR_CREDENTIALS, SIMULATOR_PROJECT_ID)
                FunctionGraphAdapter(environ, **options)(event, context)
            else:
                environ = {**world.environ, **self._environ}
                reply = LambdaAdapter(environ, **options)(event, LocalLambdaContext(TIMEOUT_SECONDS))
        except SyncUnfinished:
            return vault_ids
        finally:
            assert world.elapsed - began <= TIMEOUT_SECONDS
            self.runs.append(results[-1].outcomes)
            assert [one.vault_id for one in self.runs[-1]] == vault_ids
        failed = {item["itemIdentifier"] for item in reply.get("batchItemFailures", ())}
        return [vault_id for number, vault_id in enumerate(vault_ids) if f"m{number}" in failed]


def assert_true(world: World, outcome: SyncOutcome, *, tolerance: timedelta) -> None:
    """What an outcome says is in the simulator's books, and began after its trigger."""
    if outcome.status in {Status.UNFINISHED, Status.ALREADY_RUNNING}:
        return
    (operation,) = (one for one in world.simulator.operations if one.id == outcome.operation_log_id)
    assert operation.vault_id == outcome.vault_id
    ends = {"success": "succeeded", "timeout": "timed_out"}.get(operation.vault.ends, operation.vault.ends)
    assert outcome.status in {Status.ACCEPTED, ends}
    if outcome.status is not Status.ACCEPTED:
        assert operation.ended_at <= world.simulator.now()
    offset = world.simulator.now() - world.now()
    assert operation.created_at - offset >= START - tolerance


@RELAXED
@given(
    cloud=CLOUDS,
    faults=st.lists(st.tuples(st.sampled_from(PASSING + ODD), TARGETS), max_size=25),
    offset=st.one_of(st.just(0), st.integers(-240, 240)),
    delays=st.lists(st.sampled_from([0.0, 0.0, 0.7, 3.0, 9.0, 11.0]), max_size=20),
    kind=st.sampled_from(["schedule", "queue", "timer"]),
    revoke_after=st.one_of(st.none(), st.integers(1, 20)),
    wait=st.sampled_from(["0", "20"]),
    concurrency=st.sampled_from(["1", "4", "16"]),
    pauses=st.lists(st.sampled_from([0.0, 0.4, 30.0, 700.0]), max_size=3),
)
def test_in_any_weather_a_trigger_starts_one_sync_of_each_vault(
    cloud: dict[str, Any],
    faults: list[tuple[str, str | None]],
    offset: int,
    delays: list[float],
    kind: str,
    revoke_after: int | None,
    wait: str,
    concurrency: str,
    pauses: list[float],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Over skewed clocks, odd rows, rates, revoked keys, answers of all kinds and several deliveries."""
    late = sum(delay > 0 for delay in delays)
    # A slow answer says little of a clock; that of an API that is minutes off has to be known.
    world = World(vaults=VAULTS, delays=[] if offset else delays)
    world.simulator = Simulator(now=world.now, vaults=VAULTS, clock_offset_seconds=offset, **cloud)
    SIMULATORS[:] = [world.simulator]
    for fault, target in faults:
        world.simulator.add_faults(fault, target)
    if revoke_after and kind == "timer":
        world.simulator.revoke_after(revoke_after, REPLACEMENT)
    environ = {"CBR_SYNC_WAIT_SECONDS": wait, "CBR_SYNC_CONCURRENCY": concurrency}
    platform = Platform(world, kind, environ)
    platform.deliver()
    for pause in pauses:
        # What the logs do not show yet is no duplicate that anybody could see.
        world.sleep(pause + cloud["log_delay_seconds"])
        platform.deliver()
    log = capsys.readouterr().out
    blind_runs = log.count("could not list operations before the first POST")
    blind_looks = log.count("could not look for the running operation")
    for run in platform.runs:
        for outcome in run:
            # The tolerance, and what a Date leaves open.
            assert_true(world, outcome, tolerance=timedelta(seconds=4 if offset else 8))
            assert outcome.status is not Status.ALREADY_RUNNING or blind_looks
            assert outcome.status is not Status.FAILED or outcome.operation_log_id
    for vault in VAULTS:
        syncs = world.simulator.syncs_of(vault.id)
        most = len(syncs) if vault.ends == "skipped" else 1 + blind_runs
        assert 1 <= len(syncs) <= most
    # A refusal whose answer is lost, or late, is known to nobody.
    refused = [one.access_key for one in world.simulator.requests if one.status == 401]
    assert refused.count(SIMULATOR_CREDENTIALS.access_key) <= int(concurrency) + late
    assert world.simulator.count_refusals(REPLACEMENT.access_key) == 0


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
