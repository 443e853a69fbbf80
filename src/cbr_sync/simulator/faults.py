"""Faults that the simulator injects on demand, and the answers that some of them consist of.

Source: API Request Signing Guide (APIGW codes). That a missing permission is BackupService.0103 is inferred.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from cbr_sync.simulator.answers import (
    Answer,
    add_headers,
    build_error_answer,
    build_html_answer,
    build_ok_answer,
    format_http_date,
)

if TYPE_CHECKING:
    from datetime import datetime

BOMB_BYTES = 256 * 2**20
HUGE_BYTES = 20_000_000
RETRY_DATE_AFTER = timedelta(seconds=5)
SLOW_SECONDS = 40


class Fault(StrEnum):
    """What can happen to a request in place of a plain HTTP status; ``describe_faults`` explains each."""

    REFUSE = "refuse"
    RESET = "reset"
    RESET_AFTER = "reset-after"
    HANG = "hang"
    HANG_AFTER = "hang-after"
    INTERIM = "interim"
    INTERIM_AFTER = "interim-after"
    TRUNCATED = "truncated"
    DRIP = "drip"
    DRIP_AFTER = "drip-after"
    HTML = "html"
    BOMB = "bomb"
    CHARSET = "charset"
    HUGE = "huge"
    PERMISSION_403 = "403-permission"
    DATE_429 = "retry-after-date"
    SLOW_503 = "slow-503"
    SKIP = "skip"

    @property
    def is_accepted(self) -> bool:
        """Whether the API accepts the request all the same."""
        return self in _ACCEPTED


class StatusFault(NamedTuple):
    """An HTTP error in place of the answer.

    Attributes:
        status: The HTTP status, from 300.
        is_accepted: Whether the API accepts the request all the same.
    """

    status: int
    is_accepted: bool


_SUMMARIES = {
    # A socket sees a request only once it is connected, so that the server resets the connection here.
    Fault.REFUSE: "no connection (a reset, over a socket)",
    Fault.RESET: "the connection breaks; not accepted",
    Fault.RESET_AFTER: "the connection breaks; accepted",
    Fault.HANG: "no answer; not accepted",
    Fault.HANG_AFTER: "no answer; accepted",
    Fault.INTERIM: "1xx answers without an end; not accepted",
    Fault.INTERIM_AFTER: "1xx answers without an end; accepted",
    Fault.TRUNCATED: "half of the answer, then the connection ends; accepted",
    Fault.DRIP: "the answer arrives a byte every half second; accepted",
    Fault.DRIP_AFTER: "the headers arrive at once, the body a byte every half second; accepted",
    Fault.HTML: "a 200 with a page that is not JSON; accepted",
    Fault.BOMB: "a 200 with 250 KB of gzip that unpack to 256 MiB; accepted",
    Fault.CHARSET: "a 502 with Content-Type: text/html; charset=undefined; not accepted",
    Fault.HUGE: "a 502 with a page of 20 MB; not accepted",
    Fault.PERMISSION_403: "a 403 with BackupService.0103, a missing permission; not accepted",
    Fault.DATE_429: "a 429 with a date in Retry-After, 5 seconds ahead; not accepted",
    Fault.SLOW_503: "a 503 with Retry-After: 40; not accepted",
    Fault.SKIP: "the answer is right, but a sync ends skipped; accepted",
}
_ACCEPTED = frozenset(
    {
        *(Fault.RESET_AFTER, Fault.HANG_AFTER, Fault.INTERIM_AFTER),
        *(Fault.TRUNCATED, Fault.DRIP, Fault.DRIP_AFTER, Fault.HTML, Fault.BOMB, Fault.SKIP),
    }
)
_STATUS = re.compile(r"(?P<status>[345]\d\d)(?P<after>-after)?")


def describe_faults() -> dict[str, str]:
    """Return every word of a list of faults, with a line that says what happens."""
    return {
        "300...599": "this HTTP status, as a gateway answers it; not accepted",
        "300-after...599-after": "the same; accepted",
        **{fault.value: summary for fault, summary in _SUMMARIES.items()},
    }


def parse_faults(spec: str) -> list[Fault | StatusFault]:
    """Parse a list of faults, such as ``503,429*3,reset,502-after``.

    Args:
        spec: Words separated by commas: HTTP statuses from 300, also with ``-after`` where the API accepts
            the request, and values of ``Fault``. ``*3`` behind a word repeats it three times.

    Returns:
        One fault for each request that is to fail.

    Raises:
        ValueError: A word is not known; the message has it, and the words that are known.
    """
    faults: list[Fault | StatusFault] = []
    for word in spec.split(","):
        name, star, times = word.strip().partition("*")
        fault = _parse_fault(name)
        if fault is None or (star and not times.isdecimal()):
            raise ValueError(f"{word!r} is no fault; known are HTTP statuses from 300 and {', '.join(Fault)}")
        faults += [fault] * int(times or 1)
    return faults


def _parse_fault(name: str) -> Fault | StatusFault | None:
    if match := _STATUS.fullmatch(name):
        return StatusFault(int(match["status"]), is_accepted=match["after"] is not None)
    return Fault(name) if name in set(Fault) else None


def build_fault_result(fault: Fault | StatusFault, now: datetime) -> Answer | Fault:
    """Build the answer that a fault consists of, if it does.

    Args:
        fault: The fault.
        now: The moment on the API's clock.

    Returns:
        The answer; the fault itself where it is something that happens to the connection.
    """
    match fault:
        case StatusFault(status):
            return _build_gateway_error(status)
        case Fault.HTML:
            return build_html_answer(200, "Welcome")
        case Fault.BOMB:
            return _build_bomb()
        case Fault.CHARSET:
            return build_html_answer(502, "Bad Gateway \u2013 \u7f51\u5173\u9519\u8bef", charset="undefined")
        case Fault.HUGE:
            return build_html_answer(502, "x" * HUGE_BYTES)
        case Fault.PERMISSION_403:
            return build_error_answer(403, "BackupService.0103", "No permission for this operation.")
        case Fault.DATE_429:
            date = format_http_date(now + RETRY_DATE_AFTER)
            return add_headers(_build_gateway_error(429), {"Retry-After": date})
        case Fault.SLOW_503:
            return add_headers(_build_gateway_error(503), {"Retry-After": str(SLOW_SECONDS)})
    return fault


_GATEWAY_ERRORS = {
    401: ("APIGW.0301", "Incorrect IAM authentication information: verify aksk signature fail"),
    403: ("APIGW.0302", "The IAM user is not allowed to access the API"),
    429: (
        "APIGW.0308",
        "The throttling threshold has been reached: policy user over ratelimit,limit:200,time:1 second",
    ),
    500: ("BackupService.9910", "Unknown error."),
    502: ("APIGW.0201", "Backend unavailable"),
    504: ("APIGW.0201", "Backend timeout"),
}


def _build_gateway_error(status: int) -> Answer:
    if status in _GATEWAY_ERRORS:
        answer = build_error_answer(status, *_GATEWAY_ERRORS[status])
        return add_headers(answer, {"Retry-After": "1"} if status == HTTPStatus.TOO_MANY_REQUESTS else {})
    answer = build_html_answer(status, HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown")
    if status < HTTPStatus.BAD_REQUEST:
        answer = add_headers(answer, {"Location": "https://example.com/elsewhere"})
    # A 304 has no body: what is sent after it would be read as the next answer.
    return Answer(status, answer.headers, b"") if status == HTTPStatus.NOT_MODIFIED else answer


@lru_cache(maxsize=1)
def _build_bomb() -> Answer:
    """Return a 200 with JSON of ``BOMB_BYTES``, packed a thousand times smaller."""
    block, json_body = b" " * 2**20, b"{}"
    count = BOMB_BYTES // len(block)
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    # After a full flush nothing refers to what was before, so that the same bytes can follow again and again.
    packed = compressor.compress(block) + compressor.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(count):
        checksum = zlib.crc32(block, checksum)
    trailer = struct.pack("<II", zlib.crc32(json_body, checksum), count * len(block) + len(json_body))
    deflated = packed * count + compressor.compress(json_body) + compressor.flush()
    header = bytes.fromhex("1f8b08000000000000ff")
    answer = add_headers(build_ok_answer({}), {"Content-Encoding": "gzip"})
    return replace(answer, body=header + deflated + trailer)
