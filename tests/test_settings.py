"""Settings: what an operator may set, what it means, and every mistake reported at once."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import httpx
import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cbr_sync.errors import EventError, SettingMistake, SettingsError, SinkError, SyncUnfinished
from cbr_sync.huawei.endpoints import (
    build_topic_url,
    find_cbr_endpoint,
    find_eventgrid_endpoint,
    find_iam_endpoint,
    parse_topic_urn,
)
from cbr_sync.settings import (
    DOCUMENTED_NAMES,
    SECRET_NAMES,
    Settings,
    find_queue_endpoint,
    find_queue_region,
    parse_webhook_secret,
)
from support.builders import HuaweiServices
from support.world import FILE, VMWARE, World, secret_text

KEYS = {"HUAWEICLOUD_SDK_AK": "made-up", "HUAWEICLOUD_SDK_SK": "made-up"}
AWS_KEYS = {"AWS_ACCESS_KEY_ID": "made-up", "AWS_SECRET_ACCESS_KEY": "made-up"}
ENOUGH = {"CBR_SYNC_REGION": "cn-north-4", **KEYS, **AWS_KEYS}
QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/outcomes"
PROJECT_ID = "f841e01fd2b14e7fa41b6ae7aa6b0594"
SETTING_NAMES = [field.alias or "" for field in Settings.model_fields.values()]


def load(**more: str) -> Settings:
    """The settings of an operator who has set enough, and these."""
    return Settings.load({**ENOUGH, **more})


def find_mistakes(environ: dict[str, str], **platform: Any) -> tuple[SettingMistake, ...]:
    """The mistakes in these variables; each says what to do, and names what is set or required."""
    with pytest.raises(SettingsError) as caught:
        Settings.load(environ, **platform)
    assert str(caught.value).splitlines() == [
        "the settings are wrong:",
        *(f"  {line}" for line in caught.value.mistakes),
    ]
    for mistake in caught.value.mistakes:
        assert mistake.advice
        assert (
            mistake.found == "not set" or environ.keys() & {*mistake.involved} or "not set, " in mistake.found
        )
    return caught.value.mistakes


def mistakes(environ: dict[str, str], **platform: bool) -> tuple[str, ...]:
    """A line for each mistake."""
    return tuple(map(str, find_mistakes(environ, **platform)))


def test_little_has_to_be_set() -> None:
    """Region and keys; all else has a default, and variables of others do not matter."""
    settings = load(PATH="/bin", AWS_REGION="eu-west-1", CBR_SYNCED="yes")
    assert settings.model_dump() == {
        "region": "cn-north-4",
        "endpoint": None,
        "iam_endpoint": None,
        "project_id": None,
        "secret_id": None,
        "vaults": (),
        "allowed_vaults": (),
        "wait_seconds": 0,
        "defer_to": None,
        "functiongraph_endpoint": None,
        "look_first": True,
        "max_attempts": 5,
        "request_timeout_seconds": 10,
        "concurrency": 16,
        "webhook_secrets": (),
        "webhook_tokens": (),
        "webhook_vaults": (),
        "notification_vaults": (),
        "webhook_auth": "signature",
        "sqs_queue_url": None,
        "smn_topic_urn": None,
        "smn_endpoint": None,
        "eventgrid_channel_id": None,
        "eventgrid_endpoint": None,
        "eventgrid_source": None,
        "sns_topic_arn": None,
        "notify": "problems",
        "language": "en",
        "ping_url": None,
    }


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("endpoint", "https://cbr.example.com", "https://cbr.example.com"),
        ("endpoint", "https://CBR.example.com:8443/", "https://CBR.example.com:8443"),
        ("endpoint", " https://a? ", "https://a"),
        ("endpoint", "https://[2001:db8::1]:443", "https://[2001:db8::1]:443"),
        ("endpoint", "http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("endpoint", "http://localhost", "http://localhost"),
        ("endpoint", "http://[::1]:1", "http://[::1]:1"),
        ("iam_endpoint", "http://localhost:9000", "http://localhost:9000"),
        ("project_id", PROJECT_ID, PROJECT_ID),
        ("project_id", "x" * 64, "x" * 64),
        ("secret_id", "prod/cbr-sync", "prod/cbr-sync"),
        ("secret_id", "arn:aws:secretsmanager:eu-west-1:1:secret:a-x", None),
        ("vaults", f"{VMWARE.upper()}, {FILE}", (VMWARE, FILE)),
        ("vaults", f",{VMWARE}\n{FILE},", (VMWARE, FILE)),
        ("vaults", "hybrid", ("hybrid",)),
        ("allowed_vaults", VMWARE, (VMWARE,)),
        ("wait_seconds", "90.5", 90.5),
        ("look_first", "false", False),
        ("smn_topic_urn", "urn:smn:cn-north-4:f841e01f:backup", "urn:smn:cn-north-4:f841e01f:backup"),
        ("smn_endpoint", "https://smn.example.com", "https://smn.example.com"),
        ("eventgrid_channel_id", "4b26115b-778e-41ec", "4b26115b-778e-41ec"),
        ("eventgrid_endpoint", "http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("max_attempts", "1", 1),
        ("max_attempts", "20", 20),
        ("request_timeout_seconds", "0.1", 0.1),
        ("request_timeout_seconds", "120", 120),
        ("concurrency", "1", 1),
        ("concurrency", "100", 100),
        (
            "sns_topic_arn",
            "arn:aws-cn:sns:cn-north-1:123456789012:a_b",
            "arn:aws-cn:sns:cn-north-1:123456789012:a_b",
        ),
        ("notify", "problems", "problems"),
        ("notify", "all", "all"),
        ("language", "zh", "zh"),
        ("webhook_auth", "signature", "signature"),
        ("webhook_auth", "platform", "platform"),
        ("sqs_queue_url", QUEUE, QUEUE),
        ("sqs_queue_url", f"{QUEUE}.fifo", f"{QUEUE}.fifo"),
        ("sqs_queue_url", "http://localhost:4566/queue/eu-west-1/0/q", None),
        ("sqs_queue_url", "http://127.0.0.1:9324/000000000000/q", None),
        ("sqs_queue_url", "http://elasticmq:9324/000000000000/q.fifo", None),
        ("sqs_queue_url", "http://localstack:4566/000000000000/q", None),
        ("sqs_queue_url", "http://localhost.localstack.cloud:4566/000000000000/q", None),
        ("sqs_queue_url", "http://sqs.eu-west-1.localhost.localstack.cloud:4566/000000000000/q", None),
    ],
)
def test_a_good_value_is_taken(name: str, text: str, value: object) -> None:
    """Spaces around it do not count; None stands for the text itself."""
    settings = load(AWS_REGION="eu-west-1", **{f"CBR_SYNC_{name.upper()}": text})
    assert getattr(settings, name) == (text if value is None else value)


NO_ENDPOINTS = [
    *("cbr.example.com", "//cbr.example.com", "ftp://a", "https://", "https:a", "https://:443", "https://?a"),
    *("http://a", "http://cbr.example.com", "http://127.0.0.2", "http://localhost.example.com"),
    *("https://user@a", "https://user:pw@a", "https://:pw@a", "https://@a", "http://a@localhost"),
    *("https://a/v3", "https://a//b", "https://a/;p", "https://a?b=c", "https://a#b"),
    *("https://a:0", "https://a:65536", "https://a:b", "https://a:-1", "https://[::1", "https://[::g]"),
    *("https://a b", "https://a%20b", "https://a\\b", "https://a,b", "https://a\x00", "https://a|https://b"),
]


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://hc-ping.com/3c5f0a6e-6c3b-4d0f-9b0e-000000000001", None),
        ("https://hc-ping.com/key/cbr-sync/", "https://hc-ping.com/key/cbr-sync"),
        ("http://127.0.0.1:8000/ping/x", None),
    ],
)
def test_a_ping_url_is_taken_and_kept_secret(text: str, url: str | None) -> None:
    """What comes after it is put on its end."""
    settings = load(CBR_SYNC_PING_URL=text)
    assert settings.ping_url is not None
    assert settings.ping_url.get_secret_value() == (url or text)
    assert text not in repr(settings)


@pytest.mark.parametrize(
    "text",
    [
        "hc-ping.com/x",
        "http://hc-ping.com/x",
        "https://u:p@a/x",
        "https://a/x?rid=1",
        "https://a/x#y",
        "https://a/x y",
    ],
)
def test_what_is_no_ping_url_is_refused_unseen(text: str) -> None:
    """Whoever knows it may ping, so a slip does not show it."""
    (line,) = mistakes({**ENOUGH, "CBR_SYNC_PING_URL": text})
    assert line.startswith(
        f"CBR_SYNC_PING_URL: found a string of {len(text)} characters, expected an https URL"
    )
    assert text not in line


@pytest.mark.parametrize("text", NO_ENDPOINTS)
def test_an_endpoint_is_scheme_host_and_port(text: str) -> None:
    """Plain http is for loopback alone, so that nothing goes over a network in clear."""
    for name in ("CBR_SYNC_ENDPOINT", "CBR_SYNC_IAM_ENDPOINT"):
        (line,) = mistakes({**ENOUGH, name: text})
        assert line.startswith(f"{name}: found ")
        assert line.endswith(", expected an https URL of scheme, host and port (http on loopback only)")
        assert "pw" not in line


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(
            ("REGION", text)
            for text in ["cn", "cn-north", "CN-NORTH-4", "cn-north-4/", "cn-north-1234", "-", "é"]
        ),
        *(
            ("REGION", text)
            for text in ["cn-north-4.evil.com", "evil.com#cn-north-4", "cn-north-4\ncn-north-4"]
        ),
        *(("PROJECT_ID", text) for text in ["a/b", "../x", "{project_id}", "x" * 65, "é", "a b"]),
        *(("SECRET_ID", text) for text in ["a b", "a?b", "a&secretId=b", "é", "a#b"]),
        *(
            ("VAULTS", text)
            for text in [f"hybrid,{VMWARE}", VMWARE[:-1], f"{{{VMWARE}}}", VMWARE.replace("-", ""), "é"]
        ),
        *(("VAULTS", text) for text in [f"{VMWARE};{FILE}", f"{VMWARE},x", f"{VMWARE}/sync"]),
        *(("ALLOWED_VAULTS", text) for text in ["*", f"{FILE}, {VMWARE}x"]),
        *(("WAIT_SECONDS", text) for text in ["-1", "86401", "nan", "soon"]),
        *(("LOOK_FIRST", text) for text in ["perhaps", "2"]),
        *(("SMN_TOPIC_URN", text) for text in ["backup", "urn:smn:cn-north-4:f841e01f:a/b"]),
        *(("EVENTGRID_CHANNEL_ID", text) for text in ["a/b", "x" * 65]),
        *(("SNS_TOPIC_ARN", f"arn:aws:sns:eu-west-1:{text}") for text in ["1:t", "123456789012:t.fifo"]),
        *(("SNS_TOPIC_ARN", text) for text in ["t", "arn:aws:sqs:eu-west-1:123456789012:t"]),
        *(("SNS_TOPIC_ARN", f"arn:aws:sns:{text}:123456789012:t") for text in ["", "-", "evil.com/", "é"]),
        *(("NOTIFY", text) for text in ["none", "Problems"]),
        *(("LANGUAGE", text) for text in ["de", "EN", "zh-cn"]),
        *(("MAX_ATTEMPTS", text) for text in ["0", "21", "-1", "1.5", "five", "1e1", "٣", "9" * 40]),
        *(
            ("REQUEST_TIMEOUT_SECONDS", text)
            for text in ["0", "0.09", "120.1", "-1", "nan", "inf", "1e999", "10s"]
        ),
        *(("CONCURRENCY", text) for text in ["0", "101", "all"]),
        *(("WEBHOOK_AUTH", text) for text in ["none", "Platform", "signature,platform"]),
        *(
            ("SQS_QUEUE_URL", text)
            for text in ["outcomes", "https://a", "https://a/", "https://a/b/", "https://a//b"]
        ),
        *(
            ("SQS_QUEUE_URL", text)
            for text in [f"{QUEUE}?a", f"{QUEUE}#a", f"{QUEUE}.other", "https://a/b c"]
        ),
        *(
            ("SQS_QUEUE_URL", text)
            for text in ["http://a.b/c", "https://u:pw@a/b", "https://:pw@a/b", "https://[a/b"]
        ),
        *(
            ("SQS_QUEUE_URL", text)
            for text in [
                "http://169.254.169.254/q",
                "http://2130706433/q",
                "http://xlocalhost.localstack.cloud/q",
            ]
        ),
    ],
)
def test_a_bad_value_is_a_mistake_by_name(name: str, text: str) -> None:
    """What was found, and what is expected there."""
    (line,) = mistakes({**ENOUGH, f"CBR_SYNC_{name}": text})
    description = Settings.model_fields[name.lower()].description
    assert line.startswith((f"CBR_SYNC_{name}: found ", f"CBR_SYNC_{name}["))
    assert line.endswith(f", expected {description}")
    assert "pw" not in line


def test_a_long_value_is_only_counted() -> None:
    """A short one is shown, for that helps most."""
    assert "found 'cn-north', expected" in mistakes({**ENOUGH, "CBR_SYNC_REGION": "cn-north"})[0]
    assert "found a string of 33 characters, " in mistakes({**ENOUGH, "CBR_SYNC_REGION": "x" * 33})[0]


def test_all_mistakes_are_reported_at_once() -> None:
    """An operator mends them in one go: the missing, the wrong and the unknown."""
    environ = {
        "CBR_SYNC_ENDPOINT": "nonsense",
        "CBR_SYNC_VAULTS": f"a,{VMWARE},b",
        "CBR_SYNC_WEBHOOK_SECRET": "made-up",
        "CBR_SYNC_SQS_QUEUE_URL": QUEUE,
        "CBR_SYNC_MAX_ATTEMPTS": "0",
        "CBR_SYNC_CONCURENCY": "4",
    }
    assert sorted(line.partition(":")[0] for line in mistakes(environ)) == [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "CBR_SYNC_CONCURENCY",
        "CBR_SYNC_ENDPOINT",
        "CBR_SYNC_MAX_ATTEMPTS",
        "CBR_SYNC_PROJECT_ID",
        "CBR_SYNC_VAULTS[0]",
        "CBR_SYNC_VAULTS[2]",
        "CBR_SYNC_WEBHOOK_SECRET",
        "HUAWEICLOUD_SDK_AK, HUAWEICLOUD_SDK_SK",
    ]


@pytest.mark.parametrize("name", ["CBR_SYNC_VAULT", "CBR_SYNC_", "CBR_SYNC_region", "CBR_SYNC_X\n"])
def test_an_unknown_name_is_a_mistake(name: str) -> None:
    """A typing error would be a setting that silently does nothing; its value may be a secret."""
    (line,) = mistakes({**ENOUGH, name: "hunter2"})
    assert name.strip() in line
    assert "unknown key" in line
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("CBR_SYNC_VAULT", "did you mean CBR_SYNC_VAULTS?"),
        ("CBR_SYNC_region", "did you mean CBR_SYNC_REGION?"),
        ("CBR_SYNC_REGOIN", "did you mean CBR_SYNC_REGION?"),
        ("CBR_SYNC_", "take it out: no setting has this name"),
        ("CBR_SYNC_X\n", "take it out: no setting has this name"),
    ],
)
def test_an_unknown_name_comes_with_the_one_that_may_be_meant(name: str, advice: str) -> None:
    """Or with all that there are, where none is close."""
    (mistake,) = find_mistakes({**ENOUGH, name: "hunter2"})
    assert mistake.advice == advice
    assert mistake.involved == (name,)
    assert advice.startswith("did") or ", expected one of CBR_SYNC_REGION, " in str(mistake)


@pytest.mark.parametrize("name", DOCUMENTED_NAMES)
def test_an_empty_value_is_as_good_as_unset(name: str) -> None:
    """Templates leave empty what an operator leaves out."""
    assert Settings.load({name: "", **ENOUGH}) == load()


@pytest.mark.parametrize("name", [*SETTING_NAMES, *SECRET_NAMES, "HUAWEICLOUD_SDK_PROJECT_ID"])
@pytest.mark.parametrize("blanks", [" ", "\t", "\n \n"])
def test_blanks_alone_are_a_mistake_by_name(name: str, blanks: str) -> None:
    """They are no value and not nothing either."""
    (mistake,) = find_mistakes({**ENOUGH, name: blanks})
    assert (mistake.name, mistake.found) == (name, "found blanks alone")


@pytest.mark.parametrize("name", ["CBR_SYNC_VAULTS", "CBR_SYNC_ALLOWED_VAULTS"])
@pytest.mark.parametrize("text", [",", " , ", ",,\n,"])
def test_a_list_without_an_entry_is_a_mistake_by_name(name: str, text: str) -> None:
    """A comma in CBR_SYNC_ALLOWED_VAULTS must not allow all vaults."""
    (mistake,) = find_mistakes({**ENOUGH, name: text})
    assert (mistake.name, mistake.found) == (name, f"found {text.strip()!r}")


def test_the_vaults_of_timers_lie_inside_the_allowed_ones() -> None:
    """Else each night would end in a refusal; hybrid means all that are allowed."""
    other = "9f503152-be96-4e9b-8da2-705d42cf6e07"
    (mistake,) = find_mistakes(
        {**ENOUGH, "CBR_SYNC_VAULTS": f"{VMWARE},{FILE},{other}", "CBR_SYNC_ALLOWED_VAULTS": VMWARE.upper()}
    )
    assert mistake.name == "CBR_SYNC_VAULTS"
    assert mistake.found == f"found {FILE} and 1 more, which CBR_SYNC_ALLOWED_VAULTS does not hold"
    assert mistake.involved == ("CBR_SYNC_VAULTS", "CBR_SYNC_ALLOWED_VAULTS")
    for vaults in (VMWARE, "hybrid", ""):
        settings = load(CBR_SYNC_VAULTS=vaults, CBR_SYNC_ALLOWED_VAULTS=f"{VMWARE} {FILE}")
        assert settings.allowed_vaults == (VMWARE, FILE)


def test_empty_counts_as_unset() -> None:
    """Templates leave empty what an operator leaves out, be its name known or not."""
    empty = dict.fromkeys([*SETTING_NAMES, "CBR_SYNC_OTHER", "HUAWEICLOUD_SDK_PROJECT_ID"], "")
    assert Settings.load({**empty, **ENOUGH}) == load()
    assert [line.partition(":")[0] for line in mistakes({**empty, "HUAWEICLOUD_SDK_AK": "a"})] == [
        "CBR_SYNC_REGION",
        "HUAWEICLOUD_SDK_AK, HUAWEICLOUD_SDK_SK",
    ]


@pytest.mark.parametrize(
    "found",
    [
        {"HUAWEICLOUD_SDK_AK": "a", "HUAWEICLOUD_SDK_SK": "b"},
        {"CLOUD_SDK_AK": "a", "CLOUD_SDK_SK": "b"},
        {"CBR_SYNC_SECRET_ID": "cbr-sync", "AWS_REGION": "eu-west-1", **AWS_KEYS},
    ],
)
def test_keys_come_from_one_place_or_another(found: dict[str, str]) -> None:
    """The vendor's names, those of the samples, a secret; half a pair of each is none."""
    region = {"CBR_SYNC_REGION": "cn-north-4"}
    assert Settings.load({**region, **found}).region == "cn-north-4"
    assert Settings.load(region, credentials_given=True).region == "cn-north-4"
    (line,) = mistakes({**region, "HUAWEICLOUD_SDK_AK": "a", "CLOUD_SDK_SK": "b"})
    assert line.startswith("HUAWEICLOUD_SDK_AK, HUAWEICLOUD_SDK_SK: not set; ")


