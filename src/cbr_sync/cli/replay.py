"""Dead letters played once more, through the handler that could not serve them.

Sources: EventBridge Scheduler User Guide, "Configuring a schedule's dead-letter queue"; EventBridge User
Guide, "Using dead-letter queues"; Lambda Developer Guide, "Capturing records of asynchronous invocations" and
"Adding a dead-letter queue"; FunctionGraph User Guide, "Asynchronous notification"; SQS API reference.
"""

from __future__ import annotations

import contextlib
import io
import json
import uuid
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationError

from cbr_sync import events, webhook
from cbr_sync.api import classify
from cbr_sync.app import App, Keys
from cbr_sync.cbr import NO_SUCH_VAULT
from cbr_sync.errors import ApiError, CredentialsRefused, EventError, Retryable, SettingsError, WebhookRefused
from cbr_sync.local import TIMEOUT_SECONDS, Platform, Played, platform_of, play
from cbr_sync.models import Kind, Status, SyncParam, Trigger
from cbr_sync.settings import Settings
from cbr_sync.sinks import make_logger
from cbr_sync.sqs import sqs_client

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence

    from cbr_sync.app import Seams

_BATCH = 10
# A batch is played one after the other, and each letter has a run's time.
_HELD_SECONDS = 3 * _BATCH * int(TIMEOUT_SECONDS)
_PATIENCE_SECONDS = 30.0
_ARN_COLONS = 5
# By one of these sets of attributes a service marks a message whose body is the very event.
_MARKS = ({"SCHEDULE_ARN"}, {"RULE_ARN"}, {"RequestID", "ErrorCode"})
# What a schedule's Input may ask for, and the attribute that tells it too.
_SCHEDULED = {"scheduled_time": "SCHEDULED_TIME", "schedule_arn": "SCHEDULE_ARN"}
_OF_FUNCTIONGRAPH = {"FunctionGraph TIMER", "DMS Kafka or RocketMQ", "SMN", "CloudEvent", "EventGrid batch"}


class Letter(NamedTuple):
    """An event that was given up; ``unreadable`` says why it cannot be played, and is empty where it can."""

    name: str
    event: object
    platform: Platform = Platform.AWS
    unreadable: str = ""


def letters_of_file(name: str, text: str) -> list[Letter]:
    """The letters in a file: one event, a list of them, or one on each line.

    Each may be wrapped, as a destination of Lambda or of FunctionGraph gets it, or as ``aws sqs
    receive-message`` shows it, with all attributes: only its own time tells what was served after all.

    Raises:
        EventError: there is none, or a line that is no JSON.
    """
    letters = [_letter(where, content, platform_of(Path(name))) for where, content in _contents(name, text)]
    if not letters:
        raise EventError(f"{name} holds no event")
    return letters


def _contents(name: str, text: str) -> list[tuple[str, object]]:
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        return _lines(name, text, error)
    match whole:
        case {"Messages": [*several]}:
            pass
        # A bare list of CloudEvents is one event of EventGrid.
        case [*several] if events.envelope_of(whole).kind is Kind.DIRECT:
            pass
        case _:
            return [(name, whole)]
    return [(f"{name}, event {number}", one) for number, one in enumerate(several, 1)]


def _lines(name: str, text: str, error: Exception) -> list[tuple[str, object]]:
    """The events on the lines of a text that is no JSON as a whole, for this reason."""
    found: list[tuple[str, object]] = []
    for number, line in enumerate(text.split("\n"), 1):
        where = f"{name}, line {number}"
        if not line.strip():
            continue
        try:
            found.append((where, json.loads(line)))
        except (ValueError, RecursionError) as wrong:
            if not found:
                raise EventError(f"{name} is not JSON: {error}") from None
            raise EventError(f"{where}, is not JSON, as the lines before it are: {wrong}") from None
    return found


