"""Handlers: what each kind of event does and what is answered, through the doors, on the simulator."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cbr_sync.errors import EventError, SettingsError, SinkError, SyncUnfinished, VaultNotAllowedError
from cbr_sync.models import Status
from cbr_sync.triggers.webhook import choose_status
from support.builders import JSON_VALUES, Lines
from support.world import BUSY, FILE, PUBLIC, SECRET, VMWARE, World, secret_text, webhook_event

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def parse_body(reply: dict[str, Any]) -> dict[str, Any]:
    """The JSON in an HTTP reply."""
    assert set(reply) == {"statusCode", "headers", "body", "isBase64Encoded"}
    body: dict[str, Any] = json.loads(reply["body"])
    return body


def read_problem_detail(reply: dict[str, Any]) -> str:
    """The detail of a problem+json reply, its form checked."""
    body = parse_body(reply)
    assert reply["headers"]["Content-Type"] == "application/problem+json"
    assert body["type"] == "about:blank"
    assert body["title"]
    assert body["status"] == reply["statusCode"]
    detail: str = body["detail"]
    return detail


def select_cloud_events(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The CloudEvents among logged lines."""
    return [line["outcome"] for line in lines if "outcome" in line]


def test_a_timer_becomes_a_sync_and_its_outcome_a_log_line(world: World, log_lines: Lines) -> None:
    """The main job: event in, operation started, outcome answered and emitted alike."""
    reply = world.on_functiongraph(
        {"trigger_type": "TIMER", "trigger_name": "night", "time": "2026-11-23T03:00:00Z"}
    )
    (operation,) = world.started
    (outcome,) = reply["outcomes"]
    assert reply["counts"] == {"accepted": 1}
    assert outcome == {
        "vault_id": VMWARE,
        "vault_name": None,
        "auto_trigger": True,
        "status": "accepted",
        "operation_log_id": operation.id,
        "adopted": False,
        "copies": None,
        "error": None,
        "attempts": 1,
        "started_at": "2026-11-23T03:00:00.000Z",
        "duration_seconds": 0.0,
        "trigger": {"kind": "timer", "id": "night/2026-11-23T03:00:00Z", "time": "2026-11-23T03:00:00.000Z"},
    }
    assert operation.auto_trigger
    (event,) = select_cloud_events(log_lines())
    assert event["data"] == outcome
    assert event["type"] == "cbr-sync.checkpoint.sync.accepted.v1"
    assert event["source"] == "/cbr/cn-north-4/f841e01fd2b14e7fa41b6ae7aa6b0594"


def test_an_unfinished_sync_is_emitted_before_the_run_fails(world: World, log_lines: Lines) -> None:
    """The platform delivers the event again only if the run fails; nothing known is lost before that."""
    world.simulator.add_faults("429*9", FILE)
    with pytest.raises(SyncUnfinished, match="1 of 2 syncs are unfinished"):
        world.on_lambda({"vault_ids": [VMWARE, FILE]})
    *outcomes, run = select_cloud_events(log_lines())
    assert [event["data"]["status"] for event in outcomes] == ["accepted", "unfinished"]
    assert run["data"]["counts"] == {"accepted": 1, "unfinished": 1}


def test_an_unexpected_error_costs_no_other_message_its_outcome(world: World, log_lines: Lines) -> None:
    """In a batch that is served in order, it comes back alone, and its traceback is in the log."""
    cloud = world.transport()

    def raise_error(request: httpx.Request) -> httpx.Response:
        if FILE.encode() in request.content:
            raise ZeroDivisionError
        return cloud.handle_request(request)

    record = {
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-west-1:1:work.fifo",
        "attributes": {},
    }
    records = [
        {**record, "messageId": vault, "body": json.dumps({"vault_id": vault})} for vault in (VMWARE, FILE)
    ]
    reply = world.on_lambda({"Records": records}, transport=httpx.MockTransport(raise_error))
    assert reply == {"batchItemFailures": [{"itemIdentifier": FILE}]}
    lines = log_lines()
    outcomes = [event["data"] for event in select_cloud_events(lines) if "subject" in event]
    assert [(outcome["vault_id"], outcome["status"]) for outcome in outcomes] == [
        (VMWARE, "accepted"),
        (FILE, "unfinished"),
    ]
    assert outcomes[1]["error"]["code"] == "CbrSync.UnexpectedError"
    assert any("ZeroDivisionError" in line.get("exception", "") for line in lines)


