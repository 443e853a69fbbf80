"""What the API gateway does before a request reaches CBR: it checks signatures and limits the rate.

Sources: API Request Signing Guide (clock skew, lock, APIGW codes). The texts are inferred, and so is that a
clock that is off is APIGW.0301 like every other mistake (0303 is documented for app authentication only).
That a limited answer has a Retry-After is documented nowhere; it is off unless asked for.
"""

from __future__ import annotations

import hmac
import math
import re
from collections import defaultdict, deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cbr_sync.huawei.signing import ALGORITHM, DATE_FORMAT, compute_signature
from cbr_sync.simulator.answers import (
    ApiRefusal,
    EarlyAnswer,
    add_headers,
    build_error_answer,
    format_http_date,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from cbr_sync.credentials import Credentials
    from cbr_sync.simulator.answers import Answer
    from cbr_sync.simulator.models import IncomingRequest, RetryAfter

MAX_SKEW = timedelta(minutes=15)
LOCK_AFTER, LOCK_FOR = 5, timedelta(minutes=5)

_TOLERANCE = 1e-3
_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} Access=(?P<access_key>[^,]+), SignedHeaders=(?P<names>[^,]+), "
    r"Signature=(?P<signature>[0-9a-f]+)"
)


@dataclass(slots=True)
class _Refusals:
    """The refusals of one access key."""

    total: int = 0
    in_a_row: int = 0
    locked_until: datetime | None = None


class SignatureCheck:
    """The check of SDK-HMAC-SHA256 signatures.

    More than five refusals in a row lock an access key for five minutes, for everyone who uses it.

    Attributes:
        refused_signatures: Number of requests refused so far, those without an access key too.
    """

    def __init__(self, credentials: Credentials, now: Callable[[], datetime]) -> None:
        self._credentials: Credentials | None = credentials
        self._now = now
        self._refusals: defaultdict[str, _Refusals] = defaultdict(_Refusals)
        self._requests_left: int | None = None
        self._replacement: Credentials | None = None
        self.refused_signatures = 0

    def replace_credentials(self, credentials: Credentials) -> None:
        """Accept these credentials from now on, and no others."""
        self._credentials, self._requests_left = credentials, None

    def revoke_after(self, requests: int, replacement: Credentials | None) -> None:
        """Accept the credentials for so many more requests, then their replacement, or none at all."""
        self._requests_left, self._replacement = requests, replacement
        self._revoke_if_due()

    def count_refusals(self, access_key: str) -> int:
        """Return how many requests of an access key were refused."""
        return self._refusals[access_key].total

    def is_locked(self, access_key: str) -> bool:
        """Return whether an access key is locked at this moment."""
        locked_until = self._refusals[access_key].locked_until
        return locked_until is not None and self._now() < locked_until

    def check(self, request: IncomingRequest) -> None:
        """Set the access key of a request, and what is wrong with its signature."""
        match = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
        if not match:
            request.mistake = "the Authorization header is missing or malformed"
            return
        request.access_key = match["access_key"]
        request.mistake = self._find_mistake(request, match["names"].split(";"), match["signature"])

    def _find_mistake(self, request: IncomingRequest, names: list[str], signature: str) -> str | None:
        try:
            date = datetime.strptime(request.headers.get("x-sdk-date", ""), DATE_FORMAT).replace(tzinfo=UTC)
        except ValueError:
            return "the X-Sdk-Date header is missing or malformed"
        if abs(self._now() - date) > MAX_SKEW:
            return "verify aksk signature fail, the request has expired"
        if self._credentials is None or request.access_key != self._credentials.access_key:
            return "verify aksk signature fail, access key not found"
        if request.headers.get("x-security-token") != self._credentials.token:
            return "the security token is wrong or expired"
        if "x-sdk-date" not in names:
            return "verify aksk signature fail, x-sdk-date is not signed"
        headers = [(name, request.headers.get(name, "")) for name in names]
        secret = self._credentials.secret_key
        _, expected = compute_signature(secret, request.method, request.target, headers, request.body)
        return None if hmac.compare_digest(expected, signature) else "verify aksk signature fail"

    def authenticate(self, request: IncomingRequest) -> None:
        """Let a checked request with a right signature pass, and count one that has a mistake.

        Raises:
            ApiRefusal: APIGW.0301, for a mistake or a locked access key.
        """
        mistake = request.mistake
        if request.access_key is not None:
            mistake = self._count(request.access_key, mistake)
        if mistake:
            self.refused_signatures += 1
            raise ApiRefusal(401, "APIGW.0301", f"Incorrect IAM authentication information: {mistake}")
        if self._requests_left is not None:
            self._requests_left -= 1
            self._revoke_if_due()

    def _count(self, access_key: str, mistake: str | None) -> str | None:
        refusals = self._refusals[access_key]
        if self.is_locked(access_key):
            refusals.total += 1
            return "AK access failed to reach the limit,forbidden"
        if not mistake:
            refusals.in_a_row = 0
            return None
        refusals.total += 1
        refusals.in_a_row += 1
        if refusals.in_a_row > LOCK_AFTER:
            refusals.in_a_row, refusals.locked_until = 0, self._now() + LOCK_FOR
        return mistake

    def _revoke_if_due(self) -> None:
        if self._requests_left is not None and self._requests_left <= 0:
            self._credentials, self._requests_left = self._replacement, None


