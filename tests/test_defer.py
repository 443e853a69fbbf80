"""What is not served now is handed on, to a queue or to a second function, until it is served."""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cbr_sync.errors import EventError, SettingsError, SyncUnfinished
from cbr_sync.local import invoke
from cbr_sync.models import format_rfc3339
from cbr_sync.simulator.cloud import Simulator
from cbr_sync.simulator.models import Vault
from cbr_sync.sinks.messages import REPORT
from cbr_sync.triggers.base import Platform
from support.builders import Lines, make_ids
from support.later import LATER, RESULTS, WORK, WORK_ARN, Functions, Killed, Queued, build_batch
from support.world import BUSY, START, VMWARE, World, webhook_event

BOTH = pytest.mark.parametrize("destination", [WORK, LATER])


def make_functions(world: World, destination: str = WORK, **environ: str) -> Functions:
    """Functions that hand on."""
    return Functions(world, CBR_SYNC_DEFER_TO=destination, **environ)


def run(functions: Functions, event: object) -> dict[str, Any]:
    """Run the function on the platform that its destination belongs to."""
    on_lambda = functions.environ["CBR_SYNC_DEFER_TO"] == WORK
    return (functions.on_lambda if on_lambda else functions.on_functiongraph)(event)


def deliver_all(functions: Functions, limit: int = 500) -> None:
    """Deliver all that waits, until nothing does."""
    for _ in range(limit):
        if not functions.queue:
            return
        if functions.environ["CBR_SYNC_DEFER_TO"] == WORK:
            functions.deliver_batch()
        else:
            functions.deliver_invocation()
    raise AssertionError("messages go round and round")


def start_older_sync(world: World, vault_id: str = VMWARE) -> None:
    """Start a sync of a vault, and let some time pass."""
    world.on_lambda({"vault_id": vault_id})
    world.sleep(10)


@BOTH
def test_a_trigger_during_a_running_sync_is_served_after_it(world: World, destination: str) -> None:
    """It is reported as deferred, then as accepted, with the same trigger."""
    start_older_sync(world)
    functions = make_functions(world, destination)
    reply = run(functions, webhook_event({"vault_id": VMWARE}, world))
    assert reply["statusCode"] == 200
    (deferred,) = json.loads(reply["body"])["outcomes"]
    older, *_ = world.started
    assert (deferred["status"], deferred["operation_log_id"]) == ("deferred", older.id)
    deliver_all(functions)
    first, second = world.started
    assert (second.created_at - first.created_at).total_seconds() >= world.operation_seconds
    assert functions.statuses == ["deferred", "accepted"]
    triggers = [event["data"]["trigger"] for event in functions.events]
    assert triggers[0] == triggers[1] == deferred["trigger"]


@BOTH
def test_the_message_holds_the_trigger_as_it_came(world: World, destination: str) -> None:
    """With the moment from which on a sync serves it."""
    start_older_sync(world)
    functions = make_functions(world, destination)
    run(functions, webhook_event({"vault_id": VMWARE, "time": "2026-11-23T03:00:05Z"}, world))
    (body,) = functions.bodies
    trigger_id = body["handed_on"].pop("id")
    assert trigger_id.startswith("msg_")
    assert body == {
        "sync": [{"vault_id": VMWARE, "auto_trigger": False}],
        "time": "2026-11-23T03:00:05.000Z",
        "handed_on": {
            "kind": "webhook",
            "time": "2026-11-23T03:00:05.000Z",
            "since": "2026-11-23T03:00:10.000Z",
            "times": 1,
        },
    }


def test_a_trigger_without_a_usable_time_has_that_of_its_first_run(world: World) -> None:
    """So that the sync that ran before it does not count, however often it is handed on."""
    start_older_sync(world)
    functions = make_functions(world)
    functions.on_lambda({"vault_id": VMWARE})
    functions.on_lambda({"vault_id": VMWARE, "time": "2020-01-01T00:00:00Z"})
    assert [body["time"] for body in functions.bodies] == ["2026-11-23T03:00:10.000Z"] * 2
    times = [body["handed_on"]["time"] for body in functions.bodies]
    assert times == [None, "2020-01-01T00:00:00.000Z"]
    deliver_all(functions)
    assert len(world.started) == 2


