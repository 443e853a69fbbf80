"""SQS as a sink: moto's server takes the messages and verifies our signature; the rest is made up."""

from __future__ import annotations

import itertools
import json
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from botocore.retries import standard

from cbr_sync.aws.sqs import SqsClient
from cbr_sync.clock import Clock
from cbr_sync.credentials import Credentials
from cbr_sync.errors import SinkError
from cbr_sync.models import Kind, Status, SyncOutcome, Trigger
from cbr_sync.retry import Retrier
from cbr_sync.sinks.messages import CloudEvent, build_outcome_event, build_rejected_event
from cbr_sync.sinks.sqs import SqsSink
from support.moto_server import KEYS, REGION, Moto
from support.sockets import make_transport
from support.world import World

RETRIED_BY_BOTOCORE = sorted(
    {
        *standard.ThrottledRetryableChecker._THROTTLED_ERROR_CODES,  # noqa: SLF001 - said nowhere else
        *standard.TransientRetryableChecker._TRANSIENT_ERROR_CODES,  # noqa: SLF001
    }
)
SOURCE = "/cbr/cn-north-4/project"
TRIGGER = Trigger(kind=Kind.DIRECT, id="request-1")
START = datetime(2026, 11, 23, 3, tzinfo=UTC)

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.*utcnow.*:DeprecationWarning"),
]


def events_of(count: int) -> list[CloudEvent]:
    """Outcomes of so many vaults, as they are emitted."""
    return [
        build_outcome_event(
            SyncOutcome(
                vault_id=f"{number:08x}-0000-4000-8000-000000000000",
                auto_trigger=True,
                status=Status.ACCEPTED,
                attempts=1,
                started_at=START,
                duration_seconds=0,
                trigger=TRIGGER,
            ),
            SOURCE,
        )
        for number in range(count)
    ]


def make_sink(
    client: httpx.BaseTransport,
    queue_url: str,
    endpoint: str,
    credentials: Credentials = KEYS,
    retrier: Retrier | None = None,
) -> SqsSink:
    """A sink as the App makes it."""
    sqs = SqsClient(client, endpoint=endpoint, region=REGION, credentials=credentials, now=Clock().now)
    return SqsSink(sqs, queue_url, retrier=retrier or Retrier(Clock()), request_timeout_seconds=5)


def soon() -> float:
    """A deadline that is far enough."""
    return Clock().monotonic() + 20


def make_moto_sink(moto: Moto, queue_url: str, credentials: Credentials = KEYS) -> SqsSink:
    """Our sink for a queue of moto's."""
    return make_sink(make_transport(), queue_url, moto.url, credentials, Retrier(Clock(), max_attempts=2))


def test_more_than_ten_outcomes_arrive_with_their_attributes(moto: Moto) -> None:
    """In batches of ten, each a CloudEvent with its type and vault to filter by."""
    queue = moto.queue("standard")
    events = events_of(25)
    make_moto_sink(moto, queue).emit(events, soon())
    messages = moto.messages(queue)
    assert sorted(json.loads(message["Body"])["id"] for message in messages) == sorted(
        event["id"] for event in events
    )
    attributes = {key: value["StringValue"] for key, value in messages[0]["MessageAttributes"].items()}
    body = json.loads(messages[0]["Body"])
    assert attributes == {"type": body["type"], "vault_id": body["subject"]}


def test_a_fifo_queue_keeps_a_vaults_order_and_takes_an_outcome_once(moto: Moto) -> None:
    """Its group is the vault, its deduplication id the event's."""
    queue = moto.queue("outcomes.fifo", FifoQueue="true")
    events = [*events_of(12), build_rejected_event(TRIGGER, "no JSON", SOURCE, START)]
    for _ in range(2):
        make_moto_sink(moto, queue).emit(events, soon())
    messages = moto.messages(queue)
    assert len(messages) == 13
    groups = {message["Attributes"]["MessageGroupId"] for message in messages}
    assert groups == {event.get("subject", "cbr-sync.trigger.rejected.v1") for event in events}
    assert {message["Attributes"]["MessageDeduplicationId"] for message in messages} == {
        event["id"] for event in events
    }