def test_a_vault_named_in_two_messages_is_synced_once(world: World) -> None:
    """Both triggers are served by one sync, and each has its outcome."""
    message = {"specversion": "1.0", "type": "copied", "data": {"vault_id": VMWARE}}
    reply = world.on_functiongraph({"events": [{**message, "id": "1"}, {**message, "id": "2"}]})
    assert [outcome["trigger"]["id"] for outcome in reply["outcomes"]] == ["1", "2"]
    assert len({outcome["operation_log_id"] for outcome in reply["outcomes"]}) == 1
    assert len(world.started) == 1


def test_an_unreadable_message_stops_no_other_and_is_emitted_as_rejected(
    world: World, log_lines: Lines
) -> None:
    """Everything else is done and emitted before the run fails; the payload appears nowhere."""
    record = {"specversion": "1.0", "type": "copied"}
    good = {**record, "id": "good", "data": {"vault_id": VMWARE}}
    bad = {**record, "id": "bad", "data": {"vault_id": "hunter2hunter2"}}
    with pytest.raises(EventError, match="vault_id: found a string of 14 characters"):
        world.on_functiongraph([bad, good])
    lines = log_lines()
    done, rejected = select_cloud_events(lines)
    assert done["data"]["status"] == "accepted"
    assert rejected["type"] == "cbr-sync.trigger.rejected.v1"
    assert rejected["data"]["kind"] == "event"
    assert rejected["data"]["id"] == "bad"
    assert "vault_id" in rejected["data"]["error"]
    assert "hunter2" not in json.dumps(lines)


def test_an_event_of_no_known_form_is_emitted_as_rejected(world: World, log_lines: Lines) -> None:
    """An error that says which envelopes are known goes to the caller, and to the sinks before."""
    with pytest.raises(EventError, match="known: HTTP requests of API Gateway"):
        world.on_lambda(["what", "is", "this"])
    assert select_cloud_events(log_lines())[0]["data"]["kind"] == "direct"


def test_a_vault_outside_the_allowed_ones_is_refused_before_any_call(world: World, log_lines: Lines) -> None:
    """Nothing is sent for an event that reaches further than it may."""
    with pytest.raises(VaultNotAllowedError):
        world.on_lambda({"vault_ids": [VMWARE, FILE]}, {**world.environ, "CBR_SYNC_ALLOWED_VAULTS": VMWARE})
    assert world.simulator.requests == []
    assert select_cloud_events(log_lines())[0]["type"] == "cbr-sync.trigger.rejected.v1"


def test_wrong_settings_are_reported_all_at_once_and_logged(world: World, log_lines: Lines) -> None:
    """The run fails with every mistake by name."""
    environ = {**world.environ, "CBR_SYNC_REGION": "nowhere", "CBR_SYNC_CONCURRENCY": "many"}
    with pytest.raises(SettingsError, match=r"CBR_SYNC_REGION: found 'nowhere'.*\n.*CBR_SYNC_CONCURRENCY"):
        world.on_lambda({"vault_id": VMWARE}, environ)
    (line,) = log_lines()
    assert line["level"] == "ERROR"
    assert line["error"] == "SettingsError"


def test_keys_of_one_invocation_do_not_show_in_the_next(world: World, log_lines: Lines) -> None:
    """Each line names the request it belongs to, also after a run that failed."""
    with pytest.raises(EventError):
        world.on_lambda({"wrong": True})
    world.on_functiongraph({"vault_id": VMWARE})
    world.on_functiongraph({"record": [{"smn": {"message": json.dumps({"vault_id": FILE})}}]})
    lines = log_lines()
    ids = [line["request_id"] for line in lines]
    kinds = [line["kind"] for line in lines]
    assert len(set(ids)) == 3
    assert kinds == ["direct", "direct", "direct", "notification"]


