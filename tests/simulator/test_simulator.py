"""The simulator answers as the service does; the vendor's own SDK is the judge."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import pytest

from cbr_sync.app import utc_now
from cbr_sync.credentials import Credentials
from cbr_sync.huawei.signing import SdkHmacAuth
from cbr_sync.simulator.cloud import Simulator
from cbr_sync.simulator.faults import Fault, parse_faults
from cbr_sync.simulator.models import (
    DEFAULT_VAULTS,
    SIMULATOR_CREDENTIALS,
    SIMULATOR_PROJECT_ID,
    Request,
    Vault,
)
from cbr_sync.simulator.server import SimulatorServer
from support.world import BUSY, ENDPOINT, FILE, PUBLIC, VMWARE, World

FROZEN = "9f503152-be96-4e9b-8da2-705d42cf6e07"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
BROKEN = "7d3e1f30-9c74-4c79-8b80-5e3b20ad4c05"
PROJECT = f"/v3/{SIMULATOR_PROJECT_ID}"
SYNC = f"{PROJECT}/checkpoints/sync"


def client_of(
    simulator: Simulator, world: World, credentials: Credentials = SIMULATOR_CREDENTIALS
) -> httpx.Client:
    """A client that signs with these credentials, at the world's time."""
    return httpx.Client(
        base_url=ENDPOINT, transport=simulator.transport(), auth=SdkHmacAuth(credentials, world.now)
    )


@pytest.fixture
def client(world: World) -> Iterator[httpx.Client]:
    """A client of the world's simulator."""
    with client_of(world.simulator, world) as client:
        yield client


def post_sync(client: httpx.Client, vault: str, *, auto_trigger: object = False) -> httpx.Response:
    """Ask for a sync."""
    return client.post(SYNC, json={"sync": {"vault_id": vault, "auto_trigger": auto_trigger}})


def code(response: httpx.Response) -> tuple[int, str]:
    """The status and the API's code."""
    body = response.json()
    assert response.headers["X-Request-Id"]
    assert body["error_msg"]
    assert ("request_id" in body) == body["error_code"].startswith("APIGW")
    return response.status_code, body["error_code"]


@pytest.fixture
def sdk_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """The vendor's client for an endpoint; it keeps a file in the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    from huaweicloudsdkcbr.v1 import CbrClient  # noqa: PLC0415
    from huaweicloudsdkcore.auth.credentials import BasicCredentials  # noqa: PLC0415

    def make(endpoint: str) -> Any:
        keys = SIMULATOR_CREDENTIALS
        credentials = BasicCredentials(keys.access_key, keys.secret_key, SIMULATOR_PROJECT_ID)
        return CbrClient.new_builder().with_credentials(credentials).with_endpoint(endpoint).build()

    return make


@pytest.mark.filterwarnings("ignore::DeprecationWarning:huaweicloudsdkcore")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_vendors_sdk_completes_all_it_calls(sdk_client: Callable[[str], Any]) -> None:
    """import_checkpoint, show_op_log, list_op_logs, list_vault, show_vault, signed by the vendor's signer."""
    from huaweicloudsdkcbr.v1 import model  # noqa: PLC0415
    from huaweicloudsdkcore.exceptions import exceptions  # noqa: PLC0415

    with SimulatorServer(Simulator(now=utc_now, operation_seconds=0)) as server:
        cbr = sdk_client(server.url)
        asked = model.SyncParam(auto_trigger=False, vault_id=VMWARE)
        answer = cbr.import_checkpoint(model.ImportCheckpointRequest(body=model.SyncReq(sync=asked)))
        log_id = answer.sync.operation_log_id
        assert answer.sync.vault_id == VMWARE
        log = cbr.show_op_log(model.ShowOpLogRequest(operation_log_id=log_id)).operation_log
        assert (log.status, log.extra_info.sync.sync_backup_num) == ("success", 12)
        logs = cbr.list_op_logs(
            model.ListOpLogsRequest(vault_id=VMWARE, operation_type="sync", limit=1, offset=0)
        )
        assert [one.id for one in logs.operation_logs] == [log_id]
        vaults = cbr.list_vault(model.ListVaultRequest(cloud_type="hybrid", id=[VMWARE, FILE])).vaults
        assert [vault.id for vault in vaults] == [VMWARE, FILE]
        shown = cbr.show_vault(model.ShowVaultRequest(vault_id=FILE)).vault
        assert (shown.billing.cloud_type, shown.billing.object_type) == ("hybrid", "file")
        with pytest.raises(exceptions.ClientRequestException) as error:
            cbr.show_op_log(model.ShowOpLogRequest(operation_log_id="unknown"))
        assert (error.value.status_code, error.value.error_code) == (404, "BackupService.6500")
        assert error.value.request_id


