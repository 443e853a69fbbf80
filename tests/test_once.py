"""What may happen to a sync, row by row: no sync lost, none started twice, no key locked."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import httpx
import pytest

from cbr_sync.aws_lambda import LambdaAdapter
from cbr_sync.credentials import Credentials
from cbr_sync.errors import ApiError, EventError, SyncUnfinished
from cbr_sync.functiongraph import FunctionGraphAdapter
from cbr_sync.local import LocalFunctionGraphContext, LocalLambdaContext
from cbr_sync.models import format_rfc3339
from cbr_sync.simulator.cloud import Simulator
from cbr_sync.simulator.models import DEFAULT_VAULTS, SIMULATOR_CREDENTIALS, SIMULATOR_PROJECT_ID, Vault
from support.builders import Lines, build_sqs_event
from support.world import BUSY, FILE, START, VMWARE, VirtualClock, World, webhook_event

PARTIAL = "6c2d0e2f-8b63-4b68-9a7f-4d2a1f0c3b04"
BROKEN = "7d3e1f30-9c74-4c79-8b80-5e3b20ad4c05"
FROZEN = "9f503152-be96-4e9b-8da2-705d42cf6e07"
SYNC = f"/v3/{SIMULATOR_PROJECT_ID}/checkpoints/sync"
LOGS = f"/v3/{SIMULATOR_PROJECT_ID}/operation-logs"

Answering = Callable[[httpx.Request], httpx.Response | None]


def build_schedule_event(*vaults: str, seconds: float = 0) -> dict[str, Any]:
    """A schedule's event, which has a time of its own."""
    world = World(VirtualClock(seconds))
    ids = list(vaults or (VMWARE,))
    return {
        "trigger": "schedule",
        "scheduled_time": format_rfc3339(world.now()),
        "schedule_arn": "a",
        "vault_ids": ids,
    }


def run_on_lambda(world: World, event: object, **environ: str) -> dict[str, dict[str, Any]]:
    """The outcomes of a run on Lambda, by vault."""
    reply = world.on_lambda(event, {**world.environ, **environ})
    return {outcome["vault_id"]: outcome for outcome in reply["outcomes"]}


def run_for_one_vault(world: World, event: object | None = None, **environ: str) -> dict[str, Any]:
    """The outcome of the one vault in it."""
    (outcome,) = run_on_lambda(world, event or build_schedule_event(), **environ).values()
    return outcome


def intercept(world: World, answering: Answering) -> httpx.MockTransport:
    """The world's API, with somebody in front that may answer in its place."""
    cloud = world.transport()
    return httpx.MockTransport(lambda request: answering(request) or cloud.handle_request(request))


def count_sync_posts(world: World) -> int:
    """How many sync requests arrived."""
    return sum(request.path == SYNC for request in world.simulator.requests)


def count_log_listings(world: World) -> int:
    """How many times the logs were listed."""
    return sum(request.path == LOGS for request in world.simulator.requests)


# 429, APIGW.0308, 503, never connected: wait, try again, signed afresh


@pytest.mark.parametrize("fault", ["429", "503", "refuse"])
def test_throttled_or_never_connected_is_tried_again(world: World, fault: str) -> None:
    """It was not taken, so nothing has to be looked for."""
    world.simulator.add_faults(f"{fault}*2", VMWARE)
    outcome = run_for_one_vault(world, CBR_SYNC_LOOK_FIRST="false")
    assert (outcome["status"], outcome["attempts"], outcome["adopted"]) == ("accepted", 3, False)
    assert count_log_listings(world) == 0
    assert world.elapsed > 0


def test_retry_after_is_honoured(world: World) -> None:
    """Nothing is sent before."""
    world.simulator.add_faults("429", VMWARE)
    LambdaAdapter(world.environ, **world.options())(build_schedule_event(), LocalLambdaContext())
    assert 1 <= world.elapsed < 2


def test_every_attempt_is_signed_afresh(world: World) -> None:
    """With the date of its own moment."""
    dates = []

    def record_date(request: httpx.Request) -> None:
        dates.append(request.headers["X-Sdk-Date"])

    world.simulator.add_faults("429*3", VMWARE)
    adapter = LambdaAdapter(world.environ, **world.options(intercept(world, record_date)))
    adapter(build_schedule_event(), LocalLambdaContext())
    assert len(set(dates[1:])) == 4


