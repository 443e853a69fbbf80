"""The simulated operations of CBR: what they accept, refuse and show."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from cbr_sync.simulator.cloud import Simulator
from cbr_sync.simulator.models import (
    DEFAULT_VAULTS,
    SIMULATOR_PROJECT_ID,
    Operation,
    TimeFormat,
    Vault,
)
from support.simulator_client import (
    LOGS,
    PROJECT,
    SYNC,
    VAULTS,
    make_client,
    post_sync,
    read_error,
    show_log,
    start_sync,
)
from support.world import BUSY, FILE, PUBLIC, START, VMWARE, World

FROZEN = "9f503152-be96-4e9b-8da2-705d42cf6e07"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
BROKEN = "7d3e1f30-9c74-4c79-8b80-5e3b20ad4c05"


def list_logs(client: httpx.Client, **query: str) -> list[dict[str, Any]]:
    """Return the rows of ListOpLogs."""
    page = client.get(f"{LOGS}?{urlencode(query)}").json()
    rows: list[dict[str, Any]] = page["operation_logs"]
    assert page["count"] >= len(rows)
    return rows


def list_vaults(client: httpx.Client, **query: str) -> list[dict[str, Any]]:
    """Return the rows of ListVault."""
    page = client.get(f"{VAULTS}?{urlencode(query)}").json()
    rows: list[dict[str, Any]] = page["vaults"]
    assert page["count"] >= len(rows)
    return rows


@pytest.mark.parametrize(
    ("vault", "error"),
    [
        (PUBLIC, (400, "BackupService.7300")),
        (BUSY, (400, "BackupService.7302")),
        (FROZEN, (400, "BackupService.6112")),
        (UNKNOWN, (404, "BackupService.6105")),
        ("not-a-uuid", (400, "BackupService.9900")),
    ],
)
def test_a_sync_that_is_not_possible_is_refused_with_the_documented_code(
    client: httpx.Client, vault: str, error: tuple[int, str]
) -> None:
    """As the API reference has them."""
    assert read_error(post_sync(client, vault)) == error


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"sync": []}',
        b'{"sync": {"auto_trigger": true}}',
        b'{"sync": {"vault_id": 7, "auto_trigger": true}}',
        f'{{"sync": {{"vault_id": "{VMWARE}"}}}}'.encode(),
        f'{{"sync": {{"vault_id": "{VMWARE}", "auto_trigger": true, "more": 1}}}}'.encode(),
        f'{{"sync": {{"vault_id": "{VMWARE}", "auto_trigger": true}}, "more": 1}}'.encode(),
        b"[" * 200_000,
    ],
    ids=range(11),
)
def test_a_malformed_body_is_refused(client: httpx.Client, body: bytes) -> None:
    """Both fields are mandatory, and there are no others."""
    assert read_error(client.post(SYNC, content=body)) == (400, "BackupService.9900")
    assert read_error(post_sync(client, VMWARE, auto_trigger="yes")) == (400, "BackupService.9900")


def test_an_overlong_body_is_refused(client: httpx.Client) -> None:
    """More than 12 MB cannot be signed."""
    assert read_error(client.post(SYNC, content=b"x" * (12 * 1024 * 1024 + 1))) == (413, "APIGW.0201")


def test_an_operation_moves_from_waiting_through_running_to_its_end(
    world: World, client: httpx.Client
) -> None:
    """With progress on the way and counts at the end; a second sync has to wait for it."""
    log_id = start_sync(client, VMWARE)
    seen = []
    for seconds in (0, 60, 240, 300):
        world.sleep(seconds)
        log = show_log(client, log_id)
        seen.append((log["status"], log["extra_info"]["common"]["progress"], log["ended_at"]))
        if log["ended_at"] is None:
            assert read_error(post_sync(client, VMWARE)) == (400, "BackupService.7302")
    assert seen == [
        ("waiting", 0, None),
        ("running", 10, None),
        ("running", 50, None),
        ("success", 100, "2026-11-23T03:10:00.000Z"),
    ]
    assert log["extra_info"]["sync"] == {
        "sync_backup_num": 12,
        "delete_backup_num": 1,
        "err_sync_backup_num": 0,
    }
    assert post_sync(client, VMWARE).status_code == 200
    assert len(world.simulator.syncs_of(VMWARE)) == 2


def test_a_vault_can_have_a_duration_of_its_own(world: World) -> None:
    """Whatever the simulator's is; none at all is possible too."""
    vault = Vault(VMWARE, "vault-vmware-01", operation_seconds=0)
    simulator = Simulator(now=world.now, vaults=[vault], operation_seconds=600)
    with make_client(simulator, world) as client:
        post_sync(client, VMWARE)
        assert post_sync(client, VMWARE).status_code == 200
    statuses = [operation.get_status(world.now()) for operation in simulator.syncs_of(VMWARE)]
    assert statuses == ["success"] * 2