@pytest.mark.filterwarnings("ignore::DeprecationWarning:huaweicloudsdkcore")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("vault", "fault", "status", "code"),
    [
        (PUBLIC, "", 400, "BackupService.7300"),
        (BUSY, "", 400, "BackupService.7302"),
        (FROZEN, "", 400, "BackupService.6112"),
        (UNKNOWN, "", 404, "BackupService.6105"),
        ("not-a-uuid", "", 400, "BackupService.9900"),
        (VMWARE, "401", 401, "APIGW.0301"),
        (VMWARE, "429", 429, "APIGW.0308"),
    ],
)
def test_the_vendors_sdk_sees_the_documented_codes(
    sdk_client: Callable[[str], Any], vault: str, fault: str, status: int, code: str
) -> None:
    """With the request id that the service would give."""
    from huaweicloudsdkcbr.v1 import model  # noqa: PLC0415
    from huaweicloudsdkcore.exceptions import exceptions  # noqa: PLC0415

    simulator = Simulator(now=utc_now)
    if fault:
        simulator.add_faults(fault)
    asked = model.SyncParam(auto_trigger=False, vault_id=vault)
    with SimulatorServer(simulator) as server, pytest.raises(exceptions.ServiceResponseException) as error:
        sdk_client(server.url).import_checkpoint(
            model.ImportCheckpointRequest(body=model.SyncReq(sync=asked))
        )
    assert (error.value.status_code, error.value.error_code) == (status, code)
    assert error.value.request_id


@pytest.mark.parametrize(
    ("vault", "answer"),
    [
        (PUBLIC, (400, "BackupService.7300")),
        (BUSY, (400, "BackupService.7302")),
        (FROZEN, (400, "BackupService.6112")),
        (UNKNOWN, (404, "BackupService.6105")),
        ("not-a-uuid", (400, "BackupService.9900")),
    ],
)
def test_a_sync_that_cannot_be_is_refused_in_the_services_codes(
    client: httpx.Client, vault: str, answer: tuple[int, str]
) -> None:
    """As the API reference documents them."""
    assert code(post_sync(client, vault)) == answer


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
def test_a_body_that_is_none_is_refused(client: httpx.Client, body: bytes) -> None:
    """Both fields are mandatory, and there are no others."""
    assert code(client.post(SYNC, content=body)) == (400, "BackupService.9900")
    assert code(post_sync(client, VMWARE, auto_trigger="yes")) == (400, "BackupService.9900")


def test_an_operation_moves_from_waiting_through_running_to_its_end(
    world: World, client: httpx.Client
) -> None:
    """With progress on the way and counts at the end; a second sync has to wait for it."""
    log_id = post_sync(client, VMWARE).json()["sync"]["operation_log_id"]
    seen = []
    for seconds in (0, 60, 240, 300):
        world.sleep(seconds)
        log = client.get(f"{PROJECT}/operation-logs/{log_id}").json()["operation_log"]
        seen.append((log["status"], log["extra_info"]["common"]["progress"], log["ended_at"]))
        if log["ended_at"] is None:
            assert code(post_sync(client, VMWARE)) == (400, "BackupService.7302")
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


