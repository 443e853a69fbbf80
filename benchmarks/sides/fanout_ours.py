"""Wall and CPU seconds of one event with many vaults, the handler warm."""

import json
import sys
import time
import uuid

from cbr_sync.aws_lambda import handler


class Context:
    aws_request_id = "run"

    def get_remaining_time_in_millis(self) -> int:
        return 600_000


vaults = [str(uuid.uuid4()) for _ in range(int(sys.argv[1]))]
handler({"vault_id": vaults[0]}, Context())
begun, cpu = time.perf_counter(), time.process_time()
reply = handler({"vault_ids": vaults}, Context())
wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
assert reply["counts"] == {"accepted": len(vaults)}, reply["counts"]
print("RESULT", json.dumps({"wall_s": wall, "cpu_s": cpu}))
