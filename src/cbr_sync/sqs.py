"""Amazon SQS, spoken to in AWS JSON 1.0 without boto3; and as a sink: SendMessageBatch.

Source: SQS API reference; AWS JSON 1.0 protocol; throttling codes of botocore's standard retry mode.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cbr_sync.errors import ApiError, NotTaken, Retryable, SettingsError, SinkError
from cbr_sync.models import Credentials
from cbr_sync.settings import AWS_KEY_NAMES, queue_region
from cbr_sync.sigv4 import SigV4Auth
from cbr_sync.sinks import batches
from cbr_sync.transport import new_request, redact, send

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    import httpx

    from cbr_sync.cloud_events import CloudEvent
    from cbr_sync.retry import Retry

BATCH = 10
# SQS took 256 KiB in one request before it took 1 MiB.
BATCH_BYTES = 256 * 1024
_ATTRIBUTES_BYTES = 256
_OK = 200
_SERVER_ERROR = 500
_TRY_AGAIN = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "KmsThrottled",
        "LimitExceededException",
        "OverLimit",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)


class SqsClient(NamedTuple):
    """One account's SQS in one region: every call of ours is signed here, and its error translated."""

    client: httpx.Client
    endpoint: str
    region: str
    credentials: Credentials
    now: Callable[[], datetime]

    def call(self, action: str, body: Mapping[str, Any], *, timeout_seconds: float) -> bytes:
        """What the service answers to this action, as in ``SendMessageBatch``: the bytes of a JSON object.

        Raises:
            NotTaken, MaybeTaken: a later attempt may succeed.
            ApiError: final, with the service's code.
        """
        headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"AmazonSQS.{action}"}
        content = json.dumps(body, separators=(",", ":")).encode()
        response = send(
            self.client,
            new_request("POST", self.endpoint + "/", headers, content),
            auth=SigV4Auth(self.credentials, self.region, "sqs", self.now),
            timeout_seconds=timeout_seconds,
        )
        if response.status_code != _OK:
            raise _error(response, self.credentials)
        return response.content


def sqs_client(
    client: httpx.Client, queue_url: str, environ: Mapping[str, str], now: Callable[[], datetime]
) -> SqsClient:
    """The way to a queue, with the keys, the region and the endpoint that the standard variables name.

    Raises:
        SettingsError: there are no keys, or neither URL nor variable tells the region.
    """
    missing = [f"{name}: not set; the queue needs it" for name in AWS_KEY_NAMES if not environ.get(name)]
    region = queue_region({**environ, "CBR_SYNC_SQS_QUEUE_URL": queue_url})
    if missing or region is None:
        unknown = "AWS_REGION: not set, and the queue's URL tells no region; set it to the queue's"
        raise SettingsError(missing if region else [*missing, unknown])
    url = urlsplit(queue_url)
    endpoint = environ.get("AWS_ENDPOINT_URL_SQS") or environ.get("AWS_ENDPOINT_URL")
    key, secret = (environ[name] for name in AWS_KEY_NAMES)
    credentials = Credentials(key, secret, environ.get("AWS_SESSION_TOKEN") or None)
    return SqsClient(client, endpoint or f"{url.scheme}://{url.netloc}", region, credentials, now)


