"""The command ``invoke``: one event through the handler, on a simulator."""

from __future__ import annotations

import json
import re

import pytest

from support.cli import REST, TIMER, run_cli
from support.world import VMWARE


def test_an_event_runs_on_a_simulator() -> None:
    """One command, no account: the vault, its status and its operation."""
    result = run_cli("invoke", TIMER, "--simulate")
    assert result.exit_code == 0
    assert re.search(rf"{VMWARE}  accepted\n    operation [0-9a-f-]{{36}} \(attempts: 1\)", result.stdout)
    assert "timer: returned" in result.stdout
    assert "Traceback" not in result.output


def test_a_webhook_file_is_signed_and_its_failures_are_shown() -> None:
    """The API's code and words are there, and the exit code says that not all is well."""
    result = run_cli("invoke", REST, "--simulate")
    assert result.exit_code == 1
    assert "BackupService.7300" in result.stdout
    assert "webhook: HTTP 207" in result.stdout


def test_json_is_the_reply_and_nothing_else() -> None:
    """For programs."""
    result = run_cli("invoke", TIMER, "--simulate", "--json")
    assert json.loads(result.stdout)["counts"] == {"accepted": 1}


def test_an_error_as_json_has_its_name_and_message() -> None:
    """A failure can be read by a program, too."""
    result = run_cli("invoke", "-", "--simulate", "--json", stdin='{"vault": 1}')
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"] == "EventError"


def test_the_reply_to_a_refused_webhook_is_shown() -> None:
    """It cannot be signed, so it goes to the handler as it is."""
    result = run_cli("invoke", "-", "--simulate", stdin='{"httpMethod": "GET"}')
    assert result.exit_code == 1
    assert "webhook: HTTP 405" in result.stdout
    assert "only POST is served here" in result.stdout


def test_wrong_settings_are_listed_without_a_traceback() -> None:
    """Exit code 2, each mistake on its line."""
    result = run_cli("invoke", REST)
    assert result.exit_code == 1  # a webhook's sender gets a reply, whatever the settings are
    result = run_cli("invoke", TIMER)
    assert result.exit_code == 2
    assert "CBR_SYNC_REGION: not set" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("words", "stdin", "message"),
    [
        (["no-such-file.json"], None, "cannot read no-such-file.json: No such file"),
        (["-"], "{", "stdin is not valid JSON"),
        ([TIMER, "--platform", "gcp"], None, "'gcp' is not one of"),
    ],
)
def test_a_mistake_is_a_line_on_stderr(words: list[str], stdin: str | None, message: str) -> None:
    """Exit code 2, no traceback."""
    result = run_cli("invoke", *words, stdin=stdin)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output
