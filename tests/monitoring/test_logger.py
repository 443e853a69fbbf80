"""The logger, and the variables of Powertools: whatever they hold, nothing raises and no line is lost."""

from __future__ import annotations

import io
import itertools
import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator

import pytest

from cbr_sync.monitoring.logger import (
    find_unreadable,
    make_logger,
    read_log_level,
    read_sample_rate,
    read_service_name,
    read_switch,
)
from cbr_sync.monitoring.metrics import RunMetrics
from support.imports import SRC

NAMES = [
    *("POWERTOOLS_LOG_LEVEL", "LOG_LEVEL", "AWS_LAMBDA_LOG_LEVEL", "POWERTOOLS_METRICS_DISABLED"),
    *("POWERTOOLS_METRICS_NAMESPACE", "POWERTOOLS_SERVICE_NAME", "POWERTOOLS_LOGGER_SAMPLE_RATE"),
    *("POWERTOOLS_LOGGER_LOG_EVENT", "POWERTOOLS_DEV", "POWERTOOLS_DEBUG"),
    *("POWERTOOLS_LOG_DEDUPLICATION_DISABLED", "AWS_REGION"),
]
ODD = [
    "",
    " ",
    "trace",
    "maybe",
    "2",
    "-1",
    "1e999",
    "nan",
    "\u957f",
    "a\nb",
    "\udcff",
    "true",
    "x" * 300,
    "0",
]
COUNTER = itertools.count()


@pytest.fixture
def service() -> Iterator[str]:
    """A service of its own for each test: Powertools sets up each logger once in a process."""
    name = f"service-{next(COUNTER)}"
    yield name
    logging.getLogger(name).handlers.clear()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ODD)
