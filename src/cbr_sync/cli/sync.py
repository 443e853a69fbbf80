"""The command ``sync``: start a sync of each vault."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cbr_sync.cli import console
from cbr_sync.cli.options import (
    TIMEOUT_SECONDS,
    AsJson,
    Simulate,
    build_result_json,
    choose_exit_code,
    exit_on_error,
    fail,
    fail_usage,
    invoke_quietly,
    open_environ,
    open_run,
)
from cbr_sync.models import Kind, Status, Trigger, parse_vault_id
from cbr_sync.settings import HYBRID, Settings
from cbr_sync.triggers.base import Message

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cbr_sync.local import InvokeResult

# The most that the settings allow: whoever waits can stop waiting at any time.
WAIT_SECONDS = 86_400


def sync_vaults(
    vault_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Vaults to sync; if none are given, those in CBR_SYNC_VAULTS."),
    ] = None,
    hybrid: Annotated[bool, typer.Option("--hybrid", help="Sync every hybrid vault.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until each sync has ended.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the requests instead of sending them.")
    ] = False,
    simulate: Simulate = False,
    as_json: AsJson = False,
) -> None:
    """Start a sync of each vault and show the results.

    Exits with 1 if a sync failed or may have to be repeated.

    Example: cbr-sync sync --hybrid --wait
    """
    with open_environ(simulate=simulate) as environ, exit_on_error(as_json=as_json):
        payload = _build_payload(vault_ids or [], environ, hybrid=hybrid)
        if dry_run:
            _show_requests(_build_requests(payload, environ), as_json=as_json)
            return
        result = _run_sync(payload, environ, wait=wait)
    if as_json:
        console.print_json(build_result_json(result))
    else:
        console.show_outcomes(result.outcomes)
        console.show_error(result)
    if wait and any(outcome.status is Status.ACCEPTED for outcome in result.outcomes):
        fail("could not follow every sync to its end; run `cbr-sync report` later to see how they ended")
    raise typer.Exit(choose_exit_code(result))


def _run_sync(payload: dict[str, Any], environ: dict[str, str], *, wait: bool) -> InvokeResult:
    if wait:
        environ = {**environ, "CBR_SYNC_WAIT_SECONDS": str(WAIT_SECONDS)}
    with console.LiveProgress(console.make_console(stderr=True), wait=wait) as progress:
        return invoke_quietly(
            payload,
            environ,
            timeout_seconds=TIMEOUT_SECONDS + (WAIT_SECONDS if wait else 0),
            on_progress=progress.update,
        )


def _build_payload(vault_ids: list[str], environ: Mapping[str, str], *, hybrid: bool) -> dict[str, Any]:
    """Build the payload that an event would have to ask for the same."""
    if vault_ids and hybrid:
        fail_usage("give vault IDs or --hybrid, not both")
    if not vault_ids and not hybrid:
        vault_ids = [*Settings.load(environ).vaults]
    if not vault_ids and not hybrid:
        fail_usage("no vault given; give vault IDs, use --hybrid for all of them, or set CBR_SYNC_VAULTS")
    if hybrid or HYBRID in vault_ids:
        return {"vaults": {}}
    for text in vault_ids:
        try:
            parse_vault_id(text)
        except ValueError:
            fail_usage(f"{text!r} is not a vault ID (expected a UUID); `cbr-sync vaults` lists them")
    return {"vault_ids": vault_ids}


def _build_requests(payload: dict[str, Any], environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """Build the request that a sync would send for each vault, or say why there is none (``skipped``)."""
    with open_run(environ) as run:
        requests: list[dict[str, Any]] = []
        for task in run.plan_syncs(Message(Trigger(kind=Kind.DIRECT, id=run.request_id), payload)):
            shown: dict[str, Any] = {"vault_id": task.param.vault_id}
            if task.unavailable:
                requests.append({**shown, "skipped": task.unavailable})
            else:
                url, body = run.services.cbr.build_import_checkpoint(task.param)
                requests.append({**shown, "method": "POST", "url": url, "body": body})
        return requests


def _show_requests(requests: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        console.print_json(requests)
        return
    for request in requests:
        if "skipped" in request:
            typer.echo(f"skipped: {request['skipped']}")
        else:
            typer.echo(f"{request['method']} {request['url']}\n    {json.dumps(request['body'])}")
    typer.echo("Nothing was sent.")