def test_a_vault_may_take_its_own_time(world: World) -> None:
    """Whatever the simulator's is; none at all is possible too."""
    vault = Vault(VMWARE, "vault-vmware-01", operation_seconds=0)
    simulator = Simulator(now=world.now, vaults=[vault], operation_seconds=600)
    with client_of(simulator, world) as client:
        post_sync(client, VMWARE)
        assert post_sync(client, VMWARE).status_code == 200
    assert [operation.status(world.now()) for operation in simulator.syncs_of(VMWARE)] == ["success"] * 2


def test_the_busy_vault_is_busy_for_a_day(world: World, client: httpx.Client) -> None:
    """Its sync began before the start."""
    (operation,) = world.simulator.syncs_of(BUSY)
    assert operation.created_at < world.now()
    world.sleep(24 * 3600 - 1)
    assert code(post_sync(client, BUSY)) == (400, "BackupService.7302")
    world.sleep(1)
    assert post_sync(client, BUSY).status_code == 200


def test_a_log_may_be_listed_late(world: World) -> None:
    """It can be shown by its id all the while."""
    simulator = Simulator(now=world.now, vaults=DEFAULT_VAULTS[:1], log_delay_seconds=3)
    with client_of(simulator, world) as client:
        log_id = post_sync(client, VMWARE).json()["sync"]["operation_log_id"]
        assert client.get(f"{PROJECT}/operation-logs").json()["count"] == 0
        assert client.get(f"{PROJECT}/operation-logs/{log_id}").status_code == 200
        world.sleep(3)
        assert client.get(f"{PROJECT}/operation-logs").json()["count"] == 1


def test_an_operation_may_end_badly(world: World, client: httpx.Client) -> None:
    """Its log then holds the service's words."""
    log_id = post_sync(client, BROKEN).json()["sync"]["operation_log_id"]
    world.sleep(600)
    log = client.get(f"{PROJECT}/operation-logs/{log_id}").json()["operation_log"]
    assert (log["status"], log["error_info"]["code"]) == ("failed", "BackupService.6405")


def test_logs_are_filtered_and_paged(world: World, client: httpx.Client) -> None:
    """Newest first, with the total beside each page."""
    for vault in (VMWARE, FILE):
        post_sync(client, vault)
        world.sleep(601)

    def logs(**query: str) -> list[str]:
        answer = client.get(f"{PROJECT}/operation-logs?{urlencode(query)}").json()
        assert answer["count"] >= len(answer["operation_logs"])
        return [log["vault_id"] for log in answer["operation_logs"]]

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
        return [vault["id"] for vault in client.get(f"{PROJECT}/vaults?{urlencode(query)}").json()["vaults"]]

    hybrid = [vault.id for vault in DEFAULT_VAULTS if vault.cloud_type == "hybrid"]
    assert vaults() == [PUBLIC]
    assert vaults(cloud_type="hybrid") == hybrid
    assert vaults(cloud_type="hybrid", limit="2", offset="1") == hybrid[1:3]
    assert vaults(cloud_type="hybrid", object_type="file") == [FILE]
    assert vaults(cloud_type="hybrid", status="frozen") == [FROZEN]
    assert vaults(cloud_type="hybrid", name="vault-vmware-01") == [VMWARE]


