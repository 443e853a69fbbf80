"""A CBR on loopback: signatures checked, vaults and operation logs kept, faults on demand.

Sources: API reference of CBR (ImportCheckpoint, ListOpLogs, ShowOpLog, ListVault, ShowVault, error codes);
API Request Signing Guide (clock skew, lock, APIGW codes). What no page tells is marked as inferred. State is
derived from the clock that is handed in; nothing runs in the background.
"""

from __future__ import annotations

import hmac
import json
import re
import socket
import struct
import threading
import uuid
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs

import httpx

from cbr_sync.models import Credentials, rfc3339, vault_id
from cbr_sync.signing import ALGORITHM, DATE_FORMAT, signature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

SIMULATOR_CREDENTIALS = Credentials("simulator-access-key", "simulator-secret-key")
SIMULATOR_PROJECT_ID = "f841e01fd2b14e7fa41b6ae7aa6b0594"
SIMULATOR_REGION = "cn-north-4"

MAX_BODY_BYTES = 12 * 1024 * 1024
MAX_SKEW = timedelta(minutes=15)
LOCK_AFTER, LOCK_FOR = 5, timedelta(minutes=5)
HANG_SECONDS = 300.0
_MAX_LIMIT = 1000
_HYBRID_VMWARE = "a13639de-00be-4e94-af30-26912d75e4a2"
_SERVER = "0daac4c5-6707-4851-97ba-169e36266b66"
_VAULT_CREATED_AT = datetime(2026, 1, 5, 10, 38, 34, 209782, tzinfo=UTC)
_BUSY_FOR, _BUSY_SINCE = timedelta(days=1), timedelta(hours=6)
# Source: API reference of CBR, ListOpLogs and ListVault; the vendor's Go SDK carries the newer words.
_OPERATION_TYPES = frozenset({"backup", "copy", "replication", "restore", "delete", "sync"}) | {
    *("vault_delete", "remove_resource", "migrate_resources")
}
_ENDS = frozenset({"success", "failed", "skipped", "timeout"})
_STATUSES = _ENDS | {"waiting", "running"}
_CLOUD_TYPES = frozenset({"public", "hybrid"})
_OBJECT_TYPES = frozenset({"server", "disk", "turbo", "workspace", "vmware", "rds", "file"})
_VAULT_STATUSES = frozenset({"available", "lock", "frozen", "deleting", "error"})


@dataclass(frozen=True, slots=True)
class Vault:
    """A vault, and how its syncs go.

    ``ends`` is the API's word: success, failed, skipped or timeout; ``synced``, ``deleted`` and ``failed``
    are the counts at that end, ``error`` the code and message in its error_info. ``operation_seconds``
    goes before the simulator's own. With ``running_since_before``, a sync of it is running at the start
    and does not end for a day.
    """

    id: str
    name: str
    cloud_type: str = "hybrid"
    object_type: str = "vmware"
    status: str = "available"
    tags: Mapping[str, str] = field(default_factory=dict)
    ends: str = "success"
    synced: int = 12
    deleted: int = 1
    failed: int = 0
    error: tuple[str, str] | None = None
    operation_seconds: float | None = None
    created_at: datetime | None = None
    running_since_before: bool = False


