"""Sockets for httpcore on which no wait crosses the deadline of the request under way.

httpcore hands the timeout of a request through to every connect, TLS handshake, read and write that it makes
for it, also for the CONNECT of a proxy. So the deadline travels as that timeout: a `TimeBudget` is a float
that also knows when it ends. It needs no state on threads or on pooled connections, which serve one request
after another.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import httpcore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, Self

    # The tuples of socket.getaddrinfo: family, kind, protocol, canonical name, address.
    AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]
    Resolve = Callable[[str, int], Sequence[AddressInfo]]

T = TypeVar("T")

_TLS_RECORD_BYTES = 16384
_CONNECT = b"CONNECT "
# struct linger {on, 0 seconds}: closing drops what was not delivered, and resets the connection.
_NO_LINGER = struct.pack("ii", 1, 0)


class TimeBudget(float):
    """The seconds that one request may take in all, counted from now on.

    Attributes:
        ends_at: Reading of ``time.monotonic`` after which the request waits for nothing and sends nothing.
        sent: Whether bytes of the request may have left; those of a proxy's CONNECT do not count.
    """

    __slots__ = ("ends_at", "sent")

    ends_at: float
    sent: bool

    def __new__(cls, seconds: float) -> Self:
        """Begin to count."""
        budget = super().__new__(cls, seconds)
        budget.ends_at = time.monotonic() + seconds
        budget.sent = False
        return budget


def resolve(host: str, port: int) -> Sequence[AddressInfo]:
    """Look a name up with the system's resolver, which knows no timeout."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


