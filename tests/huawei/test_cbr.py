"""The calls to CBR: sent as its pages document them, and answers read as tolerantly as they vary."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx
import pytest

from cbr_sync.credentials import Credentials, KeyStates
from cbr_sync.errors import ApiError, NotAcceptedError, OutcomeUnknownError
from cbr_sync.huawei.cbr import Cbr, OperationLog
from cbr_sync.huawei.client import SignedClient
from cbr_sync.huawei.clock import ApiClock
from cbr_sync.models import SyncParam
from cbr_sync.monitoring.logger import make_logger
from cbr_sync.transport import MAX_ANSWER_BYTES
from support.world import VirtualClock

# The sample of the API's own page.
PROJECT = "f841e01fd2b14e7fa41b6ae7aa6b0594"
VAULT = "8d3a8b28-a697-41e2-8d5d-903669f8a02d"
LOG_ID = "60baed87-7e30-4bd8-b71c-89e4a4f7547d"
ENDPOINT = "https://cbr.cn-north-4.myhuaweicloud.com"
START = datetime(2026, 11, 23, 3, tzinfo=UTC)
PARAM = SyncParam(vault_id=VAULT, auto_trigger=True)

# As its page shows it: empty strings for no error, null for what a sync of a whole vault does not have.
LOG: dict[str, Any] = {
    "id": LOG_ID,
    "project_id": PROJECT,
    "operation_type": "sync",
    "status": "success",
    "created_at": "2025-01-02T03:04:05.039+00:00",
    "started_at": "2025-01-02T03:04:05.007+00:00",
    "updated_at": "2025-01-02T03:09:10.584+00:00",
    "ended_at": "2025-01-02T03:09:10.511+00:00",
    "vault_id": VAULT,
    "checkpoint_id": None,
    "error_info": {"code": "", "message": ""},
    "extra_info": {
        "common": {"progress": 100, "request_id": "req-1", "task_id": None},
        "sync": {"sync_backup_num": 12, "delete_backup_num": 1, "err_sync_backup_num": 0},
        "resource": None,
    },
}


class Api:
    """An API that gives these answers, one after the other, and keeps the requests."""

    def __init__(self, *answers: object) -> None:
        self.requests: list[httpx.Request] = []
        self._answers = iter(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(200, json=next(self._answers))

    @property
    def asked(self) -> list[str]:
        """Method and target of each request."""
        return [f"{request.method} {request.url.raw_path.decode()}" for request in self.requests]

    def cbr(self, seconds: float = 5) -> Cbr:
        return build_cbr(self, seconds)


def build_cbr(api: Callable[[httpx.Request], httpx.Response], seconds: float = 5) -> Cbr:
    """The calls to this API."""
    keys = Credentials("made-up-key", "made-up-secret")
    client = SignedClient(
        httpx.MockTransport(api), keys, key_states=KeyStates(VirtualClock()), clock=VirtualClock()
    )
    logger = make_logger({})
    return Cbr(
        client,
        endpoint=ENDPOINT,
        project_id=PROJECT,
        timeout_seconds=lambda _deadline: seconds,
        deadline=0,
        api_clock=ApiClock(logger),
        logger=logger,
    )


@pytest.mark.parametrize("auto_trigger", [True, False])
def test_a_sync_is_requested_as_documented(auto_trigger: bool) -> None:
    """Both fields, always; and the id of its operation comes back."""
    api = Api({"sync": {"operation_log_id": LOG_ID, "vault_id": VAULT}})
    param = SyncParam(vault_id=VAULT, auto_trigger=auto_trigger)
    assert api.cbr().import_checkpoint(param) == LOG_ID
    (request,) = api.requests
    assert (request.method, str(request.url)) == ("POST", f"{ENDPOINT}/v3/{PROJECT}/checkpoints/sync")
    assert json.loads(request.content) == {"sync": {"vault_id": VAULT, "auto_trigger": auto_trigger}}
    assert request.headers["Content-Type"].lower() == "application/json;charset=utf-8"
    assert request.headers["X-Project-Id"] == PROJECT
    assert request.headers["X-Sdk-Date"] == "20261123T030000Z"
    assert request.headers["Authorization"].startswith("SDK-HMAC-SHA256 Access=made-up-key, ")


def test_a_vault_is_the_same_in_either_case() -> None:
    """Ids are kept in lower case here, whatever the API keeps."""
    answer = {"sync": {"operation_log_id": LOG_ID, "vault_id": VAULT.upper()}}
    assert Api(answer).cbr().import_checkpoint(PARAM) == LOG_ID


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"sync": {"operation_log_id": LOG_ID, "vault_id": LOG_ID}}, id="another vault"),
        pytest.param({"sync": {"operation_log_id": "", "vault_id": VAULT}}, id="no operation"),
        pytest.param({"sync": {"operation_log_id": None, "vault_id": VAULT}}, id="null"),
        pytest.param({"sync": {"vault_id": VAULT}}, id="a field is missing"),
        pytest.param({"sync": [{"operation_log_id": LOG_ID, "vault_id": VAULT}]}, id="a list"),
        pytest.param({}, id="empty"),
    ],
)
def test_a_success_that_cannot_be_read_leaves_a_doubt(answer: object) -> None:
    """Nothing is made up from it; a sync may have been started."""
    with pytest.raises(OutcomeUnknownError) as error:
        Api(answer).cbr().import_checkpoint(PARAM)
    assert error.value.code == "CbrSync.UnreadableAnswer"


class LargeRows:
    """An API with rows of this size in its lists; keeps limit and offset of each page that was asked for."""

    def __init__(self, name: str, row: dict[str, Any], count: int, row_bytes: int) -> None:
        self.pages: list[tuple[int, int]] = []
        self._name = name
        self._row = {**row, "resources": "x" * row_bytes}
        self._count = count

    def __call__(self, request: httpx.Request) -> httpx.Response:
        limit, offset = (int(request.url.params[name]) for name in ("limit", "offset"))
        self.pages.append((limit, offset))
        rows = [
            {**self._row, "id": str(uuid.UUID(int=number, version=4))}
            for number in range(offset, min(offset + limit, self._count))
        ]
        return httpx.Response(200, json={self._name: rows, "count": self._count})


def test_a_list_of_large_rows_goes_on_with_smaller_pages() -> None:
    """At the same place: 250 vaults of 50,000 bytes do not fit into an answer, 100 do."""
    api = LargeRows("vaults", {"name": "vault", "billing": {}}, 250, 50_000)
    vaults = list(build_cbr(api).list_hybrid_vaults(object_type=None, name=None))
    assert api.pages == [(1000, 0), (100, 0), (100, 100), (100, 200)]
    assert len({vault.id for vault in vaults}) == 250
    logs = LargeRows("operation_logs", LOG, 25, 500_000)
    assert len({log.id for log in build_cbr(logs).list_sync_logs()}) == 25
    assert logs.pages == [(1000, 0), (100, 0), (10, 0), (10, 10), (10, 20)]


def test_a_row_that_is_too_large_by_itself_is_an_error() -> None:
    """Nothing smaller can be asked for."""
    api = LargeRows("vaults", {"name": "vault", "billing": {}}, 2, MAX_ANSWER_BYTES)
    with pytest.raises(ApiError, match="more than 8388608 bytes") as error:
        list(build_cbr(api).list_hybrid_vaults(object_type=None, name=None))
    assert error.value.code == "CbrSync.AnswerTooLarge"
    assert api.pages == [(1000, 0), (100, 0), (10, 0), (1, 0)]


def test_each_request_asks_how_long_it_may_wait() -> None:
    """Without time none is sent."""
    api = Api({"count": 0, "vaults": []})
    list(api.cbr(seconds=1.5).list_hybrid_vaults(object_type=None, name=None))
    assert api.requests[0].extensions["timeout"]["read"] == 1.5
    with pytest.raises(NotAcceptedError):
        api.cbr(seconds=0).import_checkpoint(PARAM)
    assert len(api.requests) == 1


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-11-23T03:00:00Z", START),
        ("2026-11-23T11:00:00.000+08:00", START),
        ("2026-11-23T03:00:00.209782", START + timedelta(microseconds=209_782)),
    ],
)
def test_every_form_of_a_time_is_read(written: str, moment: datetime) -> None:
    """With Z, with an offset, and naive, which is UTC."""
    log = OperationLog.model_validate({**LOG, "created_at": written})
    assert (log.created_at, log.created_at.tzinfo) == (moment, UTC)


@pytest.mark.parametrize(
    ("status", "with_ended_at", "without"),
    [
        *((status, True, True) for status in ("success", "failed", "skipped", "timeout")),
        *((status, False, False) for status in ("waiting", "running")),
        ("a state of next year", True, False),
    ],
)
def test_an_operation_has_ended_by_its_state_or_in_an_unknown_one_by_its_end(
    status: str, with_ended_at: bool, without: bool
) -> None:
    """The API's states are an open set; what it calls running is not over, whatever else it shows."""
    log = {**LOG, "status": status}
    assert OperationLog.model_validate(log).is_ended is with_ended_at
    assert OperationLog.model_validate({**log, "ended_at": None}).is_ended is without


