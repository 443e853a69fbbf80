"""The command line, for people: play an event, run a simulator, sign a webhook."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from cbr_sync.app import utc_now
from cbr_sync.errors import SettingsError
from cbr_sync.local import Platform, platform_of, play, signature_headers, signed, simulator_environ
from cbr_sync.settings import webhook_secret
from cbr_sync.simulator import (
    DEFAULT_VAULTS,
    SIMULATOR_CREDENTIALS,
    SIMULATOR_PROJECT_ID,
    SIMULATOR_REGION,
    Request,
    Simulator,
    SimulatorServer,
)

try:
    import typer
    from rich.console import Console
    from rich.table import Table
except ModuleNotFoundError as missing:
    sys.exit(f"cbr-sync's command line needs {missing.name}: pip install 'cbr-sync[cli]'")

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cbr_sync.local import Played

FAILED, USAGE = 1, 2
_BAD = {"failed", "unfinished", "timed_out"}

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich")
webhooks = typer.Typer(help="Sign webhooks as their senders do.", no_args_is_help=True)
app.add_typer(webhooks, name="webhook")


@app.command()
def invoke(
    event: Annotated[Path, typer.Argument(help="A file with the event as JSON; - reads stdin.")],
    platform: Annotated[
        Platform | None, typer.Option(help="Whose door to use; told by the file's name if left out.")
    ] = None,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Against a simulator made for this run; no cloud account.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the reply as JSON, and nothing else.")
    ] = False,
) -> None:
    """Play one event through the handler that the cloud calls, and show what came of it.

    A webhook is signed afresh with CBR_SYNC_WEBHOOK_SECRET, for a stored signature is stale after five
    minutes. Settings come from the environment; --simulate puts the simulator's in front.

    Example: cbr-sync invoke events/functiongraph-timer.json --simulate
    """
    content = _read_json(event)
    simulator = SimulatorServer(Simulator(now=utc_now)) if simulate else nullcontext()
    with simulator as server:
        environ = dict(os.environ)
        if server is not None:
            environ |= simulator_environ(server.url, DEFAULT_VAULTS[0].id)
        played = play(_sign(content, environ), platform or platform_of(event), environ)
    if as_json:
        typer.echo(json.dumps(_as_json(played), indent=2, ensure_ascii=False))
    else:
        _show(played)
    raise typer.Exit(_exit_code(played))


@app.command()
def simulate(
    port: Annotated[int, typer.Option(help="The port on loopback; 0 takes any free one.")] = 8642,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="Faults in order, as 503,429,reset,hang; for one vault: VAULT_ID=503*3."),
    ] = None,
    operation_seconds: Annotated[float, typer.Option(help="How long a sync takes to its end.", min=0)] = 5,
    rate: Annotated[int | None, typer.Option(help="Requests a minute before APIGW.0308.", min=1)] = None,
) -> None:
    """Run a CBR on loopback that checks signatures, keeps vaults, and fails on demand.

    Example: cbr-sync simulate --fault 503,429 --fault 8d3a8b28-a697-41e2-8d5d-903669f8a02d=reset
    """
    simulator = Simulator(now=utc_now, operation_seconds=operation_seconds, rate_per_minute=rate)
    for spec in fault or []:
        vault_id, equals, words = spec.rpartition("=")
        try:
            simulator.add_faults(words, vault_id if equals else None)
        except ValueError as error:
            _stop(f"--fault {spec}: {error}")
    try:
        server = SimulatorServer(simulator, port, on_request=_show_request)
    except OSError as error:
        _stop(f"port {port} on loopback cannot be had ({error.strerror}); choose another with --port")
    with server:
        _show_simulator(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo("stopped")


@webhooks.command("sign")
def sign_webhook(
    body: Annotated[str, typer.Argument(help='The body, as {"vault_id": "..."}; - reads stdin.')],
    url: Annotated[str, typer.Option(help="Where the webhook goes to.")] = "https://example.com/",
) -> None:
    """Print the three headers for this body and a curl line that sends it.

    The secret is the first one in CBR_SYNC_WEBHOOK_SECRET, so that it stands in no shell history.

    Example: cbr-sync webhook sign '{"vault_id": "8d3a8b28-a697-41e2-8d5d-903669f8a02d"}' --url https://...
    """
    text = sys.stdin.read() if body == "-" else body
    headers = signature_headers(text.encode(), _secret(os.environ), now=time.time())
    for key, value in headers.items():
        typer.echo(f"{key}: {value}")
    words = ["curl", "--request", "POST", url, "--header", "content-type: application/json"]
    for key, value in headers.items():
        words += ["--header", f"{key}: {value}"]
    typer.echo("\n" + shlex.join([*words, "--data-raw", text]))


def main() -> None:
    """Run the command line; mistakes of ours or of the settings end in a line on stderr, not in a trace."""
    app()


def _read_json(path: Path) -> object:
    name = "stdin" if str(path) == "-" else str(path)
    try:
        return json.loads(sys.stdin.read() if name == "stdin" else path.read_text(encoding="utf-8"))
    except OSError as error:
        _stop(f"{name} cannot be read: {error.strerror}")
    except ValueError as error:
        _stop(f"{name} is not JSON: {error}")


def _sign(event: object, environ: Mapping[str, str]) -> object:
    if not environ.get("CBR_SYNC_WEBHOOK_SECRET"):
        return event
    return signed(event, _secret(environ), now=time.time())


def _secret(environ: Mapping[str, str]) -> bytes:
    words = environ.get("CBR_SYNC_WEBHOOK_SECRET", "").split()
    if not words:
        _stop("CBR_SYNC_WEBHOOK_SECRET: not set; it holds the secret to sign with (whsec_...)")
    try:
        return webhook_secret(words[0])
    except ValueError:
        _stop("CBR_SYNC_WEBHOOK_SECRET: expected whsec_ and base64 of 24 to 64 bytes")


def _as_json(played: Played) -> dict[str, Any]:
    if played.error is None:
        return played.reply or {}
    return {"error": type(played.error).__name__, "message": str(played.error), "outcomes": played.outcomes}


def _exit_code(played: Played) -> int:
    if isinstance(played.error, SettingsError):
        return USAGE
    status = (played.reply or {}).get("statusCode", 200)
    bad = any(outcome["status"] in _BAD for outcome in played.outcomes)
    return FAILED if played.error or status >= 400 or bad else 0  # noqa: PLR2004 - HTTP's own border


def _show(played: Played) -> None:
    """Two lines a vault, so that ids stay whole on a narrow terminal; then what the platform saw."""
    console = Console(soft_wrap=True, highlight=False)
    for outcome in played.outcomes:
        style = "red" if outcome["status"] in _BAD else "green"
        console.print(f"{outcome['vault_id']}  [{style}]{outcome['status']}[/]")
        error = outcome["error"]
        about = (
            f"{error['code']}: {error['message']}" if error else f"operation {outcome['operation_log_id']}"
        )
        console.print(f"    {about} (attempts: {outcome['attempts']})", markup=False)
    console.print(f"{played.kind}: {played.answer}", markup=False)
    if played.error is not None:
        console.print(str(played.error), markup=False, style="red")
    elif not played.outcomes:
        console.print_json(json.dumps(played.reply))


def _show_simulator(url: str) -> None:
    console = Console()
    console.print(f"CBR simulator on {url}; Ctrl-C stops it. What points to it:\n")
    settings = {
        "CBR_SYNC_REGION": SIMULATOR_REGION,
        "CBR_SYNC_ENDPOINT": url,
        "CBR_SYNC_PROJECT_ID": SIMULATOR_PROJECT_ID,
        "HUAWEICLOUD_SDK_AK": SIMULATOR_CREDENTIALS.access_key,
        "HUAWEICLOUD_SDK_SK": SIMULATOR_CREDENTIALS.secret_key,
    }
    for key, value in settings.items():
        console.print(f"  export {key}={value}", markup=False, highlight=False)
    table = Table("vault", "name", "type", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for vault in DEFAULT_VAULTS:
        state = "" if vault.status == "available" else f", {vault.status}"
        table.add_row(vault.id, vault.name, f"{vault.cloud_type} {vault.object_type}{state}")
    console.print("", table, "")


def _show_request(request: Request) -> None:
    answer = request.status or request.fault
    typer.echo(f"{utc_now():%H:%M:%S} {request.method} {request.path} -> {answer}")


def _stop(message: str) -> NoReturn:
    typer.echo(f"cbr-sync: {message}", err=True)
    raise typer.Exit(USAGE)


if __name__ == "__main__":
    main()