def test_no_value_of_a_log_variable_raises_or_loses_a_line(
    name: str, value: str, service: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither in the environment that is handed on, nor in the one that Powertools reads by itself."""
    environ = {"POWERTOOLS_SERVICE_NAME": service, name: value}
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", service)
    monkeypatch.setenv(name, value)
    before = dict(os.environ)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="POWERTOOLS_DEV environment variable is enabled")
        make_logger(environ).error("said")
        RunMetrics(environ, cold=True).flush(1.5)
    assert dict(os.environ) == before
    line, *metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert line["message"] == "said"
    is_disabled = value == "true" and name in ("POWERTOOLS_METRICS_DISABLED", "POWERTOOLS_DEV")
    assert len(metrics) == (0 if is_disabled else 1)


@pytest.mark.parametrize(
    "name", ["POWERTOOLS_DEBUG", "POWERTOOLS_DEV", "POWERTOOLS_LOG_DEDUPLICATION_DISABLED"]
)
@pytest.mark.parametrize("value", ["", "maybe"])
def test_no_value_of_a_switch_of_powertools_breaks_the_import(name: str, value: str) -> None:
    """Which reads it on its way."""
    code = (
        "import cbr_sync.aws_lambda as a; from cbr_sync.local import LocalLambdaContext as C\n"
        "from cbr_sync.errors import SettingsError\n"
        "try: a.handler({}, C())\n"
        "except SettingsError: print('a mistake by name')"
    )
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SRC), name: value}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "a mistake by name"


TEXTS = ["存储库", "é \U0001f600 \udcff", "plain"]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8", "gb18030", "utf-16-le"])
def test_no_encoding_of_stdout_loses_the_line_of_an_outcome(encoding: str) -> None:
    """A real process; what the encoding cannot hold is escaped, and nothing goes to stderr."""
    code = (
        "import sys; from cbr_sync.monitoring.logger import make_logger\n"
        f"for text in {TEXTS!r}: make_logger({{}}).info('said', extra={{'outcome': text}})"
    )
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SRC), "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], env=environ, check=True, capture_output=True)
    lines = done.stdout.decode(encoding).splitlines()
    assert [json.loads(line)["outcome"] for line in lines] == TEXTS
    assert done.stderr == b""


class PickyStream(io.StringIO):
    """A stream of somebody's own, without an encoding, that takes nothing but ASCII."""

    def write(self, text: str) -> int:
        text.encode("ascii")
        return super().write(text)


def test_a_stream_that_raises_gets_the_line_escaped(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, and the next ones as well."""
    stream = PickyStream()
    monkeypatch.setattr("sys.stdout", stream)
    logger = make_logger({"POWERTOOLS_SERVICE_NAME": service})
    for text in TEXTS:
        logger.info("said", extra={"outcome": text})
    assert [json.loads(line)["outcome"] for line in stream.getvalue().splitlines()] == TEXTS


class BrokenStream(io.StringIO):
    """A full disk."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device", text)


def test_a_stream_that_takes_nothing_stops_no_run(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with every handler of the standard library, it is said on stderr."""
    said = io.StringIO()
    monkeypatch.setattr("sys.stdout", BrokenStream())
    monkeypatch.setattr("sys.stderr", said)
    make_logger({"POWERTOOLS_SERVICE_NAME": service}).info("said")
    assert "No space left on device" in said.getvalue()


@pytest.mark.parametrize(
    ("environ", "level"),
    [
        ({}, "INFO"),
        ({"LOG_LEVEL": "error"}, "ERROR"),
        ({"LOG_LEVEL": "trace"}, "DEBUG"),
        ({"LOG_LEVEL": "loud"}, "INFO"),
        ({"LOG_LEVEL": "error", "POWERTOOLS_LOG_LEVEL": " Warning "}, "WARNING"),
        ({"LOG_LEVEL": "error", "POWERTOOLS_LOG_LEVEL": "loud"}, "ERROR"),
        ({"LOG_LEVEL": "error", "AWS_LAMBDA_LOG_LEVEL": "WARN"}, "WARNING"),
        ({"POWERTOOLS_LOG_LEVEL": "DEBUG", "AWS_LAMBDA_LOG_LEVEL": "FATAL"}, "CRITICAL"),
    ],
)
def test_the_level_is_what_the_first_readable_variable_says(
    environ: dict[str, str], level: str, service: str
) -> None:
    """Lambda's own goes first, then Powertools', then everybody's; a logger made again has the new one."""
    assert read_log_level(environ) == level
    for first in ({}, environ):
        make_logger({**first, "POWERTOOLS_SERVICE_NAME": service})
    assert logging.getLevelName(logging.getLogger(service).level) == level


@pytest.mark.parametrize(
    ("text", "rate"), [("", None), ("0.5", 0.5), ("1", 1), ("0", 0), ("2", None), ("-1", None), ("nan", None)]
)
def test_a_sample_rate_is_a_share(text: str, rate: float | None, service: str) -> None:
    """Of the instances that log everything."""
    environ = {"POWERTOOLS_LOGGER_SAMPLE_RATE": text, "POWERTOOLS_SERVICE_NAME": service}
    assert read_sample_rate(environ) == rate
    if rate in (0, 1, None):
        make_logger(environ)
        assert logging.getLogger(service).level == (logging.DEBUG if rate == 1 else logging.INFO)


@pytest.mark.parametrize(
    ("text", "is_on"),
    [("", False), ("maybe", False), ("TRUE", True), ("on", True), (" y ", True), ("0", False)],
)
def test_a_switch_is_off_where_it_cannot_be_read(text: str, is_on: bool) -> None:
    """As where it is not set."""
    assert read_switch("POWERTOOLS_METRICS_DISABLED", {"POWERTOOLS_METRICS_DISABLED": text}) is is_on


@pytest.mark.parametrize("name", ["root", "aws_lambda_powertools"])
def test_a_service_may_have_the_name_of_another_logger(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whose handlers would write its lines in their own way, or nowhere."""
    standard = logging.getLogger(name)
    before = standard.handlers, standard.level, standard.propagate
    try:
        make_logger({"POWERTOOLS_SERVICE_NAME": name}).info("said")
        assert json.loads(capsys.readouterr().out)["message"] == "said"
    finally:
        standard.handlers, _, standard.propagate = before
        standard.setLevel(before[1])


def test_without_a_name_the_service_is_cbr_sync() -> None:
    """Blanks are no name."""
    assert read_service_name({}) == read_service_name({"POWERTOOLS_SERVICE_NAME": " "}) == "cbr-sync"
    assert read_service_name({"POWERTOOLS_SERVICE_NAME": " nightly "}) == "nightly"


def test_what_cannot_be_read_is_named() -> None:
    """For the doctor: nothing else says so."""
    environ = {
        "LOG_LEVEL": "loud",
        "POWERTOOLS_LOG_LEVEL": "INFO",
        "AWS_LAMBDA_LOG_LEVEL": "TRACE",
        "POWERTOOLS_DEV": "maybe",
        "POWERTOOLS_METRICS_DISABLED": "",
        "POWERTOOLS_LOGGER_SAMPLE_RATE": "often",
    }
    assert [str(mistake) for mistake in find_unreadable(environ)] == [
        "LOG_LEVEL: found a string of 4 characters, expected DEBUG, INFO, WARNING, ERROR or CRITICAL",
        "POWERTOOLS_DEV: found a string of 5 characters, expected true or false",
        "POWERTOOLS_LOGGER_SAMPLE_RATE: found a string of 5 characters, expected a number from 0 to 1",
    ]
    assert list(find_unreadable({})) == []
