"""HTTP answers of the simulated API, and the parsing of its parameters.

Sources: API reference of CBR (ImportCheckpoint, ListOpLogs, ListVault, error codes); API Request Signing
Guide (APIGW codes). What no page documents is marked as inferred.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from cbr_sync.models import vault_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cbr_sync.simulator.faults import Fault

_MAX_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes


class EarlyAnswer(Exception):
    """Ends the handling of a request with this answer or fault."""

    def __init__(self, result: Answer | Fault) -> None:
        self.result = result


class ApiRefusal(EarlyAnswer):
    """An error of the API or its gateway, with its code and message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(build_error_answer(status, code, message))


_GATEWAY = {
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


def build_gateway_error(status: int) -> Answer:
    """Return the error that a gateway answers with this status."""
    if status in _GATEWAY:
        answer = build_error_answer(status, *_GATEWAY[status])
        more = {"Retry-After": "1"} if status == HTTPStatus.TOO_MANY_REQUESTS else {}
        return Answer(status, {**answer.headers, **more}, answer.body)
    answer = build_html_answer(status, HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown")
    if status < HTTPStatus.BAD_REQUEST:
        answer.headers["Location"] = "https://example.com/elsewhere"
    # A 304 has no body: what is sent after it would be read as the next answer.
    return Answer(status, answer.headers, b"") if status == HTTPStatus.NOT_MODIFIED else answer


def build_html_answer(status: int, text: str) -> Answer:
    """Return a page such as a gateway or a proxy sends."""
    headers = {"Content-Type": "text/html", "X-Request-Id": uuid.uuid4().hex}
    return Answer(status, headers, f"<html><body>{text}</body></html>".encode())


def build_error_answer(status: int, code: str, message: str) -> Answer:
    """Return an error in the API's own form."""
    request_id = uuid.uuid4().hex
    body = {"error_code": code, "error_msg": message}
    if code.startswith("APIGW"):
        body["request_id"] = request_id
    return build_json_answer(status, body, request_id)


def build_ok_answer(body: dict[str, Any]) -> Answer:
    """Return a 200 with this body."""
    return build_json_answer(200, body, uuid.uuid4().hex)


def build_json_answer(status: int, body: Mapping[str, Any], request_id: str) -> Answer:
    """Return an answer with this status, JSON body and request id."""
    headers = {"Content-Type": "application/json", "X-Request-Id": request_id}
    return Answer(status, headers, json.dumps(body).encode())


def refuse_parameter(what: str) -> ApiRefusal:
    """Return the refusal of a parameter, BackupService.9900."""
    return ApiRefusal(400, "BackupService.9900", f"Parameter check failed: {what}")


def parse_sync_body(body: bytes) -> tuple[str, bool]:
    """Return the vault id and auto_trigger of an ImportCheckpoint body."""
    try:
        match json.loads(body):
            case {"sync": {"vault_id": vault, "auto_trigger": bool(auto_trigger), **more}, **others}:
                if not more and not others:
                    return vault_id(vault), auto_trigger
    except (ValueError, RecursionError):  # no JSON, no UUID, or too deeply nested
        pass
    raise refuse_parameter("sync")


def check_enums(query: dict[str, list[str]], **words: frozenset[str]) -> None:
    """Refuse a query parameter that has none of its allowed values."""
    for key, known in words.items():
        if key in query and query[key][0] not in known:
            raise refuse_parameter(key)


def parse_vault_filter(query: dict[str, list[str]]) -> dict[str, str]:
    """Return the vault_id of a query as a filter; empty without one."""
    try:
        return {"vault_id": vault_id(query["vault_id"][0])} if "vault_id" in query else {}
    except ValueError:
        raise refuse_parameter("vault_id") from None


def parse_query_time(query: dict[str, list[str]], key: str) -> datetime | None:
    """Return a query parameter as a moment in UTC; None where it is missing."""
    if key not in query:
        return None
    try:
        return datetime.strptime(query[key][0], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise refuse_parameter(key) from None


def build_page(name: str, rows: list[dict[str, Any]], query: dict[str, list[str]]) -> dict[str, Any]:
    """Return one page of rows, as limit and offset ask for it."""
    size = _parse_number(query, "limit", _MAX_LIMIT, range(1, _MAX_LIMIT + 1))
    start = _parse_number(query, "offset", 0, range(10**9))
    return {name: rows[start : start + size], "count": len(rows), "limit": size, "offset": start}


def _parse_number(query: dict[str, list[str]], key: str, default: int, allowed: range) -> int:
    text = query.get(key, [str(default)])[0]
    # Ten digits at most: Python refuses to convert endless ones.
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) not in allowed:
        raise refuse_parameter(key)
    return int(text)


def lower_names(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers with their names in lower case."""
    return {key.lower(): value for key, value in headers.items()}
