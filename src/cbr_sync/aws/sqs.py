"""Amazon SQS in AWS JSON 1.0, without boto3.

Source: SQS API reference; AWS JSON 1.0 protocol; throttling codes of botocore's standard retry mode.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

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


class SqsClient:
    """One account's SQS in one region: signs calls, and translates errors.

    Attributes:
        region: The region that requests are signed for.
    """

    def __init__(
        self,
        transport: httpx.BaseTransport,
        *,
        endpoint: str,
        region: str,
        credentials: Credentials,
        now: Callable[[], datetime],
    ) -> None:
        """Call SQS.

        Args:
            transport: Sends the requests.
            endpoint: Where SQS answers, without a slash at the end.
            region: As the attribute.
            credentials: The keys to sign with.
            now: Returns the current time.
        """
        self.region = region
        self._transport = transport
        self._endpoint = endpoint
        self._credentials = credentials
        self._now = now

    def redact(self, text: str) -> str:
        """Return the words of the service on one line, cut, without our keys and what may be a signature."""
        return redact(text, self._credentials)

    def call(self, action: str, body: Mapping[str, Any], *, timeout_seconds: float) -> bytes:
        """Call one action, and return the bytes of its answer, a JSON object.

        Args:
            action: Its name, as in ``SendMessageBatch``.
            body: Its parameters.
            timeout_seconds: How long the request may take.

        Raises:
            NotAcceptedError: A later attempt may succeed, and nothing was done.
            OutcomeUnknownError: A later attempt may succeed; this one may have, too.
            ApiError: Final, with the service's code.
        """
        headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"AmazonSQS.{action}"}
        content = json.dumps(body, separators=(",", ":")).encode()
        response = send(
            self._transport,
            new_request("POST", self._endpoint + "/", headers, content),
            auth=SigV4Auth(self._credentials, self.region, "sqs", self._now),
            timeout_seconds=timeout_seconds,
        )
        if response.status_code != HTTP_OK:
            raise _build_error(response, self._credentials)
        return response.content


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
    access_key, secret_key, token = (
        environ.get(name, "").strip() for name in (*AWS_KEY_NAMES, AWS_TOKEN_NAME)
    )
    return SqsClient(
        transport,
        endpoint=find_queue_endpoint(queue_url, environ),
        region=find_queue_region(queue_url, environ) or "",
        credentials=Credentials(access_key, secret_key, token or None),
        now=now,
    )


def _build_error(response: Response, credentials: Credentials) -> ApiError:
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        body = None
    body = body if isinstance(body, dict) else {}
    typed = body.get("__type") or response.headers.get("x-amzn-errortype") or response.status_code
    code = str(typed).rpartition("#")[2].partition(":")[0]
    is_retryable = code in _RETRYABLE_CODES or response.status_code >= _SERVER_ERROR
    return (NotAcceptedError if is_retryable else ApiError)(
        redact(code, credentials),
        redact(str(body.get("message") or body.get("Message") or response.text), credentials),
        http_status=response.status_code,
    )