def test_a_region_or_an_endpoint_is_needed() -> None:
    """Without either there is nowhere to call."""
    assert mistakes(KEYS) == (
        "CBR_SYNC_REGION: not set; set it to the region of the vaults, such as cn-north-4",
    )


def test_an_endpoint_alone_needs_a_project_id() -> None:
    """It is looked up by region; the platform may hand one over."""
    environ = {"CBR_SYNC_ENDPOINT": "https://cbr.example.com", **KEYS}
    assert mistakes(environ) == (
        "CBR_SYNC_PROJECT_ID: not set; it can be looked up only where CBR_SYNC_REGION is set",
    )
    for more in ("CBR_SYNC_PROJECT_ID", "HUAWEICLOUD_SDK_PROJECT_ID"):
        assert Settings.load({**environ, more: PROJECT_ID}).project_id == PROJECT_ID
    assert Settings.load({**environ, "CBR_SYNC_REGION": "cn-north-4"}).project_id is None
    assert Settings.load(environ, project_id_given=True).project_id is None


def test_the_vendors_name_of_the_project_id_counts_and_is_checked() -> None:
    """Ours goes first; a wrong one would end up in a path."""
    assert load(HUAWEICLOUD_SDK_PROJECT_ID=f" {PROJECT_ID} ").project_id == PROJECT_ID
    assert load(HUAWEICLOUD_SDK_PROJECT_ID=PROJECT_ID, CBR_SYNC_PROJECT_ID="ours").project_id == "ours"
    description = Settings.model_fields["project_id"].description
    for name in ("CBR_SYNC_PROJECT_ID", "HUAWEICLOUD_SDK_PROJECT_ID"):
        (line,) = mistakes({**ENOUGH, name: "../v3/evil"})
        assert line == f"{name}: found '../v3/evil', expected {description}"


