"""The simulator behind a socket on loopback."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

from cbr_sync.simulator.answers import Answer, format_http_date
from cbr_sync.simulator.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cbr_sync.simulator.cloud import Simulator
    from cbr_sync.simulator.models import Request

HANG_SECONDS = 300.0


class SimulatorServer:
    """A simulator behind a socket on 127.0.0.1; as a context manager it serves from a thread of its own.

    Attributes:
        url: Where it serves, as ``http://127.0.0.1:8642``.
    """

    def __init__(
        self,
        simulator: Simulator,
        port: int = 0,
        on_request: Callable[[Request], None] | None = None,
        *,
        drip_seconds: float = 0.5,
    ) -> None:
        """Listen on a port.

        Args:
            simulator: What is served.
            port: The port; 0 takes any free one.
            on_request: Called with each request before it is answered.
            drip_seconds: The wait before each byte of an answer that drips, and before each 1xx answer.

        Raises:
            OSError: The port is not free.
        """
        self._server = _Server(simulator, port, on_request, drip_seconds)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def serve_forever(self) -> None:
        """Return when interrupted, or when another thread leaves the context."""
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # The usual five lose connections to a client with many workers, which then try again a second later.
    request_queue_size = 128

    def __init__(
        self,
        simulator: Simulator,
        port: int,
        on_request: Callable[[Request], None] | None,
        drip_seconds: float,
    ) -> None:
        self.simulator = simulator
        self.on_request = on_request
        self.drip_seconds = drip_seconds
        self.stopping = threading.Event()
        super().__init__(("127.0.0.1", port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _serve(self) -> None:
        length = self.headers.get("Content-Length", "")
        body = self.rfile.read(int(length) if length.isdecimal() else 0)
        headers = dict(self.headers.items())
        result, entry = self.server.simulator.serve(self.command, self.path, headers, body)
        if self.server.on_request:
            self.server.on_request(entry)
        try:
            self._send(result)
        except OSError:  # the client has gone
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the base class's names

    def _send(self, result: Answer | Fault) -> None:
        match result:
            case Answer(delivery=None, body=body):
                # In one piece: a head and a body apart would wait for each other's acknowledgement.
                self.wfile.write(_encode_head(result) + body)
            case Answer(delivery=Fault.TRUNCATED, body=body):
                self.wfile.write(_encode_head(result) + body[: len(body) // 2])
                self.close_connection = True
            case Answer(delivery=Fault.DRIP, body=body):
                self._drip(_split(_encode_head(result) + body))
            case Answer(body=body):
                self.wfile.write(_encode_head(result))
                self._drip(_split(body))
            case Fault.HANG | Fault.HANG_AFTER:
                self.server.stopping.wait(HANG_SECONDS)
                self.close_connection = True
            case Fault.INTERIM | Fault.INTERIM_AFTER:
                self._drip(itertools.repeat(b"HTTP/1.1 102 Processing\r\n\r\n"))
            case _:
                self._reset()

    def _drip(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            if self.server.stopping.wait(self.server.drip_seconds):
                self.close_connection = True
                return
            self.wfile.write(piece)

    def _reset(self) -> None:
        # A linger time of zero throws away what was not sent, and sends a reset.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return the date of the API's clock, for errors that the base class answers."""
        del timestamp
        return format_http_date(self.server.simulator.now())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Print nothing; ``on_request`` reports each request."""


def _split(data: bytes) -> Iterator[bytes]:
    return (data[place : place + 1] for place in range(len(data)))


def _encode_head(answer: Answer) -> bytes:
    phrase = responses.get(answer.status, "Unknown")
    headers = {**answer.headers, "Content-Length": str(len(answer.body))}
    lines = [
        f"HTTP/1.1 {answer.status} {phrase}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
