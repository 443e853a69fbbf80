"""What the commands print: tables, results and live progress; plain text where stdout is not a terminal."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

import typer
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from cbr_sync.follow import EdgeKind
from cbr_sync.models import Status
from cbr_sync.reports.models import Report, State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.progress import TaskID

    from cbr_sync.follow import FollowResult
    from cbr_sync.huawei.cbr import Vault
    from cbr_sync.local import InvokeResult
    from cbr_sync.models import SyncOutcome
    from cbr_sync.reports.models import SyncRecord, VaultReport
    from cbr_sync.sync import Progress as SyncProgress

# More bars than this would not fit on a terminal.
MAX_BARS = 20

_STYLES: dict[str, str] = {
    **dict.fromkeys((Status.FAILED, Status.TIMED_OUT, State.FAILING, State.NEVER), "bold red"),
    **dict.fromkeys((Status.UNFINISHED, Status.PARTIAL, State.STALE, State.UNKNOWN), "yellow"),
    **dict.fromkeys((Status.ACCEPTED, Status.SUCCEEDED, State.FRESH, "recovered"), "green"),
    "overdue": "yellow",
}
_EDGE_WORDS = {
    EdgeKind.OVERDUE: ("overdue", "began"),
    EdgeKind.BECAME_STALE: ("stale", "the last success began"),
    EdgeKind.RECOVERED: ("recovered", "began"),
}
_NO_SUCCESS = {
    State.NEVER: "no sync has ever succeeded",
    State.UNKNOWN: "no successful sync in the operation logs, which may be incomplete",
}
_PLAIN_WIDTH, _ID_WIDTH, _BAR_WIDTH = 120, 36, 16
_HOURS_A_DAY, _MIN_DAYS_HOURS = 24, 72


def make_console(*, stderr: bool = False) -> Console:
    """Make a console on stdout or stderr as it is now; NO_COLOR and its like are honoured."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, highlight=False, width=None if stream.isatty() else _PLAIN_WIDTH)


def print_json(value: Any) -> None:
    """Print a value for programs; Chinese stays readable."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def style_status(word: str) -> Text:
    """Give a status or a state its colour."""
    return Text(word.replace("_", " "), style=_STYLES.get(word, ""))


def format_vault(name: str, vault_id: str) -> Text:
    """Format a vault's name with its id on the next line."""
    return Text.assemble(name, "\n", (vault_id, "dim"))


def format_age(hours: float | None) -> str:
    """Format an age as ``7 h`` or ``4 days``; a dash if it is not known."""
    if hours is None:
        return "-"
    return f"{hours:.0f} h" if hours < _MIN_DAYS_HOURS else f"{hours / _HOURS_A_DAY:.0f} days"


