"""A signed call to an API of Huawei Cloud: whatever it answers, the error says what kind of no it is."""

from __future__ import annotations

import json
import threading
import traceback
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from cbr_sync.clock import Clock
from cbr_sync.credentials import Credentials, KeyStates
from cbr_sync.errors import (
    ApiError,
    CredentialsRefusedError,
    NotAcceptedError,
    OutcomeUnknownError,
    ThrottledError,
)
from cbr_sync.huawei.client import ProjectClient, SignedClient, classify
from cbr_sync.huawei.signing import compute_signature
from cbr_sync.retry import Throttle
from cbr_sync.threads import run_until
from support.world import World

KEYS = Credentials("made-up-access-key", "made-up-secret-key", "made-up-token")
URL = "https://cbr.cn-north-4.myhuaweicloud.com/v3/p/checkpoints/sync"
Answering = Callable[[httpx.Request], httpx.Response]


def format_traceback(error: BaseException) -> str:
    """All that a platform may log of an error: its text, and what it was raised from."""
    return "".join(traceback.format_exception(error))


class Answer(BaseModel):
    """What is asked for."""

    value: int


def call_api(
    world: World, answering: Answering | httpx.Response, method: str = "POST", **more: Any
) -> Answer:
    """One call to an API that answers so."""
    answer = answering if callable(answering) else lambda _request: answering
    http = httpx.MockTransport(answer)
    client = SignedClient(http, KEYS, key_states=KeyStates(world.clock), clock=world.clock)
    return client.call(Answer, method, URL, **{"timeout_seconds": lambda: 5, "body": {"a": "é"}, **more})


def get_error(world: World, answering: Answering | httpx.Response, **more: Any) -> ApiError:
    """The error of such a call."""
    with pytest.raises(ApiError) as error:
        call_api(world, answering, **more)
    return error.value


def test_the_bytes_that_are_signed_are_the_bytes_that_are_sent(world: World) -> None:
    """Serialised once, with the project beside; unknown fields of the answer pass."""
    seen: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"value": 1, "unknown": None})

    assert call_api(world, respond, project_id="p").value == 1
    (request,) = seen
    assert json.loads(request.content) == {"a": "é"}
    assert request.headers["X-Project-Id"] == "p"
    names = ["content-type", "host", "x-project-id", "x-sdk-date", "x-security-token"]
    signed = [(name, request.headers[name]) for name in names]
    _, hex_signature = compute_signature(KEYS.secret_key, "POST", request.url.path, signed, request.content)
    assert request.headers["Authorization"] == (
        f"SDK-HMAC-SHA256 Access={KEYS.access_key}, "
        f"SignedHeaders={';'.join(names)}, Signature={hex_signature}"
    )


def test_a_get_request_has_no_body(world: World) -> None:
    """Nor a content type, nor a project that it was not given."""
    seen: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"value": 1})

    call_api(world, respond, body=None)
    (request,) = seen
    assert request.content == b""
    assert request.headers.keys().isdisjoint({"content-type", "x-project-id"})
    assert request.headers["Accept"] == "application/json"


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"error_code": "BackupService.7300", "error_msg": "no"}, "BackupService.7300", "no"),
        ({"error": {"code": 401, "message": "no", "title": "t"}}, "401", "no"),
        ({"code": "SMN.1", "message": "no", "request_id": "in-body"}, "SMN.1", "no"),
        ({"errorCode": "X.1", "errorMsg": "no"}, "X.1", "no"),
        ({"deep": {"deeper": {"error_code": "X.2", "error_msg": "no"}}}, "X.2", "no"),
        ({"a": {"code": "X.1", "message": "1"}, "b": {"code": "X.2", "message": "2"}}, "X.2", "2"),
        ({"error_code": "X.3"}, "404", '{"error_code":"X.3"}'),
        (["X.4"], "404", '["X.4"]'),
    ],
)
def test_every_shape_of_an_error_is_read(world: World, body: object, code: str, message: str) -> None:
    """The four documented ones, at any depth, the last one found; else status and text."""
    error = get_error(world, httpx.Response(404, json=body))
    assert (error.code, error.message, error.http_status) == (code, message, 404)
    assert type(error) is ApiError


@pytest.mark.parametrize(
    "text",
    ["<html>gone</html>", "", "[" * 100_000, '{"a":' * 5_000 + "1" + "}" * 5_000, "\x00"],
    ids=["html", "nothing", "an endless list", "a deep object", "a NUL"],
)
def test_an_error_that_is_no_json_is_its_status_and_text(world: World, text: str) -> None:
    """On one line, and cut."""
    error = get_error(world, httpx.Response(404, text=text))
    assert error.code == "404"
    assert len(error.message) <= 500