def test_a_signed_webhook_starts_a_sync_by_hand(world: World) -> None:
    """A person's or a tool's call is not an automatic one unless it says so."""
    reply = world.on_lambda(webhook_event({"vault_id": VMWARE}, world))
    (outcome,) = parse_body(reply)["outcomes"]
    assert reply["statusCode"] == 200
    assert reply["headers"] == {"Content-Type": "application/json"}
    assert (outcome["status"], outcome["auto_trigger"]) == ("accepted", False)
    assert outcome["trigger"]["id"].startswith("msg_")
    assert outcome["trigger"]["time"] == "2026-11-23T03:00:00.000Z"


@pytest.mark.parametrize(
    ("vaults", "faults", "status"),
    [
        ([VMWARE, FILE], "", 200),
        ([VMWARE, BUSY], "", 503),
        ([VMWARE, PUBLIC], "", 207),
        ([PUBLIC, UNKNOWN], "", 207),
        ([VMWARE, FILE], "429*99", 503),
    ],
)
def test_the_http_status_sums_up_all_outcomes(
    world: World, vaults: list[str], faults: str, status: int
) -> None:
    """Well, worth another try, or something ended for good otherwise."""
    if faults:
        world.simulator.add_faults(faults)
    reply = world.on_lambda(webhook_event({"vault_ids": vaults}, world))
    assert reply["statusCode"] == status
    assert ("Retry-After" in reply["headers"]) == (status == 503)
    assert [outcome["vault_id"] for outcome in parse_body(reply)["outcomes"]] == vaults


@pytest.mark.parametrize(
    ("statuses", "http_status"),
    [
        ([Status.ACCEPTED, Status.SUCCEEDED, Status.DEFERRED], 200),
        ([Status.SUCCEEDED, Status.SKIPPED], 207),
        ([Status.PARTIAL], 207),
        ([Status.FAILED, Status.TIMED_OUT], 207),
        ([Status.FAILED, Status.UNFINISHED], 503),
        ([Status.SUCCEEDED, Status.ALREADY_RUNNING], 503),
    ],
)
def test_each_combination_of_statuses_has_its_http_status(statuses: list[Status], http_status: int) -> None:
    """What may be served later counts most, then what ended for good otherwise."""
    assert choose_status(statuses) == http_status


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"requestContext": {"http": {"method": "GET"}}}, 405, "only POST"),
        ({"headers": {"content-type": "text/plain"}}, 415, "application/json"),
        ({"headers": {"content-type": "application/jsonp"}}, 415, "application/json"),
        ({"headers": None}, 415, "application/json"),
        ({"headers": {"content-type": "application/json"}}, 401, "webhook-id is missing"),
        ({"body": base64.b64encode(b"x" * 65537).decode()}, 413, "at most 65536 are read"),
        ({"body": "e30="}, 401, "does not match"),
        ({"body": "=="}, 400, "not the base64"),
        ({"body": {"vault_id": VMWARE}, "isBase64Encoded": False}, 400, "found an object as the body"),
        ({"body": None}, 401, "does not match"),
    ],
)
def test_unsigned_webhook_never_reaches_cbr(
    world: World, log_lines: Lines, change: dict[str, Any], status: int, words: str
) -> None:
    """What fails before the payload is a problem+json and a log line; it is not emitted."""
    reply = world.on_lambda({**webhook_event({"vault_id": VMWARE}, world), **change})
    assert reply["statusCode"] == status
    assert words in read_problem_detail(reply)
    assert world.simulator.requests == []
    (line,) = log_lines()
    assert (line["level"], line["status"]) == ("WARNING", status)
    assert secret_text() not in json.dumps([reply, line])


def test_a_refusal_challenges_and_names_the_method() -> None:
    """RFC 9110 asks for both headers."""
    world = World()
    event = webhook_event({"vault_id": VMWARE}, world, secret=b"another secret of thirty bytes")
    assert world.on_lambda(event)["headers"]["WWW-Authenticate"]
    assert world.on_lambda({**event, "requestContext": {}})["headers"]["Allow"] == "POST"


