"""What all services of AWS have in common: signed requests, keys from the environment, and errors.

Source: AWS JSON and query protocols; throttling codes of botocore's standard retry mode.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, ClassVar

from cbr_sync.aws.sigv4 import SigV4Auth
from cbr_sync.credentials import Credentials
from cbr_sync.errors import ApiError, NotAcceptedError
from cbr_sync.settings import AWS_KEY_NAMES, AWS_TOKEN_NAME
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
        "Throttled",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)


class AwsClient:
    """One account's service in one region: signs requests, and translates errors.

    Attributes:
        service: The signing name of the service, as in ``sqs``.
        region: The region that requests are signed for.
    """

    service: ClassVar[str]

    def __init__(
        self,
        transport: httpx.BaseTransport,
        *,
        endpoint: str,
        region: str,
        credentials: Credentials,
        now: Callable[[], datetime],
    ) -> None:
        """Call a service.

        Args:
            transport: Sends the requests.
            endpoint: Where it answers, without a slash at the end.
            region: As the attribute.
            credentials: The keys to sign with.
            now: Returns the current time.
        """
        self.region = region
        self._transport = transport
        self._endpoint = endpoint
        self._credentials = credentials
        self._auth = SigV4Auth(credentials, region, self.service, now)

    def redact(self, text: str) -> str:
        """Return the words of the service on one line, cut, without our keys and what may be a signature."""
        return redact(text, self._credentials)

    def post(self, headers: Mapping[str, str], content: bytes, *, timeout_seconds: float) -> bytes:
        """Send one request, and return the bytes of its answer.

        Args:
            headers: Those of the protocol.
            content: The body.
            timeout_seconds: How long the request may take.

        Raises:
            NotAcceptedError: A later attempt may succeed, and nothing was done.
            OutcomeUnknownError: A later attempt may succeed; this one may have, too.
            ApiError: Final, with the service's code.
        """
        response = send(
            self._transport,
            new_request("POST", self._endpoint + "/", headers, content),
            auth=self._auth,
            timeout_seconds=timeout_seconds,
        )
        if response.status_code != HTTP_OK:
            raise self._build_error(response)
        return response.content

    def _build_error(self, response: Response) -> ApiError:
        code, message = _parse_json_error(response) or _parse_xml_error(response)
        code = code.rpartition("#")[2].partition(":")[0]
        is_retryable = code in _RETRYABLE_CODES or response.status_code >= _SERVER_ERROR
        return (NotAcceptedError if is_retryable else ApiError)(
            self.redact(code), self.redact(message), http_status=response.status_code
        )


def read_credentials(environ: Mapping[str, str]) -> Credentials:
    """Return the keys of AWS in these variables; the settings have checked them."""
    access_key, secret_key, token = (
        environ.get(name, "").strip() for name in (*AWS_KEY_NAMES, AWS_TOKEN_NAME)
    )
    return Credentials(access_key, secret_key, token or None)


def _parse_json_error(response: Response) -> tuple[str, str] | None:
    """Return code and message of a JSON service; None where the answer is no object."""
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    code = body.get("__type") or response.headers.get("x-amzn-errortype") or response.status_code
    return str(code), str(body.get("message") or body.get("Message") or response.text)


def _parse_xml_error(response: Response) -> tuple[str, str]:
    """Return code and message of a query service; the status and the whole text where there are none."""
    from html import unescape  # noqa: PLC0415 - only a refusal needs it

    code, message = (
        re.search(f"<{name}>([^<]*)</{name}>", response.text[:_ERROR_LENGTH]) for name in ("Code", "Message")
    )
    default_code = response.headers.get("x-amzn-errortype") or str(response.status_code)
    return (
        unescape(code[1]) if code else default_code,
        unescape(message[1]) if message else response.text,
    )


_ERROR_LENGTH = 4096
