"""Keys, endpoint, clock, project, permissions and vaults: what is wrong, and what to do about it."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
import trustme

from cbr_sync.cli.doctor.examine import examine
from cbr_sync.cli.doctor.finding import Verdict
from cbr_sync.simulator.models import SIMULATOR_PROJECT_ID, Vault
from support.doctor import (
    AWS,
    CBR,
    FROZEN,
    NOWHERE,
    PERMISSIONS,
    SINKS,
    Answer,
    CheckedCloud,
    answer_with,
    break_connection,
    find_worst,
    list_bad,
    refuse,
    run_doctor,
)
from support.world import PUBLIC, START, VMWARE, World

NO_KEYS = {"HUAWEICLOUD_SDK_AK": "", "HUAWEICLOUD_SDK_SK": ""}


def test_without_keys_only_what_needs_none_is_checked(checked: CheckedCloud) -> None:
    """Endpoint, TLS and clock; nothing signed is sent."""
    findings = run_doctor(checked, **NO_KEYS)
    assert list_bad(findings) == ["credentials"]
    assert "HUAWEICLOUD_SDK_AK" in find_worst(findings, "credentials").remedy
    assert (find_worst(findings, "endpoint").verdict, find_worst(findings, "clock").verdict) == (
        Verdict.OK,
        Verdict.OK,
    )
    skipped = [finding.subject for finding in findings if finding.verdict is Verdict.SKIPPED]
    assert skipped == [*PERMISSIONS, "vaults", "people"]
    assert checked.signed == []


def test_keys_in_a_secret_are_not_known_here(checked: CheckedCloud) -> None:
    """The function reads it, and the doctor does not."""
    secret = {"CBR_SYNC_SECRET_ID": "cbr/keys", "AWS_REGION": "eu-west-1", **AWS}
    finding = find_worst(run_doctor(checked, **NO_KEYS, **secret), "credentials")
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
def test_where_the_keys_come_from_is_reported(
    checked: CheckedCloud, change: dict[str, str], words: str
) -> None:
    """And never what they are."""
    findings = run_doctor(checked, **change)
    assert words in next(finding.found for finding in findings if finding.subject == "credentials")


@pytest.mark.parametrize(
    "secret_key", ['"simulator-secret-key"', "simulator-secret-key\n", "s\u00e4cret", "<SK>"]
)
def test_what_was_pasted_with_a_key_is_reported(checked: CheckedCloud, secret_key: str) -> None:
    """By its variable, not by its value."""
    finding = find_worst(run_doctor(checked, HUAWEICLOUD_SDK_SK=secret_key), "credentials")
    assert finding.verdict is Verdict.WARNING
    assert finding.found.startswith("HUAWEICLOUD_SDK_SK: a space, a line end")


def test_a_key_that_no_header_can_hold_is_reported(checked: CheckedCloud) -> None:
    """It would have been a traceback."""
    finding = find_worst(run_doctor(checked, HUAWEICLOUD_SDK_AK="my key"), "credentials")
    assert finding.verdict is Verdict.FAILED
    assert "characters that no header can" in finding.found
    assert checked.signed == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (refuse(401, "APIGW.0301", "verify aksk signature fail"), "set the access key, the secret key"),
        (refuse(401, "APIGW.0301", "AK access failed to reach the limit,forbidden"), "wait five minutes"),
        (refuse(401, "APIGW.0307", "token expired"), "new temporary keys"),
        (refuse(500, "BackupService.9998", "authentication failed"), "set the access key, the secret key"),
    ],
)
def test_refused_keys_are_sent_once(checked: CheckedCloud, wrong: Answer, words: str) -> None:
    """More than five refusals lock them for everyone who uses them."""
    checked.wrong = {"/vaults": wrong}
    findings = run_doctor(checked, **SINKS)
    assert len(checked.signed) == 1
    assert list_bad(findings) == ["ListVault (cbr:vaults:list)"]
    assert words in find_worst(findings, "ListVault").remedy
    skipped = [finding.subject for finding in findings if finding.verdict is Verdict.SKIPPED]
    assert skipped == [*PERMISSIONS[1:], "vaults", "sink EventGrid", "sink SMN"]
    assert find_worst(findings, "sink SQS").verdict is Verdict.OK


def test_wrong_keys_meet_the_simulator_once(checked: CheckedCloud) -> None:
    """Its lock is five refusals away."""
    findings = run_doctor(checked, HUAWEICLOUD_SDK_SK="wrong")
    assert find_worst(findings, "ListVault").found.startswith("APIGW.0301: Incorrect IAM authentication")
    assert [request.signed_ok for request in checked.world.simulator.requests] == [False, False]
    assert len(checked.signed) == 1


# endpoint and clock


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            break_connection(httpx.ConnectError, ssl.SSLCertVerificationError("unable to get issuer")),
            "SSL_CERT_FILE",
        ),
        (break_connection(httpx.ConnectError, ssl.SSLError("wrong version number")), "port"),
        (break_connection(httpx.ConnectError, socket.gaierror("Name or service not known")), "typo"),
        (break_connection(httpx.ConnectError, ConnectionRefusedError("refused")), "firewall"),
        (break_connection(httpx.ProxyError), "HTTPS_PROXY"),
        (break_connection(httpx.ConnectTimeout), "firewall"),
        (break_connection(httpx.ReadTimeout), "HTTPS_PROXY"),
        (break_connection(httpx.RemoteProtocolError), "try again"),
    ],
)
def test_an_endpoint_that_cannot_be_reached_has_its_remedy(
    checked: CheckedCloud, wrong: Answer, words: str
) -> None:
    """By what is wrong on the way; nothing signed is sent on it."""
    checked.wrong = {CBR: wrong}
    findings = run_doctor(checked)
    assert list_bad(findings) == ["endpoint"]
    assert words in find_worst(findings, "endpoint").remedy
    assert checked.signed == []


def test_any_answer_of_the_endpoint_will_do(checked: CheckedCloud) -> None:
    """What matters is that somebody whose certificate is trusted is there."""
    checked.wrong = {"/": answer_with(503, Date=checked.date)}
    findings = run_doctor(checked)
    assert (
        find_worst(findings, "endpoint").found
        == f"https://{CBR} answers in 0 ms, with a certificate that is trusted"
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
    """Over a real connection; SSL_CERT_FILE says which are."""
    environ = {**world.environ, **NO_KEYS, "CBR_SYNC_ENDPOINT": endpoint}
    if known:
        environ["SSL_CERT_FILE"] = str(authority[1])
    finding = find_worst(list(examine(environ, clock=world.clock)), "endpoint")
    if known:
        assert finding.verdict is Verdict.OK
    else:
        assert "CERTIFICATE_VERIFY_FAILED" in finding.found
        assert "SSL_CERT_FILE" in finding.remedy


def test_a_port_where_nobody_listens_is_reported(world: World) -> None:
    """Over a real socket."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    environ = {**world.environ, "CBR_SYNC_ENDPOINT": f"http://127.0.0.1:{port}"}
    finding = find_worst(list(examine(environ, clock=world.clock)), "endpoint")
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
    checked: CheckedCloud, minutes: float, verdict: Verdict, words: str
) -> None:
    """With one that is over 15 minutes off nothing is signed, for it would be refused."""
    checked.date = format_datetime(START - timedelta(minutes=minutes), usegmt=True)
    findings = run_doctor(checked)
    clock = find_worst(findings, "clock")
    assert clock.verdict is verdict
    assert clock.found.startswith(words)
    assert (checked.signed == []) is (verdict is Verdict.FAILED)


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_without_a_date_the_clock_is_not_known(checked: CheckedCloud, date: str) -> None:
    """The rest is checked all the same."""
    checked.date = date
    findings = run_doctor(checked)
    assert list_bad(findings) == ["clock"]
    assert find_worst(findings, "clock").found == "not known: the endpoint's answer has no date"


