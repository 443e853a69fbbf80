"""What one vault, row, message, answer or sink does costs no other its outcome."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from cbr_sync.errors import SinkError, SyncUnfinished
from support.builders import Lines
from support.function import (
    LOGS_PATH,
    QUEUE_ENVIRON,
    SYNC_PATH,
    Function,
    build_direct,
    build_queue,
    build_schedule,
    count_syncs,
    make_world,
)
from support.world import World

TOPIC_ENVIRON = {
    "CBR_SYNC_SMN_TOPIC_URN": "urn:smn:cn-north-4:f841e01fd2b14e7fa41b6ae7aa6b0594:backup",
    "CBR_SYNC_NOTIFY": "all",
}


def select_outcomes(lines: list[dict[str, Any]]) -> dict[str, str]:
    """The status of each vault, as the log has it."""
    data = [line["outcome"]["data"] for line in lines if "checkpoint.sync" in line["message"]]
    return {one["vault_id"]: one["status"] for one in data}


@pytest.mark.parametrize("fault", ["charset", "huge", "bomb", "html", "drip", "drip-after", "interim"])
def test_an_answer_that_cannot_be_read_costs_one_vault_at_most(fault: str) -> None:
    """A3, A19: one of 21 vaults is answered so, once; it is looked for, and served too."""
    world = make_world(21)
    world.simulator.add_faults(fault, world.vaults[7].id)
    assert Function(world).deliver(build_direct(world)) == {"accepted": 21}
    assert count_syncs(world) == [1] * 21


@pytest.mark.parametrize("fault", ["charset", "huge", "502", "hang", "interim"])
def test_answers_of_one_vault_that_are_never_read_leave_the_others(fault: str) -> None:
    """A3: always; one is unfinished, and 20 are accepted."""
    world = make_world(21)
    world.simulator.add_faults(f"{fault}*99", world.vaults[7].id)
    function = Function(world)
    assert function.deliver(build_direct(world)) == {"accepted": 20, "unfinished": 1}
    assert isinstance(function.error, SyncUnfinished)
    assert count_syncs(world) == [1] * 7 + [0] + [1] * 13


@pytest.mark.parametrize(
    "fault", ["charset", "huge", "bomb", "html", "hang", "drip", "drip-after", "interim"]
)
def test_a_duplicate_check_that_cannot_be_read_keeps_no_post_from_being_sent(fault: str) -> None:
    """A3, A13, A19: however often it is answered so."""
    world = make_world(21)
    world.simulator.add_faults(f"{fault}*99", "ListOpLogs")
    assert Function(world).deliver(build_schedule(world)) == {"accepted": 21}
    assert count_syncs(world) == [1] * 21


def test_an_unreadable_message_leaves_the_good_one_of_its_batch(log_lines: Lines) -> None:
    """A4: a vault's name of 8,000 characters is rejected by name."""
    world = make_world()
    good = {"vault_id": world.vaults[0].id}
    function = Function(world)
    function.deliver(build_queue(good, {"vaults": {"name": "长" * 8000}}))
    assert function.reply == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    assert count_syncs(world) == [1]
    (rejected,) = [line for line in log_lines() if line["message"] == "cbr-sync.trigger.rejected.v1"]
    assert "vaults.name: found a string of 8000 characters, expected a string of 64" in str(rejected)


@pytest.mark.parametrize(
    "selector",
    [
        {"name": "\ud800"},
        {"object_type": "x" * 70000},
        {"object_type": "\x00\r\n"},
        {"tags": {"\udfff": ""}},
        {"name": "% &?#/.."},
    ],
)
def test_no_selector_costs_another_message_its_sync(selector: dict[str, object]) -> None:
    """Whatever cannot stand in a URL, or finds nothing."""
    world = make_world()
    good = {"vault_id": world.vaults[0].id}
    function = Function(world)
    function.deliver(build_queue({"vaults": selector}, good))
    assert function.reply == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert count_syncs(world) == [1]


@pytest.mark.parametrize("sync_first", [True, False])
def test_odd_rows_of_other_vaults_spoil_no_list(sync_first: bool, log_lines: Lines) -> None:
    """A15: a row has ``created_at: null``, a tag's value is null; they are left out, and counted."""
    world = make_world(3, odd_rows=True)
    event = {**build_schedule(world), "vaults": {}}
    del event["vault_ids"]
    function = Function(world)
    if sync_first:
        function.deliver(event)
        world.sleep(30)
    function.deliver(event)
    own = [one for one in function.outcomes if one.vault_name in {vault.name for vault in world.vaults}]
    assert [(str(one.status), one.adopted) for one in own] == [("accepted", sync_first)] * 3
    assert count_syncs(world) == [1, 1, 1]
    assert any("rows that cannot be read were left out" in line["message"] for line in log_lines())


