"""Dead-lettered events, replayed: what is served is deleted, the rest stays, and nothing is started twice."""

from __future__ import annotations

import json
import signal
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from moto.server import ThreadedMotoServer
from typer.testing import CliRunner

from cbr_sync.aws.sqs import SqsClient
from cbr_sync.cli.dead_letters.formats import DeadLetter, read_dead_letters
from cbr_sync.cli.dead_letters.player import Player, is_served
from cbr_sync.cli.dead_letters.queue_source import DeadLetterQueue
from cbr_sync.cli.main import app
from cbr_sync.clock import Clock
from cbr_sync.credentials import Credentials
from cbr_sync.errors import ApiError, EventError, SettingsError, SyncUnfinished
from cbr_sync.local import InvokeResult, build_signature_headers, simulator_environ
from cbr_sync.models import Kind, OutcomeError, Status, SyncOutcome, format_rfc3339
from cbr_sync.simulator.cloud import Simulator
from cbr_sync.simulator.models import Operation
from cbr_sync.simulator.server import SimulatorServer
from cbr_sync.triggers.base import Platform
from support.builders import build_outcome, build_result
from support.sample_events import EVENTS
from support.world import FILE, SECRET, VMWARE, VirtualClock, secret_text

REGION = "eu-west-1"
KEYS = Credentials("made-up-key", "made-up-secret")
SCHEDULE = "arn:aws:scheduler:eu-west-1:123456789012:schedule/default/nightly"

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.*utcnow.*:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """The URL of moto's server, which keeps queues."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@dataclass
class Clouds(httpx.BaseTransport):
    """moto's SQS, and the simulator's CBR.

    A request whose body holds ``interrupt`` interrupts the process, one whose URL holds ``refuse`` is
    refused. The clock is a minute ahead of moto's, so that every message is older than what is done for it.
    """

    moto: str
    clock: Clock = field(default_factory=lambda: VirtualClock(start=Clock().now() + timedelta(minutes=1)))
    interrupt: str = ""
    refuse: str = ""
    sqs: httpx.BaseTransport = field(default_factory=httpx.HTTPTransport)
    simulator: Simulator = field(init=False)

    def __post_init__(self) -> None:
        self.repair()

    def repair(self) -> None:
        """Put a fresh simulator in place of the one that fails."""
        self.simulator = Simulator(now=self.clock.now)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if str(request.url).startswith(self.moto):
            return self.sqs.handle_request(request)
        if self.interrupt and self.interrupt in request.content.decode():
            signal.raise_signal(signal.SIGINT)
        if self.refuse and self.refuse in str(request.url):
            return httpx.Response(401, json={"error_code": "APIGW.0301", "error_msg": "expired"})
        return self.simulator.transport().handle_request(request)

    def open_queue(self, url: str, change: Mapping[str, str] | None = None) -> DeadLetterQueue:
        """Open a queue of dead-lettered events, with these variables changed."""
        environ = {**self.environ, **(change or {})}
        return DeadLetterQueue(url, environ, clock=self.clock, transport=self, wait_seconds=0)

    def make_player(
        self, change: Mapping[str, str] | None = None, *, platform: Platform | None = None
    ) -> Player:
        """Make a player, with these variables changed."""
        environ = {**self.environ, **(change or {})}
        return Player(environ, platform=platform, clock=self.clock, transport=self)

    @property
    def environ(self) -> dict[str, str]:
        """The function's variables, as an operator has them on a machine of their own."""
        return {
            **simulator_environ("https://cbr.cn-north-4.myhuaweicloud.com", VMWARE),
            "CBR_SYNC_WEBHOOK_SECRET": secret_text(),
            "AWS_ENDPOINT_URL_SQS": self.moto,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": KEYS.access_key,
            "AWS_SECRET_ACCESS_KEY": KEYS.secret_key,
        }

    def create_queue(self, name: str) -> Queue:
        """Create a queue on moto."""
        client = SqsClient(self.sqs, endpoint=self.moto, region=REGION, credentials=KEYS, now=self.clock.now)
        attributes = {"FifoQueue": "true", "ContentBasedDeduplication": "true"} if ".fifo" in name else {}
        body = {"QueueName": name, "Attributes": attributes}
        answer = json.loads(client.call("CreateQueue", body, timeout_seconds=5))
        return Queue(client, answer["QueueUrl"])

    def record_sync(self, vault_id: str, ago: timedelta) -> Operation:
        """Add a sync of this vault that an earlier delivery started so long ago, and that has ended since."""
        vault = next(vault for vault in self.simulator.vaults if vault.id == vault_id)
        operation = Operation(f"log-{vault_id}", vault, self.clock.now() - ago, 0.001, auto_trigger=True)
        self.simulator.operations.append(operation)
        return operation

    def count_syncs(self, *vaults: str) -> list[int]:
        """Count the syncs of each of these vaults that the API accepted."""
        return [len(self.simulator.syncs_of(vault)) for vault in vaults]


