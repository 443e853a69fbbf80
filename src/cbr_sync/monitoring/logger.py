"""The structured logger on stdout, and the variables of AWS Lambda Powertools.

Powertools reads ``os.environ`` by itself, at its import and later, and raises where it cannot read a value.
It is handed what was read here instead, and kept from the rest: a log level is no reason to sync nothing.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from cbr_sync.errors import SettingMistake
from cbr_sync.validation import describe_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aws_lambda_powertools import Logger

SERVICE = "cbr-sync"
_LEVEL = "INFO"
# Python's names, and those that only Lambda has.
_LEVELS = {
    **{name: name for name in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")},
    "TRACE": "DEBUG",
    "WARN": "WARNING",
    "FATAL": "CRITICAL",
}
# Lambda's own comes first, as in Powertools.
_LEVEL_NAMES = ("AWS_LAMBDA_LOG_LEVEL", "POWERTOOLS_LOG_LEVEL", "LOG_LEVEL")
_SAMPLE_RATE_NAME = "POWERTOOLS_LOGGER_SAMPLE_RATE"
_SWITCH_NAMES = ("POWERTOOLS_DEBUG", "POWERTOOLS_DEV", "POWERTOOLS_METRICS_DISABLED")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_DEDUPLICATION_NAME = "POWERTOOLS_LOG_DEDUPLICATION_DISABLED"
# Source: aws_lambda_powertools 3.37, shared/functions.py, strtobool.
_SWITCHES = {
    **dict.fromkeys(("1", "y", "yes", "t", "true", "on"), True),
    **dict.fromkeys(("0", "n", "no", "f", "false", "off"), False),
}


class _StdoutHandler(logging.StreamHandler[TextIO]):
    """Writes to stdout as it is at that moment; a line that its encoding cannot hold is escaped."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stdout  # it may have been replaced since this handler was made
        try:
            line = self.format(record) + self.terminator
            try:
                self.stream.write(line)
            except UnicodeError:
                # In JSON, these characters stand inside of strings.
                self.stream.write(_NOT_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], line))
            self.flush()
        except Exception:  # noqa: BLE001 - as in StreamHandler: no line is worth a run
            self.handleError(record)


def _serialize_record(record: dict[str, Any]) -> str:
    """Return one line of JSON; what UTF-8 cannot hold (a lone surrogate) becomes its JSON escape."""
    line = json.dumps(record, ensure_ascii=False, separators=(",", ":"), default=str)
    return line.encode(errors="backslashreplace").decode()


def read_service_name(environ: Mapping[str, str]) -> str:
    """Return the service that log lines and metrics name."""
    return environ.get("POWERTOOLS_SERVICE_NAME", "").strip() or SERVICE


def read_log_level(environ: Mapping[str, str]) -> str:
    """Return the level that the first readable variable names, else INFO."""
    levels = (_LEVELS.get(environ.get(name, "").strip().upper()) for name in _LEVEL_NAMES)
    return next(filter(None, levels), _LEVEL)


def read_switch(name: str, environ: Mapping[str, str]) -> bool:
    """Return whether a variable is switched on; what cannot be read is not."""
    return _SWITCHES.get(environ.get(name, "").strip().lower(), False)


def read_sample_rate(environ: Mapping[str, str]) -> float | None:
    """Return the share of instances that log at DEBUG, from 0 to 1; None where it is unset or unreadable."""
    try:
        rate = float(environ.get(_SAMPLE_RATE_NAME, ""))
    except ValueError:
        return None
    return rate if 0 <= rate <= 1 else None


def find_unreadable(environ: Mapping[str, str]) -> Iterator[SettingMistake]:
    """Yield a mistake for each variable of logs and metrics that cannot be read; its default is used."""
    given = {name: value.strip() for name, value in environ.items() if value}
    for name in _LEVEL_NAMES:
        if name in given and given[name].upper() not in _LEVELS:
            expected = "DEBUG, INFO, WARNING, ERROR or CRITICAL"
            yield SettingMistake(name, f"found {describe_value(given[name])}", expected=expected)
    for name in _SWITCH_NAMES:
        if name in given and given[name].lower() not in _SWITCHES:
            yield SettingMistake(name, f"found {describe_value(given[name])}", expected="true or false")
    if _SAMPLE_RATE_NAME in given and read_sample_rate(environ) is None:
        found = f"found {describe_value(given[_SAMPLE_RATE_NAME])}"
        yield SettingMistake(_SAMPLE_RATE_NAME, found, expected="a number from 0 to 1")


def import_powertools() -> None:
    """Import Powertools, whatever its own variables hold."""
    with _hide_from_powertools():
        import aws_lambda_powertools  # noqa: F401, PLC0415 - on FunctionGraph by the first event


def make_logger(environ: Mapping[str, str]) -> Logger:
    """Make the logger of the service that *environ* names; its level and its sampling are decided anew.

    Args:
        environ: The function's environment; the variables of Powertools mean in it what they always mean.

    Returns:
        A logger that writes each record as one line of JSON to stdout.
    """
    import_powertools()
    # Here, not above: the models and events of this module are of use without Powertools.
    from aws_lambda_powertools import Logger  # noqa: PLC0415

    service = read_service_name(environ)
    standard = logging.getLogger(service)
    standard.propagate = False  # the platform's root handler would print it twice
    # A library's logger may have the service's name; its handlers would write the lines in their own way.
    ours = [handler for handler in standard.handlers if isinstance(handler, _StdoutHandler)]
    standard.handlers = [*ours] or [_StdoutHandler()]
    # httpx logs every URL at INFO.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with _hide_from_powertools():
        logger = Logger(
            service=service,
            level=read_log_level(environ),
            sampling_rate=read_sample_rate(environ),
            logger_handler=standard.handlers[0],
            json_serializer=_serialize_record,
            utc=True,
            location=None,
        )
    if ours:
        # Powertools leaves a logger that it has set up before as it is.
        logger.refresh_sample_rate_calculation()
    return logger


@contextmanager
def _hide_from_powertools() -> Iterator[None]:
    """Keep from Powertools, for a while, what it gets from us and what it cannot read."""
    unreadable = (name for name in _SWITCH_NAMES if os.environ.get(name, "").lower() not in _SWITCHES)
    names = (*_LEVEL_NAMES, _SAMPLE_RATE_NAME, _DEDUPLICATION_NAME, *unreadable)
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    # Our records reach no other handler; where the service is named "root", that filter would drop them all.
    os.environ[_DEDUPLICATION_NAME] = "true"
    try:
        yield
    finally:
        del os.environ[_DEDUPLICATION_NAME]
        os.environ.update(hidden)
