"""One HTTP request, one bounded answer, one time budget: for every service that is called.

The exceptions of the network are translated here, by what the caller has to know: whether the other side may
have the request.
"""

from __future__ import annotations

import re
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, cast

import httpcore
import httpx

from cbr_sync import __version__
from cbr_sync.errors import ApiError, NotAcceptedError, OutcomeUnknownError
from cbr_sync.network import DeadlineBackend, TimeBudget, resolve
from cbr_sync.validation import mask_secrets

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator, Mapping

    from cbr_sync.credentials import Credentials
    from cbr_sync.network import Resolve

# Of an answer, after decompression; the page of an error needs no more than its first lines.
MAX_ANSWER_BYTES = 8 * 1024 * 1024
MAX_ERROR_PAGE_BYTES = 64 * 1024
ANSWER_TOO_LARGE = "CbrSync.AnswerTooLarge"

_OK = range(200, 300)
_USER_AGENT = f"cbr-sync/{__version__}"
_TIMEOUTS = ("connect", "read", "write", "pool")
_KEEPALIVE_SECONDS = 5.0
_PROXY_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
_NEVER_CONNECTED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_NOT_SENDABLE = (httpx.InvalidURL, httpx.LocalProtocolError, httpx.UnsupportedProtocol, UnicodeError)
# zlib's window bits for each encoding; some servers send "deflate" without its header. Source: zlib manual,
# inflateInit2.
_WINDOW_BITS = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}
_SIGNATURE_LENGTH = 64
_SIGNATURE = re.compile(rf"[0-9a-fA-F]{{{_SIGNATURE_LENGTH}}}")
_MAX_LENGTH = 500
# No more than a line is shown, so of megabytes only the beginning is searched for secrets.
_EXAMINED = 64 * 1024

_HTTPX_ERRORS: dict[type[Exception], type[httpx.TransportError]] = {
    httpcore.ConnectError: httpx.ConnectError,
    httpcore.ConnectTimeout: httpx.ConnectTimeout,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.PoolTimeout: httpx.PoolTimeout,
    httpcore.ProxyError: httpx.ProxyError,
    httpcore.ReadError: httpx.ReadError,
    httpcore.ReadTimeout: httpx.ReadTimeout,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
    httpcore.UnsupportedProtocol: httpx.UnsupportedProtocol,
    httpcore.WriteError: httpx.WriteError,
    httpcore.WriteTimeout: httpx.WriteTimeout,
}
# These say themselves that the request was not sent.
_SENT_NOTHING = (*_NEVER_CONNECTED, httpx.LocalProtocolError, httpx.UnsupportedProtocol)


class Response(NamedTuple):
    """An answer, read to its end.

    Attributes:
        status_code: HTTP status.
        headers: As they came.
        content: The body, decompressed; of an error no more than its first `MAX_ERROR_PAGE_BYTES`.
    """

    status_code: int
    headers: httpx.Headers
    content: bytes

    @property
    def text(self) -> str:
        """The body as UTF-8, as all our APIs speak; a charset that a stranger names may not even exist."""
        return self.content.decode(errors="replace")