def test_a_throttling_gateway_pauses_all_workers(world: World) -> None:
    """Sixteen workers do not hammer it together: until it was quiet for a while, few requests reach it."""
    vaults = tuple(Vault(str(uuid.UUID(int=number, version=4)), f"v{number}") for number in range(1, 65))
    world.simulator = Simulator(now=world.now, vaults=vaults, operation_seconds=600)
    times: list[float] = []

    def throttle_syncs(request: httpx.Request) -> httpx.Response | None:
        if request.url.path != SYNC:
            return None
        times.append(world.elapsed)
        if world.elapsed >= 5:
            return None
        body = {"error_code": "APIGW.0308", "error_msg": "policy user over ratelimit"}
        return httpx.Response(429, json=body, headers={"Retry-After": "2"})

    adapter = LambdaAdapter(world.environ, **world.options(intercept(world, throttle_syncs)))
    reply = adapter(build_schedule_event(*(vault.id for vault in vaults)), LocalLambdaContext())
    assert reply["counts"] == {"accepted": 64}
    assert sum(at < 5 for at in times) <= 3 * 16


# it may have arrived: look, adopt what is found, else POST again


@pytest.mark.parametrize("fault", ["reset-after", "hang-after", "truncated", "html"])
@pytest.mark.parametrize("look_first", ["true", "false"])
def test_a_lost_answer_is_found_in_the_logs(world: World, fault: str, look_first: str) -> None:
    """The operation is ours, and no second one is started."""
    world.simulator.add_faults(fault, VMWARE)
    outcome = run_for_one_vault(world, CBR_SYNC_LOOK_FIRST=look_first)
    (operation,) = world.simulator.syncs_of(VMWARE)
    assert (outcome["status"], outcome["adopted"], outcome["attempts"]) == ("accepted", True, 1)
    assert outcome["operation_log_id"] == operation.id


@pytest.mark.parametrize("fault", ["reset", "hang", "500", "502", "504"])
def test_a_request_that_did_not_arrive_is_sent_again(world: World, fault: str) -> None:
    """The logs hold nothing of it, also after a moment."""
    world.simulator.add_faults(fault, VMWARE)
    outcome = run_for_one_vault(world)
    assert (outcome["status"], outcome["adopted"], outcome["attempts"]) == ("accepted", False, 2)
    assert len(world.simulator.syncs_of(VMWARE)) == 1


def test_a_log_that_is_not_visible_at_once_is_asked_for_again(world: World) -> None:
    """For a moment, before the request is sent another time."""
    world.simulator = Simulator(now=world.now, operation_seconds=0, log_delay_seconds=3)
    world.simulator.add_faults("reset-after", VMWARE)
    outcome = run_for_one_vault(world)
    assert (outcome["adopted"], outcome["attempts"]) == (True, 1)
    assert len(world.simulator.syncs_of(VMWARE)) == 1


def test_a_log_listing_that_fails_is_retried_and_never_skipped(world: World) -> None:
    """A request that may have arrived is not sent again as long as nobody has looked."""
    broken = iter([502, 503, 500])

    def refuse_log_listing(request: httpx.Request) -> httpx.Response | None:
        begun = bool(world.started)
        return (
            httpx.Response(status)
            if request.url.path == LOGS and begun and (status := next(broken, 0))
            else None
        )

    world.simulator.add_faults("reset-after", VMWARE)
    adapter = LambdaAdapter(world.environ, **world.options(intercept(world, refuse_log_listing)))
    reply = adapter(build_schedule_event(), LocalLambdaContext())
    assert reply["outcomes"][0]["adopted"]
    assert count_sync_posts(world) == 1


