"""What one check found."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    """How it is with one thing; ``skipped`` is what another finding kept from being looked at."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


class Finding(NamedTuple):
    """One thing looked at: what was found, and what to do where it is not well.

    ``of_settings`` tells that it is the settings that are wrong or missing.
    """

    subject: str
    verdict: Verdict
    found: str
    remedy: str = ""
    of_settings: bool = False