def test_a_signed_webhook_that_cannot_be_read_is_emitted_as_rejected(world: World, log_lines: Lines) -> None:
    """Its source is authenticated, so the operator is to know."""
    reply = world.on_lambda(webhook_event({"vault": VMWARE}, world))
    assert reply["statusCode"] == 400
    assert "found an object with the keys vault" in read_problem_detail(reply)
    (event,) = select_cloud_events(log_lines())
    assert event["data"]["kind"] == "webhook"
    assert VMWARE not in json.dumps(event)


def test_a_signed_webhook_for_a_vault_that_is_not_allowed_is_forbidden(world: World) -> None:
    """403, and the id that is not allowed."""
    environ = {**world.environ, "CBR_SYNC_VAULTS": FILE, "CBR_SYNC_ALLOWED_VAULTS": FILE}
    reply = world.on_lambda(webhook_event({"vault_id": VMWARE}, world), environ)
    assert reply["statusCode"] == 403
    assert VMWARE in read_problem_detail(reply)


def test_without_a_secret_every_webhook_is_refused(world: World) -> None:
    """Nobody opens a adapter by forgetting a setting."""
    environ = {**world.environ, "CBR_SYNC_WEBHOOK_SECRET": ""}
    reply = world.on_lambda(webhook_event({"vault_id": VMWARE}, world), environ)
    assert reply["statusCode"] == 401
    assert "neither a secret nor a token is configured" in read_problem_detail(reply)


def test_a_platform_that_authenticates_needs_no_signature(world: World) -> None:
    """The operator said that the gateway has done it; the gateway's request id names the trigger."""
    event = webhook_event({"vault_id": VMWARE}, world)
    event["headers"] = {"Content-Type": "application/json; charset=utf-8"}
    environ = {**world.environ, "CBR_SYNC_WEBHOOK_AUTH": "platform", "CBR_SYNC_WEBHOOK_SECRET": ""}
    reply = world.on_lambda(event, environ)
    (outcome,) = parse_body(reply)["outcomes"]
    assert outcome["trigger"] == {"kind": "webhook", "id": "gateway-request-1", "time": None}


@pytest.mark.parametrize("webhook_id", ["\ud800", "x" * 9999])
def test_an_odd_webhook_id_is_shortened_and_made_encodable(
    world: World, log_lines: Lines, webhook_id: str
) -> None:
    """Where the gateway authenticates, nobody has looked at it before us."""
    event = webhook_event({"vault_id": VMWARE}, world, headers={"webhook-id": webhook_id})
    environ = {**world.environ, "CBR_SYNC_WEBHOOK_AUTH": "platform", "CBR_SYNC_WEBHOOK_SECRET": ""}
    reply = world.on_lambda(event, environ)
    assert reply["statusCode"] == 200
    assert len(select_cloud_events(log_lines())[0]["data"]["trigger"]["id"]) <= 256


def test_any_of_several_secrets_is_accepted(world: World) -> None:
    """Secrets are rotated without a gap."""
    environ = {**world.environ, "CBR_SYNC_WEBHOOK_SECRET": f"{secret_text(b'n' * 24)} {secret_text(SECRET)}"}
    assert world.on_lambda(webhook_event({"vault_id": VMWARE}, world), environ)["statusCode"] == 200


def test_an_alb_with_multi_value_headers_is_answered_with_multi_value_headers(world: World) -> None:
    """Its headers come and go as lists; anything else it answers with a 502 of its own."""
    event = webhook_event({"vault_id": VMWARE}, world)
    headers = {key: [value] for key, value in event.pop("headers").items()}
    event |= {"httpMethod": "POST", "multiValueHeaders": headers, "requestContext": {"elb": {}}}
    reply = world.on_lambda(event)
    assert reply["statusCode"] == 200
    assert reply["multiValueHeaders"] == {"Content-Type": ["application/json"]}
    assert "headers" not in reply


