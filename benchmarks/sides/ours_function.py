"""Our function as it is shipped, a context for it, and a schedule's event."""

from cbr_sync.aws_lambda import handler

__all__ = ["SCHEDULE", "TICK", "Context", "handler"]

SCHEDULE = {"version": "0", "id": "1", "source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}
TICK = {
    "trigger": "schedule",
    "scheduled_time": "2026-11-26T03:10:00Z",
    "follow": {"every_minutes": 10},
    "vaults": {},
}


class Context:
    """Lambda's, with ten minutes left."""

    aws_request_id = "run"

    def get_remaining_time_in_millis(self) -> int:
        return 600_000