def test_a_queue_needs_the_keys_of_aws() -> None:
    """Each that is missing is named."""
    environ = {**ENOUGH, "CBR_SYNC_SQS_QUEUE_URL": QUEUE, "AWS_SECRET_ACCESS_KEY": ""}
    assert mistakes(environ) == ("AWS_SECRET_ACCESS_KEY: not set; CBR_SYNC_SQS_QUEUE_URL needs it",)


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    """The vendor's own tables: the regions of CBR, and where IAM answers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))  # the SDK writes there
        regions = import_module("huaweicloudsdkcbr.v1.region.cbr_region").CbrRegion.static_fields
        yield regions, import_module("huaweicloudsdkcore.auth.endpoint").get_iam_endpoint_by_id


def test_each_region_has_the_vendors_endpoints(vendor: tuple[Any, Any]) -> None:
    """All 34 are known by their form, so that new ones are too."""
    regions, iam_endpoint = vendor
    assert len(regions) >= 34
    for region_id, region in regions.items():
        settings = load(CBR_SYNC_REGION=region_id)
        if region_id != "eu-west-101":
            assert [find_cbr_endpoint(settings)] == region.endpoints
            assert find_iam_endpoint(settings) == iam_endpoint(region_id, "https://iam.myhuaweicloud.com")


@pytest.mark.parametrize(
    ("more", "cbr_endpoint", "iam_url"),
    [
        (
            {"CBR_SYNC_REGION": "eu-west-101"},
            "https://cbr.eu-west-101.myhuaweicloud.eu",
            "https://iam.eu-west-101.myhuaweicloud.eu",
        ),
        (
            {"CBR_SYNC_REGION": "eu-west-101", "CBR_SYNC_IAM_ENDPOINT": "https://iam.b"},
            "https://cbr.eu-west-101.myhuaweicloud.eu",
            "https://iam.b",
        ),
        (
            {"CBR_SYNC_ENDPOINT": "https://cbr.a", "CBR_SYNC_IAM_ENDPOINT": "https://iam.b"},
            "https://cbr.a",
            "https://iam.b",
        ),
        (
            {"CBR_SYNC_REGION": "", "CBR_SYNC_ENDPOINT": "https://cbr.a", "CBR_SYNC_PROJECT_ID": "p"},
            "https://cbr.a",
            "https://iam.myhuaweicloud.com",
        ),
    ],
)
def test_an_endpoint_goes_before_the_regions(more: dict[str, str], cbr_endpoint: str, iam_url: str) -> None:
    """The vendor's tables may be wrong for a region, as they seem to be for eu-west-101."""
    settings = load(**more)
    assert (find_cbr_endpoint(settings), find_iam_endpoint(settings)) == (cbr_endpoint, iam_url)


