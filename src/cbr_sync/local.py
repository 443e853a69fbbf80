"""A laptop in the place of a platform: events are played through the very doors that the clouds call."""

from __future__ import annotations

import base64
import contextlib
import json
import sys
import time
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TextIO

from cbr_sync import events
from cbr_sync.aws_lambda import LambdaAdapter
from cbr_sync.errors import CbrSyncError, SinkError, SyncUnfinished, WebhookRefusedError
from cbr_sync.functiongraph import FunctionGraphAdapter
from cbr_sync.models import Kind
from cbr_sync.simulator.models import SIMULATOR_CREDENTIALS, SIMULATOR_PROJECT_ID, SIMULATOR_REGION
from cbr_sync.triggers import signature

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cbr_sync.app import Seams
    from cbr_sync.credentials import Credentials
    from cbr_sync.handlers import Reply

TIMEOUT_SECONDS = 60.0


class Platform(StrEnum):
    """Whose door an event is played through."""

    AWS = "aws"
    FUNCTIONGRAPH = "functiongraph"


@dataclass(frozen=True, slots=True)
class InvokeResult:
    """What came of one event: its kind, and the reply or the error that the platform would have seen."""

    kind: Kind
    reply: Reply | None
    error: CbrSyncError | None = None

    @property
    def outcomes(self) -> list[dict[str, Any]]:
        """The outcomes in the reply, whatever its form; empty where there are none."""
        return list(self._body.get("outcomes", []))

    @property
    def reports(self) -> list[dict[str, Any]]:
        """The reports in the reply; empty where there are none."""
        return list(self._body.get("reports", []))

    @property
    def _body(self) -> Mapping[str, Any]:
        """What came of it, also where the run failed after it was done."""
        reply: Mapping[str, Any] = self.reply or {}
        if isinstance(self.error, (SyncUnfinished, SinkError)):
            reply = self.error.reply
        body: Mapping[str, Any] = json.loads(reply["body"]) if "statusCode" in reply else reply
        return body

    @property
    def answer(self) -> str:
        """The reply in a few words, as ``HTTP 200``, ``0 handed back`` or ``SyncUnfinished``."""
        if self.error is not None:
            return type(self.error).__name__
        reply = self.reply or {}
        if "batchItemFailures" in reply:
            return f"{len(reply['batchItemFailures'])} handed back"
        return f"HTTP {reply['statusCode']}" if "statusCode" in reply else "returned"


@dataclass(frozen=True, slots=True)
class LocalLambdaContext:
    """A Lambda context whose time began when it was made."""

    timeout_seconds: float = TIMEOUT_SECONDS
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    begun: float = field(default_factory=time.monotonic)

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the run would end."""
        return int(1000 * (self.timeout_seconds - (time.monotonic() - self.begun)))


@dataclass(frozen=True, slots=True)
class LocalFunctionGraphContext:
    """A FunctionGraph context with the keys of an agency, where there are any."""

    environ: Mapping[str, str]
    agency: Credentials | None = None
    project_id: str | None = None
    clock: LocalLambdaContext = field(default_factory=LocalLambdaContext)

    def getRequestID(self) -> str:  # noqa: N802 - the platform's names
        """The id of this run."""
        return self.clock.aws_request_id

    def getRemainingTimeInMilliSeconds(self) -> float:  # noqa: N802
        """Milliseconds until the run would end."""
        return self.clock.get_remaining_time_in_millis()

    def getUserData(self, key: str) -> str | None:  # noqa: N802
        """An environment variable."""
        return self.environ.get(key)

    def getProjectID(self) -> str | None:  # noqa: N802
        """The function's project."""
        return self.project_id

    def getSecurityAccessKey(self) -> str | None:  # noqa: N802
        """The agency's access key."""
        return self.agency.access_key if self.agency else None

    def getSecuritySecretKey(self) -> str | None:  # noqa: N802
        """Its secret key."""
        return self.agency.secret_key if self.agency else None

    def getSecurityToken(self) -> str | None:  # noqa: N802
        """Its security token."""
        return self.agency.token if self.agency else None


def play(
    event: object,
    platform: Platform,
    environ: Mapping[str, str],
    *,
    seams: Seams | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
    log: TextIO | None = None,
) -> InvokeResult:
    """Play an event through the platform's door, in a fresh instance; its log goes to stderr, or ``log``."""
    kind = events.envelope_of(event).kind
    clock = LocalLambdaContext(timeout_seconds)
    # Metrics are for CloudWatch to read, not for people.
    environ = {"POWERTOOLS_METRICS_DISABLED": "true", **environ}
    try:
        with contextlib.redirect_stdout(log or sys.stderr):
            if platform is Platform.AWS:
                with contextlib.closing(LambdaAdapter(environ, seams)) as aws:
                    reply = aws(event, clock)
            else:
                with contextlib.closing(FunctionGraphAdapter(environ, seams)) as functiongraph:
                    reply = functiongraph(event, LocalFunctionGraphContext(environ, clock=clock))
    except CbrSyncError as error:
        return InvokeResult(kind, None, error)
    # The platforms send JSON, so what is no JSON is a mistake here too.
    return InvokeResult(kind, json.loads(json.dumps(reply, allow_nan=False)))


def platform_of(path: Path) -> Platform:
    """Whose event a file holds, by its name (``functiongraph-timer.json``); AWS's where it tells nothing."""
    prefix = path.name.partition("-")[0]
    return Platform(prefix) if prefix in set(Platform) else Platform.AWS


def signed(event: object, secret: bytes, *, now: float) -> object:
    """A webhook's event with fresh signature headers (a stored one is stale after five minutes).

    Any other event comes back as it is; so does one whose body cannot be read.
    """
    if not isinstance(event, dict) or events.envelope_of(event).kind is not Kind.WEBHOOK:
        return event
    try:
        request = events.http_request(event)
    except WebhookRefusedError:
        return event
    fresh = signature_headers(request.body, secret, now=now)
    if request.multi_value:
        old = event["multiValueHeaders"]
        return {**event, "multiValueHeaders": {**old, **{key: [value] for key, value in fresh.items()}}}
    return {**event, "headers": {**(event.get("headers") or {}), **fresh}}


def signature_headers(body: bytes, secret: bytes, *, now: float) -> dict[str, str]:
    """The three headers of a Standard Webhook, with a new id."""
    webhook_id, timestamp = f"msg_{uuid.uuid4().hex}", int(now)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature.sign(secret, webhook_id, timestamp, body),
    }


def simulator_environ(url: str, default_vaults: str) -> dict[str, str]:
    """The variables that send a function to the simulator at this URL, with a webhook secret of its own."""
    return {
        "CBR_SYNC_REGION": SIMULATOR_REGION,
        "CBR_SYNC_ENDPOINT": url,
        "CBR_SYNC_IAM_ENDPOINT": url,
        "CBR_SYNC_PROJECT_ID": SIMULATOR_PROJECT_ID,
        "CBR_SYNC_VAULTS": default_vaults,
        "CBR_SYNC_WEBHOOK_SECRET": "whsec_" + base64.b64encode(uuid.uuid4().bytes * 2).decode(),
        "HUAWEICLOUD_SDK_AK": SIMULATOR_CREDENTIALS.access_key,
        "HUAWEICLOUD_SDK_SK": SIMULATOR_CREDENTIALS.secret_key,
    }
