"""What one event needs: deadlines, API clients, sinks, pings."""

from __future__ import annotations

from contextlib import nullcontext
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from cbr_sync.credentials import find_credentials
from cbr_sync.errors import ApiError, CbrSyncError, SettingsError, SinkError
from cbr_sync.huawei.cbr import Cbr
from cbr_sync.huawei.client import ProjectClient, SignedClient
from cbr_sync.huawei.clock import ApiClock
from cbr_sync.huawei.endpoints import (
    build_function_url,
    find_cbr_endpoint,
    find_iam_endpoint,
    parse_function_urn,
)
from cbr_sync.models import DEFERRABLE, SELF_TRIGGERED
from cbr_sync.retry import Throttle
from cbr_sync.settings import is_function_urn
from cbr_sync.sinks.base import emit_to_all
from cbr_sync.sinks.log import LogSink
from cbr_sync.sinks.messages import build_events, build_outcome_event
from cbr_sync.sinks.registry import PEOPLE_SINKS, SINKS
from cbr_sync.sync import Syncer, build_unsent_outcome
from cbr_sync.threads import call_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from cbr_sync.app import App
    from cbr_sync.credentials import Credentials, PlatformValues
    from cbr_sync.defer import Deferrer, Destination
    from cbr_sync.follow import FollowParam, FollowResult
    from cbr_sync.huawei.cbr import OperationLog, Vault
    from cbr_sync.models import SyncOutcome, Trigger, VaultSelector
    from cbr_sync.reports.models import Report, ReportParam
    from cbr_sync.results import RunResult
    from cbr_sync.sinks.base import PeopleSink, Sink
    from cbr_sync.sinks.messages import CloudEvent
    from cbr_sync.sinks.people import PeopleMessage
    from cbr_sync.sync import SyncTask

T = TypeVar("T")
# Kept back from syncing and following, to emit what is known; short runs keep a fifth of their time.
EMIT_SECONDS = 5.0
# How long the names of vaults may take that people are to read, in seconds.
NAME_SECONDS = 5.0
# The second function on FunctionGraph asks so often whether what it waits for can be served, in seconds.
WAIT_SECONDS = 30.0


