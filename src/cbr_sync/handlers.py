"""What each kind of event does, the same on every platform."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from cbr_sync import events
from cbr_sync.errors import (
    ApiError,
    CbrSyncError,
    EventError,
    RetryableError,
    SinkError,
    SyncUnfinished,
    VaultNotAllowedError,
    WebhookRefusedError,
)
from cbr_sync.models import Kind, Status, SyncOutcome, SyncParam, VaultSelector
from cbr_sync.sinks.messages import RunResult
from cbr_sync.triggers import signature

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from aws_lambda_powertools import Logger

    from cbr_sync.app import App
    from cbr_sync.credentials import PlatformValues
    from cbr_sync.huawei.cbr import Vault
    from cbr_sync.models import Trigger
    from cbr_sync.reports.models import Report, ReportParam

MAX_WEBHOOK_BYTES = 64 * 1024
RETRY_AFTER_SECONDS = 30
_NAMES_SHOWN = 5

Reply = dict[str, Any]


class Invocation(NamedTuple):
    """What a door knows of one invocation.

    ``app`` and ``keys`` are made when they are asked for, so that a mistake in the settings meets a
    webhook's sender as a reply. ``observe`` is told of outcomes and reports before they are emitted.
    """

    request_id: str
    remaining_seconds: float
    app: Callable[[], App]
    keys: Callable[[], PlatformValues]
    logger: Logger
    observe: Callable[[Sequence[SyncOutcome], Sequence[Report]], None] = lambda _outcomes, _reports: None


def handle(event: object, invocation: Invocation) -> Reply:
    """What is answered to this event.

    Raises:
        SyncUnfinished: something is left, and nothing was lost; never for a webhook, nor do the others.
        EventError: the event cannot be read; it was emitted as rejected.
        ApiError: the vaults cannot be listed, and never will be; it was emitted as rejected.
        SettingsError, SinkError: as they say.
    """
    kind = events.envelope_of(event).kind
    with invocation.logger.append_context_keys(request_id=invocation.request_id, kind=kind):
        if kind is Kind.WEBHOOK:
            return _answer_webhook(event, invocation)
        try:
            run = _Run(invocation)
            with run.pinged():
                messages = run.messages(event, kind)
                batch = events.sqs_batch(event)
                return _serve_batch(run, messages, batch) if batch else _reply(run.serve_all(messages))
        except CbrSyncError as error:
            _tell(invocation.logger, error)
            raise


def _tell(logger: Logger, error: CbrSyncError) -> None:
    """A line of ours; how a platform logs an exception is its own affair."""
    logger.error(str(error), extra={"error": type(error).__name__})


class _Served(NamedTuple):
    """What came of some messages: outcomes and reports as asked; what is wrong with one, by its place."""

    outcomes: list[SyncOutcome]
    reports: list[Report]
    rejected: dict[int, EventError | ApiError]
    unfinished: set[int]

    @property
    def handed_back(self) -> set[int]:
        """The messages that another delivery may serve, or has to get rid of."""
        return self.unfinished.union(self.rejected)


class _Run:
    """One invocation's way through the rooms: messages read, vaults synced or judged, all of it emitted."""

    def __init__(self, invocation: Invocation) -> None:
        self.app = invocation.app()
        self.session = self.app.session(invocation.keys, invocation.remaining_seconds)
        self._request_id = invocation.request_id
        self._observe = invocation.observe
        self._told = RunResult()

    def pinged(self) -> AbstractContextManager[object]:
        """What is done inside is told to whom ``CBR_SYNC_PING_URL`` names, at its beginning and its end."""
        return self.session.ping(self._request_id, self._told)

    def messages(self, event: object, kind: Kind) -> list[events.Message]:
        """The payloads in this event.

        Raises:
            EventError: the envelope cannot be read; it was emitted as rejected.
        """
        try:
            return events.messages(event, self._request_id)
        except EventError as error:
            self._told.rejected.append((events.unnamed_trigger(kind, self._request_id), error))
            self.emit()
            raise

    def serve_all(self, messages: Sequence[events.Message]) -> _Served:
        """What came of the messages, emitted.

        Raises:
            SinkError: a sink did not take everything, after the others did.
        """
        served = self.serve(messages)
        self.emit()
        return served

    def serve(self, messages: Sequence[events.Message]) -> _Served:
        """What came of the messages, to be emitted; one that cannot be read stops no other."""
        plan: dict[str, tuple[SyncParam, Trigger]] = {}
        outcomes: dict[str, SyncOutcome] = {}
        vaults: dict[int, list[str]] = {}
        reports: dict[int, tuple[events.Asked, ReportParam]] = {}
        rejected: dict[int, EventError | ApiError] = {}
        for number, message in enumerate(messages):
            try:
                asked = self._asked(message)
                if asked.report is not None:
                    reports[number] = asked, asked.report
                    continue
                params = self._params(asked, message.trigger, outcomes)
            except (EventError, ApiError) as error:
                rejected[number] = error
                continue
            vaults[number] = [param.vault_id for param in params]
            for param in params:
                plan[param.vault_id] = _later(plan.get(param.vault_id), (param, message.trigger))
        synced = self.session.sync([asked for vault, asked in plan.items() if vault not in outcomes])
        outcomes |= {outcome.vault_id: outcome for outcome in synced}
        ordered = [outcomes[vault] for vault in plan]
        self._told.outcomes += ordered
        # After the syncs: no report may take their time.
        made = self._reports(reports, messages, rejected)
        self._told.reports += made
        self._told.rejected += [(messages[number].trigger, why) for number, why in rejected.items()]
        left = {vault for vault, outcome in outcomes.items() if outcome.status is Status.UNFINISHED}
        unfinished = {number for number, own in vaults.items() if not left.isdisjoint(own)}
        unfinished.update(number for number, why in rejected.items() if isinstance(why, RetryableError))
        return _Served(ordered, made, rejected, unfinished)

    def emit(self) -> None:
        """Hand all that is to be told to the sinks, once for a run.

        Raises:
            SinkError: a sink did not take everything, after the others did.
        """
        told = self._told
        self._observe(told.outcomes, told.reports)
        try:
            self.session.emit([*told.cloud_events(self._request_id, self.session.source, self.app.now())])
        except SinkError as error:
            error.reply = _shown(told)
            raise

    def _asked(self, message: events.Message) -> events.Asked:
        settings = self.app.settings
        return events.asked(message, default_vaults=settings.vaults, allowed_vaults=settings.allowed_vaults)

    def _reports(
        self,
        wanted: Mapping[int, tuple[events.Asked, ReportParam]],
        messages: Sequence[events.Message],
        rejected: dict[int, EventError | ApiError],
    ) -> list[Report]:
        """The reports that these messages ask for; why one cannot be made is put into ``rejected``."""
        made = []
        for number, (asked, param) in wanted.items():
            try:
                made.append(self._report(asked, param, messages[number].trigger))
            except (EventError, ApiError) as error:
                rejected[number] = error
        return made

    def _report(self, asked: events.Asked, param: ReportParam, trigger: Trigger) -> Report:
        what_for = "report on"
        report = self.session.report(self._found(asked, what_for), param, trigger)
        if not report.vaults:
            raise _no_vault(asked, what_for)
        return report

    def _params(
        self, asked: events.Asked, trigger: Trigger, outcomes: dict[str, SyncOutcome]
    ) -> list[SyncParam]:
        """The vaults that a message asks for; those found that cannot be synced get their outcome at once."""
        if asked.selector is None:
            return list(asked.params)
        found = self._found(asked, "sync")
        planned = dict(self.session.plan(found, trigger, auto_trigger=asked.auto_trigger))
        outcomes |= {param.vault_id: outcome for param, outcome in planned.items() if outcome}
        return [*planned]

    def _found(self, asked: events.Asked, what_for: str) -> list[Vault]:
        only = {param.vault_id for param in asked.params}
        found = self.session.discover(asked.selector or VaultSelector())
        if there := [vault for vault in found if not only or vault.id in only]:
            return there
        raise _no_vault(asked, what_for)