@pytest.mark.parametrize(
    ("region", "cbr", "smn", "eventgrid"),
    [
        ("cn-north-4", "com", "com", "com"),
        ("cn-north-2", "com", "cn", "com"),
        ("eu-west-101", "eu", "eu", "eu"),
    ],
)
def test_two_regions_have_hosts_of_their_own(region: str, cbr: str, smn: str, eventgrid: str) -> None:
    """The European sovereign region for all services, cn-north-2 for SMN alone."""
    settings = load(CBR_SYNC_REGION=region)
    topic = parse_topic_urn(f"urn:smn:{region}:f841e01f:backup")
    assert find_cbr_endpoint(settings) == f"https://cbr.{region}.myhuaweicloud.{cbr}"
    assert find_eventgrid_endpoint(settings) == f"https://eg.{region}.myhuaweicloud.{eventgrid}"
    assert build_topic_url(settings, topic).startswith(
        f"https://smn.{region}.myhuaweicloud.{smn}/v2/f841e01f/"
    )


def test_a_topic_is_where_its_urn_says_unless_an_endpoint_is_set() -> None:
    """Its region and project need not be those of the vaults; so it needs no region of theirs."""
    urn = "urn:smn:eu-west-0:f841e01f:backup"
    topic = parse_topic_urn(urn)
    without_region = {"CBR_SYNC_REGION": "", "CBR_SYNC_ENDPOINT": "https://a", "CBR_SYNC_PROJECT_ID": "p"}
    path = "/v2/f841e01f/notifications/topics/urn%3Asmn%3Aeu-west-0%3Af841e01f%3Abackup"
    settings = load(CBR_SYNC_SMN_TOPIC_URN=urn, **without_region)
    assert build_topic_url(settings, topic) == f"https://smn.eu-west-0.myhuaweicloud.com{path}"
    settings = load(CBR_SYNC_SMN_TOPIC_URN=urn, CBR_SYNC_SMN_ENDPOINT="https://smn.b")
    assert build_topic_url(settings, topic) == f"https://smn.b{path}"