def test_a_vault_is_shown_as_it_is(world: World) -> None:
    """With its tags and the time it was made, without a time zone as the service has it."""
    vault = Vault(PUBLIC, "one", "public", "server", tags={"env": "prod"}, created_at=world.now())
    with client_of(Simulator(now=world.now, vaults=[vault]), world) as client:
        shown = client.get(f"{PROJECT}/vaults/{PUBLIC}").json()["vault"]
    assert shown["tags"] == [{"key": "env", "value": "prod"}]
    assert shown["created_at"] == "2026-11-23T03:00:00"
    assert shown["billing"]["spec_code"] == "vault.backup.server.normal"


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        (f"{PROJECT}/operation-logs?limit=0", (400, "BackupService.9900")),
        (f"{PROJECT}/operation-logs?limit=1001", (400, "BackupService.9900")),
        (f"{PROJECT}/operation-logs?limit={'9' * 5000}", (400, "BackupService.9900")),
        (f"{PROJECT}/operation-logs?offset=-1", (400, "BackupService.9900")),
        (f"{PROJECT}/operation-logs?status=ended", (400, "BackupService.9900")),
        (f"{PROJECT}/operation-logs?operation_type=import", (400, "BackupService.9900")),
        (f"{PROJECT}/operation-logs?vault_id=1", (400, "BackupService.9900")),
        (f"{PROJECT}/vaults?object_type=tape", (400, "BackupService.9900")),
        (f"{PROJECT}/vaults?status=ended", (400, "BackupService.9900")),
        (f"{PROJECT}/operation-logs?start_time=today", (400, "BackupService.9900")),
        (f"{PROJECT}/vaults?cloud_type=private", (400, "BackupService.9900")),
        (f"{PROJECT}/vaults/{FROZEN[:-1]}", (404, "BackupService.6105")),
        (f"{PROJECT}/backups", (404, "APIGW.0101")),
        ("/v3/another-project/vaults", (403, "APIGW.0310")),
        ("/", (404, "APIGW.0101")),
    ],
)
def test_what_cannot_be_answered_has_its_code(
    client: httpx.Client, target: str, answer: tuple[int, str]
) -> None:
    """Bad queries, unknown things, unknown paths."""
    assert code(client.get(target)) == answer


def test_iam_knows_the_project_of_its_region(client: httpx.Client) -> None:
    """And of no other."""
    assert client.get("/v3/projects?name=cn-north-4").json()["projects"][0]["id"] == SIMULATOR_PROJECT_ID
    assert client.get("/v3/projects?name=cn-north-1").json()["projects"] == []


@pytest.mark.parametrize(
    "credentials",
    [
        Credentials(SIMULATOR_CREDENTIALS.access_key, "wrong"),
        Credentials("wrong", SIMULATOR_CREDENTIALS.secret_key),
        Credentials(SIMULATOR_CREDENTIALS.access_key, SIMULATOR_CREDENTIALS.secret_key, "a-token"),
    ],
)
def test_wrong_keys_are_refused(world: World, credentials: Credentials) -> None:
    """Signature, access key and token are each checked."""
    with client_of(world.simulator, world, credentials) as client:
        assert code(post_sync(client, VMWARE)) == (401, "APIGW.0301")
    assert world.started == []


def test_temporary_keys_need_their_token(world: World) -> None:
    """It is part of what is signed."""
    keys = Credentials("temporary-access-key", "temporary-secret-key", "its-token")
    simulator = Simulator(now=world.now, credentials=keys)
    with client_of(simulator, world, keys) as client:
        assert post_sync(client, VMWARE).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"authorization": None},
        {"authorization": "Basic c2ltOnVsYXRvcg=="},
        {"x-sdk-date": "today"},
        {"x-sdk-date": "20261123T030001Z"},
        {"body": b'{"sync": {}}'},
        {"target": SYNC + "?x=1"},
        {"target": "//["},
        {"method": "PUT"},
        {"signed": "host"},
        {"authorization": "SDK-HMAC-SHA256 Access=simulator-access-key, SignedHeaders=a, Signature=\u00e9"},
    ],
)
def test_a_request_that_was_changed_on_its_way_is_refused(world: World, change: dict[str, Any]) -> None:
    """Whatever was signed has to arrive as it was."""
    body = json.dumps({"sync": {"vault_id": VMWARE, "auto_trigger": True}}).encode()
    request = httpx.Request("POST", ENDPOINT + SYNC, content=body)
    next(SdkHmacAuth(SIMULATOR_CREDENTIALS, world.now).auth_flow(request))
    headers = dict(request.headers)
    if "signed" in change:
        headers["authorization"] = headers["authorization"].replace("host;x-sdk-date", change["signed"])
    headers |= {key: value for key, value in change.items() if key in headers}
    kept = {key: value for key, value in headers.items() if value}
    method, target = change.get("method", "POST"), change.get("target", SYNC)
    answer = world.simulator.answer(method, target, kept, change.get("body", body))
    assert not isinstance(answer, Fault)
    assert answer.status == 401
    assert world.started == []


