"""Webhooks of the senders that exist: tokens, bodies of their own, and gateways of every sort."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbr_sync.errors import EventError, SettingsError, WebhookRefusedError
from cbr_sync.models import Kind, Trigger
from cbr_sync.settings import Settings
from cbr_sync.triggers.base import Message
from cbr_sync.triggers.payload import SyncRequest, parse_request
from cbr_sync.triggers.signature import MAX_SIGNATURES, sign, verify, verify_token
from support.builders import JSON_VALUES, Lines
from support.world import FILE, SECRET, START, VMWARE, World, secret_text, webhook_event

TOKEN = "made-up-token-" + "x" * 32
OTHER = "made-up-other-" + "y" * 32


def build_token_event(body: object, world: World, authorization: str, **headers: str) -> dict[str, Any]:
    """A POST to a Function URL with a token and no signature."""
    event = webhook_event(body, world)
    event["headers"] = {"content-type": "application/json", "authorization": authorization, **headers}
    return event


def encode_basic(password: str, user: str = "backup") -> str:
    """The header of Basic. Source: RFC 7617."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def send(world: World, event: dict[str, Any], **environ: str) -> dict[str, Any]:
    """Let the function on Lambda handle it."""
    settings = {"CBR_SYNC_WEBHOOK_SECRET": "", "CBR_SYNC_WEBHOOK_TOKEN": TOKEN, **environ}
    reply: dict[str, Any] = world.on_lambda(event, {**world.environ, **settings})
    return reply


def parse_body(reply: dict[str, Any]) -> dict[str, Any]:
    """The JSON in a reply."""
    body: dict[str, Any] = json.loads(reply["body"])
    return body


# tokens


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer  {TOKEN} ", 200),
        (encode_basic(TOKEN), 200),
        (encode_basic(TOKEN, user=""), 200),
        (encode_basic(f"{TOKEN}:"), 401),
        (f"Bearer {OTHER}", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        ("Bearer", 401),
        ("", 401),
        (TOKEN, 401),
        (f"Digest {TOKEN}", 401),
        (f"Basic {TOKEN}", 401),
        ("Basic " + base64.b64encode(TOKEN.encode()).decode(), 401),
        ("Basic ü\ud800", 401),
    ],
)
def test_a_token_lets_a_sender_in_that_cannot_sign(
    world: World, log_lines: Lines, authorization: str, status: int
) -> None:
    """As Bearer, or as the password of Basic; nothing of it is logged."""
    reply = send(world, build_token_event({"vault_id": VMWARE}, world, authorization))
    assert reply["statusCode"] == status
    assert len(world.started) == (status == 200)
    assert TOKEN[:-1] not in json.dumps([reply, log_lines()])
    if status == 401:
        assert reply["headers"]["WWW-Authenticate"] == "Standard-Webhooks, Bearer"


def test_tokens_are_rotated_without_a_gap() -> None:
    """Each of several is valid."""
    for token in (TOKEN, OTHER):
        world = World()
        event = build_token_event({"vault_id": VMWARE}, world, f"Bearer {token}")
        assert send(world, event, CBR_SYNC_WEBHOOK_TOKEN=f"{TOKEN} {OTHER}")["statusCode"] == 200


def test_a_token_does_not_make_up_for_a_wrong_signature(world: World) -> None:
    """It is looked at only where no signature is sent; and a right one needs no token."""
    event = webhook_event({"vault_id": VMWARE}, world, secret=b"w" * 32)
    event["headers"]["authorization"] = f"Bearer {TOKEN}"
    both = {"CBR_SYNC_WEBHOOK_SECRET": secret_text()}
    assert send(world, event, **both)["statusCode"] == 401
    assert send(world, event)["statusCode"] == 401
    assert send(world, webhook_event({"vault_id": VMWARE}, world), **both)["statusCode"] == 200


