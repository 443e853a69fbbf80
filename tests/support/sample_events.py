"""What each file in ``events/`` is to give when it is played on a fresh simulator; for tests and demo."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cbr_sync.sinks.messages import REPORT, RUN_FINISHED
from support.world import BUSY, FILE, PUBLIC, VMWARE

EVENTS = Path(__file__).parent.parent.parent / "events"
VMWARE_2 = "5b1c9d1e-7a52-4a57-8f6e-3c1f0e9b2a03"
PARTIAL = "6c2d0e2f-8b63-4b68-9a7f-4d2a1f0c3b04"

# What a timer without a payload of its own syncs.
DEFAULT_VAULTS = f"{VMWARE},{FILE}"


@dataclass(frozen=True, slots=True)
class Expected:
    """The reply in a few words, and each vault that was told of with its status, in order."""

    answer: str
    vaults: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, answer: str, emitted: Iterable[Mapping[str, Any]]) -> Expected:
        """What really came of an event: its reply, and what was emitted of single vaults."""
        vaults = (event for event in emitted if "subject" in event)
        return cls(answer, tuple((event["subject"], word_of(event)) for event in vaults))


def word_of(event: Mapping[str, Any]) -> str:
    """The status of a sync, or the state of a vault."""
    data = event["data"]
    word: str = data["status"] if "status" in data else data["state"]
    return word


def accepted(answer: str, *vaults: str) -> Expected:
    """The API took all of them."""
    return Expected(answer, tuple((vault, "accepted") for vault in vaults))


NEW = "b1725374-d0b8-4db1-8fc4-927f64e19a09"
# In the simulator's book of histories, the worst first.
NOT_FRESH_VMWARE = (
    ("7d3e1f30-9c74-4c79-8b80-5e3b20ad4c05", "failing"),
    (PARTIAL, "failing"),
    ("9f503152-be96-4e9b-8da2-705d42cf6e07", "stale"),
    (VMWARE_2, "stale"),
    (BUSY, "stale"),
    ("c2836485-e1c9-4ec2-9ad5-a38075f2ab10", "unknown"),
)

PLAYBOOK = {
    EVENTS / f"{name}.json": expected
    for name, expected in {
        "aws-direct": accepted("returned", VMWARE, FILE),
        "aws-event-eventbridge": accepted("returned", FILE),
        "aws-notification-sns": accepted("returned", VMWARE),
        "aws-queue-sqs": accepted("0 handed back", VMWARE, FILE, VMWARE_2),
        "aws-queue-sqs-fifo": accepted("0 handed back", VMWARE, FILE),
        "aws-schedule-report": Expected("returned", NOT_FRESH_VMWARE),
        "aws-schedule-rule": accepted("returned", VMWARE, FILE),
        "aws-schedule-scheduler": accepted("returned", VMWARE, FILE),
        "aws-schedule-scheduler-input": accepted("returned", VMWARE, VMWARE_2),
        "aws-webhook-alb": accepted("HTTP 200", VMWARE),
        "aws-webhook-alb-multi-value": accepted("HTTP 200", FILE),
        "aws-webhook-function-url": accepted("HTTP 200", VMWARE_2),
        "aws-webhook-function-url-base64": accepted("HTTP 200", PARTIAL),
        "aws-webhook-http-api-v2": accepted("HTTP 200", FILE),
        "aws-webhook-rest-v1": Expected("HTTP 207", ((VMWARE, "accepted"), (PUBLIC, "failed"))),
        "functiongraph-direct": accepted("returned", VMWARE),
        "functiongraph-event-eventgrid": Expected("returned", ((BUSY, "already_running"),)),
        "functiongraph-event-eventgrid-batch": accepted("returned", VMWARE_2, PARTIAL),
        "functiongraph-notification-smn": accepted("returned", VMWARE),
        "functiongraph-queue-kafka": accepted("returned", VMWARE, FILE),
        "functiongraph-queue-rocketmq": accepted("returned", VMWARE_2),
        "functiongraph-timer": accepted("returned", VMWARE, FILE),
        "functiongraph-timer-report": Expected(
            "returned", (*NOT_FRESH_VMWARE[:2], (NEW, "never"), *NOT_FRESH_VMWARE[2:])
        ),
        "functiongraph-timer-selector": accepted("returned", VMWARE, FILE),
        "functiongraph-timer-user-event": accepted("returned", VMWARE, VMWARE_2),
        "functiongraph-webhook-apig": accepted("HTTP 200", VMWARE),
        "functiongraph-webhook-apig-base64": accepted("HTTP 200", FILE),
        "functiongraph-webhook-apig-dedicated": accepted("HTTP 200", VMWARE_2, PARTIAL),
    }.items()
}


def expected_messages() -> Counter[str]:
    """How many messages of each type lie in the queue when all events were played once."""
    types: Counter[str] = Counter()
    for path, expected in PLAYBOOK.items():
        reports = path.stem.endswith("-report")
        kind = "cbr-sync.vault.{}.v1" if reports else "cbr-sync.checkpoint.sync.{}.v1"
        types.update(kind.format(word) for _, word in expected.vaults)
        types[REPORT if reports else RUN_FINISHED] += reports or len(expected.vaults) > 1
    return types
