"""What the commands print: bars on a terminal, plain text elsewhere."""

from __future__ import annotations

import re
from io import StringIO

import pytest
from rich.console import Console

from cbr_sync.cli.console import MAX_BARS, LiveProgress
from cbr_sync.models import Status
from cbr_sync.simulator.cloud import Simulator
from cbr_sync.sync import Progress
from support.cli import run_cli
from support.world import FILE, VMWARE


@pytest.mark.parametrize("words", [["report"], ["vaults"], ["doctor"], ["sync", VMWARE]])
def test_output_is_plain_text_without_a_terminal(cloud: Simulator, words: list[str]) -> None:
    """No colour, no bars, no cursor moved."""
    result = run_cli(*words)
    assert "\x1b" not in result.output
    assert len(cloud.requests) > 0


def draw(*progress: Progress, wait: bool = False, terminal: bool = True) -> str:
    """Return what a terminal gets while these come in."""
    out = StringIO()
    screen = Console(file=out, force_terminal=terminal, width=80, height=30, color_system=None)
    with LiveProgress(screen, wait=wait) as live:
        for one in progress:
            live.update(one)
    return out.getvalue()


def test_each_running_vault_has_a_bar() -> None:
    """With the progress that the log reports, and the state it is in."""
    text = draw(Progress(VMWARE, "sending"), Progress(VMWARE, "running", 40), Progress(FILE, "succeeded"))
    assert re.search(rf"{VMWARE} .+  40% running", text)
    assert re.search(rf"{FILE} .+ 100% succeeded", text)


def test_an_accepted_sync_is_at_its_end_unless_it_is_followed() -> None:
    """Then it has only begun."""
    accepted = Progress(VMWARE, Status.ACCEPTED)
    assert "100% accepted" in draw(accepted)
    assert "  0% accepted" in draw(accepted, wait=True)


def test_many_vaults_share_a_bar() -> None:
    """All of their own would not fit on a terminal."""
    vaults = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(30)]
    text = draw(*(Progress(vault, Status.ACCEPTED) for vault in vaults))
    assert "30 of 30 vaults" in text
    assert MAX_BARS == 20
    assert vaults[19] in text
    assert vaults[20] not in text


def test_no_bars_without_a_terminal() -> None:
    """A log file is no terminal."""
    assert draw(Progress(VMWARE, "running", 40), terminal=False).strip() == ""
