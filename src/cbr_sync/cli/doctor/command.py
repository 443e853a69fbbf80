"""The command ``doctor``: check everything that a sync needs."""

from __future__ import annotations

import typer

from cbr_sync.cli import console
from cbr_sync.cli.doctor.examine import examine
from cbr_sync.cli.doctor.finding import Verdict
from cbr_sync.cli.options import AsJson, ExitCode, Simulate, open_environ


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
                console.show_finding(finding)
    if as_json:
        console.print_json([finding._asdict() for finding in findings])
    if any(finding.of_settings for finding in findings):
        raise typer.Exit(ExitCode.USAGE)
    if any(finding.verdict is Verdict.FAILED for finding in findings):
        raise typer.Exit(ExitCode.FAILED)
