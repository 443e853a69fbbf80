"""Reports: the state of each vault, from the API's lists alone, with a table of histories."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbr_sync.errors import EventError, SyncUnfinished
from cbr_sync.huawei.cbr import OperationLog
from cbr_sync.huawei.cbr import Vault as ListedVault
from cbr_sync.models import Kind, Trigger
from cbr_sync.reports.history import SyncHistory, build_report
from cbr_sync.reports.models import ReportParam, State, VaultReport
from cbr_sync.simulator.scenarios import PastSync, build_nightly_history, demo_simulator, record_history
from cbr_sync.sinks.messages import MAX_BYTES
from support.builders import VAULT, Lines, build_world, make_ids
from support.world import FILE, START, VMWARE, World, webhook_event

BUCKET = ("BackupService.6405", "Bucket object deletion failed.")
OLD = PastSync(24 * 90)  # shows that the logs reach back so far
TRIGGER = Trigger(kind=Kind.TIMER, id="night")


def run_report(world: World, payload: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run a report on Lambda, and return it."""
    reply = world.on_lambda({"report": {}} | (payload or {}))
    (found,) = reply["reports"]
    assert reply["outcomes"] == []
    return dict(found)


def read_states(found: dict[str, Any]) -> dict[str, str]:
    """Return the state of each vault, by its name."""
    return {vault["name"]: vault["state"] for vault in found["vaults"]}


def read_requested_lists(world: World) -> list[str]:
    """Return the lists that were requested, in order."""
    return [request.path.rpartition("/")[2] for request in world.simulator.requests]


def build_log(number: int, vault_id: str) -> OperationLog:
    """A sync that succeeded, begun as many hours ago as its number says."""
    begun = START - timedelta(hours=number)
    counts = {"sync_backup_num": 12, "delete_backup_num": 1, "err_sync_backup_num": 0}
    return OperationLog.model_validate(
        {
            "id": f"log-{number}",
            "status": "success",
            "created_at": begun,
            "ended_at": begun + timedelta(minutes=20),
            "vault_id": vault_id,
            "vault_name": f"vault {vault_id}",
            "error_info": {"code": "", "message": ""},
            "extra_info": {"common": {"progress": 100}, "sync": counts},
        }
    )


HISTORIES = [
    ("fresh", [PastSync(5)], "fresh"),
    ("fresh to the minute", [PastSync(26)], "fresh"),
    ("late", [PastSync(27), *build_nightly_history(9, 2)], "stale"),
    (
        "failing for three days",
        build_nightly_history(9, 3) + build_nightly_history(3, ends="failed", error=BUCKET),
        "failing",
    ),
    ("failed once, succeeded since", [PastSync(30, ends="failed", error=BUCKET), PastSync(5)], "fresh"),
    (
        "failed since, though the success is young",
        [PastSync(9), PastSync(3, ends="failed", error=BUCKET)],
        "failing",
    ),
    ("timed out", [PastSync(30), PastSync(6, ends="timeout")], "failing"),
    ("some copies failed", [PastSync(30), PastSync(6, failed=2)], "failing"),
    ("never more than partial", [PastSync(6, failed=2)], "failing"),
    ("skipped since, and young", [PastSync(9), PastSync(3, ends="skipped")], "fresh"),
    ("skipped for days", [*build_nightly_history(9, 3), *build_nightly_history(3, ends="skipped")], "stale"),
    ("running for ten hours", [PastSync(34), PastSync(10, hours=30)], "stale"),
    ("running, and young", [PastSync(20), PastSync(10, hours=30)], "fresh"),
    ("its first sync runs", [PastSync(10, hours=30)], "unknown"),
    ("forgotten", [], "unknown"),
]


@pytest.mark.parametrize(("name", "pasts", "state"), HISTORIES, ids=[name for name, *_ in HISTORIES])
def test_a_history_gives_a_state(name: str, pasts: list[PastSync], state: str) -> None:
    """The last success and what followed decide, whoever started it."""
    assert read_states(run_report(build_world((replace(VAULT, name=name), pasts)))) == {name: state}


