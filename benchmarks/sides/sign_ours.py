"""CPU of signing one request: httpx's request with headers set."""

import json
import os
from datetime import UTC, datetime

import httpx
from measured import count, tell_cpu

from cbr_sync.credentials import Credentials
from cbr_sync.huawei.signing import SdkHmacAuth

keys = Credentials(os.environ["HUAWEICLOUD_SDK_AK"], os.environ["HUAWEICLOUD_SDK_SK"])
auth = SdkHmacAuth(keys, lambda: datetime.now(UTC))
url = f"{os.environ['CBR_SYNC_ENDPOINT']}/v3/{os.environ['CBR_SYNC_PROJECT_ID']}/checkpoints/sync"
body = json.dumps({"sync": {"vault_id": os.environ["CBR_SYNC_VAULTS"], "auto_trigger": True}}).encode()
request = httpx.Request(
    "POST", url, content=body, headers={"Content-Type": "application/json", "X-Project-Id": "p"}
)
tell_cpu(lambda: next(auth.auth_flow(request)), count())
assert "Signature=" in request.headers["Authorization"]