# the project, and what the keys may do


def test_the_project_is_found_by_its_region(checked: CheckedCloud) -> None:
    """As a run would find it."""
    findings = run_doctor(checked, CBR_SYNC_PROJECT_ID="")
    assert list_bad(findings) == []
    assert find_worst(findings, "project").found == f"{SIMULATOR_PROJECT_ID}, which IAM names for cn-north-4"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (answer_with(200, {"projects": []}), "set CBR_SYNC_PROJECT_ID"),
        (answer_with(200, {"projects": [{"id": "one"}, {"id": "two"}]}), "set CBR_SYNC_PROJECT_ID"),
        (answer_with(403, {"error": {"code": 403, "message": "not allowed"}}), "set CBR_SYNC_PROJECT_ID"),
        (refuse(401, "APIGW.0301"), "set the access key"),
        (answer_with(503), "try again"),
    ],
)
def test_a_project_that_is_not_found_is_reported(checked: CheckedCloud, wrong: Answer, words: str) -> None:
    """Nothing can be asked without it."""
    checked.wrong = {"/v3/projects": wrong}
    findings = run_doctor(checked, CBR_SYNC_PROJECT_ID="", **SINKS)
    assert list_bad(findings) == ["project"]
    assert words in find_worst(findings, "project").remedy
    assert set(checked.signed) == {"/v3/projects"}
    assert find_worst(findings, "sink SMN").verdict is Verdict.SKIPPED