@dataclass
class Queue:
    """A queue, filled and counted by a client of its own."""

    client: SqsClient
    url: str

    def send(self, body: object, group: str = "", **attributes: str) -> str:
        """Send a message, and return its id."""
        message = {
            "QueueUrl": self.url,
            "MessageBody": body if isinstance(body, str) else json.dumps(body),
            "MessageAttributes": {
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
            },
            **({"MessageGroupId": group} if group else {}),
        }
        answer: dict[str, str] = json.loads(self.client.call("SendMessage", message, timeout_seconds=5))
        return answer["MessageId"]

    @property
    def counts(self) -> tuple[int, int]:
        """How many messages can be seen, and how many are held by somebody."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        body = {"QueueUrl": self.url, "AttributeNames": names}
        answer = json.loads(self.client.call("GetQueueAttributes", body, timeout_seconds=5))["Attributes"]
        return int(answer[names[0]]), int(answer[names[1]])


@pytest.fixture
def clouds(moto: str) -> Clouds:
    """Both clouds, fresh but for older queues."""
    return Clouds(moto)


@pytest.fixture
def queue(clouds: Clouds) -> Queue:
    """A queue of the test's own."""
    return clouds.create_queue(f"dead-{uuid.uuid4()}")


def run(
    clouds: Clouds, queue: Queue, limit: int | None = None, **change: str
) -> list[tuple[DeadLetter, InvokeResult]]:
    """Replay all that lies in a queue."""
    player = clouds.make_player(change)
    return list(player.replay_queue(clouds.open_queue(queue.url, change), limit))


def replay_file(clouds: Clouds, text: str) -> list[tuple[DeadLetter, InvokeResult]]:
    """Replay all events in a file."""
    return list(clouds.make_player().replay(read_dead_letters("f.json", text)))


# queues


def test_what_is_served_goes_and_what_is_not_stays(clouds: Clouds, queue: Queue) -> None:
    """And can be seen again at once, by a second run, which serves it."""
    first, second = queue.send({"vault_id": VMWARE}), queue.send({"vault_id": FILE})
    clouds.simulator.add_faults("503*9", VMWARE)
    served = {event.name: is_served(result) for event, result in run(clouds, queue)}
    assert served == {first: False, second: True}
    assert queue.counts == (1, 0)
    clouds.repair()
    assert [(event.name, is_served(result)) for event, result in run(clouds, queue)] == [(first, True)]
    assert queue.counts == (0, 0)


def test_what_an_earlier_delivery_has_served_is_adopted(clouds: Clouds, queue: Queue) -> None:
    """By the message's own time; no second sync is started."""
    queue.send({"vault_id": VMWARE})
    clouds.record_sync(VMWARE, timedelta(seconds=30))
    [(_, result)] = run(clouds, queue)
    assert result.answer == "0 handed back"
    assert clouds.count_syncs(VMWARE) == [1]
    assert queue.counts == (0, 0)


def test_a_message_that_cannot_be_read_stays(clouds: Clouds, queue: Queue) -> None:
    """A person has to look at it."""
    queue.send("no JSON")
    [(_, result)] = run(clouds, queue)
    assert result.answer == "1 handed back"
    assert queue.counts == (1, 0)


@pytest.mark.parametrize(
    "body",
    [
        {"trigger": "schedule", "scheduled_time": "{time}", "schedule_arn": SCHEDULE, "vault_id": VMWARE},
        {
            "trigger": "schedule",
            "scheduled_time": "<aws.scheduler.scheduled-time>",
            "schedule_arn": "<aws.scheduler.schedule-arn>",
            "vault_id": VMWARE,
        },
        {
            "version": "0",
            "id": "one",
            "source": "aws.scheduler",
            "detail-type": "Scheduled Event",
            "time": "{time}",
            "detail": json.dumps({"vault_id": VMWARE}),
        },
    ],
    ids=["its Input", "its Input as it was asked for", "without Input"],
)
def test_a_schedulers_dead_letter_is_the_event(clouds: Clouds, queue: Queue, body: dict[str, str]) -> None:
    """Its time is that of the schedule, so that a night that was served after all is adopted."""
    scheduled = format_rfc3339(clouds.clock.now() - timedelta(hours=3))
    filled = {key: value.replace("{time}", scheduled) for key, value in body.items()}
    marks = {"SCHEDULE_ARN": SCHEDULE, "SCHEDULED_TIME": scheduled, "IS_PAYLOAD_TRUNCATED": "false"}
    queue.send(filled, **marks, ERROR_CODE="AWS.Scheduler.InternalServerError")
    clouds.record_sync(VMWARE, timedelta(hours=2))
    [(_, result)] = run(clouds, queue)
    assert result.kind == "schedule"
    assert [(outcome.status, outcome.adopted) for outcome in result.outcomes] == [("succeeded", True)]
    assert result.outcomes[0].model_dump(mode="json")["trigger"]["time"] == scheduled
    assert queue.counts == (0, 0)