def test_a_channel_needs_a_region_or_an_endpoint() -> None:
    """Its id names none."""
    environ = {**KEYS, "CBR_SYNC_ENDPOINT": "https://a", "CBR_SYNC_PROJECT_ID": "p"}
    environ["CBR_SYNC_EVENTGRID_CHANNEL_ID"] = "c"
    assert mistakes(environ) == (
        "CBR_SYNC_EVENTGRID_ENDPOINT: not set; CBR_SYNC_EVENTGRID_CHANNEL_ID needs it without a region",
    )


@pytest.mark.parametrize(
    ("environ", "region"),
    [
        ({"CBR_SYNC_SQS_QUEUE_URL": QUEUE, "AWS_REGION": "us-east-1"}, "eu-west-1"),
        ({"CBR_SYNC_SQS_QUEUE_URL": "https://sqs.cn-north-1.amazonaws.com.cn/1/q"}, "cn-north-1"),
        ({"CBR_SYNC_SQS_QUEUE_URL": "https://sqs.eu-west-1.api.aws/1/q"}, "eu-west-1"),
        ({"CBR_SYNC_SQS_QUEUE_URL": "https://eu-west-1.queue.amazonaws.com/1/q"}, "eu-west-1"),
        ({"CBR_SYNC_SQS_QUEUE_URL": "http://localhost:4566/1/q", "AWS_REGION": "us-east-1"}, "us-east-1"),
        (
            {"CBR_SYNC_SQS_QUEUE_URL": "http://localhost:4566/queue/eu-west-1/0/q", "AWS_REGION": "x"},
            "eu-west-1",
        ),
        ({"CBR_SYNC_SQS_QUEUE_URL": "http://sqs.eu-west-1.localhost.localstack.cloud:4566/0/q"}, "eu-west-1"),
        (
            {"CBR_SYNC_SQS_QUEUE_URL": "http://eu-west-1.queue.localhost.localstack.cloud:4566/0/q"},
            "eu-west-1",
        ),
        ({"CBR_SYNC_SQS_QUEUE_URL": "https://evil.com/sqs.eu-west-1.amazonaws.com/q"}, None),
        ({"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-west-2"}, "us-east-1"),
        ({"AWS_REGION": "", "AWS_DEFAULT_REGION": "us-west-2"}, "us-west-2"),
        ({}, None),
    ],
)
def test_the_region_of_a_queue_is_in_its_url_or_the_platforms(
    environ: dict[str, str], region: str | None
) -> None:
    """A queue need not be where the function is."""
    assert find_queue_region(environ.get("CBR_SYNC_SQS_QUEUE_URL", ""), environ) == region


