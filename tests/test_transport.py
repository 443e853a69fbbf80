"""One request, one answer: whatever breaks has its kind of error, and no error shows a secret."""

from __future__ import annotations

import gzip
import socket
import struct
import threading
import traceback
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbr_sync import __version__
from cbr_sync.credentials import Credentials
from cbr_sync.errors import ApiError, NotAcceptedError, OutcomeUnknownError
from cbr_sync.huawei.signing import SdkHmacAuth
from cbr_sync.transport import (
    MAX_ANSWER_BYTES,
    MAX_ERROR_PAGE_BYTES,
    Response,
    new_request,
    redact,
    send,
)
from support.sockets import NAME, answering, at, make_transport, serving

KEYS = Credentials("made-up-access-key", "made-up-secret-key", "made-up-token")
SECRETS = (KEYS.access_key, KEYS.secret_key, KEYS.token or "")
SIGNATURE = "0123456789abcdefABCDEF0123456789abcdefABCDEF0123456789abcdefABCD"
URL = "https://api.example.com/v3"

UNREACHABLE = (NotAcceptedError, "CbrSync.Unreachable")
NO_ANSWER = (OutcomeUnknownError, "CbrSync.NoAnswer")
UNREADABLE = (OutcomeUnknownError, "CbrSync.UnreadableAnswer")
TOO_LARGE = (ApiError, "CbrSync.AnswerTooLarge")
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


def ask(far: Far, *, timeout_seconds: float = 5) -> Response:
    """One request to this other side."""
    request = new_request("GET", URL, {})
    return send(httpx.MockTransport(far), request, auth=None, timeout_seconds=timeout_seconds)


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
    with make_transport() as transport, pytest.raises(ApiError) as error:
        send(transport, new_request("GET", url, headers or {}), auth=None, timeout_seconds=5)
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
    """The error names the server that it tried to reach."""
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
    with pytest.raises(ApiError) as error:
        send(httpx.MockTransport(far), new_request("GET", URL, {}), auth=auth, timeout_seconds=5)
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
    """Read to its end, and closed."""
    response = httpx.Response(status, stream=Chunks(b"all ", b"of it"), headers={"X-Request-Id": "r"})
    answer = ask(Far(response))
    assert (answer.status_code, answer.text, answer.content) == (status, "all of it", b"all of it")
    assert answer.headers["x-request-id"] == "r"
    assert response.is_closed


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


@pytest.mark.parametrize("secret", [*SECRETS, SIGNATURE])
@pytest.mark.parametrize("shown_of_it", [1, 10])
def test_a_secret_that_stands_where_the_examining_ends_is_not_shown(secret: str, shown_of_it: int) -> None:
    """Not even the half of it, however little is left of what stands before it."""
    text = redact(" " * (64 * 1024 - shown_of_it) + secret + "x" * 100, KEYS)
    assert secret[:shown_of_it] not in text
    assert text == "…"


def test_megabytes_are_not_searched_for_the_sake_of_a_line() -> None:
    """What is shown of them is their beginning."""
    text = redact("<p>no</p>\n" * 838_860, KEYS)
    assert text.startswith("<p>no</p> <p>no</p> ")
    assert text.endswith("…")
    assert len(text) == 500


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


def test_a_request_goes_through_the_proxy_of_the_given_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the given one alone: the process's own is for its entry point to hand on."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    request = new_request("GET", f"http://{NAME}/", {})
    with serving(answering(b"HTTP/1.1 204 No Content\r\n\r\n")) as server:
        proxies = {"HTTP_PROXY": f"http://127.0.0.1:{server.port}"}
        with make_transport(environ=proxies) as transport:
            assert send(transport, request, auth=None, timeout_seconds=1).status_code == 204
        with make_transport(resolve=at(server.port)) as transport:
            assert send(transport, request, auth=None, timeout_seconds=1).status_code == 204


