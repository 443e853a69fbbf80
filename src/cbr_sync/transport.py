"""One HTTP request, one answer: httpx's exceptions are translated here, for every service we call."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

import httpx

from cbr_sync.errors import ApiError, NotAcceptedError, OutcomeUnknownError
from cbr_sync.validation import mask_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cbr_sync.credentials import Credentials

_NEVER_CONNECTED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_SIGNATURE = re.compile(r"[0-9a-fA-F]{64}")
_SHOWN = 500


def new_request(
    method: str, url: str, headers: Mapping[str, str], content: bytes | None = None
) -> httpx.Request:
    """A request with these headers, a User-Agent, and no more: each costs something on every layer below."""
    return httpx.Request(method, _parsed(url), headers={"User-Agent": "cbr-sync", **headers}, content=content)


_parsed = lru_cache(maxsize=64)(httpx.URL)


def send(
    client: httpx.Client, request: httpx.Request, *, auth: httpx.Auth | None, timeout_seconds: float
) -> httpx.Response:
    """The answer, read to its end, whatever its status; redirects are not followed.

    ``timeout_seconds`` bounds the connecting, and each wait for the other side.

    Raises:
        NotAcceptedError: there was no connection, or no time left to try one.
        OutcomeUnknownError: the request was sent, or a part of it, and no whole answer came back.
        ApiError: an answer came back that cannot be decoded, or the request cannot be sent at all.
    """
    if timeout_seconds <= 0:
        raise NotAcceptedError("CbrSync.OutOfTime", "the invocation's time is used up", sent=False)
    request.extensions = {**request.extensions, "timeout": httpx.Timeout(timeout_seconds).as_dict()}
    try:
        return _round_trip(client, request, auth)
    except _NEVER_CONNECTED as error:
        message = f"no connection to {_origin(request)}: {str(error) or type(error).__name__}"
        raise NotAcceptedError("CbrSync.Unreachable", message) from error
    except httpx.DecodingError as error:
        raise ApiError(
            "CbrSync.UnreadableAnswer", f"{_origin(request)} answered undecodable content"
        ) from error
    except (httpx.LocalProtocolError, httpx.UnsupportedProtocol, UnicodeError):
        # Its text would show the header that is wrong, which may be a token; so it is not chained either.
        raise ApiError("CbrSync.NotSendable", f"the request to {_origin(request)} cannot be sent") from None
    except httpx.TransportError as error:
        why = f"gave no whole answer ({type(error).__name__}); it may have taken the request"
        raise OutcomeUnknownError("CbrSync.NoAnswer", f"{_origin(request)} {why}") from error


def _origin(request: httpx.Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc.decode('ascii')}"


def _round_trip(client: httpx.Client, request: httpx.Request, auth: httpx.Auth | None) -> httpx.Response:
    """As ``Client.send``, less redirects and cookies, which no API of ours has: they take a third of its CPU.

    ``_transport_for_url`` is httpx's own; a test notices when it changes.
    """
    if auth is not None:
        request = next(auth.sync_auth_flow(request))
    response = client._transport_for_url(request.url).handle_request(request)  # noqa: SLF001 - see above
    try:
        response.read()
    except BaseException:
        response.close()
        raise
    return response


def redact(text: str, credentials: Credentials) -> str:
    """The words of another service on one line, cut, without our keys and what may be a signature.

    A lone surrogate, which JSON holds and UTF-8 does not, becomes a question mark: no platform could send it.
    """
    keys = (credentials.secret_key, credentials.token, credentials.access_key)
    text = mask_secrets(text, filter(None, keys))
    text = " ".join(_SIGNATURE.sub("****", text).split()).encode(errors="replace").decode()
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