def test_without_project_and_region_the_project_has_to_be_set(checked: CheckedCloud) -> None:
    """An endpoint alone names no project."""
    findings = run_doctor(
        checked, CBR_SYNC_PROJECT_ID="", CBR_SYNC_REGION="", CBR_SYNC_ENDPOINT=f"https://{CBR}"
    )
    assert list_bad(findings) == ["project"]


def test_the_project_waits_for_what_it_needs(checked: CheckedCloud) -> None:
    """Without keys IAM is not asked."""
    assert (
        find_worst(run_doctor(checked, **NO_KEYS, CBR_SYNC_PROJECT_ID=""), "project").verdict
        is Verdict.SKIPPED
    )


@pytest.mark.parametrize(
    ("path", "permission", "verdict", "change"),
    [
        ("/vaults", 0, Verdict.WARNING, {}),
        ("/vaults", 0, Verdict.FAILED, {"CBR_SYNC_VAULTS": "hybrid"}),
        ("/operation-logs", 1, Verdict.WARNING, {}),
        ("/checkpoints/sync", 2, Verdict.FAILED, {}),
    ],
)
def test_each_missing_permission_has_its_line(
    checked: CheckedCloud, path: str, permission: int, verdict: Verdict, change: dict[str, str]
) -> None:
    """One that is missing keeps no other from being checked."""
    checked.wrong = {path: refuse(403, "APIGW.0302", "not allowed")}
    findings = run_doctor(checked, **change)
    assert list_bad(findings) == [PERMISSIONS[permission]]
    finding = find_worst(findings, PERMISSIONS[permission])
    assert finding.verdict is verdict
    assert finding.remedy.startswith(f"grant {PERMISSIONS[permission].partition('(')[2][:-1]} ")


@pytest.mark.parametrize(("seconds", "verdict"), [("0", Verdict.WARNING), ("60", Verdict.FAILED)])
def test_following_needs_its_permission_only_where_it_is_asked_for(
    checked: CheckedCloud, seconds: str, verdict: Verdict
) -> None:
    """By default nothing is followed."""
    checked.wrong = {"/operation-logs": refuse(403, "APIGW.0302")}
    findings = run_doctor(checked, CBR_SYNC_WAIT_SECONDS=seconds)
    assert list_bad(findings) == ["ListOpLogs (cbr:tasks:list)"]
    finding = find_worst(findings, "ListOpLogs")
    assert finding.verdict is verdict
    assert "no sync is followed to its end (CBR_SYNC_WAIT_SECONDS)" in finding.found


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (refuse(403, "APIGW.0310", "The project is unavailable"), "set CBR_SYNC_PROJECT_ID to a project of"),
        (refuse(404, "APIGW.0101", "The API does not exist"), "check CBR_SYNC_REGION and CBR_SYNC_ENDPOINT"),
        (answer_with(302), "check CBR_SYNC_REGION and CBR_SYNC_ENDPOINT"),
        (answer_with(200), "check CBR_SYNC_REGION and CBR_SYNC_ENDPOINT"),
        (answer_with(400), "look the code up"),
        (answer_with(503), "try again"),
        (refuse(500, "BackupService.9910"), "try again"),
        (break_connection(httpx.ConnectError, ConnectionRefusedError("refused")), "firewall"),
    ],
)
def test_what_is_no_permission_has_its_remedy_too(checked: CheckedCloud, wrong: Answer, words: str) -> None:
    """By the code, then by the status."""
    checked.wrong = {"/checkpoints/sync": wrong}
    findings = run_doctor(checked)
    assert list_bad(findings) == ["ImportCheckpoint (cbr:vaults:sync)"]
    assert words in find_worst(findings, "ImportCheckpoint").remedy


