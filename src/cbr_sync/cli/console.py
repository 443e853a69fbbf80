"""What the command line shows: tables, live progress, errors; plain where it is not read on a terminal."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from cbr_sync.cli.doctor.finding import Verdict
from cbr_sync.models import Status
from cbr_sync.reports.models import Report, State

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.progress import TaskID

    from cbr_sync.cli.doctor.finding import Finding
    from cbr_sync.huawei.cbr import Vault
    from cbr_sync.reports.models import SyncRecord, VaultReport
    from cbr_sync.sync import Progress as Watched


_STYLES = {
    **dict.fromkeys((Status.FAILED, Status.TIMED_OUT, State.FAILING, State.NEVER), "bold red"),
    **dict.fromkeys((Status.UNFINISHED, Status.PARTIAL, State.STALE, State.UNKNOWN), "yellow"),
    **dict.fromkeys((Status.ACCEPTED, Status.SUCCEEDED, State.FRESH), "green"),
}


_PLAIN_WIDTH, _ID_WIDTH = 120, 36


_DAY_HOURS, _DAYS_FROM = 24, 72


# More vaults than this are shown as sums while they go on: they would not fit on a terminal.
ROWS_SHOWN = 20


def make_console(*, stderr: bool = False) -> Console:
    """A console on the stream as it is now; NO_COLOR and the like mean what they always mean."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, highlight=False, width=None if stream.isatty() else _PLAIN_WIDTH)


def print_json(value: Any) -> None:
    """For programs: JSON and nothing else; Chinese stays readable."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def style_word(word: str) -> Text:
    """A status or a state in its colour."""
    return Text(word.replace("_", " "), style=_STYLES.get(word, ""))  # type: ignore[call-overload]


def format_vault(name: str, vault_id: str) -> Text:
    """A vault's name, and its id below."""
    return Text.assemble(name, "\n", (vault_id, "dim"))


def make_table(*columns: str) -> Table:
    """An empty table without lines; its last column takes what room is left."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in columns[:-1]:
        table.add_column(name, overflow="fold", width=_ID_WIDTH if name == "vault" else None)
    table.add_column(columns[-1], overflow="fold", ratio=1)
    return table


def format_age(hours: float | None) -> str:
    """Hours as people say them: ``7 h``, ``4 days``; a dash where they are not known."""
    if hours is None:
        return "-"
    return f"{hours:.0f} h" if hours < _DAYS_FROM else f"{hours / _DAY_HOURS:.0f} days"


def show_report(report: Report) -> None:
    """A row a vault, the worst first, then the sums."""
    table = make_table("state", "age", "vault", "what is known")
    for vault in report.vaults:
        name = format_vault(vault.name, vault.vault_id)
        table.add_row(
            style_word(vault.state), format_age(vault.age_hours), name, Text(_describe_state(vault))
        )
    make_console().print(table, "")
    show_sums(report)


def show_sums(report: Report) -> None:
    """How many vaults are in each state."""
    sums = ", ".join(f"{count} {state}" for state, count in report.counts.items())
    make_console().print(f"{sums} (limit: {report.max_age_hours:g} hours)")


def _describe_state(vault: VaultReport) -> str:
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
    return "\n".join(lines) or _MEANING.get(vault.state, "")


_MEANING = {
    State.NEVER: "no sync of it ever succeeded",
    State.UNKNOWN: "no sync is in the logs; they may have lost it",
}


def _describe_failure(sync: SyncRecord) -> str:
    if sync.error:
        return f"{sync.error.code}: {sync.error.message}"
    return f"{sync.copies.failed} copies failed" if sync.copies else sync.status.replace("_", " ")


def show_vaults(vaults: Sequence[Vault]) -> None:
    """A row a vault, two lines of it."""
    table = make_table("vault", "type", "status", "tags")
    for vault in vaults:
        tags = ", ".join(f"{tag.key}={tag.value}" for tag in vault.tags or ())
        name = format_vault(vault.name, vault.id)
        table.add_row(name, vault.billing.object_type or "-", vault.billing.status or "-", Text(tags))
    make_console().print(table)


_SYMBOLS = {
    Verdict.OK: Text("ok     ", style="green"),
    Verdict.WARNING: Text("warning", style="yellow"),
    Verdict.FAILED: Text("FAILED ", style="bold red"),
    Verdict.SKIPPED: Text("skipped", style="dim"),
}


def show_finding(finding: Finding) -> None:
    """A line, and what to do below it."""
    out = make_console()
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_row(_SYMBOLS[finding.verdict], Text.assemble((finding.subject, "bold"), f": {finding.found}"))
    if finding.remedy:
        row.add_row("", Text(f"> {finding.remedy}"))
    out.print(row)


def show_outcomes(shown: Sequence[Mapping[str, Any]], *, sums: bool = True) -> None:
    """Two lines a vault, so that ids stay whole on a narrow terminal; of several the sums, too."""
    out = make_console()
    for outcome in shown:
        out.print(Text.assemble(outcome["vault_id"], "  ", style_word(outcome["status"])), soft_wrap=True)
        for line in _details(outcome):
            if out.is_terminal:
                out.print(Padding(Text(line), (0, 0, 0, 4)))
            else:
                out.print(f"    {line}", markup=False, soft_wrap=True)
    counts = Counter(outcome["status"].replace("_", " ") for outcome in shown)
    if sums and len(shown) > 1:
        out.print("\n" + ", ".join(f"{count} {word}" for word, count in counts.most_common()))


def _details(outcome: Mapping[str, Any]) -> Iterator[str]:
    attempts = f"(attempts: {outcome['attempts']})"
    if error := outcome["error"]:
        yield f"{error['code']}: {error['message']} {attempts}"
    else:
        yield f"operation {outcome['operation_log_id']} {attempts}"
    if copies := outcome["copies"]:
        yield "copies: " + ", ".join(f"{count} {word}" for word, count in copies.items())


class LiveProgress:
    """A bar for each vault on its way, on a terminal; nothing elsewhere. Use it as a context manager.

    Beyond a screenful of vaults the others are summed up. ``following`` says that an accepted sync goes on.
    """

    def __init__(self, out: Console, *, following: bool) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(16), TaskProgressColumn())
        state = TextColumn("{task.fields[state]}")
        self._progress = Progress(*columns, state, console=out, disable=not out.is_terminal, transient=True)
        self._all = self._progress.add_task("", state="", visible=False)
        self._tasks: dict[str, TaskID] = {}
        self._ended: set[str] = set()
        self._going_on = {Status.ACCEPTED} if following else set()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def watch(self, watched: Watched) -> None:
        """Show how far this vault is."""
        if watched.vault_id not in self._tasks:
            self._add(watched.vault_id)
        ended = watched.state in set(Status) - self._going_on
        if ended:
            self._ended.add(watched.vault_id)
        percent = 100 if ended else watched.percent or 0
        state = watched.state.replace("_", " ")
        self._progress.update(self._tasks[watched.vault_id], completed=percent, state=state)
        count = len(self._tasks)
        self._progress.update(
            self._all,
            description=f"{len(self._ended)} of {count} vaults".ljust(36),
            completed=len(self._ended),
            total=count,
            visible=count > ROWS_SHOWN,
        )

    def _add(self, vault_id: str) -> None:
        visible = len(self._tasks) < ROWS_SHOWN
        self._tasks[vault_id] = self._progress.add_task(vault_id, total=100, state="", visible=visible)