@pytest.mark.parametrize(
    ("headers", "body", "request_id"),
    [
        ({"X-Request-Id": "a"}, {"request_id": "b"}, "a"),
        ({"X-IAM-Trace-Id": "c"}, {}, "c"),
        ({}, {"request_id": "b"}, "b"),
        ({}, {}, None),
    ],
)
def test_the_request_id_is_found_wherever_it_is(
    world: World, headers: dict[str, str], body: dict[str, str], request_id: str | None
) -> None:
    """The gateway's header, IAM's header, or the body."""
    assert get_error(world, httpx.Response(400, headers=headers, json=body)).request_id == request_id


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("APIGW.0308", 400, ThrottledError),
        ("APIG.0308", 429, ThrottledError),
        ("APIGW.0308", 403, ThrottledError),
        ("APIGW.0308", 500, ThrottledError),
        ("APIGW.0613", 500, ThrottledError),
        ("429", 429, ThrottledError),
        ("425", 425, NotAcceptedError),
        ("503", 503, NotAcceptedError),
        ("408", 408, OutcomeUnknownError),
        ("499", 499, OutcomeUnknownError),
        ("BackupService.9998", 500, CredentialsRefusedError),
        ("APIGW.0301", 401, CredentialsRefusedError),
        ("APIGW.0303", 400, CredentialsRefusedError),
        ("401", 401, CredentialsRefusedError),
        ("APIGW.0307", 401, CredentialsRefusedError),
        ("APIGW.0302", 403, ApiError),
        ("403", 403, ApiError),
        ("BackupService.9910", 500, OutcomeUnknownError),
        ("APIGW.0605", 500, OutcomeUnknownError),
        ("APIGW.0201", 502, OutcomeUnknownError),
        ("APIGW.0201", 504, OutcomeUnknownError),
        ("APIGW.0201", 413, ApiError),
        ("APIGW.0201", 400, ApiError),
        ("BackupService.6105", 404, ApiError),
        ("BackupService.6105", 400, ApiError),
        ("BackupService.7300", 400, ApiError),
        ("BackupService.7302", 400, ApiError),
        ("BackupService.8600", 403, ApiError),
        ("BackupService.1005", 500, OutcomeUnknownError),
        ("xAPIGW.0308", 404, ApiError),
        ("APIGW.03081", 404, ApiError),
        ("404", 404, ApiError),
    ],
)
def test_codes_decide_before_the_status_does(code: str, status: int, kind: type[ApiError]) -> None:
    """One code comes with several statuses, and an authentication error as 500."""
    assert classify(code, status) is kind


def test_a_redirect_is_an_error(world: World) -> None:
    """The vendor's SDK lets it pass as an empty success."""
    error = get_error(world, httpx.Response(302, headers={"Location": "https://example.com/"}))
    assert (type(error), error.code, error.http_status) == (ApiError, "CbrSync.Redirected", 302)


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"[]", b"{}", b'{"value": 1', b'{"value": "x"}', b"\xff"]
)
@pytest.mark.parametrize(("method", "kind"), [("GET", ApiError), ("POST", OutcomeUnknownError)])
def test_a_success_that_cannot_be_read_names_its_status(
    world: World, content: bytes, method: str, kind: type[ApiError]
) -> None:
    """And its request id; after a POST nobody knows whether it did something."""
    error = get_error(
        world, httpx.Response(200, content=content, headers={"X-Request-Id": "r"}), method=method
    )
    assert (type(error), error.code) == (kind, "CbrSync.UnreadableAnswer")
    assert (error.http_status, error.request_id) == (200, "r")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("120.0", 120.0),
        ("Mon, 23 Nov 2026 03:00:40 GMT", 40.0),
        ("Monday, 23-Nov-26 03:00:40 GMT", 40.0),
        ("Mon, 23 Nov 2026 02:00:00 GMT", 0.0),
        ("", None),
        ("Mon, 23 Nov 2026", None),
        ("-1", None),
        ("1e9", None),
        ("9" * 5000, None),
    ],
)
def test_retry_after_is_honoured_in_both_forms(world: World, value: str, seconds: float | None) -> None:
    """Seconds, with a fraction too, and a date; anything else is left to our own backoff."""
    error = get_error(world, httpx.Response(429, headers={"Retry-After": value}))
    assert error.retry_after_seconds == seconds


