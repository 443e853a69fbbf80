"""The operations of CBR that the simulator knows, and IAM's list of projects.

Sources: API reference of CBR (ImportCheckpoint, ListOpLogs, ShowOpLog, ListVault, ShowVault, error codes);
the vendor's Go SDK for the newer words of an enumeration.
"""

from __future__ import annotations

import re
import uuid
from bisect import bisect_left, bisect_right
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import parse_qs

from cbr_sync.simulator.answers import (
    ApiRefusal,
    build_page,
    check_enums,
    parse_query_time,
    parse_sync_body,
    parse_vault_filter,
)
from cbr_sync.simulator.faults import Fault
from cbr_sync.simulator.models import TERMINAL_STATUSES, IncomingRequest, Operation, Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cbr_sync.simulator.rows import RowFormatter

T = TypeVar("T")

MAX_BODY_BYTES = 12 * 1024 * 1024

_PATH = re.compile(r"/v3/(?P<project_id>[^/]+)/(?P<path>.+?)/?")
_RUNNING_SINCE = timedelta(hours=6)
_OPERATION_TYPES = frozenset({"backup", "copy", "replication", "restore", "delete", "sync"}) | {
    *("vault_delete", "remove_resource", "migrate_resources")
}
_STATUSES = TERMINAL_STATUSES | {"waiting", "running"}
_CLOUD_TYPES = frozenset({"public", "hybrid"})
_OBJECT_TYPES = frozenset({"server", "disk", "turbo", "workspace", "vmware", "rds", "file"})
_VAULT_STATUSES = frozenset({"available", "lock", "frozen", "deleting", "error"})


class Call(NamedTuple):
    """A request that has found its operation.

    Attributes:
        operation: The operation's name in the API reference.
        request: The request itself.
        item_id: The id at the end of the path; empty where there is none.
    """

    operation: str
    request: IncomingRequest
    item_id: str = ""

    @property
    def query(self) -> dict[str, list[str]]:
        """The query's values by name."""
        return parse_qs(self.request.query, keep_blank_values=True)


class OperationIndex:
    """Finds operations by id, vault and time.

    What is appended to ``operations`` from outside, or removed there, is noticed before the next search.

    Attributes:
        operations: Every operation, in the order of their acceptance.
    """

    def __init__(self, operations: Iterable[Operation]) -> None:
        self.operations = list(operations)
        self._indexed = 0
        self._by_id: dict[str, Operation] = {}
        self._by_vault: dict[str, list[Operation]] = {}
        self._by_time: list[Operation] = []

    def find(self, operation_id: str) -> Operation | None:
        """Return the operation with this id, if there is one."""
        self._update()
        return self._by_id.get(operation_id)

    def list_of_vault(self, vault_id: str) -> list[Operation]:
        """Return the operations of a vault in the order of their acceptance."""
        self._update()
        return self._by_vault.get(vault_id, [])

    def list_created(self, since: datetime | None, until: datetime) -> list[Operation]:
        """Return the operations created in ``[since, until]``, newest first; None means no bound."""
        self._update()
        first = 0 if since is None else bisect_left(self._by_time, since, key=_get_created_at)
        last = bisect_right(self._by_time, until, key=_get_created_at)
        return self._by_time[first:last][::-1]

    def _update(self) -> None:
        if len(self.operations) == self._indexed:
            return
        if len(self.operations) < self._indexed:
            self._indexed = 0
            for index in (self._by_id, self._by_vault, self._by_time):
                index.clear()
        is_sorted = True
        for operation in self.operations[self._indexed :]:
            self._by_id[operation.id] = operation
            self._by_vault.setdefault(operation.vault_id, []).append(operation)
            is_sorted &= not self._by_time or self._by_time[-1].created_at <= operation.created_at
            self._by_time.append(operation)
        if not is_sorted:
            self._by_time.sort(key=_get_created_at)
        self._indexed = len(self.operations)


def _interleave(items: Sequence[T], odd: Sequence[dict[str, Any]]) -> list[T | dict[str, Any]]:
    """Put an odd row behind each of the first items, and what is left of them at the end."""
    if not odd:
        return list(items)
    mixed = [one for pair in zip(items, odd, strict=False) for one in pair]
    return [*mixed, *items[len(odd) :], *odd[len(items) :]]