def test_without_a_log_listing_nothing_is_sent_again(world: World) -> None:
    """It is unfinished rather than twice."""
    world.simulator.add_faults("reset-after", VMWARE)

    def refuse_log_listing(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(503) if request.url.path == LOGS and world.started else None

    adapter = LambdaAdapter(world.environ, **world.options(intercept(world, refuse_log_listing)))
    with pytest.raises(SyncUnfinished):
        adapter(build_schedule_event(), LocalLambdaContext())
    assert count_sync_posts(world) == 1


def test_somebody_elses_sync_from_before_is_not_taken_for_ours(world: World) -> None:
    """It ended just before our request, whose answer was lost on its way there."""
    world.simulator = Simulator(now=world.now, operation_seconds=0)
    run_on_lambda(world, {"vault_id": VMWARE})
    world.sleep(5)
    world.simulator.add_faults("reset", VMWARE)
    outcome = run_for_one_vault(world, build_schedule_event(seconds=5))
    first, second = world.simulator.syncs_of(VMWARE)
    assert outcome["operation_log_id"] == second.id != first.id


def test_an_api_clock_that_is_behind_does_not_hide_our_operation(world: World) -> None:
    """Half a minute of difference is inside the margin."""
    slow = World(VirtualClock(-30))
    api = Simulator(now=slow.now, operation_seconds=600)
    api.add_faults("reset-after", VMWARE)
    world.simulator = api
    outcome = run_for_one_vault(world)
    assert (outcome["adopted"], len(api.syncs_of(VMWARE))) == (True, 1)


# a trigger starts at most one sync for each vault


def test_a_second_delivery_adopts_what_the_first_has_started(world: World) -> None:
    """One look for all vaults, and no request for those it finds."""
    first = run_on_lambda(world, build_schedule_event(VMWARE, FILE))
    world.sleep(30)
    second = run_on_lambda(world, build_schedule_event(VMWARE, FILE, PARTIAL))
    assert {vault: outcome["adopted"] for vault, outcome in second.items()} == {
        VMWARE: True,
        FILE: True,
        PARTIAL: False,
    }
    assert second[VMWARE]["operation_log_id"] == first[VMWARE]["operation_log_id"]
    assert second[VMWARE]["attempts"] == 0
    assert len(world.started) == 3


def test_an_adopted_operation_that_has_ended_is_reported_as_ended(world: World) -> None:
    """The look has seen its end, so nothing has to be followed."""
    run_on_lambda(world, build_schedule_event())
    world.sleep(600)
    outcome = run_for_one_vault(world)
    assert (outcome["status"], outcome["adopted"]) == ("succeeded", True)
    assert outcome["copies"] == {"synced": 12, "deleted": 1, "failed": 0}


def test_the_same_outcome_keeps_its_cloudevent_id(world: World, log_lines: Lines) -> None:
    """Emitted again by another delivery, it is known to who has seen it."""
    run_on_lambda(world, build_schedule_event())
    run_on_lambda(world, build_schedule_event())
    first, second = (line["outcome"] for line in log_lines())
    assert first["id"] == second["id"]
    assert second["data"]["adopted"]


def test_another_trigger_starts_another_sync(world: World) -> None:
    """What began before a trigger does not serve it."""
    world.simulator = Simulator(now=world.now, operation_seconds=10)
    run_on_lambda(world, build_schedule_event())
    world.sleep(60)
    assert not run_for_one_vault(world, build_schedule_event(seconds=60))["adopted"]
    assert len(world.started) == 2


@pytest.mark.parametrize(
    ("event", "environ"),
    [
        pytest.param({"vault_id": VMWARE}, {}, id="no-time"),
        pytest.param(build_schedule_event(seconds=-25 * 3600), {}, id="too-old"),
        pytest.param(build_schedule_event(), {"CBR_SYNC_LOOK_FIRST": "false"}, id="switched-off"),
    ],
)
def test_some_triggers_need_no_duplicate_check(
    world: World, event: dict[str, Any], environ: dict[str, str]
) -> None:
    """No time, an old one, or the operator's wish: the request is sent at once."""
    assert run_for_one_vault(world, event, **environ)["status"] == "accepted"
    assert count_log_listings(world) == 0


def test_a_duplicate_check_that_fails_is_logged_and_the_posts_go_on(world: World, log_lines: Lines) -> None:
    """Better one sync too many than none."""

    def refuse_log_listing(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(403, json={}) if request.url.path == LOGS else None

    adapter = LambdaAdapter(world.environ, **world.options(intercept(world, refuse_log_listing)))
    reply = adapter(build_schedule_event(), LocalLambdaContext())
    assert reply["counts"] == {"accepted": 1}
    assert log_lines()[0]["message"] == "could not list operations before the first POST"


def test_a_webhook_that_is_sent_again_starts_nothing_new(world: World) -> None:
    """Its own timestamp is the trigger's time."""
    event = webhook_event({"vault_id": VMWARE}, world)
    replies = [world.on_lambda(event) for _ in range(2)]
    ids = {json.loads(reply["body"])["outcomes"][0]["operation_log_id"] for reply in replies}
    assert len(ids) == 1
    assert len(world.started) == 1


# BackupService.7302


def test_a_sync_that_ran_before_the_trigger_is_found_and_reported(world: World) -> None:
    """No failure: somebody else's operation, with its id."""
    outcome = run_for_one_vault(world, build_schedule_event(BUSY))
    assert outcome["status"] == "already_running"
    assert outcome["operation_log_id"] == world.simulator.syncs_of(BUSY)[0].id
    assert (outcome["error"], outcome["adopted"]) == (None, False)


def test_a_sync_that_began_since_the_trigger_is_adopted_after_7302(world: World) -> None:
    """Another delivery was faster, between our look and our request."""
    world.sleep(1)

    def start_another_sync(request: httpx.Request) -> None:
        if request.url.path == SYNC and not world.started:
            World.on_lambda(world, {"vault_id": VMWARE})

    adapter = LambdaAdapter(world.environ, **world.options(intercept(world, start_another_sync)))
    reply = adapter(build_schedule_event(), LocalLambdaContext())
    assert (reply["outcomes"][0]["status"], reply["outcomes"][0]["adopted"]) == ("accepted", True)
    assert len(world.started) == 1


def test_after_a_conflict_that_is_over_the_sync_is_sent_again(world: World) -> None:
    """7302 means not taken; nothing runs any more, so the vault is free."""
    conflicts = iter([True])

    def answer_conflict(request: httpx.Request) -> httpx.Response | None:
        body = {"error_code": "BackupService.7302", "error_msg": "The vault is being synchronized."}
        return httpx.Response(400, json=body) if request.url.path == SYNC and next(conflicts, None) else None

    adapter = LambdaAdapter(world.environ, **world.options(intercept(world, answer_conflict)))
    (outcome,) = adapter(build_schedule_event(), LocalLambdaContext())["outcomes"]
    assert (outcome["status"], outcome["attempts"]) == ("accepted", 2)


def test_without_permission_to_read_logs_a_running_sync_is_still_reported(world: World) -> None:
    """Which one stays unknown; it is no failure all the same."""

    def refuse_log_listing(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(403, json={}) if request.url.path == LOGS else None

    adapter = LambdaAdapter(world.environ, **world.options(intercept(world, refuse_log_listing)))
    (outcome,) = adapter(build_schedule_event(BUSY), LocalLambdaContext())["outcomes"]
    assert (outcome["status"], outcome["operation_log_id"]) == ("already_running", None)


# 401, 403, a wrong signature, BackupService.9998


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, {"error_code": "APIGW.0301", "error_msg": "verify aksk signature fail"}),
        (401, {"error_code": "APIGW.0303", "error_msg": "expired"}),
        (500, {"error_code": "BackupService.9998", "error_msg": "Authentication failed."}),
    ],
)
def test_the_first_refusal_is_the_last_request(world: World, status: int, body: dict[str, str]) -> None:
    """Many vaults, sixteen workers, one request; every outcome says why."""
    vaults = [str(uuid.UUID(int=number, version=4)) for number in range(1, 101)]
    arrived = []

    def refuse_all(request: httpx.Request) -> httpx.Response:
        arrived.append(request)
        return httpx.Response(status, json=body)

    adapter = LambdaAdapter(world.environ, **world.options(httpx.MockTransport(refuse_all)))
    reply = adapter({"vault_ids": vaults}, LocalLambdaContext())
    assert reply["counts"] == {"failed": 100}
    assert len(arrived) == 1
    assert sum(outcome["attempts"] for outcome in reply["outcomes"]) == 1
    assert {outcome["error"]["http_status"] for outcome in reply["outcomes"]} == {status}


