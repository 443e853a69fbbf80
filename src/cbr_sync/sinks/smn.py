"""Simple Message Notification as a sink: PublishMessage.

Source: SMN API reference, PublishMessage; its subject holds at most 512 bytes, its message 256 KB.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

from pydantic import BaseModel

from cbr_sync.errors import ApiError
from cbr_sync.sinks.base import Refusals
from cbr_sync.sinks.messages import REJECTED, REPORT, is_trouble

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cbr_sync.huawei.client import ProjectClient
    from cbr_sync.sinks.messages import CloudEvent


class _PublishMessageResponse(BaseModel):
    message_id: str


class SmnSink:
    """Publishes each event as one message, with a subject for people."""

    def __init__(self, project: ProjectClient, topic_url: str, *, problems_only: bool = False) -> None:
        """Publish to a topic.

        Args:
            project: The topic's own project.
            topic_url: The topic's URL in the API.
            problems_only: Publish trouble alone.
        """
        self._project = project
        self._problems_only = problems_only
        self._url = f"{topic_url}/publish"

    def emit(self, events: Sequence[CloudEvent], deadline: float) -> None:
        """Publish all events, in order.

        Args:
            events: The events.
            deadline: Reading of the clock, in seconds; nothing is sent after it.

        Raises:
            SinkError: Some were not accepted.
        """
        refusals = Refusals(self._project.redact)
        for event in events:
            if self._problems_only and not is_trouble(event):
                continue
            try:
                self._publish(event, deadline)
            except ApiError as error:
                refusals.add(1, error)
        refusals.raise_if_any()

    def _publish(self, event: CloudEvent, deadline: float) -> None:
        body = {"subject": build_subject(event), "message": json.dumps(event, ensure_ascii=False)}
        self._project.bind_retry(deadline)(
            partial(self._project.post, _PublishMessageResponse, self._url, body, deadline)
        )


def build_subject(event: CloudEvent) -> str:
    """Return what a person reads first, as in ``cbr-sync: failed: vault 8d3a8b28-...``."""
    data = event["data"]
    if event["type"] == REJECTED:
        return "cbr-sync: an event was rejected"
    if "counts" in data:
        what = "report" if event["type"] == REPORT else "run finished"
        counts = [f"{count} {word.replace('_', ' ')}" for word, count in data["counts"].items()]
        return f"cbr-sync: {what}: {', '.join(counts) or 'nothing'}"
    word = data.get("status") or data["state"]
    return f"cbr-sync: {word.replace('_', ' ')}: vault {data.get('name') or event['subject']}"
