"""The report as one HTML page that needs nothing else: no network, no script, in light, dark and print.

All words, places and widths are decided here; the template beside this file only puts them where they go.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cbr_sync.models import rfc3339
from cbr_sync.reports.models import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cbr_sync.models import Copies
    from cbr_sync.reports.models import Report, SyncRecord, VaultReport


TEMPLATE = "html_report.html.j2"


# So many vaults, the worst ones, have their age and their syncs drawn; those after them are told in words.
DRAWN = 200


# An age bar ends at so many times the limit; what is older is marked as over.
AGE_BAR_LIMITS = 4


# A strip has so many slots; syncs that share one are drawn as the worst of them.
_SLOTS = 96


_LABEL_STEPS_HOURS = (1, 3, 6, 12, 24, 48, 7 * 24, 14 * 24, 28 * 24, 56 * 24)


_MAX_LABELS = 8


_DAY_LINES_UP_TO = timedelta(days=31)


# In percent: where a bar shows that a sync took long, and where a label would run into the word "now".
_LONG, _NEAR_NOW = 1.0, 92.0


# What a sync is drawn as, the worst last; a word of the API for one that goes on is drawn as running.
SHAPES = ("succeeded", "skipped", "running", "partial", "timed_out", "failed")


_WORD = {State.NEVER: "Never synced"}


_NO_AGE = {State.NEVER: "No success yet", State.UNKNOWN: "No success known"}


class Moment(NamedTuple):
    """A moment in UTC, for machines and for people."""

    iso: str
    words: str


class SyncWords(NamedTuple):
    """A sync in words; ``took`` is how long it has taken so far while it goes on, empty if nobody knows."""

    sync: SyncRecord
    word: str
    began: Moment
    took: str
    copies: str


class Bar(NamedTuple):
    """An age against the limit, in percent of the bar."""

    width: float
    over: bool


class Mark(NamedTuple):
    """A sync on the time axis, in percent of it; ``width`` is 0 for one too short to see."""

    x: float
    width: float
    shape: str
    title: str


class Label(NamedTuple):
    """A word under the time axis, at so many percent of it."""

    x: float
    word: str


class Row(NamedTuple):
    """A vault; what is None is not drawn or does not exist."""

    vault: VaultReport
    age: str
    past_limit: str
    bar: Bar | None
    success: SyncWords | None
    running: SyncWords | None
    error: SyncWords | None
    marks: Sequence[Mark] | None
    syncs: str


class Group(NamedTuple):
    """A state, what it means, and the vaults in it."""

    state: State
    word: str
    meaning: str
    size: int
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Axis:
    """The time up to a moment, from left to right."""

    end: datetime
    length: timedelta

    @property
    def start(self) -> datetime:
        """Its left end."""
        return self.end - self.length

    def x(self, moment: datetime) -> float:
        """Where a moment is, in percent; one outside is at the end next to it."""
        return round(100 * min(max((moment - self.start) / self.length, 0), 1), 2)

    @property
    def labels(self) -> list[Label]:
        """Some of the days or, on a short axis, of the hours; midnight has the day's name."""
        return [
            Label(self.x(moment), f"{moment:%H:%M}" if moment.hour else _day(moment))
            for moment in self._ticks(self._label_step)
            if self.x(moment) < _NEAR_NOW
        ]

    @property
    def line_period(self) -> float:
        """From one line to the next, in percent: a day, unless the axis is short or very long."""
        return round(100 * (self._line_step / self.length), 4)

    @property
    def line_offset(self) -> float:
        """Where the leftmost line is, in percent."""
        first = list(self._ticks(self._line_step))[-1:]
        return self.x(first[0]) if first else 0

    @property
    def _label_step(self) -> timedelta:
        steps = (timedelta(hours=hours) for hours in _LABEL_STEPS_HOURS)
        return next(step for step in steps if self.length / step <= _MAX_LABELS)

    @property
    def _line_step(self) -> timedelta:
        day = timedelta(days=1)
        return min(self._label_step, day) if self.length <= _DAY_LINES_UP_TO else self._label_step

    def _ticks(self, step: timedelta) -> Iterator[datetime]:
        """From the last one back to the first, all of them on a midnight or a step from it."""
        midnight = self.end.replace(hour=0, minute=0, second=0, microsecond=0)
        tick = midnight + (self.end - midnight) // step * step
        while tick >= self.start:
            yield tick
            tick -= step


