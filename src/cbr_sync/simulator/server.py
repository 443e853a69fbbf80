"""The simulator behind a socket on loopback."""

from __future__ import annotations

import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

from cbr_sync.simulator.answers import Answer
from cbr_sync.simulator.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from cbr_sync.simulator.cloud import Simulator
    from cbr_sync.simulator.models import Request

HANG_SECONDS = 300.0


class SimulatorServer:
    """A simulator behind a socket on 127.0.0.1; as a context manager it serves from a thread of its own.

    Attributes:
        url: Where it serves, as ``http://127.0.0.1:8642``.
    """

    def __init__(
        self, simulator: Simulator, port: int = 0, on_request: Callable[[Request], None] | None = None
    ) -> None:
        """Listen on a port.

        Args:
            simulator: What is served.
            port: The port; 0 takes any free one.
            on_request: Called with each request before it is answered.

        Raises:
            OSError: The port is not free.
        """
        self._server = _Server(simulator, port, on_request or (lambda _request: None))
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

    def __init__(self, simulator: Simulator, port: int, on_request: Callable[[Request], None]) -> None:
        self.simulator = simulator
        self.on_request = on_request
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
        self.server.on_request(entry)
        match result:
            case Answer():
                self._send(result, len(result.body))
            case Fault.HANG | Fault.HANG_AFTER:
                self.server.stopping.wait(HANG_SECONDS)
                self.close_connection = True
            case Fault.TRUNCATED:
                self._send(Answer(200, {"Content-Type": "application/json"}, b'{"sync": {'), 100)
                self.close_connection = True
            case _:
                self._reset()

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the base class's names

    def _send(self, answer: Answer, length: int) -> None:
        self.send_response(answer.status)
        for key, value in {**answer.headers, "Content-Length": str(length)}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def _reset(self) -> None:
        # A linger time of zero throws away what was not sent, and sends a reset.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Print nothing; ``on_request`` reports each request."""
