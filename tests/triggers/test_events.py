"""Events: recognised by their envelope, read into SyncParams, or refused in words that help."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbr_sync.errors import CbrSyncError, EventError, VaultNotAllowedError
from cbr_sync.models import Kind, SyncParam, Trigger
from cbr_sync.triggers.base import Message
from cbr_sync.triggers.envelopes import find_envelope
from cbr_sync.triggers.payload import SyncRequest, parse_request
from support.builders import JSON_VALUES
from support.receiver import FakeReceiver, read_messages
from support.world import FILE, START, VMWARE

NOON = "2026-11-23T12:00:00+08:00"
SCHEDULE_ARN = "arn:aws:scheduler:eu-west-1:123456789012:schedule/default/nightly"


def read(
    event: object, default_vaults: tuple[str, ...] = (), allowed: tuple[str, ...] = ()
) -> list[SyncParam]:
    """All vaults that the event asks for by their ids."""
    receiver = FakeReceiver(
        CBR_SYNC_VAULTS=",".join(default_vaults), CBR_SYNC_ALLOWED_VAULTS=",".join(allowed)
    )
    requests = [parse_request(message, receiver.settings) for message in read_messages(event, receiver)]
    return [
        param
        for request in requests
        if isinstance(request, SyncRequest) and isinstance(request.vaults, tuple)
        for param in request.vaults
    ]


def direct(payload: object, **more: Any) -> list[SyncParam]:
    """All vaults that a payload invoked directly asks for."""
    return read(payload, **more)


@pytest.mark.parametrize(
    ("event", "kind", "auto_trigger", "trigger_id", "time"),
    [
        pytest.param(
            {
                "trigger_type": "TIMER",
                "trigger_name": "night",
                "time": NOON,
                "user_event": f'{{"vault_id":"{VMWARE}"}}',
            },
            Kind.TIMER,
            True,
            f"night/{NOON}",
            datetime(2026, 11, 23, 4, tzinfo=UTC),
            id="timer",
        ),
        pytest.param(
            {
                "source": "aws.events",
                "detail-type": "Scheduled Event",
                "id": "e1",
                "time": "2026-11-23T03:00:00Z",
                "detail": {"vault_id": VMWARE},
            },
            Kind.SCHEDULE,
            True,
            "e1",
            datetime(2026, 11, 23, 3, tzinfo=UTC),
            id="rule",
        ),
        pytest.param(
            {
                "source": "aws.scheduler",
                "detail-type": "Scheduled Event",
                "id": "e2",
                "time": "not a time",
                "detail": json.dumps({"vault_id": VMWARE}),
            },
            Kind.SCHEDULE,
            True,
            "e2",
            None,
            id="scheduler",
        ),
        pytest.param(
            {
                "trigger": "schedule",
                "scheduled_time": "2026-11-23T03:00:00Z",
                "schedule_arn": SCHEDULE_ARN,
                "vault_id": VMWARE,
            },
            Kind.SCHEDULE,
            True,
            f"{SCHEDULE_ARN}/2026-11-23T03:00:00Z",
            datetime(2026, 11, 23, 3, tzinfo=UTC),
            id="scheduler-input",
        ),
        pytest.param(
            {"source": "my.backup", "detail-type": "Copied", "id": "e3", "detail": {"vault_id": VMWARE}},
            Kind.EVENT,
            False,
            "e3",
            None,
            id="custom-event",
        ),
        pytest.param(
            {
                "specversion": "1.0",
                "type": "copied",
                "id": "e4",
                "time": "2026-11-23T03:00:00",
                "data": {"vault_id": VMWARE},
            },
            Kind.EVENT,
            False,
            "e4",
            datetime(2026, 11, 23, 3, tzinfo=UTC),
            id="cloud-event",
        ),
        pytest.param(
            [{"specversion": "1.0", "type": "copied", "id": "e5", "data": {"vault_id": VMWARE}}],
            Kind.EVENT,
            False,
            "e5",
            None,
            id="cloud-events-in-a-list",
        ),
        pytest.param(
            {
                "Records": [
                    {
                        "EventSource": "aws:sns",
                        "Sns": {"MessageId": "m1", "Message": f'{{"vault_id":"{VMWARE}"}}'},
                    }
                ]
            },
            Kind.NOTIFICATION,
            False,
            "m1",
            None,
            id="sns",
        ),
        pytest.param(
            {"record": [{"smn": {"message_id": "m2", "message": f'{{"vault_id":"{VMWARE}"}}'}}]},
            Kind.NOTIFICATION,
            False,
            "m2",
            None,
            id="smn",
        ),
        pytest.param({"vault_id": VMWARE}, Kind.DIRECT, False, "request-1", None, id="direct"),
    ],
)
def test_each_envelope_gives_its_kind_trigger_and_vault(
    event: object, kind: Kind, auto_trigger: bool, trigger_id: str, time: datetime | None
) -> None:
    """The envelope alone decides kind, trigger and the default of auto_trigger."""
    (message,) = read_messages(event)
    assert find_envelope(event)[0].kind is kind
    assert message.trigger == Trigger(kind=kind, id=trigger_id, time=time)
    assert read(event) == [SyncParam(vault_id=VMWARE, auto_trigger=auto_trigger)]


@pytest.mark.parametrize("key", ["httpMethod", "requestContext", "isBase64Encoded", "rawPath"])
@pytest.mark.parametrize("other", [{"trigger_type": "TIMER"}, {"trigger": "schedule"}, {"vault_id": VMWARE}])
def test_what_looks_like_http_is_a_webhook_whatever_else_it_holds(key: str, other: dict[str, Any]) -> None:
    """No field beside an HTTP request's makes it anything that needs no signature."""
    assert find_envelope({key: None, **other})[0].kind is Kind.WEBHOOK