def _get_created_at(operation: Operation) -> datetime:
    return operation.created_at


class CbrApi:
    """CBR of one project, behind the gateway; not safe to be used by several threads at once."""

    def __init__(  # noqa: PLR0913 - by keyword
        self,
        *,
        now: Callable[[], datetime],
        vaults: Iterable[Vault],
        project_id: str,
        region: str,
        rows: RowFormatter,
        operation_seconds: float,
        running_seconds: float,
        log_delay_seconds: float,
        odd_rows: bool,
    ) -> None:
        self._now = now
        self._project_id = project_id
        self._region = region
        self._rows = rows
        self._operation_seconds = operation_seconds
        self._odd_rows = odd_rows
        self._log_delay = timedelta(seconds=log_delay_seconds)
        self._handlers: dict[str, Callable[[Call], dict[str, Any]]] = {
            "ImportCheckpoint": self._import_checkpoint,
            "ListOpLogs": self._list_op_logs,
            "ShowOpLog": self._show_op_log,
            "ListVault": self._list_vault,
            "ShowVault": self._show_vault,
            "KeystoneListProjects": self._list_projects,
        }
        self.vaults = {vault.id: vault for vault in vaults}
        begun, seconds = now() - _RUNNING_SINCE, _RUNNING_SINCE.total_seconds() + running_seconds
        self.index = OperationIndex(
            Operation(str(uuid.uuid4()), vault, begun, seconds, auto_trigger=True)
            for vault in self.vaults.values()
            if vault.running_since_before
        )

    @property
    def operations(self) -> tuple[str, ...]:
        """The names of the operations, as the API reference has them."""
        return tuple(self._handlers)

    def find_operation(self, request: IncomingRequest) -> Call:
        """Return the operation that a request is meant for.

        Raises:
            ApiRefusal: The body is too large, or the project or the path is not known.
        """
        if len(request.body) > MAX_BODY_BYTES:
            raise ApiRefusal(413, "APIGW.0201", "The request body is too large")
        if (request.method, request.path) == ("GET", "/v3/projects"):
            return Call("KeystoneListProjects", request)
        match = _PATH.fullmatch(request.path)
        if match and match["project_id"] != self._project_id:
            raise ApiRefusal(403, "APIGW.0310", "The project is unavailable")
        match [request.method, *(match["path"].split("/") if match else [])]:
            case ["POST", "checkpoints", "sync"]:
                return Call("ImportCheckpoint", request)
            case ["GET", "operation-logs"]:
                return Call("ListOpLogs", request)
            case ["GET", "operation-logs", log_id]:
                return Call("ShowOpLog", request, log_id)
            case ["GET", "vaults"]:
                return Call("ListVault", request)
            case ["GET", "vaults", vault_id]:
                return Call("ShowVault", request, vault_id)
        raise ApiRefusal(
            404, "APIGW.0101", "The API does not exist or has not been published in the environment"
        )

    def perform(self, call: Call) -> dict[str, Any]:
        """Return the body of a successful answer.

        Raises:
            ApiRefusal: The API's error.
        """
        return self._handlers[call.operation](call)

    def start_operation(
        self,
        vault: Vault,
        *,
        at: datetime,
        auto_trigger: bool,
        seconds: float | None = None,
        has_ended_at: bool = True,
        update_delay_seconds: float = 0.0,
    ) -> Operation:
        """Record the start of a sync, whatever else runs.

        Args:
            vault: The vault, which also says how the sync ends.
            at: When it starts, perhaps in the future; nothing shows it before.
            auto_trigger: Whether a schedule started it.
            seconds: Its duration; None takes the vault's, then the simulator's.
            has_ended_at: As in ``Operation``.
            update_delay_seconds: As in ``Operation``.

        Returns:
            The operation.
        """
        if seconds is None:
            seconds = self._operation_seconds if vault.operation_seconds is None else vault.operation_seconds
        operation = Operation(
            str(uuid.uuid4()), vault, at, seconds, auto_trigger, has_ended_at, update_delay_seconds
        )
        self.index.operations.append(operation)
        return operation

    def _list_projects(self, call: Call) -> dict[str, Any]:
        is_named = call.query.get("name", [self._region]) == [self._region]
        return {"projects": [{"id": self._project_id, "name": self._region}] if is_named else [], "links": {}}

    def _import_checkpoint(self, call: Call) -> dict[str, Any]:
        vault_id, auto_trigger = parse_sync_body(call.request.body)
        vault = self._find_vault(vault_id)
        if vault.cloud_type != "hybrid":
            raise ApiRefusal(400, "BackupService.7300", "The vault type does not support synchronization.")
        if vault.status != "available":
            raise ApiRefusal(400, "BackupService.6112", "The vault status does not support this operation.")
        now = self._now()
        operations = self.index.list_of_vault(vault.id)
        if any(operation.created_at <= now < operation.ended_at for operation in operations):
            raise ApiRefusal(400, "BackupService.7302", "The vault is being synchronized.")
        if call.request.fault is Fault.SKIP:
            vault = vault.change_end("skipped")
        operation = self.start_operation(vault, at=now, auto_trigger=auto_trigger)
        return {"sync": {"operation_log_id": operation.id, "vault_id": vault.id}}

    def _show_op_log(self, call: Call) -> dict[str, Any]:
        now, operation = self._now(), self.index.find(call.item_id)
        if operation is None or operation.created_at > now:
            raise ApiRefusal(404, "BackupService.6500", "The operation log does not exist.")
        return {"operation_log": self._rows.format_operation(operation, now)}

    def _list_op_logs(self, call: Call) -> dict[str, Any]:
        query, now = call.query, self._now()
        check_enums(query, operation_type=_OPERATION_TYPES, status=_STATUSES)
        wanted = parse_vault_filter(query)
        wanted |= {key: query[key][0] for key in ("status", "vault_name") if key in query}
        since, until = parse_query_time(query, "start_time"), parse_query_time(query, "end_time")
        if query.get("operation_type", ["sync"])[0] != "sync":
            return build_page("operation_logs", [], query, dict)
        found = self.index.list_created(since, now - self._log_delay)
        if wanted or until:
            found = [one for one in found if self._is_wanted(one, wanted, until, now)]
        odd = self._rows.format_odd_operations(now) if self._odd_rows and not wanted else []
        return build_page(
            "operation_logs",
            _interleave(found, odd),
            query,
            lambda item: item if isinstance(item, dict) else self._rows.format_operation(item, now),
        )

    def _is_wanted(
        self, operation: Operation, wanted: dict[str, str], until: datetime | None, now: datetime
    ) -> bool:
        shown = {
            "vault_id": operation.vault_id,
            "vault_name": operation.vault.name,
            "status": operation.get_status(now),
        }
        return wanted.items() <= shown.items() and (until is None or self._is_ended(operation, until, now))

    def _is_ended(self, operation: Operation, until: datetime, now: datetime) -> bool:
        """Return whether the end that its log shows is at this moment or before."""
        ended_at = operation.get_ended_at(now)
        if ended_at and self._rows.whole_seconds:
            ended_at = ended_at.replace(microsecond=0)
        return ended_at is not None and ended_at <= until

    def _show_vault(self, call: Call) -> dict[str, Any]:
        return {"vault": self._rows.format_vault(self._find_vault(call.item_id))}

    def _list_vault(self, call: Call) -> dict[str, Any]:
        query = call.query
        check_enums(query, cloud_type=_CLOUD_TYPES, object_type=_OBJECT_TYPES, status=_VAULT_STATUSES)
        cloud_type = query.get("cloud_type", ["public"])[0]  # the documented default hides hybrid vaults
        found = [
            vault
            for vault in self.vaults.values()
            if vault.cloud_type == cloud_type
            and vault.id in query.get("id", [vault.id])
            and vault.name == query.get("name", [vault.name])[0]  # the whole name, which is inferred
            and vault.object_type == query.get("object_type", [vault.object_type])[0]
            and vault.status == query.get("status", [vault.status])[0]
        ]
        is_odd = self._odd_rows and cloud_type == "hybrid" and query.keys().isdisjoint({"id", "name"})
        return build_page(
            "vaults",
            _interleave(found, self._rows.format_odd_vaults() if is_odd else []),
            query,
            lambda item: item if isinstance(item, dict) else self._rows.format_vault(item),
        )

    def _find_vault(self, vault_id: str) -> Vault:
        if vault_id not in self.vaults:
            raise ApiRefusal(404, "BackupService.6105", "The vault does not exist.")
        return self.vaults[vault_id]
