"""The command ``report``: show the state of each hybrid vault."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cbr_sync.cli import console, html_report
from cbr_sync.cli.options import (
    AsJson,
    ExitCode,
    ObjectType,
    Simulate,
    Tags,
    VaultName,
    build_result_json,
    build_selector,
    choose_exit_code,
    fail,
    invoke_quietly,
    open_environ,
)
from cbr_sync.reports.models import MAX_AGE_HOURS, MAX_HOURS, Report

_HISTORY_HOURS = 14 * 24


def show_report(
    max_age_hours: Annotated[
        float,
        typer.Option(
            help="A vault is stale this many hours after its last successful sync started.",
            min=0.01,
            max=MAX_HOURS,
        ),
    ] = MAX_AGE_HOURS,
    name: VaultName = None,
    object_type: ObjectType = None,
    tag: Tags = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write an HTML page, and print the totals only.")
    ] = None,
    simulate: Simulate = False,
    as_json: AsJson = False,
) -> None:
    """Show the state of each hybrid vault: fresh, stale, failing, never synced, or unknown.

    It reads from CBR only, so it covers every sync, whoever started it. Exits with 1 if a vault is not fresh.

    Example: cbr-sync report --html report.html
    """
    selector = build_selector(name, object_type, tag)
    param = {"max_age_hours": max_age_hours, "history_hours": _HISTORY_HOURS if html else 0}
    with open_environ(simulate=simulate) as environ:
        result = invoke_quietly({"report": param, "vaults": selector}, environ)
    if not result.reports:
        if as_json:
            console.print_json(build_result_json(result))
        console.show_error(result)
        raise typer.Exit(choose_exit_code(result))
    (report,) = result.reports
    if html:
        _write_page(html, report, selector)
    if as_json:
        console.print_json(report.model_dump(mode="json"))
    elif html:
        console.show_counts(report)
        console.make_console().print(f"Report written to {html}", soft_wrap=True, markup=False)
    else:
        console.show_report(report)
    console.show_error(result)
    raise typer.Exit(ExitCode.FAILED if report.not_fresh else choose_exit_code(result))


def _write_page(path: Path, report: Report, selector: dict[str, Any]) -> None:
    page = html_report.render_page(report, _describe_selector(selector))
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        fail(f"cannot write {path}: {error.strerror}")


def _describe_selector(selector: dict[str, Any]) -> str:
    """Describe which vaults were asked for; empty for all of them."""
    tags = [f"tag {key}={value}" for key, value in selector.get("tags", {}).items()]
    labels = {"name": "name", "object_type": "type"}
    return ", ".join(
        [*(f"{label} {selector[key]}" for key, label in labels.items() if key in selector), *tags]
    )
