"""CloudWatch metrics of one run: a log line in the embedded metric format (EMF).

Source: CloudWatch User Guide, "Embedding metrics within logs".
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from cbr_sync.models import SELF_TRIGGERED, Status
from cbr_sync.monitoring.logger import import_powertools, read_service_name, read_switch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cbr_sync.reports.models import Report
    from cbr_sync.results import RunResult


NAMESPACE = "cbr-sync"
ATTEMPTS = "Attempts"
DURATION = "Duration"
COLD_START = "ColdStart"
SCHEDULED_RUNS = "ScheduledRuns"
STALE_VAULTS = "StaleVaults"
OLDEST_SYNC_AGE = "OldestSyncAgeHours"
# The same of the reports that come by the clock: what somebody asks for meanwhile moves no alarm.
SCHEDULED_STALE_VAULTS = "ScheduledStaleVaults"
# One for each status: SyncsAccepted, SyncsAlreadyRunning ...
OF_STATUS = {status: "Syncs" + status.title().replace("_", "") for status in Status}
# What ticks report: how operations ended, and the lines that were crossed.
OF_FOLLOW = {
    "operation.succeeded": "OperationsSucceeded",
    "operation.partial": "OperationsPartial",
    "operation.skipped": "OperationsSkipped",
    "operation.timed_out": "OperationsTimedOut",
    "operation.failed": "OperationsFailed",
    "operation.unknown": "OperationsUnknown",
    "operation.overdue": "OperationsOverdue",
    "vault.became_stale": "VaultsBecameStale",
    "vault.recovered": "VaultsRecovered",
}


class RunMetrics:
    """Counts the results of one run; its one dimension is the service.

    A status that no sync had is left out, since CloudWatch bills a metric for each hour that it was sent in.
    Powertools' own variables (POWERTOOLS_METRICS_NAMESPACE, POWERTOOLS_METRICS_DISABLED, ...) mean what they
    always mean.
    """

    def __init__(self, environ: Mapping[str, str], *, cold: bool) -> None:
        """Start with nothing counted.

        Args:
            environ: The function's environment.
            cold: Whether this is the instance's first run.
        """
        self._environ = environ
        self._counts: Counter[str] = Counter({COLD_START: 1} if cold else {})
        self._oldest: float | None = None
        self._is_idle = False

    def count(self, result: RunResult) -> None:
        """Count the result of a run; of several reports the worst numbers count."""
        outcomes, reports = result.outcomes, result.reports
        self._is_idle = result.is_idle
        own = [
            outcome for message in result.messages if not message.handed_on for outcome in message.outcomes
        ]
        if any(outcome.trigger.kind in SELF_TRIGGERED for outcome in own):
            self._counts[SCHEDULED_RUNS] = 1
        for outcome in outcomes:
            self._counts[OF_STATUS[outcome.status]] += 1
            self._counts[ATTEMPTS] += outcome.attempts
        for follow in result.follows:
            self._counts.update({OF_FOLLOW[word]: count for word, count in follow.counts.items()})
        for report in reports:
            self._count_report(report)

    def _count_report(self, report: Report) -> None:
        self._raise_to(STALE_VAULTS, len(report.not_fresh))
        if report.trigger.kind in SELF_TRIGGERED:
            self._raise_to(SCHEDULED_STALE_VAULTS, len(report.not_fresh))
        age = report.oldest_sync_age_hours
        if age is not None:
            self._oldest = max(self._oldest or age, age)

    def _raise_to(self, name: str, count: int) -> None:
        self._counts[name] = max(self._counts[name], count)

    def flush(self, seconds: float) -> None:
        """Write the metrics of a run that took this long, unless they are switched off.

        A tick with nothing to report writes none: it comes a hundred times a day, and each would be billed.
        """
        if self._is_idle:
            return
        environ = self._environ
        name = "POWERTOOLS_METRICS_DISABLED"
        # By name, or on a developer's machine unless that says otherwise.
        if read_switch(name if environ.get(name) else "POWERTOOLS_DEV", environ):
            return
        import_powertools()
        # Here, not above: Powertools is imported by the first event, not with this package.
        from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit  # noqa: PLC0415

        metrics = EphemeralMetrics(
            namespace=environ.get("POWERTOOLS_METRICS_NAMESPACE", "").strip() or NAMESPACE,
            service=read_service_name(environ),
        )
        metrics.add_metric(DURATION, MetricUnit.Milliseconds, round(seconds * 1000, 1))
        for name, count in self._counts.items():
            metrics.add_metric(name, MetricUnit.Count, count)
        if self._oldest is not None:
            metrics.add_metric(OLDEST_SYNC_AGE, MetricUnit.NoUnit, self._oldest)
        # Not flush_metrics(): it reads os.environ, and raises where it cannot read a value.
        print(json.dumps(metrics.serialize_metric_set(), separators=(",", ":")))  # noqa: T201
