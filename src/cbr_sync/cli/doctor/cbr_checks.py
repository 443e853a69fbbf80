"""Checks of keys, endpoint, project, permissions and vaults."""

from __future__ import annotations

import contextlib
import re
import uuid
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel

from cbr_sync.app import App
from cbr_sync.credentials import PlatformValues, find_credentials
from cbr_sync.errors import ApiError, CredentialsRefusedError, RetryableError, SettingsError
from cbr_sync.huawei.cbr import PAGE, Cbr, Vault
from cbr_sync.huawei.endpoints import find_cbr_endpoint, find_iam_endpoint
from cbr_sync.huawei.iam import find_project_id
from cbr_sync.models import SyncParam
from cbr_sync.settings import HYBRID, KEY_NAMES, TOKEN_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cbr_sync.cli.doctor.calls import Calls
from cbr_sync.cli.doctor.advice import find_advice, find_network_remedy, find_remedy
from cbr_sync.cli.doctor.finding import Finding, Verdict

# Source: API Request Signing Guide: a signature whose date is off by more is refused.
_MAX_SKEW, _SMALL_SKEW = timedelta(minutes=15), timedelta(minutes=1)


_LINES = 20


_STRAY = re.compile(r"""[^\x21-\x7e]|["'<>]""")


def check_cbr(calls: Calls) -> Iterator[Finding]:
    """From the keys to the vaults, in the order in which one needs the other."""
    yield from _check_credentials(calls)
    yield from _check_endpoint(calls)
    yield _check_project(calls)
    hybrid: dict[str, Vault] = {}
    listed = _check_permission(calls, _listing_permission(calls, hybrid))
    yield listed
    for right in _list_permissions(calls):
        yield _check_permission(calls, right)
    if listed.verdict is Verdict.OK:
        yield from _check_vaults(calls, hybrid)
    else:
        yield Finding("vaults", Verdict.SKIPPED, calls.kept_from or "they cannot be listed")


def _check_credentials(calls: Calls) -> Iterator[Finding]:
    environ = calls.app.environ
    try:
        credentials = calls.credentials = find_credentials(environ, PlatformValues())
    except SettingsError as error:
        calls.stop = "there are no keys to sign with"
        yield _explain_no_keys(error, calls.app)
        return
    pair = next(pair for pair in KEY_NAMES if all(environ.get(name, "").strip() for name in pair))
    kind = "temporary ones, with a security token," if credentials.token else "permanent ones,"
    yield Finding("credentials", Verdict.OK, f"{kind} from {' and '.join(pair)}")
    names = [*pair, TOKEN_NAME] if credentials.token else pair
    if stray := [name for name in names if _STRAY.search(environ[name])]:
        found = f"{', '.join(stray)}: a space, a line end, a quotation mark or a foreign letter in it"
        yield Finding("credentials", Verdict.WARNING, found, "set it again, to the key and nothing else")


def _explain_no_keys(error: SettingsError, app: App) -> Finding:
    names = " and ".join(KEY_NAMES[0])
    found = error.mistakes[0].found
    if app.settings.secret_id and not any(app.environ.get(name) for pair in KEY_NAMES for name in pair):
        found = "in the secret that CBR_SYNC_SECRET_ID names, which the Lambda extension alone can read"
        return Finding(
            "credentials", Verdict.WARNING, found, f"set {names} to its keys, to have them examined"
        )
    remedy = f"set {names}; on FunctionGraph, an agency hands them over"
    return Finding("credentials", Verdict.FAILED, found, remedy, of_settings=True)


def _check_endpoint(calls: Calls) -> Iterator[Finding]:
    url, clock = find_cbr_endpoint(calls.app.settings), calls.app.retry.clock
    begun = clock()
    try:
        answer = calls.unsigned(url)
    except ApiError as error:
        calls.stop = calls.stop or "the endpoint cannot be reached"
        yield Finding("endpoint", Verdict.FAILED, error.message, find_network_remedy(error))
        return
    trust = "with a certificate that is trusted" if url.startswith("https:") else "on loopback, without TLS"
    yield Finding("endpoint", Verdict.OK, f"{url} answers in {1000 * (clock() - begun):.0f} ms, {trust}")
    yield _check_clock(calls, answer.headers.get("Date", ""))