def make_table(*columns: str) -> Table:
    """Make an empty table without lines, whose last column takes the remaining width."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in columns[:-1]:
        table.add_column(name, overflow="fold", width=_ID_WIDTH if name == "vault" else None)
    table.add_column(columns[-1], overflow="fold", ratio=1)
    return table


def show_report(report: Report) -> None:
    """Show the vaults, the worst first, then the totals."""
    table = make_table("state", "age", "vault", "details")
    for vault in report.vaults:
        name = format_vault(vault.name, vault.vault_id)
        details = Text("\n".join(_describe_state(vault)))
        table.add_row(style_status(vault.state), format_age(vault.age_hours), name, details)
    make_console().print(table, "")
    show_counts(report)


def show_counts(report: Report) -> None:
    """Show how many vaults are in each state."""
    counts = ", ".join(f"{count} {state}" for state, count in report.counts.items())
    make_console().print(f"{counts} (limit: {report.max_age_hours:g} hours)")


def _describe_state(vault: VaultReport) -> list[str]:
    lines = []
    if vault.last_error:
        lines.append(_describe_failure(vault.last_error))
    if vault.running:
        percent = "" if vault.running.progress is None else f", {vault.running.progress}%"
        lines.append(f"{vault.running.status} since {vault.running.started_at:%d %b %H:%M} UTC{percent}")
    if vault.vault_status not in (None, "available"):
        lines.append(f"the vault is {vault.vault_status}")
    if vault.last_success and not vault.last_error:
        lines.append(f"last success {vault.last_success.started_at:%d %b %H:%M} UTC")
    return lines or [_NO_SUCCESS.get(vault.state, "")]


def _describe_failure(sync: SyncRecord) -> str:
    if sync.error:
        return f"{sync.error.code}: {sync.error.message}"
    return f"{sync.copies.failed} copies failed" if sync.copies else sync.status.replace("_", " ")


def show_vaults(vaults: Sequence[Vault]) -> None:
    """Show the vaults, two lines each."""
    table = make_table("vault", "type", "status", "tags")
    for vault in vaults:
        tags = ", ".join(f"{tag.key}={tag.value}" for tag in vault.tags or ())
        name = format_vault(vault.name, vault.id)
        table.add_row(name, vault.billing.object_type or "-", vault.billing.status or "-", Text(tags))
    make_console().print(table)


def show_follow(follow: FollowResult) -> None:
    """Show a line for each operation that ended, and for each line that a vault crossed, as they happened."""
    rows = []
    for one in follow.ended:
        began = f"began {one.log.created_at:%d %b %H:%M}"
        why = f", {one.log.error.code}: {one.log.error.message}" if one.log.error else ""
        rows.append((one.ended_at, one.status, one.vault_name or one.vault_id, f"{began}{why}"))
    for edge in follow.edges:
        word, what = _EDGE_WORDS[edge.kind]
        began = f"{what} {edge.sync.created_at:%d %b %H:%M}"
        rows.append((edge.at, word, edge.vault_name or edge.vault_id, began))
    out = make_console()
    if not rows:
        out.print(
            f"nothing to report from {follow.interval.start:%d %b %H:%M} to {follow.interval.end:%H:%M} UTC"
        )
    for moment, word, vault, text in sorted(rows):
        line = Text.assemble(f"{moment:%d %b %H:%M} UTC  ", style_status(word), f"  {vault}  {text}")
        out.print(line, soft_wrap=True)


def show_error(result: InvokeResult) -> None:
    """Show on stderr why a run failed, if it did."""
    if result.error is not None:
        typer.echo(f"cbr-sync: {result.error}", err=True)


def show_outcomes(outcomes: Sequence[SyncOutcome], *, counts: bool = True) -> None:
    """Show the outcome of each vault on two lines, so that ids stay whole on a narrow terminal.

    Args:
        outcomes: The outcomes of a run.
        counts: End with how many there are of each status, if there is more than one outcome.
    """
    out = make_console()
    for outcome in outcomes:
        out.print(Text.assemble(outcome.vault_id, "  ", style_status(outcome.status)), soft_wrap=True)
        for line in _describe_outcome(outcome):
            if out.is_terminal:
                out.print(Padding(Text(line), (0, 0, 0, 4)))
            else:
                out.print(f"    {line}", markup=False, soft_wrap=True)
    if counts and len(outcomes) > 1:
        by_status = Counter(outcome.status.replace("_", " ") for outcome in outcomes)
        out.print("\n" + ", ".join(f"{count} {status}" for status, count in by_status.most_common()))


def _describe_outcome(outcome: SyncOutcome) -> Iterator[str]:
    attempts = f"(attempts: {outcome.attempts})"
    if error := outcome.error:
        yield f"{error.code}: {error.message} {attempts}"
    else:
        yield f"operation {outcome.operation_log_id} {attempts}"
    if copies := outcome.copies:
        yield f"copies: {copies.synced} synced, {copies.deleted} deleted, {copies.failed} failed"


class LiveProgress:
    """A progress bar for each vault on a terminal, and nothing elsewhere. Use it as a context manager.

    Vaults beyond a screenful get no bar of their own; one more bar counts all vaults then.
    """

    def __init__(self, out: Console, *, wait: bool) -> None:
        """Prepare the bars.

        Args:
            out: Where they are drawn.
            wait: Whether an accepted sync is followed, so that ``accepted`` is not its end.
        """
        columns = (TextColumn("{task.description}"), BarColumn(_BAR_WIDTH), TaskProgressColumn())
        state = TextColumn("{task.fields[state]}")
        self._progress = Progress(*columns, state, console=out, disable=not out.is_terminal, transient=True)
        self._total = self._progress.add_task("", state="", visible=False)
        self._tasks: dict[str, TaskID] = {}
        self._ended: set[str] = set()
        self._final = set(Status) - ({Status.ACCEPTED} if wait else set())

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, progress: SyncProgress) -> None:
        """Show how far a vault has got."""
        if progress.vault_id not in self._tasks:
            self._add_bar(progress.vault_id)
        if ended := progress.state in self._final:
            self._ended.add(progress.vault_id)
        percent = 100 if ended else progress.percent or 0
        state = progress.state.replace("_", " ")
        self._progress.update(self._tasks[progress.vault_id], completed=percent, state=state)
        count = len(self._tasks)
        self._progress.update(
            self._total,
            description=f"{len(self._ended)} of {count} vaults".ljust(_ID_WIDTH),
            completed=len(self._ended),
            total=count,
            visible=count > MAX_BARS,
        )

    def _add_bar(self, vault_id: str) -> None:
        visible = len(self._tasks) < MAX_BARS
        self._tasks[vault_id] = self._progress.add_task(vault_id, total=100, state="", visible=visible)
