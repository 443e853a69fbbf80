"""A signed call to an API of Huawei Cloud: its answer, or its error translated.

Sources: API reference of CBR, appendix "Error codes"; API Request Signing Guide, "Error codes" (APIGW);
the exception handlers of the vendor's SDKs for the four shapes an error may have.
"""

from __future__ import annotations

import json
import re
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from cbr_sync.errors import (
    ApiError,
    CredentialsRefusedError,
    NotAcceptedError,
    OutcomeUnknownError,
    RetryableError,
)
from cbr_sync.huawei.signing import SdkHmacAuth
from cbr_sync.transport import new_request, redact, send

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    import httpx

    from cbr_sync.models import Credentials
    from cbr_sync.retry import Retry, Throttle
    from cbr_sync.transport import Response


T = TypeVar("T")


AnswerT = TypeVar("AnswerT", bound=BaseModel)


_PAIRS = (("error_code", "error_msg"), ("errorCode", "errorMsg"), ("code", "message"))


_OK = range(200, 300)


_REDIRECT = range(300, 400)


_SERVER_ERROR = 500


# Codes decide before the HTTP status does: one code comes with several statuses.
_BY_CODE: tuple[tuple[re.Pattern[str], type[ApiError]], ...] = (
    (re.compile(r"APIG(W)?\.(0308|0613)"), NotAcceptedError),
    (re.compile(r"APIG(W)?\.03\d\d|BackupService\.9998"), CredentialsRefusedError),
    (re.compile(r"APIG(W)?\.06(01|05|06|08|09|10|11|12)|BackupService\.9910"), OutcomeUnknownError),
)


# A code of the service itself, beyond the gateway that checks signatures.
_SIGNATURE_WAS_READ = re.compile(r"BackupService\.(?!9998)")


_BY_STATUS: dict[int, type[ApiError]] = {
    401: CredentialsRefusedError,
    403: CredentialsRefusedError,
    429: NotAcceptedError,
    503: NotAcceptedError,
}


class SignedClient:
    """Calls signed with one invocation's credentials, over the instance's connection pool.

    More than five refused signatures in a row lock an access key for everyone who uses it. So there is one
    request at a time until an API has accepted the credentials, and after the first refusal none is sent
    (after a 403, none of that method to that host: the signature was right, the right was missing).
    ``renew`` gives the credentials as the platform has them now; where they are others than those refused,
    they are tried, once.
    """

    def __init__(
        self,
        transport: httpx.BaseTransport,
        credentials: Credentials,
        *,
        now: Callable[[], datetime],
        renew: Callable[[], Credentials | None] = lambda: None,
    ) -> None:
        self._transport = transport
        self._credentials = credentials
        self._now = now
        self._renew = renew
        self._renewed = False
        self._accepted = False
        self._refusals: dict[tuple[str, str], CredentialsRefusedError] = {}
        self._lock = threading.Lock()
        self._renewing = threading.Lock()

    def call(
        self,
        answer: type[AnswerT],
        method: str,
        url: str,
        *,
        timeout_seconds: Callable[[], float],
        body: Any = None,
        project_id: str | None = None,
    ) -> AnswerT:
        """What the API answers, read as this model; unknown fields pass.

        ``body`` is serialised once, so that the bytes signed are the bytes sent. ``timeout_seconds`` is
        asked for when the request is sent, which may be after others were.

        Raises:
            NotAcceptedError, OutcomeUnknownError: a later attempt may succeed.
            CredentialsRefusedError: never to be sent again with these credentials.
            ApiError: final; also for redirects and for answers that the model cannot read.
        """
        headers = {"Accept": "application/json"}
        if project_id:
            headers["X-Project-Id"] = project_id
        if body is not None:
            headers["Content-Type"] = "application/json;charset=utf-8"
        content = None if body is None else json.dumps(body, separators=(",", ":")).encode()

        def attempt() -> AnswerT:
            request = new_request(method, url, headers, content)
            return self._attempt(answer, request, timeout_seconds)

        if not self._accepted:
            with self._lock:
                if not self._accepted:
                    return attempt()
        return attempt()

    def _attempt(
        self, answer: type[AnswerT], request: httpx.Request, timeout_seconds: Callable[[], float]
    ) -> AnswerT:
        while True:
            if refusal := self._refusals.get(_EVERYTHING) or self._refusals.get(_refusal_scope(request)):
                raise CredentialsRefusedError(
                    refusal.code,
                    refusal.message,
                    request_id=refusal.request_id,
                    http_status=refusal.http_status,
                    sent=False,
                )
            credentials = self._credentials
            try:
                return self._send(answer, request, credentials, timeout_seconds)
            except CredentialsRefusedError as refusal:
                self._replace(credentials, request, refusal)

    def _replace(
        self, refused: Credentials, request: httpx.Request, refusal: CredentialsRefusedError
    ) -> None:
        """Put other credentials in the place of those refused; without any, nothing is sent any more.

        Raises:
            CredentialsRefusedError: there are no others.
        """
        with self._renewing:
            if not self._renewed:
                self._renewed, self._credentials = True, self._renew() or refused
            if self._credentials == refused:
                # Who is known but may not do this may still do that: a forbidden look must not keep a sync
                # from being sent, nor a forbidden sync the message that tells of it.
                forbidden = refusal.http_status == HTTPStatus.FORBIDDEN
                self._refusals.setdefault(_refusal_scope(request) if forbidden else _EVERYTHING, refusal)
                raise refusal

    def _send(
        self,
        answer: type[AnswerT],
        request: httpx.Request,
        credentials: Credentials,
        timeout_seconds: Callable[[], float],
    ) -> AnswerT:
        auth = SdkHmacAuth(credentials, self._now)
        response = send(self._transport, request, auth=auth, timeout_seconds=timeout_seconds())
        if response.status_code not in _OK:
            error = _parse_error(response, credentials)
            self._accepted = self._accepted or _SIGNATURE_WAS_READ.match(error.code) is not None
            raise error
        self._accepted = True
        try:
            return answer.model_validate_json(response.content)
        except ValidationError:
            # Its text would show the answer, which may echo our keys; so it is not chained.
            message = f"HTTP {response.status_code}, but not what the API documents: {response.text}"
            raise _build_error_from(
                ApiError, "CbrSync.UnreadableAnswer", message, response, credentials
            ) from None