def test_what_the_server_echoes_of_our_keys_is_redacted(world: World) -> None:
    """A gateway that explains a wrong signature may repeat the whole request."""

    def echo(request: httpx.Request) -> httpx.Response:
        text = f"{request.headers['Authorization']} {KEYS.token}\n{KEYS.secret_key}"
        return httpx.Response(
            401, json={"error_code": text, "error_msg": text}, headers={"X-Request-Id": "r"}
        )

    error = get_error(world, echo)
    text = f"{error} {error.code} {error.message} {error.request_id}"
    for secret in (KEYS.access_key, KEYS.secret_key, KEYS.token or "", "\n"):
        assert secret not in text
    assert "Signature=****" in text


def test_a_success_that_echoes_our_keys_shows_none_of_them(world: World) -> None:
    """Neither in its error nor in the traceback: a proxy may answer with the request, as a page."""
    error = get_error(world, httpx.Response(200, text=f"{KEYS.token} {KEYS.access_key}"))
    assert error.code == "CbrSync.UnreadableAnswer"
    assert not any(
        secret in format_traceback(error) for secret in (KEYS.access_key, KEYS.secret_key, KEYS.token or "")
    )


class Gate:
    """An API that accepts one token and echoes any other; counts what it got of each."""

    def __init__(self, accepted: str, status: int = 401) -> None:
        self.got: list[tuple[str, str]] = []
        self._accepted = accepted
        self._status = status

    def __call__(self, request: httpx.Request) -> httpx.Response:
        token = request.headers["X-Security-Token"]
        self.got.append((request.method, token))
        if token == self._accepted:
            return httpx.Response(200, json={"value": 1})
        return httpx.Response(self._status, json={"error_code": "no", "error_msg": f"no {token}"})


def make_client(world: World, gate: Answering, *renewed: Credentials | None) -> SignedClient:
    """A client whose platform hands over these credentials, one after the other, on renewal."""
    http = httpx.MockTransport(gate)
    renewals = iter(renewed)
    return SignedClient(
        http, KEYS, key_states=KeyStates(world.clock), clock=world.clock, renew=lambda: next(renewals)
    )


def try_calls(client: SignedClient, *methods: str) -> list[type[ApiError] | int]:
    """What comes of these calls, one after the other."""
    came: list[type[ApiError] | int] = []
    for method in methods:
        try:
            came.append(client.call(Answer, method, URL, timeout_seconds=lambda: 5).value)
        except ApiError as error:
            came.append(type(error))
    return came


RENEWED = Credentials("made-up-access-key", "made-up-secret-key", "renewed")


@pytest.mark.parametrize(
    ("renewed", "accepted", "got", "came"),
    [
        pytest.param(RENEWED, "renewed", ["made-up-token", "renewed", "renewed"], [1, 1], id="renewed"),
        pytest.param(RENEWED, "x", ["made-up-token", "renewed"], [CredentialsRefusedError] * 2, id="in vain"),
        pytest.param(KEYS, "x", ["made-up-token"], [CredentialsRefusedError] * 2, id="the same"),
        pytest.param(None, "x", ["made-up-token"], [CredentialsRefusedError] * 2, id="none"),
    ],
)
def test_refused_credentials_are_renewed_once_and_never_sent_again(
    world: World, renewed: Credentials | None, accepted: str, got: list[str], came: list[type[ApiError] | int]
) -> None:
    """What is asked for after a refusal is refused here, without a request."""
    gate = Gate(accepted)
    client = make_client(world, gate, renewed)
    assert try_calls(client, "POST", "POST") == came
    assert [token for _, token in gate.got] == got


def test_a_refusal_that_was_not_sent_repeats_the_first_one(world: World) -> None:
    """And that nothing went out."""
    client = make_client(world, Gate("x"), None)
    errors = []
    for _ in range(2):
        with pytest.raises(CredentialsRefusedError) as error:
            client.call(Answer, "POST", URL, timeout_seconds=lambda: 5)
        errors.append(error.value)
    first, second = errors
    assert (first.sent, second.sent) == (True, False)
    assert (first.code, first.message, first.http_status) == ("no", "no ****", 401)
    assert (second.code, second.message, second.http_status) == ("no", "no ****", 401)