@pytest.mark.parametrize(
    "body", [{"error_code": "BackupService.0103", "error_msg": "no right on this vault"}, {}]
)
def test_a_missing_permission_ends_its_own_call_only(world: World, body: dict[str, str]) -> None:
    """One of five vaults may not be synced; the other four are."""
    cloud = world.transport()

    def forbid(request: httpx.Request) -> httpx.Response:
        return (
            httpx.Response(403, json=body)
            if FILE.encode() in request.content
            else cloud.handle_request(request)
        )

    adapter = LambdaAdapter(world.environ, **world.options(httpx.MockTransport(forbid)))
    vaults = [VMWARE, FILE, PARTIAL, BROKEN, "5b1c9d1e-7a52-4a57-8f6e-3c1f0e9b2a03"]
    reply = adapter({"vault_ids": vaults}, LocalLambdaContext())
    assert reply["counts"] == {"accepted": 4, "failed": 1}
    assert [outcome["vault_id"] for outcome in reply["outcomes"] if outcome["error"]] == [FILE]


class Agency:
    """An agency whose first keys are stale."""

    def __init__(self, *keys: Credentials) -> None:
        self._keys = list(keys)

    def __call__(self) -> Credentials:
        return self._keys.pop(0) if len(self._keys) > 1 else self._keys[0]


