"""The same job as anyone would write it: the vendor's SDK as its page shows it, boto3, Powertools Logger.

Clients are made once, as both libraries advise. It neither looks first nor retries a lost answer.
"""

import json
import os

import boto3
from aws_lambda_powertools import Logger
from huaweicloudsdkcbr.v1 import *
from huaweicloudsdkcore.auth.credentials import BasicCredentials

logger = Logger(service="cbr-sync")
credentials = BasicCredentials(
    os.environ["HUAWEICLOUD_SDK_AK"], os.environ["HUAWEICLOUD_SDK_SK"], os.environ["CBR_SYNC_PROJECT_ID"]
)
cbr = (
    CbrClient.new_builder()
    .with_credentials(credentials)
    .with_endpoint(os.environ["CBR_SYNC_ENDPOINT"])
    .build()
)
sqs = boto3.client("sqs", endpoint_url=os.environ["AWS_ENDPOINT_URL_SQS"])
queue_url = os.environ["CBR_SYNC_SQS_QUEUE_URL"]

SCHEDULE = {"version": "0", "id": "1", "source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}


def start_sync(vault_id: str) -> str:
    """The id of the operation that the API started."""
    request = ImportCheckpointRequest()
    request.body = SyncReq(sync=SyncParam(vault_id=vault_id, auto_trigger=True))
    return cbr.import_checkpoint(request).sync.operation_log_id


def handler(event: dict, context: object) -> dict:
    """One outcome for each vault, to the log and the queue."""
    outcomes = []
    for vault_id in event["detail"].get("vault_ids") or os.environ["CBR_SYNC_VAULTS"].split(","):
        outcome = {"vault_id": vault_id, "status": "accepted", "operation_log_id": start_sync(vault_id)}
        logger.info("synced", extra={"outcome": outcome})
        sqs.send_message(QueueUrl=queue_url, MessageBody=json.dumps(outcome))
        outcomes.append(outcome)
    return {"outcomes": outcomes}
