"""Whether cbr-sync will work as it is set up here: each thing it needs, and what to do where it is not well.

Nothing is changed: what is asked only reads, but for one sync, asked of a vault that does not exist.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import uuid
from dataclasses import dataclass
from datetime import UTC, timedelta
from difflib import get_close_matches
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from urllib.parse import quote, urlsplit

import httpx
from pydantic import BaseModel

from cbr_sync.api import SignedClient
from cbr_sync.app import App, Keys, Seams
from cbr_sync.cbr import PAGE, Cbr, Vault
from cbr_sync.errors import ApiError, CredentialsRefused, Retryable, SettingsError
from cbr_sync.iam import find_project_id
from cbr_sync.models import SyncParam
from cbr_sync.settings import AWS_KEY_NAMES, HYBRID, KEY_NAMES, Settings
from cbr_sync.sinks import make_logger
from cbr_sync.sqs import sqs_client
from cbr_sync.transport import new_request, send

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from cbr_sync.models import Credentials

T = TypeVar("T")
AnswerT = TypeVar("AnswerT", bound=BaseModel)

# Source: API Request Signing Guide: a signature whose date is off by more is refused.
_MAX_SKEW, _SMALL_SKEW = timedelta(minutes=15), timedelta(minutes=1)
_PATIENCE_SECONDS = 30.0
_LINES = 20
_SECRET_LENGTH = 8  # a shorter word of a value would be masked inside of others
_THIRD_KEY = "HUAWEICLOUD_SDK_SECURITY_TOKEN"  # beside temporary keys
_NAME = re.compile(r"[A-Z0-9]+(?:_[A-Z0-9]+)+")
_STRAY = re.compile(r"""[^\x21-\x7e]|["'<>]""")
_SECRETS = (
    *(name for pair in KEY_NAMES for name in pair),
    *(_THIRD_KEY, *AWS_KEY_NAMES, "AWS_SESSION_TOKEN", "CBR_SYNC_WEBHOOK_SECRET", "CBR_SYNC_PING_URL"),
)