ODD_TEXTS = [b'"cut \\ud83d"', b'"\xc4\xe3\xba\xc3"', b'"\\u0000"', b"7", b"null", b"[]", b"1e999"]


@pytest.mark.parametrize("text", ODD_TEXTS)
@pytest.mark.parametrize("key", [b"vault_name", b"error_info", b"provider_id"])
def test_a_row_whose_texts_are_odd_spoils_no_list(text: bytes, key: bytes) -> None:
    """Half of an emoji, another encoding, a type that is not documented: our own operation is found."""
    world = make_world(2)
    assert Function(world).deliver(build_schedule(world)) == {"accepted": 2}
    world.sleep(30)
    cloud = world.transport()

    def spoil(request: httpx.Request) -> httpx.Response | None:
        if request.url.path != LOGS_PATH:
            return None
        rows = json.loads(cloud.handle_request(request).read())["operation_logs"]
        odd = {**rows[0], "vault_id": "0dd00000-0000-4000-8000-000000000000", key.decode(): "<odd>"}
        answer = {"count": 3, "operation_logs": [odd, *rows]}
        return httpx.Response(200, content=json.dumps(answer).encode().replace(b'"<odd>"', text))

    function = Function(world, intercept=spoil)
    assert function.deliver(build_schedule(world)) == {"accepted": 2}
    assert all(one.adopted for one in function.outcomes)
    assert count_syncs(world) == [1, 1]


@pytest.mark.parametrize("key", ["vault_name", "error_info", "extra_info", "ended_at"])
@pytest.mark.parametrize("value", [7, "none", [], {"sync": 7}, {"code": 7}])
def test_what_is_only_shown_keeps_no_operation_of_ours_from_being_found(key: str, value: object) -> None:
    """Its id, state, vault and beginning are enough."""
    world = make_world()
    assert Function(world).deliver(build_schedule(world)) == {"accepted": 1}
    cloud = world.transport()

    def spoil(request: httpx.Request) -> httpx.Response | None:
        if request.url.path != LOGS_PATH:
            return None
        rows = json.loads(cloud.handle_request(request).read())["operation_logs"]
        return httpx.Response(200, json={"count": 1, "operation_logs": [{**rows[0], key: value}]})

    function = Function(world, intercept=spoil)
    assert function.deliver(build_schedule(world)) == {"accepted": 1}
    assert function.outcome.adopted
    assert count_syncs(world) == [1]


def raise_for(vault_id: str, error: type[BaseException]) -> Any:
    """An intercept that raises for one vault's POST."""

    def respond(request: httpx.Request) -> httpx.Response | None:
        if request.url.path == SYNC_PATH and vault_id.encode() in request.content:
            raise error("unforeseen")
        return None

    return respond


@pytest.mark.parametrize("error", [RuntimeError, MemoryError, RecursionError, KeyError, OSError])
@pytest.mark.parametrize("wait", ["0", "5"])
def test_an_error_that_nobody_foresaw_in_one_vaults_post_is_its_own(
    error: type[Exception], wait: str, log_lines: Lines
) -> None:
    """The others are served, and the traceback is in the log."""
    world = make_world(5)
    function = Function(world, intercept=raise_for(world.vaults[2].id, error), CBR_SYNC_WAIT_SECONDS=wait)
    statuses = function.deliver(build_schedule(world))
    assert statuses == {"accepted": 4, "unfinished": 1}
    assert count_syncs(world) == [1, 1, 0, 1, 1]
    lines = log_lines()
    assert len(select_outcomes(lines)) == 5
    assert any(error.__name__ in line.get("exception", "") for line in lines)


def test_an_error_that_nobody_foresaw_in_the_check_is_logged(log_lines: Lines) -> None:
    """And the POSTs go on."""
    world = make_world(3)

    def break_down(request: httpx.Request) -> httpx.Response | None:
        if request.url.path == LOGS_PATH:
            raise RuntimeError("unforeseen")
        return None

    assert Function(world, intercept=break_down).deliver(build_schedule(world)) == {"accepted": 3}
    messages = [line["message"] for line in log_lines()]
    assert "unexpected error in the duplicate check" in messages
    assert "could not list operations before the first POST" in messages