def test_a_log_may_lack_what_a_sync_does_not_have() -> None:
    """Blocks that are null or not there, and a vault that is unknown."""
    bare = {"id": LOG_ID, "status": "running", "created_at": "2026-11-23T03:00:00Z"}
    for more in ({}, {"extra_info": None, "error_info": None}, {"extra_info": {"sync": None}}):
        assert OperationLog.model_validate({**bare, **more}).vault_id is None


@pytest.mark.parametrize(
    ("asked", "query"),
    [
        ({}, ""),
        ({"vault_id": VAULT}, f"vault_id={VAULT}&"),
        ({"since": START}, "start_time=2026-11-23T03%3A00%3A00Z&"),
        (
            {"since": START.astimezone(timezone(timedelta(hours=8))), "vault_id": VAULT},
            f"start_time=2026-11-23T03%3A00%3A00Z&vault_id={VAULT}&",
        ),
    ],
)
def test_syncs_are_listed_as_documented(asked: dict[str, Any], query: str) -> None:
    """Times in UTC, always with the limit, and without the filters that were not asked for."""
    api = Api({"count": 1, "operation_logs": [LOG], "limit": 1000, "offset": 0})
    assert [log.id for log in api.cbr().list_sync_logs(**asked)] == [LOG_ID]
    assert api.asked == [f"GET /v3/{PROJECT}/operation-logs?operation_type=sync&{query}limit=1000&offset=0"]


