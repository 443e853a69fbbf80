"""What people are told, in English."""

from __future__ import annotations

from collections import Counter
from datetime import UTC
from typing import TYPE_CHECKING

from cbr_sync.follow import EdgeKind
from cbr_sync.models import Status
from cbr_sync.sinks.wording import (
    MAX_DETAIL_LENGTH,
    Facts,
    Section,
    build_runbook_link,
    clean,
    clean_code,
    clean_error,
    clean_name,
    cut,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, timedelta

    from cbr_sync.follow import Edge, EndedSync
    from cbr_sync.models import OutcomeError, SyncOutcome
    from cbr_sync.reports.models import Report, VaultReport

_NOTHING_TO_DO = "Nothing to do."
_STATUS_WORDS = {
    "failed": "failed",
    "timed_out": "timed out at CBR",
    "partial": "succeeded in part",
    "unfinished": "unfinished",
    "already_running": "not started, an older sync is still running",
    "skipped": "skipped",
    "accepted": "accepted",
    "succeeded": "succeeded",
    "deferred": "deferred",
    "unknown": "ended in a state that has no other word",
}
_VERBS = {
    "failed": "failed",
    "timed_out": "timed out at CBR",
    "partial": "succeeded in part",
    "unfinished": "is unfinished",
    "already_running": "was not started, since an older one is still running",
    "skipped": "was skipped",
}
_HEADINGS = {
    "failed": "FAILED",
    "timed_out": "TIMED OUT",
    "partial": "PARTIAL",
    "unfinished": "UNFINISHED",
    "already_running": "NOT STARTED",
    "skipped": "SKIPPED",
    "unknown": "ENDED",
}
_STATE_HEADINGS = {"failing": "FAILING", "never": "NEVER SYNCED", "stale": "STALE", "unknown": "UNKNOWN"}
_STATE_WORDS = {
    "failing": "failing",
    "never": "never synced",
    "stale": "stale",
    "unknown": "unknown, no success in the logs",
}


class English:
    """English texts."""

    def describe(self, facts: Facts) -> Iterator[Section]:
        """Yield a section for each thing that there is to say, the worst first."""
        if facts.outcomes:
            yield _describe_run(facts)
        if facts.ended:
            yield _describe_ended(facts.ended)
        if facts.edges:
            yield _describe_edges(facts.edges)
        for report in facts.reports:
            yield _describe_report(report)
        if facts.rejected:
            yield _describe_rejected(facts)

    def format_sms(self, text: str) -> str:
        """Return a text message, which begins with who sends it."""
        return f"cbr-sync: {text}"

    def format_more(self, count: int) -> str:
        """Return the row that stands for rows left out."""
        return f"and {count} more"

    def format_footer(self, facts: Facts) -> str:
        """Return the last line, with ids."""
        ids = [
            f"cbr-sync, run {facts.run_id}",
            f"operation {facts.operation_id}" if facts.operation_id else "",
        ]
        footer = ", ".join([*filter(None, ids), _format_time(facts.at)])
        if not facts.held_back:
            return footer
        return (
            f"{_count(facts.held_back, 'earlier message')} held back: too many at once; see the log. {footer}"
        )


def _count(number: int, noun: str, plural: str = "") -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"


def _describe_run(facts: Facts) -> Section:
    bad = [one for one in facts.outcomes if one.status in _HEADINGS]
    total = facts.counts.total()
    time = _format_time(facts.at)
    if not bad:
        return _describe_good_run(facts, total, time)
    first = bad[0]
    heading = _HEADINGS[first.status]
    name = clean_name(first.vault_name or first.vault_id)
    rows = tuple(_describe_outcome(one) for one in bad)
    advice = f"What to do: look up {_name_code(first)} in the runbook, {build_runbook_link()}."
    if total == 1:
        why = f": {_describe_error(first.error)}" if first.error else ""
        lead = f"The sync of {name} at {time} {_VERBS[first.status]}{_describe_copies(first)}{why}."
        code = f": {clean_code(first.error.code)}" if first.error else ""
        sms = f"the sync of {name} at {_format_clock(facts.at)} UTC {_VERBS[first.status]}{code}."
        return Section(f"{heading}: {name}", lead, (), advice, sms)
    lead = f"{len(bad)} of {total} syncs in the run of {time} went wrong{_describe_others(facts)}."
    more = f"; {len(bad) - 1} more" if len(bad) > 1 else ""
    clock = _format_clock(facts.at)
    sms = f"{len(bad)} of {total} syncs went wrong at {clock} UTC. {name}: {_describe_short(first)}{more}."
    return Section(f"{heading}: {len(bad)} of {total} syncs", lead, rows, advice, sms)


def _describe_good_run(facts: Facts, total: int, time: str) -> Section:
    is_followed = facts.counts[Status.SUCCEEDED] == total
    word = "succeeded" if is_followed else "accepted"
    name = clean_name(facts.outcomes[0].vault_name or facts.outcomes[0].vault_id)
    what = f"the sync of {name}" if total == 1 else f"all {total} syncs"
    lead = f"CBR accepted {what} at {time}."
    if is_followed:
        lead = f"By {time}, {what} had succeeded."
    subject = f"OK: {name}" if total == 1 else f"OK: {total} of {total} syncs {word}"
    sms = f"{what} {word} at {_format_clock(facts.at)} UTC."
    return Section(subject, lead, (), _NOTHING_TO_DO, sms, is_good=True)


def _describe_others(facts: Facts) -> str:
    """Return what became of the syncs that went well, as the rest of a sentence."""
    others = Counter({status: count for status, count in facts.counts.items() if status not in _HEADINGS})
    if set(others) == {Status.ACCEPTED}:
        return f"; CBR accepted the other {others.total()}"
    if set(others) == {Status.SUCCEEDED}:
        return f"; the other {others.total()} succeeded"
    words = ", ".join(f"{count} {_STATUS_WORDS[status]}" for status, count in sorted(others.items()))
    return f"; of the others: {words}" if words else ""


def _describe_outcome(outcome: SyncOutcome) -> str:
    return f"{clean_name(outcome.vault_name or outcome.vault_id)}: {_describe_why(outcome)}"


def _describe_why(outcome: SyncOutcome) -> str:
    words = f"{_STATUS_WORDS[outcome.status]}{_describe_copies(outcome)}"
    return f"{words}, {_describe_error(outcome.error)}" if outcome.error else words


def _describe_copies(outcome: SyncOutcome) -> str:
    if not (outcome.copies and outcome.copies.failed):
        return ""
    return f", {_count(outcome.copies.failed, 'copy', 'copies')} failed"


def _describe_error(error: OutcomeError) -> str:
    return clean_error(error.code, error.message, ": ")


def _describe_short(outcome: SyncOutcome) -> str:
    return clean_code(outcome.error.code) if outcome.error else _STATUS_WORDS[outcome.status]


def _name_code(outcome: SyncOutcome) -> str:
    return clean_code(outcome.error.code) if outcome.error else f"the status {outcome.status}"


def _describe_ended(ended: tuple[EndedSync, ...]) -> Section:
    bad = [one for one in ended if one.status in _HEADINGS]
    first = (bad or ended)[0]
    name = clean_name(first.vault_name or first.vault_id)
    if not bad:
        what = f"the sync of {name}" if len(ended) == 1 else f"{len(ended)} syncs"
        subject = f"OK: {what} succeeded"
        rows = tuple(_describe_end(one) for one in ended)
        lead = f"{_count(len(ended), 'sync')} succeeded."
        return Section(subject, lead, rows, _NOTHING_TO_DO, f"{what} succeeded.", is_good=True)
    heading = "FAILED LATER" if first.status == "failed" else f"{_HEADINGS[first.status]} LATER"
    code = clean_code(first.log.error.code) if first.log.error else f"the status {first.status}"
    advice = f"What to do: look up {code} in the runbook, {build_runbook_link()}."
    if len(bad) > 1:
        lead = f"{len(bad)} syncs that CBR had accepted went wrong later."
        sms = f"{len(bad)} syncs that CBR had accepted went wrong later. {name}: {code}; {len(bad) - 1} more."
        rows = tuple(_describe_end(one) for one in bad)
        return Section(f"{heading}: {len(bad)} syncs", lead, rows, advice, sms)
    lead = (
        f"CBR accepted this sync of {name} at {_format_time(first.log.created_at)} and ended it at "
        f"{_format_time(first.ended_at)} ({_format_hours(first.ended_at - first.log.created_at)}): "
        f"{_describe_end_why(first)}."
    )
    rows = (f"last good sync began {_format_time(first.last_success_at)}",) if first.last_success_at else ()
    sms = (
        f"{name}, the sync accepted at {_format_clock(first.log.created_at)} UTC ended at "
        f"{_format_clock(first.ended_at)}: {code}."
    )
    subject = f"{heading}: {name}, the sync of {_format_clock(first.log.created_at)} UTC"
    return Section(subject, lead, rows, advice, sms)


def _describe_end(one: EndedSync) -> str:
    name = clean_name(one.vault_name or one.vault_id)
    return f"{name}: began {_format_time(one.log.created_at)}, {_describe_end_why(one)}"


def _describe_end_why(one: EndedSync) -> str:
    words = _STATUS_WORDS[one.status]
    if one.log.copies and one.status != "succeeded":
        copies = one.log.copies
        words += f" ({copies.synced} copies synced, {copies.deleted} deleted, {copies.failed} failed)"
    return f"{words}, {_describe_error(one.log.error)}" if one.log.error else words


def _describe_edges(edges: tuple[Edge, ...]) -> Section:
    if len(edges) == 1:
        return _describe_edge(edges[0])
    counts = Counter(edge.kind for edge in edges)
    words = {EdgeKind.OVERDUE: "overdue", EdgeKind.BECAME_STALE: "stale", EdgeKind.RECOVERED: "recovered"}
    listed = ", ".join(f"{count} {words[kind]}" for kind, count in counts.items())
    sections = [_describe_edge(edge) for edge in edges]
    rows = tuple(f"{section.subject}" for section in sections)
    heading = sections[0].subject.partition(":")[0]
    name = clean_name(edges[0].vault_name or edges[0].vault_id)
    sms = f"{listed}. {name} and {len(edges) - 1} more."
    lead = f"Since the last check: {listed}."
    return Section(f"{heading}: {listed}", lead, rows, sections[0].advice, sms, sections[0].is_good)


def _describe_edge(edge: Edge) -> Section:
    name, limit = clean_name(edge.vault_name or edge.vault_id), f"{edge.limit_hours:g} h"
    began = _format_time(edge.sync.created_at)
    advice = f"What to do: see the state in the runbook, {build_runbook_link()}."
    if edge.kind is EdgeKind.OVERDUE:
        lead = f"The sync of {name} that began {began} has been running for over {limit}."
        sms = f"the sync of {name} has been running for over {limit}."
        return Section(f"OVERDUE: {name}, running for over {limit}", lead, (), advice, sms)
    if edge.kind is EdgeKind.BECAME_STALE:
        lead = (
            f"The last good sync of {name} began {began}; the limit is {limit}. "
            "This is sent once; the report repeats it."
        )
        sms = f"{name} is stale, no good sync for {limit}."
        return Section(f"STALE: {name}, no good sync for {limit}", lead, (), advice, sms)
    since = edge.at - edge.before.created_at if edge.before else None
    after = f"after {_format_hours(since)}" if since else ""
    lead = f"A sync of {name} that began {began} has succeeded{', the first ' + after if after else ''}."
    sms = f"{name} has recovered{' ' + after if after else ''}."
    return Section(
        f"RECOVERED: {name}{', ' + after if after else ''}", lead, (), _NOTHING_TO_DO, sms, is_good=True
    )


def _format_time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _format_clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%H:%M}"


