"""The given libraries, imported and ready, without doing anything: what no function on them can be far below."""

import os
import sys

import httpx
from aws_lambda_powertools import Logger
from pydantic import BaseModel


class SyncParam(BaseModel):
    vault_id: str
    auto_trigger: bool


class SyncAnswer(BaseModel):
    vault_id: str
    operation_log_id: str


logger = Logger(service="cbr-sync")
client = httpx.Client()

if sys.argv[1] == "outcome":
    # A function is frozen here, not ended: what an interpreter does at its end is nobody's cost.
    sys.stdout.flush()
    os._exit(0)