@pytest.mark.parametrize(
    ("more", "endpoint"),
    [
        ({}, "https://sqs.eu-west-1.amazonaws.com"),
        ({"AWS_ENDPOINT_URL": "http://localstack:4566/"}, "http://localstack:4566"),
        (
            {
                "AWS_ENDPOINT_URL": "https://a",
                "AWS_ENDPOINT_URL_SQS": "https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com",
            },
            "https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com",
        ),
        ({"AWS_ENDPOINT_URL": "https://a/sqs/"}, "https://a/sqs"),
    ],
)
def test_the_endpoint_of_a_queue_is_what_the_variables_of_aws_say(
    more: dict[str, str], endpoint: str
) -> None:
    """The one of SQS goes before the one of all services; without either it is the queue's host."""
    assert load(CBR_SYNC_SQS_QUEUE_URL=QUEUE, **more).sqs_queue_url == QUEUE
    assert find_queue_endpoint(QUEUE, more) == endpoint


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (
            {"AWS_ENDPOINT_URL_SQS": "sqs"},
            "AWS_ENDPOINT_URL_SQS: found 'sqs', expected an https URL (http only",
        ),
        (
            {"AWS_ENDPOINT_URL": "http://sqs.example.com"},
            "AWS_ENDPOINT_URL: found 'http://sqs.example.com', exp",
        ),
        (
            {"AWS_ENDPOINT_URL": "https://u:pw@a"},
            "AWS_ENDPOINT_URL: found a string of 14 characters, expected",
        ),
        (
            {"AWS_SESSION_TOKEN": "hun ter2"},
            "AWS_SESSION_TOKEN: found characters that no header can hold; set",
        ),
        (
            {"AWS_ACCESS_KEY_ID": "hunter2\u00e9"},
            "AWS_ACCESS_KEY_ID: found characters that no header can hold",
        ),
        (
            {"CBR_SYNC_SQS_QUEUE_URL": "http://q/q"},
            "AWS_REGION: not set, and CBR_SYNC_SQS_QUEUE_URL names no region; set",
        ),
        (
            {"CBR_SYNC_SQS_QUEUE_URL": "http://q/q", "AWS_REGION": "EU West"},
            "AWS_REGION: found 'EU West', expected a region of AWS such as eu-west-1",
        ),
        (
            {"CBR_SYNC_SQS_QUEUE_URL": "http://q/q", "AWS_DEFAULT_REGION": " "},
            "AWS_DEFAULT_REGION: found blanks alone, expected a region of AWS such as eu-west-1",
        ),
    ],
)
def test_a_variable_of_aws_that_a_queue_cannot_use_is_a_mistake_by_name(
    more: dict[str, str], line: str
) -> None:
    """Before anything was synced; without a queue it is nobody's business."""
    (found,) = mistakes({**ENOUGH, "CBR_SYNC_SQS_QUEUE_URL": QUEUE, **more})
    assert found.startswith(line)
    assert "hun" not in found
    assert "pw" not in found
    assert load(**{**more, "CBR_SYNC_SQS_QUEUE_URL": ""}).sqs_queue_url is None


