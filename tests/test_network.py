"""Whatever a network does, a request ends with its time, and nothing of it is sent afterwards."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx
import pytest
import trustme

from cbr_sync.errors import ApiError, NotAcceptedError, OutcomeUnknownError
from cbr_sync.network import DeadlineBackend, TimeBudget
from cbr_sync.transport import MAX_ERROR_PAGE_BYTES, HttpTransport, Response, new_request, send
from support.sockets import (
    NAME,
    Server,
    answering,
    at,
    dripping,
    hanging,
    make_transport,
    read_request,
    serving,
    silent_address,
)

BUDGET_SECONDS = 0.5
# Far above the budget, for a busy machine; far below what waits that count anew would add up to.
BOUND_SECONDS = 2.0

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
UNREACHABLE = (NotAcceptedError, "CbrSync.Unreachable")
NO_ANSWER = (OutcomeUnknownError, "CbrSync.NoAnswer")


def ask(
    transport: HttpTransport, url: str, *, content: bytes = b"{}", seconds: float = BUDGET_SECONDS
) -> Response:
    """One POST with this budget."""
    return send(transport, new_request("POST", url, {}, content), auth=None, timeout_seconds=seconds)


def ask_in_vain(transport: HttpTransport, url: str, **how: Any) -> tuple[type[ApiError], str]:
    """The kind and the code of the error that it ends in, in time."""
    begun = time.monotonic()
    with pytest.raises(ApiError) as error:
        ask(transport, url, **how)
    assert time.monotonic() - begun < BOUND_SECONDS
    transport.close()
    return type(error.value), error.value.code


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs the certificates of these servers."""
    return trustme.CA()


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """A client's context that trusts it."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(scope="module")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    """A server's context with a certificate for the name and for loopback."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(NAME, "127.0.0.1").configure_cert(context)
    return context


# connecting


def test_three_silent_addresses_share_one_budget() -> None:
    """The connect timeout does not count for each of them anew."""
    with silent_address() as one, silent_address() as two, silent_address() as three:
        transport = make_transport(resolve=at(one, two, three))
        assert ask_in_vain(transport, f"http://{NAME}/") == UNREACHABLE


def test_an_address_that_works_is_reached_after_those_that_do_not() -> None:
    """One that swallows packets may use its share only; one that refuses uses nothing."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        closed = gone.getsockname()[1]
    with silent_address() as silent, serving(answering(OK)) as server:
        transport = make_transport(resolve=at(closed, silent, server.port))
        assert ask(transport, f"http://{NAME}/", seconds=2).content == b"ok"
        transport.close()


def test_the_error_of_several_addresses_is_the_most_telling() -> None:
    """That one has no route, as IPv6 often has not, says little beside a silent one."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        closed = gone.getsockname()[1]
    with silent_address() as silent:
        transport = make_transport(resolve=at(silent, closed))
        with pytest.raises(NotAcceptedError, match=rf"no connection to http://{NAME}: timed out"):
            ask(transport, f"http://{NAME}/")
    with pytest.raises(NotAcceptedError, match="Connection refused"):
        ask(make_transport(resolve=at(closed)), f"http://{NAME}/")


def test_a_name_server_that_hangs_is_left_to_itself() -> None:
    """Its answer, when it comes at last, leads to no connection; and its thread keeps no process alive."""
    answer = threading.Event()
    with serving(answering(OK)) as server:

        def resolve(host: str, port: int) -> list[Any]:
            answer.wait(30)
            return at(server.port)(host, port)

        assert ask_in_vain(make_transport(resolve=resolve), f"http://{NAME}/") == UNREACHABLE
        (thread,) = [thread for thread in threading.enumerate() if thread.name == f"look up {NAME}"]
        assert thread.daemon
        answer.set()
        thread.join(10)
        assert not thread.is_alive()
        assert server.connections == 0


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (socket.gaierror(-2, "Name or service not known"), UNREACHABLE),
        (RuntimeError("can't start new thread"), UNREACHABLE),
        (UnicodeError("label too long"), (ApiError, "CbrSync.NotSendable")),
        (ValueError("embedded null byte"), (ApiError, "CbrSync.NotSendable")),
    ],
    ids=lambda case: type(case).__name__,
)
def test_a_look_up_may_fail_in_any_way(raised: Exception, expected: tuple[type[ApiError], str]) -> None:
    """Foreseen or not, it has a kind: nothing was sent, and what no name can be is final."""

    def resolve(_host: str, _port: int) -> list[Any]:
        raise raised

    assert ask_in_vain(make_transport(resolve=resolve), f"http://{NAME}/") == expected


