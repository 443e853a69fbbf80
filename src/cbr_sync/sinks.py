"""Where to what is emitted goes: the log always, and every sink that is configured."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING, Any, Protocol, TextIO, TypeVar

from cbr_sync.cloud_events import is_trouble
from cbr_sync.errors import SinkError
from cbr_sync.settings import service_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from aws_lambda_powertools import Logger

    from cbr_sync.cloud_events import CloudEvent
    from cbr_sync.retry import Retry

T = TypeVar("T")


class Sink(Protocol):
    """Takes CloudEvents until a deadline, a reading of the retry's clock in seconds."""

    def emit(self, events: Sequence[CloudEvent], until: float) -> None:
        """Hand over all of them.

        Raises:
            SinkError: some were not taken.
        """


class _Stdout(logging.StreamHandler[TextIO]):
    """Writes to stdout as it is at that moment; a handler keeps the one it was made with otherwise."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stdout
        super().emit(record)


def _line(record: dict[str, Any]) -> str:
    """One line of JSON; what UTF-8 cannot hold (a lone surrogate) becomes its JSON escape."""
    line = json.dumps(record, ensure_ascii=False, separators=(",", ":"), default=str)
    return line.encode(errors="backslashreplace").decode()


def make_logger(environ: Mapping[str, str]) -> Logger:
    """The Powertools Logger; its own variables (POWERTOOLS_LOG_LEVEL ...) mean what they always mean."""
    # Here, not above: the models and events of this module are of use without Powertools.
    from aws_lambda_powertools import Logger  # noqa: PLC0415

    service = service_name(environ)
    standard = logging.getLogger(service)
    standard.propagate = False  # the platform's root handler would print it twice
    # httpx tells every URL at INFO.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    handler = standard.handlers[0] if standard.handlers else _Stdout()
    return Logger(service=service, logger_handler=handler, json_serializer=_line, utc=True, location=None)


class LogSink:
    """One JSON line on stdout for each event, under the key ``outcome``; trouble at level WARNING.

    ``trigger_id``, ``vault_id`` and ``operation_log_id`` stand beside it, to search the log by.
    """

    def __init__(self, logger: Logger) -> None:
        self._logger = logger

    def emit(self, events: Sequence[CloudEvent], until: float) -> None:
        """Write the lines; ``until`` does not matter to a log."""
        del until
        for event in events:
            write = self._logger.warning if is_trouble(event) else self._logger.info
            write(event["type"], extra={"outcome": event, **_log_keys(event["data"])})


def _log_keys(data: Mapping[str, Any]) -> dict[str, Any]:
    keys = {name: data[name] for name in ("vault_id", "operation_log_id") if name in data}
    trigger_id = data["trigger"]["id"] if "trigger" in data else data.get("id")
    return keys | ({"trigger_id": trigger_id} if trigger_id else {})


def batches(
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


def emit_all(
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
        share = retry.left_seconds(until) / len(waiting)
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
