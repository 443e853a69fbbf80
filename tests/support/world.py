"""A world without sockets and without waiting: sleeping moves its clock, and a simulator lives on it."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from cbr_sync.app import Seams
from cbr_sync.aws_lambda import LambdaAdapter
from cbr_sync.credentials import Credentials
from cbr_sync.functiongraph import FunctionGraphAdapter
from cbr_sync.local import LocalFunctionGraphContext, LocalLambdaContext, signature_headers
from cbr_sync.retry import Retry
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


@dataclass
class World:
    """Its clock moves only when somebody sleeps."""

    elapsed: float = 0.0
    vaults: tuple[Vault, ...] = DEFAULT_VAULTS
    operation_seconds: float = 600
    delays: list[float] = field(default_factory=list)
    simulator: Simulator = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.simulator = Simulator(now=self.now, vaults=self.vaults, operation_seconds=self.operation_seconds)

    def now(self) -> datetime:
        return START + timedelta(seconds=self.elapsed)

    def clock(self) -> float:
        return self.elapsed

    def sleep(self, seconds: float) -> None:
        """Let the time pass; who sleeps at the same time as others sleeps no longer than alone."""
        awake = self.elapsed + seconds
        with self._lock:
            self.elapsed = max(self.elapsed, awake)

    @property
    def started(self) -> list[Operation]:
        """The syncs that the API took since the world began."""
        return [operation for operation in self.simulator.operations if operation.created_at >= START]

    @property
    def retry(self) -> Retry:
        return Retry(clock=self.clock, sleep=self.sleep, jitter=lambda _low, high: high)

    def seams(self, transport: httpx.BaseTransport | None = None) -> Seams:
        return Seams(now=self.now, retry=self.retry, transport=transport or self.transport())

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
        """What the Lambda door of a fresh instance answers."""
        door = LambdaAdapter(self.environ if environ is None else environ, self.seams(transport))
        return door(event, context or LocalLambdaContext())

    def on_functiongraph(
        self,
        event: object,
        environ: Mapping[str, str] | None = None,
        *,
        agency: Credentials | None = None,
        project_id: str | None = None,
    ) -> dict[str, Any]:
        """What the FunctionGraph door of a fresh instance answers."""
        environ = self.environ if environ is None else environ
        door = FunctionGraphAdapter(environ, self.seams())
        return door(event, LocalFunctionGraphContext(environ, agency, project_id))


def webhook_event(
    body: object, world: World, *, secret: bytes = SECRET, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """A signed POST to a Function URL; ``headers`` go over the signed ones."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    signed = signature_headers(raw, secret, now=world.now().timestamp())
    return {
        "version": "2.0",
        "rawPath": "/",
        "headers": {"content-type": "application/json", **signed, **(headers or {})},
        "requestContext": {"http": {"method": "POST", "path": "/"}, "requestId": "gateway-request-1"},
        "body": base64.b64encode(raw).decode(),
        "isBase64Encoded": True,
    }