def _check_clock(calls: Calls, date: str) -> Finding:
    try:
        theirs = parsedate_to_datetime(date)
    except ValueError:
        found = "cannot be told: the endpoint's answer bears no date"
        return Finding("clock", Verdict.WARNING, found, "compare it with a time server: 15 minutes matter")
    skew = calls.app.now() - (theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC))
    side = "ahead of" if skew > timedelta() else "behind"
    found = f"{abs(skew).total_seconds():.0f} s {side} the endpoint's"
    if abs(skew) <= _SMALL_SKEW:
        return Finding("clock", Verdict.OK, found)
    remedy = "have it set by a time server: signatures that are over 15 minutes off are refused"
    if abs(skew) <= _MAX_SKEW:
        return Finding("clock", Verdict.WARNING, found, remedy)
    calls.stop = calls.stop or "with such a clock every signature is refused"
    return Finding("clock", Verdict.FAILED, found, remedy)


def _check_project(calls: Calls) -> Finding:
    settings = calls.app.settings
    calls.project_id = settings.project_id or ""
    if calls.project_id:
        return Finding("project", Verdict.OK, f"{calls.project_id}, as it is set")
    remedy = (
        "set CBR_SYNC_PROJECT_ID (the console shows it under My Credentials); FunctionGraph knows its own"
    )
    if not settings.region:
        found = "not set, and no CBR_SYNC_REGION to find it by"
        return Finding("project", Verdict.FAILED, found, remedy, of_settings=True)
    if calls.stop:
        return Finding("project", Verdict.SKIPPED, calls.stop)
    region, timeout = settings.region, calls.timeout_seconds
    try:
        calls.project_id = calls.signed(
            lambda client: find_project_id(
                client, find_iam_endpoint(settings), region, timeout_seconds=timeout
            )
        )
    except ApiError as error:
        if error.code != "CbrSync.ProjectUnknown" and error.http_status != HTTPStatus.FORBIDDEN:
            remedy = find_remedy(error, "")
        return Finding("project", Verdict.FAILED, str(error), remedy)
    return Finding("project", Verdict.OK, f"{calls.project_id}, which IAM names for {settings.region}")


class _Permission(NamedTuple):
    """A call that cbr-sync makes, the permission that it needs, and what it is to lack that."""

    call: str
    permission: str
    ask: Callable[[Cbr], object]
    lacking: Verdict
    without: str
    beside: str = ""


def _listing_permission(calls: Calls, hybrid: dict[str, Vault]) -> _Permission:
    """The right to list vaults; those found are put into ``hybrid``."""

    def ask(cbr: Cbr) -> None:
        hybrid.update({vault.id: vault for vault in cbr.list_hybrid_vaults(object_type=None, name=None)})

    lacking = Verdict.FAILED if HYBRID in calls.app.settings.vaults else Verdict.WARNING
    return _Permission(
        "ListVault",
        "cbr:vaults:list",
        ask,
        lacking,
        "no report is made, and only events that name vaults are served",
    )


def _list_permissions(calls: Calls) -> Iterator[_Permission]:
    """The other calls; what the settings do not ask for is no failure to lack."""
    now, follows = calls.app.now(), calls.app.settings.wait_seconds > 0
    yield _Permission(
        "ListOpLogs",
        "cbr:tasks:list",
        lambda cbr: next(cbr.list_sync_logs(since=now), None),
        Verdict.WARNING,
        "no report is made, and an event that is delivered twice may start two syncs",
    )
    yield _Permission(
        "ShowOpLog",
        "cbr:tasks:get",
        lambda cbr: cbr.show_op_log(str(uuid.uuid4())),
        Verdict.FAILED if follows else Verdict.WARNING,
        "no sync can be followed to its end (CBR_SYNC_WAIT_SECONDS)",
    )
    nobody = SyncParam(vault_id=str(uuid.uuid4()), auto_trigger=False)
    yield _Permission(
        "ImportCheckpoint",
        "cbr:vaults:sync",
        partial(Cbr.import_checkpoint, param=nobody),
        Verdict.FAILED,
        "no sync can be started",
        "asked for a vault that does not exist, so nothing was changed",
    )


