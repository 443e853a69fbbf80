"""A world without sockets and without waiting: sleeping moves its clock, and a simulator lives on it."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from cbr_sync.aws_lambda import LambdaAdapter
from cbr_sync.clock import Clock
from cbr_sync.credentials import Credentials
from cbr_sync.functiongraph import FunctionGraphAdapter
from cbr_sync.local import LocalFunctionGraphContext, LocalLambdaContext, build_signature_headers
from cbr_sync.retry import Retrier
from cbr_sync.simulator.cloud import Simulator
from cbr_sync.simulator.models import (
    DEFAULT_VAULTS,
    SIMULATOR_CREDENTIALS,
    SIMULATOR_PROJECT_ID,
    SIMULATOR_REGION,
    Operation,
    Vault,
)

START = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
ENDPOINT = "https://cbr.cn-north-4.myhuaweicloud.com"
SECRET = b"thirty-two bytes for the tests.."

VMWARE = "8d3a8b28-a697-41e2-8d5d-903669f8a02d"
FILE = "2f1f6ab4-4f0c-4b64-9a3c-0d6f5f7f1a02"
BUSY = "8e4f2041-ad85-4d8a-9c91-6f4c31be5d06"
PUBLIC = "a0614263-cfa7-4fac-9eb3-816e53d07f08"


def secret_text(secret: bytes = SECRET) -> str:
    """The secret as an operator sets it."""
    return "whsec_" + base64.b64encode(secret).decode()


class VirtualClock(Clock):
    """A clock that moves when everybody who lives by it waits, to the first moment that somebody waits for.

    So what happens at the same time takes no longer than the longest of it, whatever the machine does
    meanwhile. Threads that :meth:`start_thread` started live by it, and the one that made it. Jitter is the
    most that it may be.
    """

    def __init__(self, elapsed: float = 0.0, start: datetime = START) -> None:
        super().__init__()
        self.elapsed = elapsed
        self._start = start
        self._awake = 1
        self._waits: list[tuple[float, Callable[[], bool]]] = []
        self._changed = threading.Condition()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.elapsed)

    def monotonic(self) -> float:
        return self.elapsed

    def jitter(self, low: float, high: float) -> float:
        del low
        return high

    def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        self.sleep_until(self.elapsed + seconds)

    def sleep_until(self, moment: float) -> None:
        self._wait(moment, lambda: False)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self._wait(self.elapsed + max(seconds, 0), event.is_set)
        return event.is_set()

    def start_thread(self, target: Callable[[], None]) -> None:
        def run() -> None:
            try:
                target()
            finally:
                with self._changed:
                    self._awake -= 1
                    self._advance()

        with self._changed:
            self._awake += 1
        super().start_thread(run)

    def _wait(self, moment: float, is_over: Callable[[], bool]) -> None:
        with self._changed:
            if self.elapsed >= moment or is_over():
                return
            wait = (moment, is_over)
            self._waits.append(wait)
            self._awake -= 1
            self._advance()
            try:
                while not (self.elapsed >= moment or is_over()):
                    self._changed.wait(0.05)
            finally:  # Ctrl-C may end it
                self._waits.remove(wait)
                self._awake += 1

    def _advance(self) -> None:
        """Move on if nobody is awake, nor about to wake up."""
        is_due = any(moment <= self.elapsed or is_over() for moment, is_over in self._waits)
        if self._awake == 0 and self._waits and not is_due:
            self.elapsed = min(moment for moment, _ in self._waits)
        self._changed.notify_all()


@dataclass
class World:
    """A simulated cloud on a virtual clock, and functions that live in it."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    vaults: tuple[Vault, ...] = DEFAULT_VAULTS
    operation_seconds: float = 600
    delays: list[float] = field(default_factory=list)
    simulator: Simulator = field(init=False)

    def __post_init__(self) -> None:
        self.simulator = Simulator(now=self.now, vaults=self.vaults, operation_seconds=self.operation_seconds)

    def now(self) -> datetime:
        return self.clock.now()

    @property
    def elapsed(self) -> float:
        """The seconds since the world began."""
        return self.clock.elapsed

    def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        self.clock.sleep(seconds)

    @property
    def started(self) -> list[Operation]:
        """The syncs that the API accepted since the world began."""
        return [operation for operation in self.simulator.operations if operation.created_at >= START]

    @property
    def retrier(self) -> Retrier:
        return Retrier(self.clock)

    def options(self, transport: httpx.BaseTransport | None = None) -> dict[str, Any]:
        """The arguments of an entry point that lives in this world."""
        return {"clock": self.clock, "transport": transport or self.transport()}

    def transport(self) -> httpx.MockTransport:
        """The simulator without sockets; a hang takes as long as the request is ready to wait.

        Each of ``delays`` is the seconds that one answer takes, and too late is lost.
        """
        cloud = self.simulator.transport()

        def respond(request: httpx.Request) -> httpx.Response:
            patience = request.extensions["timeout"]["read"]
            try:
                answer = cloud.handle_request(request)
            except httpx.ReadTimeout:
                self.sleep(patience)
                raise
            delay = self.delays.pop() if self.delays else 0
            self.sleep(min(delay, patience))
            if delay > patience:
                raise httpx.ReadTimeout("too late", request=request)
            return answer

        return httpx.MockTransport(respond)

    @property
    def environ(self) -> dict[str, str]:
        """The variables of a function that is set up well, on either platform."""
        return {
            "CBR_SYNC_REGION": SIMULATOR_REGION,
            "CBR_SYNC_PROJECT_ID": SIMULATOR_PROJECT_ID,
            "CBR_SYNC_VAULTS": VMWARE,
            "CBR_SYNC_WEBHOOK_SECRET": secret_text(),
            "HUAWEICLOUD_SDK_AK": SIMULATOR_CREDENTIALS.access_key,
            "HUAWEICLOUD_SDK_SK": SIMULATOR_CREDENTIALS.secret_key,
        }

    def on_lambda(
        self,
        event: object,
        environ: Mapping[str, str] | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
        context: LocalLambdaContext | None = None,
    ) -> dict[str, Any]:
        """What the Lambda adapter of a fresh instance answers."""
        adapter = LambdaAdapter(self.environ if environ is None else environ, **self.options(transport))
        return adapter(event, context or LocalLambdaContext())

    def on_functiongraph(
        self,
        event: object,
        environ: Mapping[str, str] | None = None,
        *,
        agency: Credentials | None = None,
        project_id: str | None = None,
    ) -> dict[str, Any]:
        """What the FunctionGraph adapter of a fresh instance answers."""
        environ = self.environ if environ is None else environ
        adapter = FunctionGraphAdapter(environ, **self.options())
        return adapter(event, LocalFunctionGraphContext(environ, agency, project_id))


def webhook_event(
    body: object, world: World, *, secret: bytes = SECRET, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """A signed POST to a Function URL; ``headers`` go over the signed ones."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    signed = build_signature_headers(raw, secret, now=world.now().timestamp())
    return {
        "version": "2.0",
        "rawPath": "/",
        "headers": {"content-type": "application/json", **signed, **(headers or {})},
        "requestContext": {"http": {"method": "POST", "path": "/"}, "requestId": "gateway-request-1"},
        "body": base64.b64encode(raw).decode(),
        "isBase64Encoded": True,
    }