def test_a_payload_that_was_cut_off_stays(clouds: Clouds, queue: Queue) -> None:
    """The error says so, and the events beside it are served."""
    cut = queue.send('{"trigger": "sched', SCHEDULE_ARN=SCHEDULE, IS_PAYLOAD_TRUNCATED="true")
    torn = queue.send('{"trigger": "sched', SCHEDULE_ARN=SCHEDULE, IS_PAYLOAD_TRUNCATED="false")
    whole = queue.send({"vault_id": FILE})
    results = {event.name: result for event, result in run(clouds, queue)}
    assert "IS_PAYLOAD_TRUNCATED" in str(results[cut].error)
    assert str(results[torn].error) == "found 18 characters that are not JSON, expected an event"
    assert is_served(results[whole])
    assert queue.counts == (2, 0)


@pytest.mark.parametrize(
    ("body", "attributes"),
    [
        ({"vault_id": VMWARE}, {"RULE_ARN": "arn:aws:events:eu-west-1:123456789012:rule/night"}),
        ({"vault_id": VMWARE}, {"RequestID": "one", "ErrorCode": "200", "ErrorMessage": "no"}),
        ({"requestContext": {"condition": "RetriesExhausted"}, "requestPayload": {"vault_id": VMWARE}}, {}),
    ],
    ids=["of a rule", "of a function", "of a destination"],
)
def test_what_another_service_gave_up_is_the_event(
    clouds: Clouds, queue: Queue, body: object, attributes: dict[str, str]
) -> None:
    """A rule, a function's dead-letter queue, and the record that a destination gets."""
    queue.send(body, **attributes)
    [(_, result)] = run(clouds, queue)
    assert (result.kind, result.answer) == ("direct", "returned")
    assert [outcome.vault_id for outcome in result.outcomes] == [VMWARE]
    assert queue.counts == (0, 0)


def test_a_work_queues_message_is_replayed_as_lambda_hands_it_over(clouds: Clouds, queue: Queue) -> None:
    """With its own attributes, and the queue it comes from."""
    message_id = queue.send({"vault_id": VMWARE}, sender="me")
    [(event, _)] = run(clouds, queue)
    assert isinstance(event.event, dict)
    [record] = event.event["Records"]
    sent = int(record["attributes"].pop("SentTimestamp"))
    assert abs(time.time() - sent / 1000) < 60
    name = queue.url.rpartition("/")[2]
    assert {key: value for key, value in record.items() if key != "attributes"} == {
        "messageId": message_id,
        "body": json.dumps({"vault_id": VMWARE}),
        "messageAttributes": {"sender": {"dataType": "String", "stringValue": "me"}},
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{REGION}:123456789012:{name}",
        "awsRegion": REGION,
    }


def test_more_than_ten_events_are_served(clouds: Clouds, queue: Queue) -> None:
    """SQS gives ten at a time."""
    for _ in range(23):
        queue.send({"vault_id": VMWARE})
    assert len(run(clouds, queue)) == 23
    assert queue.counts == (0, 0)


@pytest.mark.parametrize("limit", [0, 3, 12])
def test_a_limit_is_kept(clouds: Clouds, queue: Queue, limit: int) -> None:
    """No more events are taken than are wanted."""
    for _ in range(15):
        queue.send({"vault_id": VMWARE})
    assert len(run(clouds, queue, limit=limit)) == limit
    assert queue.counts == (15 - limit, 0)


