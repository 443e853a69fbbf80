"""The commands of whoever runs backups: sync, vaults, report, doctor."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cbr_sync import events
from cbr_sync.app import App, Seams
from cbr_sync.cli import console, html_report
from cbr_sync.cli.doctor.examine import examine
from cbr_sync.cli.doctor.finding import Verdict
from cbr_sync.cli.options import (
    FAILED,
    USAGE,
    AsJson,
    Simulate,
    build_json,
    choose_exit_code,
    fail,
    fail_usage,
    open_environ,
    report_errors,
    show_error,
)
from cbr_sync.credentials import PlatformValues
from cbr_sync.local import Platform, play
from cbr_sync.models import Kind, Status, SyncParam, VaultSelector, vault_id
from cbr_sync.monitoring.logger import make_logger
from cbr_sync.reports.models import MAX_AGE_HOURS, MAX_HOURS, Report
from cbr_sync.settings import HYBRID, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cbr_sync.app import Session
    from cbr_sync.local import InvokeResult

RUN_SECONDS = 900.0
# The most that the settings allow: whoever waits can stop waiting at any time.
WAIT_SECONDS = 86_400
HISTORY_HOURS = 14 * 24

Name = Annotated[str | None, typer.Option(help="Only the vault of this name.")]
ObjectType = Annotated[str | None, typer.Option(help="Only vaults of this type: vmware or file.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="Only vaults with this tag, KEY=VALUE.")]


def sync(
    vault_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="The vaults; those in CBR_SYNC_VAULTS where none is named."),
    ] = None,
    hybrid: Annotated[bool, typer.Option("--hybrid", help="Every hybrid vault.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Follow each sync to its end.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be sent; nothing is started.")
    ] = False,
    simulate: Simulate = False,
    as_json: AsJson = False,
) -> None:
    """Start a sync of each vault, and show what came of it.

    Exits with 1 if a sync failed, or may have to be repeated.

    Example: cbr-sync sync --hybrid --wait
    """
    with open_environ(simulate=simulate) as environ, report_errors(as_json=as_json):
        payload = _payload(vault_ids or [], environ, hybrid=hybrid)
        if dry_run:
            _show_requests(_requests(payload, environ), as_json=as_json)
            return
        if wait:
            environ["CBR_SYNC_WAIT_SECONDS"] = str(WAIT_SECONDS)
        seconds = RUN_SECONDS + (WAIT_SECONDS if wait else 0)
        with console.LiveProgress(console.make_console(stderr=True), following=wait) as progress:
            seams = Seams(watch=progress.watch)
            played = _play(payload, environ, seconds, seams)
    if as_json:
        console.print_json(build_json(played))
    else:
        console.show_outcomes(played.outcomes)
        show_error(played)
    if wait and any(outcome["status"] == Status.ACCEPTED for outcome in played.outcomes):
        fail("not all of them could be followed to their end; `cbr-sync report` tells what came of them")
    raise typer.Exit(choose_exit_code(played))


def vaults(
    name: Name = None,
    object_type: ObjectType = None,
    tag: Tags = None,
    simulate: Simulate = False,
    as_json: AsJson = False,
) -> None:
    """List the hybrid vaults, with the ids that everything else asks for.

    Example: cbr-sync vaults --object-type vmware --tag env=prod
    """
    with (
        open_environ(simulate=simulate) as environ,
        report_errors(as_json=as_json),
        _session(environ) as session,
    ):
        found = session.discover(VaultSelector.model_validate(_selector(name, object_type, tag)))
    if as_json:
        console.print_json([vault.model_dump(mode="json") for vault in found])
    else:
        console.show_vaults(found)


def report(
    max_age_hours: Annotated[
        float,
        typer.Option(
            help="From how many hours after its last success on a vault is stale.", min=0.01, max=MAX_HOURS
        ),
    ] = MAX_AGE_HOURS,
    name: Name = None,
    object_type: ObjectType = None,
    tag: Tags = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page to look at, and print the sums only.")
    ] = None,
    simulate: Simulate = False,
    as_json: AsJson = False,
) -> None:
    """Show how each hybrid vault stands: fresh, stale, failing, never synced, or unknown.

    It asks CBR alone, so it sees every sync, whoever started it. Exits with 1 if a vault is not fresh.

    Example: cbr-sync report --html report.html
    """
    asked = {"max_age_hours": max_age_hours, "history_hours": HISTORY_HOURS if html else 0}
    payload = {"report": asked, "vaults": _selector(name, object_type, tag)}
    with open_environ(simulate=simulate) as environ:
        played = _play(payload, environ, RUN_SECONDS)
    if not played.reports:
        if as_json:
            console.print_json(build_json(played))
        show_error(played)
        raise typer.Exit(choose_exit_code(played))
    (found,) = played.reports
    told = Report.model_validate(found)
    if html:
        scope = " and ".join(f"{key} {value}" for key, value in payload["vaults"].items())
        _write(html, html_report.render_page(told, scope))
    if as_json:
        console.print_json(found)
    elif html:
        console.show_sums(told)
        console.make_console().print(f"The page is in {html}", soft_wrap=True, markup=False)
    else:
        console.show_report(told)
    show_error(played)
    raise typer.Exit(FAILED if told.not_fresh else choose_exit_code(played))


def doctor(simulate: Simulate = False, as_json: AsJson = False) -> None:
    """Look at everything that a sync needs, and say what to do where it is missing. It changes nothing.

    Exits with 2 if settings are wrong, with 1 if something else is.

    Example: cbr-sync doctor
    """
    findings = []
    with open_environ(simulate=simulate) as environ:
        for finding in examine(environ):
            findings.append(finding)
            if not as_json:
                console.show_finding(finding)
    if as_json:
        console.print_json([finding._asdict() for finding in findings])
    failed = any(finding.verdict is Verdict.FAILED for finding in findings)
    raise typer.Exit(USAGE if any(finding.of_settings for finding in findings) else FAILED if failed else 0)


def _play(
    payload: dict[str, Any], environ: Mapping[str, str], seconds: float, seams: Seams | None = None
) -> InvokeResult:
    """What comes of this payload in the function itself; what its log would tell is shown by the command."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        return play(payload, Platform.AWS, environ, seams=seams, timeout_seconds=seconds, log=nowhere)