DEFAULT_VAULTS = (
    Vault("8d3a8b28-a697-41e2-8d5d-903669f8a02d", "vault-vmware-01", tags={"env": "prod"}),
    Vault("2f1f6ab4-4f0c-4b64-9a3c-0d6f5f7f1a02", "vault-file-01", object_type="file", tags={"env": "prod"}),
    Vault("5b1c9d1e-7a52-4a57-8f6e-3c1f0e9b2a03", "vault-vmware-02", tags={"env": "test"}),
    Vault("6c2d0e2f-8b63-4b68-9a7f-4d2a1f0c3b04", "vault-vmware-partial", failed=2),
    Vault(
        "7d3e1f30-9c74-4c79-8b80-5e3b20ad4c05",
        "vault-vmware-broken",
        ends="failed",
        error=("BackupService.6405", "Bucket object deletion failed."),
    ),
    Vault("8e4f2041-ad85-4d8a-9c91-6f4c31be5d06", "vault-vmware-busy", running_since_before=True),
    Vault("9f503152-be96-4e9b-8da2-705d42cf6e07", "vault-vmware-frozen", status="frozen"),
    Vault("a0614263-cfa7-4fac-9eb3-816e53d07f08", "vault-server-01", "public", "server"),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes


class Fault(StrEnum):
    """What may happen to a request beside an HTTP answer."""

    REFUSE = "refuse"  # never connected; a socket sees a request only when connected, so reset there
    RESET = "reset"  # the connection breaks before the API took the request
    RESET_AFTER = "reset-after"  # the API took it, the answer is lost
    HANG = "hang"  # no answer, not taken
    HANG_AFTER = "hang-after"  # no answer, taken
    TRUNCATED = "truncated"  # taken, half an answer
    HTML = "html"  # taken, a 200 that is no JSON


_TAKEN = frozenset({Fault.RESET_AFTER, Fault.HANG_AFTER, Fault.TRUNCATED, Fault.HTML})


@dataclass(frozen=True, slots=True)
class Operation:
    """A sync that the API took; its state is a matter of the moment."""

    id: str
    vault: Vault
    created_at: datetime
    seconds: float
    auto_trigger: bool

    @property
    def vault_id(self) -> str:
        """The vault it syncs."""
        return self.vault.id

    def status(self, now: datetime) -> str:
        """Waiting for the first tenth of its time, then running, then as the vault's syncs end."""
        share = self._share(now)
        if share >= 1:
            return self.vault.ends
        return "waiting" if share < 0.1 else "running"  # noqa: PLR2004 - a tenth

    def log(self, now: datetime, project_id: str) -> dict[str, Any]:
        """The operation log. Source: API reference of CBR, ShowOpLog; a sync's own is assembled from it."""
        ended = self._share(now) >= 1
        vault = self.vault
        code, message = (ended and vault.error) or ("", "")
        counts = (vault.synced, vault.deleted, vault.failed) if ended else (0, 0, 0)
        names = ("sync_backup_num", "delete_backup_num", "err_sync_backup_num")
        return {
            "id": self.id,
            "project_id": project_id,
            "operation_type": "sync",
            "status": self.status(now),
            "created_at": rfc3339(self.created_at),
            "started_at": rfc3339(self.created_at),
            "updated_at": rfc3339(min(now, self._end)),
            "ended_at": rfc3339(self._end) if ended else None,
            "vault_id": vault.id,
            "vault_name": vault.name,
            "provider_id": _HYBRID_VMWARE,
            "checkpoint_id": None,
            "policy_id": None,
            "error_info": {"code": code, "message": message},
            "extra_info": {
                "common": {
                    "progress": int(100 * self._share(now)),
                    "request_id": f"req-{self.id}",
                    "task_id": None,
                },
                "sync": dict(zip(names, counts, strict=True)),
                "resource": None,
            },
        }

    @property
    def _end(self) -> datetime:
        return self.created_at + timedelta(seconds=self.seconds)

    def _share(self, now: datetime) -> float:
        return 1.0 if now >= self._end else (now - self.created_at).total_seconds() / self.seconds


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the books have it.

    ``status`` is None where there was no answer; ``fault`` is None where a status was the fault.
    ``signed_ok`` tells whether the signature is right, also where a fault came before the check.
    """

    method: str
    path: str
    vault_id: str | None
    status: int | None
    fault: Fault | None
    signed_ok: bool


class _Stop(Exception):
    def __init__(self, result: Answer | Fault) -> None:
        self.result = result


class _No(_Stop):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(_error(status, code, message))


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
        request = _Incoming(method, target.partition("?")[0], target, _lower(headers), body)
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

    def _result(self, request: _Incoming) -> Answer | Fault:
        try:
            self._strike(request, None)
            self._throttle()
            self._authenticate(request)
            result: Answer | Fault = self._route(request)
        except _Stop as stop:
            result = stop.result
        return _html(200, "Welcome") if request.fault is Fault.HTML else request.fault or result

    def _strike(self, request: _Incoming, vault: str | None) -> None:
        """Let the next fault of the vault meet the request, or of the network; one is enough for each."""
        waiting = self._faults.get(vault)
        if not waiting or request.fault:
            return
        fault = waiting.popleft()
        if isinstance(fault, int):
            raise _Stop(_gateway_fault(fault))
        if fault not in _TAKEN:
            raise _Stop(fault)
        request.fault = fault

    def _throttle(self) -> None:
        now = self._now()
        while self._recent and now - self._recent[0] >= timedelta(minutes=1):
            self._recent.popleft()
        if self._rate_per_minute is not None and len(self._recent) >= self._rate_per_minute:
            limit = f"limit:{self._rate_per_minute},time:1 minute"
            message = f"The throttling threshold has been reached: policy user over ratelimit,{limit}"
            raise _No(429, "APIGW.0308", message)
        self._recent.append(now)

    def _check(self, request: _Incoming) -> str | None:
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
        _, expected = signature(secret, request.method, request.target, headers, request.body)
        return None if hmac.compare_digest(expected, match["signature"]) else "verify aksk signature fail"

    def _authenticate(self, request: _Incoming) -> None:
        match = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
        ours = match is not None and match["access"] == self._credentials.access_key
        wrong = self._counted(request.wrong) if ours else request.wrong
        if wrong:
            self.refused_signatures += 1
            raise _No(401, "APIGW.0301", f"Incorrect IAM authentication information: {wrong}")

    def _counted(self, wrong: str | None) -> str | None:
        """More than five failures in a row lock the access key for five minutes, right signatures too."""
        now = self._now()
        if self._locked_until and now < self._locked_until:
            return "AK access failed to reach the limit,forbidden"
        self._failed_checks = self._failed_checks + 1 if wrong else 0
        if self._failed_checks > LOCK_AFTER:
            self._failed_checks, self._locked_until = 0, now + LOCK_FOR
        return wrong

    def _route(self, request: _Incoming) -> Answer:
        if len(request.body) > MAX_BODY_BYTES:
            raise _No(413, "APIGW.0201", "The request body is too large")
        query = parse_qs(request.target.partition("?")[2], keep_blank_values=True)
        if (request.method, request.path) == ("GET", "/v3/projects"):
            return _ok(self._projects(query))
        version, project_id, *rest = (
            request.path.strip("/").split("/") if request.path.count("/") > 1 else ("", "")
        )
        if version == "v3" and project_id != self._project_id:
            raise _No(403, "APIGW.0310", "The project is unavailable")
        match [request.method, *rest]:
            case ["POST", "checkpoints", "sync"]:
                return _ok(self._sync(request))
            case ["GET", "operation-logs"]:
                return _ok(self._list_logs(query))
            case ["GET", "operation-logs", log_id]:
                return _ok({"operation_log": self._log(log_id)})
            case ["GET", "vaults"]:
                return _ok(self._list_vaults(query))
            case ["GET", "vaults", vault]:
                return _ok({"vault": self._describe(self._vault(vault))})
        raise _No(404, "APIGW.0101", "The API does not exist or has not been published in the environment")

    def _projects(self, query: dict[str, list[str]]) -> dict[str, Any]:
        named = query.get("name", [self._region]) == [self._region]
        projects = [{"id": self._project_id, "name": self._region}] if named else []
        return {"projects": projects, "links": {}}

    def _sync(self, request: _Incoming) -> dict[str, Any]:
        asked, auto_trigger = _sync_param(request.body)
        self._strike(request, asked)
        vault = self._vault(asked)
        if vault.cloud_type != "hybrid":
            raise _No(400, "BackupService.7300", "The vault type does not support synchronization.")
        if vault.status != "available":
            raise _No(400, "BackupService.6112", "The vault status does not support this operation.")
        now = self._now()
        if any(operation.status(now) not in _ENDS for operation in self.syncs_of(vault.id)):
            raise _No(400, "BackupService.7302", "The vault is being synchronized.")
        own = vault.operation_seconds
        seconds = self._operation_seconds if own is None else own
        operation = Operation(str(uuid.uuid4()), vault, now, seconds, auto_trigger)
        self.operations.append(operation)
        return {"sync": {"operation_log_id": operation.id, "vault_id": vault.id}}

    def _vault(self, asked: str) -> Vault:
        if asked not in self._vaults:
            raise _No(404, "BackupService.6105", "The vault does not exist.")
        return self._vaults[asked]

    def _log(self, log_id: str) -> dict[str, Any]:
        for operation in self.operations:
            if operation.id == log_id:
                return operation.log(self._now(), self._project_id)
        raise _No(404, "BackupService.6500", "The operation log does not exist.")

    def _list_logs(self, query: dict[str, list[str]]) -> dict[str, Any]:
        now = self._now()
        _allow(query, operation_type=_OPERATION_TYPES, status=_STATUSES)
        wanted = {
            key: query[key][0] for key in ("operation_type", "status", "vault_name") if key in query
        } | _vault_filter(query)
        since, until = _time(query, "start_time"), _time(query, "end_time")
        logs = [
            log
            for operation in sorted(self.operations, key=lambda one: one.created_at, reverse=True)
            if (log := operation.log(now, self._project_id))
            and operation.created_at + self._log_delay <= now
            and (since is None or operation.created_at >= since)
            and (until is None or (log["ended_at"] and datetime.fromisoformat(log["ended_at"]) <= until))
            and all(log[key] == value for key, value in wanted.items())
        ]
        return _page("operation_logs", logs, query)

    def _list_vaults(self, query: dict[str, list[str]]) -> dict[str, Any]:
        """Names match exactly, which is inferred."""
        _allow(query, cloud_type=_CLOUD_TYPES, object_type=_OBJECT_TYPES, status=_VAULT_STATUSES)
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
        return _page("vaults", vaults, query)

    def _describe(self, vault: Vault) -> dict[str, Any]:
        """A vault as ListVault shows it. Source: API reference of CBR, ListVault."""
        hybrid = vault.cloud_type == "hybrid"
        return {
            "id": vault.id,
            "name": vault.name,
            "project_id": self._project_id,
            "provider_id": _HYBRID_VMWARE if hybrid else _SERVER,
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


@dataclass(slots=True)
class _Incoming:
    method: str
    path: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    wrong: str | None = None
    fault: Fault | None = None

    @property
    def vault_id(self) -> str | None:
        """The vault whose sync is asked for; None for anything else."""
        if self.method != "POST" or not self.path.endswith("/checkpoints/sync"):
            return None
        try:
            return _sync_param(self.body)[0]
        except _No:
            return None


def parse_faults(spec: str) -> list[Fault | int]:
    """The faults in words such as ``503,429*3,reset``: HTTP statuses and the names of ``Fault``.

    Raises:
        ValueError: naming the word that is not known, and those that are.
    """
    faults: list[Fault | int] = []
    for word in spec.split(","):
        name, star, times = word.strip().partition("*")
        if (star and not times.isdecimal()) or not (name in set(Fault) or re.fullmatch(r"[345]\d\d", name)):
            raise ValueError(f"{word!r} is no fault; known are HTTP statuses from 300 and {', '.join(Fault)}")
        faults += [Fault(name) if name in set(Fault) else int(name)] * int(times or 1)
    return faults


_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} Access=(?P<access>[^,]+), SignedHeaders=(?P<names>[^,]+), "
    r"Signature=(?P<signature>[0-9a-f]+)"
)
_GATEWAY = {
    401: ("APIGW.0301", "Incorrect IAM authentication information: verify aksk signature fail"),
    403: ("APIGW.0302", "The IAM user is not allowed to access the API"),
    429: (
        "APIGW.0308",
        "The throttling threshold has been reached: policy user over ratelimit,limit:200,time:1 second",
    ),
    500: ("BackupService.9910", "Unknown error."),
    502: ("APIGW.0201", "Backend unavailable"),
    504: ("APIGW.0201", "Backend timeout"),
}


def _gateway_fault(status: int) -> Answer:
    if status in _GATEWAY:
        answer = _error(status, *_GATEWAY[status])
        more = {"Retry-After": "1"} if status == HTTPStatus.TOO_MANY_REQUESTS else {}
        return Answer(status, {**answer.headers, **more}, answer.body)
    answer = _html(status, HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown")
    if status < HTTPStatus.BAD_REQUEST:
        answer.headers["Location"] = "https://example.com/elsewhere"
    # A 304 has no body: what is sent after it would be read as the next answer.
    return Answer(status, answer.headers, b"") if status == HTTPStatus.NOT_MODIFIED else answer


def _html(status: int, text: str) -> Answer:
    headers = {"Content-Type": "text/html", "X-Request-Id": uuid.uuid4().hex}
    return Answer(status, headers, f"<html><body>{text}</body></html>".encode())


def _error(status: int, code: str, message: str) -> Answer:
    request_id = uuid.uuid4().hex
    body = {"error_code": code, "error_msg": message}
    if code.startswith("APIGW"):
        body["request_id"] = request_id
    return _json(status, body, request_id)


def _ok(body: dict[str, Any]) -> Answer:
    return _json(200, body, uuid.uuid4().hex)


def _json(status: int, body: Mapping[str, Any], request_id: str) -> Answer:
    headers = {"Content-Type": "application/json", "X-Request-Id": request_id}
    return Answer(status, headers, json.dumps(body).encode())


def _bad(what: str) -> _No:
    return _No(400, "BackupService.9900", f"Parameter check failed: {what}")


def _sync_param(body: bytes) -> tuple[str, bool]:
    try:
        match json.loads(body):
            case {"sync": {"vault_id": vault, "auto_trigger": bool(auto_trigger), **more}, **others}:
                if not more and not others:
                    return vault_id(vault), auto_trigger
    except (ValueError, RecursionError):  # no JSON, no UUID, or too deeply nested
        pass
    raise _bad("sync")


def _allow(query: dict[str, list[str]], **words: frozenset[str]) -> None:
    for key, known in words.items():
        if key in query and query[key][0] not in known:
            raise _bad(key)


def _vault_filter(query: dict[str, list[str]]) -> dict[str, str]:
    try:
        return {"vault_id": vault_id(query["vault_id"][0])} if "vault_id" in query else {}
    except ValueError:
        raise _bad("vault_id") from None


def _time(query: dict[str, list[str]], key: str) -> datetime | None:
    if key not in query:
        return None
    try:
        return datetime.strptime(query[key][0], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise _bad(key) from None


def _page(name: str, rows: list[dict[str, Any]], query: dict[str, list[str]]) -> dict[str, Any]:
    size = _number(query, "limit", _MAX_LIMIT, range(1, _MAX_LIMIT + 1))
    start = _number(query, "offset", 0, range(10**9))
    return {name: rows[start : start + size], "count": len(rows), "limit": size, "offset": start}


def _number(query: dict[str, list[str]], key: str, default: int, allowed: range) -> int:
    text = query.get(key, [str(default)])[0]
    # Ten digits at most: Python refuses to convert endless ones.
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) not in allowed:
        raise _bad(key)
    return int(text)


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {key.lower(): value for key, value in headers.items()}


class SimulatorServer:
    """A simulator behind a socket on 127.0.0.1; port 0 takes any free one.

    Use it as a context manager: it serves from a thread of its own; ``serve_forever`` inside of it ends with
    an interrupt. ``on_request`` is told of each request before it is answered.

    Raises:
        OSError: the port cannot be had.
    """

    def __init__(
        self, simulator: Simulator, port: int = 0, on_request: Callable[[Request], None] | None = None
    ) -> None:
        self._stopping = threading.Event()
        tell = staticmethod(on_request or (lambda _request: None))
        fields = {"simulator": simulator, "stopping": self._stopping, "on_request": tell}
        self._server = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_Handler,), fields))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def serve_forever(self) -> None:
        """Return when interrupted, or stopped by another thread."""
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    simulator: Simulator
    stopping: threading.Event
    on_request: Callable[[Request], None]

    def _serve(self) -> None:
        length = self.headers.get("Content-Length", "")
        body = self.rfile.read(int(length) if length.isdecimal() else 0)
        headers = dict(self.headers.items())
        result, entry = self.simulator.serve(self.command, self.path, headers, body)
        self.on_request(entry)
        match result:
            case Answer():
                self._send(result, len(result.body))
            case Fault.HANG | Fault.HANG_AFTER:
                self.stopping.wait(HANG_SECONDS)
                self.close_connection = True
            case Fault.TRUNCATED:
                self._send(Answer(200, {"Content-Type": "application/json"}, b'{"sync": {'), 100)
                self.close_connection = True
            case _:
                self._reset()

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the base class's names

    def _send(self, answer: Answer, length: int) -> None:
        self.send_response(answer.status)
        for key, value in {**answer.headers, "Content-Length": str(length)}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def _reset(self) -> None:
        """Close with a reset: a linger time of zero throws away what was not sent."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing; ``on_request`` tells of requests."""
