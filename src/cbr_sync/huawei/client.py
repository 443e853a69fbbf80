"""A signed call to an API of Huawei Cloud: its answer, or its error translated.

Sources: API reference of CBR, appendix "Error codes"; API Request Signing Guide, "Error codes" (APIGW);
the exception handlers of the vendor's SDKs for the four shapes an error may have.
"""

from __future__ import annotations

import json
import re
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from cbr_sync.errors import (
    ApiError,
    CredentialsRefusedError,
    NotAcceptedError,
    OutcomeUnknownError,
    ThrottledError,
)
from cbr_sync.huawei.clock import parse_http_date
from cbr_sync.huawei.signing import SdkHmacAuth
from cbr_sync.transport import new_request, redact, send

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    import httpx

    from cbr_sync.clock import Clock
    from cbr_sync.credentials import Credentials, KeyStates
    from cbr_sync.huawei.clock import ApiClock
    from cbr_sync.retry import Retrier, Retry, Throttle
    from cbr_sync.transport import Response

AnswerT = TypeVar("AnswerT", bound=BaseModel)

_PAIRS = (("error_code", "error_msg"), ("errorCode", "errorMsg"), ("code", "message"))
_OK = range(200, 300)
_REDIRECT = range(300, 400)
_FORBIDDEN = 403
_SERVER_ERROR = 500
# Codes decide before the HTTP status does: one code comes with several statuses.
_BY_CODE: tuple[tuple[re.Pattern[str], type[ApiError]], ...] = (
    (re.compile(r"APIG(W)?\.(0308|0613)"), ThrottledError),
    (re.compile(r"APIG(W)?\.03(01|03|05|07)|BackupService\.9998"), CredentialsRefusedError),
    (re.compile(r"APIG(W)?\.06(01|05|06|08|09|10|11|12)|BackupService\.9910"), OutcomeUnknownError),
)
# 408 and 499 come from proxies that gave up on a side; the request may have been passed on before.
_BY_STATUS: dict[int, type[ApiError]] = {
    401: CredentialsRefusedError,
    408: OutcomeUnknownError,
    425: NotAcceptedError,
    429: ThrottledError,
    499: OutcomeUnknownError,
    503: NotAcceptedError,
}
# A code of the service itself, beyond the gateway that checks signatures.
_SERVICE_CODE = re.compile(r"BackupService\.(?!9998)")


