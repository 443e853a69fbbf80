"""Servers on loopback that misbehave on purpose, and names that lead to them."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cbr_sync.transport import HttpTransport

Handle = Callable[[socket.socket], None]
# A name that no resolver knows: only an injected look-up leads anywhere.
NAME = "api.example.com"


class Server:
    """Serves each connection in a thread of its own, as *handle* does; counts them."""

    def __init__(self, handle: Handle) -> None:
        self.connections = 0
        self.stop = threading.Event()
        self._handle = handle
        self._listener = socket.create_server(("127.0.0.1", 0))
        # Connects last: what came before it is served before the server ends.
        self._last = socket.socket()
        self._last.bind(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        while True:
            connection, peer = self._listener.accept()
            if peer == self._last.getsockname():
                connection.close()
                return
            self.connections += 1
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self._handle(connection)

    def close(self) -> None:
        self.stop.set()
        self._last.connect(("127.0.0.1", self.port))
        for thread in self._threads:
            thread.join(10)
        self._last.close()
        self._listener.close()


@contextmanager
def serving(handle: Callable[[socket.socket, threading.Event], None]) -> Iterator[Server]:
    """A server whose handler also gets the event that ends it."""
    server = Server(lambda connection: handle(connection, server.stop))
    try:
        yield server
    finally:
        server.close()


def read_request(connection: socket.socket) -> bytes:
    """One request whose body's length is stated; nothing where the client hangs up instead."""
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65536)
        if not chunk:
            return b""
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    length = int(fields.get(b"content-length", 0))
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def answering(answer: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Answer each request of a connection with these bytes."""

    def handle(connection: socket.socket, _stop: threading.Event) -> None:
        while read_request(connection):
            connection.sendall(answer)

    return handle


def dripping(*parts: bytes, every_seconds: float = 0.05) -> Callable[[socket.socket, threading.Event], None]:
    """Answer with the first part at once, then with the last one for ever, one after the other."""

    def handle(connection: socket.socket, stop: threading.Event) -> None:
        connection.recv(65536)
        for part in parts:
            connection.sendall(part)
        while not stop.wait(every_seconds):
            connection.sendall(parts[-1])

    return handle


def hanging(connection: socket.socket, stop: threading.Event) -> None:
    """Take the connection, read nothing, say nothing."""
    del connection
    stop.wait(30)


@contextmanager
def silent_address() -> Iterator[int]:
    """The port of a listener with a full backlog, which lets every packet to it vanish."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = listener.getsockname()[1]
        for _ in range(64):
            client = stack.enter_context(socket.socket())
            client.settimeout(0.05)
            try:
                client.connect(("127.0.0.1", port))
            except TimeoutError:
                break
        else:
            raise AssertionError("the backlog did not fill")
        yield port


def at(*ports: int) -> Callable[[str, int], list[Any]]:
    """A look-up that finds these ports on loopback, whatever the name."""
    tcp = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
    return lambda _host, _port: [(*tcp, ("127.0.0.1", port)) for port in ports]


def make_transport(ssl_context: ssl.SSLContext | None = None, *, idle: int = 4, **how: Any) -> HttpTransport:
    """The transport of an App."""
    return HttpTransport(ssl_context or ssl.create_default_context(), max_idle_connections=idle, **how)
