"""Standard Webhooks 1.0: verify what a stranger sends, and sign what we send.

Source: the specification, spec/standard-webhooks.md of standard-webhooks/standard-webhooks; the tolerance
of five minutes is that of its reference libraries.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from cbr_sync.errors import WebhookRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


TOLERANCE_SECONDS = 300
_ID = re.compile(r"[\x21-\x7e]{1,256}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")


def sign(secret: bytes, webhook_id: str, timestamp: int, body: bytes) -> str:
    """The ``webhook-signature`` of this body: ``v1,`` and base64 of HMAC-SHA256 over id, timestamp, body."""
    signed = b".".join([webhook_id.encode(), str(timestamp).encode(), body])
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


def verify(headers: Mapping[str, str], body: bytes, secrets: Iterable[bytes], *, now: float) -> None:
    """Let a request pass whose signature matches one of the secrets; headers are lower-case, now in seconds.

    Raises:
        WebhookRefusedError: 401; the reason shows nothing of secrets or signatures.
    """
    webhook_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not _ID.fullmatch(webhook_id):
        raise _build_refusal("webhook-id is missing or not 1 to 256 printable characters")
    if not _TIMESTAMP.fullmatch(timestamp):
        raise _build_refusal("webhook-timestamp is missing or not a number of seconds")
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        raise _build_refusal(f"webhook-timestamp is more than {TOLERANCE_SECONDS} seconds off")
    if "webhook-signature" not in headers:
        raise _build_refusal("webhook-signature is missing")
    given = [word.encode(errors="replace") for word in headers["webhook-signature"].split()]
    # Every pair is compared, so that the time taken does not show which one matched.
    matches = [
        hmac.compare_digest(sign(secret, webhook_id, int(timestamp), body).encode(), signature)
        for secret in secrets
        for signature in given
    ]
    if not any(matches):
        raise _build_refusal("webhook-signature does not match")


def _build_refusal(why: str) -> WebhookRefusedError:
    return WebhookRefusedError(HTTPStatus.UNAUTHORIZED, why)
