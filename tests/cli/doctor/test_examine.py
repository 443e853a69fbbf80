"""The doctor as a whole: every check has its finding, nothing is changed, and no secret is shown."""

from __future__ import annotations

import httpx
import pytest
from pydantic import Field, SecretStr

from cbr_sync.cli.doctor.examine import examine
from cbr_sync.cli.doctor.finding import Verdict
from cbr_sync.errors import SettingsError
from cbr_sync.settings import Settings
from cbr_sync.simulator.models import SIMULATOR_PROJECT_ID
from cbr_sync.simulator.scenarios import demo_simulator
from support.doctor import (
    CBR,
    CHANNEL,
    EVENTGRID,
    PERMISSIONS,
    PING,
    SECRETS,
    SINKS,
    SMN,
    SQS,
    TOPIC,
    CheckedCloud,
    answer_with,
    find_worst,
    list_bad,
    run_doctor,
)
from support.world import FILE, VMWARE, World


def test_all_is_well(checked: CheckedCloud) -> None:
    """A line for everything that a run needs, in the order in which one needs the other."""
    findings = run_doctor(checked, **SINKS)
    assert {finding.verdict for finding in findings} == {Verdict.OK}
    assert [finding.subject for finding in findings] == [
        *("settings", "webhooks", "credentials", "endpoint", "clock", "project"),
        *PERMISSIONS,
        *("vaults", f"vault {VMWARE}", "sink log", "sink SQS"),
        *("sink EventGrid", "sink SMN", "people", "sink ping"),
    ]
    assert "7 hybrid ones, 6 of them available" in find_worst(findings, "vaults").found


def test_nothing_is_changed(checked: CheckedCloud) -> None:
    """The one sync that is asked for is that of a vault which does not exist; nothing is sent to a sink."""
    simulator = checked.world.simulator
    before = list(simulator.operations)
    findings = run_doctor(checked, **SINKS)
    assert simulator.operations == before
    posts = [request for request in simulator.requests if request.method == "POST"]
    assert [
        (post.status, post.vault_id in {vault.id for vault in checked.world.vaults}) for post in posts
    ] == [(404, False)]
    elsewhere = [request for request in checked.requests if request.url.host != CBR]
    assert [(request.method, request.url.path) for request in elsewhere] == [
        ("POST", "/"),
        ("GET", f"/v1/{SIMULATOR_PROJECT_ID}/channels/{CHANNEL}"),
        ("GET", f"/v2/{SIMULATOR_PROJECT_ID}/notifications/topics/{TOPIC}"),
        ("GET", "/"),
    ]
    assert elsewhere[0].headers["X-Amz-Target"] == "AmazonSQS.GetQueueAttributes"
    assert "nothing was changed" in find_worst(findings, "ImportCheckpoint").found


def test_findings_come_one_by_one(checked: CheckedCloud) -> None:
    """Who waits for a slow network sees meanwhile what is known."""
    findings = examine(checked.world.environ, **checked.world.options(httpx.MockTransport(checked)))
    assert next(findings).subject == "settings"
    assert checked.requests == []


def test_a_real_history_is_left_alone(world: World) -> None:
    """Vaults that are synced each night, one of them right now."""
    world.simulator = demo_simulator(world.now)
    before = list(world.simulator.operations)
    assert list_bad(run_doctor(CheckedCloud(world), CBR_SYNC_VAULTS=f"{VMWARE},{FILE}")) == []
    assert world.simulator.operations == before


@pytest.mark.parametrize("host", [CBR, SMN, EVENTGRID, SQS])
def test_a_service_that_echoes_keys_shows_them_to_nobody(checked: CheckedCloud, host: str) -> None:
    """In no finding, whoever says them."""
    checked.wrong = {
        host: answer_with(
            400, {"code": "no", "message": " ".join([*SECRETS[:-1], PING]), "__type": SECRETS[0]}
        )
    }
    findings = run_doctor(checked, **SINKS, CBR_SYNC_PROJECT_ID="", CBR_SYNC_MAX_ATTEMPTS=SECRETS[1])
    assert "****" in str(findings)


def test_a_short_key_is_not_masked_inside_of_words(checked: CheckedCloud) -> None:
    """A key of one letter is no secret, and the findings have to stay readable."""
    usual = run_doctor(checked)
    short = run_doctor(checked, HUAWEICLOUD_SDK_AK="a", HUAWEICLOUD_SDK_SK="word")
    assert find_worst(short, "settings") == find_worst(usual, "settings")
    assert find_worst(short, "ListVault").found.startswith("APIGW.0301: Incorrect IAM authentication")
    assert "****" not in str(short)


def test_a_new_secret_setting_is_shown_nowhere(checked: CheckedCloud) -> None:
    """Its type is enough: no list of names has to be kept."""

    class Extended(Settings):
        pager_key: SecretStr | None = Field(
            default=None, alias="CBR_SYNC_PAGER_KEY", min_length=20, description="the key of a pager"
        )

    for text in ("hunter2", "hunter2, which is long enough"):
        environ = {**checked.world.environ, "CBR_SYNC_PAGER_KEY": text, "CBR_SYNC_CONCURRENCY": text}
        with pytest.raises(SettingsError) as caught:
            Extended.load(environ)
        options = checked.world.options(httpx.MockTransport(checked))
        findings = list(examine(environ, **options, settings_type=Extended))
        assert "hunter2" not in f"{caught.value}{caught.value!r}{caught.value.mistakes}{findings}"
        assert find_worst(findings, "CBR_SYNC_CONCURRENCY").verdict is Verdict.FAILED
    checked.wrong = {CBR: answer_with(400, {"code": "no", "message": f"no pager has the key {text}"})}
    settings = Extended.load({**checked.world.environ, "CBR_SYNC_PAGER_KEY": text})
    findings = list(examine(environ, **options, settings_type=Extended))
    assert "no pager has the key ****" in str(findings)
    assert "hunter2" not in f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"
    assert "hunter2" not in str(findings)