def build_vault_row(number: int, **more: object) -> dict[str, object]:
    """Build a vault as ListVault shows it."""
    vault_id = f"{number:08X}-0000-4000-8000-000000000000"
    billing = {"status": "available", "object_type": "vmware", "size": 100, "cloud_type": "hybrid"}
    row = {
        "id": vault_id,
        "name": f"vault-{number}",
        "billing": billing,
        "tags": [{"key": "env", "value": "x"}],
    }
    return {**row, "enterprise_project_id": 0, **more}


def test_hybrid_vaults_are_listed_as_documented() -> None:
    """Their kind is said, since the API lists public ones otherwise; a space is %20, never a plus."""
    api = Api({"count": 1, "vaults": [build_vault_row(1)]})
    (vault,) = api.cbr().list_hybrid_vaults(object_type="vmware", name="a b+c~")
    assert api.asked == [
        f"GET /v3/{PROJECT}/vaults?cloud_type=hybrid&object_type=vmware&name=a%20b%2Bc~&limit=1000&offset=0"
    ]
    assert vault.id == "00000001-0000-4000-8000-000000000000"
    assert (vault.name, vault.billing.status, vault.billing.object_type) == ("vault-1", "available", "vmware")
    assert [(tag.key, tag.value) for tag in vault.tags or ()] == [("env", "x")]


