"""What is emitted, and where to: the log always, and every sink that is configured.

Source of the envelope: CloudEvents 1.0.2, JSON event format.
"""

from __future__ import annotations

import json
import logging
import sys
import uuid
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from cbr_sync.errors import SinkError
from cbr_sync.models import Status, SyncOutcome, rfc3339
from cbr_sync.settings import service_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from aws_lambda_powertools import Logger

    from cbr_sync.models import Trigger
    from cbr_sync.retry import Retry

CloudEvent = dict[str, Any]

REJECTED = "cbr-sync.trigger.rejected.v1"
_TROUBLE = (Status.FAILED, Status.UNFINISHED, Status.TIMED_OUT, Status.PARTIAL)


class Sink(Protocol):
    """Takes CloudEvents until a deadline, a reading of the retry's clock in seconds."""

    def emit(self, events: Sequence[CloudEvent], until: float) -> None:
        """Hand over all of them.

        Raises:
            SinkError: some were not taken.
        """


def outcome_event(outcome: SyncOutcome, source: str) -> CloudEvent:
    """The outcome as a CloudEvent whose id is the same whenever the same outcome is emitted again."""
    data = outcome.model_dump(mode="json")
    error = outcome.error.code if outcome.error else None
    identity = [data["trigger"], outcome.vault_id, outcome.status, outcome.operation_log_id, error]
    kind = f"cbr-sync.checkpoint.sync.{outcome.status}.v1"
    return {**_envelope(kind, source, identity, data["started_at"], data), "subject": outcome.vault_id}


def rejected_event(trigger: Trigger, why: str, source: str, now: datetime) -> CloudEvent:
    """A CloudEvent that tells of an event which could not be read: what was wrong, never its payload."""
    told = trigger.model_dump(mode="json")
    data = {"kind": told["kind"], "id": told["id"], "error": why}
    return _envelope(REJECTED, source, [told, why], rfc3339(now), data)


def _envelope(kind: str, source: str, identity: list[Any], time: str, data: Any) -> CloudEvent:
    name = json.dumps([source, *identity], sort_keys=True)
    return {
        "specversion": "1.0",
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
        "source": source,
        "type": kind,
        "time": time,
        "datacontenttype": "application/json",
        "data": data,
    }


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
            data = event["data"]
            rejected = event["type"] == REJECTED
            write = self._logger.warning if rejected or data["status"] in _TROUBLE else self._logger.info
            keys = {"trigger_id": data["id"]} if rejected else _log_keys(data)
            write(event["type"], extra={"outcome": event, **keys})


def _log_keys(outcome: Mapping[str, Any]) -> dict[str, Any]:
    keys = {name: outcome[name] for name in ("vault_id", "operation_log_id")}
    return {"trigger_id": outcome["trigger"]["id"], **keys}


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
