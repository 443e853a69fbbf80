"""How far the API's clock is off ours, and what began at a moment of ours by it."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from hypothesis import given
from hypothesis import strategies as st

from cbr_sync.huawei.clock import ApiClock

NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
milliseconds = st.integers(-240_000, 240_000).map(lambda number: timedelta(milliseconds=number))


def observe_answer(clock: ApiClock, at: timedelta, offset: timedelta) -> None:
    """An answer that was made at once, by an API whose clock is so far off."""
    made_at = (NOW + at + offset).replace(microsecond=0)
    clock.observe(NOW + at, NOW + at, format_datetime(made_at, usegmt=True))


@given(
    offset=milliseconds,
    answers=st.lists(st.integers(0, 60_000), min_size=1, max_size=5),
    began=st.integers(-10_000, 10_000),
    is_whole=st.booleans(),
)
def test_what_began_two_seconds_too_early_never_counts_and_what_began_later_always_does(
    offset: timedelta, answers: list[int], began: int, *, is_whole: bool
) -> None:
    """Wherever in their seconds the answers were made, and whether or not created_at is in whole ones."""
    clock = ApiClock(logging.getLogger("test"))  # type: ignore[arg-type]  # nothing is logged
    for number in answers:
        observe_answer(clock, timedelta(milliseconds=number), offset)
    created_at = NOW + timedelta(milliseconds=began) + offset
    shown = created_at.replace(microsecond=0) if is_whole else created_at
    counts = shown >= clock.convert_start(NOW)
    if began >= 0:
        assert counts
    if began < -2000:
        assert not counts
