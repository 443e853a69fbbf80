"""The vendor's own SDK is the judge of what the simulator answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from cbr_sync.clock import Clock
from cbr_sync.simulator.cloud import Simulator
from cbr_sync.simulator.models import SIMULATOR_CREDENTIALS, SIMULATOR_PROJECT_ID, TimeFormat
from cbr_sync.simulator.server import SimulatorServer
from support.simulator_client import VAULTS, show_log, start_sync
from support.world import BUSY, FILE, PUBLIC, VMWARE

FROZEN = "9f503152-be96-4e9b-8da2-705d42cf6e07"
UNKNOWN = "00000000-0000-4000-8000-000000000000"

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:huaweicloudsdkcore"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


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


def test_the_vendors_sdk_completes_all_it_calls(sdk_client: Callable[[str], Any]) -> None:
    """import_checkpoint, show_op_log, list_op_logs, list_vault, show_vault, signed by the vendor's signer."""
    from huaweicloudsdkcbr.v1 import model  # noqa: PLC0415
    from huaweicloudsdkcore.exceptions import exceptions  # noqa: PLC0415

    with SimulatorServer(Simulator(now=Clock().now, operation_seconds=0)) as server:
        cbr = sdk_client(server.url)
        param = model.SyncParam(auto_trigger=False, vault_id=VMWARE)
        answer = cbr.import_checkpoint(model.ImportCheckpointRequest(body=model.SyncReq(sync=param)))
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


@pytest.mark.parametrize("time_format", ["z", "offset", "naive"])
@pytest.mark.parametrize("whole_seconds", [False, True])
def test_the_vendors_sdk_reads_every_form_of_row(
    sdk_client: Callable[[str], Any], time_format: TimeFormat, whole_seconds: bool
) -> None:
    """Also those that are null or malformed in places; what is in order has all that the SDK requires."""
    from huaweicloudsdkcbr.v1 import model  # noqa: PLC0415

    simulator = Simulator(
        now=Clock().now, time_format=time_format, whole_seconds=whole_seconds, odd_rows=True
    )
    theirs = simulator.start_operation(FILE, ends="failed", seconds=0, has_ended_at=False)
    with SimulatorServer(simulator) as server:
        cbr = sdk_client(server.url)
        listed = cbr.list_op_logs(model.ListOpLogsRequest(operation_type="sync"))
        vaults = cbr.list_vault(model.ListVaultRequest(cloud_type="hybrid"))
    logs = {log.id: log for log in listed.operation_logs}
    assert (logs[theirs.id].status, logs[theirs.id].ended_at) == ("failed", None)
    assert listed.count == len(listed.operation_logs) > len(simulator.operations)
    hybrid = {vault.id for vault in simulator.vaults if vault.cloud_type == "hybrid"}
    assert {vault.id for vault in vaults.vaults} > hybrid
    for operation in simulator.operations:
        row = logs[operation.id].to_dict()
        assert all(row[key] is not None for key in ("id", "project_id", "status", "error_info"))
        assert all(row[key] is not None for key in ("created_at", "started_at", "updated_at"))


def test_a_row_has_no_key_that_the_vendors_sdk_does_not_know(client: httpx.Client) -> None:
    """And an operation has all of them."""
    from huaweicloudsdkcbr.v1 import model  # noqa: PLC0415

    log = show_log(client, start_sync(client, VMWARE))
    vault = client.get(f"{VAULTS}/{VMWARE}").json()["vault"]
    assert log.keys() == set(model.OperationLog.attribute_map.values())
    assert log["extra_info"].keys() <= set(model.OpExtraInfo.attribute_map.values())
    assert log["extra_info"]["common"].keys() == set(model.OpExtendInfoCommon.attribute_map.values())
    assert log["extra_info"]["sync"].keys() == set(model.OpExtendInfoSync.attribute_map.values())
    assert vault.keys() <= set(model.Vault.attribute_map.values())
    assert vault["billing"].keys() <= set(model.Billing.attribute_map.values())


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
        (VMWARE, "403-permission", 403, "BackupService.0103"),
        (VMWARE, "retry-after-date", 429, "APIGW.0308"),
    ],
)
def test_the_vendors_sdk_sees_the_documented_codes(
    sdk_client: Callable[[str], Any], vault: str, fault: str, status: int, code: str
) -> None:
    """With the request id that the service would give."""
    from huaweicloudsdkcbr.v1 import model  # noqa: PLC0415
    from huaweicloudsdkcore.exceptions import exceptions  # noqa: PLC0415

    simulator = Simulator(now=Clock().now)
    if fault:
        simulator.add_faults(fault)
    param = model.SyncParam(auto_trigger=False, vault_id=vault)
    with SimulatorServer(simulator) as server, pytest.raises(exceptions.ServiceResponseException) as error:
        sdk_client(server.url).import_checkpoint(
            model.ImportCheckpointRequest(body=model.SyncReq(sync=param))
        )
    assert (error.value.status_code, error.value.error_code) == (status, code)
    assert error.value.request_id