def test_in_a_fifo_queue_nothing_overtakes_what_stays(clouds: Clouds) -> None:
    """Of its own group; other groups are served."""
    queue = clouds.create_queue("dead.fifo")
    first, second = (queue.send({"vault_id": VMWARE, "auto_trigger": auto}, "a") for auto in (True, False))
    other = queue.send({"vault_id": FILE}, "b")
    clouds.simulator.add_faults("503*9", VMWARE)
    assert [(event.name, is_served(result)) for event, result in run(clouds, queue)] == [
        (first, False),
        (other, True),
    ]
    clouds.repair()
    assert [event.name for event, _ in run(clouds, queue)] == [first, second]


def test_an_interrupted_run_loses_nothing(clouds: Clouds, queue: Queue) -> None:
    """What was served is gone, the rest can be seen at once, also what was received and not yet replayed."""
    for vault in (FILE, VMWARE, FILE, FILE):
        queue.send({"vault_id": vault})
    clouds.interrupt = VMWARE
    # A shell that starts the tests in the background has them ignore it.
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        run(clouds, queue)
    signal.signal(signal.SIGINT, previous)
    assert queue.counts == (3, 0)
    clouds.interrupt = ""
    assert len(run(clouds, queue)) == 3
    assert queue.counts == (0, 0)


def test_who_stops_listening_lets_the_rest_go(clouds: Clouds, queue: Queue) -> None:
    """As a command does that is stopped between two events."""
    for _ in range(5):
        queue.send({"vault_id": VMWARE})
    replayed = clouds.make_player().replay_queue(clouds.open_queue(queue.url))
    next(replayed)
    assert queue.counts == (0, 4)
    replayed.close()
    assert queue.counts == (4, 0)


@pytest.mark.parametrize(
    ("fault", "words"),
    [("401*9", "APIGW.0301"), ("403*9", "APIGW.0302"), ("reset*9", "CbrSync.NoAnswer"), ("503*9", "503")],
)
def test_without_an_api_that_serves_no_event_is_taken(
    clouds: Clouds, queue: Queue, fault: str, words: str
) -> None:
    """With wrong keys every sync would fail for good, and its event be gone."""
    queue.send({"vault_id": VMWARE})
    clouds.simulator.add_faults(fault)
    with pytest.raises(ApiError, match=words):
        run(clouds, queue)
    assert queue.counts == (1, 0)
    assert clouds.count_syncs(VMWARE) == [0]


def test_keys_that_are_refused_on_the_way_end_the_run(clouds: Clouds, queue: Queue) -> None:
    """Temporary ones expire; the event stays, and no other is tried with them."""
    for vault in (VMWARE, FILE):
        queue.send({"vault_id": vault})
    clouds.simulator.add_faults("401", VMWARE)
    with pytest.raises(ApiError, match=r"APIGW\.0301"):
        run(clouds, queue)
    assert queue.counts == (2, 0)
    assert clouds.count_syncs(VMWARE, FILE) == [0, 0]


def test_keys_that_may_not_even_list_end_the_run_too(clouds: Clouds, queue: Queue) -> None:
    """An event may ask for vaults that are yet to be found."""
    queue.send({"requestContext": {}, "requestPayload": {"vaults": {}}})
    queue.send({"vault_id": FILE})
    clouds.refuse = "cloud_type=hybrid"
    with pytest.raises(ApiError, match=r"APIGW\.0301"):
        run(clouds, queue)
    assert queue.counts == (2, 0)


def test_an_event_whose_permission_is_missing_stays(clouds: Clouds, queue: Queue) -> None:
    """Others may be allowed."""
    for vault in (VMWARE, FILE):
        queue.send({"vault_id": vault})
    clouds.simulator.add_faults("403", VMWARE)
    assert [is_served(result) for _, result in run(clouds, queue)] == [False, True]
    assert queue.counts == (1, 0)


