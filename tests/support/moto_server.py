"""moto's server: the services of AWS that we did not write."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from cbr_sync.credentials import Credentials

REGION = "eu-west-1"
KEYS = Credentials("made-up-key", "made-up-secret")
AWS_ENVIRON = {"AWS_ACCESS_KEY_ID": KEYS.access_key, "AWS_SECRET_ACCESS_KEY": KEYS.secret_key}


@dataclass
class Moto:
    """moto's server and boto3 as its client."""

    url: str

    def client(self, service: str) -> Any:
        """A client that is no part of what is deployed."""
        boto3 = importlib.import_module("boto3")
        keys = {"aws_access_key_id": KEYS.access_key, "aws_secret_access_key": KEYS.secret_key}
        return boto3.client(service, endpoint_url=self.url, region_name=REGION, **keys)

    def queue(self, name: str, **attributes: str) -> str:
        """A new queue's URL."""
        url: str = self.client("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        return url

    def find_arn(self, queue_url: str) -> str:
        """The ARN of a queue."""
        attributes = self.client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
        arn: str = attributes["Attributes"]["QueueArn"]
        return arn

    def messages(self, queue_url: str) -> list[dict[str, Any]]:
        """All that lies in a queue."""
        sqs, found = self.client("sqs"), []
        while batch := sqs.receive_message(
            QueueUrl=queue_url,
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
            AttributeNames=["All"],
        ).get("Messages"):
            found += batch
            for message in batch:
                sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
        return found
