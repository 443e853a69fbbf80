"""One run: parse the messages of an event, do what they ask, emit what came of it."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, assert_never

from cbr_sync.errors import ApiError, CbrSyncError, EventError, OutcomeUnknownError
from cbr_sync.models import SELF_TRIGGERED, HandedOn, Kind, SyncParam, VaultSelector
from cbr_sync.results import Ending, MessageResult, RunResult
from cbr_sync.services import Services
from cbr_sync.settings import is_same_queue
from cbr_sync.sync import SyncTask, find_serving_time
from cbr_sync.triggers.payload import (
    FollowRequest,
    ReportRequest,
    SyncRequest,
    is_own_message,
    is_report,
    is_tick,
    parse_request,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from aws_lambda_powertools import Logger

    from cbr_sync.app import App
    from cbr_sync.credentials import PlatformValues
    from cbr_sync.follow import FollowResult
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
        is_functiongraph: Whether the platform is FunctionGraph.
        is_replay: Whether the event is a dead-lettered one, which an operator delivers again.
    """

    request_id: str
    remaining_seconds: float
    app: Callable[[], App]
    read_platform_values: Callable[[], PlatformValues]
    logger: Logger
    on_result: Callable[[RunResult], None] = lambda _: None
    is_functiongraph: bool = False
    is_replay: bool = False


class Plan(NamedTuple):
    """What a message asks for.

    Attributes:
        trigger: What asked in the first place.
        began: When the trigger's first run began to serve it.
        time: What began from here on serves it, once it has been handed on.
        tasks: The syncs that it asks for.
        report: The report that it asks for.
        follow: What it asks for, if it is a tick.
        handed_on: How it had been handed on before; None where it came by itself.
    """

    trigger: Trigger
    began: datetime
    time: datetime
    tasks: tuple[SyncTask, ...] = ()
    report: ReportRequest | None = None
    follow: FollowRequest | None = None
    handed_on: HandedOn | None = None