def render_page(report: Report, scope: str = "") -> str:
    """The page; ``scope`` says in words which vaults were asked for, and is empty for all of them."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    limit = timedelta(hours=report.max_age_hours)
    at = report.at.astimezone(UTC)
    axis = Axis(at, timedelta(hours=report.history_hours)) if report.history_hours else None
    return environment.get_template(TEMPLATE).render(
        headline=build_headline(report),
        scope=scope,
        at=Moment(rfc3339(at), f"{_day(at)} {at:%Y %H:%M}"),
        limit=format_span(limit),
        bar_end=format_span(limit * AGE_BAR_LIMITS),
        limit_x=100 / AGE_BAR_LIMITS,
        total=len(report.vaults),
        groups=list(_groups(report, at, axis)),
        axis=axis,
        axis_start=_moment(axis.start, at) if axis else None,
        axis_length=format_span(axis.length) if axis else "",
        legend=_legend(report),
        drawn=DRAWN,
    )


def build_headline(report: Report) -> str:
    """The answer at first glance: ``6 of 9 vaults need a look``."""
    total, bad = len(report.vaults), len(report.not_fresh)
    match total, bad:
        case 0, _:
            return "No hybrid vault is in scope"
        case 1, _:
            return "The one vault needs a look" if bad else "The one vault is fresh"
        case _, 0:
            return f"All {total:,} vaults are fresh"
        case _ if bad == total:
            return f"All {total:,} vaults need a look"
        case _:
            return f"{bad:,} of {total:,} vaults {'needs' if bad == 1 else 'need'} a look"


def format_span(length: timedelta) -> str:
    """A length of time in at most two units, rounded down: ``7 hours``, ``3 days 7 hours``."""
    minutes = int(length / timedelta(minutes=1))
    hours = minutes // 60
    two_days = 48
    if hours >= two_days:
        units = {"day": hours // 24, "hour": hours % 24}
    else:
        units = {"hour": hours, "minute": minutes % 60}
    words = (f"{number} {unit}{'' if number == 1 else 's'}" for unit, number in units.items() if number > 0)
    return " ".join(words) or "less than a minute"


def describe_state(state: State, limit: str) -> str:
    """What a state says of a vault, in one line."""
    match state:
        case State.FAILING:
            return "The last sync failed, overran or left copies behind, however old the success before it."
        case State.NEVER:
            return "No sync ever succeeded."
        case State.STALE:
            return f"The last success began more than {limit} ago."
        case State.UNKNOWN:
            return "No success is in the operation logs, but they may have lost one."
        case State.FRESH:
            return f"The last success began no more than {limit} ago, and nothing failed since."


def _groups(report: Report, at: datetime, axis: Axis | None) -> Iterator[Group]:
    """All states, also those that no vault is in."""
    rows: dict[State, list[Row]] = {state: [] for state in State}
    for number, vault in enumerate(report.vaults):
        rows[vault.state].append(_row(report, vault, at, axis, drawn=number < DRAWN))
    limit = format_span(timedelta(hours=report.max_age_hours))
    for state, of in rows.items():
        yield Group(state, _WORD.get(state, state.capitalize()), describe_state(state, limit), len(of), of)


def _row(report: Report, vault: VaultReport, at: datetime, axis: Axis | None, *, drawn: bool) -> Row:
    limit = timedelta(hours=report.max_age_hours)
    age = None if vault.age_hours is None else timedelta(hours=vault.age_hours)
    syncs = report.history.get(vault.vault_id, ())
    return Row(
        vault=vault,
        age=_NO_AGE.get(vault.state, "No success known") if age is None else format_span(age),
        past_limit=format_span(age - limit) if age is not None and age > limit else "",
        bar=_bar(age, limit) if drawn else None,
        success=_told(vault.last_success, at),
        running=_told(vault.running, at),
        error=_told(vault.last_error, at),
        marks=_marks(syncs, axis) if drawn and axis else None,
        syncs=_tally(syncs, format_span(axis.length), cut=report.history_omitted > 0) if axis else "",
    )


def _bar(age: timedelta | None, limit: timedelta) -> Bar:
    share = age / (limit * AGE_BAR_LIMITS) if age else 0
    return Bar(round(100 * min(share, 1.0), 2), over=share > 1)


def _told(sync: SyncRecord | None, at: datetime) -> SyncWords | None:
    return _in_words(sync, at) if sync else None


def _in_words(sync: SyncRecord, at: datetime) -> SyncWords:
    word = sync.status.replace("_", " ").capitalize()
    end = _end(sync, at)
    took = format_span(end - sync.started_at) if end else ""
    return SyncWords(sync, word, _moment(sync.started_at, at), took, _copies(sync.copies))


def _end(sync: SyncRecord, at: datetime) -> datetime | None:
    """Now for one that goes on; the API does not always tell when one has ended."""
    return at if _shape(sync) == "running" else sync.ended_at


def _copies(copies: Copies | None) -> str:
    if copies is None:
        return ""
    plural = "copy" if copies.synced == 1 else "copies"
    return f"{copies.synced} {plural} synced, {copies.deleted} deleted, {copies.failed} failed"


def _shape(sync: SyncRecord) -> str:
    return sync.status if sync.status in SHAPES else "running"


def _badness(sync: SyncRecord) -> int:
    return SHAPES.index(_shape(sync))


def _marks(syncs: Iterable[SyncRecord], axis: Axis) -> list[Mark]:
    """The oldest first; a failure is never hidden behind the successes around it."""
    slots: dict[int, list[SyncRecord]] = {}
    for sync in syncs:
        slots.setdefault(int(axis.x(sync.started_at) / 100 * _SLOTS), []).append(sync)
    return [_mark(slots[slot], axis) for slot in sorted(slots)]


def _mark(near: Sequence[SyncRecord], axis: Axis) -> Mark:
    worst = max(near, key=_badness)
    x = axis.x(worst.started_at)
    width = round(axis.x(_end(worst, axis.end) or worst.started_at) - x, 2)
    more = f" (and {len(near) - 1} more at about that time)" if len(near) > 1 else ""
    return Mark(x, width if width >= _LONG else 0, _shape(worst), _title(worst, axis.end) + more)


def _title(sync: SyncRecord, at: datetime) -> str:
    told = _in_words(sync, at)
    error = f"{sync.error.code}: {sync.error.message}" if sync.error else ""
    parts = (f"{told.word}: {told.began.words} UTC", told.took, told.copies, error)
    return "; ".join(part for part in parts if part)


def _tally(syncs: Sequence[SyncRecord], length: str, *, cut: bool) -> str:
    """How many of each kind: ``14 syncs in the last 14 days: 11 succeeded, 3 failed``.

    Of a long list that was ``cut``, the newest are there.
    """
    if not syncs:
        return f"No syncs in the last {length}"
    counts = Counter(sync.status for sync in sorted(syncs, key=_badness))
    kinds = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in counts.items())
    number = f"{len(syncs)} sync{'' if len(syncs) == 1 else 's'}"
    return f"The newest {number}: {kinds}" if cut else f"{number} in the last {length}: {kinds}"


def _legend(report: Report) -> list[tuple[str, str]]:
    """The shapes that are drawn somewhere, with their words."""
    there = {_shape(sync) for syncs in report.history.values() for sync in syncs}
    return [(shape, shape.replace("_", " ")) for shape in SHAPES if shape in there]


def _moment(moment: datetime, at: datetime) -> Moment:
    """With the year only where it is another one than the report's."""
    utc = moment.astimezone(UTC)
    year = "" if utc.year == at.year else f" {utc.year}"
    return Moment(rfc3339(moment), f"{_day(utc)}{year} {utc:%H:%M}")


def _day(moment: datetime) -> str:
    return f"{moment.day} {moment:%b}"