class RenewingContext(LocalFunctionGraphContext):
    """Reads its agency's keys anew whenever it is asked for the access key."""

    reads: Agency
    now: Credentials

    def getSecurityAccessKey(self) -> str | None:  # noqa: N802
        """The access key of the keys that count from now on."""
        object.__setattr__(self, "now", self.reads())
        return self.now.access_key

    def getSecuritySecretKey(self) -> str | None:  # noqa: N802
        """Its secret key."""
        return self.now.secret_key

    def getSecurityToken(self) -> str | None:  # noqa: N802
        """Its token."""
        return self.now.token


def build_agency_context(*keys: Credentials) -> RenewingContext:
    """A context whose agency hands out these keys, one after the other."""
    context = RenewingContext({"CBR_SYNC_REGION": "cn-north-4"}, None, SIMULATOR_PROJECT_ID)
    object.__setattr__(context, "reads", Agency(*keys))
    return context


STALE = Credentials("made-up-stale-key", "made-up-stale-secret", "stale-token")
FRESH = Credentials("made-up-fresh-key", "made-up-fresh-secret", "fresh-token")


@pytest.mark.parametrize(("keys", "refused"), [((STALE, STALE, FRESH), 1), ((STALE, STALE, STALE), 1)])
def test_temporary_credentials_are_renewed_once(
    world: World, keys: tuple[Credentials, ...], refused: int
) -> None:
    """Where the platform has others by now, they are tried; the same ones are not."""
    world.simulator = Simulator(now=world.now, credentials=FRESH)
    environ = {"CBR_SYNC_REGION": "cn-north-4"}
    adapter = FunctionGraphAdapter(environ, **world.options())
    reply = adapter({"vault_ids": [VMWARE, FILE]}, build_agency_context(*keys))
    assert reply["counts"] == ({"accepted": 2} if FRESH in keys else {"failed": 2})
    assert world.simulator.refused_signatures == refused


def test_an_agency_that_is_gone_has_nothing_to_renew(world: World) -> None:
    """Each vault still gets its outcome."""
    world.simulator = Simulator(now=world.now, credentials=FRESH)
    adapter = FunctionGraphAdapter({"CBR_SYNC_REGION": "cn-north-4"}, **world.options())
    reply = adapter({"vault_ids": [VMWARE, FILE]}, build_agency_context(STALE, STALE, Credentials("", "")))
    assert reply["counts"] == {"failed": 2}
    assert world.simulator.refused_signatures == 1


def test_renewed_credentials_that_are_refused_too_end_it(world: World) -> None:
    """Two refusals at most."""
    other = replace(STALE, token="another-stale-token")
    world.simulator = Simulator(now=world.now, credentials=FRESH)
    adapter = FunctionGraphAdapter({"CBR_SYNC_REGION": "cn-north-4"}, **world.options())
    reply = adapter({"vault_ids": [VMWARE, FILE, PARTIAL]}, build_agency_context(STALE, STALE, other))
    assert reply["counts"] == {"failed": 3}
    assert world.simulator.refused_signatures == 2


def test_permanent_credentials_are_not_tried_twice(world: World) -> None:
    """There are no others."""
    outcome = run_for_one_vault(world, HUAWEICLOUD_SDK_SK="wrong")
    assert (outcome["status"], outcome["error"]["code"]) == ("failed", "APIGW.0301")
    assert world.simulator.refused_signatures == 1
    assert SIMULATOR_CREDENTIALS.secret_key not in json.dumps(outcome)


