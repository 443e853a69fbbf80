"""EventGrid as a sink: PutEvents.

Source: EventGrid API reference, PutEvents: at most 20 events and 256 KB a request; the answer is 200 also
where some were not taken, and tells which.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from cbr_sync.errors import ApiError, NotAcceptedError, SinkError
from cbr_sync.huawei.endpoints import find_eventgrid_endpoint
from cbr_sync.sinks.base import split_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cbr_sync.huawei.client import ProjectClient
    from cbr_sync.settings import Settings
    from cbr_sync.sinks.messages import CloudEvent


BATCH = 20
BATCH_BYTES = 250_000


class _Result(BaseModel):
    event_id: str | None = None
    error_code: str | None = None
    error_msg: str | None = None


class _PutEventsResponse(BaseModel):
    failed_count: int = 0
    events: list[_Result] = Field(default_factory=list)


class EventGridSink:
    """Puts the events into a custom channel, twenty at a time; what was not taken is put again."""

    def __init__(self, project: ProjectClient, settings: Settings) -> None:
        """Put into the channel of the settings."""
        self._project = project
        channel = f"channels/{settings.eventgrid_channel_id}"
        self._url = f"{find_eventgrid_endpoint(settings)}/v1/{project.project_id}/{channel}/events"

    def emit(self, events: Sequence[CloudEvent], deadline: float) -> None:
        """Put all events, in order.

        Raises:
            SinkError: Some were not accepted; with the service's code.
        """
        lost = []
        for left in split_batches(
            events, lambda event: len(json.dumps(event)), max_rows=BATCH, max_bytes=BATCH_BYTES
        ):
            try:
                self._project.bind_retry(deadline)(partial(self._put, left, deadline))
            except ApiError as error:
                lost.append(f"{len(left)} events not accepted: {error}")
        if lost:
            raise SinkError("; ".join(lost))

    def _put(self, left: list[CloudEvent], deadline: float) -> None:
        """Put what is left, and keep what was not accepted.

        Raises:
            NotAcceptedError: Something is left.
        """
        answer = self._project.post(_PutEventsResponse, self._url, {"events": left}, deadline)
        if not answer.failed_count:
            return
        failed = [result for result in answer.events if result.error_code]
        ids = {result.event_id for result in failed}
        # Results may come without ids; then nothing tells which ones to leave out.
        left[:] = [event for event in left if event["id"] in ids] or left
        first = failed[0] if failed else _Result()
        raise NotAcceptedError(
            first.error_code or "CbrSync.PartlyTaken", first.error_msg or "some events were not taken"
        )