@pytest.mark.parametrize(("minutes", "status"), [(14, 200), (16, 401), (-14, 200), (-16, 401)])
def test_a_clock_may_be_fifteen_minutes_off(world: World, minutes: int, status: int) -> None:
    """Not more, in either direction."""
    elsewhere = World(elapsed=minutes * 60)
    with client_of(world.simulator, elsewhere) as client:
        assert post_sync(client, VMWARE).status_code == status


def test_more_than_five_failed_checks_lock_the_access_key(world: World, client: httpx.Client) -> None:
    """For five minutes, for everyone who uses it; a right one in between begins the count anew."""
    wrong = Credentials(SIMULATOR_CREDENTIALS.access_key, "wrong")
    with client_of(world.simulator, world, wrong) as stranger:
        for _ in range(5):
            stranger.get("/v3/projects")
        assert client.get("/v3/projects").status_code == 200
        for _ in range(6):
            stranger.get("/v3/projects")
    assert "reach the limit,forbidden" in client.get("/v3/projects").json()["error_msg"]
    world.sleep(300)
    assert client.get("/v3/projects").status_code == 200
    assert world.simulator.refused_signatures == 12


def test_a_strangers_key_locks_nobody_elses(world: World, client: httpx.Client) -> None:
    """Neither do requests without any key; each key has its own count."""
    with client_of(world.simulator, world, Credentials("wrong", "wrong")) as stranger:
        for _ in range(9):
            stranger.get("/v3/projects")
            httpx.Client(transport=world.simulator.transport()).get(f"{ENDPOINT}/v3/projects")
    assert world.simulator.refused_signatures == 18
    assert client.get("/v3/projects").status_code == 200


def test_more_requests_than_the_rate_are_throttled(world: World) -> None:
    """Within any minute."""
    simulator = Simulator(now=world.now, rate_per_minute=2)
    with client_of(simulator, world) as client:
        assert [client.get("/v3/projects").status_code for _ in range(3)] == [200, 200, 429]
        assert code(client.get("/v3/projects")) == (429, "APIGW.0308")
        world.sleep(60)
        assert client.get("/v3/projects").status_code == 200


def test_an_overlong_body_is_refused(client: httpx.Client) -> None:
    """More than 12 MB cannot be signed."""
    assert code(client.post(SYNC, content=b"x" * (12 * 1024 * 1024 + 1))) == (413, "APIGW.0201")


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        ("401", 401, "APIGW.0301"),
        ("403", 403, "APIGW.0302"),
        ("429", 429, "APIGW.0308"),
        ("500", 500, "BackupService.9910"),
        ("502", 502, "APIGW.0201"),
        ("504", 504, "APIGW.0201"),
        ("503", 503, "Service Unavailable"),
        ("302", 302, "Found"),
        ("304", 304, ""),
        ("404", 404, "Not Found"),
        ("599", 599, "Unknown"),
        ("html", 200, "Welcome"),
    ],
)
def test_a_fault_may_be_an_answer(
    client: httpx.Client, world: World, fault: str, status: int, words: str
) -> None:
    """Once, then the service is well again; only html has taken the request."""
    world.simulator.add_faults(fault)
    response = post_sync(client, VMWARE)
    assert response.status_code == status
    assert words in response.text
    assert ("Location" in response.headers) == (300 <= status < 400)
    assert ("Retry-After" in response.headers) == (status == 429)
    assert response.headers["X-Request-Id"]
    assert len(world.started) == (fault == "html")
    assert client.get("/v3/projects").status_code == 200


