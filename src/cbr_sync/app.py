"""The composition root: settings in, a ready App out; and for each invocation a Session.

An App lives as long as the function's instance, with its connection pool. Keys, the signer, the project and
the deadline are those of one invocation, and so of a Session.
"""

from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

import httpx

from cbr_sync.errors import ApiError, RetryableError, SettingsError, SinkError
from cbr_sync.huawei.cbr import Cbr
from cbr_sync.huawei.client import ProjectClient, SignedClient
from cbr_sync.models import Credentials, OutcomeError, Status, SyncOutcome, SyncParam
from cbr_sync.retry import Retry, Throttle
from cbr_sync.settings import KEY_NAMES, Settings
from cbr_sync.sinks.base import emit_to_all
from cbr_sync.sinks.log import LogSink
from cbr_sync.sync import Asked, Syncer, not_begun
from cbr_sync.tls import build_tls_context
from cbr_sync.transport import HttpTransport

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from aws_lambda_powertools import Logger

    from cbr_sync.huawei.cbr import Vault
    from cbr_sync.models import Trigger, VaultSelector
    from cbr_sync.reports.models import Report, ReportParam
    from cbr_sync.sinks.base import Sink
    from cbr_sync.sinks.messages import CloudEvent, RunResult
    from cbr_sync.sync import Progress

_HEADER = re.compile(r"[\x21-\x7e]+")
# Kept back from syncing and following, for emitting what is known; short runs keep a fifth of their time.
EMIT_SECONDS = 5.0
_PING_CONNECTIONS = 2


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


class Seams(NamedTuple):
    """What a test or a laptop may replace: clocks, waiting, chance, network, and who watches."""

    now: Callable[[], datetime] = utc_now
    retry: Retry = Retry()
    transport: httpx.BaseTransport | None = None
    watch: Callable[[Progress], None] = lambda _progress: None


@dataclass(frozen=True, slots=True)
class Keys:
    """What the platform hands over in one invocation: credentials, project id and webhook secrets."""

    credentials: Credentials | None = None
    project_id: str | None = None
    webhook_secrets: tuple[bytes, ...] = field(default=(), repr=False)


class App:
    """What lives as long as the function's instance."""

    def __init__(
        self, settings: Settings, environ: Mapping[str, str], logger: Logger, seams: Seams | None = None
    ) -> None:
        seams = seams or Seams()
        self.settings = settings
        self.environ = environ
        self.logger = logger
        self.now = seams.now
        self.watch = seams.watch
        self.retry = Retry(settings.max_attempts, seams.retry.clock, seams.retry.sleep, seams.retry.jitter)
        self._transport = seams.transport
        self.http = self._open_transport(settings.concurrency)
        self.found_project_id: str | None = None

    def close(self) -> None:
        """Close the connections; a platform just freezes them, a laptop plays several instances."""
        self.http.close()
        if "ping_http" in vars(self):
            self.ping_http.close()

    @cached_property
    def ping_http(self) -> httpx.BaseTransport:
        """The connections of pings: one that hangs keeps no worker waiting."""
        return self._open_transport(_PING_CONNECTIONS)

    @cached_property
    def _tls_context(self) -> ssl.SSLContext:
        return build_tls_context(self.environ)

    def _open_transport(self, connections: int) -> httpx.BaseTransport:
        if self._transport is not None:
            return self._transport
        return HttpTransport(self._tls_context, max_idle_connections=connections, environ=self.environ)

    def session(self, keys: Callable[[], Keys], remaining_seconds: float) -> Session:
        """One invocation, which the platform ends after so many seconds."""
        return Session(self, keys, self.retry.clock() + remaining_seconds, remaining_seconds)

    def credentials(self, keys: Keys) -> Credentials:
        """The keys to sign with: the SDK's variables, else the platform's, else the samples' variables.

        Raises:
            SettingsError: there are none, or they cannot stand in a header.
        """
        token = self.environ.get("HUAWEICLOUD_SDK_SECURITY_TOKEN")
        sdk = _from_environ(self.environ, *KEY_NAMES[0], token)
        samples = _from_environ(self.environ, *KEY_NAMES[1], None)
        credentials = sdk or keys.credentials or samples
        if credentials is None:
            names = ", ".join(KEY_NAMES[0])
            raise SettingsError([f"{names}: not set, and the platform hands over no keys; set both"])
        if not all(_HEADER.fullmatch(part) for part in (credentials.access_key, credentials.token or "-")):
            raise SettingsError(["the access key or the security token holds characters that no header can"])
        return credentials


