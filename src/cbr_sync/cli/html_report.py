"""The report as one self-contained HTML page: no network, no script, for light, dark and print.

Every text, position and width is decided here; the template beside this file only puts them in place.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cbr_sync.models import format_rfc3339
from cbr_sync.reports.models import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cbr_sync.models import Copies
    from cbr_sync.reports.models import Report, SyncRecord, VaultReport

# Of this many vaults, the worst ones, age and syncs are drawn; the others are described in text alone.
MAX_DRAWN_VAULTS = 200
# An age bar ends at this many times the limit; an older age is marked as going beyond it.
AGE_BAR_LIMITS = 4
# What a sync is drawn as, the worst last.
SHAPES = ("succeeded", "skipped", "running", "partial", "timed_out", "failed")

_TEMPLATE = "html_report.html.j2"
# A timeline has this many slots; syncs that share one are drawn as the worst of them.
_SLOTS = 96
_LABEL_STEPS_HOURS = (1, 3, 6, 12, 24, 48, 7 * 24, 14 * 24, 28 * 24, 56 * 24)
_MAX_LABELS = 8
_MAX_DAY_LINES = timedelta(days=31)
_HOURS_A_DAY, _MIN_DAYS_HOURS = 24, 48
# In percent of the timeline: a shorter sync has no bar, and a label further right would run into "now".
_MIN_BAR, _MAX_LABEL_X = 1.0, 92.0
_STATE_NAMES = {State.NEVER: "Never synced"}
_NO_AGE = {State.NEVER: "No successful sync yet"}


class Moment(NamedTuple):
    """A moment in UTC.

    Attributes:
        iso: For machines, RFC 3339.
        text: For people, such as ``23 Nov 03:00``.
    """

    iso: str
    text: str


class SyncSummary(NamedTuple):
    """A sync in words.

    Attributes:
        sync: The sync itself.
        status: Its status, capitalised.
        started: When it started.
        duration: How long it took, or has taken so far; empty if that is not known.
        copies: How many copies it handled; empty if that is not known.
    """

    sync: SyncRecord
    status: str
    started: Moment
    duration: str
    copies: str


class AgeBar(NamedTuple):
    """An age compared with the limit.

    Attributes:
        width: In percent of the bar.
        over: Whether the age goes beyond the bar.
    """

    width: float
    over: bool


class Mark(NamedTuple):
    """A sync on the timeline.

    Attributes:
        x: Where it starts, in percent of the timeline.
        width: How long it took, in percent of the timeline; 0 if that is too short to draw.
        shape: One of `SHAPES`.
        title: The sync in words.
    """

    x: float
    width: float
    shape: str
    title: str


class Label(NamedTuple):
    """A label of the timeline, at ``x`` percent of it."""

    x: float
    text: str


class Row(NamedTuple):
    """A vault.

    Attributes:
        vault: How it is doing.
        age: Time since its last success started, in words.
        overdue: Time since the limit was crossed, in words; empty if it was not.
        bar: The age as a bar; None if it is not drawn.
        success: The last successful sync, if any.
        running: The running sync, if any.
        error: The last sync that went wrong since the last success, if any.
        marks: The syncs as a timeline, the oldest first; None if they are not drawn.
        syncs: The syncs in words; empty if they were not asked for.
    """

    vault: VaultReport
    age: str
    overdue: str
    bar: AgeBar | None
    success: SyncSummary | None
    running: SyncSummary | None
    error: SyncSummary | None
    marks: Sequence[Mark] | None
    syncs: str


class Group(NamedTuple):
    """The vaults in one state.

    Attributes:
        state: The state.
        name: Its name for people.
        meaning: What it says about a vault.
        size: How many vaults are in it.
        rows: The vaults in it, the worst first.
    """

    state: State
    name: str
    meaning: str
    size: int
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Timeline:
    """A stretch of time, drawn from left to right.

    Attributes:
        end: Its right end, the moment of the report.
        length: How far back it goes.
    """

    end: datetime
    length: timedelta

    @property
    def start(self) -> datetime:
        """Its left end."""
        return self.end - self.length

    def locate(self, moment: datetime) -> float:
        """Return where a moment is, in percent; one outside is placed at the nearer end."""
        return round(100 * min(max((moment - self.start) / self.length, 0), 1), 2)

    @property
    def labels(self) -> list[Label]:
        """Labels for some of the days or, on a short timeline, hours; midnight is labelled with its day."""
        return [
            Label(self.locate(moment), f"{moment:%H:%M}" if moment.hour else _format_day(moment))
            for moment in self._iterate_ticks(self._label_step)
            if self.locate(moment) < _MAX_LABEL_X
        ]

    @property
    def line_period(self) -> float:
        """Distance of the vertical lines, in percent: a day, unless the timeline is short or very long."""
        return round(100 * (self._line_step / self.length), 4)

    @property
    def line_offset(self) -> float:
        """Position of the leftmost line, in percent."""
        first = list(self._iterate_ticks(self._line_step))[-1:]
        return self.locate(first[0]) if first else 0

    @property
    def _label_step(self) -> timedelta:
        steps = (timedelta(hours=hours) for hours in _LABEL_STEPS_HOURS)
        return next(step for step in steps if self.length / step <= _MAX_LABELS)

    @property
    def _line_step(self) -> timedelta:
        day = timedelta(days=1)
        return min(self._label_step, day) if self.length <= _MAX_DAY_LINES else self._label_step

    def _iterate_ticks(self, step: timedelta) -> Iterator[datetime]:
        """Iterate from the last tick back to the first; all are a multiple of *step* away from a midnight."""
        midnight = self.end.replace(hour=0, minute=0, second=0, microsecond=0)
        tick = midnight + (self.end - midnight) // step * step
        while tick >= self.start:
            yield tick
            tick -= step


def render_page(report: Report, scope: str = "") -> str:
    """Render a report as an HTML page.

    Args:
        report: What is shown.
        scope: Which vaults were asked for, in words; empty for all of them.

    Returns:
        The whole page, with all it needs.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    limit = timedelta(hours=report.max_age_hours)
    at = report.at.astimezone(UTC)
    timeline = Timeline(at, timedelta(hours=report.history_hours)) if report.history_hours else None
    return environment.get_template(_TEMPLATE).render(
        headline=build_headline(report),
        scope=scope,
        at=Moment(format_rfc3339(at), f"{_format_day(at)} {at:%Y %H:%M}"),
        limit=format_duration(limit),
        bar_end=format_duration(limit * AGE_BAR_LIMITS),
        limit_x=100 / AGE_BAR_LIMITS,
        total=len(report.vaults),
        groups=list(_build_groups(report, timeline)),
        timeline=timeline,
        timeline_start=_format_moment(timeline.start, at) if timeline else None,
        legend=_build_legend(report),
        max_drawn=MAX_DRAWN_VAULTS,
    )


