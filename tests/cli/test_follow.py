"""The command ``follow``."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from cbr_sync.cli import follow as command
from cbr_sync.cli.options import drop_destinations
from cbr_sync.clock import Clock
from cbr_sync.simulator.cloud import Simulator
from support.cli import run_cli
from support.world import FILE, VMWARE


def start_ended(cloud: Simulator, vault_id: str, **change: object) -> None:
    """A sync that ended in the middle of the last interval of 60 minutes."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    at = hour - timedelta(minutes=40)
    cloud.start_operation(vault_id, at=at, seconds=60, **change)  # type: ignore[arg-type]


def test_what_has_ended_is_shown_once(cloud: Simulator) -> None:
    """A line each, with the vault's name, and why it failed."""
    start_ended(cloud, VMWARE)
    start_ended(cloud, FILE, ends="failed", error=("BackupService.1006", "a copy could not be imported"))
    result = run_cli("follow", "--once", "--every-minutes", "60")
    lines = sorted(line.split("UTC", 1)[1].strip() for line in result.stdout.splitlines())
    assert result.exit_code == 0
    assert [line.split("  began")[0] for line in lines] == [
        "failed  vault-file-01",
        "succeeded  vault-vmware-01",
    ]
    assert lines[0].endswith("BackupService.1006: a copy could not be imported")


def test_the_events_themselves_are_printed_as_json(cloud: Simulator) -> None:
    """As they would be emitted."""
    start_ended(cloud, VMWARE)
    result = run_cli("follow", "--once", "--every-minutes", "60", "--json", "--name", "vault-vmware-01")
    event = json.loads(result.stdout)
    assert (event["type"], event["subject"]) == ("cbr-sync.operation.succeeded.v1", VMWARE)


def test_nothing_to_report_is_said(cloud: Simulator) -> None:
    """With the interval that was looked at."""
    result = run_cli("follow", "--once")
    assert result.stdout.startswith("nothing to report from ")
    assert len(cloud.requests) == 1


def test_another_period_is_a_usage_error(cloud: Simulator) -> None:
    """Before anything is asked."""
    result = run_cli("follow", "--every-minutes", "7")
    assert result.exit_code == 2
    assert "--every-minutes 7: expected one of 1, 2, 3" in result.stderr
    assert cloud.requests == []


def test_looking_sends_nothing_and_pings_nobody() -> None:
    """Whatever the settings of the deployed function say."""
    environ = {
        "CBR_SYNC_PING_URL": "https://hc.example.com/x",
        "CBR_SYNC_SQS_QUEUE_URL": "q",
        "CBR_SYNC_SMN_TOPIC_URN": "t",
        "CBR_SYNC_EVENTGRID_CHANNEL_ID": "c",
        "CBR_SYNC_REGION": "cn-north-4",
    }
    assert drop_destinations(environ) == {"CBR_SYNC_REGION": "cn-north-4"}


class StepClock(Clock):
    """A clock of which each wait ends at once, and the last with Ctrl-C."""

    def __init__(self, waits: int) -> None:
        super().__init__()
        self._left = waits
        self._ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self._ahead

    def sleep(self, seconds: float) -> None:
        self._left -= 1
        if not self._left:
            raise KeyboardInterrupt
        self._ahead += timedelta(seconds=seconds)


def test_one_interval_is_looked_at_after_the_other_until_ctrl_c(
    cloud: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a gap, and an interval that could not be read is read again."""
    clock = StepClock(4)
    monkeypatch.setattr(command, "Clock", lambda: clock)
    slots: list[datetime] = []
    tick = command._tick  # noqa: SLF001 - what is asked for each time

    def keep(payload: dict[str, object], time: datetime, environ: dict[str, str]) -> object:
        slots.append(time)
        return tick(payload, time, environ)

    monkeypatch.setattr(command, "_tick", keep)
    cloud.add_faults("403*1", "ListOpLogs")
    result = run_cli("follow", "--every-minutes", "10")
    assert result.exit_code == 130
    assert "Looking every 10 minutes" in result.stderr
    first, again, *later = slots
    assert first == again
    assert later == [first + timedelta(minutes=10), first + timedelta(minutes=20)]