class Run:
    """What is done for one event.

    Attributes:
        request_id: The platform's id of the invocation.
        settings: The settings of the instance.
        services: What the event needs.
        result: What has been done so far.
    """

    def __init__(self, context: Context, *, max_seconds: float = float("inf")) -> None:
        """Begin.

        Args:
            context: What the entry point knows of the invocation.
            max_seconds: How long it may take, whatever the platform allows.
        """
        app = context.app()
        self.request_id = context.request_id
        self.settings: Settings = app.settings
        self.result = RunResult()
        self._app = app
        self._context = context
        remaining_seconds = min(context.remaining_seconds, max_seconds)
        self.services = Services(app, context.read_platform_values, remaining_seconds)

    @property
    def webhook_secrets(self) -> list[bytes]:
        """Every secret that a webhook may be signed with: those of the settings and of the platform."""
        own = [secret.get_secret_value() for secret in self.settings.webhook_secrets]
        return [*own, *self.services.platform_values.webhook_secrets]

    @property
    def webhook_tokens(self) -> list[str]:
        """Every token that lets a webhook in: those of the settings and of the platform."""
        own = [token.get_secret_value() for token in self.settings.webhook_tokens]
        return [*own, *self.services.platform_values.webhook_tokens]

    def now(self) -> datetime:
        """Return the current time, in UTC."""
        return self._app.clock.now()

    @contextmanager
    def pinged(self, messages: Sequence[Message]) -> Iterator[None]:
        """Ping the check of CBR_SYNC_PING_URL before and after what is done inside, and log how it went.

        That is for what comes by the clock, and syncs or reports: a tick comes whether or not these do. The
        line has words of its own, for alarms that can only search for words.
        """
        if not any(
            message.trigger.kind in SELF_TRIGGERED and not is_tick(message.payload) for message in messages
        ):
            yield
            return
        failure: BaseException | None = None
        try:
            with self.services.ping(self.request_id, self.result):
                yield
        except BaseException as error:
            failure = error
            raise
        finally:
            purpose = "report" if any(is_report(message.payload) for message in messages) else "sync"
            ending = "ok" if self.result.judge(failure) is Ending.OK else "problems"
            self._app.logger.info("cbr-sync.scheduled.%s.%s", purpose, ending)

    def serve(self, messages: Sequence[Message], *, in_order: bool = False) -> None:
        """Do what the messages ask for; one that cannot be read stops no other.

        What cbr-sync has emitted itself asks for nothing, so that a function whose source is also its sink
        does not feed itself.

        Args:
            messages: All messages of the event.
            in_order: Serve them one by one, and none after the first that is unfinished.
        """
        results = self.result.messages
        own = [message for message in messages if is_own_message(message.payload)]
        if own:
            self._app.logger.info("own messages were ignored", extra={"count": len(own)})
            messages = [message for message in messages if message not in own]
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
        return [*self._plan(message).tasks]

    def emit(self) -> None:
        """Hand the result to every sink, once for a run.

        Raises:
            SinkError: A sink did not accept everything, after all were tried.
        """
        self._context.on_result(self.result)
        self.services.emit(self.result, self.request_id)

    def hand_on_again(self) -> None:
        """Hand on what was handed on before and is still not served.

        It comes after all else: a run that fails is delivered again, and would hand the same on twice.
        """
        messages = self.result.messages
        messages[:] = [
            self.services.deferrer.hand_on(message) if message.left else message for message in messages
        ]
        self.services.log([outcome for message in messages for outcome in message.repeated])

    def _serve_together(self, messages: Sequence[Message]) -> list[MessageResult]:
        """Serve these messages in one go: all their syncs, then their reports, which may not delay a sync."""
        plans = [self._attempt(partial(self._plan, message)) for message in messages]
        tasks = [task for plan in plans if isinstance(plan, Plan) for task in plan.tasks]
        outcomes = iter(self.services.sync(tasks, until_served=self._is_waiting(messages, plans)))
        return [self._finish(message, plan, outcomes) for message, plan in zip(messages, plans, strict=True)]

    def _is_waiting(self, messages: Sequence[Message], plans: Sequence[Plan | EventError | ApiError]) -> bool:
        """Return whether this is the second function on FunctionGraph, which waits while its time lasts."""
        is_handed_on = any(isinstance(plan, Plan) and plan.handed_on is not None for plan in plans)
        is_invoked = all(message.trigger.kind is Kind.DIRECT for message in messages)
        is_deployed = self._context.is_functiongraph and not self._context.is_replay
        return is_handed_on and is_invoked and is_deployed

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

    def _plan(self, message: Message) -> Plan:
        """Return the syncs that a message asks for, or its report.

        Raises:
            EventError: The payload cannot be read, or no vault matches.
            ApiError: The vaults cannot be listed.
        """
        request = parse_request(message, self.settings, may_be_handed_on=self._may_be_handed_on(message))
        now, handed_on = self.now(), request.handed_on
        if isinstance(request, FollowRequest):
            return _plan_tick(request, message.trigger, now)
        if handed_on:
            plan = Plan(handed_on.trigger, handed_on.since, request.time or now, handed_on=handed_on)
        else:
            trigger = message.settle_trigger(request.time, now)
            plan = Plan(trigger, now, find_serving_time(trigger, now) or now)
        match request:
            case SyncRequest():
                return plan._replace(tasks=tuple(self._plan_syncs(request, plan)))
            case ReportRequest():
                return plan._replace(report=request)
            case _:
                assert_never(request)

    def _may_be_handed_on(self, message: Message) -> bool:
        """Return whether a message comes from where this function hands on to, or from an operator."""
        if message.queue_arn:
            queue_url = self.settings.defer_to
            is_ours = queue_url is not None and is_same_queue(queue_url, message.queue_arn)
        else:
            is_ours = self._context.is_functiongraph and message.trigger.kind is Kind.DIRECT
        return is_ours or self._context.is_replay

    def _plan_syncs(self, request: SyncRequest, plan: Plan) -> Iterator[SyncTask]:
        since = plan.time if plan.handed_on else None
        if isinstance(request.vaults, tuple):
            for param in request.vaults:
                yield SyncTask(param, plan.trigger, since=since)
            return
        for vault in self._find_vaults(request.vaults, "sync"):
            param = SyncParam(vault_id=vault.id, auto_trigger=request.auto_trigger)
            why = f"the vault {vault.name} is {vault.billing.status}, not available"
            yield SyncTask(param, plan.trigger, vault.name, None if vault.is_available else why, since)

    def _finish(
        self, message: Message, plan: Plan | EventError | ApiError, outcomes: Iterator[SyncOutcome]
    ) -> MessageResult:
        """Return the result of a message, with its share of the outcomes, or with its report."""
        result = MessageResult(message.trigger, message.id, deliveries=message.deliveries)
        if not isinstance(plan, Plan):
            return result._replace(error=plan)
        result = result._replace(
            trigger=plan.trigger,
            outcomes=tuple(islice(outcomes, len(plan.tasks))),
            handed_on=plan.handed_on,
        )
        if plan.report:
            report = self._attempt(partial(self._report, plan.report, plan.trigger))
            if isinstance(report, (EventError, ApiError)):
                result = result._replace(error=report)
            else:
                result = result._replace(report=report)
        if plan.follow:
            follow = self._attempt(partial(self._follow, plan.follow, plan.time))
            if isinstance(follow, (EventError, ApiError)):
                result = result._replace(error=follow)
            else:
                result = result._replace(follow=follow)
        return self._defer(plan, result)

    def _defer(self, plan: Plan, result: MessageResult) -> MessageResult:
        """Mark what is not served as deferred; hand it on at once if that is the first time."""
        if not self.settings.defer_to:
            return result
        origin = plan.handed_on or HandedOn(plan.trigger, plan.began, times=0)
        request = _build_payload(plan)
        result = self.services.deferrer.mark_left(result, origin, plan.time, request)
        return result if plan.handed_on else self.services.deferrer.hand_on(result)

    def _report(self, request: ReportRequest, trigger: Trigger) -> Report:
        report = self.services.report(
            self._find_vaults(request.vaults, "report on"), request.options, trigger
        )
        if not report.vaults:
            raise _build_no_vault_error(request.vaults, "report on")
        return report

    def _follow(self, request: FollowRequest, time: datetime) -> FollowResult:
        return self.services.follow(request.vaults, request.options, time)

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


