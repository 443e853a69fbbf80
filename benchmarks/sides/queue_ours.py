"""Messages per second of one worker of the queue, and CPU microseconds a message, for a size of batch."""

import json
import sys
import time
import uuid

from measured import tell
from ours_function import Context, handler


def batch(size: int) -> dict:
    sent = str(int(time.time() * 1000))
    arn = "arn:aws:sqs:eu-west-1:123456789012:work"
    return {
        "Records": [
            {
                "messageId": str(uuid.uuid4()),
                "body": json.dumps({"vault_id": str(uuid.uuid4())}),
                "attributes": {"SentTimestamp": sent, "ApproximateReceiveCount": "1"},
                "eventSource": "aws:sqs",
                "eventSourceARN": arn,
            }
            for _ in range(size)
        ]
    }


total, size = int(sys.argv[1]), int(sys.argv[2])
handler(batch(size), Context())
events = [batch(size) for _ in range(total // size)]
begun, cpu = time.perf_counter(), time.process_time()
for event in events:
    reply = handler(event, Context())
    assert reply == {"batchItemFailures": []}, reply
wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
tell(per_s=total / wall, cpu_us=cpu / total * 1e6)