class HttpTransport(httpx.BaseTransport):
    """Pooled connections, direct or through a proxy, whose every wait ends with its request's time budget.

    It raises `httpx.TransportError` and nothing else: what nobody foresaw is a ConnectError before bytes of
    the request may have left, and a ReadError after it.
    """

    def __init__(
        self,
        ssl_context: ssl.SSLContext,
        *,
        max_idle_connections: int,
        environ: Mapping[str, str] | None = None,
        resolve: Resolve = resolve,
    ) -> None:
        """Open no connection yet.

        Args:
            ssl_context: What is trusted, of servers and of https:// proxies.
            max_idle_connections: How many connections are kept for the next request. There may be more at the
                same time, one for each request under way: httpcore would count the wait for a free one anew
                each time it loses it to another request, and the callers' threads are limited already.
            environ: Where the proxy variables stand; none means no proxy.
            resolve: Looks a name up; called in a thread of its own.

        Raises:
            SettingsError: A proxy variable is wrong.
        """
        self._ssl_context = ssl_context
        self._max_idle = max_idle_connections
        self._backend = DeadlineBackend(resolve)
        self._direct = self._open_pool(None)
        self._proxied: dict[httpx.URL, httpcore.ConnectionPool] = {}
        self._lock = threading.Lock()
        self._proxies = None
        environ = environ or {}
        if any(environ.get(name) or environ.get(name.lower()) for name in _PROXY_VARIABLES):
            from cbr_sync.proxies import read_proxies  # noqa: PLC0415 - only who has a proxy pays for it

            self._proxies = read_proxies(environ)

    def close(self) -> None:
        """Close all connections."""
        for pool in [self._direct, *self._proxied.values()]:
            pool.close()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the answer's stream is still to be read, and to be closed.

        Raises:
            httpx.TransportError: There was no connection or no whole head of an answer.
        """
        url = request.url
        try:
            response = self._pool_for(url).handle_request(
                httpcore.Request(
                    request.method,
                    httpcore.URL(
                        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                    ),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        except Exception as error:
            budget = request.extensions.get("timeout", {}).get("write")
            raise _translate(error, sent=not isinstance(budget, TimeBudget) or budget.sent) from error
        return httpx.Response(
            response.status, headers=response.headers, stream=_Body(cast("Iterable[bytes]", response.stream))
        )

    def _pool_for(self, url: httpx.URL) -> httpcore.ConnectionPool:
        proxy = self._proxies.choose(url) if self._proxies else None
        if proxy is None:
            return self._direct
        with self._lock:
            if proxy.url not in self._proxied:
                self._proxied[proxy.url] = self._open_pool(proxy)
            return self._proxied[proxy.url]

    def _open_pool(self, proxy: httpx.Proxy | None) -> httpcore.ConnectionPool:
        return httpcore.ConnectionPool(
            self._ssl_context,
            None if proxy is None else _httpcore_proxy(proxy, self._ssl_context),
            max_connections=None,
            max_keepalive_connections=self._max_idle,
            keepalive_expiry=_KEEPALIVE_SECONDS,
            network_backend=self._backend,
        )


def _httpcore_proxy(proxy: httpx.Proxy, ssl_context: ssl.SSLContext) -> httpcore.Proxy:
    url = proxy.url
    return httpcore.Proxy(
        httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=b"/"),
        proxy.raw_auth,
        ssl_context=ssl_context if url.scheme == "https" else None,
    )


class _Body(httpx.SyncByteStream):
    """The body of an answer, as it comes."""

    def __init__(self, stream: Iterable[bytes]) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except Exception as error:
            raise _translate(error, sent=True) from error

    def close(self) -> None:
        if hasattr(self._stream, "close"):
            self._stream.close()


def _translate(error: Exception, *, sent: bool) -> httpx.TransportError:
    """Return the exception of httpx for one of httpcore, or for one that nobody foresaw."""
    kind = _HTTPX_ERRORS.get(type(error))
    if not sent and (kind is None or not issubclass(kind, _SENT_NOTHING)):
        if isinstance(error, ValueError):  # a host that no name can have, say
            kind = httpx.LocalProtocolError
        else:
            timed_out = isinstance(error, httpcore.TimeoutException)
            kind = httpx.ConnectTimeout if timed_out else httpx.ConnectError
    return (kind or httpx.ReadError)(str(error) or type(error).__name__)


def new_request(
    method: str, url: str, headers: Mapping[str, str], content: bytes | None = None
) -> httpx.Request:
    """Build a request with these headers, a User-Agent, and no more: each costs on every layer below.

    Raises:
        ApiError: The URL or a header cannot be one; it is not shown, since it may be secret.
    """
    headers = {"User-Agent": _USER_AGENT, **headers}
    try:
        return httpx.Request(method, _parse_url(url), headers=headers, content=content)
    except (httpx.InvalidURL, UnicodeError):
        message = "the request cannot be sent: its URL is none or too long, or a header is not in ASCII"
        raise ApiError("CbrSync.NotSendable", message, sent=False) from None


_parse_url = lru_cache(maxsize=64)(httpx.URL)


def send(
    transport: httpx.BaseTransport, request: httpx.Request, *, auth: httpx.Auth | None, timeout_seconds: float
) -> Response:
    """Send one request and read its answer, whatever its status; redirects are not followed.

    Args:
        transport: `HttpTransport`, or what stands in its place.
        request: What to send; its extensions get the timeout.
        auth: Signs the request, or nothing.
        timeout_seconds: For all of it: name look-up, connecting, TLS, sending and reading to the end. Nothing
            is sent after it.

    Returns:
        The answer.

    Raises:
        NotAcceptedError: There was no connection, or no time left to try one: nothing was sent.
        OutcomeUnknownError: The request was sent, or a part of it, and no whole answer came back; or one that
            says it succeeded and cannot be read: damaged, of an unknown encoding, or of more than
            `MAX_ANSWER_BYTES`, whose code is `ANSWER_TOO_LARGE`.
        ApiError: The request cannot be sent at all; or it is a GET, and its answer is too large, as the next
            one would be.
    """
    if timeout_seconds <= 0:
        raise NotAcceptedError("CbrSync.OutOfTime", "the invocation's time is used up", sent=False)
    request.extensions = {
        **request.extensions,
        "timeout": dict.fromkeys(_TIMEOUTS, TimeBudget(timeout_seconds)),
    }
    try:
        return _round_trip(transport, request, auth)
    except _NEVER_CONNECTED as error:
        message = f"no connection to {_origin(request)}: {str(error) or type(error).__name__}"
        raise NotAcceptedError("CbrSync.Unreachable", message) from error
    except _NOT_SENDABLE:
        # Its text would show the header that is wrong, which may be a token; so it is not chained either.
        raise ApiError("CbrSync.NotSendable", f"the request to {_origin(request)} cannot be sent") from None
    except httpx.DecodingError as error:
        raise _unreadable(request, "content that cannot be decoded") from error
    except httpx.TransportError as error:
        why = f"gave no whole answer ({type(error).__name__}); it may have taken the request"
        raise OutcomeUnknownError("CbrSync.NoAnswer", f"{_origin(request)} {why}") from error


def _origin(request: httpx.Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc.decode('ascii')}"


def _round_trip(transport: httpx.BaseTransport, request: httpx.Request, auth: httpx.Auth | None) -> Response:
    if auth is not None:
        request = next(auth.sync_auth_flow(request))
    answer = transport.handle_request(request)
    status, headers = answer.status_code, answer.headers
    limit = MAX_ANSWER_BYTES if status in _OK else MAX_ERROR_PAGE_BYTES
    # One byte more than is allowed shows that there is more.
    try:
        raw = _read_up_to(limit + 1, answer)
    finally:
        answer.close()
    encoding = headers.get("Content-Encoding", "").strip().lower()
    content, is_decoded = _decode(raw, encoding, max_bytes=limit + 1)
    if status in _OK:
        if max(len(raw), len(content)) > limit:
            raise _build_too_large_error(request, status)
        if not is_decoded:
            raise _unreadable(request, "content that is damaged or of an unknown encoding", status)
    return Response(status, headers, content[:limit])


def _read_up_to(max_bytes: int, answer: httpx.Response) -> bytes:
    """Read the body as it comes, and no more of it than this."""
    chunks, size = [], 0
    for chunk in cast("httpx.SyncByteStream", answer.stream):
        chunks.append(chunk)
        size += len(chunk)
        if size >= max_bytes:
            break
    return b"".join(chunks)[:max_bytes]


def _decode(raw: bytes, encoding: str, *, max_bytes: int) -> tuple[bytes, bool]:
    """Undo a Content-Encoding, which we never ask for.

    Args:
        raw: The body as it came.
        encoding: Its encoding.
        max_bytes: How much of the content is wanted.

    Returns:
        The content, and whether it is all of it, or as much as is wanted.
    """
    if not raw or encoding in ("", "identity"):
        return raw, True
    import zlib  # noqa: PLC0415 - hardly any answer needs it

    for window_bits in _WINDOW_BITS.get(encoding, ()):
        inflater = zlib.decompressobj(window_bits)
        try:
            content = inflater.decompress(raw, max_bytes)
        except zlib.error:
            continue
        return content, inflater.eof or len(content) == max_bytes
    return b"", False


def _unreadable(request: httpx.Request, what: str, status: int | None = None) -> OutcomeUnknownError:
    message = f"{_origin(request)} answered with {what}; it may have taken the request"
    return OutcomeUnknownError("CbrSync.UnreadableAnswer", message, http_status=status)


def _build_too_large_error(request: httpx.Request, status: int) -> ApiError:
    message = f"{_origin(request)} answered with more than {MAX_ANSWER_BYTES} bytes"
    if request.method == "GET":
        return ApiError(ANSWER_TOO_LARGE, message, http_status=status)
    return OutcomeUnknownError(
        ANSWER_TOO_LARGE, f"{message}; it may have taken the request", http_status=status
    )


def redact(text: str, credentials: Credentials) -> str:
    """Return the words of another service on one line, cut, without our keys and what may be a signature.

    A lone surrogate, which JSON holds and UTF-8 does not, becomes a question mark: no platform could send it.
    """
    secrets = [part for part in (credentials.secret_key, credentials.token, credentials.access_key) if part]
    examined = text[:_EXAMINED]
    examined = mask_secrets(examined, secrets)
    examined = _SIGNATURE.sub("****", examined)
    if len(text) > _EXAMINED:
        # What stands at the end may be one half of a secret.
        examined = examined[: -max([_SIGNATURE_LENGTH, *map(len, secrets)])] + "…"
    line = " ".join(examined.split()).encode(errors="replace").decode()
    return line if len(line) <= _MAX_LENGTH else line[: _MAX_LENGTH - 1] + "…"
