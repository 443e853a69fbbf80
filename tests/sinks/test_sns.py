"""SNS as a sink for people: moto's server takes the messages and verifies signatures; the rest is made up."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from cbr_sync.aws.sns import build_sns_client
from cbr_sync.clock import Clock
from cbr_sync.errors import SettingsError, SinkError
from cbr_sync.retry import Retrier
from cbr_sync.settings import find_topic_endpoint
from cbr_sync.sinks.people import PeopleMessage
from cbr_sync.sinks.sns import MAX_SUBJECT_LENGTH, SnsSink
from support.moto_server import AWS_ENVIRON, KEYS, Moto
from support.sockets import make_transport
from support.world import BUSY, FILE, VMWARE, World

TOPIC = "arn:aws:sns:eu-west-1:123456789012:people"
MESSAGE = PeopleMessage(
    "FAILED: 文件", "cbr-sync: a mail & more\n", "cbr-sync: sms", "**x**", {"type": "t", "id": "文"}
)
SENT = "<PublishResponse><PublishResult><MessageId>m</MessageId></PublishResult></PublishResponse>"

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.*utcnow.*:DeprecationWarning"),
]


def publish(
    transport: httpx.BaseTransport, environ: dict[str, str], topic: str, message: PeopleMessage
) -> None:
    """Publish as the App does."""
    clock = Clock()
    client = build_sns_client(transport, topic, {**AWS_ENVIRON, **environ}, clock.now)
    sink = SnsSink(client, topic, retrier=Retrier(clock, 2), request_timeout_seconds=5)
    sink.publish(message, clock.monotonic() + 20)


@pytest.fixture
def topic(moto: Moto) -> str:
    """The ARN of a topic on moto."""
    arn: str = moto.client("sns").create_topic(Name="people")["TopicArn"]
    return arn


def test_each_protocol_gets_its_text(moto: Moto, topic: str) -> None:
    """Moto delivers to a queue, which has no text of its own, and keeps what was published."""
    queue = moto.queue("machines")
    moto.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=moto.find_arn(queue))
    publish(make_transport(), {"AWS_ENDPOINT_URL_SNS": moto.url}, topic, MESSAGE)
    (received,) = moto.messages(queue)
    notification = json.loads(received["Body"])
    assert notification["Subject"] == MESSAGE.subject
    assert json.loads(notification["Message"]) == MESSAGE.event


def test_the_request_is_the_one_that_boto3_would_send(moto: Moto, topic: str) -> None:
    """Byte for byte, but for the order of the parameters."""
    requests: list[httpx.Request] = []

    def record(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, text=SENT)

    publish(httpx.MockTransport(record), {}, topic, MESSAGE)
    sent: list[Any] = []
    boto3 = moto.client("sns")
    boto3.meta.events.register("before-send.sns.Publish", lambda request, **_: sent.append(request))
    structure = {
        "default": json.dumps(MESSAGE.event, ensure_ascii=False),
        "email": MESSAGE.mail,
        "sms": MESSAGE.sms,
    }
    boto3.publish(
        TopicArn=topic,
        Subject=MESSAGE.subject,
        MessageStructure="json",
        Message=json.dumps(structure, ensure_ascii=False),
    )
    assert sorted(requests[0].content.split(b"&")) == sorted(sent[0].body.encode().split(b"&"))
    assert requests[0].headers["content-type"] == sent[0].headers["Content-Type"].decode()


def test_a_topic_that_is_not_there_is_reported_by_its_code(moto: Moto) -> None:
    """With the words of the service, out of its XML."""
    with pytest.raises(SinkError, match=r"^1 message not accepted: NotFound: \w+ does not exist"):
        publish(make_transport(), {"AWS_ENDPOINT_URL": moto.url}, TOPIC + "-nowhere", MESSAGE)


def test_aws_accepts_our_signature_and_no_other(moto: Moto, topic: str) -> None:
    """Moto verifies it."""
    iam = moto.client("iam")
    policy = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sns:*", "Resource": "*"}}
    iam.create_user(UserName="publisher")
    iam.put_user_policy(UserName="publisher", PolicyName="publish", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="publisher")["AccessKey"]
    environ = {
        "AWS_ENDPOINT_URL_SNS": moto.url,
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
    }
    httpx.post(f"{moto.url}/moto-api/reset-auth", content=b"0", trust_env=False)
    try:
        publish(make_transport(), environ, topic, MESSAGE)
        with pytest.raises(SinkError, match="SignatureDoesNotMatch"):
            publish(make_transport(), {**environ, "AWS_SECRET_ACCESS_KEY": "wrong"}, topic, MESSAGE)
    finally:
        httpx.post(f"{moto.url}/moto-api/reset-auth", content=b"inf", trust_env=False)


@pytest.mark.parametrize(
    ("answers", "attempts", "words"),
    [
        ([(500, "")], 2, None),
        ([(400, "<Error><Code>Throttled</Code><Message>slow &amp; steady</Message></Error>")], 2, None),
        ([(503, "")] * 9, 5, "503"),
        (
            [(403, "<Error><Code>AuthorizationError</Code><Message>no</Message></Error>")],
            1,
            "AuthorizationError: no",
        ),
        ([(400, "<ErrorResponse>" + "x" * 400_000)], 1, "400: <ErrorResponse>"),
    ],
)
def test_what_passes_is_tried_again(
    world: World, answers: list[tuple[int, str]], attempts: int, words: str | None
) -> None:
    """And the rest is reported, short and on one line."""
    left, seen = list(answers), []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host.startswith("cbr."):
            return world.transport().handle_request(request)
        seen.append(request)
        status, text = left.pop(0) if left else (200, SENT)
        return httpx.Response(status, text=text)

    environ = {**world.environ, **AWS_ENVIRON, "CBR_SYNC_SNS_TOPIC_ARN": TOPIC, "CBR_SYNC_NOTIFY": "all"}
    if words is None:
        world.on_lambda({"vault_id": VMWARE}, environ, transport=httpx.MockTransport(answer))
    else:
        with pytest.raises(SinkError, match=words) as error:
            world.on_lambda({"vault_id": VMWARE}, environ, transport=httpx.MockTransport(answer))
        assert KEYS.secret_key not in str(error.value)
        assert len(str(error.value)) < 1000
    assert len(seen) == attempts
    assert seen[0].url == "https://sns.eu-west-1.amazonaws.com/"


def test_a_subject_has_fewer_than_a_hundred_characters(moto: Moto, topic: str) -> None:
    """Moto refuses a longer one."""
    message = MESSAGE._replace(subject="長" * 200)
    publish(make_transport(), {"AWS_ENDPOINT_URL": moto.url}, topic, message)
    assert MAX_SUBJECT_LENGTH < 100


def test_without_keys_nothing_is_done(world: World) -> None:
    """The settings name what is missing and who needs it."""
    environ = {**world.environ, "CBR_SYNC_SNS_TOPIC_ARN": TOPIC}
    with pytest.raises(SettingsError, match="AWS_ACCESS_KEY_ID: not set; CBR_SYNC_SNS_TOPIC_ARN needs it"):
        world.on_lambda({"vault_ids": [VMWARE, BUSY, FILE]}, environ)
    assert world.started == []


@pytest.mark.parametrize(
    ("arn", "environ", "endpoint"),
    [
        (TOPIC, {}, "https://sns.eu-west-1.amazonaws.com"),
        ("arn:aws-cn:sns:cn-north-1:123456789012:people", {}, "https://sns.cn-north-1.amazonaws.com.cn"),
        (TOPIC, {"AWS_ENDPOINT_URL": "http://localhost:4566/"}, "http://localhost:4566"),
        (TOPIC, {"AWS_ENDPOINT_URL": "https://a", "AWS_ENDPOINT_URL_SNS": "https://b"}, "https://b"),
        (TOPIC, {"AWS_ENDPOINT_URL_SQS": "https://a"}, "https://sns.eu-west-1.amazonaws.com"),
    ],
)
def test_the_endpoint_is_that_of_the_topics_region_or_the_one_that_is_set(
    arn: str, environ: dict[str, str], endpoint: str
) -> None:
    """The service's own variable goes before that of all services."""
    assert find_topic_endpoint(arn, environ) == endpoint