def test_a_name_without_an_address_is_unreachable() -> None:
    """Which getaddrinfo should not answer, and an error of ours says."""
    with pytest.raises(NotAcceptedError, match="gave no address"):
        ask(make_transport(resolve=at()), f"http://{NAME}/")


def test_a_label_that_is_too_long_is_not_sendable() -> None:
    """With the system's own look-up."""
    assert ask_in_vain(make_transport(), f"http://{'a' * 64}.example/") == (ApiError, "CbrSync.NotSendable")


def test_a_connection_has_the_options_that_were_asked_for() -> None:
    """No delay for small packets, as httpcore's own backend has it, and a source address."""
    keepalive = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    with serving(hanging) as server:
        stream = DeadlineBackend().connect_tcp(
            "127.0.0.1", server.port, 5, local_address="127.0.0.1", socket_options=[keepalive]
        )
        sock = stream.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(*keepalive[:2])
        assert stream.get_extra_info("client_addr")[0] == "127.0.0.1"
        assert stream.get_extra_info("server_addr") == ("127.0.0.1", server.port)
        assert stream.get_extra_info("anything else") is None
        stream.close()


# TLS


def test_a_handshake_that_is_never_finished_ends_in_time() -> None:
    """The request was not sent."""
    with serving(hanging) as server:
        assert ask_in_vain(make_transport(), f"https://127.0.0.1:{server.port}/") == UNREACHABLE


def test_a_handshake_that_drips_ends_in_time() -> None:
    """A byte of a long record every now and then."""
    with serving(dripping(b"\x16\x03\x03\x40\x00", b"\x02")) as server:
        assert ask_in_vain(make_transport(), f"https://127.0.0.1:{server.port}/") == UNREACHABLE


def test_what_is_no_tls_is_unreachable() -> None:
    """Nothing was sent to it but a handshake."""
    with serving(answering(OK)) as server:
        handle = dripping(b"SSH-2.0-OpenSSH_9.6\r\n")
        with serving(handle) as ssh:
            assert ask_in_vain(make_transport(), f"https://127.0.0.1:{ssh.port}/") == UNREACHABLE
        assert server.connections == 0


def test_a_host_that_no_certificate_can_have_is_not_sendable() -> None:
    """What ssl refuses to ask for is no crash."""
    with serving(hanging) as server:
        transport = make_transport(resolve=at(server.port))
        assert ask_in_vain(transport, "https://.example.com/") == (ApiError, "CbrSync.NotSendable")