def test_the_outcomes_of_a_batch_are_returned(
    clouds: Clouds, queue: Queue, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its reply names none."""
    queue.send({"vault_ids": [VMWARE, FILE]})
    [(_, result)] = run(clouds, queue)
    assert [(outcome.vault_id, outcome.status) for outcome in result.outcomes] == [
        (VMWARE, "accepted"),
        (FILE, "accepted"),
    ]
    assert capsys.readouterr().out == ""


def test_wrong_keys_are_refused_once(clouds: Clouds, queue: Queue) -> None:
    """However many events there are."""
    for _ in range(9):
        queue.send({"vault_id": VMWARE})
    with pytest.raises(ApiError, match=r"APIGW\.0301"):
        run(clouds, queue, HUAWEICLOUD_SDK_SK="wrong")
    assert clouds.simulator.refused_signatures == 1


def test_wrong_settings_are_reported_before_an_event_is_taken(clouds: Clouds, queue: Queue) -> None:
    """All of them, by name."""
    with pytest.raises(SettingsError, match="CBR_SYNC_MAX_ATTEMPTS"):
        run(clouds, queue, CBR_SYNC_MAX_ATTEMPTS="many")
    with pytest.raises(SettingsError, match="HUAWEICLOUD_SDK_AK"):
        run(clouds, queue, HUAWEICLOUD_SDK_AK="", CBR_SYNC_SECRET_ID="keys")


@pytest.mark.parametrize(
    ("url", "change", "words"),
    [
        ("http://example.com/q", {}, "the queue: found 'http://example.com/q', expected the URL of a queue"),
        (
            "https://example.com/q",
            {"AWS_ACCESS_KEY_ID": ""},
            "AWS_ACCESS_KEY_ID: not set; the queue needs it",
        ),
        ("https://example.com/q", {"AWS_REGION": ""}, "AWS_REGION: not set"),
        (
            "https://sqs.eu-west-1.amazonaws.com/1/outcomes",
            {"CBR_SYNC_SQS_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/1/outcomes"},
            "whose messages are outcomes",
        ),
    ],
)
def test_a_queue_that_cannot_be_meant_is_refused(
    clouds: Clouds, url: str, change: dict[str, str], words: str
) -> None:
    """Its URL, its keys, its region; and that of the outcomes would fill while it is emptied."""
    with pytest.raises(SettingsError, match=words):
        clouds.open_queue(url, change)


def test_a_queue_that_is_not_there_is_reported_by_its_code(clouds: Clouds) -> None:
    """As AWS calls it."""
    with pytest.raises(ApiError, match="QueueDoesNotExist"):
        run(clouds, Queue(clouds.create_queue("there").client, f"{clouds.moto}/123456789012/nowhere"))


# what moto cannot do: messages that come back, and a queue that fails


@dataclass
class Sqs(httpx.BaseTransport):
    """A queue that gives these answers to each action, in order, and keeps what was asked."""

    answers: dict[str, list[httpx.Response]]
    asked: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        action = request.headers["X-Amz-Target"].partition(".")[2]
        self.asked.append(action)
        self.bodies.append(json.loads(request.content))
        waiting = self.answers.get(action)
        return waiting.pop(0) if waiting else httpx.Response(200, json={})


def messages(*receipts: str, vault: str = VMWARE) -> httpx.Response:
    """An answer with this message, once for each receipt; its id is the receipt's first character."""
    bodies = [
        {"MessageId": receipt[0], "ReceiptHandle": receipt, "Body": json.dumps({"vault_id": vault})}
        for receipt in receipts
    ]
    return httpx.Response(200, json={"Messages": bodies})


def run_with(clouds: Clouds, sqs: Sqs) -> list[str]:
    """Replay what this queue gives, and return the names of the events."""
    clouds.sqs = sqs
    queue = clouds.open_queue(f"{clouds.moto}/1/q")
    return [event.name for event, _ in clouds.make_player().replay_queue(queue)]


def test_an_event_that_comes_back_is_replayed_once(clouds: Clouds) -> None:
    """One that is held is let go by its newest receipt, one that was deleted is deleted again."""
    clouds.simulator.add_faults("503*9", VMWARE)
    sqs = Sqs({"ReceiveMessage": [messages("a1"), messages("b1", vault=FILE), messages("a2", "b2")]})
    assert run_with(clouds, sqs) == ["a", "b"]
    deleted = [body["ReceiptHandle"] for body in sqs.bodies if set(body) == {"QueueUrl", "ReceiptHandle"}]
    assert deleted == ["b1", "b2"]
    assert sqs.bodies[-1]["Entries"] == [{"Id": "0", "ReceiptHandle": "a2", "VisibilityTimeout": 0}]


def test_passing_trouble_of_the_queue_is_waited_out(clouds: Clouds) -> None:
    """Throttling comes as HTTP 400."""
    throttled = httpx.Response(400, json={"__type": "com.amazonaws.sqs#RequestThrottled"})
    sqs = Sqs({"ReceiveMessage": [throttled, messages("a1")], "DeleteMessage": [httpx.Response(503)]})
    assert run_with(clouds, sqs) == ["a"]
    assert sqs.asked == [
        *("ReceiveMessage", "ReceiveMessage", "DeleteMessage", "DeleteMessage", "ReceiveMessage")
    ]


def test_an_event_that_cannot_be_deleted_ends_the_run(clouds: Clouds) -> None:
    """It is let go, and adopted the next time; what cannot be let go comes back by itself."""
    no = httpx.Response(403, json={"__type": "com.amazonaws.sqs#AccessDenied", "message": "no"})
    sqs = Sqs(
        {"ReceiveMessage": [messages("a1")], "DeleteMessage": [no], "ChangeMessageVisibilityBatch": [no]}
    )
    with pytest.raises(ApiError, match="AccessDenied"):
        run_with(clouds, sqs)
    assert sqs.asked == ["ReceiveMessage", "DeleteMessage", "ChangeMessageVisibilityBatch"]


@pytest.mark.parametrize("answer", ["<html>", "[]", '{"Messages": [{}]}'])
def test_an_answer_that_is_none_is_reported(clouds: Clouds, answer: str) -> None:
    """And no traceback of a parser."""
    with pytest.raises(ApiError, match="not that of ReceiveMessage"):
        run_with(clouds, Sqs({"ReceiveMessage": [httpx.Response(200, text=answer)]}))


def test_a_queue_is_asked_for_everything_and_held_long_enough(clouds: Clouds) -> None:
    """Ten runs of a minute one after the other, and more."""
    sqs = Sqs({})
    run_with(clouds, sqs)
    assert sqs.bodies == [
        {
            "QueueUrl": f"{clouds.moto}/1/q",
            "MaxNumberOfMessages": 10,
            "VisibilityTimeout": 1800,
            "WaitTimeSeconds": 0,
            "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        }
    ]


# files


def record(payload: object) -> dict[str, object]:
    """What a destination of FunctionGraph gets."""
    return {
        "timestamp": "2026-11-23T03:00:10.000Z+08:00",
        "request_context": {"request_id": "one", "condition": "", "approximate_invoke_count": 3},
        "request_payload": payload,
        "response_context": {"status_code": 500, "function_error": "no"},
        "response_payload": "",
    }


def message(body: object, **attributes: str) -> dict[str, object]:
    """A message as ``aws sqs receive-message`` shows it."""
    return {
        "MessageId": "one",
        "ReceiptHandle": "receipt",
        "Body": json.dumps(body),
        "Attributes": {"SentTimestamp": "1793588400000"},
        "MessageAttributes": {
            key: {"StringValue": value, "DataType": "String"} for key, value in attributes.items()
        },
    }


ONE, OTHER = {"vault_id": VMWARE}, {"vault_id": FILE}
LAMBDA = {"version": "1.0", "requestContext": {"condition": "RetriesExhausted"}, "requestPayload": ONE}
TIMER = {"trigger_type": "TIMER", "trigger_name": "night", "user_event": json.dumps(ONE)}
CLOUD_EVENT = {"specversion": "1.0", "id": "one", "type": "sync", "source": "me", "data": ONE}


@pytest.mark.parametrize(
    ("text", "names", "vaults"),
    [
        (json.dumps(ONE, indent=2), ["f.json"], [VMWARE]),
        (json.dumps([ONE, OTHER]), ["f.json, event 1", "f.json, event 2"], [VMWARE, FILE]),
        (f"{json.dumps(ONE)}\n\n{json.dumps(OTHER)}\n", ["f.json, line 1", "f.json, line 3"], [VMWARE, FILE]),
        (json.dumps(LAMBDA), ["f.json"], [VMWARE]),
        (json.dumps([LAMBDA, OTHER]), ["f.json, event 1", "f.json, event 2"], [VMWARE, FILE]),
        (json.dumps(record(TIMER)), ["f.json"], [VMWARE]),
        (json.dumps(record(json.dumps(TIMER))), ["f.json"], [VMWARE]),
        (json.dumps([CLOUD_EVENT, {**CLOUD_EVENT, "data": OTHER}]), ["f.json"], [VMWARE, FILE]),
        (json.dumps({"Messages": [message(LAMBDA)]}), ["one"], [VMWARE]),
        (json.dumps(message({"trigger": "schedule"}, SCHEDULE_ARN=SCHEDULE)), ["one"], [VMWARE]),
    ],
    ids=[
        *("one", "list", "lines", "destination", "destinations", "functiongraph", "functiongraph's text"),
        *("eventgrid", "messages", "message"),
    ],
)
def test_a_file_may_hold_what_dead_letters_are_kept_in(
    clouds: Clouds, text: str, names: list[str], vaults: list[str]
) -> None:
    """Each is handled by the same handler."""
    replayed = replay_file(clouds, text)
    assert [event.name for event, _ in replayed] == names
    assert all(is_served(result) for _, result in replayed)
    assert [outcome.vault_id for _, result in replayed for outcome in result.outcomes] == vaults


def test_messages_in_a_file_are_those_of_a_work_queue(clouds: Clouds) -> None:
    """Where they came from stands among their attributes, if anywhere."""
    source = "arn:aws:sqs:eu-west-1:123456789012:work"
    kept = message(ONE)
    kept["Attributes"] = {"DeadLetterQueueSourceArn": source}
    [event, bare] = read_dead_letters("f.json", json.dumps({"Messages": [kept, message(ONE)]}))
    assert isinstance(event.event, dict)
    assert isinstance(bare.event, dict)
    assert event.event["Records"][0]["eventSourceARN"] == source
    assert event.event["Records"][0]["awsRegion"] == REGION
    assert (bare.event["Records"][0]["eventSourceARN"], bare.event["Records"][0]["awsRegion"]) == ("", "")
    assert is_served(replay_file(clouds, json.dumps(message(ONE)))[0][1])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "f.json holds no event"),
        ("[]", "f.json holds no event"),
        ('{"Messages": []}', "f.json holds no event"),
        ('{\n"vault_id": \n', "f.json is not JSON: Expecting value: line 3 column 1"),
        (
            f'{json.dumps(ONE)}\n{{"vault_id": "8d',
            "f.json, line 2, is not JSON, as the lines before it are: Unterminated string",
        ),
        ("[" * 100_000, "f.json is not JSON: "),
    ],
    ids=["nothing", "an empty list", "no messages", "broken", "cut off", "too deep"],
)
def test_a_file_that_cannot_be_read_is_reported_by_its_line(text: str, words: str) -> None:
    """Before anything of it is replayed."""
    with pytest.raises(EventError, match=words):
        read_dead_letters("f.json", text)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (record(""), "its request_payload is empty"),
        (record('{"trigger_type": "TIM'), "found 21 characters that are not JSON"),
        (message(ONE) | {"Attributes": 7}, "not as `aws sqs receive-message` shows it"),
        (message(ONE, SCHEDULE_ARN=SCHEDULE, IS_PAYLOAD_TRUNCATED="true"), "IS_PAYLOAD_TRUNCATED"),
    ],
    ids=["over 256 KB", "cut off", "no message", "truncated"],
)
def test_an_event_that_cannot_be_read_stops_no_other(clouds: Clouds, content: object, words: str) -> None:
    """Its error comes when its turn does."""
    [(_, unreadable), (_, other)] = replay_file(clouds, json.dumps([content, OTHER]))
    assert words in str(unreadable.error)
    assert not is_served(unreadable)
    assert is_served(other)