class Verdict(StrEnum):
    """How it is with one thing; ``skipped`` is what another finding kept from being looked at."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


class Finding(NamedTuple):
    """One thing looked at: what was found, and what to do where it is not well.

    ``of_settings`` tells that it is the settings that are wrong or missing.
    """

    subject: str
    verdict: Verdict
    found: str
    remedy: str = ""
    of_settings: bool = False


def examine(environ: Mapping[str, str], seams: Seams | None = None) -> Iterator[Finding]:
    """The findings, each as soon as it is known; none shows a key, a token or a secret.

    ``environ`` is what the function's environment would be. What a platform hands over beside it (an agency's
    keys, what the secrets extension reads) is not known here.
    """
    values = [environ.get(name, "").strip() for name in _SECRETS]
    words = [word for value in values for word in value.split() if len(word) >= _SECRET_LENGTH]
    secrets = {secret for secret in [*values, *words] if secret}
    for finding in _findings(environ, seams or Seams()):
        yield finding._replace(found=_masked(finding.found, secrets))


def _masked(text: str, secrets: Iterable[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "****")
    return text


def _findings(environ: Mapping[str, str], seams: Seams) -> Iterator[Finding]:
    settings, mistakes = _load(environ)
    yield from map(_mistake, mistakes)
    if settings is None:
        yield Finding("everything else", Verdict.SKIPPED, "there is nobody to ask with such settings")
        return
    if not mistakes:
        yield Finding("settings", Verdict.OK, f"{len(settings.model_fields_set)} set, and no mistake in them")
    yield from _choices(settings)
    try:
        app = App(settings, environ, make_logger(environ), seams)
    except SettingsError as error:
        yield from map(_mistake, error.mistakes)
        return
    with contextlib.closing(app):
        calls = _Calls(app)
        yield from _examine_cbr(calls)
        yield from _examine_sinks(calls)


def _load(environ: Mapping[str, str]) -> tuple[Settings | None, tuple[str, ...]]:
    """The settings less those that are wrong, None where too little is left; and all mistakes.

    Whether there are keys and a project is looked at later: a platform may hand them over.
    """
    try:
        return Settings.load(environ, credentials_given=True, project_id_given=True), ()
    except SettingsError as error:
        mistakes = error.mistakes
    # A mistake names every setting that has to do with it; of an unknown one, it names all there are.
    wrong = {name for line in mistakes for name in _NAME.findall(line.partition("; expected one of")[0])}
    left = {name: value for name, value in environ.items() if name not in wrong}
    try:
        return Settings.load(left, credentials_given=True, project_id_given=True), mistakes
    except SettingsError:
        return None, _all_mistakes(environ)


def _all_mistakes(environ: Mapping[str, str]) -> tuple[str, ...]:
    try:
        Settings.load(environ)
    except SettingsError as error:
        return error.mistakes
    return ()


def _mistake(line: str) -> Finding:
    name, _, rest = line.partition(": ")
    was, separator, expected = rest.partition(", expected ")
    if separator:
        return Finding(name, Verdict.FAILED, was, f"set it to {expected}", of_settings=True)
    was, _, remedy = rest.partition("; ")
    if was == "unknown key":
        known = [field.alias or "" for field in Settings.model_fields.values()]
        close = get_close_matches(name, known, n=1, cutoff=0.8)
        remedy = f"did you mean {close[0]}?" if close else "take it out: no setting has this name"
    if name in AWS_KEY_NAMES:
        remedy += "; Lambda sets it, elsewhere `aws configure export-credentials --format env` tells it"
    return Finding(name, Verdict.FAILED, was, remedy, of_settings=True)


def _choices(settings: Settings) -> Iterator[Finding]:
    """What is allowed, and worth a word all the same."""
    if not settings.look_first:
        found = "off: an event that is delivered twice may start two syncs"
        yield Finding("CBR_SYNC_LOOK_FIRST", Verdict.WARNING, found, "take it out, or set it to true")
    if settings.webhook_auth == "platform":
        found = "taken without a signature: whoever reaches the function may start syncs"
        remedy = "be sure that the gateway authenticates, or take out CBR_SYNC_WEBHOOK_AUTH"
        yield Finding("webhooks", Verdict.WARNING, found, remedy)
    elif settings.webhook_secrets:
        yield Finding("webhooks", Verdict.OK, f"checked with {len(settings.webhook_secrets)} secret(s)")
    elif settings.secret_id:
        found = "refused, unless what CBR_SYNC_SECRET_ID names holds a webhook_secret"
        yield Finding("webhooks", Verdict.OK, found)
    else:
        yield Finding("webhooks", Verdict.OK, "all of them are refused: no CBR_SYNC_WEBHOOK_SECRET is set")


@dataclass
class _Calls:
    """The ways to ask; ``stop`` says why no signed request is sent, once there is a reason."""

    app: App
    credentials: Credentials | None = None
    project_id: str = ""
    stop: str = ""

    @property
    def kept_from(self) -> str:
        """Why nothing can be asked in the project; empty where it can."""
        return self.stop or ("" if self.project_id else "the project is not known")

    def timeout_seconds(self) -> float:
        """How long one request may wait."""
        return self.app.settings.request_timeout_seconds

    def unsigned(self, origin: str) -> httpx.Response:
        """What answers at a server's root, whatever it says."""
        request = new_request("GET", f"{origin}/", {})
        return send(self.app.http, request, auth=None, timeout_seconds=self.timeout_seconds())

    def signed(self, attempt: Callable[[SignedClient], T]) -> T:
        """What a signed call gives; a client for each, so that one's 403 keeps no other from being sent.

        Raises:
            ApiError: and its kinds; after refused keys ``stop`` is set.
        """
        if self.credentials is None:
            raise ApiError("CbrSync.NotSendable", self.stop, sent=False)
        client = SignedClient(self.app.http, self.credentials, now=self.app.now)
        try:
            return self.patiently(lambda: attempt(client))
        except CredentialsRefused as refusal:
            if refusal.http_status != HTTPStatus.FORBIDDEN:
                self.stop = "the keys are refused, and more than five refusals in a row lock them"
            raise

    def get(self, answer: type[AnswerT], url: str) -> AnswerT:
        """What the project's API answers, read as this model; raises as ``signed`` does."""
        return self.signed(
            lambda client: client.call(
                answer, "GET", url, project_id=self.project_id, timeout_seconds=self.timeout_seconds
            )
        )

    def cbr(self, ask: Callable[[Cbr], T]) -> T:
        """What CBR gives; raises as ``signed`` does."""
        endpoint = self.app.settings.cbr_endpoint
        return self.signed(lambda client: ask(Cbr(client, endpoint, self.project_id, self.timeout_seconds)))

    def patiently(self, attempt: Callable[[], T]) -> T:
        """What the first successful attempt gives; passing trouble is waited out, but not for long."""
        retry = self.app.retry
        return retry.call(attempt, until=retry.clock() + _PATIENCE_SECONDS, retry_on=Retryable)