def test_a_queue_that_is_not_there_is_told_by_its_code(moto: Moto) -> None:
    """As AWS calls it."""
    with pytest.raises(SinkError, match=r"1 message not accepted: QueueDoesNotExist"):
        make_moto_sink(moto, f"{moto.url}/123456789012/nowhere").emit(events_of(1), soon())


def test_aws_accepts_our_signature_and_no_other(moto: Moto) -> None:
    """Moto verifies it: of a user's keys, of a role's temporary ones with their token, and of wrong ones."""
    queue = moto.queue("guarded")
    iam, sts = moto.client("iam"), moto.client("sts")
    policy = json.dumps(
        {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}}
    )
    iam.create_user(UserName="sender")
    iam.put_user_policy(UserName="sender", PolicyName="send", PolicyDocument=policy)
    key = iam.create_access_key(UserName="sender")["AccessKey"]
    user = Credentials(key["AccessKeyId"], key["SecretAccessKey"])
    iam.create_role(RoleName="sender", AssumeRolePolicyDocument=policy)
    iam.put_role_policy(RoleName="sender", PolicyName="send", PolicyDocument=policy)
    arn = "arn:aws:iam::123456789012:role/sender"
    taken = sts.assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
    role = Credentials(taken["AccessKeyId"], taken["SecretAccessKey"], taken["SessionToken"])
    httpx.post(f"{moto.url}/moto-api/reset-auth", content=b"0", trust_env=False)
    try:
        for good in (user, role):
            make_moto_sink(moto, queue, good).emit(events_of(1), soon())
        for wrong in (
            Credentials(user.access_key, "wrong"),
            Credentials(role.access_key, role.secret_key, "wrong"),
            Credentials(role.access_key, role.secret_key),
        ):
            with pytest.raises(
                SinkError, match=r"1 message not accepted: (SignatureDoesNotMatch|InvalidClientTokenId)"
            ) as error:
                make_moto_sink(moto, queue, wrong).emit(events_of(1), soon())
            assert role.secret_key not in str(error.value)
    finally:
        httpx.post(f"{moto.url}/moto-api/reset-auth", content=b"inf", trust_env=False)
    assert len(moto.messages(queue)) == 2


# what moto cannot do: partial failures, throttling, broken connections

Answering = Callable[[list[dict[str, Any]]], httpx.Response]


class Queue:
    """A queue that answers as it is set up, then accepts everything; keeps what was asked of it."""

    def __init__(self, *answers: Answering) -> None:
        self.sent: list[list[str]] = []
        self._answers = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        entries = json.loads(request.content)["Entries"]
        self.sent.append([json.loads(entry["MessageBody"])["subject"][:8] for entry in entries])
        answer = self._answers.pop(0) if self._answers else lambda _entries: httpx.Response(200, json={})
        return answer(entries)


def failing(*places: int, sender_fault: bool = False) -> Answering:
    """The entries at these places are not taken."""
    return lambda entries: httpx.Response(
        200,
        json={
            "Failed": [
                {"Id": entries[place]["Id"], "Code": "InternalError", "SenderFault": sender_fault}
                for place in places
            ]
        },
    )


def error(status: int, **body: str) -> Answering:
    """None of them are taken."""
    return lambda _entries: httpx.Response(status, json=body)


def refuse(_entries: list[dict[str, Any]]) -> httpx.Response:
    """Nobody listens."""
    raise httpx.ConnectError("refused")


