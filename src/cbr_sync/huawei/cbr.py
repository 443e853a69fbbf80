"""Cloud Backup and Recovery, v3: the calls that cbr-sync makes.

Source: API reference of CBR; paths and fields checked against huaweicloudsdkcbr 3.1.219. What the API
answers is read tolerantly: unknown fields and states pass, optional blocks may be null or missing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import quote, urlencode

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WrapValidator,
)

from cbr_sync.errors import ApiError, NotAcceptedError, OutcomeUnknownError
from cbr_sync.models import Copies, OutcomeError, Status, VaultId
from cbr_sync.transport import ANSWER_TOO_LARGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from aws_lambda_powertools import Logger

    from cbr_sync.huawei.client import SignedClient
    from cbr_sync.huawei.clock import ApiClock
    from cbr_sync.models import SyncParam
    from cbr_sync.retry import Retry


SYNC_ALREADY_RUNNING = "BackupService.7302"
NO_SUCH_VAULT = "BackupService.6105"
PAGE = 1000
# A vault's row lists its resources, so 1,000 of them may be larger than an answer may be: 1000, 100, 10, 1.
_SHRINK_PAGE_BY = 10
# How operations end, in the API's words and in ours; a success may still be partial.
_SUCCESS = "success"
_ENDS = {
    _SUCCESS: Status.SUCCEEDED,
    "failed": Status.FAILED,
    "skipped": Status.SKIPPED,
    "timeout": Status.TIMED_OUT,
}
_GOING_ON = frozenset({"waiting", "running"})
_MAX_MESSAGE_LENGTH = 500


def _convert_to_utc(moment: datetime) -> datetime:
    """Return a moment in UTC; the API shows them with Z, with an offset, or naive, as UTC (inferred)."""
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError("beyond what a calendar holds") from None


def _read_or_none(value: object, read: Callable[[object], object]) -> object:
    try:
        return read(value)
    except ValidationError:
        return None


_Moment = Annotated[datetime, AfterValidator(_convert_to_utc)]
# For what is only shown, or may be empty before its time has come: what cannot be read is as good as none.
_OrNone = WrapValidator(_read_or_none)


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
    """One operation.

    Attributes:
        id: Its id.
        status: The API's word, one of an open set.
        created_at: When it began.
        ended_at: When it ended; None where it has not.
        updated_at: When it last changed; None where that cannot be read.
        vault_id: Its vault, in either case; None where the API does not say.
        vault_name: The vault's name.
        error_info: What went wrong.
        extra_info: Its progress and its numbers.
    """

    id: str
    status: str
    created_at: _Moment
    ended_at: Annotated[_Moment | None, _OrNone] = None
    updated_at: Annotated[_Moment | None, _OrNone] = None
    vault_id: str | None = None
    vault_name: Annotated[str | None, _OrNone] = None
    error_info: Annotated[_OpErrorInfo | None, _OrNone] = None
    extra_info: Annotated[_OpExtraInfo | None, _OrNone] = None

    @property
    def is_ended(self) -> bool:
        """Whether it is over: by its state or, in one that we have no word for, by ``ended_at``."""
        return self.status in _ENDS or (self.status not in _GOING_ON and self.ended_at is not None)

    @property
    def end_status(self) -> Status | None:
        """How it ended, in our words; None while it has not."""
        end = _ENDS.get(self.status)
        failed = self.copies.failed if end is Status.SUCCEEDED and self.copies else 0
        return Status.PARTIAL if failed else end

    @property
    def copies(self) -> Copies | None:
        """How many copies it has synced, deleted and failed to sync; final once it has ended."""
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
        """What went wrong; None for a success, partial or not."""
        info = self.error_info
        if self.status == _SUCCESS or info is None or not (info.code or info.message):
            return None
        return OutcomeError(code=info.code or self.status, message=(info.message or "")[:_MAX_MESSAGE_LENGTH])

    @property
    def progress(self) -> int | None:
        """How far it is, in percent; None where that is not known."""
        return self.extra_info.common.progress if self.extra_info and self.extra_info.common else None


class _Page(BaseModel):
    """One page of a list; its rows stand under the list's own name, and are read one by one."""

    model_config = ConfigDict(extra="allow")

    count: int

    def get_rows(self, name: str) -> list[Any]:
        """Return the rows, each as it arrived.

        Raises:
            ApiError: There is no list of this name.
        """
        rows = (self.model_extra or {}).get(name)
        if not isinstance(rows, list):
            raise ApiError("CbrSync.UnreadableAnswer", f"the answer has no list named {name}")
        return rows


