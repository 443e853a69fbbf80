"""Cloud Backup and Recovery, v3: the calls that cbr-sync makes.

Source: API reference of CBR; paths and fields checked against huaweicloudsdkcbr 3.1.219. What the API
answers is read tolerantly: unknown fields and states pass, optional blocks may be null or missing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Protocol, TypeVar
from urllib.parse import quote, urlencode

from pydantic import AfterValidator, BaseModel, Field, ValidationError, WrapValidator

from cbr_sync.errors import ApiError, NotAcceptedError
from cbr_sync.models import Copies, OutcomeError, Status, VaultId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cbr_sync.huawei.client import SignedClient
    from cbr_sync.models import SyncParam


SYNC_ALREADY_RUNNING = "BackupService.7302"


NO_SUCH_VAULT = "BackupService.6105"


PAGE = 1000


# How operations end, in the API's words and in ours; a success may still be partial.
_SUCCESS = "success"


_ENDS = {
    _SUCCESS: Status.SUCCEEDED,
    "failed": Status.FAILED,
    "skipped": Status.SKIPPED,
    "timeout": Status.TIMED_OUT,
}


_MESSAGE_SHOWN = 500


def _utc(moment: datetime) -> datetime:
    """The API shows moments with Z, with an offset, and naive; naive ones are UTC (inferred)."""
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError("beyond what a calendar holds") from None


def _or_none(value: object, read: Callable[[object], object]) -> object:
    try:
        return read(value)
    except ValidationError:
        return None


_Moment = Annotated[datetime, AfterValidator(_utc)]


# For what is only shown, or may be empty before its time has come: what cannot be read is as good as none.
_OrNone = WrapValidator(_or_none)


class _SyncRespBody(BaseModel):
    operation_log_id: str = Field(min_length=1)
    vault_id: str


class _ImportCheckpointResponse(BaseModel):
    sync: _SyncRespBody


class _OpErrorInfo(BaseModel):
    code: str | None = None
    message: str | None = None


class _OpExtendInfoSync(BaseModel):
    sync_backup_num: int | None = None
    delete_backup_num: int | None = None
    err_sync_backup_num: int | None = None


class _OpExtendInfoCommon(BaseModel):
    progress: Annotated[int | None, _OrNone] = None


class _OpExtraInfo(BaseModel):
    common: Annotated[_OpExtendInfoCommon | None, _OrNone] = None
    sync: _OpExtendInfoSync | None = None


class OperationLog(BaseModel):
    """One operation; ``status`` is the API's word, one of an open set."""

    id: str
    status: str
    created_at: _Moment
    ended_at: Annotated[_Moment | None, _OrNone] = None
    vault_id: str | None = None
    error_info: _OpErrorInfo | None = None
    extra_info: _OpExtraInfo | None = None

    @property
    def ended(self) -> bool:
        """Whether its state is one of those that are over."""
        return self.status in _ENDS

    @property
    def end(self) -> Status | None:
        """How it ended, in our words; None while it has not."""
        end = _ENDS.get(self.status)
        failed = self.copies.failed if end is Status.SUCCEEDED and self.copies else 0
        return Status.PARTIAL if failed else end

    @property
    def copies(self) -> Copies | None:
        """How many copies it dealt with, as far as it tells; the numbers are final once it has ended."""
        counts = self.extra_info.sync if self.extra_info else None
        if counts is None:
            return None
        return Copies(
            synced=counts.sync_backup_num or 0,
            deleted=counts.delete_backup_num or 0,
            failed=counts.err_sync_backup_num or 0,
        )

    @property
    def error(self) -> OutcomeError | None:
        """What it says went wrong; None for a success, partial or not."""
        info = self.error_info
        if self.status == _SUCCESS or info is None or not (info.code or info.message):
            return None
        return OutcomeError(code=info.code or self.status, message=(info.message or "")[:_MESSAGE_SHOWN])

    @property
    def progress(self) -> int | None:
        """How far it is, in percent; None where it does not tell."""
        return self.extra_info.common.progress if self.extra_info and self.extra_info.common else None


class _ShowOpLogResponse(BaseModel):
    operation_log: OperationLog


class _Page(BaseModel):
    count: int

    @property
    def size(self) -> int:
        """How many rows this page holds."""
        raise NotImplementedError


class _ListOpLogsResponse(_Page):
    operation_logs: list[OperationLog]

    @property
    def size(self) -> int:
        return len(self.operation_logs)


class _Tag(BaseModel):
    key: str
    value: str = ""


class _Billing(BaseModel):
    object_type: str | None = None
    status: str | None = None


class Vault(BaseModel):
    """A vault as ListVault shows it; ``billing.status`` is available, lock, frozen, deleting or error."""

    id: VaultId
    name: str
    tags: list[_Tag] | None = None
    created_at: Annotated[_Moment | None, _OrNone] = None
    billing: _Billing

    @property
    def available(self) -> bool:
        """Whether it can be synced as it is; one that does not tell is tried."""
        return self.billing.status in (None, "available")


class _ListVaultResponse(_Page):
    vaults: list[Vault]

    @property
    def size(self) -> int:
        return len(self.vaults)


