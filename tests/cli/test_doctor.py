"""The doctor: what is well, what is not and what to do about it; and nothing is changed by looking."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
import trustme

from cbr_sync.app import Seams
from cbr_sync.cli.doctor.examine import examine
from cbr_sync.cli.doctor.finding import Finding, Verdict
from cbr_sync.simulator.models import SIMULATOR_PROJECT_ID, Vault
from cbr_sync.simulator.scenarios import demo_simulator
from support.world import FILE, PUBLIC, START, VMWARE, World, secret_text

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

Answering = Callable[[httpx.Request], httpx.Response]


def answer(status: int, body: object = None, **headers: str) -> Answering:
    """The same for every request."""
    return lambda _request: httpx.Response(status, json=body or {}, headers=headers)


def no(status: int, code: str, message: str = "no") -> Answering:
    """An error as CBR and its gateway tell it."""
    return answer(status, {"error_code": code, "error_msg": message})


def broken(kind: type[httpx.TransportError], cause: Exception | None = None) -> Answering:
    """A connection that fails, for this reason."""

    def fail(request: httpx.Request) -> httpx.Response:
        raise kind("broken", request=request) from cause

    return fail


@dataclass
class Cloud:
    """The simulator's CBR and IAM, whose answers bear a date; all other services answer that they are there.

    ``wrong`` answers in their place, by what an URL ends in or by its host.
    """

    world: World
    wrong: dict[str, Answering] = field(default_factory=dict)
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
        response.headers.update({"Date": self.date} if self.date else {})
        return response

    @property
    def signed(self) -> list[str]:
        """The paths of the signed requests to Huawei Cloud, in order."""
        schemes = [(request, request.headers.get("Authorization", "")) for request in self.requests]
        return [request.url.path for request, scheme in schemes if scheme.startswith("SDK-HMAC")]


@pytest.fixture
def cloud(world: World) -> Cloud:
    """A cloud in which all is well."""
    return Cloud(world)


def examined(cloud: Cloud, **change: str) -> list[Finding]:
    """The findings with these variables; each that is not well has its remedy, and none tells a secret."""
    environ = {name: value for name, value in (cloud.world.environ | change).items() if value}
    findings = list(examine(environ, cloud.world.seams(httpx.MockTransport(cloud))))
    for finding in findings:
        assert finding.remedy or finding.verdict in (Verdict.OK, Verdict.SKIPPED), finding
        assert not [secret for secret in SECRETS if secret in " ".join(finding[:4])], finding
    return findings


def of(findings: list[Finding], subject: str) -> Finding:
    """The worst finding on this subject."""
    worst_first = (Verdict.FAILED, Verdict.WARNING, Verdict.SKIPPED, Verdict.OK)
    return min(
        (finding for finding in findings if finding.subject.startswith(subject)),
        key=lambda finding: worst_first.index(finding.verdict),
    )


def bad(findings: list[Finding]) -> list[str]:
    """The subjects that are not well."""
    return [finding.subject for finding in findings if finding.verdict in (Verdict.FAILED, Verdict.WARNING)]


RIGHTS = [
    "ListVault (cbr:vaults:list)",
    "ListOpLogs (cbr:tasks:list)",
    "ShowOpLog (cbr:tasks:get)",
    "ImportCheckpoint (cbr:vaults:sync)",
]


def test_all_is_well(cloud: Cloud) -> None:
    """A line for everything that a run needs, in the order in which one needs the other."""
    findings = examined(cloud, **SINKS)
    assert {finding.verdict for finding in findings} == {Verdict.OK}
    assert [finding.subject for finding in findings] == [
        *("settings", "webhooks", "credentials", "endpoint", "clock", "project"),
        *RIGHTS,
        *("vaults", f"vault {VMWARE}", "sink log", "sink SQS", "sink SMN", "sink EventGrid", "sink ping"),
    ]
    assert "7 hybrid ones, 6 of them available" in of(findings, "vaults").found


def test_nothing_is_changed(cloud: Cloud) -> None:
    """The one sync that is asked for is that of a vault which does not exist; nothing is sent to a sink."""
    simulator = cloud.world.simulator
    before = list(simulator.operations)
    findings = examined(cloud, **SINKS)
    assert simulator.operations == before
    posts = [request for request in simulator.requests if request.method == "POST"]
    assert [(post.status, post.vault_id in {vault.id for vault in cloud.world.vaults}) for post in posts] == [
        (404, False)
    ]
    elsewhere = [request for request in cloud.requests if request.url.host != CBR]
    assert [(request.method, request.url.path) for request in elsewhere] == [
        ("POST", "/"),
        ("GET", f"/v2/{SIMULATOR_PROJECT_ID}/notifications/topics/{TOPIC}"),
        ("GET", f"/v1/{SIMULATOR_PROJECT_ID}/channels/{CHANNEL}"),
        ("GET", "/"),
    ]
    assert elsewhere[0].headers["X-Amz-Target"] == "AmazonSQS.GetQueueAttributes"
    assert "nothing was changed" in of(findings, "ImportCheckpoint").found


def test_findings_come_one_by_one(cloud: Cloud) -> None:
    """Who waits for a slow network sees meanwhile what is known."""
    findings = examine(cloud.world.environ, cloud.world.seams(httpx.MockTransport(cloud)))
    assert next(findings).subject == "settings"
    assert cloud.requests == []


def test_a_real_history_is_left_alone(world: World) -> None:
    """Vaults that are synced each night, one of them right now."""
    world.simulator = demo_simulator(world.now)
    before = list(world.simulator.operations)
    assert bad(examined(Cloud(world), CBR_SYNC_VAULTS=f"{VMWARE},{FILE}")) == []
    assert world.simulator.operations == before


# settings


def test_each_mistake_is_told_and_the_rest_is_examined(cloud: Cloud) -> None:
    """What has to do with a mistake is left out, not all the rest."""
    findings = examined(
        cloud,
        CBR_SYNC_CONCURRENCY="many",
        CBR_SYNC_REGIO="cn-north-4",
        CBR_SYNC_WHATEVER="1",
        CBR_SYNC_VAULTS=f"{VMWARE},12",
        CBR_SYNC_SQS_QUEUE_URL=QUEUE,
    )
    assert set(bad(findings)) == {
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "CBR_SYNC_CONCURRENCY"),
        *("CBR_SYNC_REGIO", "CBR_SYNC_VAULTS[1]", "CBR_SYNC_WHATEVER"),
    }
    assert of(findings, "CBR_SYNC_CONCURRENCY").remedy == "set it to a whole number from 1 to 100"
    assert of(findings, "CBR_SYNC_REGIO").remedy == "did you mean CBR_SYNC_REGION?"
    assert "no setting has this name" in of(findings, "CBR_SYNC_WHATEVER").remedy
    assert "aws configure export-credentials" in of(findings, "AWS_ACCESS_KEY_ID").remedy
    assert of(findings, "ImportCheckpoint").verdict is Verdict.OK


def test_without_a_region_there_is_nobody_to_ask(cloud: Cloud) -> None:
    """No request is made then."""
    findings = examined(cloud, CBR_SYNC_REGION="")
    assert bad(findings) == ["CBR_SYNC_REGION"]
    assert of(findings, "everything else").verdict is Verdict.SKIPPED
    assert cloud.requests == []


@pytest.mark.parametrize(
    ("change", "subject", "verdict", "words"),
    [
        ({"CBR_SYNC_LOOK_FIRST": "false"}, "CBR_SYNC_LOOK_FIRST", Verdict.WARNING, "two syncs"),
        ({"CBR_SYNC_WEBHOOK_AUTH": "platform"}, "webhooks", Verdict.WARNING, "without a signature"),
        ({"CBR_SYNC_WEBHOOK_SECRET": ""}, "webhooks", Verdict.OK, "all of them are refused"),
        ({}, "webhooks", Verdict.OK, "1 secret(s)"),
        (
            {"CBR_SYNC_WEBHOOK_SECRET": "", "CBR_SYNC_SECRET_ID": "keys"},
            "webhooks",
            Verdict.OK,
            "unless what CBR_SYNC_SECRET_ID names",
        ),
    ],
)
def test_a_choice_that_may_surprise_is_told(
    cloud: Cloud, change: dict[str, str], subject: str, verdict: Verdict, words: str
) -> None:
    """It is allowed, and yet worth a word."""
    finding = of(examined(cloud, **change), subject)
    assert finding.verdict is verdict
    assert words in finding.found


def test_certificates_that_cannot_be_read_are_told(world: World) -> None:
    """Before a connection is tried."""
    environ = {**world.environ, "SSL_CERT_FILE": "/nowhere/authority.pem"}
    last = list(examine(environ, Seams(now=world.now, retry=world.retry)))[-1]
    assert (last.subject, last.verdict) == ("SSL_CERT_FILE", Verdict.FAILED)
    assert "PEM" in last.remedy


def test_a_proxy_that_is_no_url_is_told(world: World) -> None:
    """Without its password."""
    environ = {**world.environ, "HTTPS_PROXY": "gopher://me:hidden@proxy:3128"}
    last = list(examine(environ, Seams(now=world.now, retry=world.retry)))[-1]
    assert (last.subject, last.verdict) == ("HTTPS_PROXY", Verdict.FAILED)
    assert "hidden" not in str(last)


# keys


NO_KEYS = {"HUAWEICLOUD_SDK_AK": "", "HUAWEICLOUD_SDK_SK": ""}


def test_without_keys_only_what_needs_none_is_examined(cloud: Cloud) -> None:
    """Endpoint, TLS and clock; nothing signed is sent."""
    findings = examined(cloud, **NO_KEYS)
    assert bad(findings) == ["credentials"]
    assert "HUAWEICLOUD_SDK_AK" in of(findings, "credentials").remedy
    assert (of(findings, "endpoint").verdict, of(findings, "clock").verdict) == (Verdict.OK, Verdict.OK)
    skipped = [finding.subject for finding in findings if finding.verdict is Verdict.SKIPPED]
    assert skipped == [*RIGHTS, "vaults"]
    assert cloud.signed == []


def test_keys_in_a_secret_are_not_known_here(cloud: Cloud) -> None:
    """Only the extension inside Lambda reads it."""
    finding = of(examined(cloud, **NO_KEYS, CBR_SYNC_SECRET_ID="cbr/keys"), "credentials")
    assert finding.verdict is Verdict.WARNING
    assert "CBR_SYNC_SECRET_ID" in finding.found
    assert "HUAWEICLOUD_SDK_AK" in finding.remedy


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "permanent ones, from HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK"),
        (
            {"HUAWEICLOUD_SDK_SECURITY_TOKEN": "made-up"},
            "temporary ones, with a security token, from HUAWEICLOUD_SDK_AK",
        ),
        (
            {**NO_KEYS, "CLOUD_SDK_AK": "simulator-access-key", "CLOUD_SDK_SK": "simulator-secret-key"},
            "permanent ones, from CLOUD_SDK_AK and CLOUD_SDK_SK",
        ),
    ],
)
def test_where_the_keys_come_from_is_told(cloud: Cloud, change: dict[str, str], words: str) -> None:
    """And never what they are."""
    findings = examined(cloud, **change)
    assert words in next(finding.found for finding in findings if finding.subject == "credentials")


@pytest.mark.parametrize(
    "secret_key", ['"simulator-secret-key"', "simulator-secret-key\n", "s\u00e4cret", "<SK>"]
)
def test_what_was_pasted_with_a_key_is_told(cloud: Cloud, secret_key: str) -> None:
    """By its variable, not by its value."""
    finding = of(examined(cloud, HUAWEICLOUD_SDK_SK=secret_key), "credentials")
    assert finding.verdict is Verdict.WARNING
    assert finding.found.startswith("HUAWEICLOUD_SDK_SK: a space, a line end")


def test_a_key_that_no_header_can_bear_is_told(cloud: Cloud) -> None:
    """It would have been a traceback."""
    finding = of(examined(cloud, HUAWEICLOUD_SDK_AK="my key"), "credentials")
    assert finding.verdict is Verdict.FAILED
    assert "characters that no header can" in finding.found
    assert cloud.signed == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (no(401, "APIGW.0301", "verify aksk signature fail"), "set the access key, the secret key"),
        (no(401, "APIGW.0301", "AK access failed to reach the limit,forbidden"), "wait five minutes"),
        (no(401, "APIGW.0307", "token expired"), "new temporary keys"),
        (no(500, "BackupService.9998", "authentication failed"), "set the access key, the secret key"),
    ],
)
def test_refused_keys_are_sent_once(cloud: Cloud, wrong: Answering, words: str) -> None:
    """More than five refusals lock them for everyone who uses them."""
    cloud.wrong = {"/vaults": wrong}
    findings = examined(cloud, **SINKS)
    assert len(cloud.signed) == 1
    assert bad(findings) == ["ListVault (cbr:vaults:list)"]
    assert words in of(findings, "ListVault").remedy
    skipped = [finding.subject for finding in findings if finding.verdict is Verdict.SKIPPED]
    assert skipped == [*RIGHTS[1:], "vaults", "sink SMN", "sink EventGrid"]
    assert of(findings, "sink SQS").verdict is Verdict.OK


def test_wrong_keys_meet_the_simulator_once(cloud: Cloud) -> None:
    """Its lock is five refusals away."""
    findings = examined(cloud, HUAWEICLOUD_SDK_SK="wrong")
    assert of(findings, "ListVault").found.startswith("APIGW.0301: Incorrect IAM authentication")
    assert [request.signed_ok for request in cloud.world.simulator.requests] == [False, False]
    assert len(cloud.signed) == 1


# endpoint and clock


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (broken(httpx.ConnectError, ssl.SSLCertVerificationError("unable to get issuer")), "SSL_CERT_FILE"),
        (broken(httpx.ConnectError, ssl.SSLError("wrong version number")), "port"),
        (broken(httpx.ConnectError, socket.gaierror("Name or service not known")), "typo"),
        (broken(httpx.ConnectError, ConnectionRefusedError("refused")), "firewall"),
        (broken(httpx.ProxyError), "HTTPS_PROXY"),
        (broken(httpx.ConnectTimeout), "firewall"),
        (broken(httpx.ReadTimeout), "HTTPS_PROXY"),
        (broken(httpx.RemoteProtocolError), "try again"),
    ],
)
def test_an_endpoint_that_cannot_be_reached_has_its_remedy(
    cloud: Cloud, wrong: Answering, words: str
) -> None:
    """By what is wrong with the way; nothing signed is sent on it."""
    cloud.wrong = {CBR: wrong}
    findings = examined(cloud)
    assert bad(findings) == ["endpoint"]
    assert words in of(findings, "endpoint").remedy
    assert cloud.signed == []


def test_any_answer_of_the_endpoint_will_do(cloud: Cloud) -> None:
    """What matters is that somebody whose certificate is trusted is there."""
    cloud.wrong = {"/": answer(503, Date=cloud.date)}
    findings = examined(cloud)
    assert (
        of(findings, "endpoint").found == f"https://{CBR} answers in 0 ms, with a certificate that is trusted"
    )


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing."""


