"""Where triggers are handed on to, on the world's clock: a standard queue of SQS, and a second function."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import httpx

from cbr_sync.aws_lambda import LambdaAdapter
from cbr_sync.errors import CbrSyncError
from cbr_sync.functiongraph import FunctionGraphAdapter
from cbr_sync.local import LocalFunctionGraphContext
from cbr_sync.simulator.gateway import SignatureCheck
from cbr_sync.simulator.models import SIMULATOR_CREDENTIALS, IncomingRequest
from support.world import World

RESULTS = "https://sqs.eu-west-1.amazonaws.com/123456789012/outcomes"
WORK = "https://sqs.eu-west-1.amazonaws.com/123456789012/work"
WORK_ARN = "arn:aws:sqs:eu-west-1:123456789012:work"
LATER = "urn:fss:cn-north-4:f841e01fd2b14e7fa41b6ae7aa6b0594:function:default:cbr-sync-later"
LATER_HOST = "functiongraph.cn-north-4.myhuaweicloud.com"
VISIBILITY_SECONDS = 360.0
MAX_RECEIVES = 5


class Killed(BaseException):
    """The platform ends the process in the middle of a run."""


@dataclass
class WorldContext:
    """A context of either platform whose time is the world's."""

    world: World
    timeout_seconds: float = 60.0
    aws_request_id: str = "5f0b4f4e-1111-4222-8333-944455556666"
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.world.elapsed

    def get_remaining_time_in_millis(self) -> int:
        return int(1000 * (self.timeout_seconds - (self.world.elapsed - self.began)))


@dataclass
class Queued:
    """A message that waits."""

    id: str
    body: str
    sent_at: float
    visible_at: float
    receives: int = 0


