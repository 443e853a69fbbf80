"""What a sink is, how every sink gets its share of the time, and the error about what was not accepted."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from cbr_sync.errors import CbrSyncError, SinkError
from cbr_sync.threads import call_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from aws_lambda_powertools import Logger

    from cbr_sync.clock import Clock
    from cbr_sync.sinks.messages import CloudEvent
    from cbr_sync.sinks.people import PeopleMessage

T = TypeVar("T")
# More reasons than these are counted only.
_MAX_REASONS = 3


class Sink(Protocol):
    """Accepts CloudEvents, for machines."""

    def emit(self, events: Sequence[CloudEvent], deadline: float) -> None:
        """Send all events.

        Args:
            events: In the order in which they are to arrive.
            deadline: Reading of the clock, in seconds; nothing is sent after it.

        Raises:
            SinkError: Some were not accepted.
        """


class PeopleSink(Protocol):
    """Accepts one message for people."""

    def publish(self, message: PeopleMessage, deadline: float) -> None:
        """Send the message.

        Args:
            message: What to say, in every form that it is sent in.
            deadline: Reading of the clock, in seconds; nothing is sent after it.

        Raises:
            SinkError: It was not accepted.
        """


def split_batches(
    rows: Sequence[T], get_size: Callable[[T], int], *, max_rows: int, max_bytes: int
) -> Iterator[list[T]]:
    """Yield the rows in order, in batches that fit into one request each.

    Args:
        rows: All of them.
        get_size: Returns the bytes that a row takes.
        max_rows: How many rows fit into a request.
        max_bytes: How many bytes fit into a request; a single row that is larger goes alone.
    """
    batch: list[T] = []
    left = max_bytes
    for row in rows:
        size = get_size(row)
        if batch and (len(batch) == max_rows or size > left):
            yield batch
            batch, left = [], max_bytes
        batch.append(row)
        left -= size
    if batch:
        yield batch


class Refusals:
    """What a service did not accept, as one short error, however many events that are.

    Every word of a service on its way into a log or an error of ours passes through here: without keys and
    signatures that it may have echoed, and cut.
    """

    def __init__(self, redact: Callable[[str], str], noun: str = "message") -> None:
        """Start with none.

        Args:
            redact: Makes a service's words fit to be shown.
            noun: What the service calls one of what it is sent.
        """
        self._redact = redact
        self._noun = noun
        self._counts: Counter[str] = Counter()

    def add(self, count: int, reason: object) -> None:
        """Count what was not accepted for a reason, an error or the service's own words."""
        self._counts[self._redact(str(reason))] += count

    def raise_if_any(self) -> None:
        """Raise the error, unless everything was accepted.

        Raises:
            SinkError: Names the most frequent reasons, and how often each was given.
        """
        if not self._counts:
            return
        common = self._counts.most_common(_MAX_REASONS)
        lines = [f"{self._format_count(count)} not accepted: {reason}" for reason, count in common]
        if left := self._counts.total() - sum(count for _, count in common):
            lines.append(f"{self._format_count(left)} not accepted for other reasons")
        raise SinkError("; ".join(lines))

    def _format_count(self, count: int) -> str:
        return f"{count} {self._noun}{'' if count == 1 else 's'}"


def emit_to_all(
    emitters: Iterable[tuple[str, Callable[[float], None]]], *, deadline: float, clock: Clock, logger: Logger
) -> None:
    """Let every sink emit, each in its share of the time, whatever becomes of the others.

    Args:
        emitters: The name of each sink, and what emits to it until a deadline.
        deadline: Reading of *clock*, in seconds. Time that one sink leaves is shared by those after it.
        clock: The instance's clock.
        logger: Gets the traceback of an unexpected error.

    Raises:
        SinkError: Names each sink that did not accept everything, after all were tried.
    """
    waiting = list(emitters)
    failures: list[str] = []
    while waiting:
        end = clock.monotonic() + clock.remaining_seconds(deadline) / len(waiting)
        name, emit = waiting.pop(0)
        try:
            call_until(end, partial(emit, end), clock=clock)
        except CbrSyncError as error:
            failures.append(f"{name}: {error}")
        except Exception as error:  # the others still have to get theirs
            logger.exception("unexpected sink error", extra={"sink": name})
            failures.append(f"{name}: {type(error).__name__}")
    if failures:
        raise SinkError("; ".join(failures))