class _Failed(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    entry_id: str = Field(alias="Id")
    code: str = Field(alias="Code")
    sender_fault: bool = Field(alias="SenderFault")
    message: str = Field(default="", alias="Message")


class _BatchResult(BaseModel):
    failed: list[_Failed] = Field(default_factory=list, alias="Failed")


class SqsSink:
    """Sends each event as one message; what the queue did not take is sent again, until the deadline."""

    def __init__(
        self, sqs: Callable[[], SqsClient], queue_url: str, retry: Retry, request_timeout_seconds: float
    ) -> None:
        self._sqs = sqs
        self._queue_url = queue_url
        self._retry = retry
        self._request_timeout_seconds = request_timeout_seconds

    def emit(self, events: Sequence[CloudEvent], until: float) -> None:
        """Hand over all events, ten at a time and in order.

        Raises:
            SinkError: some were not taken, with the queue's code.
        """
        sqs = self._sqs()
        lost: list[str] = []
        entries = [self._entry(event) for event in events]
        for rows in batches(entries, _size, most=BATCH, most_bytes=BATCH_BYTES):
            batch = _Batch({str(number): {"Id": str(number), **row} for number, row in enumerate(rows)})
            try:
                self._retry.call(partial(self._send, batch, sqs, until), until=until, retry_on=Retryable)
            except ApiError as error:
                lost.append(f"{len(batch.left)} messages not taken: {error}")
            lost += batch.refused
        if lost:
            raise SinkError("; ".join(redact(line, sqs.credentials) for line in lost))

    def _entry(self, event: CloudEvent) -> dict[str, Any]:
        vault_id = event.get("subject")
        attributes = {"type": event["type"]} | ({"vault_id": vault_id} if vault_id else {})
        entry: dict[str, Any] = {
            "MessageBody": json.dumps(event, separators=(",", ":")),
            "MessageAttributes": {
                key: {"DataType": "String", "StringValue": value} for key, value in attributes.items()
            },
        }
        if self._queue_url.endswith(".fifo"):
            entry["MessageGroupId"] = vault_id or event["type"]
            entry["MessageDeduplicationId"] = event["id"]
        return entry

    def _send(self, batch: _Batch, sqs: SqsClient, until: float) -> None:
        """Send what is left of the batch, and take out of it what is settled.

        Raises:
            NotTaken: something is left that the queue may take another time.
        """
        body = {"QueueUrl": self._queue_url, "Entries": list(batch.left.values())}
        timeout = min(self._request_timeout_seconds, self._retry.left_seconds(until))
        batch.settle(_failed(sqs.call("SendMessageBatch", body, timeout_seconds=timeout)))


def _size(entry: dict[str, Any]) -> int:
    """What counts of a message, or a little more: its body, and names and values of its attributes."""
    return len(entry["MessageBody"]) + _ATTRIBUTES_BYTES


@dataclass(eq=False, repr=False)
class _Batch:
    """The entries, by their ids, that the queue has not settled yet, and what it refused for good."""

    left: dict[str, dict[str, Any]]
    refused: list[str] = field(default_factory=list)

    def settle(self, failed: Sequence[_Failed]) -> None:
        again = {failure.entry_id for failure in failed if not failure.sender_fault}
        self.refused += [f"a message refused: {f.code}: {f.message}" for f in failed if f.sender_fault]
        self.left = {entry_id: entry for entry_id, entry in self.left.items() if entry_id in again}
        if self.left:
            code = next(failure.code for failure in failed if failure.entry_id in self.left)
            raise NotTaken(code, "the queue did not take it now", http_status=_OK)


def _failed(answer: bytes) -> list[_Failed]:
    """The entries that the queue did not take.

    Raises:
        ApiError: the answer is not that of SendMessageBatch.
    """
    try:
        return _BatchResult.model_validate_json(answer).failed
    except ValidationError as error:
        message = "the queue's answer is not that of SendMessageBatch"
        raise ApiError("CbrSync.UnreadableAnswer", message, http_status=_OK) from error


def _error(response: httpx.Response, credentials: Credentials) -> ApiError:
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        body = None
    body = body if isinstance(body, dict) else {}
    typed = body.get("__type") or response.headers.get("x-amzn-errortype") or response.status_code
    code = str(typed).rpartition("#")[2].partition(":")[0]
    again = code in _TRY_AGAIN or response.status_code >= _SERVER_ERROR
    return (NotTaken if again else ApiError)(
        code,
        redact(str(body.get("message") or body.get("Message") or response.text), credentials),
        http_status=response.status_code,
    )