class Services:
    """What one event needs, all of it inside the time that the platform gives the invocation.

    Attributes:
        app: The instance.
        platform_values: What the platform hands over in this invocation.
        log_sink: Where outcomes are written as soon as they are known.
    """

    def __init__(
        self, app: App, read_platform_values: Callable[[], PlatformValues], remaining_seconds: float
    ) -> None:
        """Set the deadlines.

        Args:
            app: As the attribute.
            read_platform_values: Reads them; called again to renew credentials that were refused.
            remaining_seconds: How long the platform lets the invocation run from now on.
        """
        self.app = app
        self._read_platform_values = read_platform_values
        self._end = app.clock.monotonic() + remaining_seconds
        reserve = min(EMIT_SECONDS, remaining_seconds / 5)
        self._work_deadline = self._end - reserve
        # Half of the time that is kept back is for handing on, the rest for sinks.
        self._defer_deadline = self._end - reserve / 2
        self._emit_deadline = self._end - reserve / 10
        self._throttle = Throttle(app.clock)
        self._api_clock = ApiClock(app.logger)
        self.log_sink = LogSink(app.logger)
        self.platform_values = read_platform_values()

    def find_vaults(self, selector: VaultSelector) -> list[Vault]:
        """Return the hybrid vaults that match, and that events may name.

        Raises:
            ApiError: The vaults cannot be listed.
            SettingsError: There are no credentials.
        """
        allowed = self.app.settings.allowed_vaults

        def list_vaults() -> list[Vault]:
            name, object_type = selector.name, selector.object_type
            return list(self.cbr.list_hybrid_vaults(object_type=object_type, name=name, retry=self._retry))

        # Each page is tried again by itself, and all of them where the list has changed meanwhile.
        vaults = self.app.retrier.call(list_vaults, deadline=self._work_deadline)
        # By their ids: a vault made meanwhile moves others to the next page, where they are listed again.
        return [
            vault
            for vault in {vault.id: vault for vault in vaults}.values()
            if _is_match(vault, selector) and (not allowed or vault.id in allowed)
        ]

    def report(self, vaults: Sequence[Vault], options: ReportParam, trigger: Trigger) -> Report:
        """Return the state of these vaults.

        Raises:
            ApiError: The operations cannot be listed.
        """
        from cbr_sync.reports.reporter import Reporter  # noqa: PLC0415 - a sync needs no report

        app = self.app
        reporter = Reporter(cbr=self.cbr, retry=self._retry, now=app.clock.now, logger=app.logger)
        return reporter.report(vaults, options, trigger)

    def follow(
        self, vaults: tuple[str, ...] | VaultSelector, options: FollowParam, time: datetime
    ) -> FollowResult:
        """Return what happened in the interval of a tick.

        Raises:
            ApiError: The operations, or the vaults, cannot be listed.
        """
        from cbr_sync.follow import Follower  # noqa: PLC0415 - a sync needs no ticks

        def list_sync_logs(since: datetime) -> Iterator[OperationLog]:
            return self.cbr.list_sync_logs(since=since, retry=self._retry)

        follower = Follower(
            list_sync_logs=list_sync_logs,
            find_vaults=self.find_vaults,
            allowed_vaults=self.app.settings.allowed_vaults,
        )
        return follower.follow(vaults, options, time)

    def _retry(self, attempt: Callable[[], T]) -> T:
        """Call *attempt* until it succeeds; it is left behind when the time for it is over.

        Raises:
            ApiError: The last error, or that the time is over.
        """
        retry = self.app.retrier.bind(deadline=self._work_deadline, throttle=self._throttle)
        return call_until(self._work_deadline, partial(retry, attempt), clock=self.app.clock)

    def sync(self, tasks: Sequence[SyncTask], *, until_served: bool = False) -> list[SyncOutcome]:
        """Return one outcome for each task, in their order.

        Args:
            tasks: What is to be synced.
            until_served: Whether what cannot be served yet is tried again as long as the time lasts.

        Raises:
            SettingsError: There are no credentials.
        """
        outcomes = self._sync_once(tasks)
        clock = self.app.clock
        while until_served and clock.remaining_seconds(self._work_deadline) > 2 * WAIT_SECONDS:
            left = [number for number, outcome in enumerate(outcomes) if outcome.status in DEFERRABLE]
            if not left:
                break
            clock.sleep(WAIT_SECONDS)
            for number, outcome in zip(
                left, self._sync_once([tasks[number] for number in left]), strict=True
            ):
                outcomes[number] = outcome
        return outcomes

    def _sync_once(self, tasks: Sequence[SyncTask]) -> list[SyncOutcome]:
        if not tasks:
            return []
        app, settings = self.app, self.app.settings
        try:
            cbr = self.cbr
        except ApiError as error:
            return [build_unsent_outcome(task, error, app.clock.now()) for task in tasks]
        syncer = Syncer(
            cbr=cbr,
            api_clock=self._api_clock,
            retrier=app.retrier,
            throttle=self._throttle,
            logger=app.logger,
            deadline=self._work_deadline,
            concurrency=settings.concurrency,
            check_duplicates=settings.look_first,
            wait_seconds=settings.wait_seconds,
            on_progress=app.on_progress,
            on_outcome=self._log_known,
        )
        return syncer.sync_all(tasks)

    def _log_known(self, outcome: SyncOutcome) -> None:
        """Log an outcome as soon as it is known, unless it is not the last word: what is left is handed on.

        A run that is killed before that has lost nothing: its platform delivers the event again.
        """
        if not (self.app.settings.defer_to and outcome.status in DEFERRABLE):
            self.log([outcome])

    def log(self, outcomes: Sequence[SyncOutcome]) -> None:
        """Write outcomes to the log, and nowhere else."""
        self.log_sink.emit([build_outcome_event(one, self.source) for one in outcomes], self._end)

    @cached_property
    def deferrer(self) -> Deferrer:
        """Hands on to where CBR_SYNC_DEFER_TO says."""
        from cbr_sync import defer  # noqa: PLC0415 - only where something is handed on

        app = self.app
        is_function = is_function_urn(app.settings.defer_to or "")
        return defer.Deferrer(
            self._open_function if is_function else self._open_queue,
            max_vaults=defer.MAX_VAULTS_IN_INVOKE if is_function else defer.MAX_VAULTS_IN_QUEUE,
            clock=app.clock,
            deadline=self._defer_deadline,
            logger=app.logger,
        )

    def _open_queue(self) -> Destination:
        """Return the queue that triggers this function.

        Raises:
            SettingsError: The keys of AWS are missing.
        """
        from cbr_sync.aws.sqs import build_sqs_client  # noqa: PLC0415 - only where something is handed on
        from cbr_sync.defer import QueueDestination  # noqa: PLC0415

        app, queue_url = self.app, self.app.settings.defer_to or ""
        return QueueDestination(
            build_sqs_client(app.http, queue_url, app.environ, app.clock.now),
            queue_url,
            retrier=app.retrier,
            request_timeout_seconds=app.settings.request_timeout_seconds,
        )

    def _open_function(self) -> Destination:
        """Return the second function.

        Raises:
            SinkError: There are no credentials.
        """
        from cbr_sync.defer import FunctionDestination  # noqa: PLC0415 - only where something is handed on

        settings = self.app.settings
        function = parse_function_urn(settings.defer_to or "")
        project = self.build_project_client(function.project_id)
        return FunctionDestination(project, build_function_url(settings, function))

    def emit(self, result: RunResult, run_id: str) -> None:
        """Hand the result to the log, and to every sink that is on: events to machines, a message to people.

        Args:
            result: What became of the event.
            run_id: The platform's id of the invocation.

        Raises:
            SinkError: One did not accept everything, after all were tried.
        """
        app, now = self.app, self.app.clock.now()
        events = [*build_events(result, run_id, self.source, now)]
        self.log_sink.emit(events, self._emit_deadline)
        compose = cache(partial(self._compose_message, result, run_id, now))
        emitters = [
            *(
                (sink.name, partial(_emit_events, partial(sink.build, self), events))
                for sink in SINKS
                if sink.is_on(app.settings)
            ),
            *(
                (sink.name, partial(_emit_message, partial(sink.build, self), compose))
                for sink in PEOPLE_SINKS
                if sink.is_on(app.settings)
            ),
        ]
        emit_to_all(emitters, deadline=self._emit_deadline, clock=app.clock, logger=app.logger)

    def _compose_message(self, result: RunResult, run_id: str, now: datetime) -> PeopleMessage | None:
        """Return what people are told of a run; None where there is nothing, or where it would be a flood."""
        from cbr_sync.sinks.people import add_names, compose_message, select_facts  # noqa: PLC0415 - only then

        app, settings = self.app, self.app.settings
        facts = select_facts(
            result,
            is_all=settings.notify == "all",
            at=now,
            run_id=run_id,
            source=self.source,
            service=app.logger.service,
        )
        if facts.is_empty:
            return None
        is_limited = any(message.trigger.kind not in SELF_TRIGGERED for message in result.messages)
        held_back = app.flood_limit.take(is_limited=is_limited)
        if held_back is None:
            app.logger.warning("no message for people: too many in a short time")
            return None
        facts = facts._replace(held_back=held_back)
        if any(outcome.vault_name is None for outcome in facts.outcomes):
            facts = add_names(facts, self._find_names())
        return compose_message(facts, settings.language)

    def _find_names(self) -> dict[str, str]:
        """Return the hybrid vaults' names by their ids; none where they cannot be listed in a few seconds."""
        clock = self.app.clock

        def list_names() -> dict[str, str]:
            return {
                vault.id: vault.name for vault in self.cbr.list_hybrid_vaults(object_type=None, name=None)
            }

        try:
            return call_until(
                min(self._work_deadline, clock.monotonic() + NAME_SECONDS), list_names, clock=clock
            )
        except CbrSyncError as error:
            self.app.logger.info("could not list the names of vaults", extra={"error": str(error)})
            return {}

    def ping(self, run_id: str, result: RunResult) -> AbstractContextManager[object]:
        """Ping at the beginning and the end of what is done inside, where CBR_SYNC_PING_URL says whom."""
        own_url = self.app.settings.ping_url
        url = own_url.get_secret_value() if own_url else self.platform_values.ping_url
        if url is None:
            return nullcontext()
        from cbr_sync.monitoring.healthchecks import HealthchecksPing  # noqa: PLC0415 - only where it is on

        app = self.app
        return HealthchecksPing(
            transport=app.ping_http,
            url=url,
            run_id=run_id,
            result=result,
            logger=app.logger,
            remaining_seconds=partial(app.clock.remaining_seconds, self._end),
        )

    @property
    def source(self) -> str:
        """The CloudEvents source, ``/cbr/{region}/{project_id}``."""
        settings = self.app.settings
        region = settings.region or urlsplit(find_cbr_endpoint(settings)).hostname
        return f"/cbr/{region}/{self._known_project_id or 'unknown'}"

    @cached_property
    def cbr(self) -> Cbr:
        """The API of this invocation's project.

        Raises:
            ApiError: The project is not known.
            SettingsError: There are no credentials.
        """
        endpoint = find_cbr_endpoint(self.app.settings)
        return Cbr(
            self._client,
            endpoint=endpoint,
            project_id=self._find_project_id(),
            timeout_seconds=self._limit,
            deadline=self._work_deadline,
            api_clock=self._api_clock,
            logger=self.app.logger,
        )

    def build_project_client(self, project_id: str | None = None) -> ProjectClient:
        """Return a client of a project for a sink; one service's throttling is not another's.

        Args:
            project_id: The invocation's own, if left out.

        Raises:
            SinkError: The project is not known, or there are no credentials.
        """
        try:
            return ProjectClient(
                self._client,
                project_id or self._find_project_id(),
                retrier=self.app.retrier,
                throttle=Throttle(self.app.clock),
                timeout_seconds=self._limit,
            )
        except (ApiError, SettingsError) as error:
            raise SinkError(f"the project is not known: {error}") from error

    @cached_property
    def _client(self) -> SignedClient:
        app = self.app
        credentials = find_credentials(app.environ, self.platform_values)
        return SignedClient(
            app.http,
            credentials,
            key_states=app.key_states,
            clock=app.clock,
            renew=self._renew_credentials,
        )

    def _renew_credentials(self) -> Credentials | None:
        """Return the credentials as the platform has them now; None where it has none any more."""
        try:
            return find_credentials(self.app.environ, self._read_platform_values())
        except SettingsError:
            return None

    def _find_project_id(self) -> str:
        if self._known_project_id is None:
            from cbr_sync.huawei.iam import find_project_id  # noqa: PLC0415 - most functions know theirs

            app, settings = self.app, self.app.settings
            ask = partial(
                find_project_id,
                self._client,
                find_iam_endpoint(settings),
                settings.region or "",
                timeout_seconds=partial(self._limit, self._work_deadline),
            )
            call = partial(app.retrier.call, ask, deadline=self._work_deadline)
            app.found_project_id = call_until(self._work_deadline, call, clock=app.clock)
        return self._known_project_id or ""

    @property
    def _known_project_id(self) -> str | None:
        return self.app.settings.project_id or self.platform_values.project_id or self.app.found_project_id

    def _limit(self, deadline: float) -> float:
        """Return the seconds that one request may wait for the other side."""
        app = self.app
        return min(app.settings.request_timeout_seconds, app.clock.remaining_seconds(deadline))


def _emit_events(build: Callable[[], Sink], events: Sequence[CloudEvent], deadline: float) -> None:
    build().emit(events, deadline)


def _emit_message(
    build: Callable[[], PeopleSink], compose: Callable[[], PeopleMessage | None], deadline: float
) -> None:
    if message := compose():
        build().publish(message, deadline)


def _is_match(vault: Vault, selector: VaultSelector) -> bool:
    """Return whether a vault is what was asked for; the API filters too, but not by tags."""
    tags = {tag.key: tag.value for tag in vault.tags or ()}
    return (
        selector.object_type in (None, vault.billing.object_type)
        and selector.name in (None, vault.name)
        and all(tags.get(key) == value for key, value in selector.tags.items())
    )
