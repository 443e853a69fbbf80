"""A signed call to an API of Huawei Cloud: whatever it answers, the error says what kind of no it is."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from cbr_sync.api import SignedClient, classify
from cbr_sync.errors import ApiError, CredentialsRefused, MaybeTaken, NotTaken
from cbr_sync.iam import find_project_id
from cbr_sync.models import Credentials
from cbr_sync.retry import Pace, Retry
from cbr_sync.transport import redact, send
from world import World

KEYS = Credentials("made-up-access-key", "made-up-secret-key", "made-up-token")
URL = "https://cbr.cn-north-4.myhuaweicloud.com/v3/p/checkpoints/sync"
Answering = Callable[[httpx.Request], httpx.Response]


class Answer(BaseModel):
    """What is asked for."""

    value: int


def call(world: World, answering: Answering | httpx.Response, **more: Any) -> Answer:
    """One call to an API that answers so."""
    answer = answering if callable(answering) else lambda _request: answering
    http = httpx.Client(transport=httpx.MockTransport(answer))
    client = SignedClient(http, KEYS, now=world.now)
    return client.call(Answer, "POST", URL, **{"timeout_seconds": lambda: 5, "body": {"a": "é"}, **more})


def no(world: World, answering: Answering | httpx.Response, **more: Any) -> ApiError:
    """The error of such a call."""
    with pytest.raises(ApiError) as error:
        call(world, answering, **more)
    return error.value


def test_the_bytes_that_are_signed_are_the_bytes_that_are_sent(world: World) -> None:
    """Serialised once, with the project beside; unknown fields of the answer pass."""
    seen: list[httpx.Request] = []

    def api(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"value": 1, "unknown": None})

    assert call(world, api, project_id="p").value == 1
    (request,) = seen
    assert json.loads(request.content) == {"a": "é"}
    assert request.headers["X-Project-Id"] == "p"
    assert "content-type;host;x-project-id;x-sdk-date;x-security-token" in request.headers["Authorization"]


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
    error = no(world, httpx.Response(404, json=body))
    assert (error.code, error.message, error.http_status) == (code, message, 404)
    assert type(error) is ApiError


@pytest.mark.parametrize("text", ["<html>gone</html>", "", "[" * 100_000, "\x00"])
def test_an_error_that_is_no_json_is_its_status_and_text(world: World, text: str) -> None:
    """On one line, and cut."""
    error = no(world, httpx.Response(404, text=text))
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
def test_the_request_id_is_found_wherever_it_stands(
    world: World, headers: dict[str, str], body: dict[str, str], request_id: str | None
) -> None:
    """The gateway's header, IAM's header, or the body."""
    assert no(world, httpx.Response(400, headers=headers, json=body)).request_id == request_id


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("APIGW.0308", 400, NotTaken),
        ("APIG.0308", 429, NotTaken),
        ("APIGW.0613", 500, NotTaken),
        ("429", 429, NotTaken),
        ("503", 503, NotTaken),
        ("BackupService.9998", 500, CredentialsRefused),
        ("APIGW.0301", 401, CredentialsRefused),
        ("APIGW.0303", 400, CredentialsRefused),
        ("401", 401, CredentialsRefused),
        ("403", 403, CredentialsRefused),
        ("BackupService.9910", 500, MaybeTaken),
        ("APIGW.0605", 500, MaybeTaken),
        ("APIGW.0201", 502, MaybeTaken),
        ("APIGW.0201", 504, MaybeTaken),
        ("APIGW.0201", 413, ApiError),
        ("APIGW.0201", 400, ApiError),
        ("BackupService.6105", 404, ApiError),
        ("BackupService.6105", 400, ApiError),
        ("BackupService.7300", 400, ApiError),
    ],
)
def test_codes_decide_before_the_status_does(code: str, status: int, kind: type[ApiError]) -> None:
    """One code comes with several statuses, and an authentication error as 500."""
    assert classify(code, status) is kind


def test_a_redirect_is_an_error(world: World) -> None:
    """The vendor's SDK lets it pass as an empty success."""
    error = no(world, httpx.Response(302, headers={"Location": "https://example.com/"}))
    assert (type(error), error.code, error.http_status) == (ApiError, "CbrSync.Redirected", 302)


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"[]", b"{}", b'{"value": 1', b'{"value": "x"}', b"\xff"]
)
def test_a_success_that_cannot_be_read_is_final(world: World, content: bytes) -> None:
    """It tells the status and the request id all the same."""
    error = no(world, httpx.Response(200, content=content, headers={"X-Request-Id": "r"}))
    assert (type(error), error.code) == (ApiError, "CbrSync.UnreadableAnswer")
    assert (error.http_status, error.request_id) == (200, "r")


@pytest.mark.parametrize(
    ("value", "seconds"), [("7", 7.0), ("", None), ("Mon, 23 Nov 2026", None), ("-1", None), ("1e9", None)]
)
def test_retry_after_is_seconds_or_nothing(world: World, value: str, seconds: float | None) -> None:
    """Its other form, a date, is left to our own backoff."""
    error = no(world, httpx.Response(429, headers={"Retry-After": value}))
    assert error.retry_after_seconds == seconds