@pytest.mark.parametrize(
    "more",
    [
        {"tags": None},
        {"tags": []},
        {"tags": [{"key": "k"}]},
        {"tags": [{"key": "k", "value": None}]},
        {"billing": {}},
    ],
)
def test_a_vault_may_lack_what_is_optional(more: dict[str, object]) -> None:
    """Tags and the fields of its billing."""
    api = Api({"count": 1, "vaults": [build_vault_row(1, **more)]})
    assert len(list(api.cbr().list_hybrid_vaults(object_type=None, name=None))) == 1


@pytest.mark.parametrize(
    ("counts", "sizes", "offsets"),
    [
        pytest.param([0], [0], [0], id="none"),
        pytest.param([2], [2], [0], id="one page"),
        pytest.param([5, 5, 5], [2, 2, 1], [0, 2, 4], id="three pages"),
        pytest.param([9, 9], [2, 0], [0, 2], id="an empty page is the last"),
        pytest.param([3, 4], [2, 2], [0, 2], id="one was added meanwhile"),
    ],
)
def test_pages_are_read_to_the_last(counts: list[int], sizes: list[int], offsets: list[int]) -> None:
    """Whatever page size the API really uses."""
    pages = [
        {"count": count, "vaults": [build_vault_row(offset + row) for row in range(size)]}
        for count, size, offset in zip(counts, sizes, offsets, strict=True)
    ]
    api = Api(*pages)
    found = [vault.name for vault in api.cbr().list_hybrid_vaults(object_type=None, name=None)]
    assert found == [f"vault-{number}" for number in range(sum(sizes))]
    assert [int(request.url.params["offset"]) for request in api.requests] == offsets


@pytest.mark.parametrize("progress", [33.5, "33%", "", None, [], 40])
def test_a_field_that_is_only_displayed_keeps_no_log_from_being_read(progress: object) -> None:
    """No sync depends on its progress, nor on a date that no calendar has."""
    log = {"id": "log", "status": "running", "created_at": "2026-11-23T03:00:00Z"}
    for common in ({"progress": progress}, progress):
        read = OperationLog.model_validate({**log, "extra_info": {"common": common}})
        assert read.progress == (40 if common == {"progress": 40} else None)
    vault = build_vault_row(1, created_at="0001-01-01T00:00:00+08:00")
    (listed,) = Api({"count": 1, "vaults": [vault]}).cbr().list_hybrid_vaults(object_type=None, name=None)
    assert listed.created_at is None


def test_a_vault_that_went_while_they_were_listed_hides_no_other() -> None:
    """The next page has moved up by one, so the list is to be read again."""
    rows = [build_vault_row(number) for number in range(3)]
    api = Api({"count": 4, "vaults": rows[:2]}, {"count": 3, "vaults": rows[2:]})
    with pytest.raises(NotAcceptedError, match="vaults were deleted while they were listed"):
        list(api.cbr().list_hybrid_vaults(object_type=None, name=None))


def test_rows_that_cannot_be_read_are_left_out_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """They spoil no other row, and no other page."""
    rows = [LOG, {**LOG, "created_at": None}, {**LOG, "id": None}, "no row", {**LOG, "id": "last"}]
    api = Api({"count": 6, "operation_logs": rows}, {"count": 6, "operation_logs": [None]})
    assert [log.id for log in api.cbr().list_sync_logs()] == [LOG_ID, "last"]
    assert [request.url.params["offset"] for request in api.requests] == ["0", "5"]
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (line["level"], line["operation_logs"]) == ("WARNING", 4)