def _no_vault(asked: events.Asked, what_for: str) -> EventError:
    return EventError(f"no hybrid vault matches {asked.selector}, so there is nothing to {what_for}")


def _later(
    before: tuple[SyncParam, Trigger] | None, asked: tuple[SyncParam, Trigger]
) -> tuple[SyncParam, Trigger]:
    """Of two messages for one vault the later: a sync that began after it serves both. No time is latest."""
    if before is None:
        return asked
    return before if _time_of(before[1]) >= _time_of(asked[1]) else asked


def _time_of(trigger: Trigger) -> datetime:
    return trigger.time or datetime.max.replace(tzinfo=UTC)


def _serve_batch(run: _Run, messages: Sequence[events.Message], batch: events.SqsBatch) -> Reply:
    """Partial batch response: what is unreadable or unfinished is handed back, all else acknowledged.

    Source: Lambda Developer Guide, "Reporting batch item failures". A FIFO batch stops at the first
    unfinished message, so that order holds.
    """
    try:
        failed = _serve_in_order(run, messages) if batch.in_order else run.serve(messages).handed_back
    finally:
        run.emit()  # also what was done before something that nobody foresaw
    return {"batchItemFailures": [{"itemIdentifier": batch.ids[number]} for number in sorted(failed)]}


def _serve_in_order(run: _Run, messages: Sequence[events.Message]) -> set[int]:
    """The messages to hand back: those that cannot be read, and all from the first unfinished one on."""
    failed: set[int] = set()
    for number, message in enumerate(messages):
        served = run.serve([message])
        if served.unfinished:
            return failed.union(range(number, len(messages)))
        if served.handed_back:
            failed.add(number)
    return failed