@pytest.mark.parametrize("size", [24, 64])
def test_a_webhook_secret_is_base64_with_a_prefix(size: int) -> None:
    """Of 24 to 64 bytes, as the specification says."""
    secret = bytes(range(64, 64 + size))
    assert parse_webhook_secret(secret_text(secret)) == secret


NO_SECRETS = [
    *("", "whsec_", secret_text(b"x" * 23), secret_text(b"x" * 65), secret_text().removeprefix("whsec_")),
    *(
        secret_text().replace("whsec_", "whsk_"),
        "x" + secret_text(),
        secret_text() + "!",
        f" {secret_text()}",
    ),
    *(
        secret_text(b"x" * 25).rstrip("="),
        secret_text(b"\xff" * 24).replace("/", "_"),
        "whsec_größe",
        "\ud800",
    ),
]


@pytest.mark.parametrize("text", NO_SECRETS)
def test_what_is_no_webhook_secret_is_refused_unseen(text: str) -> None:
    """The error says no more than that."""
    with pytest.raises(
        ValueError, match=r"^(not a webhook secret|string argument should contain only ASCII.*)$"
    ):
        parse_webhook_secret(text)


def test_several_secrets_stand_beside_each_other() -> None:
    """The old one and the new one, while they rotate; one bad among them is a mistake."""
    old, new = b"old secret of some 30 bytes...", b"new secret of some 30 bytes..."
    settings = load(CBR_SYNC_WEBHOOK_SECRET=f"{secret_text(old)}  {secret_text(new)}")
    assert [secret.get_secret_value() for secret in settings.webhook_secrets] == [old, new]
    (line,) = mistakes({**ENOUGH, "CBR_SYNC_WEBHOOK_SECRET": f"{secret_text(old)} whsec_x"})
    assert line.startswith("CBR_SYNC_WEBHOOK_SECRET: found a string of ")


