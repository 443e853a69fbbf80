"""What the API gateway does before a request reaches CBR: it checks signatures and limits the rate.

Sources: API Request Signing Guide (clock skew, lock, APIGW codes). The texts are inferred, and so is that a
clock that is off is APIGW.0301 like every other mistake (0303 is documented for app authentication only).
"""

from __future__ import annotations

import hmac
import re
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cbr_sync.huawei.signing import ALGORITHM, DATE_FORMAT, compute_signature
from cbr_sync.simulator.answers import ApiRefusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from cbr_sync.models import Credentials
    from cbr_sync.simulator.models import IncomingRequest

MAX_SKEW = timedelta(minutes=15)
LOCK_AFTER, LOCK_FOR = 5, timedelta(minutes=5)

_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} Access=(?P<access_key>[^,]+), SignedHeaders=(?P<names>[^,]+), "
    r"Signature=(?P<signature>[0-9a-f]+)"
)


class SignatureCheck:
    """The check of SDK-HMAC-SHA256 signatures.

    More than five refusals in a row lock the access key for five minutes, for everyone who uses it.

    Attributes:
        refused_signatures: Number of requests refused so far.
    """

    def __init__(self, credentials: Credentials, now: Callable[[], datetime]) -> None:
        self._credentials = credentials
        self._now = now
        self._refused_in_a_row = 0
        self._locked_until: datetime | None = None
        self.refused_signatures = 0

    def find_mistake(self, request: IncomingRequest) -> str | None:
        """Return what is wrong with the signature of a request; None if it is right."""
        match = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
        if not match:
            return "the Authorization header is missing or malformed"
        try:
            date = datetime.strptime(request.headers.get("x-sdk-date", ""), DATE_FORMAT).replace(tzinfo=UTC)
        except ValueError:
            return "the X-Sdk-Date header is missing or malformed"
        if abs(self._now() - date) > MAX_SKEW:
            return "verify aksk signature fail, the request has expired"
        if match["access_key"] != self._credentials.access_key:
            return "verify aksk signature fail, access key not found"
        if request.headers.get("x-security-token") != self._credentials.token:
            return "the security token is wrong or expired"
        names = match["names"].split(";")
        if "x-sdk-date" not in names:
            return "verify aksk signature fail, x-sdk-date is not signed"
        headers = [(name, request.headers.get(name, "")) for name in names]
        secret = self._credentials.secret_key
        _, expected = compute_signature(secret, request.method, request.target, headers, request.body)
        return None if hmac.compare_digest(expected, match["signature"]) else "verify aksk signature fail"

    def authenticate(self, request: IncomingRequest) -> None:
        """Let a request with a right signature pass, and count one that has a mistake.

        Raises:
            ApiRefusal: APIGW.0301, for a mistake or a locked access key.
        """
        match = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
        ours = match is not None and match["access_key"] == self._credentials.access_key
        mistake = self._count(request.mistake) if ours else request.mistake
        if mistake:
            self.refused_signatures += 1
            raise ApiRefusal(401, "APIGW.0301", f"Incorrect IAM authentication information: {mistake}")

    def _count(self, mistake: str | None) -> str | None:
        now = self._now()
        if self._locked_until and now < self._locked_until:
            return "AK access failed to reach the limit,forbidden"
        self._refused_in_a_row = self._refused_in_a_row + 1 if mistake else 0
        if self._refused_in_a_row > LOCK_AFTER:
            self._refused_in_a_row, self._locked_until = 0, now + LOCK_FOR
        return mistake


class RateLimit:
    """A bound on the requests that are answered within any minute."""

    def __init__(self, per_minute: int | None, now: Callable[[], datetime]) -> None:
        self._per_minute = per_minute
        self._now = now
        self._recent: deque[datetime] = deque()

    def take(self) -> None:
        """Count a request.

        Raises:
            ApiRefusal: APIGW.0308; the limit is reached.
        """
        now = self._now()
        while self._recent and now - self._recent[0] >= timedelta(minutes=1):
            self._recent.popleft()
        if self._per_minute is not None and len(self._recent) >= self._per_minute:
            limit = f"limit:{self._per_minute},time:1 minute"
            message = f"The throttling threshold has been reached: policy user over ratelimit,{limit}"
            raise ApiRefusal(429, "APIGW.0308", message)
        self._recent.append(now)
