"""What the commands share: options, the environment they run in, how they read input and how they exit."""

from __future__ import annotations

import os
import sys
from contextlib import closing, contextmanager
from enum import IntEnum
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from cbr_sync.app import App
from cbr_sync.cli.console import print_json
from cbr_sync.clock import Clock
from cbr_sync.credentials import PlatformValues
from cbr_sync.errors import CbrSyncError, SettingsError
from cbr_sync.local import invoke, simulator_environ
from cbr_sync.models import WENT_WRONG, Status
from cbr_sync.monitoring.logger import make_logger
from cbr_sync.run import Context, Run
from cbr_sync.settings import KEY_NAMES, PREFIX, Settings, parse_webhook_secret
from cbr_sync.simulator.models import DEFAULT_VAULTS
from cbr_sync.simulator.scenarios import demo_simulator
from cbr_sync.simulator.server import SimulatorServer
from cbr_sync.sinks.registry import ALL_SINKS
from cbr_sync.triggers.base import Platform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cbr_sync.local import InvokeResult
    from cbr_sync.sync import Progress

# As long as a Lambda function can run.
TIMEOUT_SECONDS = 900.0

_FAILED_STATUSES = WENT_WRONG | {Status.UNFINISHED}
_SETTING_PREFIXES = (PREFIX, "HUAWEICLOUD_SDK_", "CLOUD_SDK_")
# One vault already syncs when a simulation starts; whoever waits for it is not kept for long.
_SIMULATED_RUNNING_SECONDS = 20.0

Simulate = Annotated[
    bool, typer.Option("--simulate", help="Run against a local simulator; no cloud account needed.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON only.")]
