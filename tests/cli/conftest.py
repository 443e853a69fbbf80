"""Fixtures of the command line's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cbr_sync.clock import Clock
from cbr_sync.local import simulator_environ
from cbr_sync.simulator.cloud import Simulator
from cbr_sync.simulator.scenarios import demo_simulator
from cbr_sync.simulator.server import SimulatorServer
from support.world import VMWARE


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A simulator that the environment points to, as `cbr-sync simulate` makes it."""
    simulator = demo_simulator(Clock().now, operation_seconds=0)
    with SimulatorServer(simulator) as server:
        for name, value in simulator_environ(server.url, VMWARE).items():
            monkeypatch.setenv(name, value)
        yield simulator