def test_a_missing_permission_ends_its_own_call_only(world: World) -> None:
    """The signature was right: nothing else is kept from being sent, and nothing is renewed."""
    gate = Gate("x", status=403)
    client = make_client(world, gate)
    assert try_calls(client, "GET", "GET", "POST", "POST") == [ApiError] * 4
    assert [method for method, _ in gate.got] == ["GET", "GET", "POST", "POST"]


def test_refused_keys_are_not_tried_again_for_five_minutes(world: World) -> None:
    """Over the runs of one instance, each of which has a client of its own."""
    gate = Gate("made-up-token")
    states = KeyStates(world.clock)
    http = httpx.MockTransport(gate)
    wrong = Credentials("made-up-access-key", "made-up-secret-key", "wrong")

    def build_client() -> SignedClient:
        return SignedClient(http, wrong, key_states=states, clock=world.clock)

    assert try_calls(build_client(), "GET") == [CredentialsRefusedError]
    world.sleep(299)
    assert try_calls(build_client(), "GET", "POST") == [CredentialsRefusedError] * 2
    assert len(gate.got) == 1
    world.sleep(1)
    assert try_calls(build_client(), "GET", "POST") == [CredentialsRefusedError] * 2
    assert len(gate.got) == 2


def test_a_key_that_is_new_is_tried_by_one_request_alone(world: World) -> None:
    """Whatever the number of workers, one wrong key costs one refusal."""
    gate = Gate("x")
    client = make_client(world, gate, RENEWED, RENEWED)
    results: list[type[ApiError] | int] = []
    jobs = [lambda: results.extend(try_calls(client, "POST"))] * 16
    run_until(60, jobs, clock=world.clock, concurrency=16)
    assert results == [CredentialsRefusedError] * 16
    assert [token for _, token in gate.got] == ["made-up-token", "renewed"]


def test_an_error_is_redacted_with_the_keys_it_was_sent_with(world: World) -> None:
    """Also where another call has renewed them meanwhile."""

    def respond(request: httpx.Request) -> httpx.Response:
        token = request.headers["X-Security-Token"]
        match request.url.path.rpartition("/")[2], token:
            case "slow", _:
                client.call(Answer, "GET", f"{URL}/other", timeout_seconds=lambda: 5)
                return httpx.Response(400, json={"error_code": "no", "error_msg": f"no {token}"})
            case "other", "made-up-token":
                return httpx.Response(401)
            case _:
                return httpx.Response(200, json={"value": 1})

    client = make_client(world, respond, RENEWED)
    client.call(Answer, "GET", f"{URL}/first", timeout_seconds=lambda: 5)
    with pytest.raises(ApiError) as error:
        client.call(Answer, "GET", f"{URL}/slow", timeout_seconds=lambda: 5)
    assert error.value.message == "no ****"


def test_a_projects_post_is_tried_again_until_a_deadline(world: World) -> None:
    """Throttled, it is sent another time, and each request has what is left of the time."""
    waits: list[float] = []
    answers = [httpx.Response(429), httpx.Response(200, json={"value": 7})]

    def respond(request: httpx.Request) -> httpx.Response:
        waits.append(request.extensions["timeout"]["read"])
        assert request.headers["X-Project-Id"] == "p"
        return answers.pop(0)

    client = make_client(world, respond)
    project = ProjectClient(
        client,
        "p",
        retrier=world.retrier,
        throttle=Throttle(world.clock),
        timeout_seconds=world.clock.remaining_seconds,
    )
    answer = project.bind_retry(10)(lambda: project.post(Answer, URL, {"a": 1}, 10))
    assert (answer.value, waits) == (7, [10, pytest.approx(10 - 1 / 0.9)])


def test_a_request_that_waited_for_another_has_less_time() -> None:
    """Until the credentials are accepted one waits for the other; its time is counted when it is sent."""
    order: list[str] = []

    def ask_time(who: str) -> float:
        order.append(f"{who} asks for its time")
        return 5

    def call_as(who: str) -> None:
        client.call(Answer, "GET", f"{URL}/{who}", timeout_seconds=lambda: ask_time(who))

    second = threading.Thread(target=call_as, args=("second",))

    def respond(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("first"):
            second.start()
            second.join(0.1)  # it cannot get further than to the first one's end
            order.append("first is answered")
        return httpx.Response(200, json={"value": 1})

    http = httpx.MockTransport(respond)
    client = SignedClient(http, KEYS, key_states=KeyStates(Clock()), clock=Clock())
    call_as("first")
    second.join()
    assert order[0] == "first asks for its time"
    assert order[order.index("first is answered") + 1 :] == ["second asks for its time"]
