"""The settings of one instance: environment variables in, checked once, all mistakes reported together."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Annotated, Literal, Self, get_args
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretBytes,
    SecretStr,
    ValidationError,
)

from cbr_sync.errors import SettingMistake, SettingsError
from cbr_sync.models import VaultId, is_vault_id, parse_vault_id
from cbr_sync.validation import describe_value, find_rejected_values, format_key, mask_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

PREFIX = "CBR_SYNC_"
HYBRID = "hybrid"  # in CBR_SYNC_VAULTS: every hybrid vault
# The vendor's SDK's names, then those of the samples on the API page.
KEY_NAMES = (("HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK"), ("CLOUD_SDK_AK", "CLOUD_SDK_SK"))
TOKEN_NAME = "HUAWEICLOUD_SDK_SECURITY_TOKEN"  # noqa: S105 - a name # nosec B105
AWS_KEY_NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
AWS_TOKEN_NAME = "AWS_SESSION_TOKEN"  # noqa: S105 - a name # nosec B105
# The secrets among the variables of others; ours are secret by the types of their fields.
SECRET_NAMES = (*KEY_NAMES[0], TOKEN_NAME, *KEY_NAMES[1], *AWS_KEY_NAMES, AWS_TOKEN_NAME)
_PROJECT_ID_NAME, _SDK_PROJECT_ID_NAME = "CBR_SYNC_PROJECT_ID", "HUAWEICLOUD_SDK_PROJECT_ID"
_QUEUE_NAME = "CBR_SYNC_SQS_QUEUE_URL"
_DEFER_NAME = "CBR_SYNC_DEFER_TO"
_TOPIC_NAME = "CBR_SYNC_SNS_TOPIC_ARN"
_SECRET_NAME = "CBR_SYNC_SECRET_ID"  # noqa: S105 - a name # nosec B105
_AUTH_NAME = "CBR_SYNC_WEBHOOK_AUTH"
_ALLOWED_NAME = "CBR_SYNC_ALLOWED_VAULTS"
_AWS_REGION_NAMES = ("AWS_REGION", "AWS_DEFAULT_REGION")
# The endpoint of one service goes before that of all.
_SQS_ENDPOINT_NAMES = ("AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL")
_SNS_ENDPOINT_NAMES = ("AWS_ENDPOINT_URL_SNS", "AWS_ENDPOINT_URL")
_SECRET_ENDPOINT_NAMES = ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL")
_PROXY_NAMES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
_MAX_SHOWN_LENGTH = 32
_BLANKS = "blanks alone"
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_LOCALSTACK = "localhost.localstack.cloud"  # a public name of 127.0.0.1; so are those below it
_SECRET_BYTES = range(24, 65)
MIN_TOKEN_LENGTH = 32
_HOST = re.compile(r"[\w.-]+", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_IPV6 = re.compile(r"[0-9a-f:.]+")
_URL_PATH = re.compile(r"(?:/[\w.~-]+)*/?", re.ASCII)
_SINGLE_LABEL = re.compile(r"[a-z][\w-]*", re.ASCII)
_AWS_REGION = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_QUEUE_REGION = re.compile(
    r"(?:(?:.*\.)?sqs(?:-fips)?\.([a-z0-9-]+)|([a-z0-9-]+)\.queue)\."
    r"(?:(?:amazonaws|api|vpce)\.|localhost\.localstack\.cloud)"
)
# Source: LocalStack's documentation of SQS, "Queue URLs", strategy "path".
_LOCALSTACK_REGION = re.compile(r"/queue/([a-z0-9-]+)/[0-9]+/")
# Source: SNS API reference, CreateTopic: the name of a standard topic; mails and text messages need one.
_TOPIC_ARN = r"^arn:aws[a-z-]*:sns:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?:[0-9]{12}:[0-9A-Za-z_-]{1,256}$"
_STORED_ID = r"^(arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]+:secret:)?[0-9A-Za-z/_+=.@-]+$"
_KEY = re.compile(r"[\x21-\x7e]+")
# Source: FunctionGraph User Guide, "URN": package, name, and perhaps a version or an alias.
_FUNCTION_URN = re.compile(
    r"urn:fss:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?:[0-9A-Za-z]{1,64}:function"
    r":[0-9A-Za-z_-]{1,80}:[A-Za-z][0-9A-Za-z_-]{0,59}(?::[0-9A-Za-z_.!-]{1,64})?"
)


def _split_list(value: object) -> object:
    if not isinstance(value, str):
        return value
    if words := value.replace(",", " ").split():
        return words
    raise ValueError("a list without an entry")


def _parse_vault_or_hybrid(value: object) -> str:
    return HYBRID if value == HYBRID else parse_vault_id(value)


def _check_scope(vaults: tuple[str, ...]) -> tuple[str, ...]:
    if HYBRID in vaults and len(vaults) > 1:
        raise ValueError("hybrid is all of them")
    return vaults


def _is_loopback(host: str) -> bool:
    return host in _LOOPBACK


def _is_local(host: str) -> bool:
    """Whether this is how the emulators of SQS are reached: LocalStack, ElasticMQ, moto."""
    below_localstack = host == _LOCALSTACK or host.endswith(f".{_LOCALSTACK}")
    return _is_loopback(host) or below_localstack or bool(_SINGLE_LABEL.fullmatch(host))


def _split_url(text: str, *, may_be_plain: Callable[[str], bool] = _is_loopback) -> SplitResult:
    """Split a URL of https, or of http where the host may be reached in the clear."""
    url = urlsplit(text)
    host = url.hostname or ""
    has_scheme = url.scheme == "https" or (url.scheme == "http" and may_be_plain(host))
    has_host = (_IPV6 if url.netloc.startswith("[") else _HOST).fullmatch(host)
    # urlsplit takes line ends out without a word.
    if not (has_scheme and has_host and url.port != 0) or "@" in url.netloc or _CONTROL.search(text):
        raise ValueError("not a URL that is called")
    if "xn--" in host:
        from idna import decode  # noqa: PLC0415 - what httpx would do with each request

        decode(host)
    return url


def _parse_endpoint(value: object) -> str:
    url = _split_url(str(value))
    if url.path.strip("/") or url.query or url.fragment:
        raise ValueError("not an endpoint")
    return f"{url.scheme}://{url.netloc}"


def parse_queue_url(value: object) -> str:
    """Return the URL of a queue of SQS, or of an emulator that runs nearby.

    Raises:
        ValueError: It is no such URL.
    """
    url = _split_url(str(value), may_be_plain=_is_local)
    if not re.fullmatch(r"/(?:[\w.-]+/)*[\w-]+(?:\.fifo)?", url.path) or url.query or url.fragment:
        raise ValueError("not a queue URL")
    return url.geturl()


def is_function_urn(text: str) -> bool:
    """Return whether this is the URN of a function of FunctionGraph rather than the URL of a queue."""
    return text.startswith("urn:")


def _parse_destination(value: object) -> str:
    text = str(value)
    if not is_function_urn(text):
        return parse_queue_url(text)
    if not _FUNCTION_URN.fullmatch(text):
        raise ValueError("not the URN of a function")
    return text


def _is_aws_endpoint(text: str) -> bool:
    try:
        url = _split_url(text, may_be_plain=_is_local)
    except ValueError:
        return False
    return not (url.query or url.fragment) and _URL_PATH.fullmatch(url.path) is not None


def parse_ping_url(value: object) -> str:
    """Return the URL of a check, without a slash at its end.

    Raises:
        ValueError: It is no URL that is pinged; the error does not show it.
    """
    url = _split_url(str(value))
    if not _URL_PATH.fullmatch(url.path) or url.query or url.fragment:
        raise ValueError("not a ping URL")
    return url.geturl().rstrip("/")


def parse_webhook_secret(text: str) -> bytes:
    """Return the key inside a ``whsec_...`` secret: base64 of 24 to 64 bytes.

    Source: Standard Webhooks 1.0.0, section "Signature scheme".

    Raises:
        ValueError: The text is not such a secret; the error does not show it.
    """
    prefix, _, encoded = text.partition("whsec_")
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        key = b""
    if prefix or len(key) not in _SECRET_BYTES:
        raise ValueError("not a webhook secret")
    return key


def parse_webhook_token(text: str) -> str:
    """Return a token that senders show which cannot sign.

    Raises:
        ValueError: It is too short, or no header can hold it; the error does not show it.
    """
    if len(text) < MIN_TOKEN_LENGTH or not _KEY.fullmatch(text):
        raise ValueError("not a webhook token")
    return text


def _parse_webhook_tokens(value: object) -> tuple[str, ...]:
    return tuple(parse_webhook_token(word) for word in str(value).split())


def _parse_webhook_secrets(value: object) -> tuple[bytes, ...]:
    return tuple(parse_webhook_secret(word) for word in str(value).split())


Endpoint = Annotated[str, BeforeValidator(_parse_endpoint)]
VaultIds = Annotated[tuple[VaultId, ...], BeforeValidator(_split_list)]
Scope = Annotated[
    tuple[Annotated[str, BeforeValidator(_parse_vault_or_hybrid)], ...],
    BeforeValidator(_split_list),
    AfterValidator(_check_scope),
]
_ENDPOINT = "an https URL of scheme, host and port (http on loopback only)"
_VAULT_IDS = "vault ids (UUIDs) separated by commas"
_PLAIN_HOSTS = f"http only to loopback, to hosts of one label and to {_LOCALSTACK}"
_QUEUE_URL = (
    f"the URL of a queue, as in https://sqs.eu-west-1.amazonaws.com/123456789012/outcomes ({_PLAIN_HOSTS})"
)

_DESTINATION = (
    "the URL of the standard queue that triggers this function, or the URN of a second function, as in "
    "urn:fss:cn-north-4:<project id>:function:default:cbr-sync-later"
)


class Settings(BaseModel):
    """What the operator decided.

    Each field's alias is its variable, its description says what that may hold, and its type whether it is
    secret: the value of a ``SecretStr`` or ``SecretBytes`` is shown nowhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    region: str | None = Field(
        default=None,
        alias="CBR_SYNC_REGION",
        pattern=r"^[a-z]{2}-[a-z]+-[0-9]{1,3}$",
        description="a region id such as cn-north-4 or eu-west-101",
    )
    endpoint: Endpoint | None = Field(default=None, alias="CBR_SYNC_ENDPOINT", description=_ENDPOINT)
    iam_endpoint: Endpoint | None = Field(default=None, alias="CBR_SYNC_IAM_ENDPOINT", description=_ENDPOINT)
    project_id: str | None = Field(
        default=None,
        alias="CBR_SYNC_PROJECT_ID",
        pattern=r"^[0-9A-Za-z_-]{1,64}$",
        description="a project id (32 hexadecimal digits, shown under My Credentials in the console)",
    )
    secret_id: str | None = Field(
        default=None,
        alias=_SECRET_NAME,
        pattern=_STORED_ID,
        description="the name or ARN of a secret in AWS Secrets Manager",
    )
    vaults: Scope = Field(default=(), alias="CBR_SYNC_VAULTS", description=f"{_VAULT_IDS}, or hybrid")
    allowed_vaults: VaultIds = Field(default=(), alias=_ALLOWED_NAME, description=_VAULT_IDS)
    max_attempts: int = Field(
        default=5,
        alias="CBR_SYNC_MAX_ATTEMPTS",
        ge=1,
        le=20,
        description="a whole number from 1 to 20",
    )
    wait_seconds: float = Field(
        default=0,
        alias="CBR_SYNC_WAIT_SECONDS",
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="seconds from 0 to 86400",
    )
    defer_to: Annotated[str, BeforeValidator(_parse_destination)] | None = Field(
        default=None, alias="CBR_SYNC_DEFER_TO", description=_DESTINATION
    )
    functiongraph_endpoint: Endpoint | None = Field(
        default=None, alias="CBR_SYNC_FUNCTIONGRAPH_ENDPOINT", description=_ENDPOINT
    )
    look_first: bool = Field(default=True, alias="CBR_SYNC_LOOK_FIRST", description="true or false")
    request_timeout_seconds: float = Field(
        default=10,
        alias="CBR_SYNC_REQUEST_TIMEOUT_SECONDS",
        ge=0.1,
        le=120,
        allow_inf_nan=False,
        description="seconds from 0.1 to 120",
    )
    concurrency: int = Field(
        default=16,
        alias="CBR_SYNC_CONCURRENCY",
        ge=1,
        le=100,
        description="a whole number from 1 to 100",
    )
    webhook_secrets: Annotated[tuple[SecretBytes, ...], BeforeValidator(_parse_webhook_secrets)] = Field(
        default=(),
        alias="CBR_SYNC_WEBHOOK_SECRET",
        description="secrets separated by spaces, each whsec_ and base64 of 24 to 64 bytes",
    )
    webhook_tokens: Annotated[tuple[SecretStr, ...], BeforeValidator(_parse_webhook_tokens)] = Field(
        default=(),
        alias="CBR_SYNC_WEBHOOK_TOKEN",
        description="tokens separated by spaces, each at least 32 printable characters",
    )
    webhook_auth: Literal["signature", "platform"] = Field(
        default="signature", alias=_AUTH_NAME, description="signature or platform"
    )
    webhook_vaults: Scope = Field(
        default=(), alias="CBR_SYNC_WEBHOOK_VAULTS", description=f"{_VAULT_IDS}, or hybrid"
    )
    notification_vaults: Scope = Field(
        default=(), alias="CBR_SYNC_NOTIFICATION_VAULTS", description=f"{_VAULT_IDS}, or hybrid"
    )
    sqs_queue_url: Annotated[str, BeforeValidator(parse_queue_url)] | None = Field(
        default=None, alias="CBR_SYNC_SQS_QUEUE_URL", description=_QUEUE_URL
    )
    smn_topic_urn: str | None = Field(
        default=None,
        alias="CBR_SYNC_SMN_TOPIC_URN",
        pattern=r"^urn:smn:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?:[0-9A-Za-z]{1,64}:[0-9A-Za-z_-]{1,255}$",
        description="the URN of a topic, as in urn:smn:cn-north-4:<project id>:backup",
    )
    smn_endpoint: Endpoint | None = Field(default=None, alias="CBR_SYNC_SMN_ENDPOINT", description=_ENDPOINT)
    sns_topic_arn: str | None = Field(
        default=None,
        alias=_TOPIC_NAME,
        pattern=_TOPIC_ARN,
        description="the ARN of a standard topic, as in arn:aws:sns:eu-west-1:123456789012:backup",
    )
    notify: Literal["problems", "all"] = Field(
        default="problems", alias="CBR_SYNC_NOTIFY", description="problems or all"
    )
    language: Literal["en", "zh"] = Field(
        default="en", alias="CBR_SYNC_LANGUAGE", description="en (English) or zh (Chinese)"
    )
    eventgrid_channel_id: str | None = Field(
        default=None,
        alias="CBR_SYNC_EVENTGRID_CHANNEL_ID",
        pattern=r"^[0-9A-Za-z-]{1,64}$",
        description="the id of a custom channel",
    )
    eventgrid_endpoint: Endpoint | None = Field(
        default=None, alias="CBR_SYNC_EVENTGRID_ENDPOINT", description=_ENDPOINT
    )
    # Source: EventGrid API reference, CreateSource: the names that events of a custom channel come under.
    eventgrid_source: str | None = Field(
        default=None,
        alias="CBR_SYNC_EVENTGRID_SOURCE",
        pattern=r"^[0-9A-Za-z/][0-9A-Za-z/._:-]{0,127}$",
        description="the name of the channel's event source",
    )
    # Whoever knows it may ping, so it is a secret.
    ping_url: Annotated[SecretStr, BeforeValidator(parse_ping_url)] | None = Field(
        default=None,
        alias="CBR_SYNC_PING_URL",
        description="an https URL without query, as in https://hc-ping.com/<uuid>",
    )

    @classmethod
    def load(
        cls,
        environ: Mapping[str, str],
        *,
        credentials_given: bool = False,
        project_id_given: bool = False,
        defers_to: Literal["queue", "function"] | None = None,
    ) -> Self:
        """Read the settings from these variables; an empty one is as good as unset.

        Args:
            environ: The function's environment; what has nothing to do with cbr-sync may stand there too.
            credentials_given: Whether the platform hands over keys.
            project_id_given: Whether the platform hands over the project id.
            defers_to: What the platform can hand on to; either, if left out.

        Returns:
            The settings, whole and checked.

        Raises:
            SettingsError: With every mistake there is.
        """
        given = {name: value.strip() for name, value in environ.items() if name.startswith(PREFIX) and value}
        if project_id := environ.get(_SDK_PROJECT_ID_NAME, "").strip():
            given.setdefault(_PROJECT_ID_NAME, project_id)
        blank = list(_find_blanks(environ, cls._descriptions()))
        for mistake in blank:
            given.pop(mistake.name, None)
        mistakes = [
            *_find_missing(environ, credentials_given=credentials_given, project_id_given=project_id_given),
            *blank,
            *_find_excluded_vaults(given),
            *_find_auth_mistakes(given),
            *_find_destination_mistakes(given, defers_to),
            *_find_services_mistakes(given, environ),
        ]
        settings = None
        try:
            settings = cls.model_validate(given)
        except ValidationError as error:
            mistakes += cls._explain(error, environ)
        if settings is None or mistakes:
            raise SettingsError(mistakes)
        return settings

    @classmethod
    def secret_names(cls) -> frozenset[str]:
        """Return the variables whose values nothing may show: ours by their types, all others by a table."""
        own = (field.alias or "" for field in cls.model_fields.values() if _is_secret(field.annotation))
        return frozenset((*own, *SECRET_NAMES))

    @classmethod
    def _descriptions(cls) -> dict[str, str]:
        return {field.alias or "": field.description or "" for field in cls.model_fields.values()}

    @classmethod
    def _explain(cls, error: ValidationError, environ: Mapping[str, str]) -> Iterator[SettingMistake]:
        """Yield a mistake for each value that was rejected, under the name of the variable that is set."""
        expected, secret_names = cls._descriptions(), cls.secret_names()
        for rejected in find_rejected_values(error, expected):
            name = str(rejected.root)
            if rejected.key is None:
                yield _explain_unknown(name, list(expected))
                continue
            if name in secret_names:
                found = describe_value(rejected.value)
            else:
                found = _show_value(rejected.value, environ, secret_names)
            path, variable = rejected.path, name
            if name == _PROJECT_ID_NAME and not environ.get(name):
                path = variable = _SDK_PROJECT_ID_NAME
            yield SettingMistake(path, f"found {found}", expected=expected[name], variables=(variable,))