@pytest.mark.parametrize(
    ("payload", "vaults"),
    [
        ({"sync": {"vault_id": VMWARE, "auto_trigger": True}}, [(VMWARE, True)]),
        (
            {"sync": [{"vault_id": VMWARE}, {"vault_id": FILE, "auto_trigger": True}]},
            [(VMWARE, False), (FILE, True)],
        ),
        ({"vault_id": VMWARE.upper()}, [(VMWARE, False)]),
        ({"vault_id": VMWARE, "auto_trigger": True}, [(VMWARE, True)]),
        ({"vault_ids": [FILE, VMWARE, FILE.upper()]}, [(FILE, False), (VMWARE, False)]),
        ({"vault_ids": [FILE], "auto_trigger": True}, [(FILE, True)]),
    ],
)
def test_every_payload_form_gives_its_vaults_once_and_in_order(
    payload: object, vaults: list[tuple[str, bool]]
) -> None:
    """Ids are lower-cased, repeated ones count once, and the order asked is kept."""
    assert [(param.vault_id, param.auto_trigger) for param in direct(payload)] == vaults


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"vault_id": "x"}, "vault_id: found a string of 1 characters, expected a vault id"),
        ({"vault_id": 7}, "vault_id: found a number, expected a vault id"),
        ({"vault_id": VMWARE + "\n"}, "vault_id: found a string of 37 characters"),
        (
            {"vault_id": VMWARE, "auto_trigger": "true"},
            "auto_trigger: found a string of 4 characters, expected true",
        ),
        ({"vault_id": VMWARE, "auto_trigger": None}, "auto_trigger: found null, expected true or false"),
        ({"vault_id": VMWARE, "volume": 1}, "volume: unknown key; expected one of sync, vault_id"),
        ({"vault_ids": []}, "vault_ids: found a list of 0, expected a list of at least one vault id"),
        ({"vault_ids": VMWARE}, "vault_ids: found a string of 36 characters, expected a list"),
        ({"vault_ids": [VMWARE, ""]}, "vault_ids[1]: found an empty string"),
        ({"sync": []}, "sync: found a list of 0, expected an object with vault_id"),
        ({"sync": True}, "sync: found true, expected an object with vault_id"),
        ({"sync": {"auto_trigger": True}}, "sync[0].vault_id: found nothing, expected a vault id"),
        ({"sync": {"vault_id": VMWARE}, "vault_id": VMWARE}, "vault_id: unknown key"),
        (
            {"volts": {}},
            "found an object with the keys volts, expected one of sync, vault_id, vault_ids, vaults",
        ),
        ({"vaults": []}, "vaults: found a list of 0, expected an object such as"),
        ({"vaults": {"tag": {}}}, "vaults.tag: unknown key; expected one of"),
        ({"vaults": {"tags": {"env": 1}}}, "vaults.tags.env: found a number, expected an object of strings"),
        ({"Ünknown\n": 1}, "found an object with the keys 'Ünknown\\n'"),
        ({"a" * 99: 1}, "a" * 64 + "…"),
        ({"vault_ids": [1, 2, 3, 4, 5, 6, 7]}, "; and 2 more"),
        ({"vault_ids": [f"{n:08x}-0000-4000-8000-000000000000" for n in range(1001)]}, "found 1001 vaults"),
        ({"specversion": "1.0", "type": "t", "data": "[]"}, "found a list of 0 as the payload"),
        ({"specversion": "1.0", "type": "t", "data": "hello"}, "found 5 characters that are not JSON"),
        ({"specversion": "1.0", "type": "t", "data": "[" * 100_000}, "characters that are not JSON"),
        (7, "found a number as the event, expected an object; known: HTTP requests"),
        ([], "found a list of 0 as the event"),
        ({"Records": [{"eventSource": "ours"}]}, "in one of the known envelopes: HTTP requests"),
    ],
)
def test_a_mistake_names_the_key_what_was_found_and_what_was_expected(payload: object, words: str) -> None:
    """Who reads the error knows what to change."""
    with pytest.raises(EventError) as error:
        direct(payload)
    assert words in str(error.value)


