"""Checks of keys, endpoint, clock, project, permissions and vaults: each needs those before it."""

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

from cbr_sync.cli.doctor.advice import find_advice, find_network_remedy, find_remedy
from cbr_sync.cli.doctor.finding import Finding, Verdict
from cbr_sync.credentials import PlatformValues, find_credentials
from cbr_sync.errors import ApiError, CredentialsRefusedError, RetryableError, SettingsError
from cbr_sync.huawei.cbr import PAGE, Cbr, Vault
from cbr_sync.huawei.endpoints import find_cbr_endpoint, find_iam_endpoint
from cbr_sync.huawei.iam import find_project_id
from cbr_sync.models import SyncParam
from cbr_sync.settings import HYBRID, KEY_NAMES, TOKEN_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from cbr_sync.app import App
    from cbr_sync.cli.doctor.calls import Calls

# Source: API Request Signing Guide: a signature whose date is off by more is refused.
_MAX_SKEW, _SMALL_SKEW = timedelta(minutes=15), timedelta(minutes=1)
_MAX_LINES = 20
_STRAY = re.compile(r"""[^\x21-\x7e]|["'<>]""")


def check_cbr(calls: Calls) -> Iterator[Finding]:
    """Yield the findings from the keys to the vaults; what one of them rules out is skipped."""
    yield from _check_credentials(calls)
    yield from _check_endpoint(calls)
    yield from _check_project(calls)
    hybrid = yield from _check_listing(calls)
    for permission in _list_permissions(calls):
        yield _check_permission(calls, permission)
    if hybrid is None:
        yield Finding("vaults", Verdict.SKIPPED, calls.skip_reason or "they cannot be listed")
    else:
        yield from _check_vaults(calls, hybrid)


def _check_credentials(calls: Calls) -> Iterator[Finding]:
    environ = calls.app.environ
    try:
        credentials = calls.credentials = find_credentials(environ, PlatformValues())
    except SettingsError as error:
        calls.stop_reason = "there are no keys to sign with"
        yield _explain_no_keys(error, calls.app)
        return
    pair = next(pair for pair in KEY_NAMES if all(environ.get(name, "").strip() for name in pair))
    kind = "temporary ones, with a security token," if credentials.token else "permanent ones,"
    yield Finding("credentials", Verdict.OK, f"{kind} from {' and '.join(pair)}")
    names = [*pair, TOKEN_NAME] if credentials.token else pair
    if stray := [name for name in names if _STRAY.search(environ[name])]:
        found = f"{', '.join(stray)}: a space, a line end, a quotation mark or a non-ASCII character in it"
        yield Finding("credentials", Verdict.WARNING, found, "set it again, to the key and nothing else")


def _explain_no_keys(error: SettingsError, app: App) -> Finding:
    names = " and ".join(KEY_NAMES[0])
    if app.settings.secret_id and not any(app.environ.get(name) for pair in KEY_NAMES for name in pair):
        found = "in the secret that CBR_SYNC_SECRET_ID names, which is not read here"
        return Finding(
            "credentials", Verdict.WARNING, found, f"to have its keys checked, set {names} to them"
        )
    remedy = f"set {names}; on FunctionGraph, an agency provides them"
    return Finding("credentials", Verdict.FAILED, error.mistakes[0].found, remedy, of_settings=True)


def _check_endpoint(calls: Calls) -> Iterator[Finding]:
    url, clock = find_cbr_endpoint(calls.app.settings), calls.app.clock.monotonic
    begun = clock()
    try:
        answer = calls.fetch_root(url)
    except ApiError as error:
        calls.stop_reason = calls.stop_reason or "the endpoint cannot be reached"
        yield Finding("endpoint", Verdict.FAILED, error.message, find_network_remedy(error))
        return
    trust = "with a certificate that is trusted" if url.startswith("https:") else "on loopback, without TLS"
    yield Finding("endpoint", Verdict.OK, f"{url} answers in {1000 * (clock() - begun):.0f} ms, {trust}")
    yield _check_clock(calls, answer.headers.get("Date", ""))