# anything else


@pytest.mark.parametrize("fault", ["302", "404"])
def test_anything_else_is_final(world: World, fault: str) -> None:
    """With the API's code, message and request id, and no second request."""
    world.simulator.add_faults(fault, VMWARE)
    outcome = run_for_one_vault(world)
    assert (outcome["status"], outcome["attempts"]) == ("failed", 1)
    assert outcome["error"]["http_status"] == int(fault)


# following


@pytest.mark.parametrize(
    ("vault", "status", "copies", "code"),
    [
        (VMWARE, "succeeded", {"synced": 12, "deleted": 1, "failed": 0}, None),
        (PARTIAL, "partial", {"synced": 12, "deleted": 1, "failed": 2}, None),
        (BROKEN, "failed", {"synced": 12, "deleted": 1, "failed": 0}, "BackupService.6405"),
    ],
)
@pytest.mark.parametrize("others", [(), (FILE,)])
def test_an_operation_is_followed_to_its_end(
    world: World, vault: str, status: str, copies: dict[str, int], code: str | None, others: tuple[str, ...]
) -> None:
    """With its copies, and the operation's own error."""
    world.simulator = Simulator(now=world.now, operation_seconds=20)
    outcome = run_on_lambda(world, build_schedule_event(vault, *others), CBR_SYNC_WAIT_SECONDS="40")[vault]
    assert (outcome["status"], outcome["copies"]) == (status, copies)
    assert (outcome["error"] or {}).get("code") == code
    assert 20 <= outcome["duration_seconds"] <= 40


@pytest.mark.parametrize(
    ("ends", "status"), [("skipped", "skipped"), ("timeout", "timed_out"), ("exploded", "accepted")]
)
def test_every_end_has_its_status_and_an_unknown_one_is_none(world: World, ends: str, status: str) -> None:
    """A state that we do not know may be a new way of running."""
    vaults = [replace(vault, ends=ends) for vault in DEFAULT_VAULTS]
    world.simulator = Simulator(now=world.now, vaults=vaults, operation_seconds=5)
    assert run_for_one_vault(world, CBR_SYNC_WAIT_SECONDS="30")["status"] == status


def test_what_is_not_over_in_time_is_accepted(world: World) -> None:
    """Never a failure; and the run ends inside its time."""
    outcome = run_for_one_vault(world, CBR_SYNC_WAIT_SECONDS="3600")
    assert outcome["status"] == "accepted"
    assert world.elapsed < 60


def test_many_operations_are_followed_by_one_list(world: World) -> None:
    """Not by a GET for each."""
    world.simulator = Simulator(now=world.now, operation_seconds=10)
    outcomes = run_on_lambda(world, build_schedule_event(VMWARE, FILE, PARTIAL), CBR_SYNC_WAIT_SECONDS="30")
    assert [outcome["status"] for outcome in outcomes.values()] == ["succeeded", "succeeded", "partial"]
    shown = [request for request in world.simulator.requests if request.path.startswith(LOGS + "/")]
    assert shown == []


def test_a_listing_that_fails_while_following_is_repeated(world: World, log_lines: Lines) -> None:
    """What is accepted does not become a failure because nobody could look."""
    world.simulator = Simulator(now=world.now, operation_seconds=10)

    def fail_at_first(request: httpx.Request) -> httpx.Response | None:
        is_broken = request.url.path == LOGS and 0 < world.elapsed < 8
        return httpx.Response(503) if is_broken else None

    environ = {**world.environ, "CBR_SYNC_WAIT_SECONDS": "30"}
    reply = LambdaAdapter(environ, **world.options(intercept(world, fail_at_first)))(
        build_schedule_event(), LocalLambdaContext()
    )
    assert reply["counts"] == {"succeeded": 1}
    assert [line["level"] for line in log_lines()] == ["INFO"]