class SignedClient:
    """Calls signed with one invocation's credentials, over the instance's connection pool.

    More than five refused signatures in a row lock an access key for everyone who uses it. So keys that no
    API has accepted yet are tried by one request alone, and after a refusal nothing is sent with them for
    five minutes; the platform is asked once whether it has others. A 403 is the end of its own call only: the
    signature was right, a permission is missing.
    """

    def __init__(
        self,
        transport: httpx.BaseTransport,
        credentials: Credentials,
        *,
        key_states: KeyStates,
        clock: Clock,
        renew: Callable[[], Credentials | None] = lambda: None,
    ) -> None:
        """Sign with these credentials, or with those that renew them.

        Args:
            transport: Sends the requests.
            credentials: The keys to begin with.
            key_states: Which keys were accepted or refused in this instance.
            clock: The instance's clock.
            renew: Returns the credentials as the platform has them now; None where it has none.
        """
        self._transport = transport
        self._credentials = credentials
        self._key_states = key_states
        self._clock = clock
        self._renew = renew
        self._renewed = False
        self._turn: threading.Event | None = None
        self._taking_turns = threading.Lock()
        self._renewing = threading.Lock()

    def redact(self, text: str) -> str:
        """Return the words of a service on one line, cut, without our keys and what may be a signature."""
        return redact(text, self._credentials)

    def call(  # noqa: PLR0913 - all but the first by name
        self,
        answer: type[AnswerT],
        method: str,
        url: str,
        *,
        timeout_seconds: Callable[[], float],
        body: Any = None,
        project_id: str | None = None,
        api_clock: ApiClock | None = None,
    ) -> AnswerT:
        """Return what the API answers, read as a model; unknown fields pass.

        Args:
            answer: The model.
            method: The HTTP method.
            url: With its query encoded as it is sent.
            timeout_seconds: Asked for when the request is sent, which may be after others were.
            body: Serialised once, so that the bytes signed are the bytes sent.
            project_id: Sent as ``X-Project-Id``.
            api_clock: Learns from the answer how far the API's clock is off.

        Raises:
            NotAcceptedError: The request was not accepted; sending it again is safe.
            OutcomeUnknownError: It may have arrived.
            CredentialsRefusedError: Nothing is sent with these credentials any more.
            ApiError: Final; also for redirects, and for answers to a GET that the model cannot read.
        """
        headers = {"Accept": "application/json"}
        if project_id:
            headers["X-Project-Id"] = project_id
        if body is not None:
            headers["Content-Type"] = "application/json;charset=utf-8"
        content = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        while True:
            credentials = self._credentials
            request = new_request(method, url, headers, content)
            try:
                return self._send_with(credentials, answer, request, timeout_seconds, api_clock)
            except CredentialsRefusedError as refusal:
                self._replace_credentials(credentials, refusal)

    def _send_with(
        self,
        credentials: Credentials,
        answer: type[AnswerT],
        request: httpx.Request,
        timeout_seconds: Callable[[], float],
        api_clock: ApiClock | None,
    ) -> AnswerT:
        """Send the request, alone where no API has accepted these credentials yet."""
        if self._key_states.is_accepted(credentials):
            return self._send(credentials, answer, request, timeout_seconds, api_clock)
        while turn := self._take_turn():
            if not self._clock.wait(turn, timeout_seconds()):
                message = "no time was left while another request tried the keys"
                raise NotAcceptedError("CbrSync.OutOfTime", message, sent=False)
            if self._key_states.is_accepted(credentials):
                return self._send(credentials, answer, request, timeout_seconds, api_clock)
        try:
            return self._send(credentials, answer, request, timeout_seconds, api_clock)
        finally:
            self._end_turn()

    def _take_turn(self) -> threading.Event | None:
        """Be the request that tries the keys; return what to wait for where another one does."""
        with self._taking_turns:
            if self._turn is None:
                self._turn = threading.Event()
                return None
            return self._turn

    def _end_turn(self) -> None:
        with self._taking_turns:
            if self._turn:
                self._turn.set()
            self._turn = None

    def _replace_credentials(self, refused: Credentials, refusal: CredentialsRefusedError) -> None:
        """Put the platform's present credentials in the place of those refused, once in a run.

        Raises:
            CredentialsRefusedError: There are no others.
        """
        with self._renewing:
            if not self._renewed:
                self._renewed, self._credentials = True, self._renew() or refused
            if self._credentials == refused:
                raise refusal

    def _send(
        self,
        credentials: Credentials,
        answer: type[AnswerT],
        request: httpx.Request,
        timeout_seconds: Callable[[], float],
        api_clock: ApiClock | None,
    ) -> AnswerT:
        if refusal := self._key_states.find_refusal(credentials):
            raise CredentialsRefusedError(
                refusal.code,
                refusal.message,
                request_id=refusal.request_id,
                http_status=refusal.http_status,
                sent=False,
            )
        auth = SdkHmacAuth(credentials, self._clock.now)
        sent_at = self._clock.now()
        response = send(self._transport, request, auth=auth, timeout_seconds=timeout_seconds())
        received_at = self._clock.now()
        if api_clock:
            api_clock.observe(sent_at, received_at, response.headers.get("Date"))
        if response.status_code not in _OK:
            error = _build_error(response, credentials, received_at)
            self._note(credentials, error)
            raise error
        self._key_states.accept(credentials)
        try:
            return _parse_answer(answer, response.content)
        except ValidationError:
            # Its text would show the answer, which may echo our keys; so it is not chained.
            message = f"HTTP {response.status_code}, but not what the API documents: {response.text}"
            kind = ApiError if request.method == "GET" else OutcomeUnknownError
            code = "CbrSync.UnreadableAnswer"
            raise _describe_answer(kind, code, message, response, credentials, received_at) from None

    def _note(self, credentials: Credentials, error: ApiError) -> None:
        """Note what an error says about the keys."""
        if isinstance(error, CredentialsRefusedError):
            self._key_states.refuse(credentials, error)
        elif error.http_status == _FORBIDDEN or _SERVICE_CODE.match(error.code):
            self._key_states.accept(credentials)


