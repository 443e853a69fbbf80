"""Every file in events/ is played through its door, and gives what the playbook says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cbr_sync.local import guess_platform, invoke, sign_event
from cbr_sync.models import Kind
from cbr_sync.simulator.scenarios import demo_simulator
from support.sample_events import DEFAULT_VAULTS, EVENTS, PLAYBOOK, Expected
from support.world import SECRET, World


def test_every_event_file_is_in_the_playbook() -> None:
    """A new file says what it is to give."""
    assert set(EVENTS.iterdir()) == set(PLAYBOOK)


@pytest.mark.parametrize("path", PLAYBOOK, ids=lambda path: path.stem)
def test_an_event_file_gives_what_the_playbook_says(
    world: World, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its name tells platform and kind, and every vault ends as it should."""
    world.simulator = demo_simulator(world.now)
    event = sign_event(json.loads(path.read_text(encoding="utf-8")), SECRET, now=world.now().timestamp())
    environ = {**world.environ, "CBR_SYNC_VAULTS": DEFAULT_VAULTS}
    played = invoke(event, guess_platform(path), environ, **world.options())
    emitted = [json.loads(line)["outcome"] for line in capsys.readouterr().err.splitlines()]
    assert Expected.of(played.answer, emitted) == PLAYBOOK[path]
    platform, kind = re.fullmatch(r"(aws|functiongraph)-([a-z]+)(?:-[a-z0-9-]+)?", path.stem).groups()  # type: ignore[union-attr]
    assert (guess_platform(path), played.kind) == (platform, Kind(kind))
