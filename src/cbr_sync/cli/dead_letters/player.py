"""Replay dead-lettered events through the handler that could not serve them."""

from __future__ import annotations

import contextlib
import io
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING

from cbr_sync.app import App
from cbr_sync.credentials import PlatformValues
from cbr_sync.errors import ApiError, CredentialsRefusedError, EventError, WebhookRefusedError
from cbr_sync.huawei.cbr import NO_SUCH_VAULT
from cbr_sync.huawei.client import classify
from cbr_sync.local import TIMEOUT_SECONDS, InvokeResult, invoke
from cbr_sync.models import Kind, Status, SyncParam, Trigger
from cbr_sync.monitoring.logger import make_logger
from cbr_sync.services import Services
from cbr_sync.settings import Settings
from cbr_sync.sync import SyncTask
from cbr_sync.triggers import signature
from cbr_sync.triggers.envelopes import find_envelope
from cbr_sync.triggers.webhook import authenticate, parse_http_request

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping

    import httpx

    from cbr_sync.cli.dead_letters.formats import DeadLetter
    from cbr_sync.cli.dead_letters.queue_source import DeadLetterQueue
    from cbr_sync.clock import Clock
    from cbr_sync.models import OutcomeError, SyncOutcome
    from cbr_sync.triggers.base import Event, Platform

_AUTH_NAMES = ("CBR_SYNC_WEBHOOK_SECRET", "CBR_SYNC_WEBHOOK_TOKEN")

_DENIED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


class Player:
    """Handles dead-lettered events with the settings of the function that they were meant for."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        platform: Platform | None = None,
        clock: Clock | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Prepare to replay.

        Args:
            environ: The function's variables.
            platform: Whose entry point handles every event; each event's own, if left out.
            clock: The machine's, if left out.
            transport: Answers all requests in place of the network.

        Raises:
            SettingsError: The settings are wrong.
        """
        self._settings = Settings.load(environ)
        self._environ = environ
        self._platform = platform
        self._clock = clock
        self._transport = transport

    def replay(self, events: Iterable[DeadLetter]) -> Iterator[tuple[DeadLetter, InvokeResult]]:
        """Yield each event with its result.

        A vault that an earlier delivery has served is adopted, as for every event: by the event's own time.

        Raises:
            SettingsError: Before the first event is taken.
            ApiError: Before it too, where the API cannot be reached or does not let the keys sync.
            CredentialsRefusedError: After an event at which the keys were refused; more refusals lock them.
        """
        self._check_api()
        for event in events:
            result = self._invoke(event)
            yield event, result
            if isinstance(result.error, CredentialsRefusedError):
                raise result.error
            for outcome in result.outcomes:
                if outcome.error and _is_refused_key(outcome.error):
                    raise _rebuild_error(outcome.error, CredentialsRefusedError)

    def replay_queue(
        self, queue: DeadLetterQueue, limit: int | None = None
    ) -> Generator[tuple[DeadLetter, InvokeResult], None, None]:
        """Yield each event of a queue with its result; what was served is deleted, the rest released.

        Args:
            queue: The queue.
            limit: How many events are taken, at most.

        Raises:
            SettingsError, ApiError: As :meth:`replay` and the queue do; what was not deleted is still there.
        """
        with queue:
            for event, result in self.replay(queue.receive(limit)):
                if is_served(result):
                    queue.delete(event)
                yield event, result

    def _invoke(self, event: DeadLetter) -> InvokeResult:
        envelope, fields = find_envelope(event.event)
        if event.unreadable:
            return InvokeResult(envelope.kind, None, EventError(event.unreadable))
        environ = dict(self._environ)
        if envelope.kind is Kind.WEBHOOK and self._is_authentic(fields):
            environ |= {**dict.fromkeys(_AUTH_NAMES, ""), "CBR_SYNC_WEBHOOK_AUTH": "platform"}
        return invoke(
            event.event,
            self._platform or event.platform,
            environ,
            clock=self._clock,
            transport=self._transport,
            log=io.StringIO(),
            is_replay=True,
        )

    def _is_authentic(self, event: Event) -> bool:
        """Return whether a webhook has a token, or a signature that was valid at its own time."""
        secrets = [secret.get_secret_value() for secret in self._settings.webhook_secrets]
        tokens = [token.get_secret_value() for token in self._settings.webhook_tokens]
        try:
            request = parse_http_request(event)
            sent = signature.read_timestamp(request.headers) or 0
            authenticate(request, secrets=secrets, tokens=tokens, now=sent)
        except WebhookRefusedError:
            return False
        return True

    def _check_api(self) -> None:
        """Ask once for a sync of a vault that does not exist, before events are taken that cannot be served.

        Raises:
            SettingsError, ApiError: They cannot.
        """
        nobody = SyncParam(vault_id=str(uuid.uuid4()), auto_trigger=False)
        logger = make_logger(self._environ)
        app = App(self._settings, self._environ, logger, clock=self._clock, transport=self._transport)
        with contextlib.closing(app), contextlib.redirect_stdout(io.StringIO()):
            services = Services(app, PlatformValues, TIMEOUT_SECONDS)
            (outcome,) = services.sync([SyncTask(nobody, Trigger(kind=Kind.DIRECT, id="replay"))])
        error = outcome.error
        if error and _is_denied(error):
            raise _rebuild_error(error, CredentialsRefusedError if _is_refused_key(error) else ApiError)
        if error and not (error.code.startswith("BackupService.") and outcome.status is Status.FAILED):
            raise _rebuild_error(error, ApiError)


def is_served(result: InvokeResult) -> bool:
    """Return whether nothing is left to do: no error, nothing handed back, no sync unfinished or denied.

    A vault that does not exist is left as well: so it looks with the settings of another region or project.
    """
    reply = result.reply or {}
    return (
        result.error is None
        and reply.get("statusCode", 0) < HTTPStatus.BAD_REQUEST
        and not reply.get("batchItemFailures")
        and not any(map(_is_left, result.outcomes))
    )


def _is_left(outcome: SyncOutcome) -> bool:
    error = outcome.error
    return outcome.status in (Status.UNFINISHED, Status.ALREADY_RUNNING) or (
        error is not None and (error.code == NO_SUCH_VAULT or _is_denied(error))
    )


def _is_denied(error: OutcomeError) -> bool:
    """Return whether the keys of this run may not sync, which says nothing about the event."""
    return error.http_status in _DENIED or _is_refused_key(error)


def _is_refused_key(error: OutcomeError) -> bool:
    return issubclass(classify(error.code, error.http_status or 0), CredentialsRefusedError)


def _rebuild_error(error: OutcomeError, kind: type[ApiError]) -> ApiError:
    return kind(error.code, error.message, request_id=error.request_id, http_status=error.http_status)