def test_a_failing_vault_shows_since_when_and_why() -> None:
    """The last success with its copies, its age, and the last error in the API's words."""
    pasts = [PastSync(80), *build_nightly_history(3, ends="failed", error=BUCKET)]
    (vault,) = run_report(build_world((VAULT, pasts)))["vaults"]
    assert vault["age_hours"] == 80
    assert vault["last_success"]["status"] == "succeeded"
    assert vault["last_success"]["copies"] == {"synced": 12, "deleted": 1, "failed": 0}
    assert vault["last_success"]["started_at"] == "2026-11-19T19:00:00.000Z"
    assert vault["last_success"]["ended_at"] == "2026-11-19T19:30:00.000Z"
    error = {"code": BUCKET[0], "message": BUCKET[1], "request_id": None, "http_status": None}
    assert vault["last_error"]["error"] == error
    assert vault["last_error"]["started_at"] == "2026-11-22T20:00:00.000Z"
    assert vault["running"] is None


def test_a_running_sync_is_shown_with_its_progress() -> None:
    """It makes no vault fresh before it has ended."""
    (vault,) = run_report(build_world((VAULT, [PastSync(40), PastSync(10, hours=30)])))["vaults"]
    assert (vault["state"], vault["age_hours"]) == ("stale", 40)
    assert vault["running"]["progress"] == 33
    assert vault["running"]["started_at"] == "2026-11-22T17:00:00.000Z"
    assert vault["running"]["copies"] is None


@pytest.mark.parametrize(
    ("created", "older_log", "state"),
    [
        (timedelta(days=2), False, "never"),
        (timedelta(days=7), False, "never"),
        (timedelta(days=8), False, "unknown"),
        (timedelta(days=80), True, "never"),
        (timedelta(days=91), True, "unknown"),
    ],
)
def test_never_is_said_only_where_the_logs_would_know(
    created: timedelta, older_log: bool, state: str
) -> None:
    """How long they are kept is not documented; a log older than the vault shows that they reach back."""
    vault = replace(VAULT, name="new", created_at=START - created)
    others = [(replace(VAULT, id=one, name=one), list[PastSync]()) for one in make_ids(11)]
    old = (replace(VAULT, id=FILE, name="old"), [OLD] if older_log else [])
    assert read_states(run_report(build_world((vault, []), old, *others)))["new"] == state


def test_the_worst_come_first_and_all_are_counted() -> None:
    """With the oldest success that is known."""
    world = World()
    world.simulator = demo_simulator(world.now)
    found = run_report(world)
    assert found["counts"] == {"failing": 2, "never": 1, "stale": 3, "unknown": 1, "fresh": 2}
    order = [vault["state"] for vault in found["vaults"]]
    assert order == [state for state in State for _ in range(found["counts"][state])]
    assert found["oldest_sync_age_hours"] == 271.2
    assert "vault-server-01" not in read_states(found), "a public vault"


def test_the_age_limit_comes_from_the_payload() -> None:
    """Hours, with a fraction where needed."""
    world = build_world((VAULT, [PastSync(5)]))
    assert read_states(run_report(world, {"report": {"max_age_hours": 4.5}})) == {"vault": "stale"}
    assert read_states(run_report(world, {"report": {"max_age_hours": 5}})) == {"vault": "fresh"}


def test_a_selector_and_the_allowed_vaults_limit_the_report() -> None:
    """As they limit a sync."""
    world = World()
    world.simulator = demo_simulator(world.now)
    assert set(read_states(run_report(world, {"vaults": {"object_type": "file"}}))) == {
        "vault-file-01",
        "vault-file-new",
    }
    environ = {**world.environ, "CBR_SYNC_ALLOWED_VAULTS": VMWARE}
    (allowed,) = world.on_lambda({"report": {}}, environ)["reports"]
    assert set(read_states(allowed)) == {"vault-vmware-01"}


def test_a_report_on_nothing_is_an_error(world: World) -> None:
    """It would look as if all were well."""
    with pytest.raises(EventError, match="no hybrid vault matches name, so there is nothing to report on"):
        world.on_lambda({"report": {}, "vaults": {"name": "nobody"}})


def test_recent_syncs_are_listed_where_they_are_asked_for() -> None:
    """The newest first, of so many hours; without asking there are none."""
    world = build_world((VAULT, build_nightly_history(9)))
    listed = run_report(world, {"report": {"history_hours": 72}})["history"][VMWARE]
    start_times = [sync["started_at"] for sync in listed]
    assert start_times == sorted(start_times, reverse=True)
    assert len(start_times) == 3
    assert run_report(world)["history"] == {}