T = TypeVar("T")


AnswerT = TypeVar("AnswerT", bound=BaseModel)


PageT = TypeVar("PageT", bound=_Page)


class Again(Protocol):
    """Makes an attempt, and perhaps more of them."""

    def __call__(self, attempt: Callable[[], T]) -> T:
        """What the first successful attempt gives."""


def _second(moment: datetime | None) -> str | None:
    """The moment as queries have it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def _encoded(query: Mapping[str, str | None]) -> str:
    """What is given of a query, as it is signed."""
    given = {key: value for key, value in query.items() if value is not None}
    return urlencode(given, quote_via=quote, safe="~")


def _once(attempt: Callable[[], T]) -> T:
    return attempt()


class Cbr(NamedTuple):
    """One project's CBR in one region.

    ``timeout_seconds`` is asked for before each request. Every method raises ``ApiError`` and its kinds, as
    ``SignedClient.call`` does.
    """

    client: SignedClient
    endpoint: str
    project_id: str
    timeout_seconds: Callable[[], float]

    def import_checkpoint(self, param: SyncParam) -> str:
        """Start one sync (``POST /v3/{project_id}/checkpoints/sync``); gives its operation_log_id.

        Raises:
            ApiError: BackupService.7302 when one already runs; the others as for every call.
        """
        url, body = self.import_checkpoint_request(param)
        answer = self.client.call(
            _ImportCheckpointResponse,
            "POST",
            url,
            body=body,
            project_id=self.project_id,
            timeout_seconds=self.timeout_seconds,
        )
        if answer.sync.vault_id.lower() != param.vault_id:
            raise ApiError("CbrSync.UnreadableAnswer", "the API answered for another vault")
        return answer.sync.operation_log_id

    def import_checkpoint_request(self, param: SyncParam) -> tuple[str, dict[str, Any]]:
        """Where the request to start one sync goes to, and its body."""
        return f"{self.endpoint}/v3/{self.project_id}/checkpoints/sync", {"sync": param.model_dump()}

    def show_op_log(self, operation_log_id: str) -> OperationLog:
        """One operation (``GET /v3/{project_id}/operation-logs/{operation_log_id}``)."""
        return self._get(
            _ShowOpLogResponse, f"operation-logs/{quote(operation_log_id, safe='')}"
        ).operation_log

    def list_sync_logs(
        self, *, since: datetime | None = None, vault_id: str | None = None, again: Again = _once
    ) -> Iterator[OperationLog]:
        """The syncs that began at this moment or later, of one vault or of all; page by page.

        ``again`` may try a page again, so that one that fails costs no other.
        """
        query = {"operation_type": "sync", "start_time": _second(since), "vault_id": vault_id}
        for page in self._pages(_ListOpLogsResponse, "operation-logs", query, again):
            yield from page.operation_logs

    def has_sync_logs_until(self, moment: datetime, *, again: Again = _once) -> bool:
        """Whether a sync is in the logs that was over by this moment; one row at most is fetched."""
        query = {"operation_type": "sync", "end_time": _second(moment)}
        return bool(self._one_log(query, again).operation_logs)

    def count_sync_logs(self, *, since: datetime | None, again: Again = _once) -> int:
        """How many syncs began at this moment or later; one row at most is fetched."""
        query = {"operation_type": "sync", "start_time": _second(since)}
        return self._one_log(query, again).count

    def _one_log(self, query: Mapping[str, str | None], again: Again) -> _ListOpLogsResponse:
        path = f"operation-logs?{_encoded({**query, 'limit': '1'})}"
        return again(partial(self._get, _ListOpLogsResponse, path))

    def list_hybrid_vaults(self, *, object_type: str | None, name: str | None) -> Iterator[Vault]:
        """The hybrid vaults, page by page; without cloud_type the API lists public ones only.

        Raises:
            NotAcceptedError: vaults were deleted meanwhile, so the pages moved up and may hide one.
        """
        query = {"cloud_type": "hybrid", "object_type": object_type, "name": name}
        counts = []
        for page in self._pages(_ListVaultResponse, "vaults", query):
            counts.append(page.count)
            yield from page.vaults
        if counts[-1] < counts[0]:
            raise NotAcceptedError("CbrSync.ListChanged", "vaults were deleted while they were listed")

    def _pages(
        self, answer: type[PageT], path: str, query: Mapping[str, str | None], again: Again = _once
    ) -> Iterator[PageT]:
        """Every page; ``count`` is the total, and an empty page is the last whatever it says."""
        offset = 0
        while True:
            encoded = _encoded({**query, "limit": str(PAGE), "offset": str(offset)})
            page = again(partial(self._get, answer, f"{path}?{encoded}"))
            yield page
            offset += page.size
            if not page.size or offset >= page.count:
                return

    def _get(self, answer: type[AnswerT], path: str) -> AnswerT:
        return self.client.call(
            answer,
            "GET",
            f"{self.endpoint}/v3/{self.project_id}/{path}",
            project_id=self.project_id,
            timeout_seconds=self.timeout_seconds,
        )
