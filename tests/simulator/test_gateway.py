"""The simulated gateway: signatures, the lock of an access key, revoked keys, and rates."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from cbr_sync.credentials import Credentials
from cbr_sync.huawei.signing import SdkHmacAuth
from cbr_sync.simulator.cloud import Simulator
from cbr_sync.simulator.faults import Fault
from cbr_sync.simulator.models import SIMULATOR_CREDENTIALS, RetryAfter
from support.simulator_client import SYNC, make_client, post_sync, read_error
from support.world import ENDPOINT, VMWARE, VirtualClock, World

WRONG = Credentials(SIMULATOR_CREDENTIALS.access_key, "wrong")
FRESH = Credentials("fresh-access-key", "fresh-secret-key", "fresh-token")


@pytest.mark.parametrize(
    "credentials",
    [
        WRONG,
        Credentials("wrong", SIMULATOR_CREDENTIALS.secret_key),
        Credentials(SIMULATOR_CREDENTIALS.access_key, SIMULATOR_CREDENTIALS.secret_key, "a-token"),
    ],
)
def test_wrong_keys_are_refused(world: World, credentials: Credentials) -> None:
    """Signature, access key and token are each checked."""
    with make_client(world.simulator, world, credentials) as client:
        assert read_error(post_sync(client, VMWARE)) == (401, "APIGW.0301")
    assert world.started == []


def test_temporary_keys_need_their_token(world: World) -> None:
    """It is part of what is signed."""
    keys = Credentials("temporary-access-key", "temporary-secret-key", "its-token")
    simulator = Simulator(now=world.now, credentials=keys)
    with make_client(simulator, world, keys) as client:
        assert post_sync(client, VMWARE).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"authorization": None},
        {"authorization": "Basic c2ltOnVsYXRvcg=="},
        {"x-sdk-date": "today"},
        {"x-sdk-date": "20261123T030001Z"},
        {"body": b'{"sync": {}}'},
        {"target": SYNC + "?x=1"},
        {"target": "//["},
        {"method": "PUT"},
        {"signed": "host"},
        {"authorization": "SDK-HMAC-SHA256 Access=simulator-access-key, SignedHeaders=a, Signature=\u00e9"},
    ],
)
def test_a_request_that_was_changed_on_its_way_is_refused(world: World, change: dict[str, Any]) -> None:
    """Whatever was signed has to arrive as it was."""
    body = json.dumps({"sync": {"vault_id": VMWARE, "auto_trigger": True}}).encode()
    request = httpx.Request("POST", ENDPOINT + SYNC, content=body)
    next(SdkHmacAuth(SIMULATOR_CREDENTIALS, world.now).auth_flow(request))
    headers = dict(request.headers)
    if "signed" in change:
        headers["authorization"] = headers["authorization"].replace("host;x-sdk-date", change["signed"])
    headers |= {key: value for key, value in change.items() if key in headers}
    kept = {key: value for key, value in headers.items() if value}
    method, target = change.get("method", "POST"), change.get("target", SYNC)
    answer = world.simulator.answer(method, target, kept, change.get("body", body))
    assert not isinstance(answer, Fault)
    assert answer.status == 401
    assert world.started == []


@pytest.mark.parametrize(("minutes", "status"), [(14, 200), (16, 401), (-14, 200), (-16, 401)])
def test_a_clock_may_be_fifteen_minutes_off(world: World, minutes: int, status: int) -> None:
    """Not more, in either direction; the API's own clock may be the one that is off."""
    elsewhere = World(VirtualClock(minutes * 60))
    with make_client(world.simulator, elsewhere) as client:
        assert post_sync(client, VMWARE).status_code == status
    with make_client(Simulator(now=world.now, clock_offset_seconds=minutes * 60), world) as client:
        assert post_sync(client, VMWARE).status_code == status


def test_more_than_five_refusals_in_a_row_lock_the_access_key(world: World, client: httpx.Client) -> None:
    """For five minutes, for everyone who uses it; a right one in between begins the count anew."""
    with make_client(world.simulator, world, WRONG) as stranger:
        for _ in range(5):
            stranger.get("/v3/projects")
        assert client.get("/v3/projects").status_code == 200
        for _ in range(5):
            stranger.get("/v3/projects")
        assert not world.simulator.is_locked(WRONG.access_key)
        stranger.get("/v3/projects")
        assert world.simulator.is_locked(WRONG.access_key)
    assert "reach the limit,forbidden" in client.get("/v3/projects").json()["error_msg"]
    world.sleep(300)
    assert not world.simulator.is_locked(WRONG.access_key)
    assert client.get("/v3/projects").status_code == 200
    assert world.simulator.refused_signatures == 12
    assert world.simulator.count_refusals(WRONG.access_key) == 12


def test_a_strangers_key_locks_nobody_elses(world: World, client: httpx.Client) -> None:
    """Neither do requests without any key; each key has its own count."""
    with make_client(world.simulator, world, Credentials("wrong", "wrong")) as stranger:
        for _ in range(9):
            stranger.get("/v3/projects")
            httpx.Client(transport=world.simulator.transport()).get(f"{ENDPOINT}/v3/projects")
    assert world.simulator.refused_signatures == 18
    assert world.simulator.count_refusals("wrong") == 9
    assert world.simulator.is_locked("wrong")
    assert client.get("/v3/projects").status_code == 200
    assert not world.simulator.is_locked(SIMULATOR_CREDENTIALS.access_key)


