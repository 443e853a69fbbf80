"""Webhooks: an HTTP request in, an HTTP reply out, whatever a stranger sends.

Sources: Lambda Developer Guide and API Gateway Developer Guide (proxy integrations); FunctionGraph User
Guide, "Using an APIG trigger"; RFC 9457 for errors.
"""

from __future__ import annotations

import base64
import binascii
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from cbr_sync.errors import (
    ApiError,
    EventError,
    RetryableError,
    SinkError,
    VaultNotAllowedError,
    WebhookRefusedError,
)
from cbr_sync.models import Kind, Status, Trigger
from cbr_sync.triggers import signature
from cbr_sync.triggers.base import (
    MAX_REPLY_BYTES,
    Envelope,
    Event,
    Message,
    Receiver,
    Reply,
    build_body,
    build_trigger,
    get_object,
    get_text,
    parse_moment,
)
from cbr_sync.validation import describe_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from aws_lambda_powertools import Logger

    from cbr_sync.results import RunResult

MAX_BODY_BYTES = 64 * 1024
RETRY_AFTER_SECONDS = 30
_HTTP_KEYS = frozenset({"httpMethod", "requestContext", "isBase64Encoded", "rawPath"})
# Source: Lambda Developer Guide, "Using Lambda with an Application Load Balancer".
MAX_ALB_REPLY_BYTES = 1_000_000
# API Gateway hangs up after 29 seconds.
MAX_SECONDS = 25.0
_GOOD = frozenset({Status.ACCEPTED, Status.SUCCEEDED, Status.DEFERRED})
_ASK_AGAIN = frozenset({Status.UNFINISHED, Status.ALREADY_RUNNING})
_EXTRA_HEADERS = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": "Standard-Webhooks, Bearer"},
    HTTPStatus.METHOD_NOT_ALLOWED: {"Allow": "POST"},
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": str(RETRY_AFTER_SECONDS)},
}


class HttpRequest(NamedTuple):
    """The HTTP request in a gateway's event.

    Attributes:
        method: In upper case.
        headers: By their names in lower case.
        body: The bytes as they were received.
    """

    method: str
    headers: Mapping[str, str]
    body: bytes


class WebhookEnvelope(Envelope):
    """An HTTP request of any gateway; strangers can send it, so it is authenticated before it is parsed."""

    max_seconds = MAX_SECONDS

    def __init__(
        self,
        name: str,
        *,
        matches: Callable[[Event], bool],
        multi_value_headers: bool = False,
        max_reply_bytes: int = MAX_REPLY_BYTES,
    ) -> None:
        """Define a form.

        Args:
            name: What it is called in messages to people.
            matches: Whether an event has it.
            multi_value_headers: Whether its gateway wants lists in the reply's headers.
            max_reply_bytes: How long a reply its gateway passes on.
        """
        super().__init__(name, Kind.WEBHOOK, matches=matches, read=lambda _: ())
        self._multi_value_headers = multi_value_headers
        self.max_reply_bytes = max_reply_bytes

    def read(self, event: Event, receiver: Receiver) -> list[Message]:
        """Return the one message in the request.

        Raises:
            WebhookRefusedError: 400, 401, 405, 413 or 415; the payload was not parsed.
        """
        request = parse_http_request(event)
        _check_form(request)
        if receiver.settings.webhook_auth == "signature":
            secrets, tokens, now = receiver.webhook_secrets, receiver.webhook_tokens, receiver.now()
            authenticate(request, secrets=secrets, tokens=tokens, now=now.timestamp())
        trigger = build_webhook_trigger(request, event, receiver.request_id)
        return [Message(trigger, request.body, platform_time=read_gateway_time(event))]

    def reply(self, result: RunResult) -> Reply:
        """Return the HTTP reply to a run.

        Raises:
            EventError, ApiError: The payload cannot be served; the boundary makes a reply of it.
        """
        for _, error in result.errors:
            raise error
        status = choose_status([outcome.status for outcome in result.outcomes])
        return self._build_reply(status, "application/json", build_body(result, self.max_reply_bytes))

    def reply_to_error(self, error: Exception, logger: Logger) -> Reply:
        """Return an RFC 9457 problem; of an unforeseen error no detail leaks."""
        status, detail = _choose_problem(error)
        if status is HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.error("webhook failed", exc_info=error)
        else:
            logger.warning("webhook refused", extra={"status": status, "reason": str(error)})
        body = {"type": "about:blank", "title": status.phrase, "status": status, "detail": detail}
        return self._build_reply(status, "application/problem+json", body)

    def _build_reply(self, status: HTTPStatus, media_type: str, body: Mapping[str, Any]) -> Reply:
        """Return the form of reply that API Gateway, Function URL, ALB and APIG all understand."""
        headers = {"Content-Type": media_type, **_EXTRA_HEADERS.get(status, {})}
        shaped = (
            {"multiValueHeaders": {key: [value] for key, value in headers.items()}}
            if self._multi_value_headers
            else {"headers": headers}
        )
        text = json.dumps(body, ensure_ascii=False)
        return {"statusCode": int(status), **shaped, "body": text, "isBase64Encoded": False}


class RefusedWebhookEnvelope(WebhookEnvelope):
    """An HTTP request of a gateway that is not served."""

    is_served = False

    def read(self, _event: Event, _receiver: Receiver) -> list[Message]:
        """Refuse the request; nobody has authenticated it.

        Raises:
            WebhookRefusedError: 400.
        """
        detail = f"requests of {self.name} are not served; use API Gateway, a Function URL, an ALB or APIG"
        raise WebhookRefusedError(HTTPStatus.BAD_REQUEST, detail)


def is_http(event: Event) -> bool:
    """Return whether the event looks like an HTTP request."""
    return not event.keys().isdisjoint(_HTTP_KEYS)


