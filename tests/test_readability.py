"""The figures of ``benchmarks/readability.py``: counted as its description says, and still to be had."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import bundle

SCRIPT = bundle.ROOT / "benchmarks" / "readability.py"
SAMPLE = '''
import functools


class Vault:
    def __init__(self):
        self.parts = [_join(self)]

    @property
    def size(self):
        return 1

    @functools.cached_property
    def age(self):
        return 2

    def getName(self):
        """Return the name.

        The docstring is no part of the body.
        """

    def _unusual(self):
        return self._unusual


def _join(vault):
    first = 1

    # Comments and blank lines count.
    return first


def _read_twice():
    _read_twice()
    _read_twice()


def zzz():
    def inner(x):
        return x or x or x or x or x or x

    return inner


def decide(x, rows):
    if x and rows:
        return [row for row in rows if row]
    elif x:
        return 1 if rows else 2
    for row in rows:
        try:
            while row:
                pass
        except ValueError:
            pass
    match x:
        case 1:
            return 1
        case _:
            return 2


def test_nothing():
    pass
'''


def measure(*arguments: str) -> dict[str, str]:
    """Return the figures that the script prints, by their titles."""
    command = [sys.executable, str(SCRIPT), *arguments]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(re.split(r"  +", line) for line in printed.splitlines())


def test_each_figure_is_counted_as_described(tmp_path: Path) -> None:
    """Each function of the sample shows one rule."""
    (tmp_path / "sample.py").write_text(SAMPLE, encoding="utf-8")
    assert measure(str(tmp_path)) == {
        "functions": "11",
        "body lines, median": "1",
        "body lines, 90th percentile": "4",
        "verb-first names": "57 % (4 of 7)",
        "complexity over 10": "1",
        "private helpers used once": "2",
        "... of 3 body lines or less": "1",
        "unknown first words": "3",
    }


def test_a_timer_event_is_traced_through_our_own_code() -> None:
    """The entry point still takes what the script gives it."""
    figures = measure("--trace")
    assert {title for title in figures if title.startswith("changes of file")} == {
        "changes of file, timer event of long ago",
        "changes of file, timer event of now",
    }
    assert all(int(figures[title]) > 10 for title in figures if title.startswith("changes of file"))
