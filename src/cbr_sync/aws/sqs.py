"""Amazon SQS in AWS JSON 1.0, without boto3.

Source: SQS API reference; AWS JSON 1.0 protocol; throttling codes of botocore's standard retry mode.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from cbr_sync.aws.sigv4 import SigV4Auth
from cbr_sync.credentials import Credentials
from cbr_sync.errors import ApiError, NotAcceptedError, SettingsError
from cbr_sync.settings import (
    AWS_KEY_NAMES,
    AWS_TOKEN_NAME,
    find_queue_endpoint,
    find_queue_mistakes,
    find_queue_region,
)
from cbr_sync.transport import new_request, redact, send

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    import httpx

    from cbr_sync.transport import Response


HTTP_OK = 200
_SERVER_ERROR = 500
_RETRYABLE_CODES = frozenset(
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

    transport: httpx.BaseTransport
    endpoint: str
    region: str
    credentials: Credentials
    now: Callable[[], datetime]

    def call(self, action: str, body: Mapping[str, Any], *, timeout_seconds: float) -> bytes:
        """What the service answers to this action, as in ``SendMessageBatch``: the bytes of a JSON object.

        Raises:
            NotAcceptedError, OutcomeUnknownError: a later attempt may succeed.
            ApiError: final, with the service's code.
        """
        headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"AmazonSQS.{action}"}
        content = json.dumps(body, separators=(",", ":")).encode()
        response = send(
            self.transport,
            new_request("POST", self.endpoint + "/", headers, content),
            auth=SigV4Auth(self.credentials, self.region, "sqs", self.now),
            timeout_seconds=timeout_seconds,
        )
        if response.status_code != HTTP_OK:
            raise _build_error(response, self.credentials)
        return response.content


def build_sqs_client(
    transport: httpx.BaseTransport, queue_url: str, environ: Mapping[str, str], now: Callable[[], datetime]
) -> SqsClient:
    """Build a client for one queue, with the keys, region and endpoint that the variables of AWS name.

    Args:
        client: The connections.
        queue_url: The URL of the queue.
        environ: The function's environment.
        now: The wall clock.

    Raises:
        SettingsError: Keys or the region are missing, or a variable cannot be used.
    """
    if mistakes := find_queue_mistakes(queue_url, environ, "the queue"):
        raise SettingsError(mistakes)
    access_key, secret_key, token = (
        environ.get(name, "").strip() for name in (*AWS_KEY_NAMES, AWS_TOKEN_NAME)
    )
    return SqsClient(
        transport,
        find_queue_endpoint(queue_url, environ),
        find_queue_region(queue_url, environ) or "",
        Credentials(access_key, secret_key, token or None),
        now,
    )


def _build_error(response: Response, credentials: Credentials) -> ApiError:
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        body = None
    body = body if isinstance(body, dict) else {}
    typed = body.get("__type") or response.headers.get("x-amzn-errortype") or response.status_code
    code = str(typed).rpartition("#")[2].partition(":")[0]
    again = code in _RETRYABLE_CODES or response.status_code >= _SERVER_ERROR
    return (NotAcceptedError if again else ApiError)(
        code,
        redact(str(body.get("message") or body.get("Message") or response.text), credentials),
        http_status=response.status_code,
    )
