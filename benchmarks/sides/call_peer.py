"""CPU microseconds of one call of the API inside: the vendor's SDK."""

import json
import os
import sys
import time

from huaweicloudsdkcbr.v1 import *
from peer_function import cbr


def call() -> str:
    request = ImportCheckpointRequest()
    request.body = SyncReq(sync=SyncParam(vault_id=os.environ["CBR_SYNC_VAULTS"], auto_trigger=True))
    return cbr.import_checkpoint(request).sync.operation_log_id


for _ in range(20):
    call()
count = int(sys.argv[1])
begun = time.process_time()
for _ in range(count):
    call()
print("RESULT", json.dumps({"cpu_us": (time.process_time() - begun) / count * 1e6}))