def test_the_ids_are_those_of_the_first_run(world: World) -> None:
    """What is adopted in a later run is the event that the first run would have emitted."""
    functions = make_functions(world)
    event = {
        "trigger": "schedule",
        "scheduled_time": format_rfc3339(START),
        "schedule_arn": "a",
        "vault_id": VMWARE,
    }
    functions.on_lambda(event)
    marks = {"kind": "schedule", "id": f"a/{format_rfc3339(START)}", "time": format_rfc3339(START)}
    body = {
        "sync": [{"vault_id": VMWARE, "auto_trigger": True}],
        "time": format_rfc3339(START),
        "handed_on": {**marks, "since": format_rfc3339(START), "times": 1},
    }
    functions.send(json.dumps(body))
    functions.deliver_batch()
    first, second = functions.events
    assert second["id"] == first["id"]
    assert (first["data"]["adopted"], second["data"]["adopted"]) == (False, True)


def test_the_queue_holds_messages_back_longer_and_longer() -> None:
    """One, two, four, eight, then fifteen minutes; only the first time is emitted."""
    world = World(operation_seconds=7200)
    start_older_sync(world)
    functions = make_functions(world)
    functions.on_lambda({"vault_id": VMWARE})
    deliver_all(functions)
    delays = [json.loads(request.content)["DelaySeconds"] for request in functions.requests]
    assert delays == [60, 120, 240, 480, *[900] * 7]
    assert functions.statuses == ["deferred", "accepted"]
    assert len(world.started) == 2


def test_what_is_handed_on_once_more_is_logged(log_lines: Lines) -> None:
    """As a deferred outcome, and at no time as one that already runs."""
    world = World(operation_seconds=300)
    start_older_sync(world)
    functions = make_functions(world)
    functions.on_lambda({"vault_id": VMWARE})
    log_lines()
    functions.deliver_batch()
    statuses = [line["outcome"]["data"]["status"] for line in log_lines() if "outcome" in line]
    assert statuses == ["deferred"]
    assert functions.statuses == ["deferred"]


def test_no_trace_goes_with_a_message(world: World) -> None:
    """By its trace Lambda would drop a message that comes back for the sixteenth time."""
    start_older_sync(world)
    functions = make_functions(world)
    functions.on_lambda({"vault_id": VMWARE})
    (request,) = functions.requests
    assert b"Trace" not in request.content
    assert not [name for name in request.headers if "trace" in name.lower()]


@BOTH
def test_twenty_triggers_that_wait_for_one_sync_are_served_by_one_after_it(destination: str) -> None:
    """Each is reported by itself."""
    world = World()
    start_older_sync(world)
    functions = make_functions(world, destination)
    for _ in range(20):
        world.sleep(1)
        run(functions, webhook_event({"vault_id": VMWARE}, world))
    deliver_all(functions)
    assert len(world.started) == 2
    assert sorted(functions.statuses) == ["accepted"] * 20 + ["deferred"] * 20
    triggers = {event["data"]["trigger"]["id"] for event in functions.events}
    assert len(triggers) == 20


def test_several_triggers_of_one_run_are_handed_on_apart(world: World) -> None:
    """Each under its own name."""
    start_older_sync(world)
    functions = make_functions(world)
    functions.send(json.dumps({"vault_id": VMWARE}))
    functions.send(json.dumps({"vault_ids": [VMWARE, BUSY]}))
    functions.deliver_batch()
    assert [body["handed_on"]["id"] for body in functions.bodies] == ["message-1", "message-2"]
    assert [len(body["sync"]) for body in functions.bodies] == [1, 2]