def test_passing_trouble_is_waited_out(checked: CheckedCloud) -> None:
    """A throttled gateway is no finding."""
    usual = checked.world.simulator.transport().handle_request
    answers = iter([refuse(429, "APIGW.0308"), refuse(503, "APIGW.0613"), usual])

    def recovering(request: httpx.Request) -> httpx.Response:
        return next(answers)(request)

    checked.wrong = {"/vaults": recovering}
    assert list_bad(run_doctor(checked)) == []


# vaults


def test_a_vault_that_is_not_hybrid_would_be_answered_with_7300(checked: CheckedCloud) -> None:
    """Which is better known before the night."""
    findings = run_doctor(checked, CBR_SYNC_VAULTS=f"{VMWARE},{PUBLIC}")
    assert list_bad(findings) == [f"vault {PUBLIC}"]
    finding = find_worst(findings, f"vault {PUBLIC}")
    assert finding.verdict is Verdict.FAILED
    assert finding.found == "vault-server-01 is a public vault, not hybrid: BackupService.7300 would follow"


def test_a_vault_that_is_not_there_would_be_answered_with_6105(checked: CheckedCloud) -> None:
    """Also where only events may name it."""
    findings = run_doctor(checked, CBR_SYNC_VAULTS="hybrid", CBR_SYNC_ALLOWED_VAULTS=NOWHERE)
    finding = find_worst(findings, f"vault {NOWHERE}")
    assert finding.verdict is Verdict.FAILED
    assert finding.found == "there is no such vault: BackupService.6105 would follow"


def test_a_vault_that_is_not_available_would_be_answered_with_6112(checked: CheckedCloud) -> None:
    """It may be again tomorrow."""
    finding = find_worst(run_doctor(checked, CBR_SYNC_VAULTS=f"{VMWARE},{FROZEN}"), f"vault {FROZEN}")
    assert finding.verdict is Verdict.WARNING
    assert finding.found == "vault-vmware-frozen is frozen, not available: BackupService.6112 would follow"


def test_a_scope_that_is_not_whole_is_reported(checked: CheckedCloud) -> None:
    """A frozen vault among all of them is skipped each night."""
    finding = find_worst(run_doctor(checked, CBR_SYNC_VAULTS="hybrid"), "vaults")
    assert (finding.verdict, finding.found) == (Verdict.WARNING, "7 hybrid ones, 6 of them available")


@pytest.mark.parametrize("scope", ["hybrid", ""])
def test_a_project_without_a_hybrid_vault_is_reported(scope: str) -> None:
    """It may be another project, or another region."""
    world = World(vaults=(Vault(PUBLIC, "vault-server-01", "public", "server"),))
    findings = run_doctor(CheckedCloud(world), CBR_SYNC_VAULTS=scope)
    assert list_bad(findings) == ["vaults"]
    assert "CBR_SYNC_REGION and CBR_SYNC_PROJECT_ID" in find_worst(findings, "vaults").remedy


def test_of_many_vaults_only_those_that_are_not_well_have_a_line() -> None:
    """And only some of those are searched for one by one."""
    ids = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(2300)]
    vaults = [Vault(one, f"vault-{one[:8]}") for one in ids[:2270]]
    vaults += [Vault(one, f"public-{one[:8]}", "public") for one in ids[2270:2285]]
    checked = CheckedCloud(World(vaults=tuple(vaults)))
    findings = run_doctor(checked, CBR_SYNC_VAULTS=",".join(ids))
    lines = [finding for finding in findings if finding.subject.startswith("vault")]
    assert lines[0].found == "2270 hybrid ones, 2270 of them available"
    assert lines[1].found == "2270 of 2300 named are hybrid and available"
    ends = [finding.found.partition(": ")[2] or finding.found for finding in lines[2:]]
    assert [ends.count(end) for end in dict.fromkeys(ends)] == [15, 5, 10]


def test_a_vault_that_cannot_be_searched_for_is_reported_all_the_same(checked: CheckedCloud) -> None:
    """Either code would follow."""

    def hybrid_only(request: httpx.Request) -> httpx.Response:
        wrong = request.url.params.get("cloud_type") == "public"
        return refuse(403, "APIGW.0302")(request) if wrong else checked(request)

    environ = {**checked.world.environ, "CBR_SYNC_VAULTS": PUBLIC}
    findings = list(examine(environ, **checked.world.options(httpx.MockTransport(hybrid_only))))
    assert (
        "BackupService.7300 or BackupService.6105 would follow"
        in find_worst(findings, f"vault {PUBLIC}").found
    )