def test_a_deleted_vault_is_not_reported() -> None:
    """Neither one whose logs are still there, nor one that is deleted between two requests."""
    stays = replace(VAULT, id=FILE, name="stays")
    world = build_world((VAULT, []), (stays, [PastSync(5)]))
    record_history(
        world.simulator,
        replace(VAULT, id=make_ids(1)[0], name="gone long ago"),
        build_nightly_history(3),
        world.now(),
    )
    cloud = world.transport()

    def answer_deleted(request: httpx.Request) -> httpx.Response:
        if request.url.params.get("vault_id") == VMWARE:
            error = {"error_code": "BackupService.6105", "error_msg": "The vault does not exist."}
            return httpx.Response(404, json=error)
        return cloud.handle_request(request)

    reply = world.on_lambda({"report": {}}, transport=httpx.MockTransport(answer_deleted))
    assert read_states(reply["reports"][0]) == {"stays": "fresh"}


def test_few_vaults_without_a_success_cost_a_request_each() -> None:
    """The others are judged by one page of the hours that matter."""
    histories = [(replace(VAULT, id=one, name=one), [PastSync(5)]) for one in make_ids(20)]
    world = build_world(*histories, (replace(VAULT, name="late"), [PastSync(24 * 50)]))
    assert read_states(run_report(world))["late"] == "stale"
    assert read_requested_lists(world) == ["vaults", "operation-logs", "operation-logs"]


def test_2300_vaults_are_judged_by_a_few_pages() -> None:
    """Also when the schedule stopped for all of them: no request a vault."""
    histories = [
        (replace(VAULT, id=one, name=f"vault-{n}"), build_nightly_history(4, 2))
        for n, one in enumerate(make_ids(2300))
    ]
    world = build_world(*histories)
    found = run_report(world)
    assert found["counts"] == {"stale": 2300}
    assert Counter(read_requested_lists(world)) == {"vaults": 3, "operation-logs": 1 + 1 + 5}


def test_the_summary_of_2300_vaults_fits_and_counts_what_it_leaves_out(log_lines: Lines) -> None:
    """At most 64 KiB, whole rows, the worst first; each vault has an event of its own beside it."""
    histories = [(replace(VAULT, id=one, name="数据" * 32), [PastSync(30)]) for one in make_ids(2300)]
    run_report(build_world(*histories, (VAULT, [PastSync(3, ends="failed", error=BUCKET)])))
    summary, *vaults = (line["outcome"] for line in log_lines())
    assert Counter(event["type"] for event in vaults) == {
        "cbr-sync.vault.stale.v1": 2300,
        "cbr-sync.vault.failing.v1": 1,
    }
    assert summary["type"] == "cbr-sync.report.v1"
    assert summary["data"]["counts"] == {"failing": 1, "stale": 2300}
    rows, omitted = summary["data"]["vaults"], summary["data"]["omitted"]
    assert len(rows) + omitted == 2301
    assert rows[0]["vault_id"] == VMWARE
    size, one_more = len(json.dumps(summary)), len(json.dumps(rows[1])) + 2
    assert size <= MAX_BYTES < 64 * 1024 < size + 3 * one_more


def test_each_vault_that_is_not_fresh_is_an_event(log_lines: Lines) -> None:
    """Of its own type, the vault its subject; emitted again for the same trigger it has the same id."""
    world = build_world((VAULT, [PastSync(30)]), (replace(VAULT, id=FILE, name="well"), [PastSync(3)]))
    event = {"trigger": "schedule", "scheduled_time": "2026-11-23T03:00:00Z", "report": {}, "vaults": {}}
    seen = []
    for _ in range(2):
        world.on_lambda(event)
        summary, late = log_lines()
        assert (late["level"], summary["level"]) == ("WARNING", "WARNING")
        assert late["outcome"]["type"] == "cbr-sync.vault.stale.v1"
        assert late["outcome"]["subject"] == late["vault_id"] == VMWARE
        assert late["outcome"]["data"]["age_hours"] == 30
        assert late["outcome"]["data"]["max_age_hours"] == 26
        assert summary["outcome"]["data"]["counts"] == {"stale": 1, "fresh": 1}
        seen.append((late["outcome"]["id"], summary["outcome"]["id"]))
    assert seen[0] == seen[1]
    world.on_lambda({**event, "scheduled_time": "2026-11-24T03:00:00Z"})
    _, later = log_lines()
    assert later["outcome"]["id"] != seen[0][0]


