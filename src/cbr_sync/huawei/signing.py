r"""SDK-HMAC-SHA256, the signature of Huawei Cloud's API gateway, as an httpx.Auth.

Source: Huawei Cloud API Request Signing Guide (api-sign-algorithm), and the signer of the vendor's
Python SDK (huaweicloudsdkcore 3.1, signer/signer.py), whose edge cases are followed here::

    canonical = METHOD \n URI \n QUERY \n HEADERS \n SIGNED HEADERS \n hex(sha256(body))
    to sign   = SDK-HMAC-SHA256 \n date \n hex(sha256(canonical))
    signature = hex(hmac_sha256(secret key, to sign))
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from cbr_sync.credentials import Credentials


ALGORITHM = "SDK-HMAC-SHA256"
DATE_FORMAT = "%Y%m%dT%H%M%SZ"


@lru_cache(maxsize=64)
def build_canonical_path(path: str) -> str:
    """Return a path as it is signed: decoded, encoded again, and always with a slash at its end.

    The request itself goes out as it is; the slash is in the signature only.
    """
    encoded = "/".join(quote(segment, safe="~") for segment in unquote(path).split("/"))
    return encoded if encoded.endswith("/") else encoded + "/"


@lru_cache(maxsize=64)
def build_canonical_query(query: str) -> str:
    """Return a query as it is signed: sorted by decoded key and value, every key with its ``=``."""
    pairs = (part.partition("=")[::2] for part in query.split("&") if part)
    decoded = sorted((unquote(key), unquote(value)) for key, value in pairs)
    return "&".join(f"{quote(key, safe='~')}={quote(value, safe='~')}" for key, value in decoded)


def compute_signature(
    secret_key: str, method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes
) -> tuple[str, str]:
    """Compute the signature of a request.

    Args:
        secret_key: The key to sign with.
        method: The HTTP method.
        target: Path and query as they stand in the request line.
        headers: All of them are signed, except those with ``_`` in their name, as the vendor does.
            ``x-sdk-date`` must be among them.
        body: The bytes that are sent.

    Returns:
        The names of the signed headers, joined by ``;``, and the signature in hex.

    Raises:
        KeyError: There is no x-sdk-date.
    """
    signed = {key.lower(): value.strip() for key, value in sorted(headers) if "_" not in key}
    ordered = sorted(signed.items())
    names = ";".join([key for key, _ in ordered])
    path, _, query = target.partition("?")
    payload = signed.get("x-sdk-content-sha256") if body else None
    canonical = "\n".join(
        [
            method.upper(),
            build_canonical_path(path),
            build_canonical_query(query),
            *[f"{key}:{value}" for key, value in ordered],
            "",
            names,
            payload or hashlib.sha256(body).hexdigest(),
        ]
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = "\n".join([ALGORITHM, signed["x-sdk-date"], digest])
    return names, hmac.digest(secret_key.encode(), to_sign.encode(), "sha256").hex()


class SdkHmacAuth(httpx.Auth):
    """Signs each request afresh: host, content-type and every ``x-`` header, and the very bytes sent.

    Headers that proxies may rewrite (user-agent, accept and the like) are left unsigned. With a security
    token, ``X-Security-Token`` is added and signed.
    """

    requires_request_body = True

    def __init__(self, credentials: Credentials, now: Callable[[], datetime]) -> None:
        """Sign with these credentials.

        Args:
            credentials: The keys; temporary ones with their token.
            now: Returns the current time.
        """
        self._credentials = credentials
        self._now = now

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add ``X-Sdk-Date`` and ``Authorization`` to the request, and send it."""
        headers = request.headers
        headers["X-Sdk-Date"] = self._now().astimezone(UTC).strftime(DATE_FORMAT)
        if self._credentials.token:
            headers["X-Security-Token"] = self._credentials.token
        elif "X-Security-Token" in headers:  # of other keys, in an earlier attempt
            del headers["X-Security-Token"]
        encoding = headers.encoding
        names, hex_signature = compute_signature(
            self._credentials.secret_key,
            request.method,
            request.url.raw_path.decode("ascii"),
            [
                (key.decode("ascii"), value.decode(encoding))
                for key, value in headers.raw
                if key.lower() in {b"host", b"content-type"} or key.lower().startswith(b"x-")
            ],
            request.content,
        )
        headers["Authorization"] = (
            f"{ALGORITHM} Access={self._credentials.access_key}, "
            f"SignedHeaders={names}, Signature={hex_signature}"
        )
        yield request