@pytest.mark.parametrize(("destination", "sizes"), [(WORK, [50, 50, 20]), (LATER, [120])])
def test_messages_are_small_enough_for_one_run(destination: str, sizes: list[int]) -> None:
    """Fifty vaults in a queue's, a thousand in an invoke, also of what a selector finds."""
    vaults = tuple(Vault(vault_id, f"vault-{vault_id[:8]}") for vault_id in make_ids(120))
    world = World(vaults=vaults)
    world.simulator = Simulator(now=world.now, vaults=vaults, operation_seconds=600)
    functions = make_functions(world, destination)
    world.simulator.add_faults("503*9999")
    with pytest.raises(SyncUnfinished):
        run(functions, {"vaults": {}})  # the vaults cannot be listed
    world.simulator = Simulator(now=world.now, vaults=vaults, operation_seconds=600)
    functions = make_functions(world, destination)
    for vault in vaults:
        world.simulator.add_faults("503*9999", vault.id)
    run(functions, {"vaults": {}})
    assert [len(body["sync"]) for body in functions.bodies] == sizes
    assert functions.statuses == ["deferred"] * 120


@BOTH
def test_an_api_that_is_away_is_waited_for(world: World, destination: str) -> None:
    """A queue waits a quarter of an hour between two tries, once the first has shown that it takes longer."""
    functions = make_functions(world, destination)
    functions.is_away = True
    run(functions, {"vault_id": VMWARE})
    if destination == WORK:
        functions.deliver_batch()
        delays = [json.loads(request.content)["DelaySeconds"] for request in functions.requests]
        assert delays == [60, 900]
    functions.is_away = False
    deliver_all(functions)
    assert functions.statuses == ["deferred", "accepted"]
    assert len(world.started) == 1


def test_the_second_function_hands_on_only_at_the_end_of_its_time() -> None:
    """And then to itself: two hours take three invocations."""
    world = World(operation_seconds=7200)
    start_older_sync(world)
    functions = make_functions(world, LATER)
    functions.on_functiongraph({"vault_id": VMWARE})
    while functions.queue:
        began = world.elapsed
        functions.deliver_invocation()
        assert not functions.queue or world.elapsed - began > 3500
    assert functions.runs == 4
    assert functions.statuses == ["deferred", "accepted"]
    older, own = world.started
    assert (own.created_at - older.created_at).total_seconds() < 7200 + 60


@pytest.mark.parametrize(("operation_seconds", "status"), [(10**9, "already_running"), (600, "unfinished")])
def test_after_a_day_a_trigger_is_given_up(operation_seconds: float, status: str, log_lines: Lines) -> None:
    """It is reported as trouble, and acknowledged."""
    world = World(operation_seconds=operation_seconds)
    if status == "already_running":
        start_older_sync(world)
    else:
        world.simulator.add_faults("503*99999")
    functions = make_functions(world)
    functions.on_lambda({"vault_id": VMWARE})
    log_lines()
    deliver_all(functions)
    assert not functions.dead
    assert functions.statuses == ["deferred", status]
    assert 86_400 <= world.elapsed < 88_000
    assert len(functions.requests) <= 100
    (line,) = [line for line in log_lines() if line["level"] == "WARNING" and "outcome" in line]
    assert line["outcome"]["data"]["status"] == status


def test_after_a_hundred_times_a_trigger_is_given_up(world: World) -> None:
    """However short they were."""
    start_older_sync(world)
    functions = make_functions(world)
    functions.on_lambda({"vault_id": VMWARE})
    (body,) = functions.bodies
    body["handed_on"]["times"] = 100
    functions.queue[0].body = json.dumps(body)
    functions.deliver_batch()
    assert functions.queue == []
    assert functions.statuses == ["deferred", "already_running"]


@BOTH
def test_without_handing_on_the_event_fails(world: World, destination: str) -> None:
    """A webhook is sent again, an invoke raises, a message is handed back."""
    start_older_sync(world)
    functions = make_functions(world, destination)
    functions.faults = [403] * 3
    reply = run(functions, webhook_event({"vault_id": VMWARE}, world))
    assert (reply["statusCode"], reply["headers"]["Retry-After"]) == (503, "30")
    with pytest.raises(SyncUnfinished, match=r"they could not be handed on: (made\.up|403)"):
        run(functions, {"vault_id": VMWARE})
    assert functions.statuses == ["already_running"] * 2
    if destination == WORK:
        message = Queued("m", json.dumps({"vault_id": VMWARE}), world.elapsed, world.elapsed)
        reply = functions.on_lambda(build_batch(world, [message]))
        assert reply == {"batchItemFailures": [{"itemIdentifier": "m"}]}


