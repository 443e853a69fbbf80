"""Handing on to a queue as moto's server plays it, which holds what it gets against the protocol of SQS."""

from __future__ import annotations

import json
from importlib import import_module

import pytest
from moto.server import ThreadedMotoServer

from cbr_sync.aws.sqs import build_sqs_client
from cbr_sync.clock import Clock
from cbr_sync.defer import LeftMessage, QueueDestination
from cbr_sync.retry import Retrier
from support.later import WORK, Functions, build_batch
from support.sockets import make_transport
from support.world import VMWARE, World

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.*utcnow.*:DeprecationWarning"),
]


def test_a_real_queue_takes_the_messages() -> None:
    """One at once, one later; no trace goes with them, by which Lambda would take them for a loop."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environ = {
        "AWS_ACCESS_KEY_ID": "made-up",
        "AWS_SECRET_ACCESS_KEY": "made-up",
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL_SQS": f"http://{host}:{port}",
    }
    keys = {"aws_access_key_id": "made-up", "aws_secret_access_key": "made-up"}
    boto3 = import_module("boto3")
    sqs = boto3.client("sqs", endpoint_url=f"http://{host}:{port}", region_name="eu-west-1", **keys)
    queue_url = sqs.create_queue(QueueName="work")["QueueUrl"]
    client = build_sqs_client(make_transport(), queue_url, environ, Clock().now)
    retrier = Retrier(Clock(), max_attempts=2)
    queue = QueueDestination(client, queue_url, retrier=retrier, request_timeout_seconds=5)
    for delay in (0, 900):
        queue.send(LeftMessage({"sync": []}, delay), retrier.clock.monotonic() + 10)
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed"]
    counts = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)["Attributes"]
    (message,) = sqs.receive_message(
        QueueUrl=queue_url, MessageSystemAttributeNames=["All"], MessageAttributeNames=["All"]
    )["Messages"]
    server.stop()
    assert [counts[name] for name in names] == ["1", "1"]
    assert json.loads(message["Body"]) == {"sync": []}
    assert "AWSTraceHeader" not in message["Attributes"]
    assert "MessageAttributes" not in message


def test_a_message_that_comes_twice_starts_one_sync_without_a_time_too(world: World) -> None:
    """What began since the trigger's first run serves it."""
    world.on_lambda({"vault_id": VMWARE})
    world.sleep(10)
    functions = Functions(world, CBR_SYNC_DEFER_TO=WORK)
    functions.on_lambda({"vault_id": VMWARE})
    (message,) = functions.queue
    world.sleep(600)
    functions.deliver_batch()
    again = functions.on_lambda(build_batch(world, [message]))
    assert again == {"batchItemFailures": []}
    assert len(world.started) == 2
    assert [event["data"]["adopted"] for event in functions.events] == [False, False, True]
