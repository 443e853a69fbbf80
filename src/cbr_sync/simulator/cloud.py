"""A simulated CBR behind its API gateway: signatures checked, vaults and operations kept, faults on demand.

What it holds depends on the clock that is passed in; nothing runs in the background.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

import httpx

from cbr_sync.simulator.answers import (
    Answer,
    EarlyAnswer,
    build_gateway_error,
    build_html_answer,
    build_ok_answer,
)
from cbr_sync.simulator.api import CbrApi
from cbr_sync.simulator.faults import ACCEPTED_FAULTS, Fault, parse_faults
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
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from cbr_sync.models import Credentials


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
        rate_per_minute: int | None = None,
        log_delay_seconds: float = 0.0,
    ) -> None:
        """Set up a cloud.

        Args:
            now: The clock; gives moments in UTC.
            vaults: The project's vaults.
            credentials: The keys that are valid.
            project_id: The project.
            region: The region that IAM names the project after.
            operation_seconds: Duration of a sync, where its vault has none of its own.
            rate_per_minute: Number of requests answered within any minute; None means any number.
            log_delay_seconds: How long ListOpLogs does not show a new operation.
        """
        self._lock = threading.Lock()
        self._faults: dict[str | None, deque[Fault | int]] = {}
        self._rate_limit = RateLimit(rate_per_minute, now)
        self._signatures = SignatureCheck(credentials, now)
        self._api = CbrApi(
            now=now,
            vaults=vaults,
            project_id=project_id,
            region=region,
            rows=RowFormatter(project_id),
            operation_seconds=operation_seconds,
            log_delay_seconds=log_delay_seconds,
        )
        self.requests: list[Request] = []
        self.operations = self._api.index.operations

    @property
    def vaults(self) -> tuple[Vault, ...]:
        """Every vault, public ones too."""
        return tuple(self._api.vaults.values())

    @property
    def refused_signatures(self) -> int:
        """How many requests were refused for their signature."""
        return self._signatures.refused_signatures

    def add_faults(self, spec: str, vault_id: str | None = None) -> None:
        """Let the next requests fail, one after the other.

        Args:
            spec: Faults as ``parse_faults`` reads them, such as ``503,429*3,reset``.
            vault_id: Only syncs of this vault fail, once their signature is checked. Without it the next
                requests fail whatever they are, as on a network or at a gateway.

        Raises:
            ValueError: A fault or the vault is not known; the message names those that are.
        """
        faults = parse_faults(spec)
        if vault_id is not None and vault_id.lower() not in self._api.vaults:
            raise ValueError(f"{vault_id} is no vault here; known are {', '.join(self._api.vaults)}")
        with self._lock:
            self._faults.setdefault(vault_id and vault_id.lower(), deque()).extend(faults)

    def syncs_of(self, vault_id: str) -> list[Operation]:
        """Return the syncs of a vault that the API accepted, oldest first."""
        return [operation for operation in self.operations if operation.vault_id == vault_id]

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
            request.mistake = self._signatures.find_mistake(request)
            result = self._handle(request)
            entry = Request(
                method=method,
                path=request.path,
                vault_id=request.vault_id,
                status=result.status if isinstance(result, Answer) else None,
                fault=result if isinstance(result, Fault) else request.fault,
                signed_ok=request.mistake is None,
            )
            self.requests.append(entry)
        return result, entry

    def transport(self) -> httpx.MockTransport:
        """Return a transport for httpx without sockets.

        What would happen to a connection is raised as the error that httpx would raise.
        """

        def respond(request: httpx.Request) -> httpx.Response:
            target = request.url.raw_path.decode("ascii")
            match self.answer(request.method, target, request.headers, request.content):
                case Answer() as answer:
                    return httpx.Response(answer.status, headers=answer.headers, content=answer.body)
                case Fault.REFUSE:
                    raise httpx.ConnectError("Connection refused", request=request)
                case Fault.HANG | Fault.HANG_AFTER:
                    raise httpx.ReadTimeout("timed out", request=request)
                case Fault.TRUNCATED:
                    raise httpx.RemoteProtocolError("peer closed connection", request=request)
                case _:
                    raise httpx.ReadError("Connection reset by peer", request=request)

        return httpx.MockTransport(respond)

    def _handle(self, request: IncomingRequest) -> Answer | Fault:
        try:
            self._strike(request, None)
            self._rate_limit.take()
            self._signatures.authenticate(request)
            call = self._api.find_operation(request)
            if request.vault_id:
                self._strike(request, request.vault_id)
            result: Answer | Fault = build_ok_answer(self._api.perform(call))
        except EarlyAnswer as stop:
            result = stop.result
        return build_html_answer(200, "Welcome") if request.fault is Fault.HTML else request.fault or result

    def _strike(self, request: IncomingRequest, vault_id: str | None) -> None:
        """Let the next fault for this vault, or for any request, meet the request; one fault is enough."""
        waiting = self._faults.get(vault_id)
        if not waiting or request.fault:
            return
        fault = waiting.popleft()
        if isinstance(fault, int):
            raise EarlyAnswer(build_gateway_error(fault))
        if fault not in ACCEPTED_FAULTS:
            raise EarlyAnswer(fault)
        request.fault = fault
