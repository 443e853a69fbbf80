"""Events read by their envelopes alone, without a run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cbr_sync.settings import Settings
from cbr_sync.triggers.base import Message
from cbr_sync.triggers.envelopes import find_envelope
from support.world import START, World


class FakeReceiver:
    """The run that receives an event.

    Attributes:
        settings: Those of a function that is set up well, without CBR_SYNC_VAULTS.
    """

    request_id = "request-1"
    webhook_secrets: Sequence[bytes] = ()

    def __init__(self, **change: str) -> None:
        """Load the settings with these variables changed."""
        self.settings = Settings.load({**World().environ, "CBR_SYNC_VAULTS": "", **change})

    @property
    def webhook_tokens(self) -> list[str]:
        """Those of the settings."""
        return [token.get_secret_value() for token in self.settings.webhook_tokens]

    def now(self) -> datetime:
        """Return the time at which every test's world begins."""
        return START


def read_messages(event: object, receiver: FakeReceiver | None = None) -> list[Message]:
    """Return the messages in an event.

    Args:
        event: As the platform would hand it over.
        receiver: Who receives it; one without any default vaults, if left out.
    """
    envelope, fields = find_envelope(event)
    return envelope.read(fields, receiver or FakeReceiver())
