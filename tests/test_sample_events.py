"""Every file in events/ is handled by its entry point, and gives the expected result."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cbr_sync.local import guess_platform, invoke, sign_event
from cbr_sync.models import Kind
from cbr_sync.simulator.scenarios import demo_simulator
from support.sample_events import DEFAULT_VAULTS, EVENTS, EXPECTED_RESULTS, Expected
from support.world import SECRET, World


def test_every_event_file_has_an_expected_result() -> None:
    """A new file needs one."""
    assert set(EVENTS.iterdir()) == set(EXPECTED_RESULTS)


@pytest.mark.parametrize("path", EXPECTED_RESULTS, ids=lambda path: path.stem)
def test_an_event_file_gives_the_expected_result(
    world: World, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its name says platform and kind, and every vault ends as it should."""
    world.simulator = demo_simulator(world.now)
    event = sign_event(json.loads(path.read_text(encoding="utf-8")), SECRET, now=world.now().timestamp())
    # One by one, for each outcome is logged as soon as it is known.
    environ = {**world.environ, "CBR_SYNC_VAULTS": DEFAULT_VAULTS, "CBR_SYNC_CONCURRENCY": "1"}
    result = invoke(event, guess_platform(path), environ, **world.options())
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    emitted = [line["outcome"] for line in lines if not line["message"].startswith("cbr-sync.scheduled.")]
    assert Expected.of(result.answer, emitted) == EXPECTED_RESULTS[path]
    platform, kind = re.fullmatch(r"(aws|functiongraph)-([a-z]+)(?:-[a-z0-9-]+)?", path.stem).groups()  # type: ignore[union-attr]
    assert (guess_platform(path), result.kind) == (platform, Kind(kind))