def test_credentials_can_be_replaced(world: World, client: httpx.Client) -> None:
    """The old ones are refused from then on."""
    assert client.get("/v3/projects").status_code == 200
    world.simulator.replace_credentials(FRESH)
    assert read_error(client.get("/v3/projects")) == (401, "APIGW.0301")
    with make_client(world.simulator, world, FRESH) as fresh:
        assert fresh.get("/v3/projects").status_code == 200
    assert [request.access_key for request in world.simulator.requests] == [
        *[SIMULATOR_CREDENTIALS.access_key] * 2,
        FRESH.access_key,
    ]


def test_a_key_can_be_revoked_in_the_middle(world: World, client: httpx.Client) -> None:
    """After so many accepted requests; those that are refused or fail before do not count."""
    world.simulator.revoke_after(3)
    world.simulator.add_faults("503")
    with make_client(world.simulator, world, WRONG) as stranger:
        assert stranger.get("/v3/projects").status_code == 503
        assert stranger.get("/v3/projects").status_code == 401
    assert [client.get("/v3/projects").status_code for _ in range(5)] == [200, 200, 200, 401, 401]
    assert not world.simulator.requests[-1].signed_ok
    world.simulator.replace_credentials(FRESH)
    with make_client(world.simulator, world, FRESH) as fresh:
        assert fresh.get("/v3/projects").status_code == 200


def test_a_revoked_key_can_have_a_replacement_at_hand(world: World, client: httpx.Client) -> None:
    """It is valid from that moment, not before; nought revokes at once."""
    world.simulator.revoke_after(1, FRESH)
    with make_client(world.simulator, world, FRESH) as fresh:
        assert fresh.get("/v3/projects").status_code == 401
        assert client.get("/v3/projects").status_code == 200
        assert fresh.get("/v3/projects").status_code == 200
        assert client.get("/v3/projects").status_code == 401
        world.simulator.revoke_after(0)
        assert fresh.get("/v3/projects").status_code == 401
    assert world.simulator.count_refusals(FRESH.access_key) == 2
    assert world.simulator.count_refusals(SIMULATOR_CREDENTIALS.access_key) == 1


def test_more_requests_than_the_rate_are_throttled(world: World) -> None:
    """Within any minute."""
    simulator = Simulator(now=world.now, rate_per_minute=2)
    with make_client(simulator, world) as client:
        assert [client.get("/v3/projects").status_code for _ in range(3)] == [200, 200, 429]
        limited = client.get("/v3/projects")
        assert read_error(limited) == (429, "APIGW.0308")
        assert limited.json()["error_msg"].endswith("policy user over ratelimit,limit:2,time:1 minute")
        assert "Retry-After" not in limited.headers
        world.sleep(60)
        assert client.get("/v3/projects").status_code == 200


@pytest.mark.parametrize(
    ("rate", "pauses", "statuses"),
    [
        (3, [0, 0, 0, 0, 0.25, 0.1, 1.0, 0, 0, 0], [200, 200, 200, 429, 429, 200, 200, 200, 200, 429]),
        (0.5, [0, 1.5, 0.5, 1.9, 10, 0], [200, 429, 200, 429, 200, 429]),
        (10, [0] * 10 + [0.05, 0.05, 0.1, 0.1], [200] * 10 + [429, 200, 200, 200]),
    ],
)
def test_a_rate_by_the_second_is_a_bucket_that_fills_steadily(
    world: World, rate: float, pauses: list[float], statuses: list[int]
) -> None:
    """What is limited takes nothing out of it, and it never holds more than a second's requests, or one."""
    simulator = Simulator(now=world.now, rate_per_second=rate)
    seen = []
    with make_client(simulator, world) as client:
        for pause in pauses:
            world.sleep(pause)
            response = client.get("/v3/projects")
            seen.append(response.status_code)
            if response.status_code == 429:
                words = f"policy user over ratelimit,limit:{rate:g},time:1 second"
                assert response.json()["error_msg"].endswith(words)
                assert "Retry-After" not in response.headers
    assert seen == statuses


@pytest.mark.parametrize(
    ("retry_after", "value"), [("seconds", "2"), ("date", "Mon, 23 Nov 2026 03:00:03 GMT"), (None, None)]
)
def test_a_limited_answer_has_the_retry_after_asked_for(
    world: World, retry_after: RetryAfter | None, value: str | None
) -> None:
    """On the API's clock, and rounded up, so that who waits so long is not too early."""
    simulator = Simulator(
        now=world.now, rate_per_second=0.5, retry_after=retry_after, clock_offset_seconds=0.75
    )
    with make_client(simulator, world) as client:
        assert client.get("/v3/projects").status_code == 200
        world.sleep(0.125)
        response = client.get("/v3/projects")
        assert read_error(response) == (429, "APIGW.0308")
        assert response.headers.get("Retry-After") == value
        world.sleep(2)
        assert client.get("/v3/projects").status_code == 200


def test_both_rates_hold_at_once(world: World) -> None:
    """What one of them refuses does not count for the other."""
    simulator = Simulator(now=world.now, rate_per_minute=3, rate_per_second=1, retry_after="seconds")
    with make_client(simulator, world) as client:
        statuses = []
        for pause in (0, 0, 1, 1, 1):
            world.sleep(pause)
            statuses.append(client.get("/v3/projects").status_code)
        assert statuses == [200, 429, 200, 200, 429]
        assert client.get("/v3/projects").headers["Retry-After"] == "57"