_EVERYTHING = ("", "")


def _refusal_scope(request: httpx.Request) -> tuple[str, str]:
    return request.url.host, request.method


def _parse_error(response: Response, credentials: Credentials) -> ApiError:
    answer = _parse_json(response)
    kind: type[ApiError] = ApiError
    if response.status_code in _REDIRECT:
        code = "CbrSync.Redirected"
        message = f"HTTP {response.status_code}: the API does not redirect; check the endpoint"
    else:
        code, message = _find_code_and_message(answer) or (str(response.status_code), response.text)
        kind = classify(code, response.status_code)
    return _build_error_from(kind, code, message, response, credentials)


def _build_error_from(
    kind: type[ApiError], code: str, message: str, response: Response, credentials: Credentials
) -> ApiError:
    """The error with what the answer tells beside, and without the keys that the server may have echoed."""
    answer, headers = _parse_json(response), response.headers
    in_body = answer.get("request_id") if isinstance(answer, dict) else None
    request_id = headers.get("X-Request-Id") or headers.get("X-IAM-Trace-Id") or in_body
    return kind(
        redact(code, credentials),
        redact(message, credentials),
        request_id=redact(str(request_id), credentials) if request_id else None,
        http_status=response.status_code,
        retry_after_seconds=_parse_retry_after(headers.get("Retry-After")),
    )


class ProjectClient(NamedTuple):
    """One project's way to a service: requests that are tried again until a deadline.

    ``timeout_seconds`` tells for a deadline how long one request may wait.
    """

    client: SignedClient
    project_id: str
    retry: Retry
    pace: Throttle
    timeout_seconds: Callable[[float], float]

    def post(self, answer: type[AnswerT], url: str, body: Any, until: float) -> AnswerT:
        """One POST; raises as ``SignedClient.call`` does."""
        return self.client.call(
            answer,
            "POST",
            url,
            body=body,
            project_id=self.project_id,
            timeout_seconds=lambda: self.timeout_seconds(until),
        )

    def try_again(self, attempt: Callable[[], T], until: float) -> T:
        """What the first successful attempt gives; raises as ``Retry.call`` does."""
        return self.retry.call(attempt, until=until, retry_on=RetryableError, pace=self.pace)


def classify(code: str, http_status: int) -> type[ApiError]:
    """What kind of no this is: by its code, then by its HTTP status."""
    for pattern, kind in _BY_CODE:
        if pattern.fullmatch(code):
            return kind
    if http_status in _BY_STATUS:
        return _BY_STATUS[http_status]
    return OutcomeUnknownError if http_status >= _SERVER_ERROR else ApiError


def _parse_json(response: Response) -> object:
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError):
        return None


def _find_code_and_message(answer: object) -> tuple[str, str] | None:
    """The last code and message in the answer; the pair may stand at any depth of objects."""
    found = list(_find_pairs(answer))
    return found[-1] if found else None


def _find_pairs(answer: object) -> Iterator[tuple[str, str]]:
    """Every pair, in order; without recursion, since an answer may be nested deeper than that goes."""
    levels = [answer]
    while levels:
        level = levels.pop()
        if not isinstance(level, dict):
            continue
        for code, message in _PAIRS:
            if level.get(code) is not None and level.get(message) is not None:
                yield str(level[code]), str(level[message])
                break
        else:
            levels.extend(reversed(level.values()))


def _parse_retry_after(retry_after: str | None) -> float | None:
    """Retry-After in seconds; its other form, a date, is left to our own backoff."""
    return float(retry_after) if retry_after and re.fullmatch(r"\d{1,5}", retry_after) else None
