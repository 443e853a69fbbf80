"""Fixtures of the simulator's tests."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from support.simulator_client import make_client
from support.world import World


@pytest.fixture
def client(world: World) -> Iterator[httpx.Client]:
    """A client of the world's simulator."""
    with make_client(world.simulator, world) as client:
        yield client