def _letter(name: str, content: object, platform: Platform) -> Letter:
    match content:
        case {"MessageId": _, "Body": _}:
            return _letter_in(content, name)
        case {"requestContext": {}, "requestPayload": payload}:
            return Letter(name, payload)
        case {"request_context": {}, "request_payload": payload}:
            return _of_functiongraph(name, payload)
    by_shape = events.envelope_of(content).name in _OF_FUNCTIONGRAPH
    return Letter(name, content, Platform.FUNCTIONGRAPH if by_shape else platform)


def _of_functiongraph(name: str, payload: object) -> Letter:
    """The event in a record of FunctionGraph, which may hold it as text."""
    if payload == "":
        unreadable = "its request_payload is empty, as FunctionGraph leaves it where it is over 256 KB"
        return Letter(name, None, Platform.FUNCTIONGRAPH, unreadable)
    if not isinstance(payload, str):
        return Letter(name, payload, Platform.FUNCTIONGRAPH)
    return _in_text(name, payload, Platform.FUNCTIONGRAPH)


def _in_text(name: str, text: str, platform: Platform = Platform.AWS) -> Letter:
    try:
        return Letter(name, json.loads(text), platform)
    except (ValueError, RecursionError):
        return Letter(
            name, None, platform, f"found {len(text)} characters that are not JSON, expected an event"
        )


class _Attribute(BaseModel):
    data_type: str = Field(default="", alias="DataType")
    string_value: str | None = Field(default=None, alias="StringValue")


class _Message(BaseModel):
    """A message as ReceiveMessage gives it."""

    message_id: str = Field(alias="MessageId")
    receipt_handle: str = Field(default="", alias="ReceiptHandle")
    body: str = Field(alias="Body")
    attributes: dict[str, str] = Field(default_factory=dict, alias="Attributes")
    message_attributes: dict[str, _Attribute] = Field(default_factory=dict, alias="MessageAttributes")

    @property
    def own(self) -> dict[str, str]:
        """The message attributes that are text."""
        return {name: one.string_value or "" for name, one in self.message_attributes.items()}

    def letter(self, queue_arn: str) -> Letter:
        """The event that this message is, or brought: a service's, or one of a work queue's."""
        if any(mark <= self.own.keys() for mark in _MARKS):
            return self._event_in_body()
        with contextlib.suppress(ValueError, RecursionError):
            match json.loads(self.body):
                case {"requestContext": {}, "requestPayload": payload}:
                    return Letter(self.message_id, payload)
        return Letter(self.message_id, {"Records": [self._record(queue_arn)]})

    def _event_in_body(self) -> Letter:
        own = self.own
        if own.get("IS_PAYLOAD_TRUNCATED", "").lower() == "true":
            unreadable = (
                "the scheduler cut its payload off (IS_PAYLOAD_TRUNCATED); invoke the function instead"
            )
            return Letter(self.message_id, None, unreadable=unreadable)
        letter = _in_text(self.message_id, self.body)
        if not isinstance(letter.event, dict) or letter.event.get("trigger") != "schedule":
            return letter
        # Whether the body has what its Input asked for or still asks for it, no page says.
        told = {key: own[name] for key, name in _SCHEDULED.items() if name in own}
        kept = {key: value for key, value in letter.event.items() if not str(value).startswith("<aws.")}
        return letter._replace(event={**told, **kept})

    def _record(self, queue_arn: str) -> dict[str, Any]:
        """The message as Lambda hands it over. Source: Lambda Developer Guide, "Using Lambda with SQS"."""
        arn = queue_arn or self.attributes.get("DeadLetterQueueSourceArn", "")
        return {
            "messageId": self.message_id,
            "body": self.body,
            "attributes": self.attributes,
            "messageAttributes": {
                name: {"dataType": one.data_type, "stringValue": one.string_value}
                for name, one in self.message_attributes.items()
            },
            "eventSource": "aws:sqs",
            "eventSourceARN": arn,
            "awsRegion": arn.split(":")[3] if arn.count(":") == _ARN_COLONS else "",
        }


