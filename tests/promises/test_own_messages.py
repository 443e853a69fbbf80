"""A function whose source is also its sink does not feed itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from support.builders import Lines
from support.function import Function, build_queue, make_world
from support.later import Functions, build_batch
from support.world import World, webhook_event


def emit_events(world: World) -> list[dict[str, Any]]:
    """What a run sends to its queue: a summary and two outcomes."""
    functions = Functions(world)
    functions.on_lambda({"vault_ids": [vault.id for vault in world.vaults]})
    assert len(functions.events) == 3
    return functions.events


# How an event of ours comes back: as EventGrid, SMN, SNS, Kafka and a bus of EventBridge deliver it.
WRAPS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "eventgrid": lambda event: event,
    "eventgrid-batch": lambda event: {"events": [event]},
    "smn": lambda event: {"record": [{"smn": {"message": json.dumps(event), "message_id": "m"}}]},
    "sns": lambda event: {
        "Records": [{"EventSource": "aws:sns", "Sns": {"MessageId": "m", "Message": json.dumps(event)}}]
    },
    "kafka": lambda event: {
        "trigger_type": "KAFKA",
        "event_time": 1_800_000_000,
        "records": [{"messages": [json.dumps(event)], "topic_id": "t"}],
    },
    "bus": lambda event: {"id": "e", "source": "ours", "detail-type": "outcome", "detail": event},
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_what_was_emitted_comes_back_and_starts_nothing(wrap: Any, log_lines: Lines) -> None:
    """B4: whatever brings it; nothing is emitted for it, and it is acknowledged."""
    world = make_world(2)
    events = emit_events(world)
    log_lines()
    requests = len(world.simulator.requests)
    functions = Functions(world)
    for event in events:
        run = (
            functions.on_lambda
            if "Records" in wrap(event) or "detail" in wrap(event)
            else functions.on_functiongraph
        )
        assert run(wrap(event))["outcomes"] == []
    assert functions.events == []
    assert len(world.simulator.requests) == requests
    lines = [line for line in log_lines() if "message" in line]
    assert [line["message"] for line in lines] == ["own messages were ignored"] * len(events)


def test_a_queue_that_is_source_and_sink_comes_to_rest() -> None:
    """B4: one message became 288 in 39 rounds."""
    world = make_world(2)
    functions = Functions(world)
    functions.send(json.dumps({"vault_ids": [vault.id for vault in world.vaults]}))
    for _ in range(20):
        functions.deliver_batch()
        for event in functions.events:
            functions.send(json.dumps(event))
        functions.events.clear()
        world.sleep(400)
    assert functions.queue == functions.dead == []
    assert len(world.started) == 2


def test_others_in_a_batch_are_served() -> None:
    """Ours is acknowledged beside them."""
    world = make_world(1)
    function = Function(world)
    event = {"specversion": "1.0", "type": "cbr-sync.checkpoint.sync.accepted.v1", "data": {}}
    assert function.deliver(build_queue(event, {"vault_id": world.vaults[0].id})) == {"accepted": 1}
    assert function.reply == {"batchItemFailures": []}


def test_a_webhook_may_bring_it_as_well(world: World) -> None:
    """Once it is authenticated, as any other."""
    event = {"specversion": "1.0", "type": "cbr-sync.report.v1", "data": {}}
    reply = world.on_lambda(webhook_event(event, world))
    assert (reply["statusCode"], json.loads(reply["body"])) == (200, {"outcomes": []})
    assert world.on_lambda(webhook_event(event, world, secret=b"x" * 32))["statusCode"] == 401


@pytest.mark.parametrize("mark", ["\ufeff", ""])
def test_a_byte_order_mark_is_ignored(mark: str) -> None:
    """B14: in a queue, in a webhook, in a timer."""
    world = make_world(1, operation_seconds=0)
    text = f'{mark}{{"vault_id": "{world.vaults[0].id}"}}'
    functions = Functions(world)
    functions.send(text)
    assert functions.on_lambda(build_batch(world, functions.queue)) == {"batchItemFailures": []}
    assert functions.on_lambda(webhook_event(text.encode(), world))["statusCode"] == 200
    timer = {"trigger_type": "TIMER", "trigger_name": "t", "user_event": text}
    assert functions.on_functiongraph(timer)["counts"] == {"accepted": 1}
