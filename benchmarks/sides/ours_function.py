"""Our function as it is shipped, a context for it, and a schedule's event."""

from cbr_sync.aws_lambda import handler

__all__ = ["SCHEDULE", "Context", "handler"]

SCHEDULE = {"version": "0", "id": "1", "source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}


class Context:
    """Lambda's, with ten minutes left."""

    aws_request_id = "run"

    def get_remaining_time_in_millis(self) -> int:
        return 600_000
