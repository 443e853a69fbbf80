"""Handle events on a local machine, through the very entry points that the clouds call."""

from __future__ import annotations

import base64
import contextlib
import json
import sys
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO, assert_never

from cbr_sync.aws_lambda import LambdaAdapter
from cbr_sync.errors import CbrSyncError, WebhookRefusedError
from cbr_sync.functiongraph import FunctionGraphAdapter
from cbr_sync.models import Kind
from cbr_sync.results import RunResult
from cbr_sync.simulator.models import SIMULATOR_CREDENTIALS, SIMULATOR_PROJECT_ID, SIMULATOR_REGION
from cbr_sync.triggers import signature
from cbr_sync.triggers.base import Platform, get_object
from cbr_sync.triggers.envelopes import find_envelope
from cbr_sync.triggers.webhook import is_multi_value_http, parse_http_request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import httpx

    from cbr_sync.clock import Clock
    from cbr_sync.credentials import Credentials
    from cbr_sync.models import SyncOutcome
    from cbr_sync.reports.models import Report
    from cbr_sync.sync import Progress
    from cbr_sync.triggers.base import Reply

TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class InvokeResult:
    """What became of one event.

    Attributes:
        kind: What the event was.
        reply: What the platform would have got; None where the run failed.
        error: Why it failed; None where it did not.
        result: What was done, also where the run failed afterwards.
    """

    kind: Kind
    reply: Reply | None
    error: CbrSyncError | None = None
    result: RunResult = field(default_factory=RunResult)

    @property
    def outcomes(self) -> list[SyncOutcome]:
        """Every outcome, whatever the reply's form."""
        return self.result.outcomes

    @property
    def reports(self) -> list[Report]:
        """Every report."""
        return self.result.reports

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
    """A Lambda context whose time begins when it is made."""

    timeout_seconds: float = TIMEOUT_SECONDS
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    began: float = field(default_factory=time.monotonic)

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the run would end."""
        return int(1000 * (self.timeout_seconds - (time.monotonic() - self.began)))


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


def invoke(  # noqa: PLR0913 - all but the first by name
    event: object,
    platform: Platform,
    environ: Mapping[str, str],
    *,
    clock: Clock | None = None,
    transport: httpx.BaseTransport | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    timeout_seconds: float = TIMEOUT_SECONDS,
    log: TextIO | None = None,
    is_replay: bool = False,
) -> InvokeResult:
    """Handle an event in a fresh instance, through the platform's entry point.

    Args:
        event: As the platform would hand it over.
        platform: Whose entry point.
        environ: The function's variables.
        clock: The machine's, if left out.
        transport: Answers all requests in place of the network.
        on_progress: Called with each vault's progress, from several threads.
        timeout_seconds: When the platform would end the run.
        log: Where the log goes; stderr, if left out.
        is_replay: Whether the event is a dead-lettered one, which an operator delivers again.
    """
    envelope, _ = find_envelope(event)
    context = LocalLambdaContext(timeout_seconds)
    # Metrics are for CloudWatch to read, not for people.
    environ = {"POWERTOOLS_METRICS_DISABLED": "true", **environ}
    results: list[RunResult] = []
    adapter = _find_adapter(platform)(
        environ,
        clock=clock,
        transport=transport,
        on_progress=on_progress,
        on_result=results.append,
        is_replay=is_replay,
    )
    reply, failure = None, None
    try:
        with contextlib.redirect_stdout(log or sys.stderr), contextlib.closing(adapter):
            if isinstance(adapter, LambdaAdapter):
                reply = adapter(event, context)
            else:
                reply = adapter(event, LocalFunctionGraphContext(environ, clock=context))
    except CbrSyncError as error:
        failure = error
    # The platforms send JSON, so a reply that is none is a mistake here too.
    shown = None if reply is None else json.loads(json.dumps(reply, allow_nan=False))
    return InvokeResult(envelope.kind, shown, failure, *results)


def _find_adapter(platform: Platform) -> type[LambdaAdapter | FunctionGraphAdapter]:
    match platform:
        case Platform.AWS:
            return LambdaAdapter
        case Platform.FUNCTIONGRAPH:
            return FunctionGraphAdapter
        case _:
            assert_never(platform)


def guess_platform(path: Path) -> Platform:
    """Return whose event a file has, by its name (``functiongraph-timer.json``); AWS's by default."""
    prefix = path.name.partition("-")[0]
    return Platform(prefix) if prefix in set(Platform) else Platform.AWS


def sign_event(event: object, secret: bytes, *, now: float) -> object:
    """Return a webhook's event with fresh signature headers; a stored signature is stale after five minutes.

    Any other event comes back as it is; so does one whose body cannot be read.

    Args:
        event: As the platform would hand it over.
        secret: The key inside a ``whsec_...`` secret.
        now: Seconds since 1970.
    """
    envelope, fields = find_envelope(event)
    if envelope.kind is not Kind.WEBHOOK:
        return event
    try:
        request = parse_http_request(fields)
    except WebhookRefusedError:
        return event
    fresh = build_signature_headers(request.body, secret, now=now)
    signed = dict(fields)
    if lists := get_object(fields, "multiValueHeaders"):
        signed["multiValueHeaders"] = {**lists, **{key: [value] for key, value in fresh.items()}}
    if not is_multi_value_http(fields):
        signed["headers"] = {**get_object(fields, "headers"), **fresh}
    return signed


def build_signature_headers(body: bytes, secret: bytes, *, now: float) -> dict[str, str]:
    """Return the three headers of a Standard Webhook, with a new id."""
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
