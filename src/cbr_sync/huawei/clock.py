"""How far the API's clock is off ours, measured by its answers."""

from __future__ import annotations

from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from aws_lambda_powertools import Logger

# A signature whose date is further off is refused. Source: API Request Signing Guide.
MAX_OFFSET = timedelta(minutes=15)
_SECOND = timedelta(seconds=1)
# Covers moments of the API in whole seconds, and what is left of the clocks' difference.
TOLERANCE = timedelta(seconds=2)
# An offset that is known no better than this is taken for zero, if it can be: most clocks agree.
_VAGUE = timedelta(seconds=2)


class ApiClock:
    """The API's clock: an answer was made between its sending and its receiving, at its ``Date``.

    ``Date`` is in whole seconds, so it says ``[Date, Date + 1 s]``. The offset is what all answers agree on:
    each can only narrow it, and a slow one says little. As long as there is nothing better, clocks that may
    agree are taken to do so. Where answers disagree, a clock was set, and the newest is believed.
    """

    def __init__(self, logger: Logger) -> None:
        """Start without a measurement; the offset counts as zero."""
        self._logger = logger
        self._earliest = -MAX_OFFSET
        self._latest = MAX_OFFSET
        self._trouble = ""
        self._is_distrusted = False
        self._is_measured = False

    @property
    def offset(self) -> timedelta:
        """The API's time less ours; zero while nothing, or nothing better, was measured."""
        if not self._is_precise and self._earliest <= timedelta() <= self._latest:
            return timedelta()
        return (self._earliest + self._latest) / 2

    @property
    def _is_precise(self) -> bool:
        return self._latest - self._earliest <= _VAGUE

    @property
    def margin(self) -> timedelta:
        """How much earlier a list has to begin than a converted moment, so that it holds what is wanted."""
        return min(self._latest - self._earliest, MAX_OFFSET)

    def convert(self, moment: datetime) -> datetime:
        """Return a moment of our clock on the API's."""
        if self._trouble:
            self._logger.warning("the API's clock is taken for ours", extra={"reason": self._trouble})
            self._trouble = ""
        return moment + self.offset

    def convert_start(self, moment: datetime) -> datetime:
        """Return from when on, on the API's clock, an operation counts as begun at *moment*.

        What began at *moment* may show up to a second earlier. So with an offset within ``[e, l]`` every
        start from ``moment + l - 2 s`` to ``moment + e - 1 s`` misses nothing, and lets nothing count that
        began over two seconds too early. This one lies there, as long as ``l - e`` is a second at most.
        """
        error = min((self._latest - self._earliest) / 2, _SECOND / 2) if self._is_precise else timedelta()
        return self.convert(moment) - TOLERANCE + error

    def observe(self, sent_at: datetime, received_at: datetime, date: str | None) -> None:
        """Take an answer into account.

        Args:
            sent_at: When its request was sent, on our clock.
            received_at: When it was received, on our clock.
            date: Its ``Date`` header.
        """
        moment = parse_http_date(date)
        if moment is None:
            self._distrust("the API's answers have no Date")
            return
        earliest, latest = moment - received_at, moment + _SECOND - sent_at
        if earliest > MAX_OFFSET or latest < -MAX_OFFSET:
            self._distrust(f"the API's Date is over {MAX_OFFSET.seconds // 60} minutes off")
            return
        narrowed = max(self._earliest, earliest), min(self._latest, latest)
        if not self._is_measured or narrowed[0] > narrowed[1]:
            narrowed = earliest, latest
        self._earliest, self._latest = narrowed
        self._is_measured = True

    def _distrust(self, reason: str) -> None:
        """Let the next conversion warn once that nothing was measured."""
        if not (self._is_distrusted or self._is_measured):
            self._is_distrusted, self._trouble = True, reason


def parse_http_date(value: str | None) -> datetime | None:
    """Return the moment of an HTTP date, in UTC; None for anything else."""
    try:
        moment = parsedate_to_datetime(value or "")
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
