"""The settings: each mistake is reported, and the rest is checked."""

from __future__ import annotations

import pytest

from cbr_sync.cli.doctor.examine import examine
from cbr_sync.cli.doctor.finding import Verdict
from support.doctor import (
    AWS,
    QUEUE,
    CheckedCloud,
    find_worst,
    list_bad,
    run_doctor,
)
from support.world import FILE, VMWARE, World


def test_each_mistake_is_reported_and_the_rest_is_checked(checked: CheckedCloud) -> None:
    """What has to do with a mistake is left out, not all the rest."""
    findings = run_doctor(
        checked,
        CBR_SYNC_CONCURRENCY="many",
        CBR_SYNC_REGIO="cn-north-4",
        CBR_SYNC_WHATEVER="1",
        CBR_SYNC_VAULTS=f"{VMWARE},12",
        CBR_SYNC_SQS_QUEUE_URL=QUEUE,
    )
    assert set(list_bad(findings)) == {
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "CBR_SYNC_CONCURRENCY"),
        *("CBR_SYNC_REGIO", "CBR_SYNC_VAULTS[1]", "CBR_SYNC_WHATEVER"),
    }
    assert find_worst(findings, "CBR_SYNC_CONCURRENCY").remedy == "set it to a whole number from 1 to 100"
    assert find_worst(findings, "CBR_SYNC_REGIO").remedy == "did you mean CBR_SYNC_REGION?"
    assert "no setting has this name" in find_worst(findings, "CBR_SYNC_WHATEVER").remedy
    assert "aws configure export-credentials" in find_worst(findings, "AWS_ACCESS_KEY_ID").remedy
    assert find_worst(findings, "ImportCheckpoint").verdict is Verdict.OK


def test_without_a_region_there_is_nobody_to_ask(checked: CheckedCloud) -> None:
    """No request is made then."""
    findings = run_doctor(checked, CBR_SYNC_REGION="")
    assert list_bad(findings) == ["CBR_SYNC_REGION"]
    assert find_worst(findings, "everything else").verdict is Verdict.SKIPPED
    assert checked.requests == []


@pytest.mark.parametrize(
    ("change", "subject", "verdict", "words"),
    [
        ({"CBR_SYNC_LOOK_FIRST": "false"}, "CBR_SYNC_LOOK_FIRST", Verdict.WARNING, "two syncs"),
        (
            {"CBR_SYNC_WEBHOOK_AUTH": "platform", "CBR_SYNC_WEBHOOK_SECRET": ""},
            "webhooks",
            Verdict.WARNING,
            "without a signature",
        ),
        ({"CBR_SYNC_WEBHOOK_SECRET": ""}, "webhooks", Verdict.OK, "all are refused"),
        ({}, "webhooks", Verdict.OK, "1 secret(s) and 0 token(s)"),
        (
            {"CBR_SYNC_WEBHOOK_SECRET": "", "CBR_SYNC_SECRET_ID": "keys", "AWS_REGION": "eu-west-1", **AWS},
            "webhooks",
            Verdict.OK,
            "unless what CBR_SYNC_SECRET_ID names",
        ),
    ],
)
def test_a_choice_that_may_surprise_is_reported(
    checked: CheckedCloud, change: dict[str, str], subject: str, verdict: Verdict, words: str
) -> None:
    """It is allowed, and yet worth a word."""
    finding = find_worst(run_doctor(checked, **change), subject)
    assert finding.verdict is verdict
    assert words in finding.found


def test_certificates_that_cannot_be_read_are_reported(world: World) -> None:
    """Before a connection is tried."""
    environ = {**world.environ, "SSL_CERT_FILE": "/nowhere/authority.pem"}
    last = list(examine(environ, clock=world.clock))[-1]
    assert (last.subject, last.verdict) == ("SSL_CERT_FILE", Verdict.FAILED)
    assert "PEM" in last.remedy


def test_a_proxy_that_is_no_url_is_reported(world: World) -> None:
    """Without its password."""
    environ = {**world.environ, "HTTPS_PROXY": "gopher://me:hidden@proxy:3128"}
    last = list(examine(environ, clock=world.clock))[-1]
    assert (last.subject, last.verdict) == ("HTTPS_PROXY", Verdict.FAILED)
    assert "hidden" not in str(last)


def test_a_log_variable_that_cannot_be_read_is_reported(checked: CheckedCloud) -> None:
    """Its default is used, and nothing else would say so."""
    findings = run_doctor(checked, LOG_LEVEL="loud", POWERTOOLS_METRICS_DISABLED="perhaps")
    assert list_bad(findings) == ["LOG_LEVEL", "POWERTOOLS_METRICS_DISABLED"]
    finding = find_worst(findings, "LOG_LEVEL")
    assert finding.verdict is Verdict.WARNING
    assert finding.found == "found a string of 4 characters, so the default is used"
    assert finding.remedy == "set it to DEBUG, INFO, WARNING, ERROR or CRITICAL"


def test_vaults_outside_the_allowed_ones_are_reported(checked: CheckedCloud) -> None:
    """Both variables are left out then, and the rest is checked."""
    findings = run_doctor(checked, CBR_SYNC_ALLOWED_VAULTS=FILE)
    assert list_bad(findings) == ["CBR_SYNC_VAULTS"]
    assert find_worst(findings, "CBR_SYNC_VAULTS").remedy == "add what is missing there, or take it out here"
    assert find_worst(findings, "ListVault").verdict is Verdict.OK
