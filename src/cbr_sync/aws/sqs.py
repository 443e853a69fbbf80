"""Amazon SQS in AWS JSON 1.0, without boto3.

Source: SQS API reference; AWS JSON 1.0 protocol.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cbr_sync.aws.client import AwsClient, read_credentials
from cbr_sync.errors import SettingsError
from cbr_sync.settings import find_queue_endpoint, find_queue_mistakes, find_queue_region

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    import httpx


class SqsClient(AwsClient):
    """One account's SQS in one region."""

    service = "sqs"

    def call(self, action: str, body: Mapping[str, Any], *, timeout_seconds: float) -> bytes:
        """Call one action, and return the bytes of its answer, a JSON object.

        Args:
            action: Its name, as in ``SendMessageBatch``.
            body: Its parameters.
            timeout_seconds: How long the request may take.

        Raises:
            ApiError: As of `AwsClient.post`.
        """
        headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"AmazonSQS.{action}"}
        content = json.dumps(body, separators=(",", ":")).encode()
        return self.post(headers, content, timeout_seconds=timeout_seconds)


def build_sqs_client(
    transport: httpx.BaseTransport, queue_url: str, environ: Mapping[str, str], now: Callable[[], datetime]
) -> SqsClient:
    """Build a client for one queue, with the keys, region and endpoint that the variables of AWS name.

    Args:
        transport: Sends the requests.
        queue_url: The URL of the queue.
        environ: The function's environment.
        now: Returns the current time.

    Raises:
        SettingsError: Keys or the region are missing, or a variable cannot be used.
    """
    if mistakes := find_queue_mistakes(queue_url, environ, "the queue"):
        raise SettingsError(mistakes)
    return SqsClient(
        transport,
        endpoint=find_queue_endpoint(queue_url, environ),
        region=find_queue_region(queue_url, environ) or "",
        credentials=read_credentials(environ),
        now=now,
    )