def test_without_permission_to_read_logs_nothing_is_followed(world: World) -> None:
    """The sync was taken all the same."""

    def refuse_log_listing(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(403, json={}) if request.url.path.startswith(LOGS) else None

    environ = {**world.environ, "CBR_SYNC_WAIT_SECONDS": "30"}
    reply = LambdaAdapter(environ, **world.options(intercept(world, refuse_log_listing)))(
        build_schedule_event(), LocalLambdaContext()
    )
    assert reply["counts"] == {"accepted": 1}
    assert world.elapsed < 5


# discovery


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ({"object_type": "file"}, [FILE]),
        ({"name": "vault-vmware-01"}, [VMWARE]),
        ({"tags": {"env": "prod"}}, [VMWARE, FILE]),
        ({"tags": {"env": "prod"}, "object_type": "vmware"}, [VMWARE]),
    ],
)
def test_a_selector_finds_the_hybrid_vaults_that_match(
    world: World, selector: dict[str, Any], found: list[str]
) -> None:
    """By type, name and tags."""
    assert list(run_on_lambda(world, {"vaults": selector})) == found


def test_a_selector_that_matches_nothing_is_an_error(world: World, log_lines: Lines) -> None:
    """A timer that has nothing to sync would go unnoticed until the disaster."""
    with pytest.raises(EventError, match="no hybrid vault matches name, tags, so there is nothing to sync"):
        world.on_lambda({"vaults": {"name": "hunter2", "tags": {"env": "no"}}})
    assert log_lines()[0]["outcome"]["type"] == "cbr-sync.trigger.rejected.v1"


def test_every_hybrid_vault_is_found_and_a_frozen_one_skipped(world: World) -> None:
    """With the reason, and without a request for it."""
    outcomes = run_on_lambda(world, {"trigger_type": "TIMER"}, CBR_SYNC_VAULTS="hybrid")
    hybrid = [vault.id for vault in DEFAULT_VAULTS if vault.cloud_type == "hybrid"]
    assert list(outcomes) == hybrid
    assert outcomes[FROZEN]["status"] == "skipped"
    assert outcomes[FROZEN]["error"]["message"] == "the vault vault-vmware-frozen is frozen, not available"
    assert outcomes[VMWARE]["auto_trigger"]
    assert count_sync_posts(world) == len(hybrid) - 1


def test_discovery_reaches_no_further_than_allowed(world: World) -> None:
    """Vaults that events may not name are left out."""
    assert list(
        run_on_lambda(world, {"vaults": {}}, CBR_SYNC_VAULTS="hybrid", CBR_SYNC_ALLOWED_VAULTS=FILE)
    ) == [FILE]


def test_discovery_pages_and_knows_no_limit(world: World) -> None:
    """More vaults than an event may name, and than a page holds."""
    vaults = tuple(Vault(str(uuid.UUID(int=number, version=4)), f"v{number}") for number in range(1010))
    world.simulator = Simulator(now=world.now, vaults=vaults)
    outcomes = run_on_lambda(world, {"vaults": {}})
    assert list(outcomes) == [vault.id for vault in vaults]
    assert {outcome["status"] for outcome in outcomes.values()} == {"accepted"}


@pytest.mark.parametrize(
    ("fault", "error", "http_status", "emitted"),
    [
        ("503*99", SyncUnfinished, 503, []),
        ("429*99", SyncUnfinished, 503, []),
        ("404", ApiError, 502, ["cbr-sync.trigger.rejected.v1"]),
    ],
)
def test_vaults_that_cannot_be_listed_fail_the_run(
    world: World,
    log_lines: Lines,
    fault: str,
    error: type[Exception],
    http_status: int,
    emitted: list[str],
) -> None:
    """The event is emitted as rejected only where another delivery cannot do better."""
    world.simulator.add_faults(fault)
    with pytest.raises(error):
        world.on_lambda({"vaults": {}})
    assert [line["outcome"]["type"] for line in log_lines() if "outcome" in line] == emitted
    world.simulator = Simulator(now=world.now)
    world.simulator.add_faults(fault)
    reply = world.on_lambda(webhook_event({"vaults": {}}, world))
    assert reply["statusCode"] == http_status


# queues


def list_failed_messages(reply: Mapping[str, Any]) -> list[str]:
    """The messages that were handed back."""
    return [item["itemIdentifier"] for item in reply["batchItemFailures"]]