@pytest.mark.parametrize("path", sorted(EVENTS.iterdir()), ids=lambda path: path.stem)
def test_an_events_platform_is_known_by_its_form(path: Path) -> None:
    """Or by the file's name, where the shape is that of both."""
    text = path.read_text(encoding="utf-8")
    [named], [unnamed] = read_dead_letters(path.name, text), read_dead_letters("f.json", text)
    ours = Platform(path.name.partition("-")[0])
    assert named.platform is ours
    both = path.stem.partition("-")[2].startswith(("direct", "webhook"))
    assert unnamed.platform is (Platform.AWS if both else ours)


@pytest.mark.parametrize("platform", list(Platform))
def test_the_platform_may_be_said(clouds: Clouds, platform: Platform) -> None:
    """It goes before what the form says."""
    events = read_dead_letters("f.json", json.dumps(TIMER))
    [(_, result)] = clouds.make_player(platform=platform).replay(events)
    assert is_served(result)


# webhooks


def build_webhook_record(sent: datetime, secret: bytes = SECRET) -> dict[str, Any]:
    """A webhook that was given up, in a record of FunctionGraph."""
    body = json.dumps(ONE)
    headers: Mapping[str, str] = build_signature_headers(body.encode(), secret, now=sent.timestamp())
    event = {
        "httpMethod": "POST",
        "requestContext": {"requestId": "one"},
        "headers": {"content-type": "application/json", **headers},
        "body": body,
        "isBase64Encoded": False,
    }
    return record(event)