def _check_clock(calls: Calls, date: str) -> Finding:
    try:
        theirs = parsedate_to_datetime(date)
    except ValueError:
        found = "not known: the endpoint's answer has no date"
        return Finding("clock", Verdict.WARNING, found, "compare it with a time server: 15 minutes matter")
    skew = calls.app.clock.now() - (theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC))
    side = "ahead of" if skew > timedelta() else "behind"
    found = f"{abs(skew).total_seconds():.0f} s {side} the endpoint's"
    if abs(skew) <= _SMALL_SKEW:
        return Finding("clock", Verdict.OK, found)
    remedy = "have it set by a time server: signatures that are over 15 minutes off are refused"
    if abs(skew) <= _MAX_SKEW:
        return Finding("clock", Verdict.WARNING, found, remedy)
    calls.stop_reason = calls.stop_reason or "with such a clock every signature is refused"
    return Finding("clock", Verdict.FAILED, found, remedy)


def _check_project(calls: Calls) -> Iterator[Finding]:
    settings = calls.app.settings
    calls.project_id = settings.project_id or ""
    remedy = (
        "set CBR_SYNC_PROJECT_ID (the console shows it under My Credentials); FunctionGraph knows its own"
    )
    if calls.project_id:
        yield Finding("project", Verdict.OK, f"{calls.project_id}, as it is set")
    elif not settings.region:
        found = "not set, and no CBR_SYNC_REGION to find it by"
        yield Finding("project", Verdict.FAILED, found, remedy, of_settings=True)
    elif calls.stop_reason:
        yield Finding("project", Verdict.SKIPPED, calls.stop_reason)
    else:
        yield _find_project(calls, settings.region, remedy)


def _find_project(calls: Calls, region: str, remedy: str) -> Finding:
    endpoint, timeout = find_iam_endpoint(calls.app.settings), calls.get_timeout_seconds
    try:
        calls.project_id = calls.call_signed(
            lambda client: find_project_id(client, endpoint, region, timeout_seconds=timeout)
        )
    except ApiError as error:
        if error.code != "CbrSync.ProjectUnknown" and error.http_status != HTTPStatus.FORBIDDEN:
            remedy = find_remedy(error, "")
        return Finding("project", Verdict.FAILED, str(error), remedy)
    return Finding("project", Verdict.OK, f"{calls.project_id}, which IAM names for {region}")


class _Permission(NamedTuple):
    """A call that cbr-sync makes, with the permission that it needs.

    Attributes:
        call: The name of the call in the API reference.
        name: The permission, as in ``cbr:vaults:list``.
        attempt: Makes the call.
        verdict: How it stands where the permission is missing.
        consequence: What does not work then.
        note: What else there is to say where the call is allowed.
    """

    call: str
    name: str
    attempt: Callable[[Cbr], object]
    verdict: Verdict
    consequence: str
    note: str = ""


def _check_listing(calls: Calls) -> Generator[Finding, None, dict[str, Vault] | None]:
    """Yield whether vaults can be listed, and return the hybrid ones by their ids; None if they cannot."""
    hybrid: dict[str, Vault] = {}

    def list_vaults(cbr: Cbr) -> None:
        hybrid.update({vault.id: vault for vault in cbr.list_hybrid_vaults(object_type=None, name=None)})

    finding = _check_permission(
        calls,
        _Permission(
            "ListVault",
            "cbr:vaults:list",
            list_vaults,
            Verdict.FAILED if HYBRID in calls.app.settings.vaults else Verdict.WARNING,
            "no report is made, and only events that name vaults are served",
        ),
    )
    yield finding
    return hybrid if finding.verdict is Verdict.OK else None


def _list_permissions(calls: Calls) -> Iterator[_Permission]:
    """Yield the other calls; a permission that the settings do not need may be missing."""
    now, follows = calls.app.clock.now(), calls.app.settings.wait_seconds > 0
    yield _Permission(
        "ListOpLogs",
        "cbr:tasks:list",
        lambda cbr: next(cbr.list_sync_logs(since=now), None),
        Verdict.FAILED if follows else Verdict.WARNING,
        "no report is made, no sync is followed to its end (CBR_SYNC_WAIT_SECONDS), and an event that is "
        "delivered twice may start two syncs",
    )
    nobody = SyncParam(vault_id=str(uuid.uuid4()), auto_trigger=False)
    yield _Permission(
        "ImportCheckpoint",
        "cbr:vaults:sync",
        partial(Cbr.import_checkpoint, param=nobody),
        Verdict.FAILED,
        "no sync can be started",
        "tried with a vault that does not exist, so nothing was changed",
    )


