"""Simple Message Notification as a sink: PublishMessage.

Source: SMN API reference, PublishMessage; its subject holds at most 512 bytes, its message 256 KB.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import quote

from pydantic import BaseModel

from cbr_sync.errors import ApiError, SinkError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cbr_sync.api import Project
    from cbr_sync.sinks import CloudEvent


class _PublishMessageResponse(BaseModel):
    message_id: str


class SmnSink:
    """Publishes each event as one message, with a subject that a person can read."""

    def __init__(self, project: Project, endpoint: str, topic_urn: str) -> None:
        self._project = project
        topic = quote(topic_urn, safe="")
        self._url = f"{endpoint}/v2/{project.project_id}/notifications/topics/{topic}/publish"

    def emit(self, events: Sequence[CloudEvent], until: float) -> None:
        """Publish all events, in order.

        Raises:
            SinkError: some were not taken, with the service's code.
        """
        lost = []
        for event in events:
            try:
                self._publish(event, until)
            except ApiError as error:
                lost.append(f"{event['id']}: {error}")
        if lost:
            raise SinkError(f"{len(lost)} messages not taken: {lost[0]}")

    def _publish(self, event: CloudEvent, until: float) -> None:
        body = {"subject": subject(event), "message": json.dumps(event, ensure_ascii=False)}
        self._project.try_again(
            lambda: self._project.post(_PublishMessageResponse, self._url, body, until), until
        )


def subject(event: CloudEvent) -> str:
    """What a person reads first, as in ``cbr-sync: failed: vault 8d3a8b28-...``."""
    status = event["data"].get("status", "an event was rejected")
    about = f": vault {event['subject']}" if "subject" in event else ""
    return f"cbr-sync: {status.replace('_', ' ')}{about}"