def test_a_good_day_is_one_quiet_event(log_lines: Lines) -> None:
    """The summary alone, and no warning."""
    run_report(build_world((VAULT, [PastSync(3)])))
    (line,) = log_lines()
    assert (line["level"], line["outcome"]["type"]) == ("INFO", "cbr-sync.report.v1")
    assert line["outcome"]["data"]["vaults"] == []


@pytest.mark.parametrize(
    "event",
    [
        {"trigger_type": "TIMER", "trigger_name": "t", "user_event": '{"report": {"max_age_hours": 26}}'},
        {"report": {}},
    ],
)
def test_a_timer_and_an_invoke_may_ask_for_a_report_on_functiongraph(event: dict[str, Any]) -> None:
    """The payload is the same for both."""
    reply = build_world((VAULT, [PastSync(3)])).on_functiongraph(event)
    assert [read_states(found) for found in reply["reports"]] == [{"vault": "fresh"}]


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (
            {"record": [{"smn": {"message": '{"report": {}, "vaults": {}}', "message_id": "m"}}]},
            "notification",
        ),
        ({"specversion": "1.0", "type": "ask", "id": "e", "data": {"report": {}}}, "event"),
    ],
)
def test_no_notification_and_no_event_may_ask_for_a_report(event: dict[str, Any], kind: str) -> None:
    """Nor may a webhook: a report names every vault."""
    world = build_world((VAULT, [PastSync(3)]))
    with pytest.raises(EventError, match=f"found report in an event of kind {kind}, expected it only in"):
        world.on_functiongraph(event)
    assert world.on_lambda(webhook_event({"report": {}}, world))["statusCode"] == 400


def test_a_message_may_ask_for_a_report_beside_others_that_sync() -> None:
    """A batch is served whole, the syncs first: no report takes their time."""
    world = build_world((VAULT, [PastSync(30)]))
    record_of = {"eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:work"}
    bodies = [{"report": {}}, {"vault_id": VMWARE}]
    records = [
        {**record_of, "messageId": f"m{n}", "body": json.dumps(b), "attributes": {}}
        for n, b in enumerate(bodies)
    ]
    assert world.on_lambda({"Records": records}) == {"batchItemFailures": []}
    assert len(world.started) == 1
    assert read_requested_lists(world)[-1] == "operation-logs"
    world.sleep(700)
    posts = len(world.started)

    def throttle_lists(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(429, headers={"Retry-After": "60"}, json={})
        return world.transport().handle_request(request)

    environ = {**world.environ, "CBR_SYNC_LOOK_FIRST": "false"}
    reply = world.on_lambda({"Records": records}, environ, transport=httpx.MockTransport(throttle_lists))
    assert reply == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert len(world.started) == posts + 1


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"report": None}, "report: found null, expected an object such as"),
        (
            {"report": {"max_age_hours": 0}},
            "report.max_age_hours: found a number, expected a number of hours",
        ),
        ({"report": {"max_age_hours": True}}, "report.max_age_hours: found true"),
        ({"report": {"max_age_hours": "26"}}, "report.max_age_hours: found a string of 2 characters"),
        ({"report": {"max_age_hours": 1e999}}, "report.max_age_hours: found a number"),
        ({"report": {"history_hours": -1}}, "report.history_hours: found a number"),
        (
            {"report": {"max_age": 26}},
            "report.max_age: unknown key; expected one of report, vaults, ",
        ),
        ({"report": {}, "vault_id": VMWARE}, "vault_id: unknown key"),
        ({"report": {}, "vaults": []}, "vaults: found a list of 0"),
        ({"report": {}, "vaults": {"name": 7}}, "vaults.name: found a number, expected a string"),
    ],
)
def test_a_wrong_report_names_the_key(world: World, payload: dict[str, Any], message: str) -> None:
    """And what was found and expected; nothing is asked for then."""
    with pytest.raises(EventError, match=message.replace(".", r"\.")):
        world.on_lambda(payload)
    assert world.simulator.requests == []