def _examine_cbr(calls: _Calls) -> Iterator[Finding]:
    """From the keys to the vaults, in the order in which one needs the other."""
    yield from _keys(calls)
    yield from _endpoint(calls)
    yield _project(calls)
    hybrid: dict[str, Vault] = {}
    listed = _permission(calls, _listing(calls, hybrid))
    yield listed
    for right in _rights(calls):
        yield _permission(calls, right)
    if listed.verdict is Verdict.OK:
        yield from _vaults(calls, hybrid)
    else:
        yield Finding("vaults", Verdict.SKIPPED, calls.kept_from or "they cannot be listed")


def _keys(calls: _Calls) -> Iterator[Finding]:
    environ = calls.app.environ
    try:
        credentials = calls.credentials = calls.app.credentials(Keys())
    except SettingsError as error:
        calls.stop = "there are no keys to sign with"
        yield _no_keys(error, calls.app)
        return
    pair = next(pair for pair in KEY_NAMES if all(environ.get(name, "").strip() for name in pair))
    kind = "temporary ones, with a security token," if credentials.token else "permanent ones,"
    yield Finding("credentials", Verdict.OK, f"{kind} from {' and '.join(pair)}")
    names = [*pair, _THIRD_KEY] if credentials.token else pair
    if stray := [name for name in names if _STRAY.search(environ[name])]:
        found = f"{', '.join(stray)}: a space, a line end, a quotation mark or a foreign letter in it"
        yield Finding("credentials", Verdict.WARNING, found, "set it again, to the key and nothing else")


def _no_keys(error: SettingsError, app: App) -> Finding:
    names = " and ".join(KEY_NAMES[0])
    found = error.mistakes[0].rpartition(": ")[2].partition("; ")[0]
    if app.settings.secret_id and not any(app.environ.get(name) for pair in KEY_NAMES for name in pair):
        found = "in the secret that CBR_SYNC_SECRET_ID names, which the Lambda extension alone can read"
        return Finding(
            "credentials", Verdict.WARNING, found, f"set {names} to its keys, to have them examined"
        )
    remedy = f"set {names}; on FunctionGraph, an agency hands them over"
    return Finding("credentials", Verdict.FAILED, found, remedy, of_settings=True)


def _endpoint(calls: _Calls) -> Iterator[Finding]:
    url, clock = calls.app.settings.cbr_endpoint, calls.app.retry.clock
    begun = clock()
    try:
        answer = calls.unsigned(url)
    except ApiError as error:
        calls.stop = calls.stop or "the endpoint cannot be reached"
        yield Finding("endpoint", Verdict.FAILED, error.message, _network_remedy(error))
        return
    trust = "with a certificate that is trusted" if url.startswith("https:") else "on loopback, without TLS"
    yield Finding("endpoint", Verdict.OK, f"{url} answers in {1000 * (clock() - begun):.0f} ms, {trust}")
    yield _clock(calls, answer.headers.get("Date", ""))


def _clock(calls: _Calls, date: str) -> Finding:
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


def _project(calls: _Calls) -> Finding:
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
            lambda client: find_project_id(client, settings.iam_url, region, timeout_seconds=timeout)
        )
    except ApiError as error:
        if error.code != "CbrSync.ProjectUnknown" and error.http_status != HTTPStatus.FORBIDDEN:
            remedy = _remedy(error, "")
        return Finding("project", Verdict.FAILED, str(error), remedy)
    return Finding("project", Verdict.OK, f"{calls.project_id}, which IAM names for {settings.region}")


class _Right(NamedTuple):
    """A call that cbr-sync makes, the permission that it needs, and what it is to lack that."""

    call: str
    permission: str
    ask: Callable[[Cbr], object]
    lacking: Verdict
    without: str
    beside: str = ""


def _listing(calls: _Calls, hybrid: dict[str, Vault]) -> _Right:
    """The right to list vaults; those found are put into ``hybrid``."""

    def ask(cbr: Cbr) -> None:
        hybrid.update({vault.id: vault for vault in cbr.list_hybrid_vaults(object_type=None, name=None)})

    lacking = Verdict.FAILED if HYBRID in calls.app.settings.vaults else Verdict.WARNING
    return _Right(
        "ListVault",
        "cbr:vaults:list",
        ask,
        lacking,
        "no report is made, and only events that name vaults are served",
    )


