"""What is not served now is handed on: to a queue that triggers this function, or to a second function.

The message names the trigger as it first came, so that what is reported of it keeps its ids, and the moment
from which on a sync serves it. It is handed on again until it is served, for a day at most.
"""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pydantic import BaseModel

from cbr_sync.errors import CbrSyncError, OutcomeUnknownError, RetryableError
from cbr_sync.models import DEFERRABLE, OutcomeError, Status, format_rfc3339
from cbr_sync.threads import call_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from aws_lambda_powertools import Logger

    from cbr_sync.aws.sqs import SqsClient
    from cbr_sync.clock import Clock
    from cbr_sync.errors import ApiError, EventError
    from cbr_sync.huawei.client import ProjectClient
    from cbr_sync.models import HandedOn, SyncOutcome
    from cbr_sync.results import MessageResult
    from cbr_sync.retry import Retrier

# A trigger is handed on until one of these is reached.
MAX_AGE = timedelta(hours=24)
MAX_TIMES = 100
# How long a queue holds a message back: the first time, the second ... in seconds; none is held for longer.
DELAY_SECONDS = (60, 120, 240, 480, 900)
# A message of the queue is served within one run.
MAX_VAULTS_IN_QUEUE = 50
MAX_VAULTS_IN_INVOKE = 1000
# The API was not reached: such trouble lasts, so it is tried again at the slowest pace.
_NOT_REACHED = frozenset({"CbrSync.Unreachable", "CbrSync.NoAnswer"})


class LeftMessage(NamedTuple):
    """A message by which something is handed on.

    Attributes:
        body: Its JSON object.
        delay_seconds: How long it should be held back, where its destination can.
        outcomes: What became of the syncs in it so far; empty for a report or a tick.
        error: Why the report or the tick in it could not be served so far; None for syncs.
    """

    body: Mapping[str, Any]
    delay_seconds: int
    outcomes: tuple[SyncOutcome, ...] = ()
    error: EventError | ApiError | None = None


class Destination(Protocol):
    """Where messages are handed on to."""

    def send(self, message: LeftMessage, deadline: float) -> None:
        """Hand one message on.

        Args:
            message: The message.
            deadline: Reading of the clock, in seconds; nothing is sent after it.

        Raises:
            ApiError: It was not accepted.
        """


class QueueDestination:
    """A standard queue of SQS that triggers this function."""

    def __init__(
        self, client: SqsClient, queue_url: str, *, retrier: Retrier, request_timeout_seconds: float
    ) -> None:
        """Send to a queue.

        Args:
            client: Signs and sends.
            queue_url: The queue.
            retrier: Repeats attempts.
            request_timeout_seconds: How long one request may take.
        """
        self._client = client
        self._queue_url = queue_url
        self._retrier = retrier
        self._request_timeout_seconds = request_timeout_seconds

    def send(self, message: LeftMessage, deadline: float) -> None:
        """Send one message, to be delivered after its delay; see :class:`Destination`."""
        # No AWSTraceHeader: by its trace Lambda would take messages that come back for a loop, and drop them.
        body = {
            "QueueUrl": self._queue_url,
            "MessageBody": json.dumps(message.body, separators=(",", ":")),
            "DelaySeconds": message.delay_seconds,
        }

        def attempt() -> None:
            remaining = self._retrier.clock.remaining_seconds(deadline)
            timeout = min(self._request_timeout_seconds, remaining)
            self._client.call("SendMessage", body, timeout_seconds=timeout)

        self._retrier.call(attempt, deadline=deadline, count_all=True)


class _InvokeAnswer(BaseModel):
    request_id: str


class FunctionDestination:
    """A second function of FunctionGraph, which waits as long as its own time lasts."""

    def __init__(self, project: ProjectClient, function_url: str) -> None:
        """Invoke a function.

        Args:
            project: The function's own project.
            function_url: Where the API knows the function.
        """
        self._project = project
        self._url = f"{function_url}/invocations-async"

    def send(self, message: LeftMessage, deadline: float) -> None:
        """Invoke the function with one message; see :class:`Destination`."""
        post = partial(self._project.post, _InvokeAnswer, self._url, message.body, deadline)
        self._project.bind_retry(deadline)(post)