def test_what_cannot_be_handed_on_again_stays_in_the_queue(world: World) -> None:
    """And is handed on at its next delivery."""
    start_older_sync(world)
    functions = make_functions(world)
    functions.on_lambda({"vault_id": VMWARE})
    functions.faults = [403]
    functions.deliver_batch()
    assert (len(functions.queue), functions.queue[0].receives) == (1, 1)
    deliver_all(functions)
    assert functions.statuses == ["deferred", "accepted"]
    assert functions.dead == []


def test_a_broken_sink_does_not_multiply_messages(world: World) -> None:
    """A run that fails is delivered again, so it hands on once more only after all else is done."""
    start_older_sync(world)
    functions = make_functions(world)
    functions.on_lambda({"vault_ids": [VMWARE, BUSY]})
    functions.send(json.dumps({"vault_id": make_ids(1)[0]}), 30)
    functions.sink_faults = [1] * 500
    while functions.queue:
        functions.deliver_batch()
        assert len(functions.queue) + len(functions.dead) == 2
    assert len(functions.requests) == 4


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:sqs:eu-west-1:123456789012:other",
        "arn:aws:sqs:eu-west-1:210987654321:work",
        "arn:aws:sqs:eu-central-1:123456789012:work",
        "arn:aws:sqs:eu-west-1:123456789012:work.fifo",
        "",
    ],
)
def test_another_queue_can_speak_for_no_trigger(world: World, arn: str) -> None:
    """Its message is rejected, whatever it says of itself."""
    functions = make_functions(world)
    message = Queued("m", json.dumps(build_handed_on()), 0, 0)
    reply = functions.on_lambda(build_batch(world, [message], arn))
    assert reply == {"batchItemFailures": [{"itemIdentifier": "m"}]}
    assert [event["type"] for event in functions.events] == ["cbr-sync.trigger.rejected.v1"]
    assert world.started == []


def build_handed_on(**change: object) -> dict[str, Any]:
    """A message that was handed on, with these marks changed."""
    marks = {"kind": "timer", "id": "night", "time": None, "since": format_rfc3339(START), "times": 1}
    return {
        "sync": [{"vault_id": VMWARE, "auto_trigger": True}],
        "time": format_rfc3339(START),
        "handed_on": {**marks, **change},
    }


def test_only_functiongraph_is_invoked_with_it(world: World) -> None:
    """On Lambda, and in a webhook anywhere, it is an error."""
    functions = make_functions(world)
    with pytest.raises(EventError, match="found handed_on, expected it only from the queue"):
        functions.on_lambda(build_handed_on())
    reply = functions.on_lambda(webhook_event(build_handed_on(), world))
    assert reply["statusCode"] == 400
    functions.environ.pop("CBR_SYNC_DEFER_TO")
    (outcome,) = functions.on_functiongraph(build_handed_on())["outcomes"]
    assert outcome["trigger"] == {"kind": "timer", "id": "night", "time": None}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (build_handed_on(times=0), "handed_on.times: found a number, expected a whole number from 1 on"),
        (build_handed_on(times=True), "handed_on.times: found true, expected a whole number"),
        (build_handed_on(kind="owl"), "handed_on.kind: found a string of 3 characters, expected a kind"),
        (build_handed_on(id="x" * 257), "handed_on.id: found a string of 257 characters, expected"),
        (build_handed_on(since="2026-11-23"), "handed_on.since: found a string of 10 characters"),
        (build_handed_on(more=1), "handed_on.more: unknown key"),
        ({**build_handed_on(), "time": None}, "time: found null, expected a time with its zone"),
        ({**build_handed_on(), "handed_on": None}, "handed_on: found null, expected an object"),
        (
            {key: value for key, value in build_handed_on().items() if key != "sync"},
            "without sync, report or follow",
        ),
    ],
)
def test_a_message_that_is_wrong_is_an_error_that_says_what(world: World, body: object, words: str) -> None:
    """By the key, what was found and what was expected."""
    with pytest.raises(EventError) as no:
        make_functions(world, LATER).on_functiongraph(body)
    assert words in str(no.value)


