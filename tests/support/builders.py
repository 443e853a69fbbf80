"""Events, outcomes, vaults and answers that several test modules build."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import httpx
from hypothesis import strategies as st

from cbr_sync.errors import ApiError, EventError
from cbr_sync.models import Kind, Status, SyncOutcome, Trigger
from cbr_sync.results import MessageResult, RunResult
from cbr_sync.simulator.models import Vault
from cbr_sync.simulator.scenarios import PastSync, record_history
from support.world import START, VMWARE, World

Lines = Callable[[], list[dict[str, Any]]]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=12,
)


SOURCE = "/cbr/cn-north-4/project"


TRIGGER = Trigger(kind=Kind.TIMER, id="night", time=START)


def build_outcome(**change: Any) -> SyncOutcome:
    """An outcome, changed so."""
    fields = {"vault_id": VMWARE, "auto_trigger": True, "status": Status.ACCEPTED, "operation_log_id": "log"}
    more = {"attempts": 1, "started_at": START, "duration_seconds": 0.5, "trigger": TRIGGER}
    return SyncOutcome(**{**fields, **more, **change})


TOPIC = "urn:smn:cn-north-4:f841e01fd2b14e7fa41b6ae7aa6b0594:backup"


CHANNEL = "4b26115b-778e-41ec-833e-cf7400000062"


Answer = tuple[int, dict[str, Any]]


# The statuses and states that people are notified of.
TROUBLE = {"failed", "timed_out", "partial", "unfinished", "already_running", "skipped"}


class HuaweiServices:
    """SMN and EventGrid beside the simulator's CBR; they answer as set up, and keep what they accepted."""

    def __init__(self, world: World, *answers: Answer) -> None:
        self.requests: list[httpx.Request] = []
        self._answers = list(answers)
        self._cbr = world.transport()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.host.startswith("cbr.") or request.url.path == "/v3/projects":
            return self._cbr.handle_request(request)
        self.requests.append(request)
        usual: Answer = (200, {"message_id": "m", "request_id": "r", "failed_count": 0})
        status, body = self._answers.pop(0) if self._answers else usual
        return httpx.Response(status, json=body)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """What was sent."""
        return [json.loads(request.content) for request in self.requests]


VAULT = Vault(VMWARE, "vault", created_at=START - timedelta(days=100))


def make_ids(count: int) -> list[str]:
    """So many vault ids."""
    return [str(uuid.UUID(int=number, version=4)) for number in range(1, count + 1)]


def build_world(*books: tuple[Vault, list[PastSync]]) -> World:
    """A world with these vaults and their histories."""
    world = World(vaults=tuple(vault for vault, _ in books))
    for vault, pasts in books:
        record_history(world.simulator, vault, pasts, world.now())
    return world


def build_sqs_event(*bodies: object, fifo: bool = False) -> dict[str, Any]:
    """An SQS batch as Lambda's poller hands it over."""
    sent = str(int(START.timestamp() * 1000))
    arn = "arn:aws:sqs:eu-west-1:123456789012:work" + (".fifo" if fifo else "")
    return {
        "Records": [
            {
                "messageId": f"m{number}",
                "eventSource": "aws:sqs",
                "eventSourceARN": arn,
                "attributes": {"SentTimestamp": sent},
                "body": body if isinstance(body, str) else json.dumps(body),
            }
            for number, body in enumerate(bodies)
        ]
    }


def build_result(
    *outcomes: SyncOutcome, errors: Sequence[tuple[Trigger, EventError | ApiError]] = ()
) -> RunResult:
    """The result of a run with these outcomes, and with triggers that could not be served."""
    return RunResult(
        [
            *(MessageResult(outcome.trigger, outcomes=(outcome,)) for outcome in outcomes),
            *(MessageResult(trigger, error=error) for trigger, error in errors),
        ]
    )