def test_a_timer_reports_on_the_vaults_of_its_settings() -> None:
    """As it syncs them; it may ask for others, or for all. Nobody else is bound by them."""
    world = World()
    world.simulator = demo_simulator(world.now)
    environ = {**world.environ, "CBR_SYNC_VAULTS": f"{VMWARE},{FILE}"}

    def found(event: dict[str, Any], **change: str) -> int:
        (one,) = world.on_functiongraph(event, {**environ, **change})["reports"]
        return len(one["vaults"])

    timer = {"trigger_type": "TIMER", "trigger_name": "morning"}
    assert found({**timer, "user_event": '{"report": {}}'}) == 2
    assert found({**timer, "user_event": '{"report": {}, "vaults": {}}'}) == 9
    assert found({**timer, "user_event": '{"report": {}}'}, CBR_SYNC_VAULTS="hybrid") == 9
    assert found({**timer, "user_event": '{"report": {}}'}, CBR_SYNC_VAULTS="") == 9
    assert found({"report": {}}) == 9


def test_vaults_without_a_success_never_cost_all_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a large account one request each is less than what was logged in a week; here on small pages."""
    monkeypatch.setattr("cbr_sync.huawei.cbr.PAGE", 100)
    monkeypatch.setattr("cbr_sync.reports.reporter.PAGE", 100)
    histories = [(replace(VAULT, id=one, name=one), build_nightly_history(30)) for one in make_ids(180)]
    dead = [
        (replace(VAULT, id=f"{n:08x}-0000-4000-8000-00000000ffff", name="dead"), list[PastSync]())
        for n in range(11)
    ]
    world = build_world(*histories, *dead)
    assert run_report(world)["counts"] == {"unknown": 11, "fresh": 180}
    first, counted, each, how_far_back = 2, 1, 11, 1
    assert Counter(read_requested_lists(world))["operation-logs"] == first + counted + each + how_far_back


def test_older_logs_that_cannot_be_read_leave_a_vault_unknown(log_lines: Lines) -> None:
    """Throttled, refused or out of time: the other vaults are reported all the same."""
    others = [(replace(VAULT, id=one, name=one), [PastSync(5)]) for one in make_ids(3)]
    world = build_world((replace(VAULT, name="late"), build_nightly_history(9, 2)), *others)
    cloud = world.transport()

    def throttle_lists(request: httpx.Request) -> httpx.Response:
        if "vault_id" in request.url.params:
            return httpx.Response(429, headers={"Retry-After": "9"}, json={})
        return cloud.handle_request(request)

    reply = world.on_lambda({"report": {}}, transport=httpx.MockTransport(throttle_lists))
    assert reply["reports"][0]["counts"] == {"unknown": 1, "fresh": 3}
    assert log_lines()[0]["message"] == "older logs could not be read"


@pytest.mark.parametrize("count", [1, 12])
def test_where_the_reach_of_the_logs_is_unknown_a_vault_is_too(count: int, log_lines: Lines) -> None:
    """Only that state depends on it; the same where the logs cannot be counted."""
    world = build_world(*((replace(VAULT, id=one, name=one), list[PastSync]()) for one in make_ids(count)))
    cloud = world.transport()

    def refuse_counting(request: httpx.Request) -> httpx.Response:
        if request.url.params.get("limit") == "1":
            return httpx.Response(400, json={"error_code": "BackupService.9900", "error_msg": "end_time"})
        return cloud.handle_request(request)

    reply = world.on_lambda({"report": {}}, transport=httpx.MockTransport(refuse_counting))
    assert reply["reports"][0]["counts"] == {"unknown": count}
    assert log_lines()[0]["reason"] == "BackupService.9900: end_time"


def test_running_out_of_time_in_older_logs_fails_no_report(log_lines: Lines) -> None:
    """All of them stopped, and the API is slow: what is known is reported."""
    world = build_world(
        *((replace(VAULT, id=one, name=one), build_nightly_history(4, 2)) for one in make_ids(20))
    )
    cloud = world.transport()

    def answer_slowly(request: httpx.Request) -> httpx.Response:
        world.sleep(30 if "operation-logs" in request.url.path else 0)
        return cloud.handle_request(request)

    reply = world.on_lambda({"report": {}}, transport=httpx.MockTransport(answer_slowly))
    (found,) = reply["reports"]
    assert sum(found["counts"].values()) == 20
    assert {line["message"] for line in log_lines() if "reason" in line} == {"older logs could not be read"}


def test_a_report_on_vaults_that_were_deleted_is_a_report_on_nothing() -> None:
    """So it is an error, not a good day."""
    world = build_world((VAULT, []))
    cloud = world.transport()

    def answer_gone(request: httpx.Request) -> httpx.Response:
        if "vault_id" in request.url.params:
            return httpx.Response(404, json={"error_code": "BackupService.6105", "error_msg": "gone"})
        return cloud.handle_request(request)

    with pytest.raises(EventError, match="there is nothing to report on"):
        world.on_lambda({"report": {}}, transport=httpx.MockTransport(answer_gone))


@pytest.mark.parametrize("others", ["fresh", "late"])
def test_whether_a_vault_was_never_synced_does_not_depend_on_others(others: str) -> None:
    """The logs go back to before it was made, however little of them was needed for the rest."""
    made = replace(VAULT, name="made", created_at=START - timedelta(days=80))
    other = replace(VAULT, id=FILE, name="other")
    pasts = build_nightly_history(90) if others == "fresh" else build_nightly_history(90, 2)
    assert read_states(run_report(build_world((made, []), (other, pasts))))["made"] == "never"
    older = replace(made, created_at=START - timedelta(days=95))
    assert read_states(run_report(build_world((older, []), (other, pasts))))["made"] == "unknown"


def test_a_log_that_names_no_vault_belongs_to_the_one_that_was_asked_for() -> None:
    """The name is optional in what the API answers."""
    world = build_world((VAULT, [PastSync(50)]))
    cloud = world.transport()

    def omit_vault_ids(request: httpx.Request) -> httpx.Response:
        answer = cloud.handle_request(request)
        if "operation-logs" not in request.url.path:
            return answer
        body = json.loads(answer.content)
        logs = [{**log, "vault_id": None} for log in body["operation_logs"]]
        return httpx.Response(200, json={**body, "operation_logs": logs})

    reply = world.on_lambda({"report": {}}, transport=httpx.MockTransport(omit_vault_ids))
    assert read_states(reply["reports"][0]) == {"vault": "stale"}


def test_of_a_long_history_the_newest_syncs_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as fit into a reply, and how many do not."""
    monkeypatch.setattr("cbr_sync.reports.history.MAX_HISTORY", 6)
    histories = [(replace(VAULT, id=one, name=one), build_nightly_history(9)) for one in make_ids(2)]
    found = run_report(build_world(*histories), {"report": {"history_hours": 24 * 30}})
    assert {len(syncs) for syncs in found["history"].values()} == {3}
    assert found["history_omitted"] == 12
    start_times = [sync["started_at"] for sync in found["history"][make_ids(1)[0]]]
    assert start_times == sorted(start_times, reverse=True)
    assert start_times[0].startswith("2026-11-22T20")


