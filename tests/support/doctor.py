"""What the tests of the doctor share: a cloud in which all is well, and ways to break it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import format_datetime

import httpx

from cbr_sync.cli.doctor.examine import examine
from cbr_sync.cli.doctor.finding import Finding, Verdict
from cbr_sync.simulator.models import SIMULATOR_PROJECT_ID
from support.world import START, World, secret_text

FROZEN = "9f503152-be96-4e9b-8da2-705d42cf6e07"
NOWHERE = "00000000-0000-4000-8000-000000000000"
TOPIC = f"urn:smn:cn-north-4:{SIMULATOR_PROJECT_ID}:backup"
CHANNEL = "4b26115b-778e-41ec-833e-cf7400000062"
QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/outcomes"
PING = "https://hc-ping.com/5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278"
AWS = {"AWS_ACCESS_KEY_ID": "made-up-aws-key", "AWS_SECRET_ACCESS_KEY": "made-up-aws-secret"}
SINKS = {
    "CBR_SYNC_SMN_TOPIC_URN": TOPIC,
    "CBR_SYNC_EVENTGRID_CHANNEL_ID": CHANNEL,
    "CBR_SYNC_SQS_QUEUE_URL": QUEUE,
    "CBR_SYNC_PING_URL": PING,
    **AWS,
}
SECRETS = (
    "simulator-access-key",
    "simulator-secret-key",
    *AWS.values(),
    secret_text(),
    PING.rpartition("/")[2],
)
CBR, SMN, EVENTGRID = (f"{name}.cn-north-4.myhuaweicloud.com" for name in ("cbr", "smn", "eg"))
SQS, MONITOR = "sqs.eu-west-1.amazonaws.com", "hc-ping.com"

Answer = Callable[[httpx.Request], httpx.Response]


def answer_with(status: int, body: object = None, **headers: str) -> Answer:
    """Give the same answer to every request."""
    return lambda _request: httpx.Response(status, json=body or {}, headers=headers)


def refuse(status: int, code: str, message: str = "no") -> Answer:
    """Answer with an error, in the form of CBR and its gateway."""
    return answer_with(status, {"error_code": code, "error_msg": message})


def break_connection(kind: type[httpx.TransportError], cause: Exception | None = None) -> Answer:
    """Fail to connect, for this reason."""

    def fail(request: httpx.Request) -> httpx.Response:
        raise kind("broken", request=request) from cause

    return fail


@dataclass
class CheckedCloud:
    """The simulator's CBR and IAM, whose answers have this date; all other services answer that all is there.

    ``wrong`` answers in their place, by the end of the path or by the host.
    """

    world: World
    wrong: dict[str, Answer] = field(default_factory=dict)
    date: str = format_datetime(START, usegmt=True)
    requests: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        for what, wrong in self.wrong.items():
            if request.url.path.endswith(what) or request.url.host == what:
                return wrong(request)
        if request.url.host not in (CBR, "iam.cn-north-4.myhuaweicloud.com"):
            return httpx.Response(200, json={"provider_type": "CUSTOM"})
        response = self.world.simulator.transport().handle_request(request)
        response.headers["Date"] = self.date
        if not self.date:
            del response.headers["Date"]
        return response

    @property
    def signed(self) -> list[str]:
        """The paths of the signed requests to Huawei Cloud, in order."""
        schemes = [(request, request.headers.get("Authorization", "")) for request in self.requests]
        return [request.url.path for request, scheme in schemes if scheme.startswith("SDK-HMAC")]


def run_doctor(checked: CheckedCloud, **change: str) -> list[Finding]:
    """Return the findings with these variables; each bad one has its remedy, and none shows a secret."""
    environ = {name: value for name, value in (checked.world.environ | change).items() if value}
    findings = list(examine(environ, **checked.world.options(httpx.MockTransport(checked))))
    for finding in findings:
        assert finding.remedy or finding.verdict in (Verdict.OK, Verdict.SKIPPED), finding
        assert not [secret for secret in SECRETS if secret in " ".join(finding[:4])], finding
    return findings


def find_worst(findings: list[Finding], subject: str) -> Finding:
    """Return the worst finding on this subject."""
    worst_first = (Verdict.FAILED, Verdict.WARNING, Verdict.SKIPPED, Verdict.OK)
    return min(
        (finding for finding in findings if finding.subject.startswith(subject)),
        key=lambda finding: worst_first.index(finding.verdict),
    )


def list_bad(findings: list[Finding]) -> list[str]:
    """List the subjects of the warnings and failures."""
    return [finding.subject for finding in findings if finding.verdict in (Verdict.FAILED, Verdict.WARNING)]


PERMISSIONS = [
    "ListVault (cbr:vaults:list)",
    "ListOpLogs (cbr:tasks:list)",
    "ImportCheckpoint (cbr:vaults:sync)",
]