def _rights(calls: _Calls) -> Iterator[_Right]:
    """The other calls; what the settings do not ask for is no failure to lack."""
    now, follows = calls.app.now(), calls.app.settings.wait_seconds > 0
    yield _Right(
        "ListOpLogs",
        "cbr:tasks:list",
        lambda cbr: next(cbr.list_sync_logs(since=now), None),
        Verdict.WARNING,
        "no report is made, and an event that is delivered twice may start two syncs",
    )
    yield _Right(
        "ShowOpLog",
        "cbr:tasks:get",
        lambda cbr: cbr.show_op_log(str(uuid.uuid4())),
        Verdict.FAILED if follows else Verdict.WARNING,
        "no sync can be followed to its end (CBR_SYNC_WAIT_SECONDS)",
    )
    nobody = SyncParam(vault_id=str(uuid.uuid4()), auto_trigger=False)
    yield _Right(
        "ImportCheckpoint",
        "cbr:vaults:sync",
        partial(Cbr.import_checkpoint, param=nobody),
        Verdict.FAILED,
        "no sync can be started",
        "asked for a vault that does not exist, so nothing was changed",
    )


def _permission(calls: _Calls, right: _Right) -> Finding:
    subject = f"{right.call} ({right.permission})"
    if calls.kept_from:
        return Finding(subject, Verdict.SKIPPED, calls.kept_from)
    try:
        calls.cbr(right.ask)
    except ApiError as error:
        if _is_lacking(error):
            found = f"{error}; without it, {right.without}"
            return Finding(subject, right.lacking, found, _remedy(error, right.permission))
        if not _spoke_the_service(error):
            return Finding(subject, Verdict.FAILED, str(error), _remedy(error, right.permission))
    return Finding(subject, Verdict.OK, "; ".join(filter(None, ("allowed", right.beside))))


def _is_lacking(error: ApiError) -> bool:
    """Whether it is the permission that is missing; there are other reasons to forbid something."""
    return error.http_status == HTTPStatus.FORBIDDEN and _advice(error) is None


def _spoke_the_service(error: ApiError) -> bool:
    """Whether it is CBR's own no to what was asked, which comes after the question who may ask."""
    own = error.code.startswith("BackupService.")
    return own and _advice(error) is None and not isinstance(error, (CredentialsRefused, Retryable))


def _vaults(calls: _Calls, hybrid: Mapping[str, Vault]) -> Iterator[Finding]:
    """How many there are, and whether those that are named can be synced."""
    settings = calls.app.settings
    yield _all_of_them(hybrid, wanted=HYBRID in settings.vaults)
    ids = [one for one in dict.fromkeys([*settings.vaults, *settings.allowed_vaults]) if one != HYBRID]
    well = [vault_id for vault_id in ids if vault_id in hybrid and hybrid[vault_id].available]
    if len(ids) > _LINES:
        yield Finding("vaults", Verdict.OK, f"{len(well)} of {len(ids)} named are hybrid and available")
    else:
        for vault_id in well:
            yield Finding(f"vault {vault_id}", Verdict.OK, f"{hybrid[vault_id].name}, hybrid and available")
    for number, vault_id in enumerate(one for one in ids if one not in well):
        yield _bad_vault(calls, vault_id, hybrid.get(vault_id), look=number < _LINES)


def _all_of_them(hybrid: Mapping[str, Vault], *, wanted: bool) -> Finding:
    if not hybrid:
        remedy = "see that CBR_SYNC_REGION and CBR_SYNC_PROJECT_ID are those of the vaults"
        return Finding("vaults", Verdict.WARNING, "there is no hybrid vault in this project", remedy)
    available = sum(vault.available for vault in hybrid.values())
    found = f"{len(hybrid)} hybrid ones, {available} of them available"
    if wanted and available < len(hybrid):
        return Finding("vaults", Verdict.WARNING, found, "the others are skipped; the console shows why")
    return Finding("vaults", Verdict.OK, found)


def _bad_vault(calls: _Calls, vault_id: str, vault: Vault | None, *, look: bool) -> Finding:
    """A vault that is named and cannot be synced; ``look`` for it among the public ones."""
    subject = f"vault {vault_id}"
    if vault:
        found = f"{vault.name} is {vault.billing.status}, not available: BackupService.6112 would follow"
        return Finding(subject, Verdict.WARNING, found, "wait until it is available; the console shows why")
    found = "no hybrid vault: BackupService.7300 or BackupService.6105 would follow"
    with contextlib.suppress(ApiError):
        if look:
            found = _why_not_hybrid(_public_vault(calls, vault_id))
    remedy = "name a hybrid vault of this project in its place in CBR_SYNC_VAULTS or CBR_SYNC_ALLOWED_VAULTS"
    return Finding(subject, Verdict.FAILED, found, remedy)


