"""The command ``simulate``: run a local CBR simulator."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Annotated

import typer

from cbr_sync.cli import console
from cbr_sync.cli.options import fail_usage
from cbr_sync.clock import Clock
from cbr_sync.settings import HYBRID
from cbr_sync.simulator.faults import describe_faults
from cbr_sync.simulator.models import SIMULATOR_CREDENTIALS, SIMULATOR_PROJECT_ID, SIMULATOR_REGION
from cbr_sync.simulator.scenarios import demo_simulator
from cbr_sync.simulator.server import SimulatorServer

if TYPE_CHECKING:
    from cbr_sync.simulator.cloud import Simulator
    from cbr_sync.simulator.models import Request


def run_simulator(
    port: Annotated[
        int, typer.Option(help="Port on 127.0.0.1; 0 takes any free one.", min=0, max=65_535)
    ] = 8642,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help="Faults in order, such as 503,429*3,reset; for one vault VAULT_ID=503, for one operation "
            "ListOpLogs=hang. 'list' explains them all."
        ),
    ] = None,
    operation_seconds: Annotated[float, typer.Option(help="How long each sync takes.", min=0)] = 5,
    rate: Annotated[
        int | None, typer.Option(help="Requests per minute before it throttles (APIGW.0308).", min=1)
    ] = None,
    rate_per_second: Annotated[
        float | None, typer.Option(help="Requests per second before it throttles, such as 0.5.", min=0.001)
    ] = None,
    clock_offset: Annotated[
        float, typer.Option(help="Seconds by which the API's clock is ahead; negative: behind.")
    ] = 0,
    whole_seconds: Annotated[
        bool, typer.Option("--whole-seconds", help="Cut the times of operations to whole seconds.")
    ] = False,
    odd_rows: Annotated[
        bool, typer.Option("--odd-rows", help="Add rows to lists that are null or malformed in places.")
    ] = False,
) -> None:
    """Run a local CBR simulator that checks signatures, keeps vaults and their logs, and fails on demand.

    Example: cbr-sync simulate --fault 503,429 --fault 8d3a8b28-a697-41e2-8d5d-903669f8a02d=reset
    """
    if "list" in (fault or []):
        for name, summary in describe_faults().items():
            typer.echo(f"{name:<22}{summary}")
        raise typer.Exit
    simulator = demo_simulator(
        Clock().now,
        operation_seconds=operation_seconds,
        rate_per_minute=rate,
        rate_per_second=rate_per_second,
        clock_offset_seconds=clock_offset,
        whole_seconds=whole_seconds,
        odd_rows=odd_rows,
    )
    for spec in fault or []:
        vault, equals, faults = spec.rpartition("=")
        try:
            simulator.add_faults(faults, vault if equals else None)
        except ValueError as error:
            fail_usage(f"--fault {spec}: {error}")
    try:
        server = SimulatorServer(simulator, port, on_request=_show_request)
    except OSError as error:
        fail_usage(f"cannot listen on 127.0.0.1:{port} ({error.strerror}); choose another port with --port")
    # Ctrl-C is the regular way to stop it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with server:
        _show_simulator(simulator, server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo("stopped")


def _show_simulator(simulator: Simulator, url: str) -> None:
    typer.echo(f"The CBR simulator is listening on {url}; press Ctrl-C to stop it. To use it, set:\n")
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
        status = "" if vault.status == "available" else f", {vault.status}"
        name = console.format_vault(vault.name, vault.id)
        table.add_row(name, f"{vault.cloud_type} {vault.object_type}{status}")
    console.make_console().print("", table, "")


def _show_request(request: Request) -> None:
    answer = request.status or request.fault
    typer.echo(f"{Clock().now():%H:%M:%S} {request.method} {request.path} -> {answer}")
