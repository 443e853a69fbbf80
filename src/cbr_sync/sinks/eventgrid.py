"""EventGrid as a sink: PutEvents.

Source: EventGrid API reference, PutEvents: one request holds at most 256 KB, and an answer of 200 may say
that some events failed.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from cbr_sync.errors import ApiError, NotAcceptedError
from cbr_sync.huawei.endpoints import find_eventgrid_endpoint
from cbr_sync.sinks.base import Refusals, split_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cbr_sync.huawei.client import ProjectClient
    from cbr_sync.settings import Settings
    from cbr_sync.sinks.messages import CloudEvent


BATCH = 16
BATCH_BYTES = 250_000


class _Result(BaseModel):
    event_id: str | None = None
    error_code: str | None = None
    error_msg: str | None = None


class _PutEventsResponse(BaseModel):
    failed_count: int = 0
    events: list[_Result] = Field(default_factory=list)


class EventGridSink:
    """Puts the events into a custom channel, sixteen at a time; those not accepted are put again."""

    def __init__(self, project: ProjectClient, settings: Settings) -> None:
        """Put into a channel.

        Args:
            project: The channel's project.
            settings: They name the channel, and perhaps the endpoint.
        """
        self._project = project
        self._source = settings.eventgrid_source
        channel = f"channels/{settings.eventgrid_channel_id}"
        self._url = f"{find_eventgrid_endpoint(settings)}/v1/{project.project_id}/{channel}/events"

    def emit(self, events: Sequence[CloudEvent], deadline: float) -> None:
        """Put all events, in order.

        Args:
            events: The events.
            deadline: Reading of the clock, in seconds; nothing is sent after it.

        Raises:
            SinkError: Some were not accepted.
        """
        refusals = Refusals(self._project.redact, "event")
        if self._source:
            events = [{**event, "source": self._source} for event in events]
        for left in split_batches(
            events, lambda event: len(json.dumps(event)), max_rows=BATCH, max_bytes=BATCH_BYTES
        ):
            try:
                self._project.bind_retry(deadline)(partial(self._put, left, deadline))
            except ApiError as error:
                refusals.add(len(left), error)
        refusals.raise_if_any()

    def _put(self, left: list[CloudEvent], deadline: float) -> None:
        """Put what is left of a batch, and keep in it what was not accepted.

        Raises:
            NotAcceptedError: Something is left.
        """
        answer = self._project.post(_PutEventsResponse, self._url, {"events": left}, deadline)
        if not answer.failed_count:
            return
        failed = [result for result in answer.events if result.error_code]
        ids = {result.event_id for result in failed}
        # Results may come without ids; then nothing says which ones to leave out.
        left[:] = [event for event in left if event["id"] in ids] or left
        first = failed[0] if failed else _Result()
        raise NotAcceptedError(
            first.error_code or "CbrSync.PartlyTaken", first.error_msg or "some events were not accepted"
        )