def _why_not_hybrid(public: Vault | None) -> str:
    if public:
        return f"{public.name} is a public vault, not hybrid: BackupService.7300 would follow"
    return "there is no such vault: BackupService.6105 would follow"


class _Vaults(BaseModel):
    vaults: list[Vault]


def _public_vault(calls: _Calls, vault_id: str) -> Vault | None:
    """The public vault of this id. ListVault tells it too; ShowVault would need a permission more."""
    url = f"{calls.app.settings.cbr_endpoint}/v3/{calls.project_id}/vaults"
    vaults = calls.get(_Vaults, f"{url}?cloud_type=public&id={vault_id}&limit={PAGE}").vaults
    return next((vault for vault in vaults if vault.id == vault_id), None)


def _examine_sinks(calls: _Calls) -> Iterator[Finding]:
    """A line for each sink; nothing is sent to any of them."""
    settings = calls.app.settings
    yield Finding("sink log", Verdict.OK, "always on")
    if settings.sqs_queue_url:
        yield _queue(calls, settings.sqs_queue_url)
    if settings.smn_topic_urn:
        topic = quote(settings.smn_topic_urn, safe="")
        url = f"{settings.smn_url}/v2/{calls.project_id}/notifications/topics/{topic}"
        yield _there(calls, _SMN, url)
    if settings.eventgrid_channel_id:
        url = f"{settings.eventgrid_url}/v1/{calls.project_id}/channels/{settings.eventgrid_channel_id}"
        yield _there(calls, _EVENTGRID, url)
    if settings.ping_url:
        yield _ping(calls, settings.ping_url.get_secret_value())


class _Sink(NamedTuple):
    """A sink on Huawei Cloud; ``looking`` is the permission to look at it, ``sending`` that to send to it."""

    subject: str
    setting: str
    looking: str
    sending: str


# Sources: SMN API reference, ListTopicDetails; EventGrid API reference, ShowDetailOfChannel.
_SMN = _Sink("sink SMN", "CBR_SYNC_SMN_TOPIC_URN", "smn:topic:get", "smn:topic:publish")
_EVENTGRID = _Sink(
    "sink EventGrid", "CBR_SYNC_EVENTGRID_CHANNEL_ID", "eg:channels:get", "eg:channels:putEvents"
)
_MAY_NOT_LOOK = "the signature is right, the right to look is missing; whether it may send cannot be told so"


class _TopicOrChannel(BaseModel):
    provider_type: str | None = None


def _there(calls: _Calls, sink: _Sink, url: str) -> Finding:
    """Whether what a sink sends to is there."""
    if calls.kept_from:
        return Finding(sink.subject, Verdict.SKIPPED, calls.kept_from)
    try:
        provider = calls.get(_TopicOrChannel, url).provider_type
    except ApiError as error:
        return _not_there(sink, error)
    if provider == "OFFICIAL":
        found = "the channel is that of the cloud services, which takes no events of ours"
        return Finding(sink.subject, Verdict.FAILED, found, f"set {sink.setting} to a channel of your own")
    return Finding(sink.subject, Verdict.OK, "it is there; nothing was sent")


def _not_there(sink: _Sink, error: ApiError) -> Finding:
    if error.http_status == HTTPStatus.FORBIDDEN:
        remedy = f"see that the keys have {sink.sending}; {sink.looking} lets this look further"
        return Finding(sink.subject, Verdict.WARNING, f"{error}: {_MAY_NOT_LOOK}", remedy)
    if isinstance(error, (CredentialsRefused, Retryable)):
        return Finding(sink.subject, Verdict.FAILED, str(error), _remedy(error, sink.looking))
    return Finding(sink.subject, Verdict.FAILED, str(error), f"set {sink.setting} to one that is there")


def _queue(calls: _Calls, queue_url: str) -> Finding:
    app, subject = calls.app, "sink SQS"
    body = {"QueueUrl": queue_url, "AttributeNames": ["QueueArn"]}
    try:
        sqs = sqs_client(app.http, queue_url, app.environ, app.now)
        calls.patiently(lambda: sqs.call("GetQueueAttributes", body, timeout_seconds=calls.timeout_seconds()))
    except SettingsError as error:
        return _mistake(error.mistakes[0])
    except ApiError as error:
        return Finding(subject, *_queue_trouble(error))
    kind = "a FIFO queue" if queue_url.endswith(".fifo") else "a standard queue"
    return Finding(subject, Verdict.OK, f"{kind}, and it is there; nothing was sent")