def _reply(served: _Served) -> Reply:
    """The reply to what has no form of its own.

    Raises:
        SyncUnfinished, EventError, ApiError: everything else was done and emitted before.
    """
    outcomes = served.outcomes
    counts = Counter(str(outcome.status) for outcome in outcomes)
    reply = {**_shown(served), "counts": dict(counts)}
    for error in served.rejected.values():
        if isinstance(error, RetryableError):
            raise SyncUnfinished(f"CBR cannot be asked now: {error}", reply) from error
        raise error
    left = [outcome for outcome in outcomes if outcome.status is Status.UNFINISHED]
    if left:
        raise SyncUnfinished(f"{len(left)} of {len(outcomes)} syncs are unfinished: {_names(left)}", reply)
    return reply


def _shown(what: _Served | RunResult) -> Reply:
    reply: Reply = {"outcomes": [outcome.model_dump(mode="json") for outcome in what.outcomes]}
    if what.reports:
        reply["reports"] = [report.model_dump(mode="json") for report in what.reports]
    return reply


def _names(outcomes: Sequence[SyncOutcome]) -> str:
    shown = [
        f"{outcome.vault_id} ({outcome.error.code if outcome.error else outcome.status})"
        for outcome in outcomes[:_NAMES_SHOWN]
    ]
    return ", ".join(shown) + (" and more" if len(outcomes) > _NAMES_SHOWN else "")


def _answer_webhook(event: object, invocation: Invocation) -> Reply:
    """A reply to whatever a stranger sent; no exception leaves here."""
    multi_value = False
    try:
        request = events.http_request(event)
        multi_value = request.multi_value
        status, headers, body = _serve_webhook(request, event, invocation)
    except Exception as error:
        status, headers, body = _problem(error)
        if status is HTTPStatus.INTERNAL_SERVER_ERROR:
            invocation.logger.exception("webhook failed")
        else:
            invocation.logger.warning("webhook refused", extra={"status": status, "reason": str(error)})
    return _http_reply(status, headers, body, multi_value=multi_value)