def test_what_the_server_echoes_of_our_keys_is_struck_out(world: World) -> None:
    """A gateway that explains a wrong signature may repeat the whole request."""

    def echo(request: httpx.Request) -> httpx.Response:
        told = f"{request.headers['Authorization']} {KEYS.token}\n{KEYS.secret_key}"
        return httpx.Response(
            401, json={"error_code": told, "error_msg": told}, headers={"X-Request-Id": "r"}
        )

    error = no(world, echo)
    told = f"{error} {error.code} {error.message} {error.request_id}"
    for secret in (KEYS.access_key, KEYS.secret_key, KEYS.token or "", "\n"):
        assert secret not in told
    assert "Signature=****" in told


@pytest.mark.parametrize(
    ("raised", "kind", "code"),
    [
        (httpx.ConnectError("name not known"), NotTaken, "CbrSync.Unreachable"),
        (httpx.ConnectTimeout(""), NotTaken, "CbrSync.Unreachable"),
        (httpx.PoolTimeout(""), NotTaken, "CbrSync.Unreachable"),
        (httpx.ProxyError("407"), NotTaken, "CbrSync.Unreachable"),
        (httpx.ReadTimeout(""), MaybeTaken, "CbrSync.NoAnswer"),
        (httpx.WriteTimeout(""), MaybeTaken, "CbrSync.NoAnswer"),
        (httpx.ReadError(""), MaybeTaken, "CbrSync.NoAnswer"),
        (httpx.RemoteProtocolError(""), MaybeTaken, "CbrSync.NoAnswer"),
        (httpx.DecodingError(""), ApiError, "CbrSync.UnreadableAnswer"),
        (httpx.LocalProtocolError("Illegal header value b'hunter2'"), ApiError, "CbrSync.NotSendable"),
    ],
)
def test_every_break_of_the_connection_has_its_kind(
    world: World, raised: Exception, kind: type[ApiError], code: str
) -> None:
    """Never connected is safe to repeat; anything later may have arrived."""

    def api(_request: httpx.Request) -> httpx.Response:
        raise raised

    error = no(world, api)
    assert (type(error), error.code, error.http_status) == (kind, code, None)
    assert "hunter2" not in str(error)


def test_without_time_nothing_is_sent() -> None:
    """And the error says that nothing was."""
    client = httpx.Client(transport=httpx.MockTransport(lambda _request: httpx.Response(200)))
    with pytest.raises(NotTaken, match="time is used up") as error:
        send(client, client.build_request("GET", URL), auth=None, timeout_seconds=0)
    assert not error.value.sent


def test_a_long_message_is_cut() -> None:
    """A page of HTML is nobody's error message."""
    assert redact("x " * 999, KEYS) == "x " * 249 + "x…"


@pytest.mark.parametrize(
    ("projects", "found"),
    [([{"id": "p1"}], "p1"), ([], "0 projects"), ([{"id": "p1"}, {"id": "p2"}], "2 projects")],
)
def test_iam_has_to_know_one_project(world: World, projects: list[dict[str, str]], found: str) -> None:
    """More, or none, is the operator's to settle."""
    answer = httpx.Response(200, json={"projects": projects})
    client = httpx.Client(transport=httpx.MockTransport(lambda _request: answer))
    signed = SignedClient(client, KEYS, now=world.now)
    if len(projects) == 1:
        assert find_project_id(signed, "https://iam", "cn-north-4", timeout_seconds=lambda: 1) == found
    else:
        with pytest.raises(ApiError, match=f"IAM knows {found} named cn-north-4; set CBR_SYNC_PROJECT_ID"):
            find_project_id(signed, "https://iam", "cn-north-4", timeout_seconds=lambda: 1)


def test_backoff_grows_to_its_cap_with_full_jitter(world: World) -> None:
    """Half a second, doubled up to twenty, on top of the server's wish."""
    error = NotTaken("x", "y", retry_after_seconds=3)
    highest = [world.retry.wait_seconds(attempt, error) for attempt in (1, 2, 6, 7, 99)]
    assert highest == [3.5, 4, 19, 23, 23]
    assert Retry(jitter=lambda low, _high: low).wait_seconds(5, NotTaken("x", "y")) == 0


def test_a_wait_that_would_cross_the_deadline_is_not_begun(world: World) -> None:
    """Neither our own, nor the one that another worker's throttling imposes."""

    def throttled() -> None:
        raise NotTaken("APIGW.0308", "slow", http_status=429, retry_after_seconds=30)

    pace = Pace()
    with pytest.raises(NotTaken, match="slow"):
        world.retry.call(throttled, until=20, pace=pace)
    with pytest.raises(NotTaken, match="throttles for longer than the run lasts"):
        world.retry.call(lambda: None, until=20, pace=pace)
    assert world.elapsed == 0
    world.retry.call(lambda: None, until=60, pace=pace)
    assert world.elapsed == 31


def test_a_request_that_waited_for_another_has_less_time(world: World) -> None:
    """Until the credentials are accepted one waits for the other; its time is counted when it is sent."""
    order: list[str] = []

    def ask(who: str) -> float:
        order.append(f"{who} asks for its time")
        return 5

    def call_as(who: str) -> None:
        client.call(Answer, "GET", f"{URL}/{who}", timeout_seconds=lambda: ask(who))

    second = threading.Thread(target=call_as, args=("second",))

    def api(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("first"):
            second.start()
            second.join(0.1)  # it cannot get further than to the first one's end
            order.append("first is answered")
        return httpx.Response(200, json={"value": 1})

    client = SignedClient(httpx.Client(transport=httpx.MockTransport(api)), KEYS, now=world.now)
    call_as("first")
    second.join()
    assert order == ["first asks for its time", "first is answered", "second asks for its time"]
