"""One run: parse the messages of an event, do what they ask, emit what came of it."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeVar, assert_never

from cbr_sync.errors import ApiError, CbrSyncError, EventError, OutcomeUnknownError
from cbr_sync.models import SyncParam, VaultSelector
from cbr_sync.results import MessageResult, RunResult
from cbr_sync.services import Services
from cbr_sync.sinks.messages import build_events
from cbr_sync.sync import SyncTask
from cbr_sync.triggers.payload import ReportRequest, SyncRequest, parse_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from aws_lambda_powertools import Logger

    from cbr_sync.app import App
    from cbr_sync.credentials import PlatformValues
    from cbr_sync.huawei.cbr import Vault
    from cbr_sync.models import SyncOutcome, Trigger
    from cbr_sync.reports.models import Report
    from cbr_sync.settings import Settings
    from cbr_sync.triggers.base import Message


T = TypeVar("T")


class Context(NamedTuple):
    """What an entry point knows of one invocation.

    Attributes:
        request_id: The platform's id of the invocation.
        remaining_seconds: How long the platform lets it run from now on.
        app: Makes the instance's App when it is first needed, so that a mistake in the settings reaches a
            webhook's sender as a reply.
        read_platform_values: Reads what the platform hands over in this invocation.
        logger: The instance's logger.
        on_result: Called with the result before it is emitted.
    """

    request_id: str
    remaining_seconds: float
    app: Callable[[], App]
    read_platform_values: Callable[[], PlatformValues]
    logger: Logger
    on_result: Callable[[RunResult], None] = lambda _: None


class Run:
    """What is done for one event.

    Attributes:
        request_id: The platform's id of the invocation.
        settings: The settings of the instance.
        services: What the event needs.
        result: What has been done so far.
    """

    def __init__(self, context: Context) -> None:
        app = context.app()
        self.request_id = context.request_id
        self.settings: Settings = app.settings
        self.result = RunResult()
        self._app = app
        self._on_result = context.on_result
        self.services = Services(app, context.read_platform_values, context.remaining_seconds)

    @property
    def webhook_secrets(self) -> list[bytes]:
        """Every secret that a webhook may be signed with: those of the settings and of the platform."""
        own = [secret.get_secret_value() for secret in self.settings.webhook_secrets]
        return [*own, *self.services.platform_values.webhook_secrets]

    def now(self) -> datetime:
        """Return the current time, in UTC."""
        return self._app.clock.now()

    def pinged(self) -> AbstractContextManager[object]:
        """Ping the check that CBR_SYNC_PING_URL names, at the beginning and at the end of what is done inside."""
        return self.services.ping(self.request_id, self.result)

    def serve(self, messages: Sequence[Message], *, in_order: bool = False) -> None:
        """Do what the messages ask for; one that cannot be read stops no other.

        Args:
            messages: All messages of the event.
            in_order: Serve them one by one, and none after the first that is unfinished.
        """
        results = self.result.messages
        if not in_order:
            results += self._serve_together(messages)
            return
        for number, message in enumerate(messages, 1):
            results += self._serve_together([message])
            if results[-1].is_unfinished:
                results += [
                    MessageResult(left.trigger, left.id, is_served=False) for left in messages[number:]
                ]
                return

    def plan_syncs(self, message: Message) -> list[SyncTask]:
        """Return the syncs that a message asks for, without starting any; empty for a report.

        Raises:
            EventError: The payload cannot be read, or no vault matches.
            ApiError: The vaults cannot be listed.
        """
        plan = self._plan(message)
        return plan if isinstance(plan, list) else []

    def emit(self) -> None:
        """Hand the result to every sink, once for a run.

        Raises:
            SinkError: A sink did not accept everything, after all were tried.
        """
        self._on_result(self.result)
        events = build_events(self.result, self.request_id, self.services.source, self.now())
        self.services.emit([*events])

    def _serve_together(self, messages: Sequence[Message]) -> list[MessageResult]:
        """Serve these messages in one go: all their syncs, then their reports, which may not delay a sync."""
        plans = [self._attempt(partial(self._plan, message)) for message in messages]
        tasks = [task for plan in plans if isinstance(plan, list) for task in plan]
        outcomes = iter(self.services.sync(tasks))
        return [self._finish(message, plan, outcomes) for message, plan in zip(messages, plans, strict=True)]

    def _attempt(self, action: Callable[[], T]) -> T | EventError | ApiError:
        """Return what *action* returns, or why it fails: one message must not take the others with it.

        Raises:
            SettingsError: Which concerns all of them.
        """
        try:
            return action()
        except (EventError, ApiError) as error:
            return error
        except CbrSyncError:
            raise
        except Exception as error:  # what nobody foresaw may be gone at the next delivery
            self._app.logger.exception("unexpected error in a message")
            return OutcomeUnknownError("CbrSync.UnexpectedError", type(error).__name__)

    def _plan(self, message: Message) -> list[SyncTask] | ReportRequest:
        """Return the syncs that a message asks for, or its report.

        Raises:
            EventError: The payload cannot be read, or no vault matches.
            ApiError: The vaults cannot be listed.
        """
        request = parse_request(message, self.settings)
        match request:
            case SyncRequest():
                return self._plan_syncs(request, message.settle_trigger(request.time, self.now()))
            case ReportRequest():
                return request
            case _:
                assert_never(request)

    def _plan_syncs(self, request: SyncRequest, trigger: Trigger) -> list[SyncTask]:
        if isinstance(request.vaults, tuple):
            return [SyncTask(param, trigger) for param in request.vaults]
        return [
            SyncTask(
                SyncParam(vault_id=vault.id, auto_trigger=request.auto_trigger),
                trigger,
                vault.name,
                None
                if vault.is_available
                else f"the vault {vault.name} is {vault.billing.status}, not available",
            )
            for vault in self._find_vaults(request.vaults, "sync")
        ]

    def _finish(
        self,
        message: Message,
        plan: list[SyncTask] | ReportRequest | EventError | ApiError,
        outcomes: Iterator[SyncOutcome],
    ) -> MessageResult:
        """Return the result of a message, with its share of the outcomes, or with its report."""
        result = MessageResult(message.trigger, message.id)
        if isinstance(plan, list):
            return result._replace(outcomes=tuple(islice(outcomes, len(plan))))
        if not isinstance(plan, ReportRequest):
            return result._replace(error=plan)
        report = self._attempt(partial(self._report, plan, message.trigger))
        if isinstance(report, (EventError, ApiError)):
            return result._replace(error=report)
        return result._replace(report=report)

    def _report(self, request: ReportRequest, trigger: Trigger) -> Report:
        report = self.services.report(
            self._find_vaults(request.vaults, "report on"), request.options, trigger
        )
        if not report.vaults:
            raise _build_no_vault_error(request.vaults, "report on")
        return report

    def _find_vaults(self, wanted: tuple[str, ...] | VaultSelector, purpose: str) -> list[Vault]:
        """Return the hybrid vaults that are wanted.

        Raises:
            EventError: There is none.
            ApiError: They cannot be listed.
        """
        selector = VaultSelector() if isinstance(wanted, tuple) else wanted
        vaults = self.services.find_vaults(selector)
        found = [vault for vault in vaults if not isinstance(wanted, tuple) or vault.id in wanted]
        if not found:
            raise _build_no_vault_error(wanted, purpose)
        return found


def _build_no_vault_error(wanted: tuple[str, ...] | VaultSelector, purpose: str) -> EventError:
    which = "those of CBR_SYNC_VAULTS" if isinstance(wanted, tuple) else str(wanted)
    return EventError(f"no hybrid vault matches {which}, so there is nothing to {purpose}")
