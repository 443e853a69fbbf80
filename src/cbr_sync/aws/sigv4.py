r"""Signature Version 4 of AWS as an httpx.Auth, for services that speak JSON (not S3).

Source: IAM User Guide, "Create a signed AWS API request". botocore is 26 MB and 160 ms of cold start, and
the smaller signers on PyPI fail on ports, queries or tokens, so the 30 lines stand here::

    canonical = METHOD \n URI \n QUERY \n HEADERS \n SIGNED HEADERS \n hex(sha256(body))
    to sign   = AWS4-HMAC-SHA256 \n date \n scope \n hex(sha256(canonical))
    key       = hmac(hmac(hmac(hmac("AWS4" + secret, day), region), service), "aws4_request")
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from cbr_sync.credentials import Credentials


ALGORITHM = "AWS4-HMAC-SHA256"


class SigV4Auth(httpx.Auth):
    """Signs each request afresh: host, content-type and every ``x-amz-`` header, and the very bytes sent."""

    requires_request_body = True

    def __init__(
        self, credentials: Credentials, region: str, service: str, now: Callable[[], datetime]
    ) -> None:
        """Sign for one service.

        Args:
            credentials: The keys; temporary ones with their token.
            region: The service's region.
            service: Its signing name, as in ``sqs``.
            now: Returns the current time.
        """
        self._credentials = credentials
        self._scope = (region, service, "aws4_request")
        self._now = now

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add ``X-Amz-Date`` and ``Authorization`` (and the token's header) to the request, and send it."""
        date = self._now().astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        request.headers["X-Amz-Date"] = date
        if self._credentials.token:
            request.headers["X-Amz-Security-Token"] = self._credentials.token
        headers = {
            key: " ".join(value.split())
            for key, value in request.headers.items()
            if key in {"host", "content-type"} or key.startswith("x-amz-")
        }
        names = ";".join(sorted(headers))
        scope = (date[:8], *self._scope)
        digest = hashlib.sha256(_build_canonical_request(request, headers, names).encode()).hexdigest()
        key = ("AWS4" + self._credentials.secret_key).encode()
        for part in scope:
            key = _compute_hmac(key, part)
        signature = _compute_hmac(key, "\n".join([ALGORITHM, date, "/".join(scope), digest])).hex()
        request.headers["Authorization"] = (
            f"{ALGORITHM} Credential={self._credentials.access_key}/{'/'.join(scope)}, "
            f"SignedHeaders={names}, Signature={signature}"
        )
        yield request


def _build_canonical_request(request: httpx.Request, headers: dict[str, str], names: str) -> str:
    path, _, query = request.url.raw_path.decode("ascii").partition("?")
    pairs = (part.partition("=")[::2] for part in query.split("&") if part)
    encoded = sorted((quote(unquote(key), safe="~"), quote(unquote(value), safe="~")) for key, value in pairs)
    return "\n".join(
        [
            request.method,
            # The path is encoded already, and is signed encoded once more, with no empty segments.
            quote(re.sub("/+", "/", path), safe="/-_.~"),
            "&".join(f"{key}={value}" for key, value in encoded),
            *(f"{key}:{headers[key]}" for key in sorted(headers)),
            "",
            names,
            hashlib.sha256(request.content).hexdigest(),
        ]
    )


def _compute_hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