def test_an_old_webhook_is_served_by_its_own_signature_and_time(clouds: Clouds) -> None:
    """What an earlier delivery started since is adopted; a fresh signature would have a time of its own."""
    sent = clouds.clock.now() - timedelta(hours=3)
    clouds.record_sync(VMWARE, timedelta(hours=2))
    [(_, result)] = replay_file(clouds, json.dumps(build_webhook_record(sent)))
    assert result.answer == "HTTP 200"
    assert [outcome.adopted for outcome in result.outcomes] == [True]
    assert clouds.count_syncs(VMWARE) == [1]


def test_a_webhook_that_was_never_signed_right_is_not_served(clouds: Clouds) -> None:
    """Strangers' requests may lie among the dead letters of a gateway that hands over asynchronously."""
    event = build_webhook_record(clouds.clock.now() - timedelta(hours=3), b"the secret of somebody else.....")
    [(_, result)] = replay_file(clouds, json.dumps(event))
    assert result.answer == "HTTP 401"
    assert not is_served(result)
    assert clouds.count_syncs(VMWARE) == [0]


def test_a_webhook_is_not_served_where_none_is(clouds: Clouds) -> None:
    """Without a secret nobody can know whose it is."""
    events = read_dead_letters("f.json", json.dumps(build_webhook_record(clouds.clock.now())))
    [(_, result)] = clouds.make_player({"CBR_SYNC_WEBHOOK_SECRET": ""}).replay(events)
    assert result.answer == "HTTP 401"