def test_an_error_never_shows_a_rejected_value() -> None:
    """A payload may hold anything, a secret too."""
    with pytest.raises(EventError) as error:
        direct({"vault_id": "hunter2hunter2", "auto_trigger": "hunter2hunter2"})
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("empty", [None, "", " \n", "{}", {}])
def test_an_empty_timer_syncs_the_default_vaults(empty: object) -> None:
    """Nothing, blank text and an empty object all mean the operator's own scope."""
    event = {"trigger_type": "TIMER", "user_event": empty}
    assert read(event, default_vaults=(FILE, VMWARE, FILE)) == [
        SyncParam(vault_id=FILE, auto_trigger=True),
        SyncParam(vault_id=VMWARE, auto_trigger=True),
    ]


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"trigger_type": "TIMER"}, "no CBR_SYNC_VAULTS; set it, or name vaults in the event"),
        (
            {"source": "my.backup", "detail-type": "Copied", "detail": {}},
            "found an empty payload, expected one of",
        ),
        ({}, "found an empty payload, expected one of"),
    ],
)
def test_an_empty_payload_is_a_mistake_where_nobody_said_what_it_means(event: object, words: str) -> None:
    """Only timers and schedules have a default, and only if it is set."""
    with pytest.raises(EventError, match=words):
        read(event, default_vaults=() if "trigger_type" in str(event) else (VMWARE,))


def test_a_vault_that_is_not_allowed_refuses_the_whole_payload() -> None:
    """No call is made for an event that reaches further than it may."""
    with pytest.raises(VaultNotAllowedError, match=f"does not hold {FILE}"):
        direct({"vault_ids": [VMWARE, FILE]}, allowed=(VMWARE,))
    assert direct({"vault_id": VMWARE}, allowed=(VMWARE,))


@given(JSON_VALUES)
def test_whatever_an_event_is_the_only_errors_are_ours(event: object) -> None:
    """A strange event is an EventError, never a TypeError from the depth."""
    if find_envelope(event)[0].kind is Kind.WEBHOOK:
        return
    try:
        read(event, default_vaults=(VMWARE,))
    except CbrSyncError as error:
        assert str(error)