_Parts = tuple[HTTPStatus, Mapping[str, str], Mapping[str, Any]]


def _serve_webhook(request: events.HttpRequest, event: object, invocation: Invocation) -> _Parts:
    _check_form(request)
    run = _Run(invocation)
    _authenticate(request, run)
    trigger = events.webhook_trigger(request, event, invocation.request_id)
    with run.pinged():
        served = run.serve_all([events.Message(trigger, request.body)])
        for error in served.rejected.values():
            raise error
    status = webhook_status([outcome.status for outcome in served.outcomes])
    return status, {"Content-Type": "application/json", **_MORE_HEADERS.get(status, {})}, _shown(served)


def _check_form(request: events.HttpRequest) -> None:
    if request.method != "POST":
        raise WebhookRefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "only POST is served here")
    if len(request.body) > MAX_WEBHOOK_BYTES:
        raise WebhookRefusedError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MAX_WEBHOOK_BYTES} bytes are read"
        )
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        raise WebhookRefusedError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the Content-Type has to be application/json"
        )


def _authenticate(request: events.HttpRequest, run: _Run) -> None:
    settings = run.app.settings
    if settings.webhook_auth == "platform":
        return
    secrets = [secret.get_secret_value() for secret in settings.webhook_secrets] + [
        *run.session.keys.webhook_secrets
    ]
    if not secrets:
        raise WebhookRefusedError(
            HTTPStatus.UNAUTHORIZED, "no webhook is accepted here: no secret is configured"
        )
    signature.verify(request.headers, request.body, secrets, now=run.app.now().timestamp())


def webhook_status(statuses: Sequence[Status]) -> HTTPStatus:
    """The HTTP status for these outcomes: 200, 207 where they are mixed, 502 and 503 where none is well."""
    if all(status in _WELL for status in statuses):
        return HTTPStatus.OK
    if all(status is Status.UNFINISHED for status in statuses):
        return HTTPStatus.SERVICE_UNAVAILABLE
    return HTTPStatus.BAD_GATEWAY if all(status in _BAD for status in statuses) else HTTPStatus.MULTI_STATUS


_WELL = frozenset({Status.ACCEPTED, Status.ALREADY_RUNNING, Status.SUCCEEDED, Status.SKIPPED})
_BAD = frozenset({Status.FAILED, Status.TIMED_OUT})


def _problem(error: Exception) -> _Parts:
    """An error as RFC 9457 has it; of an unforeseen one no detail leaks."""
    detail = str(error)
    match error:
        case WebhookRefusedError(status=refused):
            status = refused
        case VaultNotAllowedError():
            status = HTTPStatus.FORBIDDEN
        case EventError():
            status = HTTPStatus.BAD_REQUEST
        case RetryableError():
            status = HTTPStatus.SERVICE_UNAVAILABLE
        case ApiError():
            status = HTTPStatus.BAD_GATEWAY
        case _:
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            detail = "the request could not be served; the reason is in the function's log"
    body = {"type": "about:blank", "title": status.phrase, "status": status, "detail": detail}
    return status, {"Content-Type": "application/problem+json", **_MORE_HEADERS.get(status, {})}, body


_MORE_HEADERS = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": "Standard-Webhooks"},
    HTTPStatus.METHOD_NOT_ALLOWED: {"Allow": "POST"},
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": str(RETRY_AFTER_SECONDS)},
}


def _http_reply(
    status: HTTPStatus, headers: Mapping[str, str], body: Mapping[str, Any], *, multi_value: bool
) -> Reply:
    """The form that API Gateway, Function URL, ALB and APIG all understand."""
    shown = (
        {"multiValueHeaders": {key: [value] for key, value in headers.items()}}
        if multi_value
        else {"headers": dict(headers)}
    )
    return {"statusCode": int(status), **shown, "body": json.dumps(body), "isBase64Encoded": False}
