"""What each kind of event imports, against an allow-list: every module more is cold start.

A module that is missing here slipped in; take it out, or add it with its cost known (``-X importtime``).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.shipped import TESTS, read_event
from support.world import VMWARE, secret_text

SRC = TESTS.parent / "src"
PACKAGES = {
    *("httpx", "httpcore", "h11", "anyio", "idna", "certifi"),
    *("pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"),
    *("aws_lambda_powertools", "jmespath"),
}
# What every event needs, and what each adds.
OURS = {
    *("app", "clock", "credentials", "errors", "handler", "models", "network", "results", "retry", "run"),
    *("services", "settings", "sync", "threads", "tls", "transport", "validation"),
    *("huawei", "huawei.cbr", "huawei.client", "huawei.clock", "huawei.endpoints", "huawei.signing"),
    *("monitoring", "monitoring.logger"),
    *("sinks", "sinks.base", "sinks.log", "sinks.messages", "sinks.registry"),
    *("triggers", "triggers.aws_events", "triggers.base", "triggers.envelopes", "triggers.huawei_events"),
    *("triggers.payload", "triggers.signature", "triggers.unserved", "triggers.webhook"),
}
ENTRY_POINTS = {"aws": {"aws_lambda", "monitoring.metrics"}, "functiongraph": {"functiongraph"}}
SQS = {"aws", "aws.client", "aws.sigv4", "aws.sqs", "sinks.sqs"}
REPORT = {"reports", "reports.history", "reports.models", "reports.reporter"}
CASES = [
    ("aws", "aws-schedule-rule", set[str](), set[str]()),
    ("aws", "aws-webhook-http-api-v2", set[str](), set[str]()),
    ("aws", "aws-queue-sqs", SQS, {"concurrent"}),
    ("aws", "aws-schedule-report", REPORT, set[str]()),
    ("functiongraph", "functiongraph-timer", set[str](), set[str]()),
    ("functiongraph", "functiongraph-webhook-apig", set[str](), set[str]()),
    ("functiongraph", "functiongraph-queue-kafka", set[str](), {"concurrent"}),
]
# Top-level names of any Python from 3.11 to 3.13; private and built-in ones do not count.
STANDARD = """
    array ast atexit base64 binascii bisect bz2 calendar collections contextlib contextvars copy csv
    dataclasses datetime decimal dis email encodings errno fnmatch fractions functools gc
    genericpath glob grp gzip hashlib heapq hmac http importlib inspect ipaddress itertools keyword
    linecache locale logging lzma math mimetypes ntpath numbers opcode operator os pathlib platform
    posixpath pwd queue quopri random re reprlib secrets select selectors shutil socket ssl stat
    string stringprep struct sysconfig tempfile textwrap threading token tokenize traceback types
    typing unicodedata urllib uuid warnings weakref zipfile zlib zoneinfo
"""
ENVIRON = {
    "CBR_SYNC_REGION": "cn-north-4",
    "CBR_SYNC_PROJECT_ID": "project",
    "CBR_SYNC_VAULTS": VMWARE,
    "CBR_SYNC_WEBHOOK_SECRET": secret_text(),
    "HUAWEICLOUD_SDK_AK": "made-up-access-key",
    "HUAWEICLOUD_SDK_SK": "made-up-secret-key",
}
QUEUE = {
    "CBR_SYNC_SQS_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/outcomes",
    "AWS_ACCESS_KEY_ID": "made-up",
    "AWS_SECRET_ACCESS_KEY": "made-up",
    "AWS_REGION": "eu-west-1",
}


@pytest.mark.parametrize(
    ("entry_point", "name", "more_ours", "more_standard"), CASES, ids=[case[1] for case in CASES]
)
def test_an_event_imports_what_it_needs_and_no_more(
    deployed: Path, entry_point: str, name: str, more_ours: set[str], more_standard: set[str]
) -> None:
    """Exactly these modules of ours, no package but the given ones, no heavy part of the standard library."""
    environ = {**ENVIRON, **(QUEUE if "sinks.sqs" in more_ours else {})}
    arguments = [entry_point, json.dumps(read_event(name)), json.dumps(environ), str(SRC), str(deployed)]
    command = [sys.executable, "-I", "-S", str(TESTS / "support" / "imported_modules.py"), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    reply, modules = json.loads(done.stdout.splitlines()[-1])
    assert reply in (
        ["counts", "outcomes"],
        ["counts", "outcomes", "reports"],
        ["batchItemFailures"],
        ["body", "headers", "isBase64Encoded", "statusCode"],
    )
    ours = {module.removeprefix("cbr_sync.") for module in modules if module.startswith("cbr_sync.")}
    assert ours == OURS | ENTRY_POINTS[entry_point] | more_ours
    top = {name for name in (module.partition(".")[0] for module in modules) if not name.startswith("_")}
    assert top - sys.stdlib_module_names - {"cbr_sync"} <= PACKAGES
    assert top & sys.stdlib_module_names <= {*STANDARD.split(), *more_standard}
