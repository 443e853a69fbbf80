"""The floor: the same two requests with http.client and the least of a signer, and no library at all."""

import hashlib
import hmac
import http.client
import json
import os
import ssl
import sys
import time
from urllib.parse import urlsplit


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


endpoint = urlsplit(os.environ["CBR_SYNC_ENDPOINT"])
context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
connection = http.client.HTTPSConnection(endpoint.netloc, context=context)
now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())

path = f"/v3/{os.environ['CBR_SYNC_PROJECT_ID']}/checkpoints/sync"
body = json.dumps({"sync": {"vault_id": os.environ["CBR_SYNC_VAULTS"], "auto_trigger": True}}).encode()
canonical = f"POST\n{path}/\n\nhost:{endpoint.netloc}\nx-sdk-date:{now}\n\nhost;x-sdk-date\n{sha(body)}"
to_sign = f"SDK-HMAC-SHA256\n{now}\n{sha(canonical.encode())}"
signature = mac(os.environ["HUAWEICLOUD_SDK_SK"].encode(), to_sign).hex()
access = f"SDK-HMAC-SHA256 Access={os.environ['HUAWEICLOUD_SDK_AK']}, SignedHeaders=host;x-sdk-date, Signature={signature}"
connection.request(
    "POST", path, body, {"X-Sdk-Date": now, "Authorization": access, "Content-Type": "application/json"}
)
answer = json.loads(connection.getresponse().read())
outcome = json.dumps(
    {"vault_id": answer["sync"]["vault_id"], "operation_log_id": answer["sync"]["operation_log_id"]}
)
print(outcome)

region, day = os.environ["AWS_REGION"], now[:8]
body = json.dumps({"QueueUrl": os.environ["CBR_SYNC_SQS_QUEUE_URL"], "MessageBody": outcome}).encode()
names = "host;x-amz-date;x-amz-target"
target = "AmazonSQS.SendMessage"
canonical = (
    f"POST\n/\n\nhost:{endpoint.netloc}\nx-amz-date:{now}\nx-amz-target:{target}\n\n{names}\n{sha(body)}"
)
scope = f"{day}/{region}/sqs/aws4_request"
key = mac(("AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"]).encode(), day)
for part in (region, "sqs", "aws4_request"):
    key = mac(key, part)
signature = mac(key, f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{sha(canonical.encode())}").hex()
access = f"AWS4-HMAC-SHA256 Credential={os.environ['AWS_ACCESS_KEY_ID']}/{scope}, SignedHeaders={names}, Signature={signature}"
headers = {"X-Amz-Date": now, "X-Amz-Target": target, "Authorization": access}
connection.request("POST", "/", body, {**headers, "Content-Type": "application/x-amz-json-1.0"})
assert "MessageId" in json.loads(connection.getresponse().read())

if sys.argv[1] == "outcome":
    # A function is frozen here, not ended: what an interpreter does at its end is nobody's cost.
    sys.stdout.flush()
    os._exit(0)
