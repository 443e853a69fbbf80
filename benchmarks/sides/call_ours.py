"""CPU microseconds of one call of the API inside: a SyncParam in, an operation's id out."""

import json
import os
import sys
import time
from datetime import UTC, datetime

import httpx

from cbr_sync.api import SignedClient
from cbr_sync.cbr import Cbr
from cbr_sync.models import Credentials, SyncParam

keys = Credentials(os.environ["HUAWEICLOUD_SDK_AK"], os.environ["HUAWEICLOUD_SDK_SK"])
client = SignedClient(httpx.Client(), keys, now=lambda: datetime.now(UTC), renew=lambda: None)
cbr = Cbr(client, os.environ["CBR_SYNC_ENDPOINT"], os.environ["CBR_SYNC_PROJECT_ID"], lambda: 10.0)
param = SyncParam(vault_id=os.environ["CBR_SYNC_VAULTS"], auto_trigger=True)
for _ in range(20):
    cbr.import_checkpoint(param)
count = int(sys.argv[1])
begun = time.process_time()
for _ in range(count):
    cbr.import_checkpoint(param)
print("RESULT", json.dumps({"cpu_us": (time.process_time() - begun) / count * 1e6}))
