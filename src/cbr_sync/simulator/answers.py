"""HTTP answers of the simulated API, and the parsing of its parameters.

Sources: API reference of CBR (ImportCheckpoint, ListOpLogs, ListVault, error codes); API Request Signing
Guide (APIGW codes). What no page documents is marked as inferred.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, TypeVar

from cbr_sync.models import parse_vault_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cbr_sync.simulator.faults import Fault

T = TypeVar("T")

_MAX_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer.

    Attributes:
        status: The HTTP status.
        headers: The headers, without Content-Length.
        body: The body as it is sent, perhaps compressed.
        delivery: The fault that spoils its delivery: truncated, drip or drip-after; None if it arrives whole.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    delivery: Fault | None = None


class EarlyAnswer(Exception):
    """Ends the handling of a request.

    Attributes:
        result: The answer, or the fault that happens in its place.
    """

    def __init__(self, result: Answer | Fault) -> None:
        self.result = result


class ApiRefusal(EarlyAnswer):
    """An error of the API or its gateway, with its code and message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(build_error_answer(status, code, message))


def build_html_answer(status: int, text: str, *, charset: str | None = None) -> Answer:
    """Return a page as a gateway or a proxy sends it.

    Args:
        status: The HTTP status.
        text: What the page says.
        charset: What its Content-Type says about the page, which is in UTF-8.
    """
    content_type = f"text/html; charset={charset}" if charset else "text/html"
    headers = {"Content-Type": content_type, "X-Request-Id": uuid.uuid4().hex}
    return Answer(status, headers, f"<html><body>{text}</body></html>".encode())


def build_error_answer(status: int, code: str, message: str) -> Answer:
    """Return an error in the form of the API; those of its gateway have their request id in the body too."""
    request_id = uuid.uuid4().hex
    body = {"error_code": code, "error_msg": message}
    if code.startswith("APIGW"):
        body["request_id"] = request_id
    return _build_json_answer(status, body, request_id)


def add_headers(answer: Answer, headers: Mapping[str, str]) -> Answer:
    """Return the same answer with these headers too; they replace those of the same name."""
    return replace(answer, headers={**answer.headers, **headers})


def format_http_date(moment: datetime) -> str:
    """Return a moment as headers have it, such as ``Mon, 23 Nov 2026 03:00:00 GMT``; fractions are cut off.

    Source: RFC 9110, IMF-fixdate.
    """
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def build_ok_answer(body: Mapping[str, Any]) -> Answer:
    """Return a 200 with this body."""
    return _build_json_answer(200, body, uuid.uuid4().hex)


def _build_json_answer(status: int, body: Mapping[str, Any], request_id: str) -> Answer:
    headers = {"Content-Type": "application/json", "X-Request-Id": request_id}
    return Answer(status, headers, json.dumps(body).encode())


def refuse_parameter(name: str) -> ApiRefusal:
    """Return the refusal of a parameter, BackupService.9900."""
    return ApiRefusal(400, "BackupService.9900", f"Parameter check failed: {name}")


def parse_sync_body(body: bytes) -> tuple[str, bool]:
    """Return the vault id, in lower case, and auto_trigger of an ImportCheckpoint body.

    Raises:
        ApiRefusal: The body is anything else.
    """
    try:
        match json.loads(body):
            case {"sync": {"vault_id": vault, "auto_trigger": bool(auto_trigger), **more}, **others}:
                if not more and not others:
                    return parse_vault_id(vault), auto_trigger
    except (ValueError, RecursionError):  # no JSON, no UUID, or too deeply nested
        pass
    raise refuse_parameter("sync")


def check_enums(query: dict[str, list[str]], **allowed: frozenset[str]) -> None:
    """Check the parameters of a query that have a fixed set of values.

    Args:
        query: The query's values by name.
        allowed: The allowed values by name.

    Raises:
        ApiRefusal: A parameter has another value.
    """
    for key, values in allowed.items():
        if key in query and query[key][0] not in values:
            raise refuse_parameter(key)


def parse_vault_filter(query: dict[str, list[str]]) -> dict[str, str]:
    """Return the vault_id of a query as a filter; empty without one.

    Raises:
        ApiRefusal: It is not a UUID.
    """
    try:
        return {"vault_id": parse_vault_id(query["vault_id"][0])} if "vault_id" in query else {}
    except ValueError:
        raise refuse_parameter("vault_id") from None


def parse_query_time(query: dict[str, list[str]], key: str) -> datetime | None:
    """Return a parameter of a query as a moment in UTC; None where it is missing.

    Raises:
        ApiRefusal: It is not of the form ``2018-02-01T12:00:00Z``.
    """
    if key not in query:
        return None
    try:
        return datetime.strptime(query[key][0], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise refuse_parameter(key) from None


def build_page(
    name: str, items: Sequence[T], query: dict[str, list[str]], to_row: Callable[[T], dict[str, Any]]
) -> dict[str, Any]:
    """Return one page of a list.

    Args:
        name: The key of the rows.
        items: Everything that matches the query; ``count`` is how many these are.
        query: The query's values by name; of these, ``limit`` (1 to 1000) and ``offset`` are read.
        to_row: Formats one item; called for those on the page only.

    Raises:
        ApiRefusal: ``limit`` or ``offset`` is out of range.
    """
    size = _parse_number(query, "limit", _MAX_LIMIT, range(1, _MAX_LIMIT + 1))
    start = _parse_number(query, "offset", 0, range(10**9))
    rows = [to_row(item) for item in items[start : start + size]]
    return {name: rows, "count": len(items), "limit": size, "offset": start}


def _parse_number(query: dict[str, list[str]], key: str, default: int, allowed: range) -> int:
    text = query.get(key, [str(default)])[0]
    # Ten digits at most: Python refuses to convert endless ones.
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) not in allowed:
        raise refuse_parameter(key)
    return int(text)
