"""A queue of dead-lettered events."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationError

from cbr_sync.app import App
from cbr_sync.aws.sqs import build_sqs_client
from cbr_sync.cli.dead_letters.formats import QueueMessage
from cbr_sync.errors import ApiError, SettingMistake, SettingsError
from cbr_sync.local import TIMEOUT_SECONDS
from cbr_sync.monitoring.logger import make_logger
from cbr_sync.settings import Settings, find_queue_mistakes, parse_queue_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import httpx

    from cbr_sync.cli.dead_letters.formats import DeadLetter
    from cbr_sync.clock import Clock

_BATCH = 10
# A batch is replayed one event after the other, and each may take as long as an invocation.
_HELD_SECONDS = 3 * _BATCH * int(TIMEOUT_SECONDS)
_PATIENCE_SECONDS = 30.0


class _Received(BaseModel):
    messages: list[QueueMessage] = Field(default_factory=list, alias="Messages")


class DeadLetterQueue:
    """A queue of dead-lettered events, each received once in a run.

    Inside ``with`` what was received is hidden from others; at its end, whatever ends it, what was not
    deleted is released.
    """

    def __init__(
        self,
        queue_url: str,
        environ: Mapping[str, str],
        *,
        clock: Clock | None = None,
        transport: httpx.BaseTransport | None = None,
        wait_seconds: int = 1,
    ) -> None:
        """Prepare to receive; nothing is sent yet.

        Args:
            queue_url: The queue's URL.
            environ: The function's variables; the keys and the region of AWS are among them.
            clock: The machine's, if left out.
            transport: Answers all requests in place of the network.
            wait_seconds: How long one call waits for messages in an empty queue, from 0 to 20 seconds.

        Raises:
            SettingsError: The settings, the URL or the keys are wrong.
        """
        settings = _load_settings_for(queue_url, environ)
        self._app = App(settings, environ, make_logger(environ), clock=clock, transport=transport)
        self._sqs = build_sqs_client(self._app.http, queue_url, environ, self._app.clock.now)
        self._url = queue_url
        self._wait_seconds = wait_seconds
        account, _, name = urlsplit(queue_url).path.strip("/").rpartition("/")
        self._arn = f"arn:aws:sqs:{self._sqs.region}:{account.rpartition('/')[2]}:{name}"
        # A FIFO queue keeps back what follows a message that is held: taken one by one, the order is kept.
        self._batch = 1 if queue_url.endswith(".fifo") else _BATCH
        self._held: dict[str, str] = {}
        self._deleted: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._app.close()

    def receive(self, limit: int | None = None) -> Iterator[DeadLetter]:
        """Yield the events until the queue is empty.

        Args:
            limit: How many are received at most.

        Raises:
            ApiError: They cannot be received; it has the code of SQS.
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
            yield from (message.build_dead_letter(self._arn) for message in new)

    def delete(self, event: DeadLetter) -> None:
        """Delete an event that was served.

        Raises:
            ApiError: It cannot be deleted, and is still there.
        """
        self._call("DeleteMessage", ReceiptHandle=self._held[event.name])
        del self._held[event.name]
        self._deleted.add(event.name)

    def release(self) -> None:
        """Let others see what was not deleted; what cannot be released is seen half an hour later."""
        entries = [
            {"Id": str(number), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
            for number, receipt in enumerate(self._held.values())
        ]
        with contextlib.suppress(ApiError):
            for start in range(0, len(entries), _BATCH):
                self._call("ChangeMessageVisibilityBatch", Entries=entries[start : start + _BATCH])
        self._held.clear()

    def _receive(self, max_messages: int) -> Sequence[QueueMessage]:
        answer = self._call(
            "ReceiveMessage",
            MaxNumberOfMessages=max_messages,
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
        app, timeout = self._app, self._wait_seconds + self._app.settings.request_timeout_seconds
        return app.retrier.call(
            lambda: self._sqs.call(action, {"QueueUrl": self._url, **body}, timeout_seconds=timeout),
            deadline=app.clock.monotonic() + _PATIENCE_SECONDS,
            count_all=True,
        )


def _load_settings_for(queue_url: str, environ: Mapping[str, str]) -> Settings:
    """Return the settings, once the queue's URL is checked as strictly as that of the sink.

    Raises:
        SettingsError: One of them is wrong.
    """
    settings = Settings.load(environ)
    if mistakes := find_queue_mistakes(queue_url, environ, "the queue"):
        raise SettingsError(mistakes)
    if settings.sqs_queue_url == parse_queue_url(queue_url):
        found = "found that of CBR_SYNC_SQS_QUEUE_URL, whose messages are outcomes, not dead-lettered events"
        raise SettingsError([SettingMistake("the queue", found, "name the dead-letter queue")])
    return settings
