"""The command ``replay`` with a file; the queue is in test_dead_letters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cbr_sync.local import simulator_environ
from support.cli import run_cli
from support.world import VMWARE

QUEUE_URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/dead"


def test_the_events_of_a_file_are_replayed(tmp_path: Path) -> None:
    """Each is shown as it goes, then how many were served; one that was not makes the exit code."""
    path = tmp_path / "events.jsonl"
    path.write_text(f'{{"vault_id": "{VMWARE}"}}\n{{"vault_id": "tape-7"}}\n', encoding="utf-8")
    result = run_cli("replay", str(path), "--simulate")
    assert result.exit_code == 1
    assert f"{path}, line 1: direct: served\n{VMWARE}  accepted" in result.stdout
    assert f"{path}, line 2: direct: not served: EventError" in result.stdout
    assert "vault_id: found a string of 6 characters" in result.stderr
    assert result.stdout.endswith("1 of 2 events served\n")
    events = json.loads(run_cli("replay", str(path), "--simulate", "--json").stdout)
    assert [(event["event"], event["served"], event.get("error")) for event in events] == [
        (f"{path}, line 1", True, None),
        (f"{path}, line 2", False, "EventError"),
    ]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no-such-file", "cannot read no-such-file: No such file"),
        (QUEUE_URL, "AWS_ACCESS_KEY_ID: not set"),
        ("http://example.com/123456789012/dead", "the queue: found"),
    ],
)
def test_a_source_that_cannot_be_read_is_a_line_on_stderr(
    monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    """A file, keys or a URL that is wrong."""
    for name, value in simulator_environ("http://127.0.0.1:9", VMWARE).items():
        monkeypatch.setenv(name, value)
    result = run_cli("replay", source)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_file_without_events_is_a_mistake(tmp_path: Path) -> None:
    """A wrong file is not taken for one whose events were all served."""
    path = tmp_path / "events.json"
    path.write_text("[]", encoding="utf-8")
    result = run_cli("replay", str(path), "--simulate")
    assert result.exit_code == 2
    assert f"cbr-sync: {path} holds no event" in result.stderr


def test_a_real_queue_is_not_simulated() -> None:
    """Its events would be deleted, and nothing synced."""
    result = run_cli("replay", QUEUE_URL, "--simulate")
    assert result.exit_code == 2
    assert "--simulate takes a FILE only: events of a real queue would be deleted" in result.stderr