# answers


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param((b"H",), id="a-status-line-without-end"),
        pytest.param((b"HTTP/1.1 200 OK\r\nA: ", b"b"), id="a-header-that-drips"),
        pytest.param(
            (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n", b"x"), id="a-body-that-drips"
        ),
        pytest.param(
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"), id="chunks-that-drip"
        ),
        pytest.param((b"HTTP/1.1 100 Continue\r\n\r\n",), id="100-for-ever"),
        pytest.param((b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",), id="103-for-ever"),
    ],
)
@pytest.mark.parametrize("every_seconds", [0.05, 0])
def test_an_answer_without_end_ends_in_time(parts: tuple[bytes, ...], every_seconds: float) -> None:
    """Slow or fast, each byte in time for a wait of its own."""
    with serving(dripping(*parts, every_seconds=every_seconds)) as server:
        kind, code = ask_in_vain(make_transport(), server.url)
    assert kind is OutcomeUnknownError
    assert code == "CbrSync.NoAnswer" or every_seconds == 0


def test_an_error_page_without_end_ends_in_time() -> None:
    """Where it drips, the answer is not whole; where it pours, its beginning is enough."""
    head = b"HTTP/1.1 502 Bad Gateway\r\n\r\n"
    with serving(dripping(head, b"<p>")) as server:
        assert ask_in_vain(make_transport(), server.url) == NO_ANSWER
    with serving(dripping(head, b"<p>" * 1000, every_seconds=0)) as server:
        transport = make_transport()
        answer = ask(transport, server.url)
        transport.close()
    assert (answer.status_code, len(answer.content)) == (502, MAX_ERROR_PAGE_BYTES)


def test_no_answer_at_all_ends_in_time() -> None:
    """It may have arrived."""
    with serving(hanging) as server:
        assert ask_in_vain(make_transport(), server.url) == NO_ANSWER


# sending


def test_a_peer_that_does_not_read_gets_nothing_after_the_deadline() -> None:
    """What the system still holds is dropped rather than delivered later: the peer finds a reset."""
    deadline_is_over, received = threading.Event(), []

    def handle(connection: socket.socket, _stop: threading.Event) -> None:
        deadline_is_over.wait(30)
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(1 << 20):
                received.append(len(chunk))
            received.append(-1)

    content = bytes(32 * 1024 * 1024)
    with serving(handle) as server:
        assert ask_in_vain(make_transport(), server.url, content=content) == NO_ANSWER
        deadline_is_over.set()
    assert -1 not in received
    assert sum(received) < len(content)


def test_after_the_deadline_no_byte_is_sent() -> None:
    """Neither on a connection that is open, nor on a new one."""
    arrived = []

    def handle(connection: socket.socket, _stop: threading.Event) -> None:
        arrived.append(connection.recv(65536))

    over = TimeBudget(0)
    with serving(handle) as server:
        stream = DeadlineBackend().connect_tcp("127.0.0.1", server.port, 5)
        with pytest.raises(httpcore.WriteTimeout, match="used up"):
            stream.write(b"POST / HTTP/1.1\r\n", over)
        with pytest.raises(httpcore.ReadTimeout, match="used up"):
            stream.read(1, over)
        with pytest.raises(httpcore.ConnectTimeout, match="used up"):
            DeadlineBackend().connect_tcp("127.0.0.1", server.port, over)
        stream.close()
    assert b"".join(arrived) == b""
    assert server.connections == 1
    assert not over.sent


def test_a_handshake_is_not_begun_after_the_deadline() -> None:
    """Not even a hello is sent."""
    arrived = []

    def handle(connection: socket.socket, _stop: threading.Event) -> None:
        arrived.append(connection.recv(65536))

    with serving(handle) as server:
        stream = DeadlineBackend().connect_tcp("127.0.0.1", server.port, 5)
        with pytest.raises(httpcore.ConnectTimeout, match="used up"):
            stream.start_tls(ssl.create_default_context(), "127.0.0.1", TimeBudget(0))
    assert b"".join(arrived) == b""


# the pool


def test_a_kept_connection_serves_the_next_request_within_its_own_budget() -> None:
    """The first one's is over by then."""
    with serving(answering(OK)) as server:
        transport = make_transport()
        assert ask(transport, server.url, seconds=0.2).content == b"ok"
        server.stop.wait(0.3)
        assert ask(transport, server.url).content == b"ok"
        transport.close()
    assert server.connections == 1


def test_a_connection_that_the_server_closed_is_not_used_again() -> None:
    """The request goes over a new one, and is not lost."""
    closed = threading.Event()

    def handle(connection: socket.socket, _stop: threading.Event) -> None:
        read_request(connection)
        connection.sendall(OK)
        connection.shutdown(socket.SHUT_RDWR)
        closed.set()

    with serving(handle) as server:
        transport = make_transport()
        for _ in range(2):
            assert ask(transport, server.url).content == b"ok"
            assert closed.wait(5)
            closed.clear()
        transport.close()
    assert server.connections == 2


def test_no_request_waits_for_another_ones_connection() -> None:
    """Eight at once over a transport that keeps one; then one is kept, and closed at the end."""
    together = threading.Barrier(8)

    def handle(connection: socket.socket, _stop: threading.Event) -> None:
        read_request(connection)
        together.wait(10)
        connection.sendall(OK)
        connection.recv(1)

    results: list[bytes] = []
    with serving(handle) as server:
        transport = make_transport(idle=1)
        threads = [
            threading.Thread(target=lambda: results.append(ask(transport, server.url, seconds=10).content))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        transport.close()
    assert results == [b"ok"] * 8
    assert server.connections == 8


# proxies


def tunnel(connection: socket.socket, target: int) -> None:
    """Carry bytes both ways until one side hangs up."""
    with socket.create_connection(("127.0.0.1", target)) as there:
        both = {connection: there, there: connection}
        while True:
            buffered = isinstance(connection, ssl.SSLSocket) and connection.pending()
            ready = [connection] if buffered else select.select(list(both), [], [], 10)[0]
            for side in ready:
                chunk = side.recv(65536)
                if not chunk:
                    return
                both[side].sendall(chunk)


@contextmanager
def proxying(target: int, seen: list[bytes], context: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A proxy that opens every tunnel to this port; over TLS where it has a context."""

    def handle(connection: socket.socket, _stop: threading.Event) -> None:
        side = connection if context is None else context.wrap_socket(connection, server_side=True)
        with side:
            seen.append(read_request(side))
            side.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            tunnel(side, target)

    with serving(handle) as server:
        yield server


def serving_tls(context: ssl.SSLContext) -> Callable[[socket.socket, threading.Event], None]:
    """Answer over TLS."""

    def handle(connection: socket.socket, stop: threading.Event) -> None:
        with context.wrap_socket(connection, server_side=True) as side:
            answering(OK)(side, stop)

    return handle


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_https_request_goes_through_a_tunnel(
    trusting: ssl.SSLContext, server_context: ssl.SSLContext, scheme: str
) -> None:
    """With the proxy's password; also inside of the TLS that the proxy itself speaks."""
    seen: list[bytes] = []
    with (
        serving(serving_tls(server_context)) as api,
        proxying(api.port, seen, server_context if scheme == "https" else None) as proxy,
    ):
        environ = {"HTTPS_PROXY": f"{scheme}://me:pass%40word@127.0.0.1:{proxy.port}"}
        transport = make_transport(trusting, environ=environ)
        for _ in range(2):
            assert ask(transport, f"https://{NAME}/v3", content=bytes(100_000), seconds=5).content == b"ok"
        transport.close()
    (connect,) = seen
    assert connect.startswith(f"CONNECT {NAME}:443 HTTP/1.1\r\n".encode())
    assert b"Proxy-Authorization: Basic bWU6cGFzc0B3b3Jk\r\n" in connect


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "handle",
    [
        pytest.param(lambda _side: None, id="hangs-before-the-tunnel"),
        pytest.param(
            lambda side: side.sendall(b"HTTP/1.1 200 OK\r\n\r\n"), id="hangs-once-the-tunnel-is-open"
        ),
    ],
)
def test_a_proxy_that_hangs_has_not_got_the_request(
    trusting: ssl.SSLContext,
    server_context: ssl.SSLContext,
    scheme: str,
    handle: Callable[[socket.socket], None],
) -> None:
    """It was asked to connect, and no more: sending again is safe."""

    def proxy_handle(connection: socket.socket, stop: threading.Event) -> None:
        side = server_context.wrap_socket(connection, server_side=True) if scheme == "https" else connection
        with side:
            read_request(side)
            handle(side)
            stop.wait(30)

    with serving(proxy_handle) as proxy:
        environ = {"https_proxy": f"{scheme}://127.0.0.1:{proxy.port}"}
        transport = make_transport(trusting, environ=environ)
        assert ask_in_vain(transport, f"https://{NAME}/") == UNREACHABLE


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", "407 Proxy Auth"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "illegal"),
        (b"", "disconnected"),
    ],
    ids=["refuses", "speaks-no-http", "hangs-up"],
)
def test_a_proxy_that_opens_no_tunnel_has_not_got_the_request(answer: bytes, words: str) -> None:
    """Whatever it answers, nothing of the request was sent."""

    def handle(connection: socket.socket, _stop: threading.Event) -> None:
        read_request(connection)
        connection.sendall(answer)

    with serving(handle) as proxy:
        transport = make_transport(environ={"ALL_PROXY": f"127.0.0.1:{proxy.port}"})
        with pytest.raises(NotAcceptedError, match=words) as error:
            ask(transport, f"https://{NAME}/")
    assert error.value.code == "CbrSync.Unreachable"