def build_headline(report: Report) -> str:
    """Say whether anybody has to act: ``6 of 9 vaults need attention``."""
    total, bad = len(report.vaults), len(report.not_fresh)
    match total, bad:
        case 0, _:
            return "No hybrid vaults found"
        case 1, _:
            return "The only vault needs attention" if bad else "The only vault is fresh"
        case _, 0:
            return f"All {total:,} vaults are fresh"
        case _ if bad == total:
            return f"All {total:,} vaults need attention"
        case _:
            return f"{bad:,} of {total:,} vaults {'needs' if bad == 1 else 'need'} attention"


def format_duration(duration: timedelta) -> str:
    """Format a duration in at most two units, rounded down: ``7 hours``, ``3 days 7 hours``."""
    minutes = int(duration / timedelta(minutes=1))
    hours = minutes // 60
    if hours >= _MIN_DAYS_HOURS:
        units = {"day": hours // _HOURS_A_DAY, "hour": hours % _HOURS_A_DAY}
    else:
        units = {"hour": hours, "minute": minutes % 60}
    words = (f"{number} {unit}{'' if number == 1 else 's'}" for unit, number in units.items() if number > 0)
    return " ".join(words) or "less than a minute"


def describe_state(state: State, limit: str) -> str:
    """Say in one line what a state means, with the limit in words."""
    match state:
        case State.FAILING:
            return "The last sync failed, timed out or left copies unsynced, even if earlier ones succeeded."
        case State.NEVER:
            return "No sync has ever succeeded."
        case State.STALE:
            return f"The last successful sync started more than {limit} ago."
        case State.UNKNOWN:
            return "The operation logs show no successful sync, but they may be incomplete."
        case State.FRESH:
            return f"The last successful sync started at most {limit} ago, and none has failed since."


def _build_groups(report: Report, timeline: Timeline | None) -> Iterator[Group]:
    """Build a group for every state, also for those that no vault is in."""
    rows_by_state: dict[State, list[Row]] = {state: [] for state in State}
    for number, vault in enumerate(report.vaults):
        drawn = number < MAX_DRAWN_VAULTS
        rows_by_state[vault.state].append(_build_row(report, vault, timeline, drawn=drawn))
    limit = format_duration(timedelta(hours=report.max_age_hours))
    for state, rows in rows_by_state.items():
        name = _STATE_NAMES.get(state, state.capitalize())
        yield Group(state, name, describe_state(state, limit), len(rows), rows)


def _build_row(report: Report, vault: VaultReport, timeline: Timeline | None, *, drawn: bool) -> Row:
    at = report.at.astimezone(UTC)
    limit = timedelta(hours=report.max_age_hours)
    age = None if vault.age_hours is None else timedelta(hours=vault.age_hours)
    history = report.history.get(vault.vault_id, ())
    return Row(
        vault=vault,
        age=_NO_AGE.get(vault.state, "No known successful sync") if age is None else format_duration(age),
        overdue=format_duration(age - limit) if age is not None and age > limit else "",
        bar=_build_age_bar(age, limit) if drawn else None,
        success=_summarize_sync(vault.last_success, at) if vault.last_success else None,
        running=_summarize_sync(vault.running, at) if vault.running else None,
        error=_summarize_sync(vault.last_error, at) if vault.last_error else None,
        marks=_build_marks(history, timeline) if drawn and timeline else None,
        syncs=_count_by_status(history, timeline, cut=report.history_omitted > 0) if timeline else "",
    )


def _build_age_bar(age: timedelta | None, limit: timedelta) -> AgeBar:
    share = age / (limit * AGE_BAR_LIMITS) if age else 0
    return AgeBar(round(100 * min(share, 1.0), 2), over=share > 1)


def _summarize_sync(sync: SyncRecord, at: datetime) -> SyncSummary:
    status = sync.status.replace("_", " ").capitalize()
    end = _find_end(sync, at)
    duration = format_duration(end - sync.started_at) if end else ""
    return SyncSummary(
        sync, status, _format_moment(sync.started_at, at), duration, _format_copies(sync.copies)
    )


def _find_end(sync: SyncRecord, at: datetime) -> datetime | None:
    """Return now for a sync that is running; the API does not always say when one has ended."""
    return at if _choose_shape(sync) == "running" else sync.ended_at


def _format_copies(copies: Copies | None) -> str:
    if copies is None:
        return ""
    noun = "copy" if copies.synced == 1 else "copies"
    return f"{copies.synced} {noun} synced, {copies.deleted} deleted, {copies.failed} failed"


def _choose_shape(sync: SyncRecord) -> str:
    # While a sync is running, its status is the API's own word.
    return sync.status if sync.status in SHAPES else "running"


def _rank_badness(sync: SyncRecord) -> int:
    return SHAPES.index(_choose_shape(sync))


def _build_marks(history: Iterable[SyncRecord], timeline: Timeline) -> list[Mark]:
    """Build the marks, the oldest first, so that no failure is hidden behind the successes around it."""
    slots: dict[int, list[SyncRecord]] = {}
    for sync in history:
        slots.setdefault(int(timeline.locate(sync.started_at) / 100 * _SLOTS), []).append(sync)
    return [_build_mark(slots[slot], timeline) for slot in sorted(slots)]


def _build_mark(syncs: Sequence[SyncRecord], timeline: Timeline) -> Mark:
    """Build the mark of syncs that share a slot."""
    worst = max(syncs, key=_rank_badness)
    x = timeline.locate(worst.started_at)
    width = round(timeline.locate(_find_end(worst, timeline.end) or worst.started_at) - x, 2)
    more = f" (and {len(syncs) - 1} more around that time)" if len(syncs) > 1 else ""
    title = _build_title(worst, timeline.end) + more
    return Mark(x, width if width >= _MIN_BAR else 0, _choose_shape(worst), title)


def _build_title(sync: SyncRecord, at: datetime) -> str:
    summary = _summarize_sync(sync, at)
    error = f"{sync.error.code}: {sync.error.message}" if sync.error else ""
    parts = (f"{summary.status}: {summary.started.text} UTC", summary.duration, summary.copies, error)
    return "; ".join(part for part in parts if part)


def _count_by_status(history: Sequence[SyncRecord], timeline: Timeline, *, cut: bool) -> str:
    """Count the syncs by status: ``14 syncs in the last 14 days: 11 succeeded, 3 failed``.

    Args:
        history: The syncs of one vault.
        timeline: Where they come from.
        cut: Whether older syncs were left out of the report, so that only the latest can be counted.
    """
    length = format_duration(timeline.length)
    if not history:
        return f"No syncs in the last {length}"
    counts = Counter(sync.status for sync in sorted(history, key=_rank_badness))
    by_status = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in counts.items())
    number = f"{len(history)} sync{'' if len(history) == 1 else 's'}"
    return f"The latest {number}: {by_status}" if cut else f"{number} in the last {length}: {by_status}"


def _build_legend(report: Report) -> list[tuple[str, str]]:
    """List the shapes that are drawn somewhere, each with its name."""
    drawn = {_choose_shape(sync) for history in report.history.values() for sync in history}
    return [(shape, shape.replace("_", " ")) for shape in SHAPES if shape in drawn]


def _format_moment(moment: datetime, at: datetime) -> Moment:
    """Format a moment, with its year only if the report's own year is another one."""
    utc = moment.astimezone(UTC)
    year = "" if utc.year == at.year else f" {utc.year}"
    return Moment(format_rfc3339(moment), f"{_format_day(utc)}{year} {utc:%H:%M}")


def _format_day(moment: datetime) -> str:
    return f"{moment.day} {moment:%b}"