def emit(
    world: World,
    queue: Callable[[httpx.Request], httpx.Response],
    count: int = 3,
    seconds: float = 50,
    credentials: Credentials = KEYS,
) -> None:
    """Emit so many events to this queue, on the world's clock."""
    client = httpx.MockTransport(queue)
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/q"
    sqs = SqsClient(
        client,
        endpoint="https://sqs.eu-west-1.amazonaws.com",
        region=REGION,
        credentials=credentials,
        now=world.now,
    )
    SqsSink(sqs, url, retrier=world.retrier, request_timeout_seconds=5).emit(events_of(count), seconds)


def test_only_what_was_not_taken_is_sent_again(world: World) -> None:
    """Until the queue has all of them."""
    queue = Queue(failing(0, 2), failing(1))
    emit(world, queue)
    assert queue.sent == [["00000000", "00000001", "00000002"], ["00000000", "00000002"], ["00000002"]]


def test_what_is_wrong_with_a_message_is_told_and_not_tried_again(world: World) -> None:
    """The others are in the queue."""
    queue = Queue(failing(1, sender_fault=True))
    with pytest.raises(SinkError, match=r"^1 message not accepted: InternalError"):
        emit(world, queue)
    assert len(queue.sent) == 1


@pytest.mark.parametrize(
    "answer",
    [
        error(400, __type="com.amazonaws.sqs#RequestThrottled", message="slow down"),
        error(500, __type="com.amazonaws.sqs#InternalFailure"),
        error(503),
        refuse,
    ],
)
def test_passing_trouble_is_waited_out(world: World, answer: Answering) -> None:
    """Throttling comes as HTTP 400."""
    queue = Queue(answer, answer)
    emit(world, queue)
    assert len(queue.sent) == 3
    assert world.elapsed > 0


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (error(400, __type="com.amazonaws.sqs#QueueDoesNotExist", message="gone"), "QueueDoesNotExist: gone"),
        (error(403, __type="com.amazonaws.sqs#AccessDenied", Message="no"), "AccessDenied: no"),
        (lambda _entries: httpx.Response(400, text="<html>"), "400: <html>"),
        (lambda _entries: httpx.Response(200, text="<html>"), "the queue's answer is not that of"),
        (lambda _entries: httpx.Response(200, json=[]), "the queue's answer is not that of"),
        (lambda _entries: httpx.Response(200, json={"Failed": [{}]}), "the queue's answer is not that of"),
        (lambda _entries: httpx.Response(400, text="[" * 100_000), "400: \\[\\[\\["),
        (lambda _entries: httpx.Response(400, json=["no"]), '400: \\["no"\\]'),
        (
            lambda _entries: httpx.Response(400, headers={"x-amzn-errortype": "InvalidAddress:x"}, text="no"),
            "InvalidAddress: no",
        ),
        (error(403, message=f"the secret is {KEYS.secret_key}"), "the secret is \\*\\*\\*\\*"),
    ],
)
def test_a_final_no_is_told_in_the_queues_words(world: World, answer: Answering, words: str) -> None:
    """Once, and without our keys; the next batch is tried all the same."""
    queue = Queue(answer)
    with pytest.raises(SinkError, match=f"10 messages not accepted: .*{words}"):
        emit(world, queue, 12)
    assert [len(batch) for batch in queue.sent] == [10, 2]


def test_trouble_that_lasts_ends_before_the_deadline(world: World) -> None:
    """With what was not taken."""
    with pytest.raises(SinkError, match="3 messages not accepted: 503"):
        emit(world, Queue(*[error(503)] * 99), seconds=2)
    assert world.elapsed < 2


TOKEN_KEYS = Credentials("made-up-key", "made-up-secret", "made-up-token")


def echoing(entries: list[dict[str, Any]]) -> httpx.Response:
    """A queue that refuses one message and cannot take the others, with our token in all its words."""
    words = {"Code": TOKEN_KEYS.token, "Message": f"no\n{TOKEN_KEYS.token}"}
    failed = [{"Id": entry["Id"], "SenderFault": entry is entries[0], **words} for entry in entries]
    return httpx.Response(200, json={"Failed": failed})