class Functions:
    """The functions of one application with all that is around them.

    Attributes:
        queue: The messages of the work queue, or the invocations of the second function, that wait.
        dead: Those that were received too often.
        events: What the results queue got.
        requests: Every request that handed something on.
        faults: How the next requests that hand on are answered; 0 accepts.
        sink_faults: The same for the results queue.
        is_away: Whether CBR cannot be reached.
        kills: After how many requests each of the next runs is killed; 0 lets one end.
    """

    def __init__(self, world: World, **environ: str) -> None:
        self.world = world
        self.queue: list[Queued] = []
        self.dead: list[Queued] = []
        self.events: list[dict[str, Any]] = []
        self.requests: list[httpx.Request] = []
        self.faults: list[int] = []
        self.sink_faults: list[int] = []
        self.is_away = False
        self.kills: list[int] = []
        self._requests_left = 0
        keys = {"AWS_ACCESS_KEY_ID": "made-up", "AWS_SECRET_ACCESS_KEY": "made-up"}
        self.environ = {**world.environ, "CBR_SYNC_SQS_QUEUE_URL": RESULTS, **keys, **environ}
        self.runs = 0
        self._cbr = world.transport()
        self._signatures = SignatureCheck(SIMULATOR_CREDENTIALS, world.now)
        self._number = 0

    @property
    def transport(self) -> httpx.MockTransport:
        """Everything that the functions reach."""
        return httpx.MockTransport(self._respond)

    def _respond(self, request: httpx.Request) -> httpx.Response:
        if self._requests_left < 0:
            raise httpx.ConnectError("killed")
        answer = self._answer(request)
        if self._requests_left:
            self._requests_left -= 1
            if not self._requests_left:
                self._requests_left = -1
                raise httpx.ReadError("killed")
        return answer

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.host.startswith("sqs."):
            return self._respond_as_sqs(request)
        if request.url.host == LATER_HOST:
            return self._respond_as_functiongraph(request)
        if self.is_away:
            raise httpx.ConnectError("refused")
        return self._cbr.handle_request(request)

    def _respond_as_sqs(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        if body["QueueUrl"] == RESULTS:
            if self.sink_faults and self.sink_faults.pop():
                return httpx.Response(500, json={"__type": "com.amazonaws.sqs#InternalFailure"})
            self.events += [json.loads(entry["MessageBody"]) for entry in body["Entries"]]
            return httpx.Response(200, json={"Successful": []})
        assert request.headers["X-Amz-Target"] == "AmazonSQS.SendMessage"
        assert body.keys() == {"QueueUrl", "MessageBody", "DelaySeconds"}
        assert body["QueueUrl"] == WORK
        return self._accept(request, body["MessageBody"], body["DelaySeconds"], 200)

    def _respond_as_functiongraph(self, request: httpx.Request) -> httpx.Response:
        path = f"/v2/{LATER.split(':')[3]}/fgs/functions/{LATER}/invocations-async"
        assert unquote(request.url.path) == path
        incoming = IncomingRequest(
            method=request.method,
            target=request.url.raw_path.decode(),
            headers={key.lower(): value for key, value in request.headers.items()},
            body=request.content,
        )
        self._signatures.check(incoming)
        if incoming.mistake:
            return httpx.Response(401, json={"error_code": "APIGW.0301", "error_msg": incoming.mistake})
        return self._accept(request, request.content.decode(), 0, 202)

    def _accept(self, request: httpx.Request, body: str, delay: float, status: int) -> httpx.Response:
        self.requests.append(request)
        if fault := self.faults.pop(0) if self.faults else 0:
            return httpx.Response(fault, json={"error_code": "made.up", "error_msg": "no"})
        self.send(body, delay)
        return httpx.Response(status, json={"request_id": "later", "MessageId": "later"})

    def send(self, body: str, delay: float = 0) -> None:
        """Put a message into the queue."""
        self._number += 1
        now = self.world.elapsed
        self.queue.append(Queued(f"message-{self._number}", body, now, now + delay))

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """What waits."""
        return [json.loads(message.body) for message in self.queue]

    @property
    def statuses(self) -> list[str]:
        """The statuses of the outcomes that were emitted, in order."""
        return [event["data"]["status"] for event in self.events if "subject" in event]

    def on_lambda(self, event: object, *, timeout_seconds: float = 60.0) -> dict[str, Any]:
        """Run the function on Lambda."""
        adapter = LambdaAdapter(self.environ, **self.world.options(self.transport))
        return self._run(lambda: adapter(event, WorldContext(self.world, timeout_seconds)))

    def _run(self, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Run a function, unless it is killed: what it sends then does not arrive, and nobody sees its reply.

        Raises:
            Killed: It is.
        """
        self.runs += 1
        self._requests_left = self.kills.pop() if self.kills else 0
        try:
            reply = run()
        except CbrSyncError:
            if self._requests_left < 0:
                raise Killed from None
            raise
        finally:
            was_killed, self._requests_left = self._requests_left < 0, 0
        if was_killed:
            raise Killed
        return reply

    def on_functiongraph(self, event: object, *, timeout_seconds: float = 60.0) -> dict[str, Any]:
        """Run the first function on FunctionGraph, or the second one with its hour."""
        environ = {**self.environ, "RUNTIME_TIMEOUT": str(int(timeout_seconds))}
        adapter = FunctionGraphAdapter(environ, **self.world.options(self.transport))
        clock: Any = WorldContext(self.world, timeout_seconds)
        context = LocalFunctionGraphContext(environ, SIMULATOR_CREDENTIALS, clock=clock)
        return self._run(lambda: adapter(event, context))

    def deliver_batch(self, *, run: Callable[[object], dict[str, Any]] | None = None) -> None:
        """Deliver what the queue holds next, as Lambda's poller does: at most ten messages."""
        if not self.queue:
            return
        first = min(message.visible_at for message in self.queue)
        self.world.sleep(max(first - self.world.elapsed, 0))
        batch = [message for message in self.queue if message.visible_at <= self.world.elapsed][:10]
        for message in batch:
            message.receives += 1
            message.visible_at = self.world.elapsed + VISIBILITY_SECONDS
        try:
            reply = (run or self.on_lambda)(build_batch(self.world, batch))
            left = {failure["itemIdentifier"] for failure in reply["batchItemFailures"]}
        except (CbrSyncError, Killed):
            left = {message.id for message in batch}
        for message in batch:
            if message.id not in left:
                self.queue.remove(message)
            elif message.receives >= MAX_RECEIVES:
                self.queue.remove(message)
                self.dead.append(message)

    def deliver_invocation(self, *, timeout_seconds: float = 3600.0) -> dict[str, Any]:
        """Invoke the second function with what waits first, as FunctionGraph does: three times at most."""
        message = self.queue.pop(0)
        message.receives += 1
        try:
            return self.on_functiongraph(json.loads(message.body), timeout_seconds=timeout_seconds)
        except (CbrSyncError, Killed):
            waiting = self.queue if message.receives < MAX_RECEIVES else self.dead
            waiting.append(message)
            return {}


def build_batch(world: World, messages: list[Queued], arn: str = WORK_ARN) -> dict[str, Any]:
    """The batch of these messages as Lambda's poller hands it over."""
    began = world.now().timestamp() - world.elapsed
    return {
        "Records": [
            {
                "messageId": message.id,
                "eventSource": "aws:sqs",
                "eventSourceARN": arn,
                "attributes": {"SentTimestamp": str(int((began + message.sent_at) * 1000))},
                "body": message.body,
            }
            for message in messages
        ]
    }
