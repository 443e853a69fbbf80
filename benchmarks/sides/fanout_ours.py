"""Wall and CPU seconds of one event with many vaults, the handler warm."""

import sys
import time
import uuid

from measured import tell
from ours_function import Context, handler

vaults = [str(uuid.uuid4()) for _ in range(int(sys.argv[1]))]
handler({"vault_id": vaults[0]}, Context())
begun, cpu = time.perf_counter(), time.process_time()
reply = handler({"vault_ids": vaults}, Context())
wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
assert reply["counts"] == {"accepted": len(vaults)}, reply["counts"]
tell(wall_s=wall, cpu_s=cpu)