# what counts as served


def build_failure(code: str, http_status: int | None = None) -> SyncOutcome:
    """Build the outcome of a sync that failed with this error."""
    error = OutcomeError(code=code, message="", http_status=http_status)
    return build_outcome(status=Status.FAILED, operation_log_id=None, error=error)


UNFINISHED = build_outcome(status=Status.UNFINISHED)


@pytest.mark.parametrize(
    ("reply", "error", "outcomes", "expected"),
    [
        ({"outcomes": [], "counts": {}}, None, [build_outcome()], True),
        ({"outcomes": [], "counts": {}}, None, [build_failure("BackupService.7300", 400)], True),
        ({"outcomes": [], "counts": {}}, None, [build_failure("APIGW.0301", 401)], False),
        ({"outcomes": [], "counts": {}}, None, [build_failure("BackupService.9998", 500)], False),
        ({"outcomes": [], "counts": {}}, None, [build_failure("APIGW.0302", 403)], False),
        ({"outcomes": [], "counts": {}}, None, [build_failure("BackupService.6105", 404)], False),
        ({"outcomes": [], "counts": {}}, None, [build_outcome(), UNFINISHED], False),
        ({"outcomes": [], "counts": {}}, None, [], True),
        ({"statusCode": 200, "body": "{}"}, None, [build_outcome()], True),
        ({"statusCode": 207, "body": "{}"}, None, [build_outcome(), UNFINISHED], False),
        ({"statusCode": 401, "body": "{}"}, None, [], False),
        ({"statusCode": 503, "body": "{}"}, None, [], False),
        ({"batchItemFailures": []}, None, [build_outcome()], True),
        ({"batchItemFailures": [{"itemIdentifier": "one"}]}, None, [], False),
        (None, EventError("no"), [], False),
        (None, SyncUnfinished("no"), [], False),
    ],
)
def test_only_what_leaves_nothing_to_do_counts_as_served(
    reply: dict[str, Any] | None,
    error: EventError | SyncUnfinished | None,
    outcomes: list[SyncOutcome],
    expected: bool,
) -> None:
    """A final no of the API is an answer too: it was emitted, and no other delivery would get another."""
    assert is_served(InvokeResult(Kind.DIRECT, reply, error, build_result(*outcomes))) is expected


def test_the_command_empties_a_queue_and_shows_each_event(
    clouds: Clouds, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over sockets, as it is typed; what was left makes the exit code, and a second run finds it again."""
    queue.send({"vault_id": VMWARE})
    queue.send("poison")
    with SimulatorServer(clouds.simulator) as server:
        for name, value in {**clouds.environ, **simulator_environ(server.url, VMWARE)}.items():
            monkeypatch.setenv(name, value)
        first = CliRunner().invoke(app, ["replay", queue.url])
        second = CliRunner().invoke(app, ["replay", queue.url, "--json"])
    assert f": queue: served\n{VMWARE}  accepted" in first.stdout
    assert ": queue: not served: 1 handed back" in first.stdout
    assert (first.exit_code, first.stdout.endswith("1 of 2 events served\n")) == (1, True)
    assert [event["served"] for event in json.loads(second.stdout)] == [False]
    assert queue.counts == (1, 0)


def test_an_empty_queue_is_reported(clouds: Clouds, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing to do is no failure."""
    with SimulatorServer(clouds.simulator) as server:
        for name, value in {**clouds.environ, **simulator_environ(server.url, VMWARE)}.items():
            monkeypatch.setenv(name, value)
        result = CliRunner().invoke(app, ["replay", queue.url])
    assert (result.exit_code, result.stdout) == (0, "There are no dead-lettered events.\n")