def test_a_poison_message_never_blocks_its_batch(world: World, log_lines: Lines) -> None:
    """It is returned and reported; final failures and all else are acknowledged."""
    reply = world.on_lambda(
        build_sqs_event({"vault_id": VMWARE}, "poison", {"vault_id": BUSY}, {"vault_id": FROZEN})
    )
    assert list_failed_messages(reply) == ["m1"]
    outcomes = [line["outcome"] for line in log_lines()]
    statuses = {event.get("subject"): event["data"].get("status") for event in outcomes}
    assert statuses == {VMWARE: "accepted", BUSY: "already_running", FROZEN: "failed", None: None}
    assert [event["type"] for event in outcomes[3:]] == [
        "cbr-sync.run.finished.v1",
        "cbr-sync.trigger.rejected.v1",
    ]


def test_an_unfinished_message_is_handed_back(world: World) -> None:
    """And only it."""
    world.simulator.add_faults("429*9", FILE)
    reply = world.on_lambda(build_sqs_event({"vault_id": VMWARE}, {"vault_ids": [FILE, PARTIAL]}))
    assert list_failed_messages(reply) == ["m1"]


def test_a_message_that_comes_again_adopts(world: World) -> None:
    """Its sent time is the trigger's time."""
    for _ in range(2):
        assert list_failed_messages(world.on_lambda(build_sqs_event({"vault_id": VMWARE}))) == []
    assert len(world.started) == 1


def test_a_fifo_batch_stops_at_the_first_unfinished_message(world: World) -> None:
    """So that order holds; what cannot be read is handed back, and stops nothing."""
    world.simulator.add_faults("429*9", FILE)
    bodies = [{"vault_id": VMWARE}, "poison", {"vault_id": FILE}, {"vault_id": PARTIAL}]
    reply = world.on_lambda(build_sqs_event(*bodies, fifo=True))
    assert list_failed_messages(reply) == ["m1", "m2", "m3"]
    assert world.simulator.syncs_of(PARTIAL) == []


def test_a_fifo_batch_stops_where_vaults_cannot_be_listed_now(world: World) -> None:
    """Another delivery may list them, so what comes behind has to wait."""
    world.simulator.add_faults("503*99")
    reply = world.on_lambda(build_sqs_event({"vaults": {}}, {"vault_id": VMWARE}, fifo=True))
    assert list_failed_messages(reply) == ["m0", "m1"]
    assert world.started == []


@pytest.mark.parametrize(
    "body",
    [
        {"Type": "Notification", "TopicArn": "t", "Message": json.dumps({"vault_id": VMWARE})},
        {"detail-type": "Copied", "source": "my.backup", "detail": {"vault_id": VMWARE}},
    ],
)
def test_an_envelope_inside_a_message_is_taken_off(world: World, body: dict[str, Any]) -> None:
    """SNS and EventBridge put theirs around what goes into a queue."""
    assert list_failed_messages(world.on_lambda(build_sqs_event(body))) == []
    assert len(world.started) == 1


def test_a_kafka_batch_does_all_else_before_it_fails(world: World, log_lines: Lines) -> None:
    """There are no partial responses, so the run fails after everything was done and emitted."""
    event = {
        "trigger_type": "KAFKA",
        "event_time": int(START.timestamp()),
        "instance_id": "i",
        "records": [
            {"topic_id": "t", "messages": [json.dumps({"vault_id": VMWARE}), "poison"]},
            {"topic_id": "u", "messages": [json.dumps({"vault_id": FILE})]},
        ],
    }
    with pytest.raises(Exception, match="found 6 characters that are not JSON"):
        world.on_functiongraph(event)
    emitted = [line["outcome"]["data"] for line in log_lines() if "outcome" in line]
    assert [data.get("status") for data in emitted] == ["accepted", "accepted", None, None]
    assert emitted[3]["id"] == f"t/{int(START.timestamp())}/1"
    assert {data["trigger"]["time"] for data in emitted[:2]} == {"2026-11-23T03:00:00.000Z"}


def test_of_two_messages_for_a_vault_the_later_counts(world: World) -> None:
    """A sync that began after the later one serves both; one from between serves only the first."""
    world.simulator = Simulator(now=world.now, operation_seconds=1)
    run_on_lambda(world, build_schedule_event())
    world.sleep(60)
    event = build_sqs_event({"vault_id": VMWARE}, {"vault_id": VMWARE})
    later = int(START.timestamp() * 1000) + 60_000
    event["Records"][1]["attributes"]["SentTimestamp"] = str(later)
    assert list_failed_messages(world.on_lambda(event)) == []
    assert len(world.started) == 2