@pytest.mark.parametrize(
    "answer",
    [
        error(403, __type=f"com.amazonaws.sqs#{TOKEN_KEYS.token}", message=f"no {TOKEN_KEYS.token}"),
        lambda _entries: httpx.Response(403, text=f"no {TOKEN_KEYS.token}"),
        echoing,
    ],
    ids=["as an error", "as text", "for each message"],
)
def test_no_word_of_the_queue_tells_our_token(world: World, answer: Answering) -> None:
    """Neither a code nor a message, and all on one line."""
    queue = Queue(*[answer] * 99)
    with pytest.raises(SinkError, match=r"\*\*\*\*") as no:
        emit(world, queue, credentials=TOKEN_KEYS)
    assert "made-up-token" not in "".join(traceback.format_exception(no.value))
    assert "\n" not in str(no.value)


@pytest.mark.parametrize("code", [*RETRIED_BY_BOTOCORE, "KmsThrottled"])
def test_what_botocore_tries_again_is_tried_again(world: World, code: str) -> None:
    """Its standard retry mode knows which codes pass; the throttled key of an encrypted queue does, too."""
    queue = Queue(error(400, __type=f"com.amazonaws.sqs#{code}"))
    emit(world, queue)
    assert len(queue.sent) == 2


def test_every_request_has_what_is_left_of_the_time(world: World) -> None:
    """Five seconds at most, and never beyond the deadline."""
    waits: list[float] = []

    def slow(request: httpx.Request) -> httpx.Response:
        waits.append(request.extensions["timeout"]["read"])
        world.sleep(4)
        return httpx.Response(200, json={"Failed": []})

    emit(world, slow, count=30, seconds=9.5)
    assert waits == [5, 5, 1.5]


def test_a_queue_that_refuses_thousands_makes_a_short_error(world: World) -> None:
    """The most frequent reasons with their numbers, each of them cut; the rest is counted."""
    numbers = itertools.count()

    def refuse_each(entries: list[dict[str, Any]]) -> httpx.Response:
        failed = [
            {
                "Id": entry["Id"],
                "SenderFault": True,
                "Code": "Wrong" if number % 2 else f"Code{number}",
                "Message": TOKEN_KEYS.secret_key + "x" * 10_000,
            }
            for entry, number in zip(entries, numbers, strict=False)
        ]
        return httpx.Response(200, json={"Failed": failed})

    with pytest.raises(SinkError) as error:
        emit(world, Queue(*[refuse_each] * 200), 2000, credentials=TOKEN_KEYS)
    words = str(error.value)
    assert words.startswith("1000 messages not accepted: Wrong: ****xxx")
    assert words.endswith("; 998 messages not accepted for other reasons")
    assert len(words) < 2000


def test_what_is_left_at_the_deadline_is_not_sent(world: World) -> None:
    """And the error counts it."""

    def slow(_request: httpx.Request) -> httpx.Response:
        world.sleep(4)
        return httpx.Response(200, json={})

    with pytest.raises(SinkError) as no:
        emit(world, slow, count=25, seconds=4)
    out_of_time = "CbrSync.OutOfTime: the invocation's time is used up"
    assert str(no.value) == f"15 messages not accepted: {out_of_time}"


def test_every_attempt_is_signed_afresh(world: World) -> None:
    """With the date of its own moment, and the token beside."""
    dates: list[str] = []

    def throttled(request: httpx.Request) -> httpx.Response:
        assert request.headers["X-Amz-Security-Token"] == "made-up-token"
        assert request.headers["X-Amz-Target"] == "AmazonSQS.SendMessageBatch"
        assert request.headers["Content-Type"] == "application/x-amz-json-1.0"
        dates.append(request.headers["X-Amz-Date"])
        return httpx.Response(503 if len(dates) < 4 else 200, json={})

    emit(world, throttled, credentials=TOKEN_KEYS)
    assert dates == ["20261123T030000Z", "20261123T030000Z", "20261123T030001Z", "20261123T030003Z"]