def _plan_tick(request: FollowRequest, trigger: Trigger, now: datetime) -> Plan:
    """Return the plan of a tick: its interval is its event's, however late it comes.

    Raises:
        EventError: The event has no time.
    """
    handed_on = request.handed_on or HandedOn(trigger, now, times=0)
    if handed_on.trigger.time is None:
        raise EventError(
            "found a tick without a time, expected an event of a timer or a schedule that has one"
        )
    return Plan(
        handed_on.trigger,
        handed_on.since,
        handed_on.trigger.time,
        follow=request,
        handed_on=request.handed_on,
    )


def _build_payload(plan: Plan) -> dict[str, Any] | None:
    """Return the payload that asks for a report or a tick again; None for syncs.

    Without ``vaults`` its trigger's kind decides on which.
    """
    name, request = ("report", plan.report) if plan.report else ("follow", plan.follow)
    if request is None:
        return None
    payload = {name: request.options.model_dump(mode="json", exclude_unset=True)}
    if not isinstance(request.vaults, tuple):
        payload["vaults"] = request.vaults.model_dump(mode="json", exclude_unset=True)
    return payload


def _build_no_vault_error(wanted: tuple[str, ...] | VaultSelector, purpose: str) -> EventError:
    which = "those of CBR_SYNC_VAULTS" if isinstance(wanted, tuple) else str(wanted)
    return EventError(f"no hybrid vault matches {which}, so there is nothing to {purpose}")