def test_the_busy_vault_is_busy_for_a_day(world: World, client: httpx.Client) -> None:
    """Its sync began before the start."""
    (operation,) = world.simulator.syncs_of(BUSY)
    assert operation.created_at < world.now()
    world.sleep(24 * 3600 - 1)
    assert read_error(post_sync(client, BUSY)) == (400, "BackupService.7302")
    world.sleep(1)
    assert post_sync(client, BUSY).status_code == 200


def test_a_log_can_be_listed_late(world: World) -> None:
    """It can be shown by its id all the while."""
    simulator = Simulator(now=world.now, vaults=DEFAULT_VAULTS[:1], log_delay_seconds=3)
    with make_client(simulator, world) as client:
        log_id = start_sync(client, VMWARE)
        assert client.get(LOGS).json()["count"] == 0
        assert client.get(f"{LOGS}/{log_id}").status_code == 200
        world.sleep(3)
        assert client.get(LOGS).json()["count"] == 1


def test_an_operation_can_fail(world: World, client: httpx.Client) -> None:
    """Its log then has the service's code."""
    log_id = start_sync(client, BROKEN)
    world.sleep(600)
    log = show_log(client, log_id)
    assert (log["status"], log["error_info"]["code"]) == ("failed", "BackupService.6405")


def test_a_sync_can_be_accepted_and_skipped(world: World, client: httpx.Client) -> None:
    """As often as asked for, of this vault alone; nothing was copied."""
    world.simulator.skip_syncs(VMWARE, times=2)
    other = start_sync(client, FILE)
    ended = []
    for _ in range(3):
        log_id = start_sync(client, VMWARE)
        world.sleep(600)
        log = show_log(client, log_id)
        ended.append((log["status"], log["extra_info"]["sync"]["sync_backup_num"]))
    assert ended == [("skipped", 0), ("skipped", 0), ("success", 12)]
    assert show_log(client, other)["status"] == "success"
    with pytest.raises(ValueError, match=f"^{UNKNOWN} is no vault here"):
        world.simulator.skip_syncs(UNKNOWN)


def test_logs_are_filtered_and_paged(world: World, client: httpx.Client) -> None:
    """Newest first, with the total beside each page."""
    for vault in (VMWARE, FILE):
        post_sync(client, vault)
        world.sleep(601)

    def logs(**query: str) -> list[str]:
        return [log["vault_id"] for log in list_logs(client, **query)]

    assert logs() == [FILE, VMWARE, BUSY]
    assert logs(limit="1") == [FILE]
    assert logs(limit="1", offset="1") == [VMWARE]
    assert logs(start_time="2026-11-23T03:00:01Z") == [FILE]
    assert logs(end_time="2026-11-23T03:10:00Z") == [VMWARE]
    assert logs(status="running") == [BUSY]
    assert logs(vault_id=VMWARE, operation_type="sync") == [VMWARE]
    assert logs(vault_id=VMWARE.upper(), vault_name="vault-vmware-01") == [VMWARE]
    assert logs(vault_name="vault-vmware") == []
    assert logs(operation_type="backup") == []


