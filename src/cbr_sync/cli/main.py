"""The command line: every command under its name."""

from __future__ import annotations

from typing import Annotated

import typer

import cbr_sync
from cbr_sync.cli.doctor.command import run_doctor
from cbr_sync.cli.follow import follow_syncs
from cbr_sync.cli.invoke import invoke_event
from cbr_sync.cli.notify import preview_messages
from cbr_sync.cli.replay import replay_events
from cbr_sync.cli.report import show_report
from cbr_sync.cli.schema import print_schema
from cbr_sync.cli.simulate import run_simulator
from cbr_sync.cli.sync import sync_vaults
from cbr_sync.cli.vaults import list_vaults
from cbr_sync.cli.webhook import print_new_secret, send_webhook, sign_webhook

_HELP = """
Sync hybrid vaults in Huawei Cloud CBR, check their state, and try everything without a cloud account.

Settings are environment variables, as in the deployed function; --simulate uses a local simulator instead.
"""
_OPERATION, _DEVELOPMENT = "Operation", "Development and troubleshooting"

app = typer.Typer(help=_HELP, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich")
app.command("sync", rich_help_panel=_OPERATION)(sync_vaults)
app.command("report", rich_help_panel=_OPERATION)(show_report)
app.command("follow", rich_help_panel=_OPERATION)(follow_syncs)
app.command("vaults", rich_help_panel=_OPERATION)(list_vaults)
app.command("notify", rich_help_panel=_OPERATION)(preview_messages)
app.command("doctor", rich_help_panel=_OPERATION)(run_doctor)
app.command("invoke", rich_help_panel=_DEVELOPMENT)(invoke_event)
app.command("replay", rich_help_panel=_DEVELOPMENT)(replay_events)
app.command("simulate", rich_help_panel=_DEVELOPMENT)(run_simulator)
app.command("schema", rich_help_panel=_DEVELOPMENT)(print_schema)

webhook = typer.Typer(help="Make secrets for webhooks, sign and send them.", no_args_is_help=True)
webhook.command("new-secret")(print_new_secret)
webhook.command("sign")(sign_webhook)
webhook.command("send")(send_webhook)
app.add_typer(webhook, name="webhook", rich_help_panel=_DEVELOPMENT)


def _show_version(value: bool) -> None:  # noqa: FBT001 - as Typer calls it
    if value:
        typer.echo(f"cbr-sync {cbr_sync.__version__}")
        raise typer.Exit


_Version = Annotated[
    bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
]


@app.callback()
def _read_options(_version: _Version = False) -> None:  # noqa: FBT002 - as Typer reads it
    """Take the options that come before a command."""
