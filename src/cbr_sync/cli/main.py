"""The command line: every command under its name."""

from __future__ import annotations

import typer

from cbr_sync.cli import develop, operate

_HELP = """
Sync hybrid vaults of Huawei Cloud CBR, see how they stand, and try all of it without an account.

Settings come from the environment, as on the platforms; --simulate puts a simulator in the cloud's place.
"""


_OPERATE, _DEVELOP = "Every day", "To build and to mend"


app = typer.Typer(help=_HELP, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich")


app.command(rich_help_panel=_OPERATE)(operate.sync)


app.command(rich_help_panel=_OPERATE)(operate.report)


app.command(rich_help_panel=_OPERATE)(operate.vaults)


app.command(rich_help_panel=_OPERATE)(operate.doctor)


app.command(rich_help_panel=_DEVELOP)(develop.invoke)


app.command(rich_help_panel=_DEVELOP)(develop.replay)


app.command(rich_help_panel=_DEVELOP)(develop.simulate)


app.command(rich_help_panel=_DEVELOP)(develop.schema)


webhook = typer.Typer(help="Sign and send webhooks as their senders do.", no_args_is_help=True)


app.add_typer(webhook, name="webhook", rich_help_panel=_DEVELOP)


webhook.command("sign")(develop.sign_webhook)


webhook.command("send")(develop.send_webhook)
