"""Amazon SQS as a sink: SendMessageBatch in AWS JSON 1.0, without boto3.

Source: SQS API reference, SendMessageBatch; AWS JSON 1.0 protocol; throttling codes of botocore's standard
retry mode.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cbr_sync.errors import ApiError, NotTaken, Retryable, SinkError
from cbr_sync.sigv4 import SigV4Auth
from cbr_sync.transport import new_request, redact, send

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    import httpx

    from cbr_sync.cloud_events import CloudEvent
    from cbr_sync.models import Credentials
    from cbr_sync.retry import Retry


BATCH = 10
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

    def __init__(  # noqa: PLR0913 - made in one place, by keyword
        self,
        client: httpx.Client,
        queue_url: str,
        endpoint: str,
        *,
        region: str,
        credentials: Callable[[], Credentials],
        retry: Retry,
        now: Callable[[], datetime],
        request_timeout_seconds: float,
    ) -> None:
        self._client = client
        self._queue_url = queue_url
        self._endpoint = endpoint
        self._region = region
        self._credentials = credentials
        self._retry = retry
        self._now = now
        self._request_timeout_seconds = request_timeout_seconds

    def emit(self, events: Sequence[CloudEvent], until: float) -> None:
        """Hand over all events, ten at a time and in order.

        Raises:
            SinkError: some were not taken, with the queue's code.
        """
        credentials = self._credentials()
        lost: list[str] = []
        for start in range(0, len(events), BATCH):
            batch = _Batch(
                {str(n): self._entry(str(n), e) for n, e in enumerate(events[start : start + BATCH])}
            )
            try:
                self._retry.call(
                    partial(self._send, batch, credentials, until), until=until, retry_on=Retryable
                )
            except ApiError as error:
                lost.append(f"{len(batch.left)} messages not taken: {error}")
            lost += batch.refused
        if lost:
            raise SinkError("; ".join(redact(line, credentials) for line in lost))

    def _entry(self, entry_id: str, event: CloudEvent) -> dict[str, Any]:
        vault_id = event.get("subject")
        attributes = {"type": event["type"]} | ({"vault_id": vault_id} if vault_id else {})
        entry: dict[str, Any] = {
            "Id": entry_id,
            "MessageBody": json.dumps(event, separators=(",", ":")),
            "MessageAttributes": {
                key: {"DataType": "String", "StringValue": value} for key, value in attributes.items()
            },
        }
        if self._queue_url.endswith(".fifo"):
            entry["MessageGroupId"] = vault_id or event["type"]
            entry["MessageDeduplicationId"] = event["id"]
        return entry

    def _send(self, batch: _Batch, credentials: Credentials, until: float) -> None:
        """Send what is left of the batch, and take out of it what is settled.

        Raises:
            NotTaken: something is left that the queue may take another time.
        """
        body = {"QueueUrl": self._queue_url, "Entries": list(batch.left.values())}
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": "AmazonSQS.SendMessageBatch",
        }
        content = json.dumps(body, separators=(",", ":")).encode()
        request = new_request("POST", self._endpoint + "/", headers, content)
        response = send(
            self._client,
            request,
            auth=SigV4Auth(credentials, self._region, "sqs", self._now),
            timeout_seconds=min(self._request_timeout_seconds, self._retry.left_seconds(until)),
        )
        batch.settle(_read(response, credentials))


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


def _read(response: httpx.Response, credentials: Credentials) -> list[_Failed]:
    """The entries that the queue did not take.

    Raises:
        ApiError: and its kinds, when it took none of them.
    """
    if response.status_code != _OK:
        raise _error(response, credentials)
    try:
        return _BatchResult.model_validate_json(response.content).failed
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