def test_the_bound_of_the_history_is_one_for_all_vaults() -> None:
    """5,288 syncs of 300 vaults fit into 10,000, however few of the vaults most of them belong to."""
    vault_ids = make_ids(300)
    history = SyncHistory(vault_ids)
    history.add(
        (build_log(number, vault_ids[number * number % 300]) for number in range(5288)),
        list_since=START - timedelta(days=365),
    )
    listed = [
        ListedVault.model_validate({"id": one, "name": one, "billing": {}}) for one in reversed(vault_ids)
    ]
    found = build_report(listed, history, ReportParam(history_hours=8784), TRIGGER, START)
    assert (sum(map(len, found.history.values())), found.history_omitted) == (5288, 0)
    assert len(max(found.history.values(), key=len)) > 10_000 // 300


@given(
    numbers=st.lists(st.integers(0, 60), unique=True, min_size=1),
    repeated=st.integers(0, 5),
    is_newest_first=st.booleans(),
    bound=st.integers(1, 20),
)
def test_the_newest_syncs_win_and_the_others_are_counted(
    numbers: list[int], repeated: int, is_newest_first: bool, bound: int
) -> None:
    """Whatever the order of the list, also where rows come again with the next page or another list."""
    order = sorted(numbers, reverse=not is_newest_first)
    logs = [build_log(number, FILE if number % 3 else VMWARE) for number in order]
    history = SyncHistory([VMWARE, FILE])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cbr_sync.reports.history.MAX_HISTORY", bound)
        history.add([*logs[:7], *logs[max(7 - repeated, 0) :]], list_since=START - timedelta(hours=50))
        history.add(logs)
        listed = [
            ListedVault.model_validate({"id": one, "name": one, "billing": {}}) for one in (VMWARE, FILE)
        ]
        found = build_report(listed, history, ReportParam(history_hours=50), TRIGGER, START)
    recent = sorted(number for number in numbers if number <= 50)
    shown = {sync.operation_log_id for syncs in found.history.values() for sync in syncs}
    assert shown == {build_log(number, VMWARE).id for number in recent[:bound]}
    assert found.history_omitted == len(recent[bound:])
    for syncs in found.history.values():
        begun = [sync.started_at for sync in syncs]
        assert begun == sorted(begun, reverse=True)


