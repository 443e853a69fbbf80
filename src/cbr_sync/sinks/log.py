"""The log as a sink."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cbr_sync.sinks.messages import is_trouble

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aws_lambda_powertools import Logger

    from cbr_sync.sinks.messages import CloudEvent


class LogSink:
    """Writes one JSON line for each event of a run, under the key ``outcome``; trouble at level WARNING.

    ``trigger_id``, ``vault_id`` and ``operation_log_id`` stand beside it, to search the log by.
    """

    def __init__(self, logger: Logger) -> None:
        """Write with this logger."""
        self._logger = logger
        self._written: set[str] = set()

    def emit(self, events: Sequence[CloudEvent], deadline: float) -> None:
        """Write the events that were not written before; the deadline does not matter to a log."""
        del deadline
        for event in events:
            if event["id"] not in self._written:
                self._written.add(event["id"])
                write = self._logger.warning if is_trouble(event) else self._logger.info
                write(event["type"], extra={"outcome": event, **_find_search_keys(event["data"])})


def _find_search_keys(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a log is searched by; a rejected event has its trigger's id as its own."""
    keys = {name: data[name] for name in ("vault_id", "operation_log_id") if name in data}
    trigger_id = data["trigger"]["id"] if "trigger" in data else data.get("id")
    return keys | ({"trigger_id": trigger_id} if trigger_id else {})