# Every variable in the documentation, ours and the standard ones; a platform that keeps variables outside of
# the environment is asked for each of them.
DOCUMENTED_NAMES = (
    *(field.alias or "" for field in Settings.model_fields.values()),
    *SECRET_NAMES,
    *(_SDK_PROJECT_ID_NAME, *_AWS_REGION_NAMES, _SNS_ENDPOINT_NAMES[0], _SECRET_ENDPOINT_NAMES[0]),
    *_SQS_ENDPOINT_NAMES,
    *(*_PROXY_NAMES, *(name.lower() for name in _PROXY_NAMES), "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("LOG_LEVEL", "POWERTOOLS_LOG_LEVEL", "POWERTOOLS_LOGGER_SAMPLE_RATE", "POWERTOOLS_SERVICE_NAME"),
    *("POWERTOOLS_METRICS_NAMESPACE", "POWERTOOLS_METRICS_DISABLED"),
)


def find_secret_values(environ: Mapping[str, str], secret_names: Collection[str]) -> set[str]:
    """Return the secrets in these variables: whole values, and the words of those that hold several."""
    values = [environ.get(name, "").strip() for name in secret_names]
    return {secret for value in values for secret in (value, *value.split()) if secret}


def find_queue_region(queue_url: str, environ: Mapping[str, str]) -> str | None:
    """Return the AWS region of a queue: as its URL says, else the platform's; None where neither does."""
    url = urlsplit(queue_url)
    match = _QUEUE_REGION.match(url.netloc) or _LOCALSTACK_REGION.match(url.path)
    return next(filter(None, match.groups())) if match else _read_first(_AWS_REGION_NAMES, environ)[1] or None


def is_same_queue(queue_url: str, queue_arn: str) -> bool:
    """Return whether a URL and an ARN name one queue: by account, name and a region in the URL."""
    _, _, _, region, account, name = (*queue_arn.split(":", 5), *[""] * 6)[:6]
    return _split_queue_url(queue_url) in ((region, account, name), (None, account, name))


def _split_queue_url(queue_url: str) -> tuple[str | None, str, str]:
    """Return region, account and name of a queue; None for a region that its URL does not name."""
    _, _, path = urlsplit(queue_url).path.rpartition("/queue/")
    account, _, name = f"/{path}".rpartition("/")
    return find_queue_region(queue_url, {}), account.rpartition("/")[2], name


def find_queue_endpoint(queue_url: str, environ: Mapping[str, str]) -> str:
    """Return where the requests of a queue go: as the variables of AWS say, else to the queue's own host."""
    url = urlsplit(queue_url)
    endpoint = _read_first(_SQS_ENDPOINT_NAMES, environ)[1]
    return endpoint.rstrip("/") or f"{url.scheme}://{url.netloc}"


def parse_topic_arn(topic_arn: str) -> tuple[str, str]:
    """Return partition and region of a topic of SNS, as in ``arn:aws:sns:eu-west-1:123456789012:backup``."""
    _, partition, _, region, _ = topic_arn.split(":", 4)
    return partition, region


def find_topic_endpoint(topic_arn: str, environ: Mapping[str, str]) -> str:
    """Return where the requests of a topic go: as the variables of AWS say, else to its region's host."""
    endpoint = _read_first(_SNS_ENDPOINT_NAMES, environ)[1]
    return endpoint.rstrip("/") or _build_aws_host("sns", parse_topic_arn(topic_arn)[1])


def find_secret_region(secret_id: str, environ: Mapping[str, str]) -> str | None:
    """Return the AWS region of a secret: as its ARN says, else the platform's; None where neither does."""
    if secret_id.startswith("arn:"):
        return secret_id.split(":")[3]
    return _read_first(_AWS_REGION_NAMES, environ)[1] or None


def find_secret_endpoint(secret_id: str, environ: Mapping[str, str]) -> str:
    """Return where the requests of a secret go: as the variables of AWS say, else to its region's host."""
    endpoint = _read_first(_SECRET_ENDPOINT_NAMES, environ)[1]
    region = find_secret_region(secret_id, environ) or ""
    return endpoint.rstrip("/") or _build_aws_host("secretsmanager", region)


def _build_aws_host(service: str, region: str) -> str:
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://{service}.{region}.{domain}"


def find_topic_mistakes(environ: Mapping[str, str]) -> list[SettingMistake]:
    """Find what keeps the requests of a topic of SNS from being signed and sent.

    Args:
        environ: The function's environment, with the variables of AWS.

    Returns:
        A mistake for each variable that is missing or cannot be used.
    """
    return [*_find_aws_mistakes(environ, _TOPIC_NAME, _SNS_ENDPOINT_NAMES)]


def find_queue_mistakes(
    queue_url: str, environ: Mapping[str, str], name: str = _QUEUE_NAME
) -> list[SettingMistake]:
    """Find what keeps the requests of a queue from being signed and sent.

    Args:
        queue_url: The URL of the queue.
        environ: The function's environment, with the variables of AWS.
        name: What the queue is called in the mistakes.

    Returns:
        A mistake for the URL and for each variable that is missing or cannot be used.
    """
    try:
        region = find_queue_region(parse_queue_url(queue_url), {})
    except ValueError:
        found = f"found {_show_value(queue_url, environ)}"
        mistakes = [SettingMistake(name, found, expected=_QUEUE_URL)]
        return [*mistakes, *_find_aws_mistakes(environ, name, _SQS_ENDPOINT_NAMES)]
    mistakes = list(_find_aws_mistakes(environ, name, _SQS_ENDPOINT_NAMES))
    if region is None:
        mistakes += _find_region_mistakes(environ, name)
    return mistakes


def _find_services_mistakes(given: Mapping[str, str], environ: Mapping[str, str]) -> Iterator[SettingMistake]:
    """Yield what keeps queues and topics of AWS from being used; wrong URLs and ARNs are found elsewhere."""
    seen = {_QUEUE_NAME, _DEFER_NAME}
    mistakes: list[SettingMistake] = []
    for name in (_QUEUE_NAME, _DEFER_NAME):
        queue_url = given.get(name, "")
        if queue_url and not is_function_urn(queue_url):
            mistakes += find_queue_mistakes(queue_url, environ, name)
    if _TOPIC_NAME in given:
        mistakes += find_topic_mistakes(environ)
    secret_id = given.get(_SECRET_NAME, "")
    if re.match(_STORED_ID, secret_id):
        mistakes += _find_aws_mistakes(environ, _SECRET_NAME, _SECRET_ENDPOINT_NAMES)
        if not secret_id.startswith("arn:"):
            mistakes += _find_region_mistakes(environ, _SECRET_NAME)
    # Each variable once.
    for mistake in mistakes:
        if mistake.name not in seen:
            seen.add(mistake.name)
            yield mistake


def _find_destination_mistakes(
    given: Mapping[str, str], defers_to: Literal["queue", "function"] | None
) -> Iterator[SettingMistake]:
    """Yield a mistake where what is handed on would be lost, or come back as something else."""
    destination, results = given.get(_DEFER_NAME, ""), given.get(_QUEUE_NAME, "")
    if is_function_urn(destination):
        if defers_to == "queue":
            remedy = "set it to the URL of the SQS queue that triggers this function"
            yield SettingMistake(
                _DEFER_NAME, "found the URN of a function, which Lambda cannot invoke", remedy
            )
        return
    if destination and defers_to == "function":
        remedy = "set it to the URN of a second function made from the same zip"
        yield SettingMistake(
            _DEFER_NAME, "found a queue, which triggers no function of FunctionGraph", remedy
        )
        return
    if destination.endswith(".fifo"):
        found = "found a FIFO queue, which cannot hold single messages back"
        yield SettingMistake(_DEFER_NAME, found, "set it to the URL of a standard queue")
    if destination and results and _are_same_queue(destination, results):
        remedy = "set it to the queue that triggers this function"
        variables = (_DEFER_NAME, _QUEUE_NAME)
        found = f"found the queue of {_QUEUE_NAME}, whose messages start no sync"
        yield SettingMistake(_DEFER_NAME, found, remedy, variables=variables)


def _are_same_queue(one: str, other: str) -> bool:
    try:
        (one_region, *one_rest), (other_region, *other_rest) = _split_queue_url(one), _split_queue_url(other)
    except ValueError:
        return False
    return one_rest == other_rest and (one_region == other_region or None in (one_region, other_region))


def _find_aws_mistakes(
    environ: Mapping[str, str], needed_by: str, endpoint_names: Iterable[str]
) -> Iterator[SettingMistake]:
    """Yield a mistake for each key and each endpoint of AWS that a service needs and cannot use."""
    for name in (*AWS_KEY_NAMES, AWS_TOKEN_NAME):
        value = environ.get(name, "")
        if not value and name != AWS_TOKEN_NAME:
            yield SettingMistake(name, "not set", f"{needed_by} needs it", variables=(name, needed_by))
        elif value.strip() and not _KEY.fullmatch(value.strip()):  # blanks are a mistake without a queue too
            found = "found characters that no header can hold"
            remedy = "set it again, to the key and nothing else"
            yield SettingMistake(name, found, remedy, variables=(name, needed_by))
    name, endpoint = _read_first(endpoint_names, environ)
    if name and not _is_aws_endpoint(endpoint):
        found, expected = f"found {_show_value(endpoint, environ)}", f"an https URL ({_PLAIN_HOSTS})"
        yield SettingMistake(name, found, expected=expected, variables=(name, needed_by))


def _find_region_mistakes(environ: Mapping[str, str], needed_by: str) -> Iterator[SettingMistake]:
    """Yield a mistake where neither a queue's URL or a secret's id nor a variable names a region."""
    name, region = _read_first(_AWS_REGION_NAMES, environ)
    if not name:
        name, found = _AWS_REGION_NAMES[0], f"not set, and {needed_by} names no region"
        yield SettingMistake(name, found, "set it to the region of that", variables=(name, needed_by))
    elif not _AWS_REGION.fullmatch(region):
        found, expected = f"found {_show_value(region, environ)}", "a region of AWS such as eu-west-1"
        yield SettingMistake(name, found, expected=expected, variables=(name, needed_by))


def _find_missing(
    environ: Mapping[str, str], *, credentials_given: bool, project_id_given: bool
) -> Iterator[SettingMistake]:
    """Yield what is needed and not there."""
    has = {name for name, value in environ.items() if value}
    if not has & {"CBR_SYNC_REGION", "CBR_SYNC_ENDPOINT"}:
        remedy = "set it to the region of the vaults, such as cn-north-4"
        yield SettingMistake("CBR_SYNC_REGION", "not set", remedy)
    if not (
        credentials_given or "CBR_SYNC_SECRET_ID" in has or any(has.issuperset(pair) for pair in KEY_NAMES)
    ):
        remedy = "set both, or CBR_SYNC_SECRET_ID on AWS, or give the function an agency on FunctionGraph"
        yield SettingMistake(", ".join(KEY_NAMES[0]), "not set", remedy, variables=KEY_NAMES[0])
    known = project_id_given or has & {_PROJECT_ID_NAME, _SDK_PROJECT_ID_NAME, "CBR_SYNC_REGION"}
    if "CBR_SYNC_ENDPOINT" in has and not known:
        remedy = "it can be looked up only where CBR_SYNC_REGION is set"
        yield SettingMistake(_PROJECT_ID_NAME, "not set", remedy)
    channel, endpoint = "CBR_SYNC_EVENTGRID_CHANNEL_ID", "CBR_SYNC_EVENTGRID_ENDPOINT"
    if channel in has and not has & {endpoint, "CBR_SYNC_REGION"}:
        yield SettingMistake(
            endpoint, "not set", f"{channel} needs it without a region", "", (endpoint, channel)
        )


def _find_blanks(environ: Mapping[str, str], descriptions: dict[str, str]) -> Iterator[SettingMistake]:
    others = dict.fromkeys((*SECRET_NAMES, _SDK_PROJECT_ID_NAME), "a value, or nothing at all")
    for name, expected in (others | descriptions).items():
        if environ.get(name, "").isspace():
            yield SettingMistake(name, f"found {_BLANKS}", expected=expected)


def _find_excluded_vaults(given: Mapping[str, str]) -> Iterator[SettingMistake]:
    """Yield a mistake for each list of vaults that names what CBR_SYNC_ALLOWED_VAULTS does not."""
    allowed = _split_ids(given.get(_ALLOWED_NAME, ""))
    if not allowed:
        return
    for name in ("CBR_SYNC_VAULTS", "CBR_SYNC_WEBHOOK_VAULTS", "CBR_SYNC_NOTIFICATION_VAULTS"):
        vaults = _split_ids(given.get(name, ""))
        outside = [vault for vault in vaults if vault not in (HYBRID, *allowed) and is_vault_id(vault)]
        if outside:
            more = f" and {len(outside) - 1} more" if len(outside) > 1 else ""
            found = f"found {outside[0]}{more}, which {_ALLOWED_NAME} does not hold"
            remedy = "add what is missing there, or take it out here"
            yield SettingMistake(name, found, remedy, variables=(name, _ALLOWED_NAME))


def _split_ids(text: str) -> list[str]:
    return [word.lower() for word in text.replace(",", " ").split()]


def _find_auth_mistakes(given: Mapping[str, str]) -> Iterator[SettingMistake]:
    """Yield a mistake where it is not clear who authenticates webhooks."""
    if given.get(_AUTH_NAME) != "platform":
        return
    for name in ("CBR_SYNC_WEBHOOK_SECRET", "CBR_SYNC_WEBHOOK_TOKEN"):
        if name in given:
            found = f"set, although {_AUTH_NAME} says that the gateway authenticates"
            yield SettingMistake(name, found, "take out one of them", variables=(name, _AUTH_NAME))


def _explain_unknown(name: str, known: Collection[str]) -> SettingMistake:
    from difflib import get_close_matches  # noqa: PLC0415 - only a mistake needs it

    shown = format_key(name)
    if close := get_close_matches(name.upper(), known, n=1, cutoff=0.8):
        return SettingMistake(shown, "unknown key", f"did you mean {close[0]}?", variables=(name,))
    expected = f"one of {', '.join(known)}"
    return SettingMistake(shown, "unknown key", "take it out: no setting has this name", expected, (name,))


def _is_secret(annotation: object) -> bool:
    """Whether a field of this type holds a secret, be it in a tuple or beside None."""
    if isinstance(annotation, type) and issubclass(annotation, (SecretStr, SecretBytes)):
        return True
    return any(map(_is_secret, get_args(annotation)))


def _show_value(
    value: object, environ: Mapping[str, str], secret_names: Collection[str] = SECRET_NAMES
) -> str:
    """Show a short wrong value as it is, unless it repeats a secret or may hold a password."""
    if not isinstance(value, str) or len(value) > _MAX_SHOWN_LENGTH or "@" in value or "whsec" in value:
        return describe_value(value)
    if not value.strip():
        return _BLANKS
    is_safe = mask_secrets(value, find_secret_values(environ, secret_names)) == value
    return repr(value) if is_safe else describe_value(value)


def _read_first(names: Iterable[str], environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the first of these variables that is set, and its value; both are empty where none is."""
    return next(((name, environ[name].strip()) for name in names if environ.get(name)), ("", ""))
