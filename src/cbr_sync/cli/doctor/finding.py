"""What one check found."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    """How one thing stands; what another finding kept from being checked is ``skipped``."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


class Finding(NamedTuple):
    """The result of one check.

    Attributes:
        subject: What was checked.
        verdict: How it stands.
        found: What was found.
        remedy: What to do about it; empty where nothing has to be done.
        of_settings: Whether it is a setting that is wrong or missing.
    """

    subject: str
    verdict: Verdict
    found: str
    remedy: str = ""
    of_settings: bool = False