def test_vaults_are_public_ones_unless_hybrid_is_asked_for(client: httpx.Client) -> None:
    """The documented default hides what this project is about."""

    def vaults(**query: str) -> list[str]:
        return [vault["id"] for vault in list_vaults(client, **query)]

    hybrid = [vault.id for vault in DEFAULT_VAULTS if vault.cloud_type == "hybrid"]
    assert vaults() == [PUBLIC]
    assert vaults(cloud_type="hybrid") == hybrid
    assert vaults(cloud_type="hybrid", limit="2", offset="1") == hybrid[1:3]
    assert vaults(cloud_type="hybrid", object_type="file") == [FILE]
    assert vaults(cloud_type="hybrid", status="frozen") == [FROZEN]
    assert vaults(cloud_type="hybrid", name="vault-vmware-01") == [VMWARE]


def test_a_vault_is_shown_as_it_is(world: World) -> None:
    """With its tags and the time of its creation, which has no time zone at the service either."""
    vault = Vault(PUBLIC, "one", "public", "server", tags={"env": "prod"}, created_at=world.now())
    with make_client(Simulator(now=world.now, vaults=[vault]), world) as client:
        shown = client.get(f"{VAULTS}/{PUBLIC}").json()["vault"]
    assert shown["tags"] == [{"key": "env", "value": "prod"}]
    assert shown["created_at"] == "2026-11-23T03:00:00"
    assert shown["billing"]["spec_code"] == "vault.backup.server.normal"


@pytest.mark.parametrize(
    ("target", "error"),
    [
        (f"{LOGS}?limit=0", (400, "BackupService.9900")),
        (f"{LOGS}?limit=1001", (400, "BackupService.9900")),
        (f"{LOGS}?limit={'9' * 5000}", (400, "BackupService.9900")),
        (f"{LOGS}?offset=-1", (400, "BackupService.9900")),
        (f"{LOGS}?status=ended", (400, "BackupService.9900")),
        (f"{LOGS}?operation_type=import", (400, "BackupService.9900")),
        (f"{LOGS}?vault_id=1", (400, "BackupService.9900")),
        (f"{VAULTS}?object_type=tape", (400, "BackupService.9900")),
        (f"{VAULTS}?status=ended", (400, "BackupService.9900")),
        (f"{LOGS}?start_time=today", (400, "BackupService.9900")),
        (f"{VAULTS}?cloud_type=private", (400, "BackupService.9900")),
        (f"{VAULTS}/{FROZEN[:-1]}", (404, "BackupService.6105")),
        (f"{PROJECT}/backups", (404, "APIGW.0101")),
        ("/v3/another-project/vaults", (403, "APIGW.0310")),
        (f"/v1/{SIMULATOR_PROJECT_ID}/vaults", (404, "APIGW.0101")),
        ("/", (404, "APIGW.0101")),
    ],
)
def test_bad_queries_unknown_things_and_unknown_paths_have_their_codes(
    client: httpx.Client, target: str, error: tuple[int, str]
) -> None:
    """As the API and its gateway have them."""
    assert read_error(client.get(target)) == error


def test_iam_knows_the_project_of_its_region(client: httpx.Client) -> None:
    """And of no other."""
    assert client.get("/v3/projects?name=cn-north-4").json()["projects"][0]["id"] == SIMULATOR_PROJECT_ID
    assert client.get("/v3/projects?name=cn-north-1").json()["projects"] == []


