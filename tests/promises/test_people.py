"""People are written to once for a run, only about its last word, and never in a flood."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from cbr_sync.errors import SyncUnfinished
from cbr_sync.simulator.models import SIMULATOR_PROJECT_ID
from cbr_sync.sinks.flood import BURST
from support.builders import Lines
from support.function import Function, build_direct, build_queue, build_schedule, make_vaults, make_world
from support.people import check_publish_message
from support.world import START, World

TOPIC = {"CBR_SYNC_SMN_TOPIC_URN": f"urn:smn:cn-north-4:{SIMULATOR_PROJECT_ID}:backup"}


class People:
    """An instance with a topic of SMN.

    Attributes:
        function: The instance.
        mails: What was published, checked against the vendor's SDK.
        is_api_down: Whether CBR answers 503.
    """

    def __init__(self, world: World, *, seconds: float = 0.0, **environ: str) -> None:
        self.mails: list[dict[str, Any]] = []
        self.is_api_down = False
        self._world = world
        self._seconds = seconds
        self.function = Function(world, intercept=self._publish, **TOPIC, **environ)

    @property
    def subjects(self) -> list[str]:
        """What people read first."""
        return [mail["subject"].partition(" | ")[0] for mail in self.mails]

    def _publish(self, request: httpx.Request) -> httpx.Response | None:
        if not request.url.host.startswith("smn."):
            return httpx.Response(503) if self.is_api_down else None
        self._world.sleep(self._seconds)
        body = json.loads(request.content)
        self.mails.append({"subject": body["subject"], **check_publish_message(body)})
        return httpx.Response(200, json={"message_id": "m", "request_id": "r"})


def test_a_thousand_vaults_are_one_message() -> None:
    """A25: with 0.1 s for each message, four deliveries of a run sent the same 594 and never the rest."""
    world = make_world(1000)
    world.simulator.add_faults("403*1001")
    people = People(world, seconds=0.1)
    assert people.function.deliver(build_schedule(world), seconds=300) == {"failed": 1000}
    assert people.function.error is None
    assert people.subjects == ["FAILED: 1000 of 1000 syncs"]
    assert json.loads(people.mails[0]["default"])["data"]["omitted"] > 0


def test_a_queue_of_failures_is_a_handful_of_mails(log_lines: Lines) -> None:
    """2,300 messages that fail, ten in a batch, over half an hour; nothing is lost in the log."""
    vaults = make_vaults(1)
    world = make_world(vaults)
    world.simulator.add_faults("403*2300")
    people = People(world)
    for batch in range(230):
        event = build_queue(*[{"vault_id": vaults[0].id}] * 10, sent=world.now())
        for number, record in enumerate(event["Records"]):
            record["messageId"] = f"m{batch}-{number}"
        people.function.deliver(event)
        world.sleep(7.8)
    assert BURST <= len(people.mails) <= BURST + 3
    assert "earlier messages held back: too many at once; see the log." in people.mails[-1]["email"]
    assert json.loads(people.mails[-1]["default"])["type"] == "cbr-sync.notice.v1"
    lines = log_lines()
    assert sum("outcome" in line for line in lines) >= 230
    assert sum(line["message"].startswith("no message for people") for line in lines) == 230 - len(
        people.mails
    )


def test_timers_are_never_held_back() -> None:
    """Whatever a queue has used up; and they mention what was held back."""
    world = make_world(1)
    world.simulator.add_faults("403*99")
    people = People(world)
    for _ in range(BURST + 2):
        people.function.deliver(build_direct(world))
    assert len(people.mails) == BURST
    for hour in range(5):
        people.function.deliver(build_schedule(world, at=START.replace(hour=4 + hour)))
    assert len(people.mails) == BURST + 5
    assert "2 earlier messages held back" in people.mails[BURST]["email"]
    assert "held back" not in people.mails[BURST + 1]["email"]


def test_an_unfinished_sync_is_told_when_it_has_failed() -> None:
    """Not while the platform tries again, and once when that has ended."""
    world = make_world(1)
    people = People(world)
    people.is_api_down = True
    people.function.deliver(build_schedule(world), seconds=20)
    assert isinstance(people.function.error, SyncUnfinished)
    assert people.mails == []
    people.is_api_down = False
    world.simulator.add_faults("403*2")
    people.function.deliver(build_schedule(world), seconds=20)
    assert people.subjects == ["FAILED: vault-1"]


def test_an_unreadable_message_is_told_at_its_first_delivery() -> None:
    """However often it comes back before it is dead-lettered."""
    world = make_world(1)
    people = People(world)
    event = build_queue("not for us")
    for count in range(1, 6):
        event["Records"][0]["attributes"]["ApproximateReceiveCount"] = str(count)
        people.function.deliver(event)
        assert people.function.reply == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert people.subjects == ["REJECTED: a queue trigger"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_text_that_cannot_be_composed_costs_no_machine_its_event(
    language: str, monkeypatch: pytest.MonkeyPatch, log_lines: Lines
) -> None:
    """The log has it, and the run fails, so that the event is delivered again."""
    world = make_world(1)
    world.simulator.add_faults("403")
    people = People(world, CBR_SYNC_LANGUAGE=language)

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("cbr_sync.sinks.people.choose_event", fail)
    people.function.deliver(build_direct(world))
    assert str(people.function.error) == "smn: ZeroDivisionError"
    assert [line["outcome"]["data"]["status"] for line in log_lines() if "outcome" in line] == ["failed"]