@pytest.mark.parametrize("fault", ["reset", "reset-after"])
def test_an_error_that_nobody_foresaw_in_a_look_is_one_vaults(fault: str) -> None:
    """A doubt stays open: unfinished, and no second POST."""
    world = make_world(3)
    world.simulator.add_faults(fault, world.vaults[0].id)

    def break_down(request: httpx.Request) -> httpx.Response | None:
        if request.url.path == LOGS_PATH:
            raise RuntimeError("unforeseen")
        return None

    function = Function(world, intercept=break_down)
    assert function.deliver(build_direct(world)) == {"accepted": 2, "unfinished": 1}
    assert count_syncs(world) == [int(fault == "reset-after"), 1, 1]


def test_an_outcome_is_logged_before_a_later_vault_hangs(log_lines: Lines) -> None:
    """One worker: whatever becomes of the run, the first two are reported."""
    world = make_world(3)
    seen: list[dict[str, str]] = []

    def look_into_the_log(request: httpx.Request) -> httpx.Response | None:
        if world.vaults[2].id.encode() in request.content and not seen:
            seen.append(select_outcomes(log_lines()))
            raise httpx.ReadTimeout("hangs")
        return None

    function = Function(world, intercept=look_into_the_log, CBR_SYNC_CONCURRENCY="1")
    function.deliver(build_direct(world))
    assert seen == [{vault.id: "accepted" for vault in world.vaults[:2]}]


# sinks


def run_with_sinks(world: World, sqs: Any) -> tuple[Function, list[httpx.Request]]:
    """A run with a queue that answers so, and a topic that takes everything."""
    published: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response | None:
        if request.url.host.startswith("smn."):
            published.append(request)
            return httpx.Response(200, json={"message_id": "m", "request_id": "r"})
        if request.url.host.startswith("sqs."):
            answer = sqs(request)
            assert isinstance(answer, httpx.Response)
            return answer
        return None

    environ = {**QUEUE_ENVIRON, **TOPIC_ENVIRON}
    function = Function(world, intercept=respond, **environ)
    function.deliver(build_direct(world))
    return function, published


@pytest.mark.parametrize(
    "error", [RuntimeError, MemoryError, KeyError, UnicodeError, OSError, httpx.ReadTimeout, httpx.InvalidURL]
)
def test_a_sink_may_raise_anything(error: type[Exception], log_lines: Lines) -> None:
    """The others get everything, the log has all, and the event is delivered again."""
    world = make_world(2)

    def fail(_request: httpx.Request) -> httpx.Response:
        raise error("unforeseen")

    function, published = run_with_sinks(world, fail)
    assert isinstance(function.error, SinkError)
    assert published
    assert select_outcomes(log_lines()) == dict.fromkeys((one.id for one in world.vaults), "accepted")


def test_a_sink_that_hangs_keeps_neither_the_run_nor_the_others() -> None:
    """Each has its share of the time that is left."""
    world = make_world(2)

    def hang(request: httpx.Request) -> httpx.Response:
        world.sleep(request.extensions["timeout"]["read"])
        raise httpx.ReadTimeout("hangs")

    function, published = run_with_sinks(world, hang)
    assert isinstance(function.error, SinkError)
    assert published


def test_a_sink_that_hangs_is_left_behind(log_lines: Lines) -> None:
    """As where no timeout of ours reaches: the run ends in time all the same."""
    world = make_world(2)

    def hang(request: httpx.Request) -> httpx.Response:
        world.sleep(10_000)
        raise httpx.ReadTimeout("hangs", request=request)

    function, published = run_with_sinks(world, hang)
    assert isinstance(function.error, SinkError)
    assert published
    assert len(select_outcomes(log_lines())) == 2


def test_a_skipped_vault_and_an_unknown_one_leave_the_others() -> None:
    """One is frozen, one is not there."""
    world = make_world(3)
    event = {"vault_ids": [world.vaults[0].id, "0dd00000-0000-4000-8000-000000000000", world.vaults[2].id]}
    function = Function(world)
    assert function.deliver(event) == {"accepted": 2, "failed": 1}
    assert count_syncs(world) == [1, 0, 1]


def test_a_time_that_is_wrong_costs_its_own_message_only() -> None:
    """In a batch."""
    world = make_world(2)
    bodies = [{"vault_id": vault.id} for vault in world.vaults]
    function = Function(world)
    function.deliver(build_queue(bodies[0], {**bodies[1], "time": "soon"}))
    assert function.reply == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    assert count_syncs(world) == [1, 0]