@contextmanager
def _session(environ: Mapping[str, str]) -> Iterator[Session]:
    app = App(Settings.load(environ), environ, make_logger(environ))
    try:
        yield app.session(PlatformValues, RUN_SECONDS)
    finally:
        app.close()


def _payload(vault_ids: list[str], environ: Mapping[str, str], *, hybrid: bool) -> dict[str, Any]:
    """What a sync asks for, as any event would."""
    if vault_ids and hybrid:
        fail_usage("name vaults or say --hybrid, not both")
    if not vault_ids and not hybrid:
        vault_ids = [*Settings.load(environ).vaults]
    if not vault_ids and not hybrid:
        fail_usage("name vaults, or say --hybrid for all of them, or set CBR_SYNC_VAULTS")
    if hybrid or HYBRID in vault_ids:
        return {"vaults": {}}
    for one in vault_ids:
        _check_id(one)
    return {"vault_ids": vault_ids}


def _check_id(text: str) -> None:
    try:
        vault_id(text)
    except ValueError:
        fail_usage(f"{text!r} is no vault id (a UUID); `cbr-sync vaults` lists them")


def _selector(name: str | None, object_type: str | None, tags: list[str] | None) -> dict[str, Any]:
    given = {"name": name, "object_type": object_type, "tags": dict(map(_tag, tags or []))}
    return {key: value for key, value in given.items() if value}


def _tag(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        fail_usage(f"--tag {text}: expected KEY=VALUE")
    return key, value


def _requests(payload: dict[str, Any], environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """What a sync would send, a request a vault; ``skipped`` says why there is none for a vault."""
    with _session(environ) as session:
        settings = Settings.load(environ)
        message = events.Message(events.unnamed_trigger(Kind.DIRECT, "dry-run"), payload)
        asked = events.asked(message, default_vaults=(), allowed_vaults=settings.allowed_vaults)
        if asked.selector is None:
            return [_request(session, param) for param in asked.params]
        found = session.discover(asked.selector)
        planned = session.plan(found, message.trigger, auto_trigger=asked.auto_trigger)
        return [
            {"vault_id": param.vault_id, "skipped": outcome.error.message}
            if outcome and outcome.error
            else _request(session, param)
            for param, outcome in planned
        ]


def _request(session: Session, param: SyncParam) -> dict[str, Any]:
    url, body = session.cbr.import_checkpoint_request(param)
    return {"vault_id": param.vault_id, "method": "POST", "url": url, "body": body}


def _show_requests(requests: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        console.print_json(requests)
        return
    for request in requests:
        if "skipped" in request:
            typer.echo(f"nothing: {request['skipped']}")
        else:
            typer.echo(f"{request['method']} {request['url']}\n    {json.dumps(request['body'])}")
    typer.echo("Nothing was sent.")


def _write(path: Path, page_text: str) -> None:
    try:
        path.write_text(page_text, encoding="utf-8")
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}")
