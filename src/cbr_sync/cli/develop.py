"""The commands of whoever builds and mends: invoke, replay, simulate, webhook, schema."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import httpx
import typer

from cbr_sync.app import utc_now
from cbr_sync.cli import console
from cbr_sync.cli.dead_letters.formats import read_dead_letters
from cbr_sync.cli.dead_letters.player import is_served, replay_queue
from cbr_sync.cli.dead_letters.player import replay_dead_letters as replay_letters
from cbr_sync.cli.dead_letters.queue_source import DeadLetterQueue
from cbr_sync.cli.options import (
    FAILED,
    INTERRUPTED,
    AsJson,
    Simulate,
    build_json,
    choose_exit_code,
    fail,
    fail_usage,
    open_environ,
    report_errors,
    show_error,
)
from cbr_sync.cli.schema import build_schema as schema_of_messages
from cbr_sync.errors import EventError
from cbr_sync.local import Platform, platform_of, play, signature_headers, signed
from cbr_sync.settings import HYBRID, parse_webhook_secret
from cbr_sync.simulator.models import SIMULATOR_CREDENTIALS, SIMULATOR_PROJECT_ID, SIMULATOR_REGION
from cbr_sync.simulator.scenarios import demo_simulator
from cbr_sync.simulator.server import SimulatorServer

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from cbr_sync.cli.dead_letters.formats import DeadLetter
    from cbr_sync.local import InvokeResult
    from cbr_sync.simulator.cloud import Simulator
    from cbr_sync.simulator.models import Request

WEBHOOK_SECONDS = 60.0
_NO_CLIENT = "a proxy's or a certificate's variable is wrong (HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE)"


def invoke(
    event: Annotated[Path, typer.Argument(help="A file with the event as JSON; - reads stdin.")],
    platform: Annotated[
        Platform | None, typer.Option(help="Whose door to use; told by the file's name if left out.")
    ] = None,
    simulate: Simulate = False,
    as_json: AsJson = False,
) -> None:
    """Play one event through the handler that the cloud calls; the log goes to stderr.

    A webhook is signed afresh with CBR_SYNC_WEBHOOK_SECRET: a stored signature is stale by now.

    Example: cbr-sync invoke events/functiongraph-timer.json --simulate
    """
    content = _read_json(event)
    with open_environ(simulate=simulate) as environ:
        played = play(_sign(content, environ), platform or platform_of(event), environ)
    if as_json:
        console.print_json(build_json(played))
    else:
        _show_played(played)
    raise typer.Exit(choose_exit_code(played))


def simulate(
    port: Annotated[
        int, typer.Option(help="The port on loopback; 0 takes any free one.", min=0, max=65_535)
    ] = 8642,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="Faults in order, as 503,429,reset,hang; for one vault: VAULT_ID=503*3."),
    ] = None,
    operation_seconds: Annotated[float, typer.Option(help="How long a sync takes to its end.", min=0)] = 5,
    rate: Annotated[int | None, typer.Option(help="Requests a minute before APIGW.0308.", min=1)] = None,
) -> None:
    """Run a CBR on loopback that checks signatures, keeps vaults and their histories, and fails on demand.

    Example: cbr-sync simulate --fault 503,429 --fault 8d3a8b28-a697-41e2-8d5d-903669f8a02d=reset
    """
    simulator = demo_simulator(utc_now, operation_seconds=operation_seconds, rate_per_minute=rate)
    for spec in fault or []:
        name, equals, words = spec.rpartition("=")
        try:
            simulator.add_faults(words, name if equals else None)
        except ValueError as error:
            fail_usage(f"--fault {spec}: {error}")
    try:
        server = SimulatorServer(simulator, port, on_request=_show_request)
    except OSError as error:
        fail_usage(f"port {port} on loopback cannot be had ({error.strerror}); choose another with --port")
    # Here Ctrl-C is the way to the end.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with server:
        _show_simulator(simulator, server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo("stopped")


def sign_webhook(
    body: Annotated[str, typer.Argument(help='The body, as {"vault_id": "..."}; - reads stdin.')],
    url: Annotated[str, typer.Option(help="Where the webhook goes to.")] = "https://example.com/",
) -> None:
    """Print the three headers for this body and a curl line that sends it.

    The secret is the first one in CBR_SYNC_WEBHOOK_SECRET, so that it stands in no shell history.

    Example: cbr-sync webhook sign '{"vault_id": "8d3a8b28-a697-41e2-8d5d-903669f8a02d"}' --url https://example.com/
    """
    content = _body(body)
    headers = signature_headers(content, _secret(os.environ), now=time.time())
    for key, value in headers.items():
        typer.echo(f"{key}: {value}")
    words = ["curl", "--request", "POST", url, "--header", "content-type: application/json"]
    for key, value in headers.items():
        words += ["--header", f"{key}: {value}"]
    typer.echo("\n" + shlex.join([*words, "--data-raw", content.decode()]))


def send_webhook(
    body: Annotated[str, typer.Argument(help='The body, as {"vault_id": "..."}; - reads stdin.')],
    url: Annotated[str, typer.Option(help="Where the webhook goes to.")],
) -> None:
    """Sign this body, send it, and show the answer.

    The secret is the first one in CBR_SYNC_WEBHOOK_SECRET. Exits with 1 unless the answer is 200.

    Example: cbr-sync webhook send '{"vault_id": "8d3a8b28-a697-41e2-8d5d-903669f8a02d"}' --url https://example.com/
    """
    content = _body(body)
    headers = signature_headers(content, _secret(os.environ), now=time.time())
    headers["content-type"] = "application/json"
    try:
        answer = httpx.post(url, content=content, headers=headers, timeout=WEBHOOK_SECONDS)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError):
        fail_usage(f"--url {url}: expected a URL such as https://example.com/sync")
    except (httpx.HTTPError, OSError, ValueError, ImportError) as error:
        fail(f"{url} gives no answer: {str(error) if isinstance(error, httpx.HTTPError) else _NO_CLIENT}")
    typer.echo(f"HTTP {answer.status_code} {answer.reason_phrase}", err=True)
    typer.echo(answer.text)
    raise typer.Exit(0 if answer.status_code == httpx.codes.OK else FAILED)


def replay(
    source: Annotated[str, typer.Argument(metavar="FILE|QUEUE_URL", help="- reads stdin.")],
    platform: Annotated[
        Platform | None, typer.Option(help="Whose door to use; told by each event's form if left out.")
    ] = None,
    simulate: Simulate = False,
    as_json: AsJson = False,
) -> None:
    """Play dead letters through the handler that they were meant for.

    A FILE holds events: one, a list, or one a line; as they are, or as a queue or a destination got them.

    Of a queue, what was served is deleted and the rest stays; the settings have to be the function's own.

    What was started within a day after a letter's own time is found and adopted, not started again.

    Example: cbr-sync replay https://sqs.eu-west-1.amazonaws.com/123456789012/failures
    """
    if simulate and _is_url(source):
        fail_usage("--simulate would take letters out of a real queue; it plays a FILE")
    # So that what is held of a queue is let go.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    played: list[tuple[DeadLetter, InvokeResult]] = []
    try:
        with (
            open_environ(simulate=simulate) as environ,
            report_errors(as_json=False),
            closing(_letters_played(source, environ, platform)) as letters,
        ):
            for letter, one in letters:
                played.append((letter, one))
                if not as_json:
                    _show_letter(letter, one)
    except KeyboardInterrupt:
        fail("interrupted; what was not served stays where it is", INTERRUPTED)
    finally:
        _show_letters(played, as_json=as_json)
    if not played and not as_json:
        typer.echo("no dead letter is there")
    codes = [choose_exit_code(one) or (0 if is_served(one) else FAILED) for _, one in played]
    raise typer.Exit(max(codes, default=0))


def schema() -> None:
    """Print the JSON Schema of every message that is emitted.

    Example: cbr-sync schema > messages.schema.json
    """
    console.print_json(schema_of_messages())


def _letters_played(
    source: str, environ: Mapping[str, str], platform: Platform | None
) -> Generator[tuple[DeadLetter, InvokeResult], None, None]:
    if _is_url(source):
        yield from replay_queue(DeadLetterQueue(source, environ), environ, platform=platform)
    else:
        name, text = _read(source)
        try:
            letters = read_dead_letters(name, text)
        except EventError as error:
            fail_usage(str(error))
        yield from replay_letters(letters, environ, platform=platform)


def _is_url(source: str) -> bool:
    return source.startswith(("https://", "http://"))


def _show_letters(played: list[tuple[DeadLetter, InvokeResult]], *, as_json: bool) -> None:
    if as_json:
        console.print_json(
            [{"letter": letter.name, "served": is_served(one), **build_json(one)} for letter, one in played]
        )
    elif played:
        typer.echo(f"{sum(is_served(one) for _, one in played)} of {len(played)} served")


def _show_letter(letter: DeadLetter, played: InvokeResult) -> None:
    typer.echo(f"{letter.name}: {played.kind}: {'served' if is_served(played) else 'left: ' + played.answer}")
    console.show_outcomes(played.outcomes, sums=False)
    show_error(played)


def _read(path: Path | str) -> tuple[str, str]:
    """What a file holds, or stdin; and its name for people."""
    if str(path) == "-":
        return "stdin", sys.stdin.read()
    try:
        return str(path), Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail_usage(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is no UTF-8 text'}")


def _read_json(path: Path) -> object:
    name, text = _read(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        fail_usage(f"{name} is not JSON: {error}")


def _body(text: str) -> bytes:
    try:
        return (sys.stdin.read() if text == "-" else text).encode()
    except UnicodeEncodeError:
        fail_usage("the body is no UTF-8 text")


def _sign(event: object, environ: Mapping[str, str]) -> object:
    if not environ.get("CBR_SYNC_WEBHOOK_SECRET"):
        return event
    return signed(event, _secret(environ), now=time.time())


def _secret(environ: Mapping[str, str]) -> bytes:
    words = environ.get("CBR_SYNC_WEBHOOK_SECRET", "").split()
    if not words:
        fail_usage("CBR_SYNC_WEBHOOK_SECRET: not set; it holds the secret to sign with (whsec_...)")
    try:
        return parse_webhook_secret(words[0])
    except ValueError:
        fail_usage("CBR_SYNC_WEBHOOK_SECRET: expected whsec_ and base64 of 24 to 64 bytes")


def _show_played(played: InvokeResult) -> None:
    """The outcomes, then what the platform saw."""
    console.show_outcomes(played.outcomes)
    typer.echo(f"{played.kind}: {played.answer}")
    show_error(played)
    if played.error is None and not played.outcomes:
        console.print_json(played.reply)


def _show_simulator(simulator: Simulator, url: str) -> None:
    typer.echo(f"CBR simulator on {url}; Ctrl-C stops it. What points to it:\n")
    settings = {
        "CBR_SYNC_REGION": SIMULATOR_REGION,
        "CBR_SYNC_ENDPOINT": url,
        "CBR_SYNC_PROJECT_ID": SIMULATOR_PROJECT_ID,
        "HUAWEICLOUD_SDK_AK": SIMULATOR_CREDENTIALS.access_key,
        "HUAWEICLOUD_SDK_SK": SIMULATOR_CREDENTIALS.secret_key,
        "CBR_SYNC_VAULTS": HYBRID,
    }
    for key, value in settings.items():
        typer.echo(f"  export {key}={value}")
    table = console.make_table("vault", "type")
    for vault in simulator.vaults:
        state = "" if vault.status == "available" else f", {vault.status}"
        name = console.format_vault(vault.name, vault.id)
        table.add_row(name, f"{vault.cloud_type} {vault.object_type}{state}")
    console.make_console().print("", table, "")


def _show_request(request: Request) -> None:
    answer = request.status or request.fault
    typer.echo(f"{utc_now():%H:%M:%S} {request.method} {request.path} -> {answer}")