ENVELOPE_LIKE = st.fixed_dictionaries(
    {},
    optional={
        "trigger_type": st.sampled_from(["TIMER", "KAFKA"]) | JSON_VALUES,
        "trigger": st.just("schedule") | JSON_VALUES,
        "trigger_name": JSON_VALUES,
        "time": st.text() | st.just("0001-01-01T00:00:00+23:59") | JSON_VALUES,
        "scheduled_time": JSON_VALUES,
        "user_event": JSON_VALUES,
        "source": st.sampled_from(["aws.events", "aws.scheduler", "mine"]) | JSON_VALUES,
        "detail-type": st.just("Scheduled Event") | JSON_VALUES,
        "detail": JSON_VALUES,
        "id": JSON_VALUES,
        "specversion": st.just("1.0") | JSON_VALUES,
        "type": JSON_VALUES,
        "data": JSON_VALUES,
        "events": JSON_VALUES
        | st.lists(
            st.fixed_dictionaries({"specversion": JSON_VALUES, "type": JSON_VALUES, "data": JSON_VALUES})
        ),
        "record": JSON_VALUES | st.lists(st.fixed_dictionaries({"smn": JSON_VALUES})),
        "Records": JSON_VALUES
        | st.lists(st.fixed_dictionaries({"EventSource": st.just("aws:sns"), "Sns": JSON_VALUES})),
    },
)


@given(ENVELOPE_LIKE)
def test_a_mangled_envelope_is_an_event_error_at_worst(event: dict[str, Any]) -> None:
    """Fields of the wrong type are treated as absent, or reported."""
    try:
        read(event, default_vaults=(VMWARE,))
    except CbrSyncError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("time", "moment"),
    [
        ("2026-11-23T02:00:00Z", START - timedelta(hours=1)),
        ("2026-11-23T10:00:00.5+08:00", START - timedelta(hours=1) + timedelta(milliseconds=500)),
    ],
)
@pytest.mark.parametrize(
    "payload",
    [
        {"sync": {"vault_id": VMWARE}},
        {"vault_id": VMWARE},
        {"vault_ids": [VMWARE]},
        {"vaults": {"name": "x"}},
    ],
)
def test_every_sync_form_may_carry_a_time(payload: dict[str, Any], time: str, moment: datetime) -> None:
    """When the backup ended, say; with its zone."""
    (message,) = read_messages({**payload, "time": time})
    request = parse_request(message, FakeReceiver().settings)
    assert isinstance(request, SyncRequest)
    assert request.time == moment


@pytest.mark.parametrize(
    "time", ["2026-11-23T02:00:00", "yesterday", "", 1_700_000_000, True, "0001-01-01T00:00:00+23:59"]
)
def test_a_time_without_its_zone_is_a_mistake(time: object) -> None:
    """It would be another moment for every reader."""
    with pytest.raises(EventError, match=r"time: found .*, expected a time with its zone"):
        direct({"vault_id": VMWARE, "time": time})


SENT = START - timedelta(minutes=5)


@pytest.mark.parametrize(
    ("payload_time", "envelope_time", "platform_time", "counts"),
    [
        pytest.param(START - timedelta(hours=1), SENT, SENT, START - timedelta(hours=1), id="the payload's"),
        pytest.param(None, SENT, None, SENT, id="the envelope's"),
        pytest.param(START + timedelta(minutes=10), SENT, SENT, SENT, id="ahead, with the platform's"),
        pytest.param(START + timedelta(minutes=10), None, None, START, id="ahead, without"),
        pytest.param(
            None, START + timedelta(seconds=9), START + timedelta(seconds=9), START, id="both ahead"
        ),
        pytest.param(None, None, SENT, None, id="none at all"),
    ],
)
def test_the_time_that_counts(
    payload_time: datetime | None,
    envelope_time: datetime | None,
    platform_time: datetime | None,
    counts: datetime | None,
) -> None:
    """One ahead of now gives way to the platform's own, which every delivery has again."""
    trigger = Trigger(kind=Kind.QUEUE, id="m", time=envelope_time)
    message = Message(trigger, "", "m", platform_time)
    assert message.settle_trigger(payload_time, START).time == counts


def test_a_name_that_no_vault_can_have_is_refused_by_name() -> None:
    """It would not fit into a URL either."""
    for name, is_fine in (("\u957f" * 64, True), ("\u957f" * 65, False), ("\u957f" * 8000, False)):
        try:
            read({"vaults": {"name": name}})
        except EventError as error:
            assert not is_fine
            assert "vaults.name: found a string of" in str(error)
            assert "a string of 64 characters at most" in str(error)
        else:
            assert is_fine
