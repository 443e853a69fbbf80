"""CPU of signing one request: the vendor's signer with its own request."""

import json
import os

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import Signer
from measured import WARM_UP, count, tell_cpu

signer = Signer(BasicCredentials(os.environ["HUAWEICLOUD_SDK_AK"], os.environ["HUAWEICLOUD_SDK_SK"], "p"))
host = os.environ["CBR_SYNC_ENDPOINT"].partition("//")[2]
path = f"/v3/{os.environ['CBR_SYNC_PROJECT_ID']}/checkpoints/sync"
body = json.dumps({"sync": {"vault_id": os.environ["CBR_SYNC_VAULTS"], "auto_trigger": True}})


def fresh() -> SdkRequest:
    headers = {"Content-Type": "application/json", "X-Project-Id": "p"}
    return SdkRequest(
        "POST", "https", host, resource_path=path, query_params=[], header_params=headers, body=body
    )


requests = [fresh() for _ in range(count() + WARM_UP)]
unsigned = iter(requests)
tell_cpu(lambda: signer.sign(next(unsigned)), count())
assert "Signature=" in requests[-1].header_params["Authorization"]
