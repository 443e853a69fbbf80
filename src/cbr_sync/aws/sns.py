"""Amazon SNS in the query protocol, without boto3.

Source: SNS API reference; AWS query protocol: a form goes out, and XML comes back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from cbr_sync.aws.client import AwsClient, read_credentials
from cbr_sync.errors import SettingsError
from cbr_sync.settings import find_topic_endpoint, find_topic_mistakes, parse_topic_arn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    import httpx

_VERSION = "2010-03-31"


class SnsClient(AwsClient):
    """One account's SNS in one region."""

    service = "sns"

    def call(self, action: str, parameters: Mapping[str, str], *, timeout_seconds: float) -> str:
        """Call one action, and return its answer, an XML document.

        Args:
            action: Its name, as in ``Publish``.
            parameters: Its parameters.
            timeout_seconds: How long the request may take.

        Raises:
            ApiError: As of `AwsClient.post`.
        """
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        content = urlencode({"Action": action, "Version": _VERSION, **parameters}).encode()
        return self.post(headers, content, timeout_seconds=timeout_seconds).decode(errors="replace")


def build_sns_client(
    transport: httpx.BaseTransport, topic_arn: str, environ: Mapping[str, str], now: Callable[[], datetime]
) -> SnsClient:
    """Build a client for one topic, with the keys and the endpoint that the variables of AWS name.

    Args:
        transport: Sends the requests.
        topic_arn: The ARN of the topic, which names its region.
        environ: The function's environment.
        now: Returns the current time.

    Raises:
        SettingsError: Keys are missing, or a variable cannot be used.
    """
    if mistakes := find_topic_mistakes(environ):
        raise SettingsError(mistakes)
    return SnsClient(
        transport,
        endpoint=find_topic_endpoint(topic_arn, environ),
        region=parse_topic_arn(topic_arn)[1],
        credentials=read_credentials(environ),
        now=now,
    )
