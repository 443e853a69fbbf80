"""Where to what is emitted goes: the log always, and every sink that is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from cbr_sync.errors import SinkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from aws_lambda_powertools import Logger

    from cbr_sync.retry import Retry
    from cbr_sync.sinks.messages import CloudEvent


T = TypeVar("T")


class Sink(Protocol):
    """Takes CloudEvents until a deadline, a reading of the retry's clock in seconds."""

    def emit(self, events: Sequence[CloudEvent], until: float) -> None:
        """Hand over all of them.

        Raises:
            SinkError: some were not taken.
        """


def split_batches(
    rows: Sequence[T], size_of: Callable[[T], int], *, most: int, most_bytes: int
) -> Iterator[list[T]]:
    """The rows in order, so many at a time at most, and no more than fit into one request."""
    batch: list[T] = []
    left = most_bytes
    for row in rows:
        size = size_of(row)
        if batch and (len(batch) == most or size > left):
            yield batch
            batch, left = [], most_bytes
        batch.append(row)
        left -= size
    if batch:
        yield batch


def emit_to_all(
    sinks: Iterable[tuple[str, Callable[[], Sink]]],
    events: Sequence[CloudEvent],
    until: float,
    retry: Retry,
    logger: Logger,
) -> None:
    """Hand all events to every sink, each in its share of the time; a broken one must not silence the others.

    Raises:
        SinkError: naming each sink that did not take everything, after all were tried.
    """
    broken = []
    waiting = list(sinks)
    while waiting:
        share = retry.remaining_seconds(until) / len(waiting)
        name, make = waiting.pop(0)
        try:
            make().emit(events, retry.clock() + share)
        except SinkError as error:
            broken.append(f"{name}: {error}")
        except Exception as error:  # the others still have to get theirs
            logger.exception("a sink failed unforeseen", extra={"sink": name})
            broken.append(f"{name}: {type(error).__name__}")
    if broken:
        raise SinkError("; ".join(broken))