def test_an_http_request_is_handed_to_the_proxy_whole() -> None:
    """There is no tunnel; what hangs then may have taken the request."""
    seen: list[bytes] = []

    def handle(connection: socket.socket, stop: threading.Event) -> None:
        while request := read_request(connection):
            seen.append(request)
            if b"/hang " in request:
                stop.wait(30)
            connection.sendall(OK)

    with serving(handle) as proxy:
        transport = make_transport(environ={"HTTP_PROXY": f"http://127.0.0.1:{proxy.port}"})
        assert ask(transport, f"http://{NAME}/v3").content == b"ok"
        assert ask_in_vain(transport, f"http://{NAME}/hang") == NO_ANSWER
    assert seen[0].startswith(f"POST http://{NAME}/v3 HTTP/1.1\r\n".encode())


def test_loopback_is_reached_without_the_proxy() -> None:
    """Whatever the variables say."""
    with serving(answering(OK)) as server:
        transport = make_transport(environ={"ALL_PROXY": "http://127.0.0.1:1"})
        assert ask(transport, server.url).content == b"ok"
        assert ask_in_vain(transport, f"http://{NAME}/") == UNREACHABLE


def test_an_untrusted_server_behind_a_tls_proxy_is_refused(
    trusting: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    """The certificate inside counts as much as the one outside."""
    other = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert(NAME).configure_cert(other)
    with serving(serving_tls(other)) as api, proxying(api.port, [], server_context) as proxy:
        transport = make_transport(trusting, environ={"HTTPS_PROXY": f"https://127.0.0.1:{proxy.port}"})
        with pytest.raises(NotAcceptedError, match="CERTIFICATE_VERIFY_FAILED"):
            ask(transport, f"https://{NAME}/", seconds=5)
        transport.close()


@pytest.mark.parametrize(
    ("garbage", "kind"),
    [(b"", httpx.RemoteProtocolError), (b"\x17\x03\x03\x00\x20" + bytes(32), httpx.ReadError)],
    ids=["hangs-up", "garbage"],
)
def test_a_tls_proxy_that_breaks_in_the_tunnel_breaks_the_request(
    trusting: ssl.SSLContext,
    server_context: ssl.SSLContext,
    garbage: bytes,
    kind: type[Exception],
) -> None:
    """After the request was sent through it, which may have arrived."""

    def handle(connection: socket.socket, _stop: threading.Event) -> None:
        with server_context.wrap_socket(connection, server_side=True) as side:
            read_request(side)
            side.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            inner = server_context.wrap_bio(incoming, outgoing, server_side=True)
            received = b""
            while not received.endswith(b"{}"):
                try:
                    received += inner.read(65536)
                except ssl.SSLWantReadError:
                    side.sendall(outgoing.read())
                    incoming.write(side.recv(65536))
            side.sendall(outgoing.read() + garbage)

    with serving(handle) as proxy:
        transport = make_transport(trusting, environ={"HTTPS_PROXY": f"https://127.0.0.1:{proxy.port}"})
        with pytest.raises(OutcomeUnknownError) as error:
            ask(transport, f"https://{NAME}/", seconds=5)
        transport.close()
    assert error.value.code == "CbrSync.NoAnswer"
    assert isinstance(error.value.__cause__, kind)


def test_a_connection_that_breaks_while_it_is_written_to_may_have_taken_the_request() -> None:
    """The server resets it in the middle of a long body."""

    def handle(connection: socket.socket, _stop: threading.Event) -> None:
        connection.recv(10)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with serving(handle) as server:
        assert ask_in_vain(make_transport(), server.url, content=bytes(32 * 1024 * 1024)) == NO_ANSWER
