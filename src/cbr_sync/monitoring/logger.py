"""The structured logger on stdout."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING, Any, TextIO

from cbr_sync.settings import service_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_lambda_powertools import Logger


class _CurrentStdout(logging.StreamHandler[TextIO]):
    """Writes to stdout as it is at that moment; a handler keeps the one it was made with otherwise."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stdout
        super().emit(record)


def _serialize_line(record: dict[str, Any]) -> str:
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
    handler = standard.handlers[0] if standard.handlers else _CurrentStdout()
    return Logger(
        service=service, logger_handler=handler, json_serializer=_serialize_line, utc=True, location=None
    )
