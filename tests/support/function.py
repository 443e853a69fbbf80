"""One instance of the function on Lambda in a world, delivery by delivery."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx

from cbr_sync.aws_lambda import LambdaAdapter
from cbr_sync.errors import CbrSyncError
from cbr_sync.local import LocalLambdaContext
from cbr_sync.models import SyncOutcome, format_rfc3339
from cbr_sync.results import RunResult
from cbr_sync.simulator.cloud import Simulator
from cbr_sync.simulator.models import SIMULATOR_PROJECT_ID, Vault
from support.world import START, World

SYNC_PATH = f"/v3/{SIMULATOR_PROJECT_ID}/checkpoints/sync"
LOGS_PATH = f"/v3/{SIMULATOR_PROJECT_ID}/operation-logs"
QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/outcomes"
QUEUE_ENVIRON = {
    "CBR_SYNC_SQS_QUEUE_URL": QUEUE,
    "AWS_ACCESS_KEY_ID": "made-up",
    "AWS_SECRET_ACCESS_KEY": "made-up",
}

Intercept = Callable[[httpx.Request], httpx.Response | None]


def make_vaults(count: int) -> tuple[Vault, ...]:
    """So many vaults."""
    return tuple(Vault(str(uuid.UUID(int=n, version=4)), f"vault-{n}") for n in range(1, count + 1))


def make_world(vaults: int | tuple[Vault, ...] = 1, **cloud: Any) -> World:
    """A world with these vaults in a simulator made so; its operations take ten minutes."""
    own = make_vaults(vaults) if isinstance(vaults, int) else vaults
    world = World(vaults=own)
    world.simulator = Simulator(now=world.now, **{"vaults": own, "operation_seconds": 600, **cloud})
    return world


def build_direct(world: World) -> dict[str, Any]:
    """A direct event for all vaults, which has no time of its own."""
    return {"vault_ids": [vault.id for vault in world.vaults]}


def build_schedule(world: World, at: datetime = START) -> dict[str, Any]:
    """A schedule's event for all vaults, with its own time."""
    schedule = {"trigger": "schedule", "scheduled_time": format_rfc3339(at), "schedule_arn": "arn"}
    return {**build_direct(world), **schedule}


def build_queue(*bodies: object, sent: datetime = START) -> dict[str, Any]:
    """A batch of SQS messages, sent at this moment."""
    record = {
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:work",
        "attributes": {"SentTimestamp": str(int(sent.timestamp() * 1000))},
    }
    return {
        "Records": [
            {**record, "messageId": f"m{number}", "body": json.dumps(body)}
            for number, body in enumerate(bodies)
        ]
    }


class Function:
    """An instance of the function.

    Attributes:
        outcomes: Those of the last run.
        error: How the last run failed; None where it did not.
        reply: What the last run answered.
    """

    def __init__(self, world: World, *, intercept: Intercept = lambda _: None, **environ: str) -> None:
        """Start an instance; *intercept* may answer a request in the place of the world."""
        cloud = world.transport()
        transport = httpx.MockTransport(lambda request: intercept(request) or cloud.handle_request(request))
        self._world = world
        self._results: list[RunResult] = []
        self._adapter = LambdaAdapter(
            {**world.environ, **environ}, **world.options(transport), on_result=self._results.append
        )
        self.error: CbrSyncError | None = None
        self.reply: Any = None

    def deliver(self, event: object, seconds: float = 60) -> dict[str, int]:
        """Run once, and count the outcomes by their status; no run may take longer than it is allowed."""
        began = self._world.elapsed
        self.error = self.reply = None
        try:
            self.reply = self._adapter(event, LocalLambdaContext(seconds))
        except CbrSyncError as error:
            self.error = error
        assert self._world.elapsed - began <= seconds
        return dict(Counter(str(outcome.status) for outcome in self.outcomes))

    @property
    def outcomes(self) -> list[SyncOutcome]:
        return self._results[-1].outcomes

    @property
    def outcome(self) -> SyncOutcome:
        """The only one."""
        (outcome,) = self.outcomes
        return outcome


def count_syncs(world: World) -> list[int]:
    """How many syncs of each vault the API accepted since the world began."""
    started = Counter(operation.vault_id for operation in world.started)
    return [started[vault.id] for vault in world.vaults]


def list_posts(world: World, vault_id: str | None = None) -> list[float]:
    """When the requests arrived that ask for a sync, of one vault or of all, in seconds of the world."""
    return [
        (request.received_at - START).total_seconds()
        for request in world.simulator.requests
        if request.path == SYNC_PATH and vault_id in (None, request.vault_id)
    ]


def list_looks(world: World) -> list[float]:
    """When the operations were listed, in seconds of the world."""
    return [
        (request.received_at - START).total_seconds()
        for request in world.simulator.requests
        if request.path == LOGS_PATH
    ]
