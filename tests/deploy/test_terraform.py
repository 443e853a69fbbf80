"""The Terraform of FunctionGraph, held against the code, and its values as Terraform computes them.

The provider cannot be had here, so nothing is planned: what a resource needs is taken from its documentation
(terraform-provider-huaweicloud, docs/resources).
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hcl2
import pytest

import bundle
from cbr_sync.models import Kind, VaultSelector
from cbr_sync.settings import Settings
from cbr_sync.triggers.payload import FollowRequest, ReportRequest, SyncRequest, parse_request
from support.receiver import FakeReceiver, read_messages
from support.world import secret_text

ROOT_FOLDER = bundle.ROOT / "deploy" / "functiongraph"
FOLDER = ROOT_FOLDER / "module"
FILES = sorted(FOLDER.glob("*.tf"))
REQUIRED = {
    "huaweicloud_identity_role": {"name", "description", "type", "policy"},
    "huaweicloud_identity_agency": {"name", "delegated_service_name", "project_role"},
    "huaweicloud_lts_group": {"group_name", "ttl_in_days"},
    "huaweicloud_lts_stream": {"group_id", "stream_name"},
    "huaweicloud_fgs_function": {
        *("name", "app", "runtime", "handler", "memory_size", "timeout", "code_type"),
        *("func_code", "code_filename", "code_url", "agency"),
    },
    "huaweicloud_fgs_function_trigger": {"function_urn", "type", "event_data"},
    "huaweicloud_fgs_async_invoke_configuration": {
        *("function_urn", "max_async_event_age_in_seconds", "max_async_retry_attempts"),
    },
    "huaweicloud_ces_alarmrule": {"alarm_name", "alarm_type", "metric", "resources", "condition"},
    "huaweicloud_lts_keywords_alarm_rule": {
        *("name", "alarm_level", "keywords_requests", "frequency", "send_notifications"),
        *("notification_save_rule",),
    },
    "huaweicloud_smn_topic": {"name"},
    "huaweicloud_smn_subscription": {"topic_urn", "protocol", "endpoint"},
    "terraform_data": set(),
}
# What else they may have, by the same documentation; the provider refuses any other.
OPTIONAL = {
    "huaweicloud_identity_agency": {"description"},
    "huaweicloud_fgs_function": {
        *("description", "functiongraph_version", "initializer_handler", "initializer_timeout"),
        *("max_instance_num", "user_data", "encrypted_user_data", "user_data_encrypt_kms_key_id"),
        *("enterprise_project_id", "tags", "vpc_id", "network_id", "enable_lts_log"),
        *("log_group_id", "log_group_name", "log_stream_id", "log_stream_name"),
    },
    "huaweicloud_fgs_async_invoke_configuration": {"on_failure"},
    "huaweicloud_ces_alarmrule": {"alarm_action_enabled", "alarm_actions"},
    "huaweicloud_lts_keywords_alarm_rule": {
        *("notification_frequency", "trigger_condition_count", "trigger_condition_frequency"),
    },
    "huaweicloud_smn_topic": {"display_name", "enterprise_project_id", "tags"},
    "terraform_data": {"input"},
}
META = {"region", "count", "for_each", "depends_on", "lifecycle", "__is_block__", "__comments__"}
# API Explorer, FunctionGraph, CreateFunctionTrigger: what an APIG trigger's event_data has to hold.
APIG_NEEDS = {
    *(
        "auth",
        "env_id",
        "env_name",
        "group_id",
        "match_mode",
        "path",
        "protocol",
        "req_method",
        "type",
        "func_info",
    ),
}
GATEWAY = '{instance_id = "instance", group_id = "group"}'


def list_blocks(kind: str) -> Iterator[tuple[str, Any]]:
    """List the blocks of a kind in all files, by their names, without the quotes that the parser keeps."""
    for path in FILES:
        for block in hcl2.loads(path.read_text(encoding="utf-8")).get(kind, []):
            yield from ((name.strip('"'), body) for name, body in block.items())


RESOURCES = [
    (kind, name.strip('"'), body) for kind, named in list_blocks("resource") for name, body in named.items()
]
FUNCTION, LATER = (body for kind, _, body in RESOURCES if kind == "huaweicloud_fgs_function")
PROJECT_ID = "f841e01fd2b14e7fa41b6ae7aa6b0594"
VARIABLES = list(list_blocks("variable"))
TEXT = "\n".join(path.read_text(encoding="utf-8") for path in FILES)


@pytest.mark.parametrize(
    ("kind", "name", "body"), RESOURCES, ids=[f"{kind}.{name}" for kind, name, _ in RESOURCES]
)
def test_a_resource_has_what_its_documentation_requires(kind: str, name: str, body: dict[str, Any]) -> None:
    """And nothing that it does not know: either would be found by the first plan, with an account at hand."""
    assert REQUIRED[kind] <= body.keys(), name
    assert body.keys() <= REQUIRED[kind] | OPTIONAL.get(kind, set()) | META, name


def test_the_handlers_exist_in_the_code() -> None:
    """index.handler and index.initializer, in the file at the root of the zip."""
    nodes = ast.parse((bundle.ROOT / "src" / "index.py").read_text(encoding="utf-8")).body
    names = {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    for argument in ("handler", "initializer_handler"):
        module, _, function = FUNCTION[argument].strip('"').partition(".")
        assert module == "index"
        assert function in names


def test_the_runtime_and_the_zip_are_those_that_are_built() -> None:
    """The wheels in the zip are for this runtime and this machine alone."""
    assert FUNCTION["runtime"] == f'"Python{bundle.RUNTIME}"'
    (zip_name,) = re.findall(r"/dist/([a-z0-9_.-]+\.zip)", TEXT)
    assert bundle.ZIPS[zip_name] == "x86_64"


def test_every_name_that_is_used_is_declared_and_every_variable_used() -> None:
    """Resources, locals and variables."""
    code = re.sub(r"#.*", "", TEXT)
    assert set(re.findall(r"\bvar\.([a-z_]+)", code)) == {name for name, _ in VARIABLES}
    (local,) = (
        block for path in FILES for block in hcl2.loads(path.read_text(encoding="utf-8")).get("locals", [])
    )
    assert set(re.findall(r"\blocal\.([a-z_]+)", code)) == {
        name for name in local if not name.startswith("__")
    }
    declared = {(kind, name) for kind, name, _ in RESOURCES}
    declared |= {(kind, name.strip('"')) for kind, named in list_blocks("data") for name in named}
    used = set(re.findall(r"\b(huaweicloud_[a-z_]+|terraform_data)\.([a-z_]+)", code))
    assert used <= declared


@pytest.mark.parametrize("kind", ["variable", "output"])
def test_variables_and_outputs_say_what_they_are(kind: str) -> None:
    """Who deploys reads the description in the prompt."""
    for name, body in list_blocks(kind):
        assert body["description"].strip('"'), name
        assert kind == "output" or "type" in body, name


def test_secrets_are_neither_shown_nor_stored_in_the_clear() -> None:
    """The plan hides the webhook's secret, and the function gets it encrypted; there are no keys at all."""
    for name in ("webhook_secret", "webhook_token", "ping_url"):
        assert dict(VARIABLES)[name]["sensitive"] is True
    assert "_SK" not in TEXT


