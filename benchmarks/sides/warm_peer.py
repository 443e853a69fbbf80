"""CPU microseconds of one more event with one vault: the peer's whole handler."""

import json
import sys
import time

from peer_function import handler

event = {"version": "0", "id": "1", "source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}
for _ in range(20):
    handler(event, None)
count = int(sys.argv[1])
begun = time.process_time()
for _ in range(count):
    handler(event, None)
print("RESULT", json.dumps({"cpu_us": (time.process_time() - begun) / count * 1e6}))
