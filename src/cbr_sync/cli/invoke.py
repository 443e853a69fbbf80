"""The command ``invoke``: run one event through the handler."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cbr_sync.cli import console
from cbr_sync.cli.options import (
    AsJson,
    Simulate,
    build_result_json,
    choose_exit_code,
    fail_usage,
    open_environ,
    read_input,
    read_webhook_secret,
)
from cbr_sync.local import guess_platform, invoke, sign_event
from cbr_sync.triggers.base import Platform

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cbr_sync.local import InvokeResult


def invoke_event(
    event: Annotated[Path, typer.Argument(metavar="FILE", help="JSON file with the event; - reads stdin.")],
    platform: Annotated[
        Platform | None,
        typer.Option(help="Entry point to use; if not given, the prefix of the file name decides."),
    ] = None,
    simulate: Simulate = False,
    as_json: AsJson = False,
) -> None:
    """Run one event through the handler that the cloud calls. The log goes to stderr.

    Webhooks are signed afresh with CBR_SYNC_WEBHOOK_SECRET, because a stored signature has expired.

    Example: cbr-sync invoke events/functiongraph-timer.json --simulate
    """
    content = _read_event(event)
    with open_environ(simulate=simulate) as environ:
        result = invoke(_sign_webhook(content, environ), platform or guess_platform(event), environ)
    if as_json:
        console.print_json(build_result_json(result))
    else:
        _show_result(result)
    raise typer.Exit(choose_exit_code(result))


def _read_event(path: Path) -> object:
    name, text = read_input(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        fail_usage(f"{name} is not valid JSON: {error}")


def _sign_webhook(event: object, environ: Mapping[str, str]) -> object:
    if not environ.get("CBR_SYNC_WEBHOOK_SECRET"):
        return event
    return sign_event(event, read_webhook_secret(environ), now=time.time())


def _show_result(result: InvokeResult) -> None:
    console.show_outcomes(result.outcomes)
    typer.echo(f"{result.kind}: {result.answer}")
    console.show_error(result)
    if result.error is None and not result.outcomes:
        console.print_json(result.reply)