class DeadlineBackend(httpcore.NetworkBackend):
    """Opens connections whose every wait ends with the `TimeBudget` that is handed in as its timeout."""

    def __init__(self, resolve: Resolve = resolve) -> None:
        self._resolve = resolve

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of a name that takes the connection.

        Each address may use its share of the time that is left, so that one behind a silent firewall does not
        keep the next from being tried.

        Args:
            host: Name or IP address.
            port: TCP port.
            timeout: Seconds for look-up and all addresses together, as a `TimeBudget`.
            local_address: Address to connect from.
            socket_options: Options for ``setsockopt``, beside TCP_NODELAY.

        Raises:
            httpcore.ConnectTimeout: The time is used up.
            httpcore.ConnectError: The name is unknown, or no address took the connection.
        """
        options = [*(socket_options or ()), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
        try:
            found = self._look_up(host, port, _seconds_left(timeout))
            return DeadlineStream(_connect_to_any(found, timeout, local_address, options))
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error

    def _look_up(self, host: str, port: int, seconds: float | None) -> Sequence[AddressInfo]:
        """Look a name up in a thread of its own, which is left to itself where it takes too long."""
        results: list[Sequence[AddressInfo] | Exception] = []

        def look_up() -> None:
            try:
                results.append(self._resolve(host, port))
            except Exception as error:  # noqa: BLE001 - raised again below, in the thread that asked
                results.append(error)

        thread = threading.Thread(target=look_up, name=f"look up {host}", daemon=True)
        thread.start()
        thread.join(seconds)
        if not results:
            raise TimeoutError(f"the look-up of {host} gave no answer in time")
        if isinstance(results[0], Exception):
            raise results[0]
        if not results[0]:
            raise OSError(f"the look-up of {host} gave no address")
        return results[0]


class DeadlineStream(httpcore.NetworkStream):
    """A TCP connection, or TLS over it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what has arrived, at least one byte; nothing where the other side has hung up.

        Raises:
            httpcore.ReadTimeout: The time is used up.
            httpcore.ReadError: The connection is broken.
        """
        try:
            self._sock.settimeout(_seconds_left(timeout))
            return self._sock.recv(max_bytes)
        except TimeoutError as error:
            self._abandon()
            raise httpcore.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send these bytes of a request, all of them.

        Raises:
            httpcore.WriteTimeout: The time is used up; nothing is sent any more.
            httpcore.WriteError: The connection is broken.
        """
        request = timeout if isinstance(timeout, TimeBudget) else None
        # No API of ours has a method CONNECT: what begins so is for a proxy, and not yet the request.
        self.send(buffer, timeout, None if buffer.startswith(_CONNECT) else request)

    def send(self, buffer: bytes, timeout: float | None, request: TimeBudget | None = None) -> None:
        """Send these bytes; *request* is what they are a part of, if of any. Raises as `write` does."""
        try:
            while buffer:
                self._sock.settimeout(_seconds_left(timeout))
                if request is not None:
                    request.sent = True
                buffer = buffer[self._sock.send(buffer) :]
        except TimeoutError as error:
            self._abandon()
            raise httpcore.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self._sock.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Speak TLS from now on; inside of TLS where the connection to a proxy has it already.

        Raises:
            httpcore.ConnectTimeout: The time is used up.
            httpcore.ConnectError: The handshake failed, or the certificate is not trusted.
        """
        try:
            if isinstance(self._sock, ssl.SSLSocket):
                return TlsInTlsStream(self, ssl_context, server_hostname, timeout)
            # As wrap_socket does, but before it takes the socket, which it would leave open.
            (server_hostname or "").encode("idna")
            self._sock.settimeout(_seconds_left(timeout))
            return DeadlineStream(ssl_context.wrap_socket(self._sock, server_hostname=server_hostname))
        except (TimeoutError, httpcore.TimeoutException) as error:
            self.close()
            raise httpcore.ConnectTimeout(str(error)) from error
        except (OSError, httpcore.NetworkError) as error:
            self.close()
            raise httpcore.ConnectError(str(error)) from error
        except BaseException:
            self.close()
            raise

    def get_extra_info(self, info: str) -> object:
        """Return what httpcore asks of a stream: "ssl_object", "is_readable", "socket" and the addresses."""
        if info == "ssl_object":
            return self._sock if isinstance(self._sock, ssl.SSLSocket) else None
        if info == "is_readable":
            return _is_readable(self._sock)
        if info == "client_addr":
            return self._sock.getsockname()
        if info == "server_addr":
            return self._sock.getpeername()
        return self._sock if info == "socket" else None

    def _abandon(self) -> None:
        """Have the system drop what it still holds to send, instead of delivering it after the deadline."""
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)


class TlsInTlsStream(httpcore.NetworkStream):
    """TLS with a server inside of TLS with a proxy, which ``SSLContext.wrap_socket`` cannot do."""

    def __init__(
        self,
        stream: DeadlineStream,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None,
        timeout: float | None,
    ) -> None:
        self._stream = stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = ssl_context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        self._run(self._tls.do_handshake, timeout)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what has arrived, as `DeadlineStream.read` does."""
        try:
            return self._run(partial(self._tls.read, max_bytes), timeout)
        except ssl.SSLEOFError:
            return b""
        except ssl.SSLError as error:
            raise httpcore.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send these bytes of a request, as `DeadlineStream.write` does."""
        request = timeout if isinstance(timeout, TimeBudget) else None
        try:
            while buffer:
                buffer = buffer[self._run(partial(self._tls.write, buffer), timeout, request) :]
        except ssl.SSLError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def get_extra_info(self, info: str) -> object:
        """Return what httpcore asks of a stream, as `DeadlineStream.get_extra_info` does."""
        return self._tls if info == "ssl_object" else self._stream.get_extra_info(info)

    def _run(self, operation: Callable[[], T], timeout: float | None, request: TimeBudget | None = None) -> T:
        """Run an operation of TLS to its end, moving what it reads and writes over the stream below."""
        while True:
            try:
                result = operation()
            except ssl.SSLWantReadError:
                self._stream.send(self._outgoing.read(), timeout, request)
                if arrived := self._stream.read(_TLS_RECORD_BYTES, timeout):
                    self._incoming.write(arrived)
                else:
                    self._incoming.write_eof()
            else:
                self._stream.send(self._outgoing.read(), timeout, request)
                return result


def _seconds_left(timeout: float | None) -> float | None:
    """Return how long the next wait may be; a plain timeout counts for each wait anew.

    Raises:
        TimeoutError: There is nothing left.
    """
    if not isinstance(timeout, TimeBudget):
        return timeout
    left = timeout.ends_at - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time of the request is used up")
    return left


def _connect_to_any(
    found: Sequence[AddressInfo],
    timeout: float | None,
    local_address: str | None,
    options: Iterable[httpcore.SOCKET_OPTION],
) -> socket.socket:
    errors: list[OSError] = []
    for index, info in enumerate(found):
        try:
            left = _seconds_left(timeout)
            share = None if left is None else left / (len(found) - index)
            return _connect(info, share, local_address, options)
        except OSError as error:
            errors.append(error)
    # A silent address says more than another that has no route, as IPv6 often has none.
    raise next((error for error in errors if isinstance(error, TimeoutError)), errors[-1])


def _connect(
    info: AddressInfo,
    seconds: float | None,
    local_address: str | None,
    options: Iterable[httpcore.SOCKET_OPTION],
) -> socket.socket:
    family, kind, protocol, _, address = info
    sock = socket.socket(family, kind, protocol)
    try:
        for option in options:
            sock.setsockopt(*option)
        if local_address is not None:
            sock.bind((local_address, 0))
        sock.settimeout(seconds)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _is_readable(sock: socket.socket) -> bool:
    """Whether something has arrived on an idle connection: nothing but its end can."""
    if sock.fileno() < 0:
        return True
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
