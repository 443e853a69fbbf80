"""The command ``doctor``: check everything that a sync needs."""

from __future__ import annotations

import typer
from rich.table import Table
from rich.text import Text

from cbr_sync.cli import console
from cbr_sync.cli.doctor.examine import examine
from cbr_sync.cli.doctor.finding import Finding, Verdict
from cbr_sync.cli.options import AsJson, ExitCode, Simulate, open_environ

_VERDICTS = {
    Verdict.OK: Text("ok     ", style="green"),
    Verdict.WARNING: Text("warning", style="yellow"),
    Verdict.FAILED: Text("FAILED ", style="bold red"),
    Verdict.SKIPPED: Text("skipped", style="dim"),
}


def run_doctor(simulate: Simulate = False, as_json: AsJson = False) -> None:
    """Check everything that a sync needs, and say how to fix what is wrong. Changes nothing.

    Exits with 2 if a setting is wrong, and with 1 if another check fails.

    Example: cbr-sync doctor
    """
    findings = []
    with open_environ(simulate=simulate) as environ:
        for finding in examine(environ):
            findings.append(finding)
            if not as_json:
                _show_finding(finding)
    if as_json:
        console.print_json([finding._asdict() for finding in findings])
    if any(finding.of_settings for finding in findings):
        raise typer.Exit(ExitCode.USAGE)
    if any(finding.verdict is Verdict.FAILED for finding in findings):
        raise typer.Exit(ExitCode.FAILED)


def _show_finding(finding: Finding) -> None:
    """Show a finding of the doctor, with its remedy on the next line."""
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_row(_VERDICTS[finding.verdict], Text.assemble((finding.subject, "bold"), f": {finding.found}"))
    if finding.remedy:
        row.add_row("", Text(f"> {finding.remedy}"))
    console.make_console().print(row)