def test_a_trigger_with_a_token_has_the_senders_id_and_the_gateways_time(world: World) -> None:
    """Anybody who has the token may name a time, so the header of a signature does not count."""
    event = build_token_event({"vault_id": VMWARE}, world, f"Bearer {TOKEN}", **{"webhook-id": "job-7"})
    event["headers"]["webhook-timestamp"] = "1"
    event["requestContext"]["timeEpoch"] = int(START.timestamp() * 1000) - 1500
    (outcome,) = parse_body(send(world, event))["outcomes"]
    assert outcome["trigger"] == {"kind": "webhook", "id": "job-7", "time": "2026-11-23T02:59:58.500Z"}


@pytest.mark.parametrize("text", ["x" * 31, f"{TOKEN} short", "ä" * 40, f"{TOKEN}\x00"])
def test_a_token_that_anybody_might_guess_is_a_mistake(world: World, text: str) -> None:
    """And it is not shown."""
    with pytest.raises(SettingsError, match="CBR_SYNC_WEBHOOK_TOKEN: ") as error:
        Settings.load({**world.environ, "CBR_SYNC_WEBHOOK_TOKEN": text})
    assert text not in str(error.value)


@pytest.mark.parametrize("name", ["CBR_SYNC_WEBHOOK_SECRET", "CBR_SYNC_WEBHOOK_TOKEN"])
def test_only_one_of_us_and_the_gateway_authenticates(world: World, name: str) -> None:
    """Otherwise nobody knows whether what comes through is checked."""
    given_value = secret_text() if "SECRET" in name else TOKEN
    environ = {**world.environ, "CBR_SYNC_WEBHOOK_SECRET": "", "CBR_SYNC_WEBHOOK_AUTH": "platform"}
    with pytest.raises(SettingsError, match=f"{name}: set, although CBR_SYNC_WEBHOOK_AUTH says"):
        Settings.load({**environ, name: given_value})


@given(
    headers=st.dictionaries(
        st.sampled_from(["authorization", "webhook-id", "webhook-timestamp", "webhook-signature"]),
        st.text(st.characters(), max_size=60)
        | st.sampled_from([f"Bearer {TOKEN}", encode_basic(TOKEN), f"Bearer {OTHER}"]),
    )
)
def test_whatever_is_in_the_headers_is_accepted_or_refused(headers: dict[str, str]) -> None:
    """With the very token alone, and nothing else is raised."""
    try:
        verify_token(headers, [TOKEN])
    except WebhookRefusedError:
        assert headers.get("authorization") not in (f"Bearer {TOKEN}", encode_basic(TOKEN))
    else:
        assert headers["authorization"] in (f"Bearer {TOKEN}", encode_basic(TOKEN))


# signatures


@pytest.mark.parametrize("zeros", ["0", "00"])
def test_leading_zeros_do_not_hide_a_requests_time(world: World, zeros: str) -> None:
    """B1: signed or not, a padded timestamp is another text of the same time."""
    now = int(world.now().timestamp())
    body = b'{"vault_id": "%b"}' % VMWARE.encode()
    text = f"{zeros}{now}"
    digest = hmac.digest(SECRET, b".".join([b"msg_1", text.encode(), body]), hashlib.sha256)
    signed = {
        "webhook-id": "msg_1",
        "webhook-timestamp": text,
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }
    reply = world.on_lambda(webhook_event(body, world, headers=signed))
    assert reply["statusCode"] == 401


def test_the_cost_does_not_grow_with_the_number_of_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    """B2: one HMAC for each secret, and a bounded number of comparisons."""
    calls = {"hmac": 0, "compare": 0}
    digest, compare = hmac.digest, hmac.compare_digest

    def count_digest(*args: Any) -> bytes:
        calls["hmac"] += 1
        return digest(*args)

    def count_compare(one: str, other: str) -> bool:
        calls["compare"] += 1
        return compare(one, other)

    monkeypatch.setattr(hmac, "digest", count_digest)
    monkeypatch.setattr(hmac, "compare_digest", count_compare)
    headers = {
        "webhook-id": "a",
        "webhook-timestamp": "1000",
        "webhook-signature": " ".join(["v1," + "A" * 43 + "="] * 1400),
    }
    with pytest.raises(WebhookRefusedError):
        verify(headers, b"", [SECRET, b"other"], now=1000)
    assert calls == {"hmac": 2, "compare": 2 * MAX_SIGNATURES}


