"""CPU microseconds of one more event with one vault: the whole handler, with its log line and SQS."""

import json
import sys
import time

from cbr_sync.aws_lambda import handler


class Context:
    aws_request_id = "run"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


event = {"version": "0", "id": "1", "source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}
for _ in range(20):
    handler(event, Context())
count = int(sys.argv[1])
begun = time.process_time()
for _ in range(count):
    handler(event, Context())
print("RESULT", json.dumps({"cpu_us": (time.process_time() - begun) / count * 1e6}))