class RateLimit:
    """Bounds on the requests that are answered; a request that is limited counts for neither of them."""

    def __init__(
        self,
        *,
        per_minute: int | None,
        per_second: float | None,
        retry_after: RetryAfter | None,
        now: Callable[[], datetime],
    ) -> None:
        """Start as if no request had been made.

        Args:
            per_minute: Number of requests within any minute; None means any number.
            per_second: Number of requests in a second, perhaps a fraction, counted by a bucket of tokens:
                each request takes one, and so many are added in a second, up to ``per_second`` or one,
                whichever is more. So 10 lets ten requests through at once and then one every 0.1 seconds, and
                0.5 lets one through every two seconds. None means any number.
            retry_after: The form of Retry-After in a limited answer; None leaves it out.
            now: The clock of the API.
        """
        self._retry_after = retry_after
        self._now = now
        self._limits: list[_Window | _Bucket] = []
        if per_minute is not None:
            self._limits.append(_Window(per_minute))
        if per_second is not None:
            self._limits.append(_Bucket(per_second, now()))

    def take(self) -> None:
        """Count a request.

        Raises:
            EarlyAnswer: 429 with APIGW.0308; a limit is reached.
        """
        now = self._now()
        for limit in self._limits:
            free_at = limit.find_free(now)
            if free_at > now:
                raise EarlyAnswer(self._build_answer(limit.text, now, free_at))
        for limit in self._limits:
            limit.take(now)

    def _build_answer(self, limit: str, now: datetime, free_at: datetime) -> Answer:
        message = f"The throttling threshold has been reached: policy user over ratelimit,{limit}"
        answer = build_error_answer(429, "APIGW.0308", message)
        # Both forms know whole seconds only; what is rounded down would be too early.
        if self._retry_after == "seconds":
            return add_headers(answer, {"Retry-After": str(math.ceil((free_at - now).total_seconds()))})
        if self._retry_after == "date":
            rounded_up = free_at + timedelta(microseconds=999_999)
            return add_headers(answer, {"Retry-After": format_http_date(rounded_up)})
        return answer


class _Window:
    """At most so many requests within any minute."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken: deque[datetime] = deque()
        self.text = f"limit:{limit},time:1 minute"

    def find_free(self, now: datetime) -> datetime:
        """Return when the next request may come; now, if it may come at once."""
        while self._taken and now - self._taken[0] >= timedelta(minutes=1):
            self._taken.popleft()
        return now if len(self._taken) < self._limit else self._taken[0] + timedelta(minutes=1)

    def take(self, now: datetime) -> None:
        """Count a request."""
        self._taken.append(now)


class _Bucket:
    """A bucket of tokens that fills at a steady rate."""

    def __init__(self, per_second: float, now: datetime) -> None:
        self._per_second = per_second
        self._capacity = self._tokens = max(1.0, per_second)
        self._filled_at = now
        self.text = f"limit:{per_second:g},time:1 second"

    def find_free(self, now: datetime) -> datetime:
        """Return when the next request may come; now, if it may come at once."""
        gained = (now - self._filled_at).total_seconds() * self._per_second
        self._tokens, self._filled_at = min(self._capacity, self._tokens + gained), now
        # A moment has microseconds, so that a token may lack a little when it is due.
        missing = 1 - self._tokens
        return now if missing <= _TOLERANCE else now + timedelta(seconds=missing / self._per_second)

    def take(self, _now: datetime) -> None:
        """Count a request."""
        self._tokens -= 1
