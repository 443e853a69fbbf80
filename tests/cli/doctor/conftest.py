"""Fixtures of the doctor's tests."""

from __future__ import annotations

import pytest

from support.doctor import CheckedCloud
from support.world import World


@pytest.fixture
def checked(world: World) -> CheckedCloud:
    """A cloud in which all is well."""
    return CheckedCloud(world)
