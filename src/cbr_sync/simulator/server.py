"""The simulator behind a socket on loopback."""

from __future__ import annotations

import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

    from cbr_sync.simulator.cloud import Simulator
    from cbr_sync.simulator.models import Request
from cbr_sync.simulator.answers import Answer
from cbr_sync.simulator.faults import Fault

HANG_SECONDS = 300.0


class SimulatorServer:
    """A simulator behind a socket on 127.0.0.1; port 0 takes any free one.

    Use it as a context manager: it serves from a thread of its own; ``serve_forever`` inside of it ends with
    an interrupt. ``on_request`` is told of each request before it is answered.

    Raises:
        OSError: the port cannot be had.
    """

    def __init__(
        self, simulator: Simulator, port: int = 0, on_request: Callable[[Request], None] | None = None
    ) -> None:
        self._stopping = threading.Event()
        tell = staticmethod(on_request or (lambda _request: None))
        fields = {"simulator": simulator, "stopping": self._stopping, "on_request": tell}
        self._server = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_Handler,), fields))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def serve_forever(self) -> None:
        """Return when interrupted, or stopped by another thread."""
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    simulator: Simulator
    stopping: threading.Event
    on_request: Callable[[Request], None]

    def _serve(self) -> None:
        length = self.headers.get("Content-Length", "")
        body = self.rfile.read(int(length) if length.isdecimal() else 0)
        headers = dict(self.headers.items())
        result, entry = self.simulator.serve(self.command, self.path, headers, body)
        self.on_request(entry)
        match result:
            case Answer():
                self._send(result, len(result.body))
            case Fault.HANG | Fault.HANG_AFTER:
                self.stopping.wait(HANG_SECONDS)
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
        """Close with a reset: a linger time of zero throws away what was not sent."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing; ``on_request`` tells of requests."""
