"""Replay dead-lettered events through the handler that could not serve them."""

from __future__ import annotations

import contextlib
import io
import json
import uuid
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from cbr_sync import events
from cbr_sync.app import App
from cbr_sync.credentials import PlatformValues
from cbr_sync.errors import (
    ApiError,
    CredentialsRefusedError,
    EventError,
    WebhookRefusedError,
)
from cbr_sync.huawei.cbr import NO_SUCH_VAULT
from cbr_sync.huawei.client import classify
from cbr_sync.local import TIMEOUT_SECONDS, InvokeResult, Platform, play
from cbr_sync.models import Kind, Status, SyncParam, Trigger
from cbr_sync.monitoring.logger import make_logger
from cbr_sync.settings import Settings
from cbr_sync.triggers import signature

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping

    from cbr_sync.app import Seams
    from cbr_sync.cli.dead_letters.formats import DeadLetter
    from cbr_sync.cli.dead_letters.queue_source import DeadLetterQueue


def replay_dead_letters(
    letters: Iterable[DeadLetter],
    environ: Mapping[str, str],
    *,
    platform: Platform | None = None,
    seams: Seams | None = None,
) -> Iterator[tuple[DeadLetter, InvokeResult]]:
    """Each letter, and what came of it when it was played through the door of its platform, or of this one.

    A vault that an earlier delivery has served is adopted, as for every event: by the letter's own time. A
    batch's reply, which names no outcomes, has those that the log told.

    Raises:
        SettingsError: before the first letter is taken.
        ApiError: and its kinds; before it too, where the API cannot be reached or does not let the keys
            sync; and after a letter at which they were refused, for more refusals would lock them.
    """
    settings = Settings.load(environ)
    _check_api(settings, environ, seams)
    for letter in letters:
        played = _invoke_dead_letter(letter, platform or letter.platform, settings, environ, seams)
        yield letter, played
        for refusal in (played.error, *map(_find_refusal, played.outcomes)):
            if isinstance(refusal, CredentialsRefusedError) and refusal.http_status != HTTPStatus.FORBIDDEN:
                raise refusal


def _invoke_dead_letter(
    letter: DeadLetter,
    platform: Platform,
    settings: Settings,
    environ: Mapping[str, str],
    seams: Seams | None,
) -> InvokeResult:
    kind = events.envelope_of(letter.event).kind
    if letter.unreadable:
        return InvokeResult(kind, None, EventError(letter.unreadable))
    authentic = kind is Kind.WEBHOOK and _is_authentic(letter.event, settings)
    changed = {**environ, "CBR_SYNC_WEBHOOK_AUTH": "platform"} if authentic else environ
    log = io.StringIO()
    played = play(letter.event, platform, changed, seams=seams, log=log)
    if not played.reply or "batchItemFailures" not in played.reply:
        return played
    return replace(played, reply={**played.reply, "outcomes": list(_outcomes_in(log.getvalue()))})


def _outcomes_in(log: str) -> Iterator[dict[str, Any]]:
    for line in log.splitlines():
        with contextlib.suppress(ValueError):
            match json.loads(line):
                case {"outcome": {"type": str(kind), "data": {"status": _} as outcome}}:
                    if kind.startswith("cbr-sync.checkpoint.sync."):
                        yield outcome


def replay_queue(
    queue: DeadLetterQueue,
    environ: Mapping[str, str],
    *,
    platform: Platform | None = None,
    limit: int | None = None,
    seams: Seams | None = None,
) -> Generator[tuple[DeadLetter, InvokeResult], None, None]:
    """As ``replay``, with the letters of a queue: those that were served are deleted, the others let go.

    Raises:
        SettingsError, ApiError: as ``replay`` and the queue do; what was not deleted is still there.
    """
    with queue:
        for letter, played in replay_dead_letters(
            queue.receive(limit), environ, platform=platform, seams=seams
        ):
            if is_served(played):
                queue.delete(letter)
            yield letter, played


def is_served(played: InvokeResult) -> bool:
    """Whether nothing is left to do: no error, nothing handed back, no sync unfinished or forbidden.

    Nor of a vault that is not there: so it looks with the settings of another region or project.
    """
    reply = played.reply or {}
    return (
        played.error is None
        and reply.get("statusCode", 0) < HTTPStatus.BAD_REQUEST
        and not reply.get("batchItemFailures")
        and not any(map(_is_left, played.outcomes))
    )


def _is_left(outcome: Mapping[str, Any]) -> bool:
    no_vault = (outcome.get("error") or {}).get("code") == NO_SUCH_VAULT
    return outcome["status"] == Status.UNFINISHED or no_vault or _find_refusal(outcome) is not None


def _find_refusal(outcome: Mapping[str, Any]) -> CredentialsRefusedError | None:
    """Why the API did not let the keys of this run sync, which says nothing of the letter; None if it did."""
    error = outcome.get("error") or {}
    status = error.get("http_status")
    if not issubclass(classify(error.get("code", ""), status or 0), CredentialsRefusedError):
        return None
    return CredentialsRefusedError(
        error["code"], error["message"], request_id=error.get("request_id"), http_status=status
    )


def _check_api(settings: Settings, environ: Mapping[str, str], seams: Seams | None) -> None:
    """Ask once for a sync of nobody, before letters are taken that could not be served.

    Raises:
        SettingsError, ApiError: they could not.
    """
    nobody = SyncParam(vault_id=str(uuid.uuid4()), auto_trigger=False)
    asked = (nobody, Trigger(kind=Kind.DIRECT, id="replay"))
    app = App(settings, environ, make_logger(environ), seams)
    with contextlib.closing(app), contextlib.redirect_stdout(io.StringIO()):
        outcome = app.session(PlatformValues, TIMEOUT_SECONDS).sync([asked])[0]
    if refusal := _find_refusal(outcome.model_dump()):
        raise refusal
    error = outcome.error
    if error and not (error.code.startswith("BackupService.") and outcome.status is Status.FAILED):
        raise ApiError(error.code, error.message, request_id=error.request_id, http_status=error.http_status)


def _is_authentic(event: object, settings: Settings) -> bool:
    """Whether a webhook bears a valid signature of its own time, which the door would call stale by now."""
    secrets = [secret.get_secret_value() for secret in settings.webhook_secrets]
    try:
        request = events.http_request(event)
        sent = request.headers.get("webhook-timestamp", "")
        signature.verify(request.headers, request.body, secrets, now=float(sent) if sent.isdecimal() else 0.0)
    except WebhookRefusedError:
        return False
    return True