@pytest.mark.parametrize("joint", [" ", ",", ", "])
def test_two_headers_of_one_name_are_both_looked_at(joint: str) -> None:
    """Gateways join them with a comma."""
    right, wrong = sign(SECRET, "a", 1000, b"x"), sign(b"other", "a", 1000, b"x")
    for pair in ([right, wrong], [wrong, right]):
        headers = {"webhook-id": "a", "webhook-timestamp": "1000", "webhook-signature": joint.join(pair)}
        verify(headers, b"x", [SECRET], now=1000)


def test_a_rest_api_hands_over_two_headers_of_one_name_in_a_list(world: World) -> None:
    """Its plain headers have the last one only. Source: API Gateway Developer Guide, proxy integrations."""
    event = webhook_event({"vault_id": VMWARE}, world)
    right = event["headers"]["webhook-signature"]
    event["httpMethod"] = "POST"
    event["multiValueHeaders"] = {key: [value] for key, value in event["headers"].items()}
    event["multiValueHeaders"]["webhook-signature"] = [right, "v1," + "A" * 43 + "="]
    event["headers"]["webhook-signature"] = "v1," + "A" * 43 + "="
    assert world.on_lambda(event)["statusCode"] == 200


# bodies of somebody else


ALERTMANAGER = {
    "version": "4",
    "groupKey": '{}:{alertname="BackupDone"}',
    "status": "firing",
    "receiver": "cbr-sync",
    "alerts": [
        {"status": "firing", "labels": {"alertname": "BackupDone"}, "startsAt": "2026-11-23T02:55:00Z"}
    ],
}
GRAFANA = {**ALERTMANAGER, "title": "[FIRING:1] BackupDone", "state": "alerting", "orgId": 1, "message": ""}
GITHUB_PUSH = {"ref": "refs/heads/main", "before": "0", "after": "1", "repository": {"id": 1}}
GITHUB_PING = {"zen": "Keep it logically awesome.", "hook_id": 1, "hook": {"type": "Repository"}}
CES_ALARM = {"message_type": "alarm", "alarm_name": "backup", "alarm_status": "alarm", "time": 1795402800000}
CTS_TRACE = {"time": 1795402800000, "service_type": "OBS", "event_type": "system", "code": "200"}


@pytest.mark.parametrize("body", [ALERTMANAGER, GRAFANA, GITHUB_PUSH, {"anything": 1}])
def test_a_body_of_somebody_else_syncs_what_the_settings_say(world: World, body: dict[str, Any]) -> None:
    """The sender chooses nothing, and without the setting it is an error."""
    event = build_token_event(body, world, f"Bearer {TOKEN}")
    assert send(world, event)["statusCode"] == 400
    reply = send(world, event, CBR_SYNC_WEBHOOK_VAULTS=f"{VMWARE}, {FILE}")
    assert [one["vault_id"] for one in parse_body(reply)["outcomes"]] == [VMWARE, FILE]
    assert {one["auto_trigger"] for one in parse_body(reply)["outcomes"]} == {False}


def test_hybrid_means_all_that_are_allowed(world: World) -> None:
    """With webhooks as with timers."""
    event = build_token_event(ALERTMANAGER, world, f"Bearer {TOKEN}")
    allowed = {"CBR_SYNC_WEBHOOK_VAULTS": "hybrid", "CBR_SYNC_ALLOWED_VAULTS": VMWARE}
    assert [one["vault_id"] for one in parse_body(send(world, event, **allowed))["outcomes"]] == [VMWARE]


