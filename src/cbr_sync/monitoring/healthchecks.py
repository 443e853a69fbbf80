"""Pings for a monitor of scheduled jobs, which raises an alarm where they are missing.

Source: Healthchecks.io, "Pinging API", which other monitors understand too: a POST to the check's URL for a
success, to ``/start``, ``/fail`` and ``/log`` below it for the rest; ``rid``, a UUID, joins those of one run.
"""

from __future__ import annotations

import re
import threading
import uuid
from collections import Counter
from typing import TYPE_CHECKING

from cbr_sync.errors import CbrSyncError
from cbr_sync.models import WENT_WRONG, Status
from cbr_sync.results import Ending
from cbr_sync.sinks.messages import WORST_FIRST
from cbr_sync.transport import new_request, send

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx
    from aws_lambda_powertools import Logger

    from cbr_sync.models import OutcomeError
    from cbr_sync.results import RunResult
    from cbr_sync.transport import Response


# What both pings may add to a run, half of it each; and what is left of the run's time after them.
PING_SECONDS = 2.0
MARGIN_SECONDS = 0.2
_MAX_ROWS = 10
_MAX_LINE_LENGTH = 300
_ACCEPTED = range(200, 300)
_SUFFIXES = {Ending.OK: "", Ending.UNFINISHED: "/log", Ending.PROBLEMS: "/fail"}
_BAD = WENT_WRONG | {Status.SKIPPED}
# "OK (not found)" and "OK (rate limited)": the ping arrived, and does not count.
_NOT_COUNTED = re.compile(r"OK \((.+)\)\s*", re.ASCII)


class HealthchecksPing:
    """Pings a check when a run begins and when it ends; nothing in the run depends on it.

    Each ping has a thread of its own, since nobody waits for the first one's answer.
    """

    def __init__(
        self,
        *,
        transport: httpx.BaseTransport,
        url: str,
        run_id: str,
        result: RunResult,
        logger: Logger,
        remaining_seconds: Callable[[], float],
    ) -> None:
        """Ping a check about one run.

        Args:
            transport: Sends the pings.
            url: The check's URL.
            run_id: The platform's id of the invocation.
            result: The result of the run; read at its end.
            logger: Gets what goes wrong.
            remaining_seconds: Returns how long the platform still lets the run go on.
        """
        self._transport = transport
        self._url = url
        self._run_id = build_run_uuid(run_id)
        self._result = result
        self._logger = logger
        self._remaining_seconds = remaining_seconds
        self._started: _PingThread | None = None

    def __enter__(self) -> None:
        """Ping that the run begins; nobody waits for the answer."""
        self._started = self._send("/start", "")

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Ping how the run ended, and why it failed if it did."""
        seconds = max(min(PING_SECONDS, self._remaining_seconds() - MARGIN_SECONDS), 0) / 2
        if self._started:
            self._started.wait(seconds, self._logger)
        last = self._send(_SUFFIXES[self._result.judge(error)], build_body(self._result, error))
        last.wait(seconds, self._logger)

    def _send(self, suffix: str, body: str) -> _PingThread:
        thread = _PingThread(self._transport, f"{self._url}{suffix}?rid={self._run_id}", body)
        thread.start()
        return thread


class _PingThread(threading.Thread):
    """A ping under way; a daemon, so that no process waits for it."""

    def __init__(self, transport: httpx.BaseTransport, url: str, body: str) -> None:
        super().__init__(daemon=True)
        self._transport = transport
        self._url = url
        self._body = body
        self._trouble = "no answer yet"

    def run(self) -> None:
        """Send the ping, and keep what is wrong with its answer."""
        try:
            request = new_request("POST", self._url, {}, self._body.encode(errors="replace"))
            response = send(self._transport, request, auth=None, timeout_seconds=PING_SECONDS)
            self._trouble = find_trouble(response)
        except Exception as error:  # noqa: BLE001 - no ping costs anything else
            self._trouble = str(error) if isinstance(error, CbrSyncError) else type(error).__name__

    def wait(self, seconds: float, logger: Logger) -> None:
        """Wait for the answer, *seconds* at most, and log a ping that was not accepted."""
        self.join(seconds)
        if self._trouble:
            logger.warning("a ping was not accepted", extra={"reason": self._trouble})


def find_trouble(response: Response) -> str:
    """Return what is wrong with the answer to a ping; empty where it counts.

    Source: Healthchecks.io, "Pinging API": a check that is not known is answered 200, ``OK (not found)``.
    """
    if response.status_code not in _ACCEPTED:
        return f"HTTP {response.status_code}"
    match = _NOT_COUNTED.fullmatch(response.text[:_MAX_LINE_LENGTH])
    return f"the monitor answers {match[0].strip()}: check CBR_SYNC_PING_URL" if match else ""


def build_run_uuid(run_id: str) -> str:
    """Return the run's id where it is a UUID, else one made of it: the same for both pings of a run."""
    try:
        return str(uuid.UUID(run_id))
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, run_id))


def build_body(result: RunResult, error: BaseException | None) -> str:
    """Build a few lines for people: the counts, then the worst problems, in the API's words.

    Args:
        result: The result of the run.
        error: What the run raised, if it did.
    """
    lines = [*_build_counts(result), *_build_problems(result)]
    more = len(lines) - _MAX_ROWS
    if more > 0:
        lines[_MAX_ROWS:] = [f"and {more} more"]
    if error:
        # The text of an unexpected error may hold anything.
        words = f": {error}" if isinstance(error, CbrSyncError) else ""
        lines.insert(0, type(error).__name__ + words)
    return "\n".join(line[:_MAX_LINE_LENGTH] for line in lines)


def _build_counts(result: RunResult) -> Iterator[str]:
    if result.outcomes:
        counts = Counter(outcome.status for outcome in result.outcomes)
        yield "syncs: " + ", ".join(f"{counts[status]} {status}" for status in WORST_FIRST if counts[status])
    for report in result.reports:
        yield "vaults: " + ", ".join(f"{count} {state}" for state, count in report.counts.items())


def _build_problems(result: RunResult) -> Iterator[str]:
    for trigger, reason in result.errors:
        yield f"rejected: {trigger.kind} {trigger.id}: {reason}"
    for status in WORST_FIRST:
        for outcome in result.outcomes:
            if outcome.status is status and (outcome.error or status in _BAD):
                yield f"{status}: {outcome.vault_id}" + _describe_error(outcome.error)
    for report in result.reports:
        for vault in report.not_fresh:
            error = vault.last_error.error if vault.last_error else None
            yield f"{vault.state}: {vault.name} ({vault.vault_id})" + _describe_error(error)


def _describe_error(error: OutcomeError | None) -> str:
    return f": {error.code}: {error.message}" if error else ""
