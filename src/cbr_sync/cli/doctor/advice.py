"""What to do about an error of an API or the network."""

from __future__ import annotations

import re
import socket
import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx

from cbr_sync.errors import ApiError, CredentialsRefusedError, RetryableError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Source: API Request Signing Guide, "Error codes".
_ADVICE_BY_CODE = (
    (r"reach the limit", "the key is locked: wait five minutes, and stop whatever else has the wrong keys"),
    (r"APIGW?\.0307", "get new temporary keys: the token has expired, or is that of another region"),
    (r"APIGW?\.0310", "set CBR_SYNC_PROJECT_ID to a project of CBR_SYNC_REGION"),
    (
        r"APIGW?\.010[13]|CbrSync\.(Redirected|UnreadableAnswer)",
        "check CBR_SYNC_REGION and CBR_SYNC_ENDPOINT",
    ),
    (r"APIGW?\.040[124]", "allow this network's addresses: the account or the API accepts others only"),
    (r"APIGW?\.080[12]", "ask the account's administrator: the service or the user is barred in this region"),
    (r"BackupService\.8600", "have the account's real name verified in the console"),
)
_ADVICE_BY_CAUSE: tuple[tuple[type[Exception], str], ...] = (
    (
        ssl.SSLCertVerificationError,
        "if a proxy here opens TLS, set SSL_CERT_FILE to its authority; else check the endpoint's host",
    ),
    (ssl.SSLError, "check the endpoint's port: something other than TLS answers there"),
    (socket.gaierror, "check CBR_SYNC_REGION and the endpoint's host for a typo, and this network's DNS"),
    (httpx.ProxyError, "check HTTPS_PROXY and ALL_PROXY, and what that proxy lets through"),
    (ConnectionRefusedError, "check the endpoint's port and HTTPS_PROXY, or the firewall on the way"),
    (httpx.TimeoutException, "let this network reach it: a firewall, a route, or HTTPS_PROXY"),
)


def find_remedy(error: ApiError, permission: str) -> str:
    """Return what to do about an error of Huawei Cloud.

    Args:
        error: What the API answered, or why it could not be reached.
        permission: What the call needs, as in ``cbr:vaults:list``.
    """
    if advice := find_advice(error):
        return advice
    if error.http_status == HTTPStatus.FORBIDDEN:
        return f"grant {permission} to the user or the agency of these keys"
    if isinstance(error, CredentialsRefusedError):
        return "set the access key, the secret key and, with temporary ones, the security token again"
    if isinstance(error, RetryableError):
        return find_network_remedy(error)
    return "look the code up in the API reference of CBR"


def find_advice(error: ApiError) -> str | None:
    """Return what to do about a well-known error; None for any other."""
    return next((advice for pattern, advice in _ADVICE_BY_CODE if re.search(pattern, str(error))), None)


def find_network_remedy(error: ApiError) -> str:
    """Return what to do where a server cannot be reached."""
    causes = list(_find_causes(error))
    for kind, advice in _ADVICE_BY_CAUSE:
        if any(isinstance(cause, kind) for cause in causes):
            return advice
    return "try again; if it stays, check whether this network reaches it, and the service's status"


def _find_causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