@pytest.mark.parametrize(
    ("fault", "error", "taken"),
    [
        ("refuse", httpx.ConnectError, False),
        ("reset", httpx.ReadError, False),
        ("reset-after", httpx.ReadError, True),
        ("hang", httpx.ReadTimeout, False),
        ("hang-after", httpx.ReadTimeout, True),
        ("truncated", httpx.RemoteProtocolError, True),
    ],
)
def test_a_fault_may_break_the_connection(
    client: httpx.Client, world: World, fault: str, error: type[Exception], taken: bool
) -> None:
    """Before or after the API took the request."""
    world.simulator.add_faults(fault)
    with pytest.raises(error):
        post_sync(client, VMWARE)
    assert bool(world.started) == taken


@pytest.mark.parametrize(
    ("fault", "errors"),
    [
        ("refuse", (httpx.ReadError, httpx.RemoteProtocolError)),
        ("reset", (httpx.ReadError, httpx.RemoteProtocolError)),
        ("reset-after", (httpx.ReadError, httpx.RemoteProtocolError)),
        ("hang", (httpx.ReadTimeout,)),
        ("hang-after", (httpx.ReadTimeout,)),
        ("truncated", (httpx.RemoteProtocolError,)),
    ],
)
def test_a_fault_breaks_a_real_connection(fault: str, errors: tuple[type[Exception], ...]) -> None:
    """The same over a socket."""
    simulator = Simulator(now=utc_now)
    simulator.add_faults(fault)
    seen: list[Request] = []
    auth = SdkHmacAuth(SIMULATOR_CREDENTIALS, utc_now)
    with (
        SimulatorServer(simulator, on_request=seen.append) as server,
        httpx.Client(base_url=server.url, auth=auth, timeout=0.2) as client,
    ):
        with pytest.raises(errors):
            client.get("/v3/projects")
        assert client.get("/v3/projects").status_code == 200
    assert [request.fault for request in seen] == [Fault(fault), None]


def test_a_connection_lives_on_after_an_answer_that_is_a_fault() -> None:
    """Also after a 304, which has no body."""
    simulator = Simulator(now=utc_now)
    simulator.add_faults("503,304,html")
    auth = SdkHmacAuth(SIMULATOR_CREDENTIALS, utc_now)
    with SimulatorServer(simulator) as server, httpx.Client(base_url=server.url, auth=auth) as client:
        assert [client.get("/v3/projects").status_code for _ in range(4)] == [503, 304, 200, 200]


def test_a_length_that_is_no_number_is_answered() -> None:
    """As a request without a body; it carries no signature here."""
    with SimulatorServer(Simulator(now=utc_now)) as server:
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=5)
        with closing(connection):
            connection.request("POST", SYNC, headers={"Content-Length": "x"})
            response = connection.getresponse()
            assert (response.status, json.load(response)["error_code"]) == (401, "APIGW.0301")


def test_a_server_serves_until_it_is_stopped() -> None:
    """From another thread too; it is then gone from its port."""
    with SimulatorServer(Simulator(now=utc_now)) as server:
        stop = threading.Timer(0, server.__exit__)
        stop.start()
        server.serve_forever()
        stop.join()
        with pytest.raises(httpx.ConnectError):
            httpx.get(server.url)