def _queue_trouble(error: ApiError) -> tuple[Verdict, str, str]:
    """Source: SQS API reference, GetQueueAttributes and "Common errors"."""
    if isinstance(error, Retryable):
        return Verdict.FAILED, str(error), _network_remedy(error)
    if "AccessDenied" in error.code:
        remedy = "see that the function has sqs:SendMessage; sqs:GetQueueAttributes lets this look further"
        return Verdict.WARNING, f"{error}: {_MAY_NOT_LOOK}", remedy
    if "QueueDoesNotExist" in error.code or "NonExistentQueue" in error.code:
        return Verdict.FAILED, str(error), "set CBR_SYNC_SQS_QUEUE_URL to one that is there, and its region"
    if error.http_status == HTTPStatus.FORBIDDEN or "Signature" in error.code:
        remedy = f"set {', '.join(AWS_KEY_NAMES)} and AWS_SESSION_TOKEN anew: temporary keys expire"
        return Verdict.FAILED, str(error), remedy
    return Verdict.FAILED, str(error), "look the code up in the SQS API reference, and check the queue's URL"


def _ping(calls: _Calls, url: str) -> Finding:
    """Whether the monitor answers at its root: a request to the URL itself would be a ping."""
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    if not parts.path.strip("/"):
        return Finding("sink ping", Verdict.SKIPPED, "its host cannot be asked without pinging it")
    try:
        status = calls.unsigned(origin).status_code
    except ApiError as error:
        return Finding("sink ping", Verdict.FAILED, error.message, _network_remedy(error))
    return Finding("sink ping", Verdict.OK, f"{origin} answers (HTTP {status}); nothing was pinged")


_ADVICE = (
    (r"reach the limit", "the key is locked: wait five minutes, and stop whatever else has the wrong keys"),
    (r"APIGW?\.0307", "get new temporary keys: the token has expired, or is that of another region"),
    (r"APIGW?\.0310", "set CBR_SYNC_PROJECT_ID to a project of CBR_SYNC_REGION"),
    (
        r"APIGW?\.010[13]|CbrSync\.(Redirected|UnreadableAnswer)",
        "check CBR_SYNC_REGION and CBR_SYNC_ENDPOINT",
    ),
    (r"APIGW?\.040[124]", "let this network's addresses in: the account or the API allows others only"),
    (r"APIGW?\.080[12]", "ask the account's administrator: the service or the user is barred in this region"),
    (r"BackupService\.8600", "have the account's real name verified in the console"),
)
_NETWORK: tuple[tuple[type[Exception], str], ...] = (
    (
        ssl.SSLCertVerificationError,
        "where a proxy here opens TLS, set SSL_CERT_FILE to its authority; else check the endpoint's host",
    ),
    (ssl.SSLError, "check the endpoint's port: something else than TLS answers there"),
    (socket.gaierror, "check CBR_SYNC_REGION and the endpoint's host for a typo, and this network's DNS"),
    (httpx.ProxyError, "check HTTPS_PROXY and ALL_PROXY, and what that proxy lets through"),
    (ConnectionRefusedError, "check the endpoint's port and HTTPS_PROXY, or the firewall on the way"),
    (httpx.TimeoutException, "let this network reach it: a firewall, a route, or HTTPS_PROXY"),
)


def _remedy(error: ApiError, permission: str) -> str:
    """What to do about a no of Huawei Cloud. Source: API Request Signing Guide, "Error codes"."""
    if advice := _advice(error):
        return advice
    if error.http_status == HTTPStatus.FORBIDDEN:
        return f"grant {permission} to the user or the agency of these keys"
    if isinstance(error, CredentialsRefused):
        return "set the access key, the secret key and, with temporary ones, the security token anew"
    if isinstance(error, Retryable):
        return _network_remedy(error)
    return "look the code up in the API reference of CBR"


def _advice(error: ApiError) -> str | None:
    return next((advice for pattern, advice in _ADVICE if re.search(pattern, str(error))), None)


def _network_remedy(error: ApiError) -> str:
    causes = list(_causes(error))
    for kind, advice in _NETWORK:
        if any(isinstance(cause, kind) for cause in causes):
            return advice
    return "try again; if it stays, see whether this network reaches it, and the service's status"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
