"""A queue of Amazon SQS as a sink: SendMessageBatch.

Source: SQS API reference.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cbr_sync.aws.sqs import HTTP_OK
from cbr_sync.errors import ApiError, NotAcceptedError, SinkError
from cbr_sync.sinks.base import split_batches
from cbr_sync.transport import redact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cbr_sync.aws.sqs import SqsClient
    from cbr_sync.retry import Retrier
    from cbr_sync.sinks.messages import CloudEvent

BATCH = 10
# SQS took 256 KiB in one request before it took 1 MiB.
BATCH_BYTES = 256 * 1024
_ATTRIBUTES_BYTES = 256


class _Failed(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    entry_id: str = Field(alias="Id")
    code: str = Field(alias="Code")
    sender_fault: bool = Field(alias="SenderFault")
    message: str = Field(default="", alias="Message")


class _BatchResult(BaseModel):
    failed: list[_Failed] = Field(default_factory=list, alias="Failed")


class SqsSink:
    """Sends each event as one message; what the queue did not accept is sent again, until the deadline."""

    def __init__(
        self, client: SqsClient, queue_url: str, *, retrier: Retrier, request_timeout_seconds: float
    ) -> None:
        """Send to a queue.

        Args:
            client: Signs and sends.
            queue_url: The queue.
            retrier: Repeats attempts.
            request_timeout_seconds: How long one request may take.
        """
        self._queue_url = queue_url
        self._client = client
        self._retrier = retrier
        self._request_timeout_seconds = request_timeout_seconds

    def emit(self, events: Sequence[CloudEvent], deadline: float) -> None:
        """Send all events, ten at a time and in order.

        Raises:
            SinkError: Some were not accepted; with the queue's code.
        """
        client = self._client
        lost: list[str] = []
        entries = [self._build_entry(event) for event in events]
        for rows in split_batches(entries, _entry_size, max_rows=BATCH, max_bytes=BATCH_BYTES):
            batch = _Batch({str(number): {"Id": str(number), **row} for number, row in enumerate(rows)})
            try:
                self._retrier.call(
                    partial(self._send, batch, client, deadline), deadline=deadline, count_all=True
                )
            except ApiError as error:
                lost.append(f"{len(batch.left)} messages not accepted: {error}")
            lost += batch.refused
        if lost:
            raise SinkError("; ".join(redact(line, client.credentials) for line in lost))

    def _build_entry(self, event: CloudEvent) -> dict[str, Any]:
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

    def _send(self, batch: _Batch, client: SqsClient, deadline: float) -> None:
        """Send what is left of the batch, and take out of it what is settled.

        Raises:
            NotAcceptedError: Something is left that the queue may accept later.
        """
        body = {"QueueUrl": self._queue_url, "Entries": list(batch.left.values())}
        timeout = min(self._request_timeout_seconds, self._retrier.clock.remaining_seconds(deadline))
        batch.settle(_parse_failed(client.call("SendMessageBatch", body, timeout_seconds=timeout)))


def _entry_size(entry: dict[str, Any]) -> int:
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
            raise NotAcceptedError(code, "the queue did not accept it now", http_status=HTTP_OK)


def _parse_failed(answer: bytes) -> list[_Failed]:
    """The entries that the queue did not take.

    Raises:
        ApiError: the answer is not that of SendMessageBatch.
    """
    try:
        return _BatchResult.model_validate_json(answer).failed
    except ValidationError as error:
        message = "the queue's answer is not that of SendMessageBatch"
        raise ApiError("CbrSync.UnreadableAnswer", message, http_status=HTTP_OK) from error