class Session:
    """One invocation: vaults found, synced and emitted, all before the platform ends it."""

    def __init__(self, app: App, keys: Callable[[], Keys], ends_at: float, seconds: float) -> None:
        self._app = app
        self._read_keys = keys
        self._ends_at = ends_at
        self._work_until = ends_at - min(EMIT_SECONDS, seconds / 5)
        self._emit_until = ends_at - min(EMIT_SECONDS, seconds / 5) / 10
        self._pace = Throttle()
        self.keys = keys()

    def discover(self, selector: VaultSelector) -> list[Vault]:
        """The hybrid vaults that match, and may be named by events.

        Raises:
            ApiError: and its kinds; the vaults cannot be listed.
            SettingsError: there are no credentials.
        """
        settings = self._app.settings
        vaults = self._app.retry.call(
            lambda: list(self.cbr.list_hybrid_vaults(object_type=selector.object_type, name=selector.name)),
            until=self._work_until,
            retry_on=RetryableError,
            pace=self._pace,
        )
        # By their ids: a vault made meanwhile moves others to the next page, where they are listed again.
        return [
            vault
            for vault in {vault.id: vault for vault in vaults}.values()
            if _matches(vault, selector)
            and (not settings.allowed_vaults or vault.id in settings.allowed_vaults)
        ]

    def plan(
        self, vaults: Iterable[Vault], trigger: Trigger, *, auto_trigger: bool
    ) -> Iterator[tuple[SyncParam, SyncOutcome | None]]:
        """How each vault is synced, and its outcome where it cannot be as it is: it is not available."""
        for vault in vaults:
            param = SyncParam(vault_id=vault.id, auto_trigger=auto_trigger)
            yield param, None if vault.available else _skipped(vault, param, trigger, self._app.now())

    def report(self, vaults: Sequence[Vault], param: ReportParam, trigger: Trigger) -> Report:
        """How these vaults stand.

        Raises:
            ApiError: and its kinds; the operation logs cannot be listed.
        """
        from cbr_sync.reports.reporter import Reporter  # noqa: PLC0415 - a sync needs no report

        app = self._app
        reporter = Reporter(self.cbr, app.retry, self._pace, app.now, app.logger, self._work_until)
        return reporter.report(vaults, param, trigger)

    def sync(self, asked: Sequence[Asked]) -> list[SyncOutcome]:
        """One outcome for each SyncParam, in order.

        Raises:
            SettingsError: there are no credentials.
        """
        if not asked:
            return []
        app = self._app
        try:
            cbr = self.cbr
        except ApiError as error:
            return [not_begun(param, trigger, error, app.now()) for param, trigger in asked]
        syncer = Syncer(
            cbr=cbr,
            retry=app.retry,
            pace=self._pace,
            now=app.now,
            logger=app.logger,
            until=self._work_until,
            concurrency=app.settings.concurrency,
            look_first=app.settings.look_first,
            wait_seconds=app.settings.wait_seconds,
            watch=app.watch,
        )
        return syncer.sync_all(asked)

    def emit(self, events: Sequence[CloudEvent]) -> None:
        """Hand the events to every sink.

        Raises:
            SinkError: one did not take everything, after all were tried.
        """
        emit_to_all(self._sinks(), events, self._emit_until, self._app.retry, self._app.logger)

    def ping(self, run_id: str, told: RunResult) -> AbstractContextManager[object]:
        """Pings at the beginning and the end of what is done inside, where somebody is to be pinged."""
        url = self._app.settings.ping_url
        if url is None:
            return nullcontext()
        from cbr_sync.monitoring.healthchecks import HealthchecksPing  # noqa: PLC0415 - only who wants pings pays for them

        app = self._app
        remaining_seconds = partial(app.retry.remaining_seconds, self._ends_at)
        return HealthchecksPing(
            app.ping_http, url.get_secret_value(), run_id, told, app.logger, remaining_seconds
        )

    @property
    def source(self) -> str:
        """The CloudEvents source, ``/cbr/{region}/{project_id}``."""
        settings = self._app.settings
        region = settings.region or httpx.URL(settings.cbr_endpoint).host
        return f"/cbr/{region}/{self._known_project_id or 'unknown'}"

    @cached_property
    def _client(self) -> SignedClient:
        app = self._app
        credentials = app.credentials(self.keys)
        return SignedClient(app.http, credentials, now=app.now, renew=self._renewed)

    def _renewed(self) -> Credentials | None:
        """The credentials as the platform has them now; None where it has none any more."""
        try:
            return self._app.credentials(self._read_keys())
        except SettingsError:
            return None

    @cached_property
    def cbr(self) -> Cbr:
        """The API of this invocation's project.

        Raises:
            ApiError: and its kinds; the project is not known.
            SettingsError: there are no credentials.
        """
        endpoint = self._app.settings.cbr_endpoint
        return Cbr(self._client, endpoint, self._project_id(), lambda: self._timeout(self._work_until))

    def _project_id(self) -> str:
        if self._known_project_id is None:
            from cbr_sync.huawei.iam import find_project_id  # noqa: PLC0415 - most functions know their project

            app = self._app
            app.found_project_id = app.retry.call(
                lambda: find_project_id(
                    self._client,
                    app.settings.iam_url,
                    app.settings.region or "",
                    timeout_seconds=lambda: self._timeout(self._work_until),
                ),
                until=self._work_until,
                retry_on=RetryableError,
                pace=self._pace,
            )
        return self._known_project_id or ""

    @property
    def _known_project_id(self) -> str | None:
        return self._app.settings.project_id or self.keys.project_id or self._app.found_project_id

    def _timeout(self, until: float) -> float:
        """The seconds that one request may wait for the other side."""
        return min(self._app.settings.request_timeout_seconds, self._app.retry.remaining_seconds(until))

    def _sinks(self) -> Iterator[tuple[str, Callable[[], Sink]]]:
        """The name of each configured sink, and how it is made; only who configures one pays its import."""
        settings = self._app.settings
        yield "log", lambda: LogSink(self._app.logger)
        if settings.sqs_queue_url:
            yield "sqs", lambda: self._sqs(settings.sqs_queue_url or "")
        if settings.smn_topic_urn:
            yield "smn", lambda: self._smn(settings.smn_topic_urn or "")
        if settings.eventgrid_channel_id:
            yield "eventgrid", lambda: self._eventgrid(settings.eventgrid_channel_id or "")

    def _sqs(self, queue_url: str) -> Sink:
        from cbr_sync.aws.sqs import build_sqs_client  # noqa: PLC0415
        from cbr_sync.sinks.sqs import SqsSink  # noqa: PLC0415

        app = self._app
        return SqsSink(
            lambda: build_sqs_client(app.http, queue_url, app.environ, app.now),
            queue_url,
            app.retry,
            app.settings.request_timeout_seconds,
        )

    def _smn(self, topic_urn: str) -> Sink:
        from cbr_sync.sinks.smn import SmnSink  # noqa: PLC0415

        settings = self._app.settings
        problems_only = settings.notify == "problems"
        return SmnSink(self._project_of_a_sink(), settings.smn_url, topic_urn, problems_only=problems_only)

    def _eventgrid(self, channel_id: str) -> Sink:
        from cbr_sync.sinks.eventgrid import EventGridSink  # noqa: PLC0415

        return EventGridSink(self._project_of_a_sink(), self._app.settings.eventgrid_url, channel_id)

    def _project_of_a_sink(self) -> ProjectClient:
        """A pace of its own: one service's throttling is none of another's."""
        try:
            return ProjectClient(self._client, self._project_id(), self._app.retry, Throttle(), self._timeout)
        except (ApiError, SettingsError) as error:
            raise SinkError(f"the project is not known: {error}") from error


def _skipped(vault: Vault, param: SyncParam, trigger: Trigger, now: datetime) -> SyncOutcome:
    message = f"the vault {vault.name} is {vault.billing.status}, not available"
    return SyncOutcome(
        **param.model_dump(),
        status=Status.SKIPPED,
        error=OutcomeError(code="CbrSync.VaultNotAvailable", message=message),
        attempts=0,
        started_at=now,
        duration_seconds=0,
        trigger=trigger,
    )


def _matches(vault: Vault, selector: VaultSelector) -> bool:
    """Whether a vault is what was asked for; the API filters too, but by tags it cannot."""
    tags = {tag.key: tag.value for tag in vault.tags or ()}
    return (
        selector.object_type in (None, vault.billing.object_type)
        and selector.name in (None, vault.name)
        and all(tags.get(key) == value for key, value in selector.tags.items())
    )


def _from_environ(
    environ: Mapping[str, str], ak_name: str, sk_name: str, token: str | None
) -> Credentials | None:
    ak, sk = environ.get(ak_name, "").strip(), environ.get(sk_name, "").strip()
    return Credentials(ak, sk, (token or "").strip() or None) if ak and sk else None
