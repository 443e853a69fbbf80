"""One event in, one reply out: the whole flow, the same on every platform."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cbr_sync.run import Context, Run
from cbr_sync.triggers.envelopes import find_envelope

if TYPE_CHECKING:
    from cbr_sync.triggers.base import Reply


def handle(event: object, context: Context) -> Reply:
    """Handle one event and return the reply in its envelope's form.

    Args:
        event: As the platform hands it over.
        context: What the entry point knows of this invocation.

    Raises:
        SyncUnfinished: Something is left, and nothing was lost; webhooks get a reply to every error.
        EventError: The event cannot be read; it was emitted as rejected.
        ApiError: The vaults cannot be listed, and never will be; it was emitted as rejected.
        SettingsError: Settings or credentials are wrong.
        SinkError: A sink did not accept everything, after all were tried.
    """
    envelope, fields = find_envelope(event)
    with context.logger.append_context_keys(request_id=context.request_id, kind=envelope.kind):
        try:
            run = Run(context, max_seconds=envelope.max_seconds)
            messages = envelope.read(fields, run)
            with run.pinged(messages):
                run.serve(messages, in_order=envelope.in_order(fields))
                run.emit()
                run.hand_on_again()
            return envelope.reply(run.result)
        except Exception as error:  # noqa: BLE001 - the envelope raises it again, but for webhooks
            return envelope.reply_to_error(error, context.logger)