def test_without_the_setting_nothing_changes(world: World) -> None:
    """The outcome stays what it was: a webhook is sent again, a message is acknowledged."""
    start_older_sync(world)
    functions = Functions(world)
    assert functions.on_lambda(webhook_event({"vault_id": VMWARE}, world))["statusCode"] == 503
    functions.send(json.dumps({"vault_id": VMWARE}))
    functions.deliver_batch()
    assert functions.queue == []
    assert functions.requests == []
    assert functions.statuses == ["already_running"] * 2


@BOTH
def test_a_report_that_cannot_be_read_in_time_is_handed_on(world: World, destination: str) -> None:
    """And made later, for the trigger that asked."""
    functions = make_functions(world, destination)
    functions.is_away = True
    event = {"trigger": "schedule", "scheduled_time": format_rfc3339(START), "report": {"max_age_hours": 30}}
    timer = {"trigger_type": "TIMER", "trigger_name": "t", "time": format_rfc3339(START)}
    timer["user_event"] = json.dumps({"report": {"max_age_hours": 30}})
    run(functions, event if destination == WORK else timer)
    assert functions.events == []
    (body,) = functions.bodies
    assert (body["report"], "vaults" in body) == ({"max_age_hours": 30}, False)
    functions.is_away = False
    deliver_all(functions)
    report = functions.events[0]
    assert (report["type"], report["data"]["max_age_hours"]) == (REPORT, 30)
    assert report["data"]["trigger"]["kind"] in ("schedule", "timer")
    assert {event["subject"] for event in functions.events[1:]} == {VMWARE}


def test_a_webhook_is_answered_within_25_seconds(world: World) -> None:
    """However much time the function has; what it could not do is handed on."""
    world.simulator.add_faults("429*9999")
    functions = make_functions(world)
    reply = functions.on_lambda(webhook_event({"vault_id": VMWARE}, world), timeout_seconds=900)
    assert reply["statusCode"] == 200
    assert functions.statuses == ["deferred"]
    assert 15 < world.elapsed < 25


@pytest.mark.parametrize(
    ("platform", "environ", "words"),
    [
        ("lambda", {"CBR_SYNC_DEFER_TO": LATER}, "the URN of a function, which Lambda cannot invoke"),
        ("functiongraph", {"CBR_SYNC_DEFER_TO": WORK}, "found a queue, which triggers no function of"),
        ("lambda", {"CBR_SYNC_DEFER_TO": RESULTS}, "found the queue of CBR_SYNC_SQS_QUEUE_URL"),
        (
            "lambda",
            {
                "CBR_SYNC_DEFER_TO": "https://vpce-1.example.com/123456789012/outcomes",
                "AWS_REGION": "eu-west-1",
            },
            "found the queue of CBR_SYNC_SQS_QUEUE_URL",
        ),
        ("lambda", {"CBR_SYNC_DEFER_TO": f"{WORK}.fifo"}, "found a FIFO queue"),
        ("lambda", {"CBR_SYNC_DEFER_TO": "urn:fss:x"}, "expected the URL of the standard queue"),
        ("lambda", {"CBR_SYNC_DEFER_TO": "work"}, "CBR_SYNC_DEFER_TO: found 'work', expected the URL of"),
    ],
)
def test_a_destination_that_cannot_work_is_a_mistake(
    world: World, platform: str, environ: dict[str, str], words: str
) -> None:
    """Before anything is lost in it."""
    functions = Functions(world, **environ)
    with pytest.raises(SettingsError) as no:
        (functions.on_lambda if platform == "lambda" else functions.on_functiongraph)({"vault_id": VMWARE})
    assert words in str(no.value)


def test_a_queue_of_the_same_name_elsewhere_is_another_one(world: World) -> None:
    """In another region, or another account."""
    for url in (RESULTS.replace("eu-west-1", "eu-west-2"), RESULTS.replace("123456789012", "210987654321")):
        assert make_functions(world, url).on_lambda({"report": {}})["reports"]