def test_a_secret_that_is_taken_out_is_revoked(tmp_path: Path) -> None:
    """The provider sends no null, and the old one would stay valid: an empty object replaces it."""
    for function in (FUNCTION, LATER):
        assert function["encrypted_user_data"] == "${jsonencode(local.encrypted_settings)}"
    assert compute_locals(tmp_path, webhook_secret="", ping_url="")["encrypted_settings"] == {}


def test_the_module_has_no_provider_and_every_regional_resource_its_region() -> None:
    """So that one root can use it for several regions."""
    assert list(list_blocks("provider")) == []
    account_wide = {"huaweicloud_identity_role", "huaweicloud_identity_agency", "terraform_data"}
    for kind, name, body in RESOURCES:
        assert ("region" in body) == (kind not in account_wide), f"{kind}.{name}"
    for named in (named for _, named in list_blocks("data")):
        for name, body in named.items():
            assert body["region"] == "${var.region}", name


def test_two_regions_of_an_account_do_not_meet(tmp_path: Path) -> None:
    """What belongs to the account has the region in its name; computed with for_each over both."""
    terraform = shutil.which("terraform")
    if terraform is None:
        pytest.skip("no terraform here to compute values with")
    module = tmp_path / "module"
    copy_module(module)
    values = "{ account = local.account_name, later = local.later_urn, topic = local.topic_urn }"
    (module / "outputs.tf").write_text(f'output "names" {{\n  value = {values}\n}}\n')
    (tmp_path / "main.tf").write_text(
        'module "cbr_sync" {\n  source = "./module"\n  for_each = toset(["cn-north-4", "eu-west-101"])\n'
        f'  region = each.key\n  project_id = "{PROJECT_ID}"\n}}\n'
        'output "names" {\n  value = { for region, one in module.cbr_sync : region => one.names }\n}\n'
    )
    for command in (["init", "-no-color"], ["apply", "-auto-approve", "-no-color"]):
        done = subprocess.run(
            [terraform, *command], cwd=tmp_path, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    done = subprocess.run(
        [terraform, "output", "-json", "names"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    names = json.loads(done.stdout)
    for key in ("account", "later", "topic"):
        assert names["cn-north-4"][key] != names["eu-west-101"][key]
    assert names["eu-west-101"]["account"] == "cbr-sync-eu-west-101"


def test_the_root_uses_the_module_for_each_region() -> None:
    """It gives only what the module takes, and all that has no default."""
    text = (ROOT_FOLDER / "main.tf").read_text(encoding="utf-8")
    (module,) = hcl2.loads(text)["module"]
    (body,) = module.values()
    assert body["source"] == '"./module"'
    assert body["for_each"] == "${var.regions}"
    own = {"source", "for_each"}
    given = {name for name in body if not name.startswith("__")} - own
    required = {name for name, variable in VARIABLES if "default" not in variable}
    assert required <= given <= {name for name, _ in VARIABLES}


def test_the_limits_of_functiongraph_are_counted(tmp_path: Path) -> None:
    """20 variables and 2 KB: the service itself answers with a number."""
    computed = compute_locals(tmp_path, webhook_secret=secret_text())
    everything = {**computed["settings"], **computed["encrypted_settings"]}
    assert computed["settings_count"] == len(everything)
    assert computed["settings_bytes"] == sum(len(name) + len(value) for name, value in everything.items())
    conditions = " ".join(one["condition"] for one in FUNCTION["lifecycle"][0]["precondition"])
    assert "local.settings_count <= 20" in conditions
    assert "local.settings_bytes <= 2048" in conditions


def test_the_runtime_is_looked_up_in_the_region() -> None:
    """A region that lacks it is found by the plan, and not by the first night."""
    (runtime,) = dict(list_blocks("data"))["huaweicloud_fgs_runtime_types"].values()
    (postcondition,) = runtime["lifecycle"][0]["postcondition"]
    assert f"Python{bundle.RUNTIME}" in postcondition["condition"]


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        ({}, {"failures", "throttled"}),
        ({"alarm_user": "operator"}, {"failures", "throttled", "quiet", "unseen"}),
        ({"alarm_user": "operator", "alarms": '["quiet"]'}, {"quiet"}),
        ({"alarms": "[]"}, set()),
    ],
)
def test_each_alarm_can_be_switched(tmp_path: Path, variables: dict[str, str], names: set[str]) -> None:
    """Those of LTS need a user; their words are those with which scheduled runs end."""
    computed = compute_locals(tmp_path, **variables)
    assert {*computed["metric_alarms"], *computed["keyword_alarms"]} == names
    for alarm in computed["keyword_alarms"].values():
        assert re.fullmatch(r"cbr-sync\.scheduled\.(sync|report)\.\*", alarm["words"])


def test_what_was_given_up_goes_to_a_bucket_where_one_is_given(tmp_path: Path) -> None:
    """Else the topic is notified; and only then the agency may write there."""
    usual, other = compute_locals(tmp_path), compute_locals(tmp_path, failure_bucket="given-up")
    assert usual["on_failure"]["destination"] == "SMN"
    assert other["on_failure"]["destination"] == "OBS"
    assert json.loads(other["on_failure"]["param"]) == {
        "bucket": "given-up",
        "prefix": "cbr-sync/",
        "expires": 0,
    }
    assert set(other["actions"]) - set(usual["actions"]) == {"obs:bucket:HeadBucket", "obs:object:PutObject"}


def test_an_event_that_was_given_up_is_reported() -> None:
    """Without this, FunctionGraph neither repeats nor reports it."""
    bodies = [body for kind, _, body in RESOURCES if kind == "huaweicloud_fgs_async_invoke_configuration"]
    of = {body["function_urn"]: body for body in bodies}
    assert of.keys() == {f"${{huaweicloud_fgs_function.{name}.urn}}" for name in ("this", "later")}
    for body in bodies:
        assert 1 <= body["max_async_retry_attempts"] <= 3
        assert 60 <= body["max_async_event_age_in_seconds"] <= 86_400
        (on_failure,) = body["on_failure"]
        assert on_failure["destination"] == "${local.on_failure.destination}"
        assert on_failure["param"] == "${local.on_failure.param}"
    later = of["${huaweicloud_fgs_function.later.urn}"]
    assert later["max_async_event_age_in_seconds"] == 86_400, "what is handed on waits for a day"


def test_the_second_function_waits_an_hour() -> None:
    """All else, the code and the settings too, is that of the first."""
    # The conditions on what both have are stated once, and so is what is said about the network.
    own = {"name", "description", "timeout", "max_instance_num", "lifecycle", "__comments__"}
    assert {key: value for key, value in LATER.items() if key not in own} == {
        key: value for key, value in FUNCTION.items() if key not in own
    }
    assert (LATER["timeout"], LATER["max_instance_num"]) == (3600, '"5"')


def test_the_function_hands_on_to_the_second_one(tmp_path: Path) -> None:
    """By its URN, which is known before it is made."""
    computed = compute_locals(tmp_path, name="sync")
    urn = f"urn:fss:cn-north-4:{PROJECT_ID}:function:default:sync-later"
    assert computed["settings"]["CBR_SYNC_DEFER_TO"] == urn
    assert LATER["name"] == "${local.later_name}"
    assert computed["later_name"] == "sync-later"


def test_no_trigger_is_made_with_a_status() -> None:
    """The provider ignores it when it makes the trigger, so a disabled one would be live."""
    for kind, name, body in RESOURCES:
        assert not (kind == "huaweicloud_fgs_function_trigger" and "status" in body), name


def copy_module(folder: Path) -> None:
    """Copy what can be evaluated without a provider, and what that reads, beside it."""
    folder.mkdir(exist_ok=True)
    for name in ("variables.tf", "locals.tf"):
        shutil.copy(FOLDER / name, folder)
    shutil.copy(ROOT_FOLDER / "policy.json", folder.parent)


def compute_locals(tmp_path: Path, **variables: str) -> dict[str, Any]:
    """Compute the locals with Terraform; they need neither a provider nor an account."""
    terraform = shutil.which("terraform")
    if terraform is None:
        pytest.skip("no terraform here to compute values with")
    copy_module(tmp_path / "module")
    names = (
        "settings",
        "encrypted_settings",
        "actions",
        "timer",
        "report",
        "follow",
        "webhook",
        "triggers",
        "project_name",
        "later_name",
        "settings_count",
        "settings_bytes",
        "on_failure",
        "metric_alarms",
        "keyword_alarms",
    )
    # Only what is asked for is computed, so the variables are asked for too: that checks them.
    asked = [f"{name} = local.{name}" for name in names] + [
        f"var_{name} = var.{name}" for name, _ in VARIABLES
    ]
    given = {"region": "cn-north-4", "project_id": PROJECT_ID, **variables}
    arguments = [f"-var={name}={value}" for name, value in given.items()]
    done = subprocess.run(
        [terraform, "console", *arguments],
        cwd=tmp_path / "module",
        input=f"nonsensitive(jsonencode({{{', '.join(asked)}}}))\n",
        check=False,
        capture_output=True,
        text=True,
    )
    # A value that a variable's own rule refuses does not end the console.
    assert "Invalid value for variable" not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(json.loads(done.stdout.splitlines()[-1]))
    return result


def test_the_settings_start_the_function(tmp_path: Path) -> None:
    """As a first deployment leaves them, and with all that can be set."""
    first = compute_locals(tmp_path, webhook_secret=secret_text())
    given: dict[str, Any] = {
        "credentials_given": True,
        "project_id_given": True,
        "defers_to": "function",
    }
    assert Settings.load({**first["settings"], **first["encrypted_settings"]}, **given).vaults == ("hybrid",)
    more = compute_locals(
        tmp_path,
        webhook_secret=secret_text(),
        vaults="8d3a8b28-a697-41e2-8d5d-903669f8a02d",
        allowed_vaults="8d3a8b28-a697-41e2-8d5d-903669f8a02d",
        wait_seconds="30",
        topic_urn="urn:smn:cn-north-4:0123456789abcdef0123456789abcdef:outcomes",
        eventgrid_channel_id="c5a1a5b0-6f0c-4a53-9d67-1f2b3c4d5e6f",
        notify="problems",
        ping_url="https://hc-ping.com/3c5f0a6e-6c3b-4d0f-9b0e-000000000001",
    )
    names = more["settings"].keys() | more["encrypted_settings"].keys()
    known = {field.alias for field in Settings.model_fields.values()}
    assert {name for name in names if name.startswith("CBR_SYNC_")} <= known
    settings = Settings.load({**more["settings"], **more["encrypted_settings"]}, **given)
    assert (settings.wait_seconds, len(settings.webhook_secrets)) == (30, 1)
    assert (settings.notify, settings.ping_url is not None) == ("problems", True)
    assert "whsec_" not in json.dumps(more["settings"])
    assert "hc-ping" not in json.dumps(more["settings"])


def test_the_permissions_are_the_least(tmp_path: Path) -> None:
    """To sync, to find vaults and operations, to hand on, to publish; EventGrid's only with a channel."""
    least = {"cbr:vaults:sync", "cbr:tasks:list", "cbr:vaults:list", "cbr:vaults:get"}
    least |= {"functiongraph:function:invoke", "functiongraph:function:invokeAsync"}
    topics = {"smn:topic:publish", "smn:topic:list"}
    assert set(compute_locals(tmp_path)["actions"]) == least | topics
    with_channel = compute_locals(tmp_path, eventgrid_channel_id="c5a1a5b0-6f0c-4a53-9d67-1f2b3c4d5e6f")
    assert set(with_channel["actions"]) == least | topics | {"eg:channels:putEvents"}


def test_the_timers_event_is_read_as_a_timer(tmp_path: Path) -> None:
    """With a time zone and all keys that the service returns; its empty text asks for the default vaults."""
    timer = compute_locals(tmp_path, timezone="Europe/Berlin")["timer"]
    assert timer.keys() == {"name", "schedule_type", "schedule", "sync_execution", "user_event"}
    assert timer["schedule"] == "CRON_TZ=Europe/Berlin 0 30 4 * * *"
    event = {"version": "v1.0", "time": "2026-11-23T03:00:00+01:00", "trigger_type": "TIMER",
             "trigger_name": timer["name"], "user_event": timer["user_event"]}  # fmt: skip
    (message,) = read_messages(event)
    assert message.trigger.kind is Kind.TIMER
    request = parse_request(message, FakeReceiver(CBR_SYNC_VAULTS="hybrid").settings)
    assert request == SyncRequest(VaultSelector(), auto_trigger=True)


def test_the_reports_event_is_read_as_a_report(tmp_path: Path) -> None:
    """On all hybrid vaults, with the limit that was chosen."""
    report = compute_locals(tmp_path, max_age_hours="50")["report"]
    assert report["schedule"] == "CRON_TZ=UTC 0 0 9 * * *"
    event = {"time": "2026-11-23T09:00:00Z", "trigger_type": "TIMER", "trigger_name": report["name"],
             "user_event": report["user_event"]}  # fmt: skip
    (message,) = read_messages(event)
    request = parse_request(message, FakeReceiver().settings)
    assert isinstance(request, ReportRequest)
    assert request.options.max_age_hours == 50


@pytest.mark.parametrize("minutes", [1, 10, 60])
def test_ticks_fire_by_cron_in_utc_at_whole_multiples_of_their_period(tmp_path: Path, minutes: int) -> None:
    """Whatever zone the other timers have; a rate counts from when it was made."""
    follow = compute_locals(tmp_path, follow_minutes=str(minutes), timezone="Asia/Kolkata")["follow"]
    field = "0" if minutes == 60 else f"*/{minutes}"
    assert (follow["schedule_type"], follow["schedule"]) == ("Cron", f"CRON_TZ=UTC 0 {field} * * * *")
    event = {"time": "2026-11-23T09:00:00Z", "trigger_type": "TIMER", "trigger_name": follow["name"],
             "user_event": follow["user_event"]}  # fmt: skip
    (message,) = read_messages(event)
    request = parse_request(message, FakeReceiver().settings)
    assert isinstance(request, FollowRequest)
    assert request.options.every_minutes == minutes


def test_ticks_can_be_switched_off(tmp_path: Path) -> None:
    """By 0, which makes no trigger."""
    off = compute_locals(tmp_path, follow_minutes="0")
    assert off["follow"] is None
    assert "follow" not in off["triggers"]


def test_the_webhook_is_there_when_it_is_asked_for(tmp_path: Path) -> None:
    """With all that the API requires; signatures are the function's own affair."""
    without = compute_locals(tmp_path)
    assert without["webhook"] is None
    timers = {
        "nightly": {"type": "TIMER", "data": without["timer"]},
        "morning": {"type": "TIMER", "data": without["report"]},
        "follow": {"type": "TIMER", "data": without["follow"]},
    }
    assert without["triggers"] == timers
    both = compute_locals(tmp_path, webhook_gateway=GATEWAY, timeout="30")
    webhook = both["webhook"]
    assert both["triggers"] == {**timers, "webhook": {"type": "DEDICATEDGATEWAY", "data": webhook}}
    assert webhook.keys() >= APIG_NEEDS
    assert (webhook["auth"], webhook["req_method"], webhook["protocol"]) == ("NONE", "POST", "HTTPS")
    assert webhook["func_info"]["timeout"] == 30_000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("region", "north"),
        ("schedule", "0 3 * * *"),
        ("schedule", "@every 24h"),
        ("schedule", "0 0 3 * * "),
        ("vaults", "all"),
        ("allowed_vaults", "hybrid"),
        ("webhook_vaults", "vault"),
        ("endpoint", "http://cbr.example.com"),
        ("code_url", "obs://bucket/zip"),
        ("topic_urn", "people"),
        ("ping_url", "http://hc-ping.com/x"),
        ("webhook_secret", "hunter2"),
        ("webhook_token", "short"),
        ("language", "de"),
        ("wait_seconds", "901"),
        ("alarm_emails", '["nobody"]'),
        ("alarms", '["stale"]'),
        ("failure_bucket", "Bucket_"),
        ("agency_name", "a b"),
        ("report_schedule", "0 9 * * *"),
        ("max_age_hours", "0"),
        ("max_age_hours", "193"),
        ("follow_minutes", "7"),
        ("notify", "nobody"),
        ("timezone", "UTC 0"),
        ("name", "1"),
        ("memory_size", "100"),
    ],
)
def test_a_typo_is_reported_before_anything_is_made(tmp_path: Path, name: str, value: str) -> None:
    """By the variable's name."""
    with pytest.raises(AssertionError, match=f"var.{name}"):
        compute_locals(tmp_path, **{name: value})
