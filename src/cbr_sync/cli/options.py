"""What all commands share: their options, the environment they run in, how they end."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from cbr_sync.app import utc_now
from cbr_sync.cli.console import print_json
from cbr_sync.errors import CbrSyncError, SettingsError
from cbr_sync.local import simulator_environ
from cbr_sync.models import WENT_WRONG, Status
from cbr_sync.settings import KEY_NAMES, PREFIX
from cbr_sync.simulator.models import DEFAULT_VAULTS
from cbr_sync.simulator.scenarios import demo_simulator
from cbr_sync.simulator.server import SimulatorServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cbr_sync.local import InvokeResult


FAILED, USAGE = 1, 2


INTERRUPTED = 130  # what shells give for SIGINT


_BAD = WENT_WRONG | {Status.UNFINISHED}


_REFUSED = 400


_OURS = (PREFIX, "HUAWEICLOUD_SDK_", "CLOUD_SDK_")


EXTENSION_PORT = "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT"


Simulate = Annotated[
    bool, typer.Option("--simulate", help="Against a simulator made for this run; no cloud account.")
]


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")]


@contextmanager
def open_environ(*, simulate: bool) -> Iterator[dict[str, str]]:
    """The variables that a function would have; those of the simulator alone know of no sink and no check."""
    if simulate:
        others = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
        with SimulatorServer(demo_simulator(utc_now)) as server:
            yield others | simulator_environ(server.url, DEFAULT_VAULTS[0].id)
        return
    environ = dict(os.environ)
    if any(environ.get(ak) and environ.get(sk) for ak, sk in KEY_NAMES) and EXTENSION_PORT not in environ:
        # Its extension is Lambda's; the keys at hand go first there too.
        environ.pop("CBR_SYNC_SECRET_ID", None)
    yield environ


@contextmanager
def report_errors(*, as_json: bool) -> Iterator[None]:
    """An error of ours ends the command with a line; wrong settings are the user's to mend."""
    try:
        yield
    except CbrSyncError as error:
        if as_json:
            print_json(_error_as_json(error))
        fail(str(error), USAGE if isinstance(error, SettingsError) else FAILED)


def build_json(played: InvokeResult) -> dict[str, Any]:
    """The reply, or the error by its name with what was known all the same."""
    if played.error is None:
        return played.reply or {}
    return {**_error_as_json(played.error), "outcomes": played.outcomes}


def _error_as_json(error: CbrSyncError) -> dict[str, Any]:
    return {"error": type(error).__name__, "message": str(error)}


def choose_exit_code(played: InvokeResult) -> int:
    """0 where all is well, 2 where the settings are wrong, else 1."""
    if isinstance(played.error, SettingsError):
        return USAGE
    status = (played.reply or {}).get("statusCode", 200)
    bad = any(outcome["status"] in _BAD for outcome in played.outcomes)
    return FAILED if played.error or status >= _REFUSED or bad else 0


def show_error(played: InvokeResult) -> None:
    """Why a run failed, if it did, on stderr."""
    if played.error is not None:
        typer.echo(f"cbr-sync: {played.error}", err=True)


def fail_usage(message: str) -> NoReturn:
    """End the command: it was called in a wrong way."""
    fail(message, USAGE)


def fail(message: str, code: int = FAILED) -> NoReturn:
    """End the command with a line on stderr."""
    typer.echo(f"cbr-sync: {message}", err=True)
    raise typer.Exit(code)