def _check_permission(calls: Calls, right: _Permission) -> Finding:
    subject = f"{right.call} ({right.permission})"
    if calls.kept_from:
        return Finding(subject, Verdict.SKIPPED, calls.kept_from)
    try:
        calls.cbr(right.ask)
    except ApiError as error:
        if _is_lacking(error):
            found = f"{error}; without it, {right.without}"
            return Finding(subject, right.lacking, found, find_remedy(error, right.permission))
        if not _is_service_error(error):
            return Finding(subject, Verdict.FAILED, str(error), find_remedy(error, right.permission))
    return Finding(subject, Verdict.OK, "; ".join(filter(None, ("allowed", right.beside))))


def _is_lacking(error: ApiError) -> bool:
    """Whether it is the permission that is missing; there are other reasons to forbid something."""
    return error.http_status == HTTPStatus.FORBIDDEN and find_advice(error) is None


def _is_service_error(error: ApiError) -> bool:
    """Whether it is CBR's own no to what was asked, which comes after the question who may ask."""
    own = error.code.startswith("BackupService.")
    return (
        own
        and find_advice(error) is None
        and not isinstance(error, (CredentialsRefusedError, RetryableError))
    )


def _check_vaults(calls: Calls, hybrid: Mapping[str, Vault]) -> Iterator[Finding]:
    """How many there are, and whether those that are named can be synced."""
    settings = calls.app.settings
    yield _count_vaults(hybrid, wanted=HYBRID in settings.vaults)
    ids = [one for one in dict.fromkeys([*settings.vaults, *settings.allowed_vaults]) if one != HYBRID]
    well = [vault_id for vault_id in ids if vault_id in hybrid and hybrid[vault_id].available]
    if len(ids) > _LINES:
        yield Finding("vaults", Verdict.OK, f"{len(well)} of {len(ids)} named are hybrid and available")
    else:
        for vault_id in well:
            yield Finding(f"vault {vault_id}", Verdict.OK, f"{hybrid[vault_id].name}, hybrid and available")
    for number, vault_id in enumerate(one for one in ids if one not in well):
        yield _explain_vault(calls, vault_id, hybrid.get(vault_id), look=number < _LINES)


def _count_vaults(hybrid: Mapping[str, Vault], *, wanted: bool) -> Finding:
    if not hybrid:
        remedy = "see that CBR_SYNC_REGION and CBR_SYNC_PROJECT_ID are those of the vaults"
        return Finding("vaults", Verdict.WARNING, "there is no hybrid vault in this project", remedy)
    available = sum(vault.available for vault in hybrid.values())
    found = f"{len(hybrid)} hybrid ones, {available} of them available"
    if wanted and available < len(hybrid):
        return Finding("vaults", Verdict.WARNING, found, "the others are skipped; the console shows why")
    return Finding("vaults", Verdict.OK, found)


def _explain_vault(calls: Calls, vault_id: str, vault: Vault | None, *, look: bool) -> Finding:
    """A vault that is named and cannot be synced; ``look`` for it among the public ones."""
    subject = f"vault {vault_id}"
    if vault:
        found = f"{vault.name} is {vault.billing.status}, not available: BackupService.6112 would follow"
        return Finding(subject, Verdict.WARNING, found, "wait until it is available; the console shows why")
    found = "no hybrid vault: BackupService.7300 or BackupService.6105 would follow"
    with contextlib.suppress(ApiError):
        if look:
            found = _explain_not_hybrid(_find_public_vault(calls, vault_id))
    remedy = "name a hybrid vault of this project in its place in CBR_SYNC_VAULTS or CBR_SYNC_ALLOWED_VAULTS"
    return Finding(subject, Verdict.FAILED, found, remedy)


def _explain_not_hybrid(public: Vault | None) -> str:
    if public:
        return f"{public.name} is a public vault, not hybrid: BackupService.7300 would follow"
    return "there is no such vault: BackupService.6105 would follow"


class _Vaults(BaseModel):
    vaults: list[Vault]


def _find_public_vault(calls: Calls, vault_id: str) -> Vault | None:
    """The public vault of this id. ListVault tells it too; ShowVault would need a permission more."""
    url = f"{find_cbr_endpoint(calls.app.settings)}/v3/{calls.project_id}/vaults"
    vaults = calls.get(_Vaults, f"{url}?cloud_type=public&id={vault_id}&limit={PAGE}").vaults
    return next((vault for vault in vaults if vault.id == vault_id), None)