def _check_permission(calls: Calls, permission: _Permission) -> Finding:
    subject = f"{permission.call} ({permission.name})"
    if calls.skip_reason:
        return Finding(subject, Verdict.SKIPPED, calls.skip_reason)
    try:
        calls.call_cbr(permission.attempt)
    except ApiError as error:
        remedy = find_remedy(error, permission.name)
        if _is_permission_missing(error):
            found = f"{error}; without it, {permission.consequence}"
            return Finding(subject, permission.verdict, found, remedy)
        if not _is_service_error(error):
            return Finding(subject, Verdict.FAILED, str(error), remedy)
    return Finding(subject, Verdict.OK, "; ".join(filter(None, ("allowed", permission.note))))


def _is_permission_missing(error: ApiError) -> bool:
    """Whether it is the permission that is missing; there are other reasons to forbid something."""
    return error.http_status == HTTPStatus.FORBIDDEN and find_advice(error) is None


def _is_service_error(error: ApiError) -> bool:
    """Whether CBR itself refused what was asked, which it does only after permissions were checked."""
    return (
        error.code.startswith("BackupService.")
        and find_advice(error) is None
        and not isinstance(error, (CredentialsRefusedError, RetryableError))
    )


def _check_vaults(calls: Calls, hybrid: Mapping[str, Vault]) -> Iterator[Finding]:
    """Yield how many vaults there are, and whether those that are named can be synced."""
    settings = calls.app.settings
    yield _count_vaults(hybrid, is_scope=HYBRID in settings.vaults)
    ids = [one for one in dict.fromkeys([*settings.vaults, *settings.allowed_vaults]) if one != HYBRID]
    available = [vault_id for vault_id in ids if vault_id in hybrid and hybrid[vault_id].is_available]
    if len(ids) > _MAX_LINES:
        yield Finding("vaults", Verdict.OK, f"{len(available)} of {len(ids)} named are hybrid and available")
    else:
        for vault_id in available:
            yield Finding(f"vault {vault_id}", Verdict.OK, f"{hybrid[vault_id].name}, hybrid and available")
    for number, vault_id in enumerate(one for one in ids if one not in available):
        yield _explain_vault(calls, vault_id, hybrid.get(vault_id), search=number < _MAX_LINES)


def _count_vaults(hybrid: Mapping[str, Vault], *, is_scope: bool) -> Finding:
    if not hybrid:
        remedy = "check that CBR_SYNC_REGION and CBR_SYNC_PROJECT_ID are those of the vaults"
        return Finding("vaults", Verdict.WARNING, "there is no hybrid vault in this project", remedy)
    available = sum(vault.is_available for vault in hybrid.values())
    found = f"{len(hybrid)} hybrid ones, {available} of them available"
    if is_scope and available < len(hybrid):
        return Finding("vaults", Verdict.WARNING, found, "the others are skipped; the console shows why")
    return Finding("vaults", Verdict.OK, found)


def _explain_vault(calls: Calls, vault_id: str, vault: Vault | None, *, search: bool) -> Finding:
    """Say why a vault that is named cannot be synced; *search* for it among the public ones."""
    subject = f"vault {vault_id}"
    if vault:
        found = f"{vault.name} is {vault.billing.status}, not available: BackupService.6112 would follow"
        return Finding(subject, Verdict.WARNING, found, "wait until it is available; the console shows why")
    found = "no hybrid vault: BackupService.7300 or BackupService.6105 would follow"
    with contextlib.suppress(ApiError):
        if search:
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
    """Return the public vault of this id; ListVault has it, ShowVault would need one more permission."""
    url = f"{find_cbr_endpoint(calls.app.settings)}/v3/{calls.project_id}/vaults"
    vaults = calls.fetch(_Vaults, f"{url}?cloud_type=public&id={vault_id}&limit={PAGE}").vaults
    return next((vault for vault in vaults if vault.id == vault_id), None)