def test_a_request_bears_what_it_was_given_and_a_user_agent() -> None:
    """No cookie, no accepted encodings that are then to be undone."""
    request = new_request("POST", "https://example.com/x?y=1", {"Accept": "application/json"}, b"{}")
    assert dict(request.headers) == {
        "host": "example.com",
        "user-agent": f"cbr-sync/{__version__}",
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

    with pytest.raises(OutcomeUnknownError):
        ask(Far(httpx.Response(200, stream=Broken())))
    assert closed


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("https://example.com/?name=" + quote("长" * 8000), {}),
        ("https://a..b\n/", {}),
        ("https://[::1/", {}),
        ("https://example.com/", {"X-Project-Id": "长"}),
    ],
    ids=["too-long", "no-host", "no-address", "no-header"],
)
def test_what_cannot_be_a_request_is_an_error_of_ours(url: str, headers: dict[str, str]) -> None:
    """Of one vault, which must not cost another its outcome; nothing was sent, and nothing is shown."""
    with pytest.raises(ApiError) as error:
        new_request("GET", url, headers)
    assert (type(error.value), error.value.code, error.value.sent) == (*NOT_SENDABLE, False)
    assert "长" not in shown(error.value)


# what is read of an answer


class Chunks(httpx.SyncByteStream):
    """A body in these parts; counts those that were asked for."""

    def __init__(self, *chunks: bytes) -> None:
        self.read = 0
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.read += 1
            yield chunk


def answer_of(status: int, content: bytes | Chunks, **headers: str) -> Response:
    """What is made of this answer."""
    stream = content if isinstance(content, Chunks) else Chunks(content)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(Far(httpx.Response(status, stream=stream, headers=named)))


def error_of(status: int, content: bytes | Chunks, **headers: str) -> tuple[type[ApiError], str, int | None]:
    """The error that is made of this answer."""
    with pytest.raises(ApiError) as error:
        answer_of(status, content, **headers)
    return type(error.value), error.value.code, error.value.http_status


def bomb(mebibytes: int) -> Chunks:
    """So much of nothing, a thousandth as long."""
    deflating = zlib.compressobj(wbits=31)
    nothing = bytes(1024 * 1024)
    first = deflating.compress(nothing) + deflating.flush(zlib.Z_FULL_FLUSH)
    again = deflating.compress(nothing) + deflating.flush(zlib.Z_FULL_FLUSH)
    return Chunks(first, *[again] * (mebibytes - 1), deflating.flush())


@pytest.mark.parametrize("status", [200, 502])
def test_a_gzip_bomb_is_not_unpacked(status: int) -> None:
    """A gigabyte in a megabyte: read to the bound, in a bounded memory."""
    stream = bomb(1024)
    tracemalloc.start()
    try:
        if status == 200:
            assert error_of(200, stream, Content_Encoding="gzip") == (*TOO_LARGE, 200)
        else:
            answer = answer_of(status, stream, Content_Encoding="gzip")
            assert (answer.status_code, len(answer.content)) == (status, MAX_ERROR_PAGE_BYTES)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * MAX_ANSWER_BYTES


@pytest.mark.parametrize("status", [302, 400, 404, 500, 502])
def test_of_a_huge_error_page_the_beginning_is_read(status: int) -> None:
    """20 MB, and the status says all."""
    page = Chunks(*[b"<p>no</p>\n" * 1024] * 2048)
    answer = answer_of(status, page)
    assert (answer.status_code, len(answer.content)) == (status, MAX_ERROR_PAGE_BYTES)
    assert answer.text.startswith("<p>no</p>\n")
    assert page.read <= 7


@pytest.mark.parametrize("encoding", ["", "gzip"])
@pytest.mark.parametrize(("more", "readable"), [(0, True), (1, False)])
def test_a_success_is_read_up_to_its_bound(encoding: str, more: int, readable: bool) -> None:
    """Eight mebibytes, and not one byte more."""
    content = bytes(MAX_ANSWER_BYTES + more)
    packed = gzip.compress(content, 1) if encoding else content
    if readable:
        assert answer_of(200, packed, Content_Encoding=encoding).content == content
    else:
        assert error_of(200, packed, Content_Encoding=encoding) == (*TOO_LARGE, 200)


def test_a_success_without_end_is_not_read_to_its_end() -> None:
    """Its connection is closed at the bound."""
    page = Chunks(*[bytes(1024 * 1024)] * 100)
    assert error_of(200, page) == (*TOO_LARGE, 200)
    assert page.read == 9


