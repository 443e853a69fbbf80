"""Pings for a monitor of scheduled jobs, which raises an alarm when they stay out.

Source: Healthchecks.io, "Pinging API", which other monitors understand too: a POST to the check's URL for a
success, to ``/start``, ``/fail`` and ``/log`` below it for the rest; ``rid``, a UUID, joins those of one run.
"""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from typing import TYPE_CHECKING

from cbr_sync.errors import ApiError, CbrSyncError, RetryableError, SyncUnfinished
from cbr_sync.models import WENT_WRONG, Status
from cbr_sync.sinks.messages import WORST_FIRST
from cbr_sync.transport import new_request, send

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx
    from aws_lambda_powertools import Logger

    from cbr_sync.models import OutcomeError
    from cbr_sync.sinks.messages import RunResult


# What both pings may add to a run, half of it each; and what is left of the run's time after them.
PING_SECONDS = 2.0


MARGIN_SECONDS = 0.2


_ROWS = 10


_LINE_SHOWN = 300


_TAKEN = range(200, 300)


class HealthchecksPing:
    """Tells a monitor that a run begins and, at its end, what came of it; it changes nothing in the run.

    Each ping has a thread of its own, since nothing else bounds how long a name is looked up.
    """

    def __init__(
        self,
        transport: httpx.BaseTransport,
        url: str,
        run_id: str,
        told: RunResult,
        logger: Logger,
        remaining_seconds: Callable[[], float],
    ) -> None:
        """Pings over this transport; ``remaining_seconds`` tells when the run is asked for its end."""
        self._transport = transport
        self._url = url
        self._run_id = run_id_as_uuid(run_id)
        self._told = told
        self._logger = logger
        self._left_seconds = remaining_seconds
        self._started: _PingThread | None = None

    def __enter__(self) -> None:
        """Say that the run begins; nobody waits for the answer."""
        self._started = self._send("/start", "")

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Say what came of it, and why it failed if it did."""
        seconds = max(min(PING_SECONDS, self._left_seconds() - MARGIN_SECONDS), 0) / 2
        if self._started:
            self._started.wait(seconds, self._logger)
        last = self._send(choose_suffix(self._told, error), build_body(self._told, error))
        last.wait(seconds, self._logger)

    def _send(self, suffix: str, body: str) -> _PingThread:
        sending = _PingThread(self._transport, f"{self._url}{suffix}?rid={self._run_id}", body)
        sending.start()
        return sending


class _PingThread(threading.Thread):
    """A request under way; a daemon, so that no process waits for it."""

    def __init__(self, transport: httpx.BaseTransport, url: str, body: str) -> None:
        super().__init__(daemon=True)
        self._transport = transport
        self._url = url
        self._body = body
        self._trouble = "no answer yet"

    def run(self) -> None:
        """Send it; no answer matters but whether it was taken."""
        try:
            request = new_request("POST", self._url, {}, self._body.encode())
            status = send(self._transport, request, auth=None, timeout_seconds=PING_SECONDS).status_code
        except ApiError as error:
            self._trouble = str(error)
        else:
            self._trouble = "" if status in _TAKEN else f"HTTP {status}"

    def wait(self, seconds: float, logger: Logger) -> None:
        """Wait for its end, so long at most, and log it if it was not taken."""
        self.join(seconds)
        if self._trouble:
            logger.warning("a ping was not taken", extra={"reason": self._trouble})


def run_id_as_uuid(run_id: str) -> str:
    """The run's id where it is a UUID, else one made of it: the same for both pings of a run."""
    try:
        return str(uuid.UUID(run_id))
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, run_id))


def choose_suffix(told: RunResult, error: BaseException | None) -> str:
    """``/fail`` where something is wrong for good, ``/log`` where another delivery may finish it, else ""."""
    final = [why for _, why in told.rejected if not isinstance(why, RetryableError)]
    bad = any(outcome.status in WENT_WRONG for outcome in told.outcomes)
    not_fresh = any(report.not_fresh for report in told.reports)
    left = told.rejected or any(outcome.status is Status.UNFINISHED for outcome in told.outcomes)
    if final or bad or not_fresh or (error and not isinstance(error, (SyncUnfinished, RetryableError))):
        return "/fail"
    return "/log" if left or error else ""


def build_body(told: RunResult, error: BaseException | None) -> str:
    """A few lines for a person: the counts, then what went worst, in the API's words."""
    lines = [*_summary_lines(told), *_problem_lines(told)]
    more = len(lines) - _ROWS
    if more > 0:
        lines[_ROWS:] = [f"and {more} more"]
    if error:
        # The text of what nobody foresaw may hold anything.
        words = f": {error}" if isinstance(error, CbrSyncError) else ""
        lines.insert(0, type(error).__name__ + words)
    return "\n".join(line[:_LINE_SHOWN] for line in lines)


def _summary_lines(told: RunResult) -> Iterator[str]:
    if told.outcomes:
        counts = Counter(outcome.status for outcome in told.outcomes)
        yield "syncs: " + ", ".join(f"{counts[status]} {status}" for status in WORST_FIRST if counts[status])
    for report in told.reports:
        yield "vaults: " + ", ".join(f"{count} {state}" for state, count in report.counts.items())


def _problem_lines(told: RunResult) -> Iterator[str]:
    for trigger, why in told.rejected:
        yield f"rejected: {trigger.kind} {trigger.id}: {why}"
    for status in WORST_FIRST:
        for outcome in told.outcomes:
            if outcome.status is status and (outcome.error or status in WENT_WRONG):
                yield f"{status}: {outcome.vault_id}" + _describe_error(outcome.error)
    for report in told.reports:
        for vault in report.not_fresh:
            error = vault.last_error.error if vault.last_error else None
            yield f"{vault.state}: {vault.name} ({vault.vault_id})" + _describe_error(error)


def _describe_error(error: OutcomeError | None) -> str:
    return f": {error.code}: {error.message}" if error else ""
