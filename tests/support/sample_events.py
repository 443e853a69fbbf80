"""The result that each file in ``events/`` has to give on a fresh simulator, for the tests and the demo."""

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
    """The result of an event.

    Attributes:
        answer: The reply in a few words, as ``InvokeResult.answer`` puts it.
        vaults: Each vault that a message was emitted for with its status, in order.
    """

    answer: str
    vaults: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, answer: str, emitted: Iterable[Mapping[str, Any]]) -> Expected:
        """Return the result that an event gave.

        Args:
            answer: As the attribute.
            emitted: What was emitted; only what is about a single vault counts.
        """
        vaults = (event for event in emitted if "subject" in event)
        return cls(answer, tuple((event["subject"], get_status(event)) for event in vaults))


def get_status(event: Mapping[str, Any]) -> str:
    """Return the status of a sync, or the state of a vault."""
    data = event["data"]
    status: str = data["status"] if "status" in data else data["state"]
    return status


def expect_accepted(answer: str, *vaults: str) -> Expected:
    """Expect a sync of each of these vaults to be accepted."""
    return Expected(answer, tuple((vault, "accepted") for vault in vaults))


NEW = "b1725374-d0b8-4db1-8fc4-927f64e19a09"
# In the demo simulator's histories, the worst first.
NOT_FRESH_VMWARE = (
    ("7d3e1f30-9c74-4c79-8b80-5e3b20ad4c05", "failing"),
    (PARTIAL, "failing"),
    ("9f503152-be96-4e9b-8da2-705d42cf6e07", "stale"),
    (VMWARE_2, "stale"),
    (BUSY, "stale"),
    ("c2836485-e1c9-4ec2-9ad5-a38075f2ab10", "unknown"),
)

EXPECTED_RESULTS = {
    EVENTS / f"{name}.json": expected
    for name, expected in {
        "aws-direct": expect_accepted("returned", VMWARE, FILE),
        "aws-event-eventbridge": expect_accepted("returned", FILE),
        "aws-notification-sns": expect_accepted("returned", VMWARE),
        "aws-queue-sqs": expect_accepted("0 handed back", VMWARE, FILE, VMWARE_2),
        "aws-queue-sqs-fifo": expect_accepted("0 handed back", VMWARE, FILE),
        "aws-schedule-follow": Expected("returned", ()),
        "aws-schedule-report": Expected("returned", NOT_FRESH_VMWARE),
        "aws-schedule-rule": expect_accepted("returned", VMWARE, FILE),
        "aws-schedule-scheduler": expect_accepted("returned", VMWARE, FILE),
        "aws-schedule-scheduler-input": expect_accepted("returned", VMWARE, VMWARE_2),
        "aws-webhook-alb": expect_accepted("HTTP 200", VMWARE),
        "aws-webhook-alb-multi-value": expect_accepted("HTTP 200", FILE),
        "aws-webhook-function-url": expect_accepted("HTTP 200", VMWARE_2),
        "aws-webhook-function-url-base64": expect_accepted("HTTP 200", PARTIAL),
        "aws-webhook-http-api-v2": expect_accepted("HTTP 200", FILE),
        "aws-webhook-rest-v1": Expected("HTTP 207", ((VMWARE, "accepted"), (PUBLIC, "failed"))),
        "functiongraph-direct": expect_accepted("returned", VMWARE),
        "functiongraph-event-eventgrid": Expected("returned", ((BUSY, "already_running"),)),
        "functiongraph-event-eventgrid-batch": expect_accepted("returned", VMWARE_2, PARTIAL),
        "functiongraph-notification-smn": expect_accepted("returned", VMWARE),
        "functiongraph-queue-kafka": expect_accepted("returned", VMWARE, FILE),
        "functiongraph-queue-rocketmq": expect_accepted("returned", VMWARE_2),
        "functiongraph-timer": expect_accepted("returned", VMWARE, FILE),
        "functiongraph-timer-follow": Expected("returned", ()),
        "functiongraph-timer-report": Expected(
            "returned", (*NOT_FRESH_VMWARE[:2], (NEW, "never"), *NOT_FRESH_VMWARE[2:])
        ),
        "functiongraph-timer-selector": expect_accepted("returned", VMWARE, FILE),
        "functiongraph-timer-user-event": expect_accepted("returned", VMWARE, VMWARE_2),
        "functiongraph-webhook-apig": expect_accepted("HTTP 200", VMWARE),
        "functiongraph-webhook-apig-base64": expect_accepted("HTTP 200", FILE),
        "functiongraph-webhook-apig-dedicated": expect_accepted("HTTP 200", VMWARE_2, PARTIAL),
    }.items()
}


def count_expected_messages() -> Counter[str]:
    """Count the messages of each type that are in the queue once every event was handled."""
    types: Counter[str] = Counter()
    for path, expected in EXPECTED_RESULTS.items():
        reports = path.stem.endswith("-report")
        kind = "cbr-sync.vault.{}.v1" if reports else "cbr-sync.checkpoint.sync.{}.v1"
        types.update(kind.format(status) for _, status in expected.vaults)
        types[REPORT if reports else RUN_FINISHED] += reports or len(expected.vaults) > 1
    return types