def test_each_request_is_told_as_the_books_have_it() -> None:
    """Of many at the same time each once; the lock makes them one sync."""
    seen: list[Request] = []
    simulator = Simulator(now=utc_now, operation_seconds=600)
    auth = SdkHmacAuth(SIMULATOR_CREDENTIALS, utc_now)
    with (
        SimulatorServer(simulator, on_request=seen.append) as server,
        httpx.Client(base_url=server.url, auth=auth) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        codes = list(pool.map(lambda _: post_sync(client, VMWARE).status_code, range(40)))
    assert sorted(codes) == [200] + [400] * 39
    assert len(simulator.syncs_of(VMWARE)) == 1
    assert {id(request) for request in seen} == {id(request) for request in simulator.requests}
    assert len(seen) == 40


def test_a_vaults_fault_meets_only_its_syncs(client: httpx.Client, world: World) -> None:
    """And only such as are signed; other vaults and other calls are well."""
    world.simulator.add_faults("429*2", VMWARE)
    assert client.get("/v3/projects").status_code == 200
    assert post_sync(client, FILE).status_code == 200
    assert [post_sync(client, VMWARE).status_code for _ in range(3)] == [429, 429, 200]


def test_a_vaults_fault_waits_for_a_request_that_is_its_own(world: World, client: httpx.Client) -> None:
    """One that is refused, or meant for another project, does not use it up; ids are of any case."""
    world.simulator.add_faults("429", VMWARE.upper())
    wrong = Credentials(SIMULATOR_CREDENTIALS.access_key, "wrong")
    with client_of(world.simulator, world, wrong) as stranger:
        assert post_sync(stranger, VMWARE).status_code == 401
    other = client.post(SYNC.replace(PROJECT, "/v3/other"), json={"sync": {"vault_id": VMWARE}})
    assert other.status_code == 403
    assert [post_sync(client, VMWARE).status_code for _ in range(2)] == [429, 200]


@pytest.mark.parametrize(("fault", "taken"), [("reset", False), ("reset-after", True)])
def test_a_vaults_fault_may_come_before_or_after_it_is_taken(
    world: World, client: httpx.Client, fault: str, taken: bool
) -> None:
    """As for the network's."""
    world.simulator.add_faults(fault, VMWARE)
    with pytest.raises(httpx.ReadError):
        post_sync(client, VMWARE)
    assert bool(world.started) == taken


def test_a_request_meets_one_fault(world: World, client: httpx.Client) -> None:
    """The network's goes first; the vault's is left for the next."""
    world.simulator.add_faults("html")
    world.simulator.add_faults("429", VMWARE)
    assert post_sync(client, VMWARE).text == "<html><body>Welcome</body></html>"
    assert post_sync(client, VMWARE).status_code == 429


@pytest.mark.parametrize("spec", ["nonsense", "200", "429*", "429*x", "", "503,,429"])
def test_a_fault_that_is_none_is_told(spec: str) -> None:
    """With the words that are known."""
    with pytest.raises(ValueError, match="is no fault; known are HTTP statuses from 300 and refuse, reset"):
        parse_faults(spec)


def test_a_fault_for_a_vault_that_is_none_is_told(world: World) -> None:
    """A slip in the id would go unnoticed otherwise."""
    with pytest.raises(ValueError, match=f"^{VMWARE[:-1]} is no vault here; known are {VMWARE}"):
        world.simulator.add_faults("503", VMWARE[:-1])


def test_the_books_keep_every_request(client: httpx.Client, world: World) -> None:
    """Method, path, vault, and what became of it."""
    world.simulator.add_faults("reset")
    with pytest.raises(httpx.ReadError):
        post_sync(client, VMWARE)
    post_sync(client, VMWARE)
    first, second = world.simulator.requests
    assert (first.method, first.path, first.vault_id, first.status) == ("POST", SYNC, VMWARE, None)
    assert first.fault is Fault.RESET
    assert (second.status, second.fault) == (200, None)
    assert first.signed_ok
    assert second.signed_ok
    httpx.Client(transport=world.simulator.transport()).get(f"{ENDPOINT}/v3/projects")
    assert not world.simulator.requests[-1].signed_ok