@pytest.fixture
def authority(tmp_path: Path) -> tuple[trustme.CA, Path]:
    """An authority that nobody knows, and its certificate in a file."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    return authority, tmp_path / "authority.pem"


@pytest.fixture
def endpoint(authority: tuple[trustme.CA, Path]) -> Iterator[str]:
    """A server with a certificate from it."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority[0].issue_cert("127.0.0.1").configure_cert(context)
    with HTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"https://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("known", [False, True])
def test_a_certificate_counts_only_from_an_authority_that_is_known(
    world: World, endpoint: str, authority: tuple[trustme.CA, Path], known: bool
) -> None:
    """Over a real connection; SSL_CERT_FILE says whom to trust."""
    environ = {**world.environ, **NO_KEYS, "CBR_SYNC_ENDPOINT": endpoint}
    if known:
        environ["SSL_CERT_FILE"] = str(authority[1])
    finding = of(list(examine(environ, Seams(now=world.now, retry=world.retry))), "endpoint")
    if known:
        assert finding.verdict is Verdict.OK
    else:
        assert "CERTIFICATE_VERIFY_FAILED" in finding.found
        assert "SSL_CERT_FILE" in finding.remedy


def test_a_port_where_nobody_listens_is_told(world: World) -> None:
    """Over a real socket."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    environ = {**world.environ, "CBR_SYNC_ENDPOINT": f"http://127.0.0.1:{port}"}
    finding = of(list(examine(environ, Seams(now=world.now, retry=world.retry))), "endpoint")
    assert "refused" in finding.found
    assert "port" in finding.remedy


@pytest.mark.parametrize(
    ("minutes", "verdict", "words"),
    [
        (0.5, Verdict.OK, "30 s ahead of"),
        (-0.5, Verdict.OK, "30 s behind"),
        (5, Verdict.WARNING, "300 s ahead of"),
        (20, Verdict.FAILED, "1200 s ahead of"),
        (-20, Verdict.FAILED, "1200 s behind"),
    ],
)
def test_a_clock_is_compared_with_the_endpoints(
    cloud: Cloud, minutes: float, verdict: Verdict, words: str
) -> None:
    """With one that is over 15 minutes off nothing is signed, for it would be refused."""
    cloud.date = format_datetime(START - timedelta(minutes=minutes), usegmt=True)
    findings = examined(cloud)
    clock = of(findings, "clock")
    assert clock.verdict is verdict
    assert clock.found.startswith(words)
    assert (cloud.signed == []) is (verdict is Verdict.FAILED)


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_without_a_date_the_clock_cannot_be_told(cloud: Cloud, date: str) -> None:
    """The rest is examined all the same."""
    cloud.date = date
    findings = examined(cloud)
    assert bad(findings) == ["clock"]
    assert "cannot be told" in of(findings, "clock").found


# the project, and what the keys may do


def test_the_project_is_found_by_its_region(cloud: Cloud) -> None:
    """As a run would find it."""
    findings = examined(cloud, CBR_SYNC_PROJECT_ID="")
    assert bad(findings) == []
    assert of(findings, "project").found == f"{SIMULATOR_PROJECT_ID}, which IAM names for cn-north-4"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (answer(200, {"projects": []}), "set CBR_SYNC_PROJECT_ID"),
        (answer(200, {"projects": [{"id": "one"}, {"id": "two"}]}), "set CBR_SYNC_PROJECT_ID"),
        (answer(403, {"error": {"code": 403, "message": "not allowed"}}), "set CBR_SYNC_PROJECT_ID"),
        (no(401, "APIGW.0301"), "set the access key"),
        (answer(503), "try again"),
    ],
)
def test_a_project_that_is_not_found_is_told(cloud: Cloud, wrong: Answering, words: str) -> None:
    """Nothing can be asked without it."""
    cloud.wrong = {"/v3/projects": wrong}
    findings = examined(cloud, CBR_SYNC_PROJECT_ID="", **SINKS)
    assert bad(findings) == ["project"]
    assert words in of(findings, "project").remedy
    assert set(cloud.signed) == {"/v3/projects"}
    assert of(findings, "sink SMN").verdict is Verdict.SKIPPED


def test_without_project_and_region_it_is_asked_for(cloud: Cloud) -> None:
    """An endpoint alone tells no project."""
    findings = examined(cloud, CBR_SYNC_PROJECT_ID="", CBR_SYNC_REGION="", CBR_SYNC_ENDPOINT=f"https://{CBR}")
    assert bad(findings) == ["project"]


def test_the_project_waits_for_what_it_needs(cloud: Cloud) -> None:
    """Without keys IAM is not asked."""
    assert of(examined(cloud, **NO_KEYS, CBR_SYNC_PROJECT_ID=""), "project").verdict is Verdict.SKIPPED


@pytest.mark.parametrize(
    ("path", "right", "verdict", "change"),
    [
        ("/vaults", 0, Verdict.WARNING, {}),
        ("/vaults", 0, Verdict.FAILED, {"CBR_SYNC_VAULTS": "hybrid"}),
        ("/operation-logs", 1, Verdict.WARNING, {}),
        ("/checkpoints/sync", 3, Verdict.FAILED, {}),
    ],
)
def test_each_missing_permission_has_its_line(
    cloud: Cloud, path: str, right: int, verdict: Verdict, change: dict[str, str]
) -> None:
    """One that is missing keeps no other from being looked at."""
    cloud.wrong = {path: no(403, "APIGW.0302", "not allowed")}
    findings = examined(cloud, **change)
    assert bad(findings) == [RIGHTS[right]]
    finding = of(findings, RIGHTS[right])
    assert finding.verdict is verdict
    assert finding.remedy.startswith(f"grant {RIGHTS[right].partition('(')[2][:-1]} ")


@pytest.mark.parametrize(("seconds", "verdict"), [("0", Verdict.WARNING), ("60", Verdict.FAILED)])
def test_following_needs_its_permission_only_where_it_is_asked_for(
    cloud: Cloud, seconds: str, verdict: Verdict
) -> None:
    """By default nothing is followed."""

    def forbidden(request: httpx.Request) -> httpx.Response:
        if "/operation-logs/" in request.url.path:
            return no(403, "APIGW.0302")(request)
        return cloud(request)

    environ = {**cloud.world.environ, "CBR_SYNC_WAIT_SECONDS": seconds}
    findings = list(examine(environ, cloud.world.seams(httpx.MockTransport(forbidden))))
    assert bad(findings) == ["ShowOpLog (cbr:tasks:get)"]
    assert of(findings, "ShowOpLog").verdict is verdict


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (no(403, "APIGW.0310", "The project is unavailable"), "set CBR_SYNC_PROJECT_ID to a project of"),
        (no(404, "APIGW.0101", "The API does not exist"), "check CBR_SYNC_REGION and CBR_SYNC_ENDPOINT"),
        (answer(302), "check CBR_SYNC_REGION and CBR_SYNC_ENDPOINT"),
        (answer(200), "check CBR_SYNC_REGION and CBR_SYNC_ENDPOINT"),
        (answer(400), "look the code up"),
        (answer(503), "try again"),
        (no(500, "BackupService.9910"), "try again"),
        (broken(httpx.ConnectError, ConnectionRefusedError("refused")), "firewall"),
    ],
)
def test_what_is_no_permission_has_its_remedy_too(cloud: Cloud, wrong: Answering, words: str) -> None:
    """By the code, then by the status."""
    cloud.wrong = {"/checkpoints/sync": wrong}
    findings = examined(cloud)
    assert bad(findings) == ["ImportCheckpoint (cbr:vaults:sync)"]
    assert words in of(findings, "ImportCheckpoint").remedy


def test_passing_trouble_is_waited_out(cloud: Cloud) -> None:
    """A throttled gateway is no finding."""
    usual = cloud.world.simulator.transport().handle_request
    answers = iter([no(429, "APIGW.0308"), no(503, "APIGW.0613"), usual])

    def recovering(request: httpx.Request) -> httpx.Response:
        return next(answers)(request)

    cloud.wrong = {"/vaults": recovering}
    assert bad(examined(cloud)) == []


# vaults


def test_a_vault_that_is_not_hybrid_would_be_answered_with_7300(cloud: Cloud) -> None:
    """Which is told before the night."""
    findings = examined(cloud, CBR_SYNC_VAULTS=f"{VMWARE},{PUBLIC}")
    assert bad(findings) == [f"vault {PUBLIC}"]
    finding = of(findings, f"vault {PUBLIC}")
    assert finding.verdict is Verdict.FAILED
    assert finding.found == "vault-server-01 is a public vault, not hybrid: BackupService.7300 would follow"


def test_a_vault_that_is_not_there_would_be_answered_with_6105(cloud: Cloud) -> None:
    """Also where only events may name it."""
    finding = of(examined(cloud, CBR_SYNC_ALLOWED_VAULTS=NOWHERE), f"vault {NOWHERE}")
    assert finding.verdict is Verdict.FAILED
    assert finding.found == "there is no such vault: BackupService.6105 would follow"


def test_a_vault_that_is_not_available_would_be_answered_with_6112(cloud: Cloud) -> None:
    """It may be again tomorrow."""
    finding = of(examined(cloud, CBR_SYNC_VAULTS=f"{VMWARE},{FROZEN}"), f"vault {FROZEN}")
    assert finding.verdict is Verdict.WARNING
    assert finding.found == "vault-vmware-frozen is frozen, not available: BackupService.6112 would follow"


def test_a_scope_that_is_not_whole_is_told(cloud: Cloud) -> None:
    """A frozen vault among all of them is skipped each night."""
    finding = of(examined(cloud, CBR_SYNC_VAULTS="hybrid"), "vaults")
    assert (finding.verdict, finding.found) == (Verdict.WARNING, "7 hybrid ones, 6 of them available")


@pytest.mark.parametrize("scope", ["hybrid", ""])
def test_no_hybrid_vault_at_all_is_told(scope: str) -> None:
    """It may be another project, or another region."""
    world = World(vaults=(Vault(PUBLIC, "vault-server-01", "public", "server"),))
    findings = examined(Cloud(world), CBR_SYNC_VAULTS=scope)
    assert bad(findings) == ["vaults"]
    assert "CBR_SYNC_REGION and CBR_SYNC_PROJECT_ID" in of(findings, "vaults").remedy


def test_of_many_vaults_only_those_that_are_not_well_have_a_line() -> None:
    """And only some of those are looked for one by one."""
    ids = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(2300)]
    vaults = [Vault(one, f"vault-{one[:8]}") for one in ids[:2270]]
    vaults += [Vault(one, f"public-{one[:8]}", "public") for one in ids[2270:2285]]
    cloud = Cloud(World(vaults=tuple(vaults)))
    findings = examined(cloud, CBR_SYNC_VAULTS=",".join(ids))
    lines = [finding for finding in findings if finding.subject.startswith("vault")]
    assert lines[0].found == "2270 hybrid ones, 2270 of them available"
    assert lines[1].found == "2270 of 2300 named are hybrid and available"
    ends = [finding.found.partition(": ")[2] or finding.found for finding in lines[2:]]
    assert [ends.count(end) for end in dict.fromkeys(ends)] == [15, 5, 10]


def test_a_vault_that_cannot_be_looked_for_is_told_all_the_same(cloud: Cloud) -> None:
    """Either code would follow."""

    def hybrid_only(request: httpx.Request) -> httpx.Response:
        wrong = request.url.params.get("cloud_type") == "public"
        return no(403, "APIGW.0302")(request) if wrong else cloud(request)

    environ = {**cloud.world.environ, "CBR_SYNC_VAULTS": PUBLIC}
    findings = list(examine(environ, cloud.world.seams(httpx.MockTransport(hybrid_only))))
    assert "BackupService.7300 or BackupService.6105 would follow" in of(findings, f"vault {PUBLIC}").found


# sinks


def sqs_no(status: int, code: str) -> Answering:
    """An error as SQS tells it."""
    return answer(status, {"__type": f"com.amazonaws.sqs#{code}", "message": "no"})


@pytest.mark.parametrize(
    ("host", "wrong", "subject", "verdict", "words"),
    [
        (SQS, sqs_no(400, "QueueDoesNotExist"), "SQS", Verdict.FAILED, "set CBR_SYNC_SQS_QUEUE_URL"),
        (SQS, sqs_no(403, "AccessDenied"), "SQS", Verdict.WARNING, "sqs:SendMessage"),
        (SQS, sqs_no(403, "InvalidClientTokenId"), "SQS", Verdict.FAILED, "AWS_SESSION_TOKEN anew"),
        (SQS, sqs_no(400, "IncompleteSignature"), "SQS", Verdict.FAILED, "AWS_SESSION_TOKEN anew"),
        (SQS, sqs_no(400, "InvalidAddress"), "SQS", Verdict.FAILED, "SQS API reference"),
        (SQS, answer(503), "SQS", Verdict.FAILED, "try again"),
        (SQS, broken(httpx.ConnectTimeout), "SQS", Verdict.FAILED, "firewall"),
        (
            SMN,
            answer(404, {"code": "SMN.0006", "message": "Topic not found."}),
            "SMN",
            Verdict.FAILED,
            "set CBR_SYNC_SMN_TOPIC_URN",
        ),
        (
            SMN,
            answer(403, {"code": "SMN.0003", "message": "no"}),
            "SMN",
            Verdict.WARNING,
            "smn:topic:publish",
        ),
        (SMN, no(401, "APIGW.0301"), "SMN", Verdict.FAILED, "set the access key"),
        (EVENTGRID, answer(404), "EventGrid", Verdict.FAILED, "set CBR_SYNC_EVENTGRID_CHANNEL_ID"),
        (EVENTGRID, answer(403), "EventGrid", Verdict.WARNING, "eg:channels:putEvents"),
        (EVENTGRID, answer(503), "EventGrid", Verdict.FAILED, "try again"),
        (
            EVENTGRID,
            answer(200, {"provider_type": "OFFICIAL"}),
            "EventGrid",
            Verdict.FAILED,
            "a channel of your own",
        ),
        (MONITOR, broken(httpx.ConnectError, socket.gaierror("unknown")), "ping", Verdict.FAILED, "DNS"),
    ],
)
def test_a_sink_that_is_not_well_is_told(
    cloud: Cloud, host: str, wrong: Answering, subject: str, verdict: Verdict, words: str
) -> None:
    """One stops no other, but for refused keys."""
    cloud.wrong = {host: wrong}
    findings = examined(cloud, **SINKS)
    assert bad(findings) == [f"sink {subject}"]
    finding = of(findings, f"sink {subject}")
    assert finding.verdict is verdict
    assert words in finding.remedy


def test_a_queue_of_no_known_region_is_told(cloud: Cloud) -> None:
    """Neither its URL nor a variable names one."""
    findings = examined(cloud, **AWS, CBR_SYNC_SQS_QUEUE_URL="https://queues.example.com/q")
    assert bad(findings) == ["AWS_REGION"]


def test_a_fifo_queue_is_told_by_its_name(cloud: Cloud) -> None:
    """Its messages get a group and a deduplication id."""
    findings = examined(cloud, **AWS, CBR_SYNC_SQS_QUEUE_URL=f"{QUEUE}.fifo")
    assert of(findings, "sink SQS").found.startswith("a FIFO queue")


def test_a_monitor_that_cannot_be_asked_without_a_ping_is_not_asked(cloud: Cloud) -> None:
    """Its URL has nothing but a host."""
    findings = examined(cloud, CBR_SYNC_PING_URL=f"https://{MONITOR}")
    assert of(findings, "sink ping").verdict is Verdict.SKIPPED
    assert [request.url.host for request in cloud.requests if request.url.host != CBR] == []


@pytest.mark.parametrize("host", [CBR, SMN, EVENTGRID, SQS])
def test_a_service_that_echoes_keys_shows_them_to_nobody(cloud: Cloud, host: str) -> None:
    """In no finding, whoever says them."""
    cloud.wrong = {
        host: answer(400, {"code": "no", "message": " ".join([*SECRETS[:-1], PING]), "__type": SECRETS[0]})
    }
    findings = examined(cloud, **SINKS, CBR_SYNC_PROJECT_ID="", CBR_SYNC_MAX_ATTEMPTS=SECRETS[1])
    assert "****" in str(findings)
