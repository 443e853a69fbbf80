"""A CBR on loopback: signatures checked, vaults and operation logs kept, faults on demand.

Sources: API reference of CBR (ImportCheckpoint, ListOpLogs, ShowOpLog, ListVault, ShowVault, error codes);
API Request Signing Guide (clock skew, lock, APIGW codes). What no page tells is marked as inferred. State is
derived from the clock that is handed in; nothing runs in the background.
"""

from __future__ import annotations

import hmac
import re
import threading
import uuid
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import httpx

from cbr_sync.huawei.signing import ALGORITHM, DATE_FORMAT, compute_signature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cbr_sync.credentials import Credentials
from cbr_sync.simulator.answers import (
    Answer,
    ApiRefusal,
    EarlyAnswer,
    build_gateway_error,
    build_html_answer,
    build_ok_answer,
    build_page,
    check_enums,
    lower_names,
    parse_query_time,
    parse_sync_body,
    parse_vault_filter,
)
from cbr_sync.simulator.faults import ACCEPTED_FAULTS, Fault, parse_faults
from cbr_sync.simulator.models import (
    DEFAULT_VAULTS,
    HYBRID_VMWARE_PROVIDER,
    SIMULATOR_CREDENTIALS,
    SIMULATOR_PROJECT_ID,
    SIMULATOR_REGION,
    TERMINAL_STATUSES,
    IncomingRequest,
    Operation,
    Request,
    Vault,
)

MAX_BODY_BYTES = 12 * 1024 * 1024


MAX_SKEW = timedelta(minutes=15)


LOCK_AFTER, LOCK_FOR = 5, timedelta(minutes=5)


_SERVER = "0daac4c5-6707-4851-97ba-169e36266b66"


_VAULT_CREATED_AT = datetime(2026, 1, 5, 10, 38, 34, 209782, tzinfo=UTC)


_BUSY_FOR, _BUSY_SINCE = timedelta(days=1), timedelta(hours=6)


# Source: API reference of CBR, ListOpLogs and ListVault; the vendor's Go SDK carries the newer words.
_OPERATION_TYPES = frozenset({"backup", "copy", "replication", "restore", "delete", "sync"}) | {
    *("vault_delete", "remove_resource", "migrate_resources")
}


_STATUSES = TERMINAL_STATUSES | {"waiting", "running"}


_CLOUD_TYPES = frozenset({"public", "hybrid"})


_OBJECT_TYPES = frozenset({"server", "disk", "turbo", "workspace", "vmware", "rds", "file"})


_VAULT_STATUSES = frozenset({"available", "lock", "frozen", "deleting", "error"})


