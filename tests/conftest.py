"""Fixtures that several test modules share."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import is_hypothesis_test, settings

import bundle
from support.builders import Lines
from support.shipped import build_once, install
from support.world import World

# How long an example takes depends on who else uses the machine; what has to be fast has a test of its own.
settings.register_profile("any-machine", parent=settings(), deadline=None)
settings.load_profile("any-machine")

# What builds, installs or browses.
SLOW_FIXTURES = {"zips", "deployed", "chromium"}


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark a test that needs a slow fixture as slow."""
    if SLOW_FIXTURES.intersection(getattr(item, "fixturenames", ())):
        item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test with random input without tracing it for coverage.

    What it covers differs from run to run, and to trace it takes as long as to run it. The mark for that,
    no_cover, has no effect in the workers of pytest-xdist: there pytest-cov starts twice and pauses once.
    """
    if not is_hypothesis_test(getattr(item, "obj", None)):
        return (yield)
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracer)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the machine decides what a test sees."""
    for name in os.environ:
        ours = ("AWS_", "CBR_SYNC_", "CLOUD_SDK_", "HUAWEICLOUD_", "POWERTOOLS_", "RUNTIME_")
        if name.startswith(ours) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def world() -> World:
    """A fresh world."""
    return World()


@pytest.fixture
def log_lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    """What was logged since the last call, without metrics and the line that ends a scheduled run."""

    def read() -> list[dict[str, Any]]:
        lines = (json.loads(line) for line in capsys.readouterr().out.splitlines())
        return [
            line
            for line in lines
            if "_aws" not in line and not line["message"].startswith("cbr-sync.scheduled.")
        ]

    return read


@pytest.fixture(scope="session")
def zips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with every zip, built as ``make build`` builds it."""
    return build_once(tmp_path_factory, "dist", bundle.write_zips)


@pytest.fixture(scope="session")
def runtime_python() -> str:
    """An interpreter of the version that both platforms run."""
    python = bundle.find_python()
    if python is None:
        pytest.skip(f"no Python {bundle.RUNTIME} here to run what is shipped")
    return python


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what src/requirements.txt names, and nothing else."""
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    return build_once(
        tmp_path_factory, "deployed", lambda folder: install(folder, bundle.REQUIREMENTS, python=running)
    )