@pytest.mark.parametrize(
    "environ", [{}, {"CBR_SYNC_REGION": "cn-north-4"}, {"CBR_SYNC_REGION": "secret-place"}]
)
def test_an_error_in_our_settings_is_a_500_without_detail(
    world: World, log_lines: Lines, environ: dict[str, str]
) -> None:
    """The sender learns nothing of the settings; the operator does, from the log."""
    reply = world.on_lambda(webhook_event({"vault_id": VMWARE}, world), environ)
    assert reply["statusCode"] == 500
    assert "CBR_SYNC" not in reply["body"]
    assert "secret-place" not in reply["body"]
    (line,) = log_lines()
    assert line["level"] == "ERROR"
    assert "SettingsError" in json.dumps(line)


def test_an_unforeseen_fault_of_the_api_is_unfinished(world: World) -> None:
    """The sender may ask again; of the fault nothing leaks."""

    def raise_error(_request: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError("hunter2")

    reply = world.on_lambda(
        webhook_event({"vault_id": VMWARE}, world), transport=httpx.MockTransport(raise_error)
    )
    assert reply["statusCode"] == 503
    (outcome,) = json.loads(reply["body"])["outcomes"]
    assert outcome["error"]["code"] == "CbrSync.UnexpectedError"
    assert "hunter2" not in json.dumps(reply)


def test_an_unforeseen_fault_beside_the_api_is_a_500(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a mistake in our own code becomes a traceback for a stranger."""

    def fail(*_arguments: object) -> None:
        raise ZeroDivisionError("hunter2")

    monkeypatch.setattr("cbr_sync.triggers.signature.verify", fail)
    event = webhook_event({"vault_id": VMWARE}, world)
    del world
    reply = World().on_lambda(event)
    assert reply["statusCode"] == 500
    assert "hunter2" not in json.dumps(reply)


def test_a_sink_that_fails_makes_the_run_fail_after_the_log_has_all(world: World, log_lines: Lines) -> None:
    """The platform delivers the event again, and meanwhile the log holds what happened."""
    environ = {
        **world.environ,
        "CBR_SYNC_SQS_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/outcomes",
        "AWS_ACCESS_KEY_ID": "made-up",
        "AWS_SECRET_ACCESS_KEY": "made-up-too",
    }
    with pytest.raises(SinkError, match="sqs: 1 message not accepted"):
        world.on_lambda({"vault_id": VMWARE}, environ)
    assert select_cloud_events(log_lines())[0]["data"]["status"] == "accepted"


STRANGE_HEADERS = JSON_VALUES | st.dictionaries(
    st.sampled_from(["webhook-id", "Webhook-Timestamp", "webhook-signature", "content-type"]) | st.text(),
    JSON_VALUES,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(
    event=st.fixed_dictionaries(
        {"httpMethod": st.just("POST") | JSON_VALUES},
        optional={
            "headers": STRANGE_HEADERS,
            "multiValueHeaders": STRANGE_HEADERS,
            "body": st.text() | JSON_VALUES,
            "isBase64Encoded": st.booleans() | JSON_VALUES,
            "requestContext": JSON_VALUES,
            "rawPath": JSON_VALUES,
        },
    ),
    trusted=st.booleans(),
)
def test_whatever_a_stranger_sends_gets_a_reply(event: dict[str, Any], trusted: bool) -> None:
    """2xx or 4xx, never an exception, and never a call that nobody signed for."""
    world = World()
    event = {"headers": {"content-type": "application/json"}, **event}
    auth = "platform" if trusted else "signature"
    environ = {"CBR_SYNC_WEBHOOK_AUTH": auth} | ({"CBR_SYNC_WEBHOOK_SECRET": ""} if trusted else {})
    reply = world.on_lambda(event, {**world.environ, **environ})
    assert 400 <= reply["statusCode"] < 500
    json.loads(reply["body"])
    assert world.simulator.requests == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(body=st.binary() | JSON_VALUES.map(lambda value: json.dumps(value).encode()))
def test_whatever_is_in_a_signed_body_gets_a_reply(body: bytes) -> None:
    """A sender with the right secret may still send nonsense."""
    world = World()
    reply = world.on_lambda(webhook_event(body, world))
    assert reply["statusCode"] == 400
    assert world.simulator.requests == []