@pytest.mark.parametrize(
    "name", ["CBR_SYNC_VAULTS", "CBR_SYNC_WEBHOOK_VAULTS", "CBR_SYNC_NOTIFICATION_VAULTS"]
)
def test_no_list_of_vaults_leads_around_those_that_are_allowed(world: World, name: str) -> None:
    """A mistake by name, before anything is done."""
    environ = {
        **world.environ,
        "CBR_SYNC_VAULTS": "",
        "CBR_SYNC_ALLOWED_VAULTS": VMWARE,
        name: f"{VMWARE},{FILE}",
    }
    with pytest.raises(
        SettingsError, match=f"{name}: found {FILE}, which CBR_SYNC_ALLOWED_VAULTS does not hold"
    ):
        Settings.load(environ)


@pytest.mark.parametrize(
    "body",
    [
        {"vault": VMWARE},
        {"vaultid": VMWARE},
        {"Vault_Id": VMWARE},
        {"vaults_ids": [VMWARE]},
        {"syncs": []},
        {"SYNC": {}},
        {"vault_id": "x", **ALERTMANAGER},
        {"auto_trigger": True},
        {"report": {}},
        {"follow": {"every_minutes": 10}},
        {"handed_on": {}},
        {},
        [],
        "text",
        7,
        None,
    ],
)
def test_a_typing_mistake_syncs_nothing(world: World, body: object) -> None:
    """A key of ours, or one that begins like one of ours, makes a body ours; so does an empty one."""
    event = build_token_event(body, world, f"Bearer {TOKEN}")
    reply = send(world, event, CBR_SYNC_WEBHOOK_VAULTS="hybrid")
    assert reply["statusCode"] == 400
    assert world.started == []


@pytest.mark.parametrize(
    "body", [{**ALERTMANAGER, "status": "resolved"}, {**GRAFANA, "status": "resolved"}, GITHUB_PING]
)
def test_what_only_says_that_it_is_over_starts_nothing(world: World, body: dict[str, Any]) -> None:
    """The sender is content, so that it does not send it again."""
    event = build_token_event(body, world, f"Bearer {TOKEN}")
    reply = send(world, event, CBR_SYNC_WEBHOOK_VAULTS="hybrid")
    assert (reply["statusCode"], json.loads(reply["body"])) == (200, {"outcomes": []})
    assert world.simulator.requests == []


@pytest.mark.parametrize("message", [CES_ALARM, CTS_TRACE, {"AlarmName": "backup", "NewStateValue": "ALARM"}])
@pytest.mark.parametrize("service", ["sns", "smn"])
def test_a_notification_of_somebody_else_syncs_what_the_settings_say(
    world: World, message: dict[str, Any], service: str
) -> None:
    """CES and CTS through SMN, CloudWatch through SNS."""
    text = json.dumps(message)
    event: dict[str, Any] = {"record": [{"smn": {"message_id": "m", "message": text}}]}
    run: Callable[..., dict[str, Any]] = world.on_functiongraph
    if service == "sns":
        event = {"Records": [{"EventSource": "aws:sns", "Sns": {"MessageId": "m", "Message": text}}]}
        run = world.on_lambda
    with pytest.raises(EventError, match="found an object with the keys"):
        run(event)
    with pytest.raises(EventError):
        run(event, {**world.environ, "CBR_SYNC_WEBHOOK_VAULTS": VMWARE})
    reply = run(event, {**world.environ, "CBR_SYNC_NOTIFICATION_VAULTS": VMWARE})
    assert [one["vault_id"] for one in reply["outcomes"]] == [VMWARE]


def test_a_webhooks_vaults_are_nobody_elses(world: World) -> None:
    """A queue's or a direct event's foreign payload stays an error."""
    settings = Settings.load(
        {**world.environ, "CBR_SYNC_WEBHOOK_VAULTS": VMWARE, "CBR_SYNC_NOTIFICATION_VAULTS": VMWARE}
    )
    for kind in Kind:
        message = Message(Trigger(kind=kind, id="x"), {"anything": 1})
        if kind in (Kind.WEBHOOK, Kind.NOTIFICATION):
            assert isinstance(parse_request(message, settings), SyncRequest)
        else:
            with pytest.raises(EventError):
                parse_request(message, settings)