@pytest.mark.parametrize(
    ("time_format", "whole_seconds", "created_at", "ended_at"),
    [
        ("z", False, "2026-11-23T03:00:05.678Z", "2026-11-23T03:00:10.999Z"),
        ("z", True, "2026-11-23T03:00:05Z", "2026-11-23T03:00:10Z"),
        ("offset", False, "2026-11-23T03:00:05.678+00:00", "2026-11-23T03:00:10.999+00:00"),
        ("offset", True, "2026-11-23T03:00:05+00:00", "2026-11-23T03:00:10+00:00"),
        ("naive", False, "2026-11-23T03:00:05.678901", "2026-11-23T03:00:10.999001"),
        ("naive", True, "2026-11-23T03:00:05", "2026-11-23T03:00:10"),
    ],
)
def test_the_times_of_operations_have_every_form_the_reference_shows(
    world: World, time_format: TimeFormat, whole_seconds: bool, created_at: str, ended_at: str
) -> None:
    """Cut, never rounded up; the list filters by what it shows."""
    simulator = Simulator(
        now=world.now, vaults=DEFAULT_VAULTS[:1], time_format=time_format, whole_seconds=whole_seconds
    )
    at = START + timedelta(seconds=5, microseconds=678_901)
    simulator.start_operation(VMWARE, at=at, seconds=5.3201)
    world.sleep(60)
    with make_client(simulator, world) as client:
        (log,) = list_logs(client, start_time="2026-11-23T03:00:05Z")
        assert list_logs(client, start_time="2026-11-23T03:00:06Z") == []
        assert bool(list_logs(client, end_time="2026-11-23T03:00:10Z")) == whole_seconds
        assert list_logs(client, end_time="2026-11-23T03:00:11Z") == [log]
    assert (log["created_at"], log["started_at"]) == (created_at, created_at)
    assert (log["ended_at"], log["updated_at"]) == (ended_at, ended_at)


def test_others_start_syncs_at_a_moment_that_may_lie_ahead(world: World, client: httpx.Client) -> None:
    """Nothing shows such a sync before; then it keeps others from starting, like any other."""
    in_a_minute = world.now() + timedelta(minutes=1)
    theirs = world.simulator.start_operation(VMWARE, at=in_a_minute, seconds=30)
    assert list_logs(client, vault_id=VMWARE) == []
    assert read_error(client.get(f"{LOGS}/{theirs.id}")) == (404, "BackupService.6500")
    world.sleep(60)
    assert [log["id"] for log in list_logs(client, vault_id=VMWARE)] == [theirs.id]
    assert read_error(post_sync(client, VMWARE)) == (400, "BackupService.7302")
    world.sleep(30)
    assert show_log(client, theirs.id)["status"] == "success"
    assert post_sync(client, VMWARE).status_code == 200
    assert world.simulator.syncs_of(VMWARE)[0] == theirs
    assert theirs.auto_trigger


@pytest.mark.parametrize("ends", ["success", "failed", "skipped", "timeout", "a-word-of-tomorrow"])
def test_syncs_of_others_end_as_asked_for(world: World, client: httpx.Client, ends: str) -> None:
    """In any status, with an error or copies that failed."""
    theirs = world.simulator.start_operation(
        VMWARE, ends=ends, seconds=0, failed=3, error=("BackupService.6405", "Bucket"), auto_trigger=False
    )
    log = show_log(client, theirs.id)
    assert log["status"] == ends
    assert log["error_info"] == {"code": "BackupService.6405", "message": "Bucket"}
    counts = log["extra_info"]["sync"]
    assert (counts["sync_backup_num"], counts["err_sync_backup_num"]) == (12 if ends == "success" else 0, 3)
    assert not theirs.auto_trigger


def test_an_ended_operation_can_lack_its_ended_at(world: World, client: httpx.Client) -> None:
    """Its end is then known from updated_at alone, which may also come later than the end."""
    without = world.simulator.start_operation(VMWARE, seconds=10, has_ended_at=False)
    late = world.simulator.start_operation(FILE, seconds=10, update_delay_seconds=0.25)
    world.sleep(20)
    log = show_log(client, without.id)
    assert (log["status"], log["ended_at"]) == ("success", None)
    assert log["updated_at"] == "2026-11-23T03:00:10.000Z"
    log = show_log(client, late.id)
    assert log["ended_at"] == "2026-11-23T03:00:10.000Z"
    assert log["updated_at"] == "2026-11-23T03:00:10.250Z"
    assert [log["id"] for log in list_logs(client, end_time="2026-11-23T03:00:10Z")] == [late.id]