def test_a_post_whose_answer_is_too_large_may_have_been_taken() -> None:
    """A GET is final, since the next answer would be as large."""
    far = Far(httpx.Response(200, stream=Chunks(bytes(MAX_ANSWER_BYTES + 1))))
    request = new_request("POST", URL, {}, b"{}")
    with pytest.raises(OutcomeUnknownError, match="may have taken the request") as error:
        send(httpx.MockTransport(far), request, auth=None, timeout_seconds=5)
    assert error.value.code == "CbrSync.AnswerTooLarge"


RAW_DEFLATE = zlib.compressobj(wbits=-15)
PACKED = {
    "gzip": gzip.compress(b"all of it"),
    "x-gzip": gzip.compress(b"all of it"),
    "deflate": zlib.compress(b"all of it"),
    "Deflate": RAW_DEFLATE.compress(b"all of it") + RAW_DEFLATE.flush(),
    "identity": b"all of it",
    " GZIP ": gzip.compress(b"all of it"),
}


@pytest.mark.parametrize(("encoding", "packed"), PACKED.items(), ids=PACKED)
def test_what_a_gateway_packs_unasked_is_unpacked(encoding: str, packed: bytes) -> None:
    """In parts as well, and nothing stays nothing."""
    parts = Chunks(*[bytes([byte]) for byte in packed])
    assert answer_of(200, parts, Content_Encoding=encoding).content == b"all of it"
    assert answer_of(200, b"", Content_Encoding=encoding).content == b""


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", b"no gzip"),
        ("gzip", PACKED["gzip"][:-1]),
        ("gzip", PACKED["gzip"][:-8] + bytes(8)),
        ("deflate", b"no deflate"),
        ("br", b"\x0b\x02\x80"),
        ("zstd", b"\x28\xb5\x2f\xfd"),
        ("gzip, gzip", gzip.compress(PACKED["gzip"])),
    ],
    ids=["no-gzip", "cut", "wrong-checksum", "no-deflate", "br", "zstd", "twice"],
)
def test_what_cannot_be_unpacked_may_have_been_taken(encoding: str, packed: bytes) -> None:
    """A success that cannot be read is looked for; of an error the status is enough."""
    assert error_of(201, packed, Content_Encoding=encoding) == (*UNREADABLE, 201)
    assert answer_of(503, packed, Content_Encoding=encoding).status_code == 503


@pytest.mark.parametrize("charset", ["undefined", "utf-16", "rot13"])
@pytest.mark.parametrize("status", [200, 502])
def test_a_charset_that_a_stranger_names_is_not_used(status: int, charset: str) -> None:
    """All our APIs speak UTF-8; what is none is shown as far as it can be."""
    named = f"text/html; charset={charset}"
    answer = answer_of(status, "Ärger \ud83d".encode(errors="surrogatepass"), Content_Type=named)
    assert answer.text == "Ärger \ufffd\ufffd\ufffd"


# what the transport itself makes of errors


def test_httpx_can_use_the_transport_too() -> None:
    """With its own timeouts, which count for each wait; and without any."""
    with serving(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) as server:
        for timeout in (5.0, None):
            with httpx.Client(transport=make_transport(), timeout=timeout) as client:
                assert client.get(server.url).text == "ok"


def test_what_breaks_unforeseen_may_have_been_taken() -> None:
    """A body whose iteration fails in a way that neither httpcore nor we know."""

    def content() -> Iterator[bytes]:
        yield b"half"
        raise ZeroDivisionError("of ours")

    with serving(answering(b"")) as server, make_transport() as transport:
        request = httpx.Request("POST", server.url, content=content())
        with pytest.raises(OutcomeUnknownError) as error:
            send(transport, request, auth=None, timeout_seconds=5)
    assert error.value.code == "CbrSync.NoAnswer"
    assert isinstance(error.value.__cause__, httpx.ReadError)


def test_an_unknown_scheme_is_not_sendable() -> None:
    """It never leaves."""
    assert (type(no_from("ftp://127.0.0.1/")), no_from("ftp://127.0.0.1/").code) == NOT_SENDABLE
