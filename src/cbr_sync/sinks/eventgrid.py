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
from cbr_sync.sinks.base import split_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cbr_sync.huawei.client import ProjectClient
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

    def __init__(self, project: ProjectClient, endpoint: str, channel_id: str) -> None:
        self._project = project
        self._url = f"{endpoint}/v1/{project.project_id}/channels/{channel_id}/events"

    def emit(self, events: Sequence[CloudEvent], until: float) -> None:
        """Put all events, in order.

        Raises:
            SinkError: some were not taken, with the service's code.
        """
        lost = []
        for left in split_batches(
            events, lambda event: len(json.dumps(event)), most=BATCH, most_bytes=BATCH_BYTES
        ):
            try:
                self._project.try_again(partial(self._put, left, until), until)
            except ApiError as error:
                lost.append(f"{len(left)} events not taken: {error}")
        if lost:
            raise SinkError("; ".join(lost))

    def _put(self, left: list[CloudEvent], until: float) -> None:
        """Put what is left, and keep what was not taken.

        Raises:
            NotAcceptedError: something is left.
        """
        answer = self._project.post(_PutEventsResponse, self._url, {"events": left}, until)
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