@given(body=JSON_VALUES | st.dictionaries(st.text(max_size=6), JSON_VALUES, max_size=3))
def test_whatever_an_authenticated_sender_sends_gets_a_documented_reply(body: object) -> None:
    """It syncs what the settings say, or nothing."""
    world = World()
    event = build_token_event(body, world, f"Bearer {TOKEN}")
    reply = send(world, event, CBR_SYNC_WEBHOOK_VAULTS=VMWARE)
    assert reply["statusCode"] in (200, 400)
    assert [operation.vault_id for operation in world.started] == (
        [VMWARE] if reply["statusCode"] == 200 else []
    )


# gateways that are not served


LATTICE_1 = {
    "raw_path": "/sync",
    "method": "POST",
    "headers": {"content-type": "application/json"},
    "query_string_parameters": {},
    "body": json.dumps({"vault_id": VMWARE}),
    "is_base64_encoded": False,
}
LATTICE_2 = {
    "version": "2.0",
    "path": "/sync",
    "method": "POST",
    "headers": {"content-type": ["application/json"]},
    "body": json.dumps({"vault_id": VMWARE}),
    "requestContext": {"serviceNetworkArn": "arn", "timeEpoch": "1795402800000000"},
}


@pytest.mark.parametrize("event", [LATTICE_1, LATTICE_2])
def test_vpc_lattice_is_refused_by_its_name(world: World, log_lines: Lines, event: dict[str, Any]) -> None:
    """As HTTP, and nothing is emitted for what nobody has authenticated."""
    reply = world.on_lambda(event)
    assert reply["statusCode"] == 400
    assert "VPC Lattice are not served" in json.loads(reply["body"])["detail"]
    assert world.simulator.requests == []
    assert [line for line in log_lines() if "outcome" in line] == []


DESTINATION = {
    "version": "1.0",
    "timestamp": "2026-11-23T03:00:00.000Z",
    "requestContext": {"requestId": "r", "functionArn": "arn:aws:lambda:x", "condition": "RetriesExhausted"},
    "requestPayload": {"vault_id": VMWARE},
    "responsePayload": None,
}


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (DESTINATION, "a record of a Lambda destination"),
        ([{"messageId": "m", "eventSource": "aws:sqs", "body": "{}"}], "a batch of EventBridge Pipes"),
        ({"Records": [{"eventSource": "aws:s3", "s3": {}}]}, "records of another AWS service"),
        ({"eventSource": "aws:kafka", "records": {}}, "records of another AWS service"),
        ({"awslogs": {"data": "H4sI"}}, "CloudWatch Logs"),
        ({"Records": [{"eventSource": "OBS", "obs": {}}]}, "OBS"),
        ({"cts": {"service_type": "CBR"}}, "CTS"),
        ({"lts": {"data": "e30="}}, "LTS"),
        ({"request_context": {"function_urn": "urn:fss:x"}, "request_payload": "{}"}, "FunctionGraph"),
    ],
)
def test_an_envelope_that_is_not_served_is_refused_by_its_name(
    world: World, log_lines: Lines, event: object, name: str
) -> None:
    """And reported as rejected; its content starts nothing."""
    with pytest.raises(EventError, match=f"found .*{name}.* not served; known: HTTP requests"):
        world.on_lambda(event)
    types = [line["outcome"]["type"] for line in log_lines() if "outcome" in line]
    assert types == ["cbr-sync.trigger.rejected.v1"]
    assert world.simulator.requests == []


# ids and bodies of other envelopes


def test_two_records_of_one_kafka_topic_have_different_ids(world: World) -> None:
    """B8: the messages of a topic are counted through the whole batch."""
    event = {
        "trigger_type": "KAFKA",
        "event_time": int(START.timestamp()),
        "records": [
            {"topic_id": "t", "messages": [json.dumps({"vault_id": VMWARE})]},
            {"topic_id": "u", "messages": [json.dumps({"vault_id": FILE})]},
            {"topic_id": "t", "messages": [json.dumps({"vault_id": FILE})]},
        ],
    }
    ids = [one["trigger"]["id"] for one in world.on_functiongraph(event)["outcomes"]]
    seconds = int(START.timestamp())
    assert ids == [f"t/{seconds}/0", f"u/{seconds}/0", f"t/{seconds}/1"]


