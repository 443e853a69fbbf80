"""Calls of the simulated API, signed as the function signs them, for the tests of the simulator itself."""

from __future__ import annotations

from typing import Any

import httpx

from cbr_sync.credentials import Credentials
from cbr_sync.huawei.signing import SdkHmacAuth
from cbr_sync.simulator.cloud import Simulator
from cbr_sync.simulator.models import SIMULATOR_CREDENTIALS, SIMULATOR_PROJECT_ID
from support.world import ENDPOINT, World

PROJECT = f"/v3/{SIMULATOR_PROJECT_ID}"
SYNC = f"{PROJECT}/checkpoints/sync"
LOGS = f"{PROJECT}/operation-logs"
VAULTS = f"{PROJECT}/vaults"


def make_client(
    simulator: Simulator, world: World, credentials: Credentials = SIMULATOR_CREDENTIALS
) -> httpx.Client:
    """Make a client without sockets that signs with these credentials, at the world's time."""
    return httpx.Client(
        base_url=ENDPOINT, transport=simulator.transport(), auth=SdkHmacAuth(credentials, world.now)
    )


def post_sync(client: httpx.Client, vault: str, *, auto_trigger: object = False) -> httpx.Response:
    """Ask for a sync."""
    return client.post(SYNC, json={"sync": {"vault_id": vault, "auto_trigger": auto_trigger}})


def start_sync(client: httpx.Client, vault: str) -> str:
    """Ask for a sync that is accepted, and return its operation_log_id."""
    response = post_sync(client, vault)
    assert response.status_code == 200
    return str(response.json()["sync"]["operation_log_id"])


def show_log(client: httpx.Client, log_id: str) -> dict[str, Any]:
    """Return an operation's log."""
    log: dict[str, Any] = client.get(f"{LOGS}/{log_id}").json()["operation_log"]
    return log


def read_error(response: httpx.Response) -> tuple[int, str]:
    """Return the status and the API's code of an error that has all that the API gives."""
    body = response.json()
    assert response.headers["X-Request-Id"]
    assert body["error_msg"]
    assert ("request_id" in body) == body["error_code"].startswith("APIGW")
    return response.status_code, body["error_code"]
