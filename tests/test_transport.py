"""One request, one answer: whatever breaks has its kind of error, and no error tells a secret."""

from __future__ import annotations

import socket
import struct
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbr_sync.credentials import Credentials
from cbr_sync.errors import ApiError, NotAcceptedError, OutcomeUnknownError
from cbr_sync.huawei.signing import SdkHmacAuth
from cbr_sync.transport import new_request, redact, send

KEYS = Credentials("made-up-access-key", "made-up-secret-key", "made-up-token")
SECRETS = (KEYS.access_key, KEYS.secret_key, KEYS.token or "")
SIGNATURE = "0123456789abcdefABCDEF0123456789abcdefABCDEF0123456789abcdefABCD"
URL = "https://api.example.com/v3"

UNREACHABLE = (NotAcceptedError, "CbrSync.Unreachable")
NO_ANSWER = (OutcomeUnknownError, "CbrSync.NoAnswer")
UNREADABLE = (ApiError, "CbrSync.UnreadableAnswer")
NOT_SENDABLE = (ApiError, "CbrSync.NotSendable")

BREAKS: dict[type[httpx.RequestError], tuple[type[ApiError], str]] = {
    httpx.ConnectError: UNREACHABLE,
    httpx.ConnectTimeout: UNREACHABLE,
    httpx.PoolTimeout: UNREACHABLE,
    httpx.ProxyError: UNREACHABLE,
    httpx.ReadError: NO_ANSWER,
    httpx.ReadTimeout: NO_ANSWER,
    httpx.WriteError: NO_ANSWER,
    httpx.WriteTimeout: NO_ANSWER,
    httpx.CloseError: NO_ANSWER,
    httpx.RemoteProtocolError: NO_ANSWER,
    httpx.DecodingError: UNREADABLE,
    httpx.LocalProtocolError: NOT_SENDABLE,
    httpx.UnsupportedProtocol: NOT_SENDABLE,
}


class Far:
    """The other side: keeps the requests, then answers, or breaks."""

    def __init__(self, does: httpx.Response | Exception) -> None:
        self.requests: list[httpx.Request] = []
        self._does = does

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if isinstance(self._does, Exception):
            raise self._does
        return self._does


def ask(far: Far, *, timeout_seconds: float = 5) -> httpx.Response:
    """One request to this other side."""
    with httpx.Client(transport=httpx.MockTransport(far)) as client:
        return send(client, client.build_request("GET", URL), auth=None, timeout_seconds=timeout_seconds)


@contextmanager
def listening(answer: bytes, *, reset: bool = False) -> Iterator[str]:
    """The address of a server that reads a request, answers with these bytes and hangs up."""

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer)
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def no_from(url: str, headers: dict[str, str] | None = None) -> ApiError:
    """The error of a request over a real connection."""
    with httpx.Client(trust_env=False) as client, pytest.raises(ApiError) as error:
        send(client, client.build_request("GET", url, headers=headers), auth=None, timeout_seconds=5)
    return error.value


def leaves(error: type[httpx.RequestError]) -> set[type[httpx.RequestError]]:
    """The exceptions below this one that are raised as such."""
    below = error.__subclasses__()
    return set().union(*map(leaves, below)) if below else {error}


def test_no_exception_of_httpx_is_forgotten() -> None:
    """All that a connection can raise have their kind; redirects, which are not followed, cannot be many."""
    assert set(BREAKS) == leaves(httpx.RequestError) - {httpx.TooManyRedirects}


@pytest.mark.parametrize(
    ("raised", "expected"), BREAKS.items(), ids=lambda case: getattr(case, "__name__", "")
)
def test_every_break_has_its_kind(
    raised: type[httpx.RequestError], expected: tuple[type[ApiError], str]
) -> None:
    """Never connected is safe to repeat, anything later may have arrived, nonsense is final."""
    with pytest.raises(ApiError) as error:
        ask(Far(raised("")))
    assert (type(error.value), error.value.code) == expected
    assert (error.value.request_id, error.value.http_status, error.value.sent) == (None, None, True)
    assert "https://api.example.com" in error.value.message


@pytest.mark.parametrize(
    ("answer", "reset", "expected"),
    [
        pytest.param(b"", False, NO_ANSWER, id="hangs-up"),
        pytest.param(b"", True, NO_ANSWER, id="resets"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", False, NO_ANSWER, id="truncates"),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", False, NO_ANSWER, id="speaks-no-http"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nzip?",
            False,
            UNREADABLE,
            id="cannot-be-decoded",
        ),
    ],
)
def test_a_real_connection_breaks_in_the_same_ways(
    answer: bytes, reset: bool, expected: tuple[type[ApiError], str]
) -> None:
    """Over a socket, with what httpx really raises there."""
    with listening(answer, reset=reset) as url:
        error = no_from(url)
    assert (type(error), error.code) == expected


