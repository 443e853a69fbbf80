"""A queue of Amazon SQS as a sink: SendMessageBatch.

Source: SQS API reference.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cbr_sync.aws.client import HTTP_OK
from cbr_sync.errors import ApiError, NotAcceptedError
from cbr_sync.sinks.base import Refusals, split_batches

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

        Args:
            events: The events.
            deadline: Reading of the clock, in seconds; nothing is sent after it.

        Raises:
            SinkError: Some were not accepted.
        """
        refusals = Refusals(self._client.redact)
        entries = [self._build_entry(event) for event in events]
        for rows in split_batches(
            entries,
            # Names and values of the attributes count, too.
            lambda entry: len(entry["MessageBody"]) + _ATTRIBUTES_BYTES,
            max_rows=BATCH,
            max_bytes=BATCH_BYTES,
        ):
            left = {str(number): {"Id": str(number), **row} for number, row in enumerate(rows)}
            try:
                self._retrier.call(
                    partial(self._send, left, refusals, deadline), deadline=deadline, count_all=True
                )
            except ApiError as error:
                refusals.add(len(left), error)
        refusals.raise_if_any()

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

    def _send(self, left: dict[str, dict[str, Any]], refusals: Refusals, deadline: float) -> None:
        """Send what is left of a batch, and take out of it what is settled.

        Args:
            left: Messages by their ids in the batch.
            refusals: Takes what the queue refuses for good.
            deadline: Reading of the clock, in seconds.

        Raises:
            NotAcceptedError: Something is left that the queue may accept later.
        """
        body = {"QueueUrl": self._queue_url, "Entries": list(left.values())}
        timeout = min(self._request_timeout_seconds, self._retrier.clock.remaining_seconds(deadline))
        failed = _parse_failed(self._client.call("SendMessageBatch", body, timeout_seconds=timeout))
        for failure in failed:
            if failure.sender_fault:
                refusals.add(1, f"{failure.code}: {failure.message}")
        codes = {failure.entry_id: failure.code for failure in failed if not failure.sender_fault}
        for entry_id in left.keys() - codes:
            del left[entry_id]
        if left:
            code = codes[next(iter(left))]
            raise NotAcceptedError(code, "the queue did not accept it now", http_status=HTTP_OK)


def _parse_failed(answer: bytes) -> list[_Failed]:
    """Return the messages that the queue did not accept.

    Raises:
        ApiError: The answer is not that of SendMessageBatch.
    """
    try:
        return _BatchResult.model_validate_json(answer).failed
    except ValidationError as error:
        message = "the queue's answer is not that of SendMessageBatch"
        raise ApiError("CbrSync.UnreadableAnswer", message, http_status=HTTP_OK) from error
