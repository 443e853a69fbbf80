"""All that happened in one run: what sinks, metrics, pings, replies and the command line read."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from cbr_sync.errors import RetryableError
from cbr_sync.models import WENT_WRONG, Status

if TYPE_CHECKING:
    from cbr_sync.defer import LeftMessage
    from cbr_sync.errors import ApiError, CbrSyncError, EventError
    from cbr_sync.follow import FollowResult
    from cbr_sync.models import HandedOn, SyncOutcome, Trigger
    from cbr_sync.reports.models import Report


# A vault that is not available is skipped, and one whose older sync still runs is not served.
_BAD = WENT_WRONG | {Status.SKIPPED, Status.ALREADY_RUNNING}


class Ending(StrEnum):
    """How a run went: well, so that another delivery may finish it, or with problems that stay."""

    OK = "ok"
    UNFINISHED = "unfinished"
    PROBLEMS = "problems"


class MessageResult(NamedTuple):
    """What became of one message.

    Attributes:
        trigger: What asked.
        message_id: The platform's own id of the message; empty where it has none.
        outcomes: One for each vault that it asked to sync.
        report: The report that it asked for.
        follow: What happened in its interval, if it is a tick.
        error: Why it could not be served as a whole.
        deliveries: How many times the message has been delivered, where that is known.
        is_served: False where its turn did not come, since an earlier message of its queue is unfinished.
        handed_on: How its trigger had been handed on before; None where it came by itself.
        left: The messages that are still to be sent to hand on what is ``deferred`` in it.
        defer_error: Why something could not be handed on.
        is_given_up: Whether it has been handed on for long enough, so that nobody serves it any more.
    """

    trigger: Trigger
    message_id: str = ""
    outcomes: tuple[SyncOutcome, ...] = ()
    report: Report | None = None
    follow: FollowResult | None = None
    error: EventError | ApiError | None = None
    deliveries: int = 1
    is_served: bool = True
    handed_on: HandedOn | None = None
    left: tuple[LeftMessage, ...] = ()
    defer_error: CbrSyncError | None = None
    is_given_up: bool = False

    @property
    def is_unfinished(self) -> bool:
        """Whether a later delivery of the message may do what is left."""
        return self.defer_error is not None or isinstance(self.error, RetryableError) or bool(self.unfinished)

    @property
    def unfinished(self) -> list[SyncOutcome]:
        """The outcomes of which a later delivery of the message may make something better."""
        if self.is_given_up:
            return []
        statuses = {Status.UNFINISHED, Status.ALREADY_RUNNING} if self.defer_error else {Status.UNFINISHED}
        return [outcome for outcome in self.outcomes if outcome.status in statuses]

    @property
    def repeated(self) -> list[SyncOutcome]:
        """The outcomes that are handed on once more: they are logged, and sent to no sink again."""
        if self.handed_on is None:
            return []
        return [outcome for outcome in self.outcomes if outcome.status is Status.DEFERRED]

    @property
    def is_handed_back(self) -> bool:
        """Whether a queue has to keep the message: it is unfinished, or it cannot be served as it is."""
        return self.error is not None or self.is_unfinished or not self.is_served


class RunResult:
    """What became of all messages of one event.

    Attributes:
        messages: One result for each, in their order.
    """

    def __init__(self, messages: list[MessageResult] | None = None) -> None:
        self.messages = [] if messages is None else messages

    @property
    def outcomes(self) -> list[SyncOutcome]:
        """Every outcome, in the order in which the vaults were asked for."""
        return [outcome for message in self.messages for outcome in message.outcomes]

    @property
    def emitted_outcomes(self) -> list[SyncOutcome]:
        """Those that sinks get: all but what is handed on once more."""
        return [
            outcome
            for message in self.messages
            for outcome in message.outcomes
            if not (message.handed_on and outcome.status is Status.DEFERRED)
        ]

    @property
    def reports(self) -> list[Report]:
        """Every report."""
        return [message.report for message in self.messages if message.report]

    @property
    def follows(self) -> list[FollowResult]:
        """What happened in the intervals of all ticks."""
        return [message.follow for message in self.messages if message.follow]

    @property
    def is_idle(self) -> bool:
        """Whether there are only ticks, and nothing happened in their intervals."""
        return bool(self.messages) and all(
            message.follow and message.follow.is_idle for message in self.messages
        )

    def judge(self, error: BaseException | None) -> Ending:
        """Return how the run went, for whoever watches its schedule.

        Args:
            error: What the run raised, if it did.
        """
        bad = any(outcome.status in _BAD for outcome in self.outcomes)
        not_fresh = any(report.not_fresh for report in self.reports)
        if self.rejected or bad or not_fresh or (error and not isinstance(error, RetryableError)):
            return Ending.PROBLEMS
        left = self.errors or any(outcome.status is Status.UNFINISHED for outcome in self.outcomes)
        return Ending.UNFINISHED if left or error else Ending.OK

    @property
    def errors(self) -> list[tuple[Trigger, EventError | ApiError]]:
        """The triggers that could not be served as a whole, with the reason."""
        return [(message.trigger, message.error) for message in self.messages if message.error]

    @property
    def defer_errors(self) -> list[CbrSyncError]:
        """Why something could not be handed on."""
        return [message.defer_error for message in self.messages if message.defer_error]

    @property
    def rejected(self) -> list[tuple[Trigger, EventError | ApiError]]:
        """Those of them that no later delivery can serve either."""
        return [(trigger, error) for trigger, error in self.errors if not isinstance(error, RetryableError)]