def test_operations_can_be_appended_and_removed(world: World, client: httpx.Client) -> None:
    """They are listed in the order of their creation, whatever order they came in."""
    at = [world.now() - timedelta(hours=hours) for hours in (1, 3, 2)]
    vault = DEFAULT_VAULTS[0]
    world.simulator.operations += [
        Operation(f"log-{number}", vault, created_at, 60, auto_trigger=True)
        for number, created_at in enumerate(at)
    ]
    assert [log["id"] for log in list_logs(client, vault_id=VMWARE)] == ["log-0", "log-2", "log-1"]
    assert show_log(client, "log-1")["status"] == "success"
    del world.simulator.operations[-2:]
    assert [log["id"] for log in list_logs(client)] == ["log-0", world.simulator.operations[0].id]
    assert read_error(client.get(f"{LOGS}/log-1")) == (404, "BackupService.6500")


def test_odd_rows_are_of_other_vaults_and_have_one_flaw_each(world: World) -> None:
    """Between the others, on every page, and counted; a list of one vault or another operation has none."""
    simulator = Simulator(now=world.now, vaults=DEFAULT_VAULTS, odd_rows=True)
    with make_client(simulator, world) as client:
        log_id = start_sync(client, VMWARE)
        rows = list_logs(client, operation_type="sync")
        paged = [list_logs(client, limit="1", offset=str(offset))[0] for offset in range(len(rows))]
        assert [log["id"] for log in list_logs(client, vault_id=VMWARE)] == [log_id]
        assert list_logs(client, operation_type="backup") == []
        assert {log["status"] for log in list_logs(client, status="waiting")} == {"waiting"}
    known = {operation.id for operation in simulator.operations}
    odd = [row for row in rows if row.get("id") not in known]
    assert paged == rows
    assert [row.get("id") for row in rows[::2][: len(known)]] == [log_id, simulator.operations[0].id]
    assert {row["vault_id"] for row in odd}.isdisjoint(vault.id for vault in simulator.vaults)
    assert any(row.get("created_at", "") is None for row in odd)
    assert any("id" not in row for row in odd)
    assert {"paused", None} <= {row["status"] for row in odd}
    assert len(odd) == 12


def test_odd_vaults_are_hybrid_and_known_to_nothing_else(world: World) -> None:
    """Null tags, missing ids: a reader that syncs one all the same learns that it does not exist."""
    simulator = Simulator(now=world.now, odd_rows=True)
    with make_client(simulator, world) as client:
        rows = list_vaults(client, cloud_type="hybrid")
        assert list_vaults(client) == [client.get(f"{VAULTS}/{PUBLIC}").json()["vault"]]
        assert [vault["id"] for vault in list_vaults(client, cloud_type="hybrid", id=FILE)] == [FILE]
        known = {vault.id for vault in simulator.vaults}
        odd = [row for row in rows if row.get("id") not in known]
        null_tag = next(row for row in odd if row["tags"] == [{"key": "env", "value": None}])
        assert read_error(post_sync(client, null_tag["id"])) == (404, "BackupService.6105")
    assert any("id" not in row for row in odd)
    assert any(row.get("billing", "") is None for row in odd)
    assert len(odd) == 11


def test_a_clock_that_is_off_is_the_clock_of_everything(world: World) -> None:
    """Of operations, filters and dates, but not of the requests' records."""
    simulator = Simulator(now=world.now, vaults=DEFAULT_VAULTS[:1], clock_offset_seconds=-90)
    with make_client(simulator, world) as client:
        response = post_sync(client, VMWARE)
        log = show_log(client, response.json()["sync"]["operation_log_id"])
        assert list_logs(client, start_time="2026-11-23T02:58:30Z") == [log]
        assert list_logs(client, start_time="2026-11-23T02:58:31Z") == []
    assert response.headers["Date"] == "Mon, 23 Nov 2026 02:58:30 GMT"
    assert log["created_at"] == "2026-11-23T02:58:30.000Z"
    assert simulator.now() == datetime.fromisoformat("2026-11-23T02:58:30Z")
    assert {request.received_at for request in simulator.requests} == {world.now()}