def is_alb(event: Event) -> bool:
    """Return whether the event is an HTTP request of an ALB."""
    return "elb" in get_object(event, "requestContext")


def is_lattice(event: Event) -> bool:
    """Return whether the event is an HTTP request of VPC Lattice, in either version.

    Source: VPC Lattice User Guide, "Lambda functions as targets".
    """
    return "raw_path" in event or "serviceNetworkArn" in get_object(event, "requestContext")


def is_multi_value_http(event: Event) -> bool:
    """Return whether the event is an HTTP request of an ALB with multi-value headers."""
    has_lists = bool(get_object(event, "multiValueHeaders"))
    return is_http(event) and has_lists and not get_object(event, "headers")


def parse_http_request(event: Event) -> HttpRequest:
    """Return the HTTP request in a gateway's event, whatever a stranger put into it.

    Raises:
        WebhookRefusedError: 400, the body is not a string, or not the base64 it claims to be.
    """
    http = get_object(get_object(event, "requestContext"), "http")
    method = get_text(event, "httpMethod") or get_text(http, "method")
    headers = {
        str(key).lower(): value
        for key, value in get_object(event, "headers").items()
        if isinstance(value, str)
    }
    for key, values in get_object(event, "multiValueHeaders").items():
        # Where both are there, only this one has all headers of one name.
        strings = [value for value in values if isinstance(value, str)] if isinstance(values, list) else []
        if strings:
            headers[str(key).lower()] = ",".join(strings)
    encoded = event.get("isBase64Encoded") is True
    return HttpRequest(method.upper(), headers, _decode_body(event.get("body"), encoded=encoded))


def authenticate(
    request: HttpRequest, *, secrets: Sequence[bytes], tokens: Sequence[str], now: float
) -> None:
    """Let a request pass that is signed or has a token; no token makes up for a wrong signature.

    Args:
        request: As it was received.
        secrets: The keys that it may be signed with.
        tokens: The tokens that it may have.
        now: The current time, in seconds since 1970.

    Raises:
        WebhookRefusedError: 401.
    """
    if not (secrets or tokens):
        detail = "no webhook is accepted here: neither a secret nor a token is configured"
        raise WebhookRefusedError(HTTPStatus.UNAUTHORIZED, detail)
    if tokens and not signature.is_signed(request.headers):
        signature.verify_token(request.headers, tokens)
    else:
        signature.verify(request.headers, request.body, secrets, now=now)


def build_webhook_trigger(request: HttpRequest, event: Event, request_id: str) -> Trigger:
    """Return the trigger: the webhook's own id, else the gateway's of the request.

    Its time is the signed one; without a signature, when the gateway got the request, where it says so.
    """
    own_id = get_text(request.headers, "webhook-id") or get_text(
        get_object(event, "requestContext"), "requestId"
    )
    time: object = read_gateway_time(event)
    if signature.is_signed(request.headers):
        time = signature.read_timestamp(request.headers)
    return build_trigger(Kind.WEBHOOK, own_id, time, request_id)


def read_gateway_time(event: Event) -> datetime | None:
    """Return when the gateway got the request; None where it does not say.

    Sources: API Gateway Developer Guide, ``requestTimeEpoch`` (REST) and ``timeEpoch`` (HTTP API, also
    Function URLs), both in milliseconds.
    """
    context = get_object(event, "requestContext")
    return parse_moment(context.get("requestTimeEpoch")) or parse_moment(context.get("timeEpoch"))


def choose_status(statuses: Sequence[Status]) -> HTTPStatus:
    """Return 503 where asking again helps, else 207 where something went wrong, else 200."""
    if not _ASK_AGAIN.isdisjoint(statuses):
        return HTTPStatus.SERVICE_UNAVAILABLE
    return HTTPStatus.OK if _GOOD.issuperset(statuses) else HTTPStatus.MULTI_STATUS


def _decode_body(body: object, *, encoded: bool) -> bytes:
    if body is None:
        return b""
    if not isinstance(body, str):
        detail = f"found {describe_value(body)} as the body, expected a string"
        raise WebhookRefusedError(HTTPStatus.BAD_REQUEST, detail)
    if not encoded:
        return body.encode(errors="replace")
    try:
        return base64.b64decode(body.encode(errors="replace"), validate=True)
    except binascii.Error:
        raise WebhookRefusedError(
            HTTPStatus.BAD_REQUEST, "the body is not the base64 that it claims to be"
        ) from None


def _check_form(request: HttpRequest) -> None:
    if request.method != "POST":
        raise WebhookRefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "only POST is served here")
    if len(request.body) > MAX_BODY_BYTES:
        detail = f"the body has {len(request.body)} bytes, at most {MAX_BODY_BYTES} are read"
        raise WebhookRefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )
    if not is_json:
        raise WebhookRefusedError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the Content-Type has to be application/json"
        )


def _choose_problem(error: Exception) -> tuple[HTTPStatus, str]:
    """Return the HTTP status of an error, and the detail that the sender gets."""
    match error:
        case WebhookRefusedError(status=status):
            return status, str(error)
        case VaultNotAllowedError():
            return HTTPStatus.FORBIDDEN, str(error)
        case EventError():
            return HTTPStatus.BAD_REQUEST, str(error)
        case RetryableError():
            return HTTPStatus.SERVICE_UNAVAILABLE, str(error)
        case SinkError():
            return HTTPStatus.SERVICE_UNAVAILABLE, "the outcomes could not be sent everywhere; send it again"
        case ApiError():
            return HTTPStatus.BAD_GATEWAY, str(error)
    detail = "the request could not be served; the reason is in the function's log"
    return HTTPStatus.INTERNAL_SERVER_ERROR, detail