def test_a_queue_on_another_host_is_known_by_account_and_name(world: World) -> None:
    """Where its URL names no region, as that of an emulator or an endpoint of one's own."""
    functions = make_functions(world)
    functions.environ["CBR_SYNC_DEFER_TO"] = "http://localhost:9324/123456789012/work"
    functions.environ["AWS_REGION"] = "eu-west-1"
    message = Queued("m", json.dumps(build_handed_on()), 0, 0)
    assert functions.on_lambda(build_batch(world, [message], WORK_ARN)) == {"batchItemFailures": []}


def test_a_replay_honours_what_was_handed_on(world: World) -> None:
    """An operator may deliver it from the dead-letter queue, on either platform."""
    functions = make_functions(world)
    message = Queued("m", json.dumps(build_handed_on()), 0, 0)
    for arn in (WORK_ARN, "arn:aws:sqs:eu-west-1:123456789012:work-dead-letters"):
        result = invoke(
            build_batch(world, [message], arn),
            Platform.AWS,
            functions.environ,
            **world.options(functions.transport),
            is_replay=True,
        )
        assert result.error is None
        assert [outcome.trigger.id for outcome in result.outcomes] == ["night"]
    assert len(world.started) == 1


TIMES = st.lists(st.sampled_from([0, 20, 70, 400, 1000]), min_size=1, max_size=5)
PASSING = ["429", "503", "refuse", "reset-after", "502"]


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    gaps=TIMES,
    older=st.sampled_from([None, 0, 30]),
    operation_seconds=st.sampled_from([5.0, 600.0, 4000.0]),
    faults=st.lists(st.sampled_from(PASSING), max_size=12).map(",".join),
    kills=st.lists(st.sampled_from([0, 0, 0, 1, 2, 3, 4, 6]), max_size=8),
    redelivered=st.lists(st.booleans(), max_size=6),
    hand_on_faults=st.lists(st.sampled_from([0, 0, 500, 403]), max_size=6),
    destination=st.sampled_from([WORK, LATER]),
)
def test_every_trigger_is_served_by_exactly_one_sync_that_began_after_it(
    gaps: list[int],
    older: int | None,
    operation_seconds: float,
    faults: str,
    kills: list[int],
    redelivered: list[bool],
    hand_on_faults: list[int],
    destination: str,
) -> None:
    """Over running syncs, lost answers, killed runs and duplicates; with as few syncs as that allows."""
    world = World(operation_seconds=operation_seconds)
    functions = make_functions(world, destination)
    if older is not None:
        world.on_lambda({"vault_id": VMWARE})
        world.sleep(older)
    if faults:
        world.simulator.add_faults(faults, VMWARE)
    functions.faults, functions.kills = list(hand_on_faults), list(kills)
    times = []
    for number, gap in enumerate(gaps):
        world.sleep(gap)
        times.append(world.now())
        event = {"vault_id": VMWARE, "time": format_rfc3339(world.now())}
        deliver_until_taken(functions, event, twice=number < len(redelivered) and redelivered[number])
    deliver_all(functions)
    assert functions.dead == []
    own = world.started[older is not None :]
    for time in times:
        ids = {
            event["data"]["operation_log_id"]
            for event in functions.events
            if event["data"]["trigger"]["time"] == format_rfc3339(time)
            and event["data"]["status"] in ("accepted", "succeeded")
        }
        (served_by,) = ids
        (sync,) = [operation for operation in world.started if operation.id == served_by]
        assert (sync.created_at - time).total_seconds() >= -2
    assert len(own) <= len(times)
    for one, next_one in pairwise(world.started):
        assert (next_one.created_at - one.created_at).total_seconds() >= operation_seconds
        assert any(time > one.created_at + timedelta(seconds=-2) for time in times), (
            "a sync that nobody needs"
        )
    assert len(functions.requests) <= 100 * len(times)


def deliver_until_taken(functions: Functions, event: object, *, twice: bool) -> None:
    """Deliver an event as a platform does: again while its run fails or is killed, and perhaps once more."""
    left = 2 if twice else 1
    for _ in range(30):
        try:
            run(functions, event)
        except (SyncUnfinished, Killed):
            functions.world.sleep(60)
        else:
            left -= 1
        if not left:
            return
    raise AssertionError("the event was never taken")
