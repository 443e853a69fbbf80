"""CPU microseconds of signing one request: httpx's request with headers set."""

import json
import os
import sys
import time
from datetime import UTC, datetime

import httpx

from cbr_sync.models import Credentials
from cbr_sync.signing import SdkHmacAuth

keys = Credentials(os.environ["HUAWEICLOUD_SDK_AK"], os.environ["HUAWEICLOUD_SDK_SK"])
auth = SdkHmacAuth(keys, lambda: datetime.now(UTC))
url = f"{os.environ['CBR_SYNC_ENDPOINT']}/v3/{os.environ['CBR_SYNC_PROJECT_ID']}/checkpoints/sync"
body = json.dumps({"sync": {"vault_id": os.environ["CBR_SYNC_VAULTS"], "auto_trigger": True}}).encode()
request = httpx.Request(
    "POST", url, content=body, headers={"Content-Type": "application/json", "X-Project-Id": "p"}
)
count = int(sys.argv[1])
for rounds in (100, count):
    begun = time.process_time()
    for _ in range(rounds):
        next(auth.auth_flow(request))
assert "Signature=" in request.headers["Authorization"]
print("RESULT", json.dumps({"cpu_us": (time.process_time() - begun) / count * 1e6}))