def _format_hours(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours and minutes else f"{hours} h" if hours else f"{minutes} min"


def _describe_report(report: Report) -> Section:
    total, bad = len(report.vaults), report.not_fresh
    limit = f"{report.max_age_hours:g} h"
    if not bad:
        lead = f"Each of the {total} vaults has a good sync that began in the last {limit}."
        subject = f"OK: {total} of {total} vaults are fresh"
        return Section(subject, lead, (), _NOTHING_TO_DO, f"all {total} vaults are fresh.", is_good=True)
    worst = bad[0]
    ages = [vault for vault in bad if vault.age_hours is not None]
    oldest = max(ages, key=lambda vault: vault.age_hours or 0, default=None)
    tail = f", oldest {oldest.age_hours:.0f} h" if oldest else ""
    verb = "is" if len(bad) == 1 else "are"
    subject = f"{_STATE_HEADINGS[worst.state]}: {len(bad)} of {total} vaults {verb} not fresh{tail}"
    lead = (
        f"{len(bad)} of {total} vaults {verb} not fresh: no good sync began in the last {limit}, "
        "or the last sync went wrong."
    )
    advice = f"What to do: see the states in the runbook, {build_runbook_link()}."
    name = clean_name(worst.name)
    sms = f"{len(bad)} of {total} vaults {verb} not fresh. {name}: {_STATE_WORDS[worst.state]}{tail}."
    return Section(subject, lead, tuple(_describe_vault(vault) for vault in bad), advice, sms)


def _describe_vault(vault: VaultReport) -> str:
    parts = [_STATE_WORDS[vault.state]]
    if vault.last_error and vault.last_error.error:
        parts.append(_describe_error(vault.last_error.error))
    if vault.last_success:
        parts.append(
            f"last good sync began {_format_time(vault.last_success.started_at)}, {vault.age_hours:.0f} h ago"
        )
    return f"{clean_name(vault.name)}: {', '.join(parts)}"


def _describe_rejected(facts: Facts) -> Section:
    trigger, why = facts.rejected[0]
    count = len(facts.rejected)
    advice = "What to do: fix the sender, and send it again."
    reason = cut(clean(why), MAX_DETAIL_LENGTH)
    if count == 1:
        lead = f"Nothing was synced for it: {reason}. Trigger {clean(trigger.id)}."
        sms = f"a {trigger.kind} trigger was rejected, nothing was synced for it: {reason}."
        return Section(f"REJECTED: a {trigger.kind} trigger", lead, (), advice, sms)
    rows = tuple(
        f"{one.kind} {clean(one.id)}: {cut(clean(text), MAX_DETAIL_LENGTH)}" for one, text in facts.rejected
    )
    sms = f"{count} triggers were rejected, nothing was synced for them: {reason}."
    return Section(
        f"REJECTED: {count} triggers", f"Nothing was synced for {count} triggers.", rows, advice, sms
    )