def test_a_sync_that_ended_while_logs_were_read_is_listed_as_ended() -> None:
    """A list that is read later has it again; an older page does not make it run again."""
    history = SyncHistory([VMWARE])
    running, ended = (
        OperationLog.model_validate({**build_log(3, VMWARE).model_dump(), "status": status})
        for status in ("running", "success")
    )
    history.add([running], list_since=START - timedelta(hours=50))
    history.add([ended, running])
    (listed,) = history.recent.group_by_vault()[VMWARE]
    assert listed.status == "succeeded"


def test_memory_does_not_grow_with_the_number_of_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 logs, of which 500 are listed: all at once they would take over 35 MB."""
    monkeypatch.setattr("cbr_sync.reports.history.MAX_HISTORY", 500)
    world = build_world((VAULT, []))
    cloud = world.transport()
    row = build_log(0, VMWARE).model_dump_json()

    def answer(request: httpx.Request) -> httpx.Response:
        if "operation-logs" not in request.url.path:
            return cloud.handle_request(request)
        begin, count = int(request.url.params.get("offset", 0)), int(request.url.params["limit"])
        numbers = range(begin, min(begin + count, 10_000))
        logs = ",".join(row.replace("log-0", f"log-{number}") for number in numbers)
        return httpx.Response(200, text=f'{{"operation_logs": [{logs}], "count": 10000}}')

    tracemalloc.start()
    try:
        payload = {"report": {"history_hours": 8784}}
        (found,) = world.on_lambda(payload, transport=httpx.MockTransport(answer))["reports"]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(found["history"][VMWARE]), found["history_omitted"]) == (500, 9_500)
    assert peak < 20_000_000


def test_a_list_that_fails_for_a_moment_is_continued(world: World) -> None:
    """Each page is retried by itself; trouble that lasts leaves the run unfinished."""
    world.simulator.add_faults("503,429,502")
    assert len(run_report(world)["vaults"]) == 7
    world.simulator.add_faults("503*99")
    with pytest.raises(SyncUnfinished, match="CBR cannot be asked now: 503"):
        run_report(world)


def test_vaults_that_are_deleted_while_listed_hide_no_other() -> None:
    """The next page has moved up, so the list is read again."""
    vaults = [replace(VAULT, id=one, name=one) for one in make_ids(1001)]
    before, after = World(vaults=tuple(vaults)), World(vaults=tuple(vaults[1:]))
    clouds = iter([before.transport()])

    def cloud(request: httpx.Request) -> httpx.Response:
        return next(clouds, after.transport()).handle_request(request)

    reply = before.on_lambda({"report": {}}, transport=httpx.MockTransport(cloud))
    assert {vault["vault_id"] for vault in reply["reports"][0]["vaults"]} == {v.id for v in vaults[1:]}


LOG = st.builds(
    lambda number, hours, status: OperationLog.model_validate(
        {
            "id": f"log-{number}",
            "status": status,
            "created_at": START - timedelta(hours=hours),
            "vault_id": VMWARE.upper(),
        }
    ),
    st.integers(0, 9),
    st.integers(-1, 200),
    st.sampled_from(["success", "failed", "timeout", "skipped", "running", "waiting", "of a newer API"]),
)


def judge_logs(logs: list[OperationLog]) -> VaultReport:
    """Return the state of a vault with these logs."""
    listed = ListedVault.model_validate({"id": VMWARE, "name": "vault", "billing": {}})
    history = SyncHistory([VMWARE])
    history.add(logs)
    (row,) = build_report([listed], history, ReportParam(), TRIGGER, START).vaults
    return row


LOGS = st.lists(LOG, max_size=12, unique_by=(lambda log: log.id, lambda log: log.created_at))


@given(logs=LOGS, data=st.data())
def test_neither_order_nor_repetition_of_logs_matters(logs: list[OperationLog], data: st.DataObject) -> None:
    """Pages may move while they are read; and the state is what its definition says."""
    row = judge_logs(logs)
    assert judge_logs(data.draw(st.permutations(logs + logs[:3]))) == row
    good = max((log.created_at for log in logs if log.status == "success"), default=None)
    bad = max((log.created_at for log in logs if log.status in {"failed", "timeout"}), default=None)
    if bad and (not good or bad > good):
        assert row.state is State.FAILING
    elif good:
        assert row.state is (State.FRESH if START - good <= timedelta(hours=26) else State.STALE)
        assert row.age_hours is not None
        assert row.age_hours >= 0
    else:
        assert row.state is State.UNKNOWN


def test_a_state_of_a_newer_api_does_not_run_for_ever() -> None:
    """A sync that began later has ended, so it is not the one that goes on."""
    old = {"id": "old", "status": "cancelled", "created_at": START - timedelta(hours=20), "vault_id": VMWARE}
    new = {**old, "id": "new", "status": "success", "created_at": START - timedelta(hours=5)}
    row = judge_logs([OperationLog.model_validate(one) for one in (old, new)])
    assert (row.state, row.running) == (State.FRESH, None)
    (only,) = [OperationLog.model_validate(old)]
    running = judge_logs([only]).running
    assert running is not None
    assert running.status == "cancelled"


def test_a_sync_that_ends_between_two_pages_runs_no_more() -> None:
    """It is listed twice then, once as it was."""
    running = {"id": "log", "status": "running", "created_at": START, "vault_id": VMWARE}
    logs = [OperationLog.model_validate({**running, "status": status}) for status in ("running", "success")]
    for row in (judge_logs(logs), judge_logs(logs[::-1])):
        assert (row.state, row.running) == (State.FRESH, None)


def test_a_missing_permission_makes_a_vault_unknown_and_is_named(log_lines: Lines) -> None:
    """A report that left the vault out would be wrong."""
    world = build_world((VAULT, []))
    cloud = world.transport()

    def forbid_logs(request: httpx.Request) -> httpx.Response:
        if "vault_id" in request.url.params:
            return httpx.Response(403, json={"error_code": "APIGW.0302", "error_msg": "not allowed"})
        return cloud.handle_request(request)

    reply = world.on_lambda({"report": {}}, transport=httpx.MockTransport(forbid_logs))
    assert read_states(reply["reports"][0]) == {"vault": "unknown"}
    assert {line["reason"] for line in log_lines() if "reason" in line} == {"APIGW.0302: not allowed"}


@pytest.mark.parametrize(
    ("created_at", "state"),
    [
        ("2026-11-21T10:38:34.209782", "never"),
        ("2026-11-21T10:38:34Z", "never"),
        ("2026-11-21T10:38:34.584+00:00", "never"),
        (None, "unknown"),
        ("", "unknown"),
        ("lately", "unknown"),
    ],
)
def test_times_come_in_every_form_of_the_reference(created_at: str | None, state: str) -> None:
    """Naive ones are UTC; one that cannot be read is as good as none."""
    row = {"id": VMWARE, "name": "vault", "created_at": created_at, "billing": {"status": "available"}}
    listed = ListedVault.model_validate(row)
    (vault,) = build_report([listed], SyncHistory([VMWARE]), ReportParam(), TRIGGER, START).vaults
    assert vault.state == state
    log = {"id": "log", "status": "success", "created_at": "2026-11-23T02:00:00", "ended_at": ""}
    assert OperationLog.model_validate(log).created_at == datetime(2026, 11, 23, 2, tzinfo=UTC)