class Simulator:
    """CBR of one project, and the IAM that knows it; safe to be used by several threads.

    ``operation_seconds`` is how long a sync takes, ``rate_per_minute`` how many requests are answered
    within a minute (None: any), ``log_delay_seconds`` how long ListOpLogs does not show a new operation.
    """

    def __init__(  # noqa: PLR0913 - by keyword
        self,
        *,
        now: Callable[[], datetime],
        vaults: Iterable[Vault] = DEFAULT_VAULTS,
        credentials: Credentials = SIMULATOR_CREDENTIALS,
        project_id: str = SIMULATOR_PROJECT_ID,
        region: str = SIMULATOR_REGION,
        operation_seconds: float = 5.0,
        rate_per_minute: int | None = None,
        log_delay_seconds: float = 0.0,
    ) -> None:
        self._log_delay = timedelta(seconds=log_delay_seconds)
        self._now = now
        self._vaults = {vault.id: vault for vault in vaults}
        self._credentials = credentials
        self._project_id = project_id
        self._region = region
        self._operation_seconds = operation_seconds
        self._rate_per_minute = rate_per_minute
        self._lock = threading.Lock()
        self._faults: dict[str | None, deque[Fault | int]] = {}
        self._recent: deque[datetime] = deque()
        self._failed_checks = 0
        self._locked_until: datetime | None = None
        self.requests: list[Request] = []
        self.refused_signatures = 0
        begun, seconds = now() - _BUSY_SINCE, (_BUSY_SINCE + _BUSY_FOR).total_seconds()
        self.operations = [
            Operation(str(uuid.uuid4()), vault, begun, seconds, auto_trigger=True)
            for vault in self._vaults.values()
            if vault.running_since_before
        ]

    @property
    def vaults(self) -> tuple[Vault, ...]:
        """Every vault, public ones too."""
        return tuple(self._vaults.values())

    def add_faults(self, spec: str, vault_id: str | None = None) -> None:
        """Let the next requests fail so, one after the other, as in ``503,429*3,reset``.

        Without a vault they meet any request, as the network or the gateway would; for a vault, its syncs.

        Raises:
            ValueError: naming the word or the vault that is not known, and those that are.
        """
        faults = parse_faults(spec)
        if vault_id is not None and vault_id.lower() not in self._vaults:
            raise ValueError(f"{vault_id} is no vault here; known are {', '.join(self._vaults)}")
        with self._lock:
            self._faults.setdefault(vault_id and vault_id.lower(), deque()).extend(faults)

    def syncs_of(self, vault: str) -> list[Operation]:
        """The syncs of a vault that the API took, oldest first."""
        return [operation for operation in self.operations if operation.vault_id == vault]

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer | Fault:
        """The answer to a request, or what happens in its place."""
        return self.serve(method, target, headers, body)[0]

    def serve(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[Answer | Fault, Request]:
        """What ``answer`` gives, and what the books have of it."""
        request = IncomingRequest(method, target.partition("?")[0], target, lower_names(headers), body)
        with self._lock:
            request.wrong = self._check(request)
            result = self._result(request)
            status = result.status if isinstance(result, Answer) else None
            fault = result if isinstance(result, Fault) else request.fault
            signed_ok = request.wrong is None
            entry = Request(method, request.path, request.vault_id, status, fault, signed_ok)
            self.requests.append(entry)
        return result, entry

    def transport(self) -> httpx.MockTransport:
        """The same without sockets: what happens to a connection is raised as httpx would."""

        def respond(request: httpx.Request) -> httpx.Response:
            target = request.url.raw_path.decode("ascii")
            match self.answer(request.method, target, request.headers, request.content):
                case Answer() as answer:
                    return httpx.Response(answer.status, headers=answer.headers, content=answer.body)
                case Fault.REFUSE:
                    raise httpx.ConnectError("Connection refused", request=request)
                case Fault.HANG | Fault.HANG_AFTER:
                    raise httpx.ReadTimeout("timed out", request=request)
                case Fault.TRUNCATED:
                    raise httpx.RemoteProtocolError("peer closed connection", request=request)
                case _:
                    raise httpx.ReadError("Connection reset by peer", request=request)

        return httpx.MockTransport(respond)

    def _result(self, request: IncomingRequest) -> Answer | Fault:
        try:
            self._strike(request, None)
            self._throttle()
            self._authenticate(request)
            result: Answer | Fault = self._route(request)
        except EarlyAnswer as stop:
            result = stop.result
        return build_html_answer(200, "Welcome") if request.fault is Fault.HTML else request.fault or result

    def _strike(self, request: IncomingRequest, vault: str | None) -> None:
        """Let the next fault of the vault meet the request, or of the network; one is enough for each."""
        waiting = self._faults.get(vault)
        if not waiting or request.fault:
            return
        fault = waiting.popleft()
        if isinstance(fault, int):
            raise EarlyAnswer(build_gateway_error(fault))
        if fault not in ACCEPTED_FAULTS:
            raise EarlyAnswer(fault)
        request.fault = fault

    def _throttle(self) -> None:
        now = self._now()
        while self._recent and now - self._recent[0] >= timedelta(minutes=1):
            self._recent.popleft()
        if self._rate_per_minute is not None and len(self._recent) >= self._rate_per_minute:
            limit = f"limit:{self._rate_per_minute},time:1 minute"
            message = f"The throttling threshold has been reached: policy user over ratelimit,{limit}"
            raise ApiRefusal(429, "APIGW.0308", message)
        self._recent.append(now)

    def _check(self, request: IncomingRequest) -> str | None:
        """What is wrong with the request's signature; None if nothing is.

        The texts are inferred, and that a clock out of step is APIGW.0301 like all else (0303 is documented
        for app authentication only).
        """
        match = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
        if not match:
            return "the Authorization header is missing or malformed"
        try:
            date = datetime.strptime(request.headers.get("x-sdk-date", ""), DATE_FORMAT).replace(tzinfo=UTC)
        except ValueError:
            return "the X-Sdk-Date header is missing or malformed"
        if abs(self._now() - date) > MAX_SKEW:
            return "verify aksk signature fail, the request has expired"
        if match["access"] != self._credentials.access_key:
            return "verify aksk signature fail, access key not found"
        if request.headers.get("x-security-token") != self._credentials.token:
            return "the security token is wrong or expired"
        names = match["names"].split(";")
        if "x-sdk-date" not in names:
            return "verify aksk signature fail, x-sdk-date is not signed"
        headers = [(name, request.headers.get(name, "")) for name in names]
        secret = self._credentials.secret_key
        _, expected = compute_signature(secret, request.method, request.target, headers, request.body)
        return None if hmac.compare_digest(expected, match["signature"]) else "verify aksk signature fail"

    def _authenticate(self, request: IncomingRequest) -> None:
        match = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
        ours = match is not None and match["access"] == self._credentials.access_key
        wrong = self._counted(request.wrong) if ours else request.wrong
        if wrong:
            self.refused_signatures += 1
            raise ApiRefusal(401, "APIGW.0301", f"Incorrect IAM authentication information: {wrong}")

    def _counted(self, wrong: str | None) -> str | None:
        """More than five failures in a row lock the access key for five minutes, right signatures too."""
        now = self._now()
        if self._locked_until and now < self._locked_until:
            return "AK access failed to reach the limit,forbidden"
        self._failed_checks = self._failed_checks + 1 if wrong else 0
        if self._failed_checks > LOCK_AFTER:
            self._failed_checks, self._locked_until = 0, now + LOCK_FOR
        return wrong

    def _route(self, request: IncomingRequest) -> Answer:
        if len(request.body) > MAX_BODY_BYTES:
            raise ApiRefusal(413, "APIGW.0201", "The request body is too large")
        query = parse_qs(request.target.partition("?")[2], keep_blank_values=True)
        if (request.method, request.path) == ("GET", "/v3/projects"):
            return build_ok_answer(self._projects(query))
        version, project_id, *rest = (
            request.path.strip("/").split("/") if request.path.count("/") > 1 else ("", "")
        )
        if version == "v3" and project_id != self._project_id:
            raise ApiRefusal(403, "APIGW.0310", "The project is unavailable")
        match [request.method, *rest]:
            case ["POST", "checkpoints", "sync"]:
                return build_ok_answer(self._sync(request))
            case ["GET", "operation-logs"]:
                return build_ok_answer(self._list_logs(query))
            case ["GET", "operation-logs", log_id]:
                return build_ok_answer({"operation_log": self._log(log_id)})
            case ["GET", "vaults"]:
                return build_ok_answer(self._list_vaults(query))
            case ["GET", "vaults", vault]:
                return build_ok_answer({"vault": self._describe(self._vault(vault))})
        raise ApiRefusal(
            404, "APIGW.0101", "The API does not exist or has not been published in the environment"
        )

    def _projects(self, query: dict[str, list[str]]) -> dict[str, Any]:
        named = query.get("name", [self._region]) == [self._region]
        projects = [{"id": self._project_id, "name": self._region}] if named else []
        return {"projects": projects, "links": {}}

    def _sync(self, request: IncomingRequest) -> dict[str, Any]:
        asked, auto_trigger = parse_sync_body(request.body)
        self._strike(request, asked)
        vault = self._vault(asked)
        if vault.cloud_type != "hybrid":
            raise ApiRefusal(400, "BackupService.7300", "The vault type does not support synchronization.")
        if vault.status != "available":
            raise ApiRefusal(400, "BackupService.6112", "The vault status does not support this operation.")
        now = self._now()
        if any(operation.status(now) not in TERMINAL_STATUSES for operation in self.syncs_of(vault.id)):
            raise ApiRefusal(400, "BackupService.7302", "The vault is being synchronized.")
        own = vault.operation_seconds
        seconds = self._operation_seconds if own is None else own
        operation = Operation(str(uuid.uuid4()), vault, now, seconds, auto_trigger)
        self.operations.append(operation)
        return {"sync": {"operation_log_id": operation.id, "vault_id": vault.id}}

    def _vault(self, asked: str) -> Vault:
        if asked not in self._vaults:
            raise ApiRefusal(404, "BackupService.6105", "The vault does not exist.")
        return self._vaults[asked]

    def _log(self, log_id: str) -> dict[str, Any]:
        for operation in self.operations:
            if operation.id == log_id:
                return operation.log(self._now(), self._project_id)
        raise ApiRefusal(404, "BackupService.6500", "The operation log does not exist.")

    def _list_logs(self, query: dict[str, list[str]]) -> dict[str, Any]:
        now = self._now()
        check_enums(query, operation_type=_OPERATION_TYPES, status=_STATUSES)
        wanted = {
            key: query[key][0] for key in ("operation_type", "status", "vault_name") if key in query
        } | parse_vault_filter(query)
        since, until = parse_query_time(query, "start_time"), parse_query_time(query, "end_time")
        logs = [
            log
            for operation in sorted(self.operations, key=lambda one: one.created_at, reverse=True)
            if (log := operation.log(now, self._project_id))
            and operation.created_at + self._log_delay <= now
            and (since is None or operation.created_at >= since)
            and (until is None or (log["ended_at"] and datetime.fromisoformat(log["ended_at"]) <= until))
            and all(log[key] == value for key, value in wanted.items())
        ]
        return build_page("operation_logs", logs, query)

    def _list_vaults(self, query: dict[str, list[str]]) -> dict[str, Any]:
        """Names match exactly, which is inferred."""
        check_enums(query, cloud_type=_CLOUD_TYPES, object_type=_OBJECT_TYPES, status=_VAULT_STATUSES)
        cloud_type = query.get("cloud_type", ["public"])[0]  # the documented default hides hybrid vaults
        vaults = [
            self._describe(vault)
            for vault in self._vaults.values()
            if vault.cloud_type == cloud_type
            and vault.id in query.get("id", [vault.id])
            and vault.name == query.get("name", [vault.name])[0]
            and vault.object_type == query.get("object_type", [vault.object_type])[0]
            and vault.status == query.get("status", [vault.status])[0]
        ]
        return build_page("vaults", vaults, query)

    def _describe(self, vault: Vault) -> dict[str, Any]:
        """A vault as ListVault shows it. Source: API reference of CBR, ListVault."""
        hybrid = vault.cloud_type == "hybrid"
        return {
            "id": vault.id,
            "name": vault.name,
            "project_id": self._project_id,
            "provider_id": HYBRID_VMWARE_PROVIDER if hybrid else _SERVER,
            "resources": [],
            "tags": [{"key": key, "value": value} for key, value in vault.tags.items()],
            "enterprise_project_id": "0",
            "created_at": (vault.created_at or _VAULT_CREATED_AT).astimezone(UTC).isoformat()[:-6],
            "billing": {
                "allocated": 0,
                "charging_mode": "post_paid",
                "cloud_type": vault.cloud_type,
                "consistent_level": "crash_consistent",
                "object_type": vault.object_type,
                "protect_type": "hybrid" if hybrid else "backup",
                "size": 1000,
                "spec_code": f"vault.{'hybrid' if hybrid else 'backup'}.server.normal",
                "status": vault.status,
                "used": 20480,
            },
        }


_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} Access=(?P<access>[^,]+), SignedHeaders=(?P<names>[^,]+), "
    r"Signature=(?P<signature>[0-9a-f]+)"
)