@pytest.mark.parametrize(
    "data", [json.dumps({"vault_id": VMWARE}), "\ufeff" + json.dumps({"vault_id": VMWARE})]
)
def test_a_cloud_events_binary_data_is_read(world: World, data: str) -> None:
    """With a byte order mark or without."""
    event = {
        "specversion": "1.0",
        "type": "t",
        "id": "e",
        "data_base64": base64.b64encode(data.encode()).decode(),
    }
    assert [one["vault_id"] for one in world.on_functiongraph(event)["outcomes"]] == [VMWARE]


def test_binary_data_that_is_none_is_an_error(world: World) -> None:
    """Not a crash."""
    with pytest.raises(EventError, match="characters that are not JSON"):
        world.on_functiongraph({"specversion": "1.0", "type": "t", "id": "e", "data_base64": "ü"})


RULE = {"detail-type": "backup done", "source": "ours", "detail": {"vault_id": VMWARE}}


@pytest.mark.parametrize("detail", [RULE["detail"], json.dumps(RULE["detail"])])
def test_a_rule_may_send_through_a_topic_and_a_queue(detail: object) -> None:
    """Through SNS alone, through SQS alone, and through both."""
    text = json.dumps({**RULE, "detail": detail})
    through_topic = json.dumps({"Type": "Notification", "TopicArn": "arn", "Message": text})
    records = [
        {"Records": [{"EventSource": "aws:sns", "Sns": {"MessageId": "m", "Message": text}}]},
        *(
            {"Records": [{"eventSource": "aws:sqs", "messageId": "m", "body": body}]}
            for body in (text, through_topic)
        ),
    ]
    for event in records:
        other = World()
        other.on_lambda(event)
        assert [operation.vault_id for operation in other.started] == [VMWARE]


# the line for alarms that search for words


def read_ends(lines: list[str]) -> list[str]:
    """The words with which scheduled runs end."""
    messages = [json.loads(line).get("message", "") for line in lines]
    return [message for message in messages if message.startswith("cbr-sync.scheduled.")]


@pytest.mark.parametrize(
    ("payload", "faults", "end"),
    [
        ({"vault_id": VMWARE}, "", "cbr-sync.scheduled.sync.ok"),
        ({"vault_id": VMWARE}, "403*9", "cbr-sync.scheduled.sync.problems"),
        ({"vault_id": "x"}, "", "cbr-sync.scheduled.sync.problems"),
        ({"vault_id": VMWARE}, "503*999", "cbr-sync.scheduled.sync.problems"),
        ({"report": {}, "vaults": {"name": "nope"}}, "", "cbr-sync.scheduled.report.problems"),
        ({"report": {}}, "", "cbr-sync.scheduled.report.problems"),
        ({"follow": {"every_minutes": 10}}, "", None),
    ],
)
def test_a_scheduled_run_ends_with_a_line_that_can_be_searched_for(
    world: World, capsys: pytest.CaptureFixture[str], payload: dict[str, Any], faults: str, end: str | None
) -> None:
    """The last line before the metrics, whatever came of the run; ticks have none."""
    if faults:
        world.simulator.add_faults(faults)
    event = {"trigger": "schedule", "scheduled_time": START.isoformat(), **payload}
    try:
        world.on_lambda(event)
    except Exception as error:  # noqa: BLE001 - the line is there all the same
        assert end != "cbr-sync.scheduled.sync.ok", error
    assert read_ends(capsys.readouterr().out.splitlines()) == ([end] if end else [])


def test_nothing_else_has_such_a_line(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Not a webhook, not a queue."""
    world.on_lambda(webhook_event({"vault_id": VMWARE}, world))
    world.on_lambda({"vault_id": FILE})
    assert read_ends(capsys.readouterr().out.splitlines()) == []