ODD = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(before=st.sampled_from(["", "whsec_", "whsk_", '"', "https://:"]) | ODD, after=ODD | st.just("@a"))
def test_a_secret_is_never_shown(before: str, after: str) -> None:
    """However an operator mistypes it, or where: no error shows it."""
    text = f"{before}hunter2{after}"
    with pytest.raises(SettingsError) as caught:
        load(CBR_SYNC_WEBHOOK_SECRET=text)
    assert "hunter2" not in f"{caught.value}{caught.value!r}{caught.value.mistakes}"
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    with pytest.raises(ValidationError) as invalid:
        Settings.model_validate({"CBR_SYNC_WEBHOOK_SECRET": text})
    assert "hunter2" not in f"{invalid.value}{invalid.value!r}"


@given(st.binary(min_size=17, max_size=57).map(b"hunter2".__add__))
def test_a_good_secret_is_never_shown_either(secret: bytes) -> None:
    """Neither it nor its base64 stands in what settings show of themselves."""
    settings = load(CBR_SYNC_WEBHOOK_SECRET=secret_text(secret))
    shown = f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"
    assert "hunter2" not in shown
    assert base64.b64encode(b"hunter").decode() not in shown


def test_settings_do_not_change() -> None:
    """One instance serves many threads."""
    with pytest.raises(ValidationError, match="frozen"):
        load().concurrency = 1  # type: ignore[misc]


ODD_VALUES = [
    *("", " ", "\n", ",", ";", "0", "-1", "1e999", "nan", "None", "true", "maybe", "trace", "hybrid", "*"),
    *("\u957f", "\udcff", "\x00", "a\nb", "a\r\nX-Evil: 1", "a b", '"a"', "{}", "%s", "${x}", "x" * 5000),
    *("https://", "https://[", "https://[v1.a]/q", "https://a..b/q", "https://xn--a/q", "http://0/q"),
    *("//a/q", "http://a/q", "http://a:99999/q", "https://u:p@a/q", "http://localhost/q", "gopher://a"),
    *("urn:smn:::", "urn:smn:-:p:t", f"urn:smn:{'a' * 64}:p:t", "whsec_", "whsec_!", VMWARE, f"{VMWARE},x"),
]
ODD_URLS = st.text("ab1-_.:[]@/xn%", max_size=12).map("https://".__add__)
LOG_NAMES = [
    *("AWS_LAMBDA_LOG_LEVEL", "POWERTOOLS_DEV", "POWERTOOLS_DEBUG", "POWERTOOLS_LOGGER_LOG_EVENT"),
    "POWERTOOLS_LOG_DEDUPLICATION_DISABLED",
]
SINKS = {
    **AWS_KEYS,
    "CBR_SYNC_SQS_QUEUE_URL": QUEUE,
    "CBR_SYNC_SMN_TOPIC_URN": "urn:smn:cn-north-4:f841e01f:backup",
    "CBR_SYNC_SNS_TOPIC_ARN": "arn:aws:sns:eu-west-1:123456789012:people",
    "CBR_SYNC_EVENTGRID_CHANNEL_ID": "4b26115b-778e-41ec",
    "CBR_SYNC_PING_URL": "https://hc-ping.com/x",
}


@hypothesis.settings(deadline=None, max_examples=400)
@given(
    name=st.sampled_from([*DOCUMENTED_NAMES, *LOG_NAMES]),
    value=st.sampled_from(ODD_VALUES) | st.text(max_size=40) | ODD_URLS,
    others=st.sampled_from([{}, SINKS]),
)
def test_an_odd_value_ends_in_its_meaning_its_default_or_a_mistake_by_name(
    name: str, value: str, others: dict[str, str]
) -> None:
    """Whatever a variable of the documentation holds, a run ends in a reply or in an error of ours."""
    world = World()
    services = HuaweiServices(world)
    environ = {**world.environ, **others, name: value}
    try:
        reply = world.on_lambda({"trigger": "schedule"}, environ, transport=httpx.MockTransport(services))
        assert reply["counts"]
    except SettingsError as error:
        assert world.started == []
        # What is in a secret, and whether a header can hold a key, is known after the ping of the beginning.
        assert {request.url.host for request in services.requests} <= {"hc-ping.com", "localhost"}
        for mistake in error.mistakes:
            assert name in mistake.involved or mistake.found == "not set", mistake
            assert mistake.advice
    except SyncUnfinished as error:
        # Another server stands where CBR should be, and answers what no POST can be sure of.
        assert (name, "CbrSync.UnreadableAnswer" in str(error)) == ("CBR_SYNC_ENDPOINT", True)
    except (EventError, SinkError) as error:
        # It means what it says: no vaults are named, or the keys are refused.
        assert (name, value) == ("CBR_SYNC_VAULTS", "") or "APIGW.0301" in str(error)
