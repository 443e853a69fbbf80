"""The command ``follow``: show how operations end, and which vaults become stale, as it happens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from cbr_sync.cli import console
from cbr_sync.cli.options import (
    AsJson,
    ExitCode,
    ObjectType,
    Simulate,
    Tags,
    VaultName,
    build_result_json,
    build_selector,
    choose_exit_code,
    drop_destinations,
    fail_usage,
    invoke_quietly,
    open_environ,
)
from cbr_sync.clock import Clock
from cbr_sync.follow import MAX_HOURS, PERIODS, FollowParam, find_interval
from cbr_sync.models import format_rfc3339
from cbr_sync.reports.models import MAX_AGE_HOURS
from cbr_sync.sinks.messages import build_follow_events

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cbr_sync.local import InvokeResult

# Intervals that could not be read are read later, for so long.
_CATCH_UP = timedelta(hours=24)
# A tick is begun so long after its slot, so that a clock that is a little ahead does not come too early.
_LATE_SECONDS = 2.0
_SOURCE = "/cbr/local"


def follow_syncs(
    every_minutes: Annotated[
        int, typer.Option(help=f"How often to look: {', '.join(map(str, PERIODS))}.", metavar="MINUTES")
    ] = 10,
    once: Annotated[
        bool, typer.Option("--once", help="Look once, at the last full interval, and exit.")
    ] = False,
    max_age_hours: Annotated[
        float,
        typer.Option(
            help="A vault is stale this many hours after its last successful sync started.",
            min=0.01,
            max=MAX_HOURS,
        ),
    ] = MAX_AGE_HOURS,
    overdue_hours: Annotated[
        float, typer.Option(help="A sync is overdue when it runs for longer.", min=0.01, max=MAX_HOURS)
    ] = 12,
    settle_minutes: Annotated[
        float, typer.Option(help="How long CBR may take to show that a sync has ended.", min=0, max=60)
    ] = 5,
    name: VaultName = None,
    object_type: ObjectType = None,
    tag: Tags = None,
    simulate: Simulate = False,
    as_json: AsJson = False,
) -> None:
    """Show how syncs end, whoever started them, and which vaults become stale or recover; Ctrl-C ends it.

    It reads from CBR only, and sends nothing: the deployed function reports the same to its sinks.

    Example: cbr-sync follow --every-minutes 1
    """
    if every_minutes not in PERIODS:
        fail_usage(f"--every-minutes {every_minutes}: expected one of {', '.join(map(str, PERIODS))}")
    options = {
        "every_minutes": every_minutes,
        "max_age_hours": max_age_hours,
        "overdue_hours": overdue_hours,
        "settle_minutes": settle_minutes,
    }
    payload = {"follow": options, "vaults": build_selector(name, object_type, tag)}
    with open_environ(simulate=simulate) as environ:
        quiet = drop_destinations(environ)
        if once:
            result = _tick(payload, datetime.now(UTC), quiet)
            _show(result, as_json=as_json, shows_idle=True)
            raise typer.Exit(choose_exit_code(result))
        try:
            _follow(payload, FollowParam.model_validate(options), quiet, as_json=as_json)
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None


def _follow(
    payload: dict[str, Any], param: FollowParam, environ: Mapping[str, str], *, as_json: bool
) -> None:
    """Look at one interval after the other until Ctrl-C; one that cannot be read is read the next time."""
    clock = Clock()
    period = timedelta(minutes=param.every_minutes)
    slot = find_interval(clock.now(), param).slot
    if not as_json:
        note = f"Looking every {param.every_minutes} minutes for syncs that have ended; Ctrl-C ends it."
        console.make_console(stderr=True).print(note)
    while True:
        result = _tick(payload, slot, environ)
        _show(result, as_json=as_json)
        if choose_exit_code(result) is ExitCode.USAGE:
            raise typer.Exit(ExitCode.USAGE)
        now = clock.now()
        if result.error is None:
            slot += period
        slot = max(slot, find_interval(now - _CATCH_UP, param).slot)
        wait = (slot - now).total_seconds() + _LATE_SECONDS
        clock.sleep(max(wait, 0 if result.error is None else param.every_minutes * 60))


def _tick(payload: dict[str, Any], time: datetime, environ: Mapping[str, str]) -> InvokeResult:
    return invoke_quietly({"trigger": "schedule", "scheduled_time": format_rfc3339(time), **payload}, environ)


def _show(result: InvokeResult, *, as_json: bool, shows_idle: bool = False) -> None:
    """Show the result of a tick; one with nothing to report only where *shows_idle*."""
    if as_json and result.error is not None:
        console.print_json(build_result_json(result))
    for follow in result.result.follows:
        if as_json:
            for event in build_follow_events(follow.ended, follow.edges, _SOURCE):
                console.print_json(event)
        elif shows_idle or not follow.is_idle:
            console.show_follow(follow)
    console.show_error(result)