class ProjectClient:
    """One project's client of a service; requests are repeated until a deadline.

    Attributes:
        project_id: The project that requests are for.
    """

    def __init__(
        self,
        client: SignedClient,
        project_id: str,
        *,
        retrier: Retrier,
        throttle: Throttle,
        timeout_seconds: Callable[[float], float],
    ) -> None:
        """Call a service for a project.

        Args:
            client: Signs and sends.
            project_id: As the attribute.
            retrier: Repeats attempts.
            throttle: The pace of this service.
            timeout_seconds: Returns for a deadline how long one request may take.
        """
        self.project_id = project_id
        self._client = client
        self._retrier = retrier
        self._throttle = throttle
        self._timeout_seconds = timeout_seconds

    def post(self, answer: type[AnswerT], url: str, body: Any, deadline: float) -> AnswerT:
        """Send one POST and return its answer; raises as :meth:`SignedClient.call` does."""
        return self._client.call(
            answer,
            "POST",
            url,
            body=body,
            project_id=self.project_id,
            timeout_seconds=lambda: self._timeout_seconds(deadline),
        )

    def redact(self, text: str) -> str:
        """Return the words of the service as they may be shown; see :meth:`SignedClient.redact`."""
        return self._client.redact(text)

    def bind_retry(self, deadline: float) -> Retry:
        """Return what repeats attempts until *deadline*, a few times at most, at the pace of this service."""
        return self._retrier.bind(deadline=deadline, throttle=self._throttle, count_all=True)


def _build_error(response: Response, credentials: Credentials, now: datetime) -> ApiError:
    if response.status_code in _REDIRECT:
        message = f"HTTP {response.status_code}: the API does not redirect; check the endpoint"
        return _describe_answer(ApiError, "CbrSync.Redirected", message, response, credentials, now)
    found = _find_code_and_message(_parse_json(response.content))
    code, message = found or (str(response.status_code), response.text)
    kind = classify(code, response.status_code)
    return _describe_answer(kind, code, message, response, credentials, now)


def _describe_answer(
    kind: type[ApiError],
    code: str,
    message: str,
    response: Response,
    credentials: Credentials,
    now: datetime,
) -> ApiError:
    """Return the error with what the answer says beside, without keys that the server may have echoed."""
    answer, headers = _parse_json(response.content), response.headers
    in_body = answer.get("request_id") if isinstance(answer, dict) else None
    request_id = headers.get("X-Request-Id") or headers.get("X-IAM-Trace-Id") or in_body
    return kind(
        redact(code, credentials) or str(response.status_code),
        redact(message, credentials),
        request_id=redact(str(request_id), credentials) if request_id else None,
        http_status=response.status_code,
        # A date is on the API's clock, which its own Date shows.
        retry_after_seconds=parse_retry_after(
            headers.get("Retry-After"), parse_http_date(headers.get("Date")) or now
        ),
    )


def classify(code: str, http_status: int) -> type[ApiError]:
    """Return the kind of an error: by its code, then by its HTTP status."""
    for pattern, kind in _BY_CODE:
        if pattern.fullmatch(code):
            return kind
    if http_status in _BY_STATUS:
        return _BY_STATUS[http_status]
    return OutcomeUnknownError if http_status >= _SERVER_ERROR else ApiError


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Return Retry-After in seconds, from either of its forms; None where there is none that can be read.

    Source: RFC 9110, section 10.2.3. Fractions of a second are not in it, but are sent.
    """
    if value is None:
        return None
    if re.fullmatch(r"\d{1,6}(\.\d{0,6})?", value.strip()):
        return float(value)
    moment = parse_http_date(value)
    return None if moment is None else max((moment - now).total_seconds(), 0.0)


def _parse_answer(answer: type[AnswerT], content: bytes) -> AnswerT:
    """Return the answer as a model.

    Raises:
        ValidationError: It is not what the model reads.
    """
    try:
        return answer.model_validate_json(content)
    except ValidationError:
        # Half of an emoji, or a text in another encoding, must not spoil a whole list.
        return answer.model_validate(_parse_json(content.decode(errors="replace")))


def _parse_json(content: bytes | str) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _find_code_and_message(answer: object) -> tuple[str, str] | None:
    """Return the last code and message in the answer; the pair may stand at any depth of objects."""
    pairs = list(_find_pairs(answer))
    return pairs[-1] if pairs else None


def _find_pairs(answer: object) -> Iterator[tuple[str, str]]:
    """Yield every pair, in order; without recursion, since an answer may be nested deeper than that goes."""
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
