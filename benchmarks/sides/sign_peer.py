"""CPU microseconds of signing one request: the vendor's signer with its own request."""

import json
import os
import sys
import time

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import Signer

signer = Signer(BasicCredentials(os.environ["HUAWEICLOUD_SDK_AK"], os.environ["HUAWEICLOUD_SDK_SK"], "p"))
host = os.environ["CBR_SYNC_ENDPOINT"].partition("//")[2]
path = f"/v3/{os.environ['CBR_SYNC_PROJECT_ID']}/checkpoints/sync"
body = json.dumps({"sync": {"vault_id": os.environ["CBR_SYNC_VAULTS"], "auto_trigger": True}})


def fresh() -> SdkRequest:
    headers = {"Content-Type": "application/json", "X-Project-Id": "p"}
    return SdkRequest(
        "POST", "https", host, resource_path=path, query_params=[], header_params=headers, body=body
    )


count = int(sys.argv[1])
requests = [fresh() for _ in range(count + 100)]
for request in requests[:100]:
    signer.sign(request)
begun = time.process_time()
for request in requests[100:]:
    signer.sign(request)
elapsed = time.process_time() - begun
assert "Signature=" in requests[-1].header_params["Authorization"]
print("RESULT", json.dumps({"cpu_us": elapsed / count * 1e6}))