VaultName = Annotated[str | None, typer.Option("--name", help="Only the vault with this name.")]
ObjectType = Annotated[str | None, typer.Option(help="Only vaults of this type: vmware or file.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="Only vaults with this tag (KEY=VALUE).")]


class ExitCode(IntEnum):
    """How a command ends.

    Attributes:
        OK: Everything is well.
        FAILED: Something failed, or a vault is not fresh.
        USAGE: The command line or the settings are wrong.
        INTERRUPTED: Ctrl-C; the number that shells give for SIGINT.
    """

    OK = 0
    FAILED = 1
    USAGE = 2
    INTERRUPTED = 130


@contextmanager
def open_environ(*, simulate: bool) -> Iterator[dict[str, str]]:
    """Yield the environment variables that a function would have.

    Args:
        simulate: Start a simulator and point the variables to it. None of the user's own settings are kept,
            so that a simulated run reaches no sink and pings no check.
    """
    if simulate:
        others = {key: value for key, value in os.environ.items() if not key.startswith(_SETTING_PREFIXES)}
        simulator = demo_simulator(Clock().now, running_seconds=_SIMULATED_RUNNING_SECONDS)
        with SimulatorServer(simulator) as server:
            yield others | simulator_environ(server.url, DEFAULT_VAULTS[0].id)
        return
    environ = dict(os.environ)
    if (
        any(environ.get(ak) and environ.get(sk) for ak, sk in KEY_NAMES)
        and "AWS_ACCESS_KEY_ID" not in environ
    ):
        # Keys in the environment go before those of the secret, which nothing here may read.
        environ.pop("CBR_SYNC_SECRET_ID", None)
    yield environ


@contextmanager
def open_run(environ: Mapping[str, str]) -> Iterator[Run]:
    """Yield a run that looks at what an event would do, without doing it.

    Raises:
        SettingsError: The settings are wrong.
    """
    logger = make_logger(environ)
    app = App(Settings.load(environ), environ, logger)
    with closing(app):
        yield Run(Context("dry-run", TIMEOUT_SECONDS, lambda: app, PlatformValues, logger))


def invoke_quietly(
    payload: dict[str, Any],
    environ: Mapping[str, str],
    *,
    timeout_seconds: float = TIMEOUT_SECONDS,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> InvokeResult:
    """Run this payload through the Lambda handler, without its log: the command shows the result itself.

    Nothing is handed on: whoever typed the command sees what is left, and decides.

    Args:
        payload: What the event asks for.
        environ: The function's environment variables.
        timeout_seconds: When the platform would stop the run.
        on_progress: Called whenever a vault gets further.
    """
    with Path(os.devnull).open("w", encoding="utf-8") as log:
        return invoke(
            payload,
            Platform.AWS,
            {name: value for name, value in environ.items() if name != "CBR_SYNC_DEFER_TO"},
            on_progress=on_progress,
            timeout_seconds=timeout_seconds,
            log=log,
        )


def drop_destinations(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables without those that say whom to tell: looking sends nothing, and pings nobody."""
    names = {"CBR_SYNC_PING_URL", *(sink.setting for sink in ALL_SINKS)}
    return {name: value for name, value in environ.items() if name not in names}


def build_selector(name: str | None, object_type: str | None, tags: list[str] | None) -> dict[str, Any]:
    """Build the ``vaults`` part of a payload from the options of the command line."""
    given = {"name": name, "object_type": object_type, "tags": dict(map(_parse_tag, tags or []))}
    return {key: value for key, value in given.items() if value}


def _parse_tag(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        fail_usage(f"--tag {text}: expected KEY=VALUE")
    return key, value


def read_input(path: Path | str) -> tuple[str, str]:
    """Read a file, or stdin for ``-``.

    Returns:
        A name for messages, and the text.
    """
    if str(path) == "-":
        return "stdin", sys.stdin.read()
    try:
        return str(path), Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail_usage(f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}")


def read_webhook_secret(environ: Mapping[str, str]) -> bytes:
    """Read the first secret in CBR_SYNC_WEBHOOK_SECRET, the one to sign with."""
    words = environ.get("CBR_SYNC_WEBHOOK_SECRET", "").split()
    if not words:
        fail_usage("CBR_SYNC_WEBHOOK_SECRET: not set; set it to the secret to sign with (whsec_...)")
    try:
        return parse_webhook_secret(words[0])
    except ValueError:
        fail_usage("CBR_SYNC_WEBHOOK_SECRET: expected whsec_ followed by 24 to 64 bytes in base64")


def build_result_json(result: InvokeResult) -> dict[str, Any]:
    """Build what ``--json`` prints: the reply, or the error with the outcomes that are known all the same."""
    outcomes = [outcome.model_dump(mode="json") for outcome in result.outcomes]
    if result.error is not None:
        return {**_build_error_json(result.error), "outcomes": outcomes}
    reply = result.reply or {}
    return {**reply, "outcomes": outcomes} if "batchItemFailures" in reply else reply


def _build_error_json(error: CbrSyncError) -> dict[str, Any]:
    return {"error": type(error).__name__, "message": str(error)}


def choose_exit_code(result: InvokeResult) -> ExitCode:
    """Choose the exit code of a command that ran an event."""
    if isinstance(result.error, SettingsError):
        return ExitCode.USAGE
    status = (result.reply or {}).get("statusCode", HTTPStatus.OK)
    failed = any(outcome.status in _FAILED_STATUSES for outcome in result.outcomes)
    return ExitCode.FAILED if result.error or status >= HTTPStatus.BAD_REQUEST or failed else ExitCode.OK


@contextmanager
def exit_on_error(*, as_json: bool) -> Iterator[None]:
    """End the command with one line on stderr where the block raises one of our own errors.

    Args:
        as_json: Print the error as JSON, too.
    """
    try:
        yield
    except CbrSyncError as error:
        if as_json:
            print_json(_build_error_json(error))
        fail(str(error), ExitCode.USAGE if isinstance(error, SettingsError) else ExitCode.FAILED)


def fail_usage(message: str) -> NoReturn:
    """End the command with a line on stderr: it was called in a wrong way."""
    fail(message, ExitCode.USAGE)


def fail(message: str, code: ExitCode = ExitCode.FAILED) -> NoReturn:
    """End the command with a line on stderr."""
    typer.echo(f"cbr-sync: {message}", err=True)
    raise typer.Exit(code)
