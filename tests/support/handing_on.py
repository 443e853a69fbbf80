"""A part of the demo: a webhook comes while a sync runs, is deferred, and is served after it."""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from io import StringIO

from rich.console import Console
from rich.table import Table

from support.later import WORK, Functions
from support.world import START, VMWARE, World, webhook_event


def show_handing_on(console: Console) -> list[str]:
    """Play it on a made-up clock, print what happens when, and return what is unexpected about it."""
    world = World(operation_seconds=240)
    functions = Functions(world, CBR_SYNC_DEFER_TO=WORK)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("time", "what happens", "status", "operation"):
        table.add_column(column, no_wrap=True)

    def add_row(what: str, event: dict[str, str]) -> None:
        operation = event.get("operation_log_id") or "-"
        table.add_row(f"{world.now():%H:%M:%S}", what, event.get("status", "waits"), operation[:8])

    with redirect_stdout(StringIO()):  # the log
        functions.on_lambda({"vault_id": VMWARE})
        add_row("a sync starts, and runs for four minutes", functions.events[-1]["data"])
        world.sleep(30)
        reply = functions.on_lambda(webhook_event({"vault_id": VMWARE}, world))
        add_row("a webhook comes meanwhile", json.loads(reply["body"])["outcomes"][0])
        while functions.queue:
            known = len(functions.events)
            functions.deliver_batch()
            new = functions.events[known:]
            add_row("the queue delivers it", new[-1]["data"] if new else {})
    console.print("\nA trigger that is not served is not forgotten:")
    console.print(table)
    found = (
        reply["statusCode"],
        functions.statuses,
        len(world.started),
        world.started[-1].created_at > START,
    )
    expected = (200, ["accepted", "deferred", "accepted"], 2, True)
    return [] if found == expected else [f"handing on: found {found}, expected {expected}"]