class _Tag(BaseModel):
    key: str
    value: Annotated[str, BeforeValidator(lambda value: "" if value is None else value)] = ""


class _Billing(BaseModel):
    object_type: str | None = None
    status: str | None = None


class Vault(BaseModel):
    """A vault.

    Attributes:
        id: Its id, in lower case.
        name: Its name.
        tags: Its tags; None where the API does not list them.
        created_at: When it was made; None where that cannot be read.
        billing: What it is for, and its status: available, lock, frozen, deleting or error.
    """

    id: VaultId
    name: str
    tags: list[_Tag] | None = None
    created_at: Annotated[_Moment | None, _OrNone] = None
    billing: _Billing

    @property
    def is_available(self) -> bool:
        """Whether it can be synced as it is; one whose status is not known is tried."""
        return self.billing.status in (None, "available")


T = TypeVar("T")
AnswerT = TypeVar("AnswerT", bound=BaseModel)
RowT = TypeVar("RowT", bound=BaseModel)


def _format_second(moment: datetime | None) -> str | None:
    """Return a moment as queries have it, in whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def _encode_query(query: Mapping[str, str | None]) -> str:
    """Return the parts of a query that are given, encoded as they are signed."""
    given = {key: value for key, value in query.items() if value is not None}
    return urlencode(given, quote_via=quote, safe="~")


def call_once(attempt: Callable[[], T]) -> T:
    """Call an attempt once, for callers that want no retries."""
    return attempt()


class Cbr:
    """One project's CBR in one region.

    Every method raises ``ApiError`` and its kinds, as ``SignedClient.call`` does. Rows of a list that cannot
    be read are left out one by one, and counted in the log.

    Attributes:
        endpoint: Where CBR answers.
        project_id: The project.
    """

    def __init__(  # noqa: PLR0913 - all but the first by name
        self,
        client: SignedClient,
        *,
        endpoint: str,
        project_id: str,
        timeout_seconds: Callable[[float], float],
        deadline: float,
        api_clock: ApiClock,
        logger: Logger,
    ) -> None:
        """Call CBR for a project.

        Args:
            client: Signs and sends.
            endpoint: As the attribute.
            project_id: As the attribute.
            timeout_seconds: Returns for a deadline how long one request may take; asked before each.
            deadline: Reading of the clock, in seconds; nothing is sent after it.
            api_clock: Learns from each answer how far the API's clock is off.
            logger: Counts the rows that cannot be read.
        """
        self.endpoint = endpoint
        self.project_id = project_id
        self._client = client
        self._timeout_seconds = timeout_seconds
        self._deadline = deadline
        self._api_clock = api_clock
        self._logger = logger

    def limit_to(self, deadline: float) -> Cbr:
        """Return these calls with another deadline."""
        return Cbr(
            self._client,
            endpoint=self.endpoint,
            project_id=self.project_id,
            timeout_seconds=self._timeout_seconds,
            deadline=deadline,
            api_clock=self._api_clock,
            logger=self._logger,
        )

    def import_checkpoint(self, param: SyncParam) -> str:
        """Start one sync (``POST /v3/{project_id}/checkpoints/sync``) and return its operation_log_id.

        Raises:
            ApiError: BackupService.7302 when one already runs; the others as for every call.
            OutcomeUnknownError: Also where the answer is a success that cannot be read.
        """
        url, body = self.build_import_checkpoint(param)
        answer = self._client.call(
            _ImportCheckpointResponse,
            "POST",
            url,
            body=body,
            project_id=self.project_id,
            timeout_seconds=partial(self._timeout_seconds, self._deadline),
            api_clock=self._api_clock,
        )
        if answer.sync.vault_id.lower() != param.vault_id:
            raise OutcomeUnknownError("CbrSync.UnreadableAnswer", "the API answered for another vault")
        return answer.sync.operation_log_id

    def build_import_checkpoint(self, param: SyncParam) -> tuple[str, dict[str, Any]]:
        """Return the URL and the body of the request that starts one sync."""
        return f"{self.endpoint}/v3/{self.project_id}/checkpoints/sync", {"sync": param.model_dump()}

    def list_sync_logs(
        self, *, since: datetime | None = None, vault_id: str | None = None, retry: Retry = call_once
    ) -> Iterator[OperationLog]:
        """Yield the syncs that began at a moment or later, page by page.

        Args:
            since: On the API's clock; whole seconds count. Without it, all that the logs hold.
            vault_id: Only those of this vault.
            retry: May call a page again, so that one that fails costs no other.
        """
        query = {"operation_type": "sync", "start_time": _format_second(since), "vault_id": vault_id}
        for _, rows in self._list_pages("operation-logs", "operation_logs", OperationLog, query, retry):
            yield from rows

    def has_sync_logs_until(self, moment: datetime, *, retry: Retry = call_once) -> bool:
        """Return whether a sync is in the logs that was over by this moment; fetches one row at most."""
        query = {"operation_type": "sync", "end_time": _format_second(moment)}
        return bool(self._fetch_one(query, retry).get_rows("operation_logs"))

    def count_sync_logs(self, *, since: datetime | None, retry: Retry = call_once) -> int:
        """Return how many syncs began at a moment or later; fetches one row at most."""
        query = {"operation_type": "sync", "start_time": _format_second(since)}
        return self._fetch_one(query, retry).count

    def list_hybrid_vaults(
        self, *, object_type: str | None, name: str | None, retry: Retry = call_once
    ) -> Iterator[Vault]:
        """Yield the hybrid vaults, page by page; without cloud_type the API lists public ones only.

        Args:
            object_type: Only vaults of this type.
            name: Only the vault of this name.
            retry: May call a page again.

        Raises:
            NotAcceptedError: Vaults were deleted meanwhile, so the pages moved up and may hide one.
        """
        query = {"cloud_type": "hybrid", "object_type": object_type, "name": name}
        counts = []
        for count, rows in self._list_pages("vaults", "vaults", Vault, query, retry):
            counts.append(count)
            yield from rows
        if counts[-1] < counts[0]:
            raise NotAcceptedError("CbrSync.ListChanged", "vaults were deleted while they were listed")

    def _fetch_one(self, query: Mapping[str, str | None], retry: Retry) -> _Page:
        return retry(partial(self._get, _Page, f"operation-logs?{_encode_query({**query, 'limit': '1'})}"))

    def _list_pages(
        self, path: str, name: str, model: type[RowT], query: Mapping[str, str | None], retry: Retry
    ) -> Iterator[tuple[int, list[RowT]]]:
        """Yield the total and the rows of every page; an empty page is the last, whatever the total says."""
        offset = unreadable = 0
        limit = PAGE
        while True:
            page, limit = self._fetch_page(path, query, offset, limit, retry)
            raw = page.get_rows(name)
            rows = [row for row in (_read_row(model, one) for one in raw) if row is not None]
            unreadable += len(raw) - len(rows)
            yield page.count, rows
            offset += len(raw)
            if not raw or offset >= page.count:
                break
        if unreadable:
            self._logger.warning("rows that cannot be read were left out", extra={name: unreadable})

    def _fetch_page(
        self, path: str, query: Mapping[str, str | None], offset: int, limit: int, retry: Retry
    ) -> tuple[_Page, int]:
        """Fetch the page at an offset, a smaller one where it is too large to read.

        Returns:
            The page, and how many rows may be asked for.
        """
        while True:
            encoded = _encode_query({**query, "limit": str(limit), "offset": str(offset)})
            try:
                return retry(partial(self._get, _Page, f"{path}?{encoded}")), limit
            except ApiError as error:
                if error.code != ANSWER_TOO_LARGE or limit == 1:
                    raise
                limit //= _SHRINK_PAGE_BY

    def _get(self, answer: type[AnswerT], path: str) -> AnswerT:
        return self._client.call(
            answer,
            "GET",
            f"{self.endpoint}/v3/{self.project_id}/{path}",
            project_id=self.project_id,
            timeout_seconds=partial(self._timeout_seconds, self._deadline),
            api_clock=self._api_clock,
        )


def _read_row(model: type[RowT], row: object) -> RowT | None:
    try:
        return model.model_validate(row)
    except ValidationError:
        return None