def _letter_in(content: object, name: str) -> Letter:
    try:
        return _Message.model_validate(content).letter("")
    except ValidationError:
        return Letter(name, None, unreadable="found a message, but not as `aws sqs receive-message` shows it")


class _Received(BaseModel):
    messages: list[_Message] = Field(default_factory=list, alias="Messages")


class DeadLetterQueue:
    """A queue of dead letters, each received once in a run: deleted one by one, or seen again at its end.

    Inside ``with`` what was received is held; at its end, however it comes, what was not deleted is let go.
    """

    def __init__(
        self,
        queue_url: str,
        environ: Mapping[str, str],
        *,
        seams: Seams | None = None,
        wait_seconds: int = 1,
    ) -> None:
        """Prepare the way to a queue; ``wait_seconds`` is how long an empty one is waited at.

        Raises:
            SettingsError: naming what is wrong with the settings, the URL or the keys.
        """
        settings = _settings_for(queue_url, environ)
        self._app = App(settings, environ, make_logger(environ), seams)
        self._sqs = sqs_client(self._app.http, queue_url, environ, self._app.now)
        self._url = queue_url
        self._wait_seconds = wait_seconds
        account, _, name = urlsplit(queue_url).path.strip("/").rpartition("/")
        self._arn = f"arn:aws:sqs:{self._sqs.region}:{account.rpartition('/')[2]}:{name}"
        # A FIFO queue keeps back what follows a message that is held: its order holds, one by one.
        self._batch = 1 if queue_url.endswith(".fifo") else _BATCH
        self._held: dict[str, str] = {}
        self._deleted: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._app.close()

    def receive(self, limit: int | None = None) -> Iterator[Letter]:
        """The letters, until there are no more of them, or so many.

        Raises:
            ApiError: and its kinds, with the code of SQS.
        """
        seen: set[str] = set()
        while limit is None or len(seen) < limit:
            messages = self._receive(self._batch if limit is None else min(self._batch, limit - len(seen)))
            if not messages:
                return
            for message in messages:
                if message.message_id in self._deleted:  # a standard queue may deliver it all the same
                    self._call("DeleteMessage", ReceiptHandle=message.receipt_handle)
                else:
                    self._held[message.message_id] = message.receipt_handle
            new = [message for message in messages if message.message_id not in seen]
            seen.update(message.message_id for message in new)
            yield from (message.letter(self._arn) for message in new)

    def delete(self, letter: Letter) -> None:
        """Take a letter that was served out of the queue.

        Raises:
            ApiError: and its kinds; it is still there then.
        """
        self._call("DeleteMessage", ReceiptHandle=self._held[letter.name])
        del self._held[letter.name]
        self._deleted.add(letter.name)

    def release(self) -> None:
        """Let everybody see what was not deleted; what cannot be let go is seen half an hour later."""
        entries = [
            {"Id": str(number), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
            for number, receipt in enumerate(self._held.values())
        ]
        with contextlib.suppress(ApiError):
            for start in range(0, len(entries), _BATCH):
                self._call("ChangeMessageVisibilityBatch", Entries=entries[start : start + _BATCH])
        self._held.clear()

    def _receive(self, most: int) -> Sequence[_Message]:
        answer = self._call(
            "ReceiveMessage",
            MaxNumberOfMessages=most,
            VisibilityTimeout=_HELD_SECONDS,
            WaitTimeSeconds=self._wait_seconds,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        try:
            return _Received.model_validate_json(answer).messages
        except ValidationError as error:
            message = "the queue's answer is not that of ReceiveMessage"
            raise ApiError("CbrSync.UnreadableAnswer", message) from error

    def _call(self, action: str, **body: Any) -> bytes:
        retry, timeout = self._app.retry, self._wait_seconds + self._app.settings.request_timeout_seconds
        return retry.call(
            lambda: self._sqs.call(action, {"QueueUrl": self._url, **body}, timeout_seconds=timeout),
            until=retry.clock() + _PATIENCE_SECONDS,
            retry_on=Retryable,
        )


def _settings_for(queue_url: str, environ: Mapping[str, str]) -> Settings:
    """The settings, and the queue's URL checked as that of the sink is.

    Raises:
        SettingsError: one of them is wrong.
    """
    settings, name = Settings.load(environ), "CBR_SYNC_SQS_QUEUE_URL"
    try:
        checked = Settings.load({**environ, name: queue_url})
    except SettingsError as error:
        raise SettingsError([line.replace(name, "the queue") for line in error.mistakes]) from None
    if settings.sqs_queue_url == checked.sqs_queue_url:
        raise SettingsError(
            [f"the queue: found that of {name}, whose messages are outcomes, not dead letters"]
        )
    return settings


def replay(
    letters: Iterable[Letter],
    environ: Mapping[str, str],
    *,
    platform: Platform | None = None,
    seams: Seams | None = None,
) -> Iterator[tuple[Letter, Played]]:
    """Each letter, and what came of it when it was played through the door of its platform, or of this one.

    A vault that an earlier delivery has served is adopted, as for every event: by the letter's own time. A
    batch's reply, which names no outcomes, has those that the log told.

    Raises:
        SettingsError: before the first letter is taken.
        ApiError: and its kinds; before it too, where the API cannot be reached or does not let the keys
            sync; and after a letter at which they were refused, for more refusals would lock them.
    """
    settings = Settings.load(environ)
    _be_sure_of_the_api(settings, environ, seams)
    for letter in letters:
        played = _play(letter, platform or letter.platform, settings, environ, seams)
        yield letter, played
        for refusal in (played.error, *map(_refusal, played.outcomes)):
            if isinstance(refusal, CredentialsRefused) and refusal.http_status != HTTPStatus.FORBIDDEN:
                raise refusal


def _play(
    letter: Letter, platform: Platform, settings: Settings, environ: Mapping[str, str], seams: Seams | None
) -> Played:
    kind = events.envelope_of(letter.event).kind
    if letter.unreadable:
        return Played(kind, None, EventError(letter.unreadable))
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
) -> Generator[tuple[Letter, Played], None, None]:
    """As ``replay``, with the letters of a queue: those that were served are deleted, the others let go.

    Raises:
        SettingsError, ApiError: as ``replay`` and the queue do; what was not deleted is still there.
    """
    with queue:
        for letter, played in replay(queue.receive(limit), environ, platform=platform, seams=seams):
            if served(played):
                queue.delete(letter)
            yield letter, played


def served(played: Played) -> bool:
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
    return outcome["status"] == Status.UNFINISHED or no_vault or _refusal(outcome) is not None


def _refusal(outcome: Mapping[str, Any]) -> CredentialsRefused | None:
    """Why the API did not let the keys of this run sync, which says nothing of the letter; None if it did."""
    error = outcome.get("error") or {}
    status = error.get("http_status")
    if not issubclass(classify(error.get("code", ""), status or 0), CredentialsRefused):
        return None
    return CredentialsRefused(
        error["code"], error["message"], request_id=error.get("request_id"), http_status=status
    )


def _be_sure_of_the_api(settings: Settings, environ: Mapping[str, str], seams: Seams | None) -> None:
    """Ask once for a sync of nobody, before letters are taken that could not be served.

    Raises:
        SettingsError, ApiError: they could not.
    """
    nobody = SyncParam(vault_id=str(uuid.uuid4()), auto_trigger=False)
    asked = (nobody, Trigger(kind=Kind.DIRECT, id="replay"))
    app = App(settings, environ, make_logger(environ), seams)
    with contextlib.closing(app), contextlib.redirect_stdout(io.StringIO()):
        outcome = app.session(Keys, TIMEOUT_SECONDS).sync([asked])[0]
    if refusal := _refusal(outcome.model_dump()):
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
        webhook.verify(request.headers, request.body, secrets, now=float(sent) if sent.isdecimal() else 0.0)
    except WebhookRefused:
        return False
    return True
