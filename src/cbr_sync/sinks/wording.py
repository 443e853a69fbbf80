"""The facts that people are told, and how every language shows names, errors and times."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

    from cbr_sync.follow import Edge, EndedSync
    from cbr_sync.models import Status, SyncOutcome, Trigger
    from cbr_sync.reports.models import Report

MAX_NAME_LENGTH = 40
MAX_CODE_LENGTH = 60
MAX_DETAIL_LENGTH = 160
# Control characters, and those that turn the direction of a line or break it.
_UNSHOWABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]+"
)
_JOINER = "\u200d"
# Joiners, skin tones, tags of flags, and the later letters of a decomposed Korean syllable.
_EXTENDS = re.compile(r"[\u200d\u1160-\u11ff\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]")


class Facts(NamedTuple):
    """What people are told of one run.

    Attributes:
        at: When the run ended.
        run_id: The platform's id of the invocation.
        source: The CloudEvents source.
        service: Who speaks.
        run: All outcomes of the run.
        rejections: How many triggers of the run could not be read.
        outcomes: The outcomes that are told of, the worst first.
        rejected: The triggers that could not be read, and why.
        reports: The reports.
        ended: The operations that have ended, the worst first.
        edges: The lines that were crossed.
        held_back: How many runs before this one had something to say, and did not say it.
    """

    at: datetime
    run_id: str = ""
    source: str = ""
    service: str = "cbr-sync"
    run: tuple[SyncOutcome, ...] = ()
    rejections: int = 0
    outcomes: tuple[SyncOutcome, ...] = ()
    rejected: tuple[tuple[Trigger, str], ...] = ()
    reports: tuple[Report, ...] = ()
    ended: tuple[EndedSync, ...] = ()
    edges: tuple[Edge, ...] = ()
    held_back: int = 0

    @property
    def counts(self) -> Counter[Status]:
        """How many syncs of the run there are of each status."""
        return Counter(outcome.status for outcome in self.run)

    @property
    def operation_id(self) -> str:
        """The operation that it is about; empty where that is no operation, or where there are several."""
        ids = {one.log.id for one in self.ended} | {edge.sync.id for edge in self.edges}
        return ids.pop() if len(ids) == 1 else ""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to say."""
        return not (self.outcomes or self.rejected or self.reports or self.ended or self.edges)


class Section(NamedTuple):
    """One thing that a message says, in one language.

    Attributes:
        subject: The state, of how many, and where.
        lead: A whole sentence: what, and since when.
        rows: What it is about, the worst first.
        advice: What to do.
        sms: All of it in a line.
        is_good: Whether it is good news, which come last.
    """

    subject: str
    lead: str
    rows: tuple[str, ...]
    advice: str
    sms: str
    is_good: bool = False


def clean(text: str) -> str:
    """Return a name or an error on one line, without what cannot be shown."""
    return " ".join(_UNSHOWABLE.sub(" ", text).split())


def clean_error(code: str, message: str, colon: str) -> str:
    """Return an error as it is shown: without the full stop that a sentence around it has of its own."""
    return cut(clean(f"{code}{colon}{message}").rstrip(".。"), MAX_DETAIL_LENGTH)


def clean_code(code: str) -> str:
    """Return an error's code as it is shown: cleaned, and cut."""
    return cut(clean(code), MAX_CODE_LENGTH)


def clean_name(name: str) -> str:
    """Return a vault's name as it is shown: cleaned, and cut."""
    return cut(clean(name), MAX_NAME_LENGTH)


def cut(text: str, length: int, *, encoding: str = "") -> str:
    """Return the text in so many characters at most, never with half of what is shown as one.

    What is left out is replaced by an ellipsis: one character, or three dots in a text of ASCII alone.

    Args:
        text: The text.
        length: The most characters; the most bytes, with an encoding.
        encoding: Measure the text in this encoding.
    """

    def measure(part: str) -> int:
        return len(part.encode(encoding)) if encoding else len(part)

    if measure(text) <= length:
        return text
    ellipsis = "..." if text.isascii() else "…"
    end = min(len(text), length)
    while end and (measure(text[:end] + ellipsis) > length or not _is_boundary(text, end)):
        end -= 1
    return text[:end].rstrip() + ellipsis


def _is_boundary(text: str, index: int) -> bool:
    """Return whether a text may be cut before a character: not if it is shown as one with that before it.

    Source: Unicode Standard Annex 29, the rules GB6 to GB13 for the scripts and emoji that names have.
    """
    if index == len(text):
        return True
    before, after = text[index - 1], text[index]
    if _is_flag_letter(after):
        start = index
        while start and _is_flag_letter(text[start - 1]):
            start -= 1
        return (index - start) % 2 == 0
    is_mark = unicodedata.category(after).startswith("M") or _EXTENDS.match(after) is not None
    return not is_mark and before != _JOINER


def _is_flag_letter(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def build_runbook_link(anchor: str = "runbook") -> str:
    """Return where the documentation says what to do; every link to it is made here."""
    return f"README.md#{anchor}"
