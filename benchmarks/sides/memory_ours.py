"""Peak RSS in MB of one process: cold with one vault, then after 10,000 more in events of 1,000."""

import uuid
from pathlib import Path

from measured import tell
from ours_function import Context, handler


def peak() -> float:
    """Of this program: getrusage would tell of the one that started it, where that was larger."""
    (kilobytes,) = [
        line.split()[1]
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM")
    ]
    return int(kilobytes) * 1024 / 1e6


handler({"vault_id": str(uuid.uuid4())}, Context())
cold = peak()
for _ in range(10):
    handler({"vault_ids": [str(uuid.uuid4()) for _ in range(1000)]}, Context())
tell(cold_mb=cold, after_mb=peak())
