"""The command ``replay``: run dead-lettered events through the handler."""

from __future__ import annotations

import signal
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from cbr_sync.cli import console
from cbr_sync.cli.dead_letters.formats import read_dead_letters
from cbr_sync.cli.dead_letters.player import Player, is_served
from cbr_sync.cli.dead_letters.queue_source import DeadLetterQueue
from cbr_sync.cli.options import (
    AsJson,
    ExitCode,
    Simulate,
    build_result_json,
    choose_exit_code,
    exit_on_error,
    fail,
    fail_usage,
    open_environ,
    read_input,
)
from cbr_sync.errors import EventError
from cbr_sync.triggers.base import Platform

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from cbr_sync.cli.dead_letters.formats import DeadLetter
    from cbr_sync.local import InvokeResult


def replay_events(
    source: Annotated[
        str, typer.Argument(metavar="FILE|QUEUE_URL", help="File, or URL of an SQS queue; - reads stdin.")
    ],
    platform: Annotated[
        Platform | None,
        typer.Option(help="Entry point to use; if not given, the form of each event decides."),
    ] = None,
    simulate: Simulate = False,
    as_json: AsJson = False,
) -> None:
    """Run dead-lettered events through the handler again.

    FILE holds one event, a JSON list, or one event per line; bare, or as a queue or destination received it.

    From an SQS queue, what was served is deleted and the rest stays. Use the function's own settings.

    A sync that started within a day after the event's own time is adopted; no second one is started.

    Example: cbr-sync replay https://sqs.eu-west-1.amazonaws.com/123456789012/failures
    """
    if simulate and _is_url(source):
        fail_usage(
            "--simulate takes a FILE only: events of a real queue would be deleted without a real sync"
        )
    # The messages of a queue have to be released, so Ctrl-C must not end the process at once.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    results: list[tuple[DeadLetter, InvokeResult]] = []
    try:
        with (
            open_environ(simulate=simulate) as environ,
            exit_on_error(as_json=False),
            closing(_replay_source(source, environ, platform)) as replayed,
        ):
            for event, result in replayed:
                results.append((event, result))
                if not as_json:
                    _show_result(event, result)
    except KeyboardInterrupt:
        fail("interrupted; events that were not served have not been removed", ExitCode.INTERRUPTED)
    finally:
        _show_results(results, as_json=as_json)
    if not results and not as_json:
        typer.echo("There are no dead-lettered events.")
    raise typer.Exit(max((_choose_exit_code(result) for _, result in results), default=ExitCode.OK))


def _choose_exit_code(result: InvokeResult) -> ExitCode:
    if code := choose_exit_code(result):
        return code
    return ExitCode.OK if is_served(result) else ExitCode.FAILED


def _is_url(source: str) -> bool:
    return source.startswith(("https://", "http://"))


def _replay_source(
    source: str, environ: Mapping[str, str], platform: Platform | None
) -> Generator[tuple[DeadLetter, InvokeResult], None, None]:
    player = Player(environ, platform=platform)
    if _is_url(source):
        yield from player.replay_queue(DeadLetterQueue(source, environ))
        return
    name, text = read_input(source)
    try:
        events = read_dead_letters(name, text)
    except EventError as error:
        fail_usage(str(error))
    yield from player.replay(events)


def _show_result(event: DeadLetter, result: InvokeResult) -> None:
    verdict = "served" if is_served(result) else f"not served: {result.answer}"
    typer.echo(f"{event.name}: {result.kind}: {verdict}")
    console.show_outcomes(result.outcomes, counts=False)
    console.show_error(result)


def _show_results(results: Sequence[tuple[DeadLetter, InvokeResult]], *, as_json: bool) -> None:
    if as_json:
        console.print_json(
            [
                {"event": event.name, "served": is_served(result), **build_result_json(result)}
                for event, result in results
            ]
        )
    elif results:
        typer.echo(f"{sum(is_served(result) for _, result in results)} of {len(results)} events served")
