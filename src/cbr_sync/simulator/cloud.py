"""A simulated CBR behind its API gateway: signatures checked, vaults and operations kept, faults on demand.

What it holds depends on the clock that is passed in; nothing runs in the background.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx

from cbr_sync.simulator.answers import Answer, EarlyAnswer, add_headers, build_ok_answer, format_http_date
from cbr_sync.simulator.api import CbrApi
from cbr_sync.simulator.faults import Fault, StatusFault, build_fault_result, parse_faults
from cbr_sync.simulator.gateway import RateLimit, SignatureCheck
from cbr_sync.simulator.models import (
    DEFAULT_VAULTS,
    SIMULATOR_CREDENTIALS,
    SIMULATOR_PROJECT_ID,
    SIMULATOR_REGION,
    IncomingRequest,
    Operation,
    Request,
    Vault,
)
from cbr_sync.simulator.rows import RowFormatter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from cbr_sync.credentials import Credentials
    from cbr_sync.simulator.models import RetryAfter, TimeFormat

# What a socket gives at once, at most.
_CHUNK_BYTES = 64 * 1024


class Simulator:
    """CBR of one project, and the IAM that knows the project; safe to be used by several threads.

    Attributes:
        requests: Every request received, in order.
        operations: Every sync accepted, oldest first; more can be appended.
    """

    def __init__(  # noqa: PLR0913 - by keyword
        self,
        *,
        now: Callable[[], datetime],
        vaults: Iterable[Vault] = DEFAULT_VAULTS,
        credentials: Credentials = SIMULATOR_CREDENTIALS,
        project_id: str = SIMULATOR_PROJECT_ID,
        region: str = SIMULATOR_REGION,
        operation_seconds: float = 5.0,
        running_seconds: float = 86_400.0,
        rate_per_minute: int | None = None,
        rate_per_second: float | None = None,
        retry_after: RetryAfter | None = None,
        log_delay_seconds: float = 0.0,
        clock_offset_seconds: float = 0.0,
        time_format: TimeFormat = "z",
        whole_seconds: bool = False,
        odd_rows: bool = False,
    ) -> None:
        """Set up a cloud.

        Args:
            now: The clock; gives moments in UTC.
            vaults: The project's vaults.
            credentials: The keys that are valid.
            project_id: The project.
            region: The region that IAM names the project after.
            operation_seconds: Duration of a sync, where its vault has none of its own.
            running_seconds: How long a sync goes on that already runs at the start.
            rate_per_minute: Number of requests answered within any minute; None means any number.
            rate_per_second: Number of requests answered in a second, perhaps a fraction, as ``RateLimit``
                counts them; None means any number.
            retry_after: The form of Retry-After when a rate is exceeded; None leaves it out, as documented.
            log_delay_seconds: How long ListOpLogs does not show a new operation.
            clock_offset_seconds: How far the API's clock is ahead of *now*; negative where it is behind.
                Dates, signatures, filters and operations are all on the API's clock.
            time_format: The form of an operation's times, as ``RowFormatter`` has them.
            whole_seconds: Whether an operation's times are cut to whole seconds.
            odd_rows: Whether lists have rows of other vaults too that are null or malformed in places.
        """
        self._clock, self._clock_offset = now, timedelta(seconds=clock_offset_seconds)
        self._lock = threading.Lock()
        self._faults: dict[str | None, deque[Fault | StatusFault]] = {}
        self._rate_limit = RateLimit(
            per_minute=rate_per_minute, per_second=rate_per_second, retry_after=retry_after, now=self.now
        )
        self._signatures = SignatureCheck(credentials, self.now)
        self._api = CbrApi(
            now=self.now,
            vaults=vaults,
            project_id=project_id,
            region=region,
            rows=RowFormatter(project_id, time_format, whole_seconds=whole_seconds),
            operation_seconds=operation_seconds,
            running_seconds=running_seconds,
            log_delay_seconds=log_delay_seconds,
            odd_rows=odd_rows,
        )
        self.requests: list[Request] = []
        self.operations = self._api.index.operations

    @property
    def vaults(self) -> tuple[Vault, ...]:
        """Every vault, public ones too."""
        return tuple(self._api.vaults.values())

    @property
    def refused_signatures(self) -> int:
        """How many requests were refused for their signature, whatever their access key."""
        return self._signatures.refused_signatures

    def now(self) -> datetime:
        """Return the present moment on the API's clock."""
        return self._clock() + self._clock_offset

    def add_faults(self, spec: str, target: str | None = None) -> None:
        """Let the next requests fail, one after the other.

        A request meets one fault at most: of those for any request, then those for its operation, then those
        for its vault.

        Args:
            spec: Faults as ``parse_faults`` reads them, such as ``503,429*3,reset``.
            target: The id of a vault, whose syncs fail, or an operation of the API, such as ``ListOpLogs``;
                both only where the signature is right. Without it the next requests fail whatever they are,
                as on a network or at a gateway.

        Raises:
            ValueError: A fault or the target is not known; the message names those that are.
        """
        faults = parse_faults(spec)
        if target is not None and target not in self._api.operations:
            if target.lower() not in self._api.vaults:
                known = f"{', '.join(self._api.vaults)}, and the operations {', '.join(self._api.operations)}"
                raise ValueError(f"{target} is no vault here; known are {known}")
            target = target.lower()
        with self._lock:
            self._faults.setdefault(target, deque()).extend(faults)

    def skip_syncs(self, vault_id: str, times: int = 1) -> None:
        """Let the next syncs of a vault be accepted, and end ``skipped``.

        Args:
            vault_id: The vault.
            times: How many syncs.

        Raises:
            ValueError: The vault is not known.
        """
        self.add_faults(f"{Fault.SKIP}*{times}", vault_id)

    def start_operation(  # noqa: PLR0913 - by keyword
        self,
        vault_id: str,
        *,
        at: datetime | None = None,
        ends: str = "success",
        failed: int = 0,
        error: tuple[str, str] | None = None,
        seconds: float | None = None,
        auto_trigger: bool = True,
        has_ended_at: bool = True,
        update_delay_seconds: float = 0.0,
    ) -> Operation:
        """Start a sync as the console or another tool does, whatever else runs.

        Args:
            vault_id: The vault, in lower case.
            at: When it starts on the API's clock; None means now. Nothing shows it before, so that it can lie
                ahead.
            ends: The status in which it ends; any word.
            failed: Number of copies that fail to sync.
            error: Code and message of its error_info once it has ended.
            seconds: Its duration; None takes the vault's, then the simulator's.
            auto_trigger: Whether a schedule starts it.
            has_ended_at: Whether its log has an ``ended_at`` once it has ended; null otherwise.
            update_delay_seconds: How long after its end the last ``updated_at`` is.

        Returns:
            The operation, which ``operations`` has too.

        Raises:
            KeyError: The vault is not known.
        """
        vault = self._api.vaults[vault_id].change_end(ends, failed=failed, error=error)
        with self._lock:
            return self._api.start_operation(
                vault,
                at=at or self.now(),
                auto_trigger=auto_trigger,
                seconds=seconds,
                has_ended_at=has_ended_at,
                update_delay_seconds=update_delay_seconds,
            )

    def syncs_of(self, vault_id: str) -> list[Operation]:
        """Return the syncs of a vault that the API accepted, oldest first."""
        return [operation for operation in self.operations if operation.vault_id == vault_id]

    def replace_credentials(self, credentials: Credentials) -> None:
        """Accept these credentials from now on, and no others."""
        with self._lock:
            self._signatures.replace_credentials(credentials)

    def revoke_after(self, requests: int, replacement: Credentials | None = None) -> None:
        """Revoke the credentials in the middle of what follows.

        Args:
            requests: How many more signed requests are accepted; 0 revokes at once.
            replacement: The credentials that are valid from then on; without them none are.
        """
        with self._lock:
            self._signatures.revoke_after(requests, replacement)

    def count_refusals(self, access_key: str) -> int:
        """Return how many requests of an access key were refused for their signature."""
        return self._signatures.count_refusals(access_key)

    def is_locked(self, access_key: str) -> bool:
        """Return whether an access key is locked, because too many of its signatures were wrong."""
        return self._signatures.is_locked(access_key)

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer | Fault:
        """Return the answer to a request, or what happens in its place; see ``serve``."""
        return self.serve(method, target, headers, body)[0]

    def serve(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[Answer | Fault, Request]:
        """Handle one request.

        Args:
            method: The HTTP method.
            target: Path and query as in the request line.
            headers: The headers, their names in any case.
            body: The body, perhaps empty.

        Returns:
            The answer, or the fault that happens in its place; and the request as ``requests`` has it.
        """
        names_lowered = {name.lower(): value for name, value in headers.items()}
        request = IncomingRequest(method, target, names_lowered, body)
        with self._lock:
            received_at = self._clock()
            self._signatures.check(request)
            result = self._handle(request)
            entry = Request(
                method=method,
                path=request.path,
                vault_id=request.vault_id,
                status=result.status if isinstance(result, Answer) and not result.delivery else None,
                fault=request.fault if isinstance(request.fault, Fault) else None,
                signed_ok=request.mistake is None,
                access_key=request.access_key,
                received_at=received_at,
            )
            self.requests.append(entry)
        return result, entry

    def transport(self) -> httpx.MockTransport:
        """Return a transport for httpx without sockets.

        What would happen to a connection is raised as the error that httpx would raise. An answer that never
        ends, or too slowly, is a read timeout.
        """

        def respond(request: httpx.Request) -> httpx.Response:
            target = request.url.raw_path.decode("ascii")
            match self.answer(request.method, target, request.headers, request.content):
                case Answer(delivery=None) as answer:
                    return _build_response(answer)
                case Answer(delivery=Fault.TRUNCATED):
                    raise httpx.RemoteProtocolError("peer closed connection", request=request)
                case Fault.REFUSE:
                    raise httpx.ConnectError("Connection refused", request=request)
                case Fault.RESET | Fault.RESET_AFTER:
                    raise httpx.ReadError("Connection reset by peer", request=request)
                case _:
                    raise httpx.ReadTimeout("timed out", request=request)

        return httpx.MockTransport(respond)

    def _handle(self, request: IncomingRequest) -> Answer | Fault:
        try:
            self._strike(request, None)
            self._rate_limit.take()
            self._signatures.authenticate(request)
            call = self._api.find_operation(request)
            self._strike(request, call.operation)
            if request.vault_id:
                self._strike(request, request.vault_id)
            result: Answer | Fault = build_ok_answer(self._api.perform(call))
        except EarlyAnswer as stop:
            result = stop.result
        if isinstance(result, Answer) and request.fault and request.fault.is_accepted:
            result = self._spoil(result, request.fault)
        if isinstance(result, Answer):
            # As recorded on real answers: both headers on every one.
            date = format_http_date(self.now())
            result = add_headers(result, {"Server": "api-gateway", "Date": date})
        return result

    def _spoil(self, answer: Answer, fault: Fault | StatusFault) -> Answer | Fault:
        match fault:
            case Fault.SKIP:
                return answer
            case Fault.TRUNCATED | Fault.DRIP | Fault.DRIP_AFTER:
                return replace(answer, delivery=fault)
        return build_fault_result(fault, self.now())

    def _strike(self, request: IncomingRequest, target: str | None) -> None:
        """Let the next fault for this target meet the request, unless it has met one before."""
        waiting = self._faults.get(target)
        if not waiting or request.fault:
            return
        request.fault = waiting.popleft()
        if not request.fault.is_accepted:
            raise EarlyAnswer(build_fault_result(request.fault, self.now()))


class _Chunks(httpx.SyncByteStream):
    """A body that arrives in pieces, so that a reader can stop before its end."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self._body), _CHUNK_BYTES):
            yield self._body[start : start + _CHUNK_BYTES]


def _build_response(answer: Answer) -> httpx.Response:
    if len(answer.body) <= _CHUNK_BYTES:
        return httpx.Response(answer.status, headers=answer.headers, content=answer.body)
    # What is passed as content is read, and unpacked, before the client has it.
    headers = {**answer.headers, "Content-Length": str(len(answer.body))}
    return httpx.Response(answer.status, headers=headers, stream=_Chunks(answer.body))
