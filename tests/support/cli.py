"""The command line, run in this process."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from cbr_sync.cli.main import app
from support.sample_events import EVENTS

TIMER = str(EVENTS / "functiongraph-timer.json")
REST = str(EVENTS / "aws-webhook-rest-v1.json")


def run_cli(*words: str, stdin: str | None = None, **environ: str) -> Result:
    """Run the command with these words; nothing but its exit may get out of it.

    Args:
        words: The command line, without ``cbr-sync``.
        stdin: What the command reads from stdin.
        environ: Environment variables to set for this run.
    """
    result = CliRunner(env=environ).invoke(app, list(words), input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result