class Deferrer:
    """Hands on what is left of a message."""

    def __init__(
        self,
        open_destination: Callable[[], Destination],
        *,
        max_vaults: int,
        clock: Clock,
        deadline: float,
        logger: Logger,
    ) -> None:
        """Hand on to one destination.

        Args:
            open_destination: Returns it; called when it is first needed.
            max_vaults: How many vaults a message may name.
            clock: The instance's clock.
            deadline: Reading of the clock, in seconds; nothing is sent after it.
            logger: Gets what goes wrong.
        """
        self._open_destination = open_destination
        self._destination: Destination | None = None
        self._max_vaults = max_vaults
        self._clock = clock
        self._deadline = deadline
        self._logger = logger

    def mark_left(
        self,
        result: MessageResult,
        origin: HandedOn,
        time: datetime,
        request: Mapping[str, Any] | None = None,
    ) -> MessageResult:
        """Return the result with what is left marked as deferred, and the messages to send for it.

        Args:
            result: What became of the message.
            origin: How its trigger has been handed on so far.
            time: What began from here on serves it.
            request: The payload, if it asks for a report or is a tick.
        """
        left = [outcome for outcome in result.outcomes if outcome.status in DEFERRABLE]
        is_request_left = request is not None and isinstance(result.error, RetryableError)
        if not left and not is_request_left:
            return result
        if origin.times >= MAX_TIMES or self._clock.now() - origin.since >= MAX_AGE:
            return result._replace(is_given_up=True)
        handed_on = origin._replace(times=origin.times + 1)
        if request is not None and is_request_left:
            body = _build_body(request, handed_on, time)
            message = LeftMessage(body, _choose_delay(handed_on, result.error), error=result.error)
            return result._replace(error=None, left=(message,))
        messages = _build_sync_messages(left, handed_on, time, self._max_vaults)
        return result._replace(outcomes=tuple(map(_mark, result.outcomes)), left=tuple(messages))

    def hand_on(self, result: MessageResult) -> MessageResult:
        """Send the messages that are left, and return the result.

        What could not be sent is again what it was before it was marked, beside the reason.
        """
        unsent = list(result.left)
        failure: CbrSyncError | None = None
        try:
            while unsent:
                call_until(self._deadline, partial(self._send, unsent[0]), clock=self._clock)
                del unsent[0]
        except CbrSyncError as error:
            failure = error
        except Exception as error:  # one message must not take the others with it
            self._logger.exception("unexpected error in handing on")
            failure = OutcomeUnknownError("CbrSync.UnexpectedError", type(error).__name__)
        if failure is None:
            return result._replace(left=())
        self._logger.error("could not hand on", extra={"reason": str(failure)})
        before = {outcome.vault_id: outcome for message in unsent for outcome in message.outcomes}
        outcomes = tuple(before.get(outcome.vault_id, outcome) for outcome in result.outcomes)
        return result._replace(outcomes=outcomes, error=unsent[0].error, left=(), defer_error=failure)

    def _send(self, message: LeftMessage) -> None:
        self._destination = self._destination or self._open_destination()
        self._destination.send(message, self._deadline)


def _mark(outcome: SyncOutcome) -> SyncOutcome:
    is_left = outcome.status in DEFERRABLE
    return outcome.model_copy(update={"status": Status.DEFERRED}) if is_left else outcome


def _build_sync_messages(
    outcomes: Sequence[SyncOutcome], handed_on: HandedOn, time: datetime, max_vaults: int
) -> Iterator[LeftMessage]:
    """Yield the messages that ask for these syncs once more."""
    by_delay: dict[int, list[SyncOutcome]] = {}
    for outcome in outcomes:
        by_delay.setdefault(_choose_delay(handed_on, outcome.error), []).append(outcome)
    for delay, rows in by_delay.items():
        for begin in range(0, len(rows), max_vaults):
            part = rows[begin : begin + max_vaults]
            params = [{"vault_id": one.vault_id, "auto_trigger": one.auto_trigger} for one in part]
            yield LeftMessage(_build_body({"sync": params}, handed_on, time), delay, tuple(part))


def _choose_delay(handed_on: HandedOn, error: OutcomeError | CbrSyncError | None) -> int:
    """Return for how many seconds a message should be held back."""
    code = error.code if isinstance(error, (OutcomeError, RetryableError)) else None
    if handed_on.times > 1 and code in _NOT_REACHED:
        return DELAY_SECONDS[-1]
    return DELAY_SECONDS[min(handed_on.times, len(DELAY_SECONDS)) - 1]


def _build_body(request: Mapping[str, Any], handed_on: HandedOn, time: datetime) -> dict[str, Any]:
    trigger = handed_on.trigger.model_dump(mode="json")
    marks = {**trigger, "since": format_rfc3339(handed_on.since), "times": handed_on.times}
    return {**request, "time": format_rfc3339(time), "handed_on": marks}