def test_where_nobody_listens_nothing_was_taken() -> None:
    """The error tells whom it tried to reach."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    error = no_from(url)
    assert (type(error), error.code) == UNREACHABLE
    assert url in error.message


def shown(error: BaseException) -> str:
    """All that a platform may log of an error: its text, and what it was raised from."""
    return "".join(traceback.format_exception(error))


def test_a_header_that_cannot_be_sent_is_not_told() -> None:
    """Neither in the error nor in its traceback: it may be a token."""
    with listening(b"") as url:
        error = no_from(url, {"X-Security-Token": "hunter2\n"})
    assert (type(error), error.code) == NOT_SENDABLE
    assert "hunter2" not in shown(error)


def test_a_token_that_no_encoding_knows_cannot_be_sent_either() -> None:
    """What an auth cannot put into a header is no crash of ours."""
    far = Far(httpx.Response(200))
    keys = Credentials("made-up-access-key", "made-up-secret-key", "hunter2\ud800")
    auth = SdkHmacAuth(keys, lambda: datetime(2026, 11, 23, 3, tzinfo=UTC))
    with httpx.Client(transport=httpx.MockTransport(far)) as client, pytest.raises(ApiError) as error:
        send(client, client.build_request("GET", URL), auth=auth, timeout_seconds=5)
    assert (type(error.value), error.value.code) == NOT_SENDABLE
    assert "hunter2" not in shown(error.value)
    assert not far.requests


@pytest.mark.parametrize("seconds", [0, -1, -0.001])
def test_without_time_nothing_is_sent(seconds: float) -> None:
    """And the error says that nothing was."""
    far = Far(httpx.Response(200))
    with pytest.raises(NotAcceptedError, match="time is used up") as error:
        ask(far, timeout_seconds=seconds)
    assert (error.value.code, error.value.sent) == ("CbrSync.OutOfTime", False)
    assert not far.requests


def test_the_time_given_is_the_time_waited() -> None:
    """For the connection, and for each wait for the other side."""
    far = Far(httpx.Response(200))
    ask(far, timeout_seconds=1.25)
    (request,) = far.requests
    assert request.extensions["timeout"] == dict.fromkeys(("connect", "read", "write", "pool"), 1.25)


@pytest.mark.parametrize("status", [200, 404, 503])
def test_an_answer_is_handed_on_whatever_its_status(status: int) -> None:
    """Read to its end."""
    answer = ask(Far(httpx.Response(status, text="all of it")))
    assert (answer.status_code, answer.text, answer.is_closed) == (status, "all of it", True)


def test_a_redirect_is_not_followed() -> None:
    """The keys were meant for the first host alone."""
    far = Far(httpx.Response(307, headers={"Location": "https://elsewhere.example.com/"}))
    assert ask(far).status_code == 307
    assert [str(request.url) for request in far.requests] == [URL]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"Access={KEYS.access_key}, it said", "Access=****, it said"),
        (f"secret <{KEYS.secret_key}>", "secret <****>"),
        (f"{KEYS.token} {KEYS.token}", "**** ****"),
        (f"Signature={SIGNATURE}.", "Signature=****."),
        (SIGNATURE[1:], SIGNATURE[1:]),
        ("half a \ud83d pair", "half a ? pair"),
        ("two\r\n  lines\tand\u2028more\n", "two lines and more"),
        ("x" * 500, "x" * 500),
        ("x" * 501, "x" * 499 + "…"),
        ("x" * 490 + (KEYS.token or ""), "x" * 490 + "****"),
        ("", ""),
    ],
)
def test_redacted_words_are_one_line_without_secrets(text: str, left: str) -> None:
    """Secrets go before anything is cut, so that no half of one stays."""
    assert redact(text, KEYS) == left


def test_keys_without_a_token_redact_as_well() -> None:
    """What is not there strikes nothing out."""
    assert redact("made-up-token, made-up-access-key", Credentials("made-up-access-key", "s3cret", None)) == (
        "made-up-token, ****"
    )


@given(st.lists(st.one_of(st.text(), st.sampled_from([*SECRETS, SIGNATURE])), max_size=20))
def test_nothing_that_is_echoed_survives(parts: list[str]) -> None:
    """Wherever in the text it stands, and whatever stands around it."""
    text = redact("".join(parts), KEYS)
    assert not any(secret in text for secret in (*SECRETS, SIGNATURE))
    assert text == " ".join(text.split())
    assert len(text) <= 500


def test_a_request_goes_where_httpx_would_send_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it chooses by is private: a proxy of the environment counts, and a mount goes before it."""
    seen: list[str] = []

    def serve(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(204)

    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with httpx.Client(mounts={"all://mounted.example": httpx.MockTransport(serve)}) as client:
        request = new_request("GET", "http://mounted.example/", {})
        assert send(client, request, auth=None, timeout_seconds=1).status_code == 204
        assert seen == ["http://mounted.example/"]
        with pytest.raises(NotAcceptedError, match="no connection to http://elsewhere"):
            send(client, new_request("GET", "http://elsewhere.example/", {}), auth=None, timeout_seconds=1)


def test_a_request_bears_what_it_was_given_and_a_user_agent() -> None:
    """No cookie, no accepted encodings that are then to be undone."""
    request = new_request("POST", "https://example.com/x?y=1", {"Accept": "application/json"}, b"{}")
    assert dict(request.headers) == {
        "host": "example.com",
        "user-agent": "cbr-sync",
        "accept": "application/json",
        "content-length": "2",
    }


def test_what_cannot_be_read_to_its_end_gives_its_connection_back() -> None:
    """The pool would run dry otherwise."""
    closed = []

    class Broken(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            raise httpx.ReadError("reset")

        def close(self) -> None:
            closed.append(True)

    answer = httpx.MockTransport(lambda _request: httpx.Response(200, stream=Broken()))
    with httpx.Client(transport=answer) as client, pytest.raises(OutcomeUnknownError):
        send(client, new_request("GET", "https://example.com/", {}), auth=None, timeout_seconds=1)
    assert closed
