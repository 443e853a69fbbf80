"""Standard Webhooks 1.0 and tokens: verify what a stranger sends, and sign what we send.

Source: the specification, spec/standard-webhooks.md of standard-webhooks/standard-webhooks; the tolerance
of five minutes is that of its reference libraries.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING

from cbr_sync.errors import WebhookRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


TOLERANCE_SECONDS = 300
# Two secrets and a few of somebody else's are what a rotation takes.
MAX_SIGNATURES = 16
_ID = re.compile(r"[\x21-\x7e]{1,256}")
# Without leading zeros: they would be another text of the same time, which hides a repeated request.
_TIMESTAMP = re.compile(r"0|[1-9][0-9]{0,11}", re.ASCII)
# Two headers of one name arrive as one, with a comma or a space between them; no comma is in base64.
_SIGNATURE = re.compile(r"(?:^|[ ,])v1,([0-9A-Za-z+/]{43}=)(?=$| |, ?v)")


def sign(secret: bytes, webhook_id: str, timestamp: int, body: bytes) -> str:
    """Return the ``webhook-signature`` of a body: ``v1,`` and base64 of HMAC-SHA256.

    Args:
        secret: The key inside of the ``whsec_...`` secret.
        webhook_id: The ``webhook-id``.
        timestamp: The ``webhook-timestamp``, in seconds since 1970.
        body: The bytes that are sent.
    """
    return "v1," + _compute(secret, _join_signed(webhook_id, timestamp, body))


def read_timestamp(headers: Mapping[str, str]) -> int | None:
    """Return the ``webhook-timestamp`` in seconds since 1970; None where it is no such number."""
    timestamp = headers.get("webhook-timestamp", "")
    return int(timestamp) if _TIMESTAMP.fullmatch(timestamp) else None


def is_signed(headers: Mapping[str, str]) -> bool:
    """Return whether a request has a signature, right or wrong; names of headers are in lower case."""
    return "webhook-signature" in headers


def verify(headers: Mapping[str, str], body: bytes, secrets: Iterable[bytes], *, now: float) -> None:
    """Let a request pass whose signature matches one of the secrets.

    Each secret costs one HMAC, however many signatures are sent.

    Args:
        headers: By their names in lower case.
        body: The bytes as they were received.
        secrets: The keys inside of the ``whsec_...`` secrets.
        now: The current time, in seconds since 1970.

    Raises:
        WebhookRefusedError: 401; the reason shows nothing of secrets or signatures.
    """
    webhook_id, timestamp = headers.get("webhook-id", ""), read_timestamp(headers)
    if not _ID.fullmatch(webhook_id):
        raise _build_refusal("webhook-id is missing or not 1 to 256 printable characters")
    if timestamp is None:
        raise _build_refusal("webhook-timestamp is missing or not a number of seconds")
    if abs(now - timestamp) > TOLERANCE_SECONDS:
        raise _build_refusal(f"webhook-timestamp is more than {TOLERANCE_SECONDS} seconds off")
    if not is_signed(headers):
        raise _build_refusal("webhook-signature is missing")
    found = _SIGNATURE.finditer(headers["webhook-signature"])
    given = [match[1] for match in islice(found, MAX_SIGNATURES)]
    signed = _join_signed(webhook_id, timestamp, body)
    expected = [_compute(secret, signed) for secret in secrets]
    # Every pair is compared, so that the time taken does not show which one matched.
    matches = [hmac.compare_digest(one, other) for one in expected for other in given]
    if not any(matches):
        raise _build_refusal("webhook-signature does not match")


def verify_token(headers: Mapping[str, str], tokens: Iterable[str]) -> None:
    """Let a request pass that has one of the tokens, for senders that cannot sign.

    The token is that of ``Authorization: Bearer``, or the password of ``Authorization: Basic``.

    Args:
        headers: By their names in lower case.
        tokens: All that are valid.

    Raises:
        WebhookRefusedError: 401; the reason shows nothing of the tokens.
    """
    scheme, _, credentials = headers.get("authorization", "").strip().partition(" ")
    given = credentials.strip()
    match scheme.lower():
        case "bearer":
            pass
        case "basic":
            given = _decode_password(given)
        case _:
            raise _build_refusal("the request has neither a webhook-signature nor a token in Authorization")
    # Digests, so that the time taken shows nothing of a token's length either.
    digest = _hash(given)
    matches = [hmac.compare_digest(digest, _hash(token)) for token in tokens]
    if not any(matches):
        raise _build_refusal("the token in Authorization is not known")


def _decode_password(encoded: str) -> str:
    """Return the password in the credentials of Basic; empty where they cannot be read."""
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="replace")).digest()


def _join_signed(webhook_id: str, timestamp: int, body: bytes) -> bytes:
    return b".".join([webhook_id.encode(), str(timestamp).encode(), body])


def _compute(secret: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()


def _build_refusal(why: str) -> WebhookRefusedError:
    return WebhookRefusedError(HTTPStatus.UNAUTHORIZED, why)
