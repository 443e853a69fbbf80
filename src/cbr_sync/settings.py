"""The settings of one instance: environment variables in, checked once, all mistakes reported together."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Annotated, Literal, Self
from urllib.parse import urlsplit

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

from cbr_sync.errors import SettingsError
from cbr_sync.models import VaultId, explain, found, vault_id

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "CBR_SYNC_"
HYBRID = "hybrid"  # in CBR_SYNC_VAULTS: every hybrid vault
# The vendor's SDK's names, then those of the samples on the API page.
KEY_NAMES = (("HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK"), ("CLOUD_SDK_AK", "CLOUD_SDK_SK"))
TOKEN_NAME = "HUAWEICLOUD_SDK_SECURITY_TOKEN"  # noqa: S105 - a name; beside temporary keys
_AWS_REGION_NAMES = ("AWS_REGION", "AWS_DEFAULT_REGION")
AWS_KEY_NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_SHOWN = 32
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_SECRET_BYTES = range(24, 65)
_HOST = re.compile(r"[\w.:-]+", re.ASCII)
_QUEUE_REGION = re.compile(
    r"(?:(?:.*\.)?sqs(?:-fips)?\.([a-z0-9-]+)|([a-z0-9-]+)\.queue)\.(?:amazonaws|api|vpce)\."
)

# Regions with an IAM endpoint of their own; the others use the global one.
# Source: huaweicloudsdkcore 3.1.219, auth/endpoint.py.
_IAM_REGIONS = {
    *(f"ap-southeast-{number}" for number in range(1, 5)),
    *(f"cn-east-{number}" for number in range(2, 6)),
    *(f"cn-north-{number}" for number in (1, 2, 4, 9, 12)),
    *("ae-ad-1", "af-south-1", "cn-south-1", "cn-south-2", "cn-southwest-2", "eu-west-0", "la-north-2"),
    *(
        "la-south-2",
        "me-east-1",
        "my-kualalumpur-1",
        "na-mexico-1",
        "ru-moscow-1",
        "sa-brazil-1",
        "tr-west-1",
    ),
}


def _words(value: object) -> object:
    return value.replace(",", " ").split() if isinstance(value, str) else value


def _vault_or_hybrid(value: object) -> str:
    return HYBRID if value == HYBRID else vault_id(value)


def _scope(vaults: tuple[str, ...]) -> tuple[str, ...]:
    if HYBRID in vaults and len(vaults) > 1:
        raise ValueError("hybrid is all of them")
    return vaults


def _endpoint(value: object) -> str:
    """An https URL without anything but host and port; http is for loopback alone."""
    url = urlsplit(str(value))
    secure = url.scheme == "https" or (url.scheme == "http" and url.hostname in _LOOPBACK)
    if not (secure and _HOST.fullmatch(url.hostname or "") and url.port != 0) or "@" in url.netloc:
        raise ValueError("not an endpoint")
    if url.path.strip("/") or url.query or url.fragment:
        raise ValueError("not an endpoint")
    return f"{url.scheme}://{url.netloc}"


def _queue_url(value: object) -> str:
    url = urlsplit(str(value))
    _endpoint(f"{url.scheme}://{url.netloc}")
    if not re.fullmatch(r"/(?:[\w.-]+/)*[\w-]+(?:\.fifo)?", url.path) or url.query or url.fragment:
        raise ValueError("not a queue URL")
    return url.geturl()


def _ping_url(value: object) -> str:
    url = urlsplit(str(value))
    _endpoint(f"{url.scheme}://{url.netloc}")
    if not re.fullmatch(r"(?:/[\w.~-]+)*/?", url.path, re.ASCII) or url.query or url.fragment:
        raise ValueError("not a ping URL")
    return url.geturl().rstrip("/")


def webhook_secret(text: str) -> bytes:
    """The key inside a ``whsec_...`` secret: base64 of 24 to 64 bytes.

    Source: Standard Webhooks 1.0.0, section "Signature scheme".

    Raises:
        ValueError: the text is not such a secret; it does not show the secret.
    """
    prefix, _, encoded = text.partition("whsec_")
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        key = b""
    if prefix or len(key) not in _SECRET_BYTES:
        raise ValueError("not a webhook secret")
    return key


def _webhook_secrets(value: object) -> tuple[bytes, ...]:
    return tuple(webhook_secret(word) for word in str(value).split())


Endpoint = Annotated[str, BeforeValidator(_endpoint)]
VaultIds = Annotated[tuple[VaultId, ...], BeforeValidator(_words)]
Scope = Annotated[
    tuple[Annotated[str, BeforeValidator(_vault_or_hybrid)], ...],
    BeforeValidator(_words),
    AfterValidator(_scope),
]
_ENDPOINT = "an https URL of scheme, host and port (http on loopback only)"
_VAULT_IDS = "vault ids (UUIDs) separated by commas"


class Settings(BaseModel):
    """What the operator decided; each field's alias is the variable, its description what it may hold."""

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
        description=(
            "a project id (32 hexadecimal digits, shown under My Credentials in the console), "
            "here or in HUAWEICLOUD_SDK_PROJECT_ID"
        ),
    )
    secret_id: str | None = Field(
        default=None,
        alias="CBR_SYNC_SECRET_ID",
        pattern=r"^[0-9A-Za-z/_+=.@:-]+$",
        description="the name or ARN of a secret in AWS Secrets Manager",
    )
    vaults: Scope = Field(default=(), alias="CBR_SYNC_VAULTS", description=f"{_VAULT_IDS}, or hybrid")
    allowed_vaults: VaultIds = Field(default=(), alias="CBR_SYNC_ALLOWED_VAULTS", description=_VAULT_IDS)
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
    webhook_secrets: Annotated[tuple[SecretBytes, ...], BeforeValidator(_webhook_secrets)] = Field(
        default=(),
        alias="CBR_SYNC_WEBHOOK_SECRET",
        description="secrets separated by spaces, each whsec_ and base64 of 24 to 64 bytes",
    )
    webhook_auth: Literal["signature", "platform"] = Field(
        default="signature", alias="CBR_SYNC_WEBHOOK_AUTH", description="signature or platform"
    )
    sqs_queue_url: Annotated[str, BeforeValidator(_queue_url)] | None = Field(
        default=None,
        alias="CBR_SYNC_SQS_QUEUE_URL",
        description="the URL of a queue, as in https://sqs.eu-west-1.amazonaws.com/123456789012/outcomes",
    )

    smn_topic_urn: str | None = Field(
        default=None,
        alias="CBR_SYNC_SMN_TOPIC_URN",
        pattern=r"^urn:smn:[a-z0-9-]+:[0-9A-Za-z]+:[0-9A-Za-z_-]+$",
        description="the URN of a topic, as in urn:smn:cn-north-4:<project id>:backup",
    )
    smn_endpoint: Endpoint | None = Field(default=None, alias="CBR_SYNC_SMN_ENDPOINT", description=_ENDPOINT)
    notify: Literal["all", "problems"] = Field(
        default="all", alias="CBR_SYNC_NOTIFY", description="all or problems"
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
    # Whoever knows it may ping, so it is a secret.
    ping_url: Annotated[SecretStr, BeforeValidator(_ping_url)] | None = Field(
        default=None,
        alias="CBR_SYNC_PING_URL",
        description="an https URL without query, as in https://hc-ping.com/<uuid>",
    )

    @property
    def smn_url(self) -> str:
        """Where SMN answers: as set, or the region's; two regions have a domain of their own."""
        # Source: huaweicloudsdksmn, region/smn_region.py.
        domain = {"cn-north-2": "cn", "eu-west-101": "eu"}.get(self.region or "", "com")
        return self.smn_endpoint or f"https://smn.{self.region}.myhuaweicloud.{domain}"

    @property
    def eventgrid_url(self) -> str:
        """Where EventGrid answers: as set, or the region's. Source: huaweicloudsdkeg, region/eg_region.py."""
        domain = "eu" if self.region == "eu-west-101" else "com"
        return self.eventgrid_endpoint or f"https://eg.{self.region}.myhuaweicloud.{domain}"

    @property
    def cbr_endpoint(self) -> str:
        """Where CBR answers: as set, or the region's. Source: huaweicloudsdkcbr 3.1.219, cbr_region.py."""
        return self.endpoint or f"https://cbr.{self.region}.myhuaweicloud.com"

    @property
    def iam_url(self) -> str:
        """Where IAM answers: as set, the region's, or the global one."""
        # Source of the exception: huaweicloudsdkiam, region/iam_region.py.
        if self.region == "eu-west-101":
            return self.iam_endpoint or "https://iam.eu-west-101.myhuaweicloud.eu"
        host = f"iam.{self.region}" if self.region in _IAM_REGIONS else "iam"
        return self.iam_endpoint or f"https://{host}.myhuaweicloud.com"

    @classmethod
    def load(
        cls, environ: Mapping[str, str], *, credentials_given: bool = False, project_id_given: bool = False
    ) -> Self:
        """The settings in these variables; empty ones count as unset.

        ``credentials_given`` and ``project_id_given`` say that the platform hands these over.

        Raises:
            SettingsError: with every mistake, by name.
        """
        given = {
            key: text for key, value in environ.items() if key.startswith(PREFIX) and (text := value.strip())
        }
        if project_id := environ.get("HUAWEICLOUD_SDK_PROJECT_ID", "").strip():
            given.setdefault("CBR_SYNC_PROJECT_ID", project_id)
        mistakes = _missing(environ, credentials_given=credentials_given, project_id_given=project_id_given)
        settings = None
        try:
            settings = cls.model_validate(given)
        except ValidationError as error:
            expected = {field.alias or "": field.description or "" for field in cls.model_fields.values()}
            mistakes += explain(error, expected, _shown)
        if settings is None or mistakes:
            raise SettingsError(mistakes)
        return settings


def service_name(environ: Mapping[str, str]) -> str:
    """What log lines and metrics bear as their service."""
    return environ.get("POWERTOOLS_SERVICE_NAME") or "cbr-sync"


def queue_region(environ: Mapping[str, str]) -> str | None:
    """The AWS region of the queue: as its URL says, else the platform's; None where neither tells."""
    match = _QUEUE_REGION.match(urlsplit(environ.get("CBR_SYNC_SQS_QUEUE_URL", "").strip()).netloc)
    named = match and (match[1] or match[2])
    return named or next(filter(None, map(environ.get, _AWS_REGION_NAMES)), None)


def _shown(key: str, value: object) -> str:
    """A short wrong value is shown as it is, unless it is a secret or may hold a password."""
    if "SECRET" in key or "PING" in key or not isinstance(value, str) or len(value) > _SHOWN:
        return found(value)
    return found(value) if "@" in value or "whsec" in value else repr(value)


def _missing(environ: Mapping[str, str], *, credentials_given: bool, project_id_given: bool) -> list[str]:
    """What is needed and not there; a line for each, by name."""
    has = {key for key, value in environ.items() if value.strip()}
    lines = []
    if not has & {"CBR_SYNC_REGION", "CBR_SYNC_ENDPOINT"}:
        lines.append("CBR_SYNC_REGION: not set; set it to the region of the vaults, such as cn-north-4")
    if not (
        credentials_given or "CBR_SYNC_SECRET_ID" in has or any(has.issuperset(pair) for pair in KEY_NAMES)
    ):
        lines.append(
            f"{', '.join(KEY_NAMES[0])}: not set; set both, or CBR_SYNC_SECRET_ID on AWS, "
            "or give the function an agency on FunctionGraph"
        )
    known = project_id_given or has & {"CBR_SYNC_PROJECT_ID", "HUAWEICLOUD_SDK_PROJECT_ID", "CBR_SYNC_REGION"}
    if "CBR_SYNC_ENDPOINT" in has and not known:
        lines.append("CBR_SYNC_PROJECT_ID: not set; it can be looked up only where CBR_SYNC_REGION is set")
    for sink, endpoint in (("SMN_TOPIC_URN", "SMN"), ("EVENTGRID_CHANNEL_ID", "EVENTGRID")):
        if f"CBR_SYNC_{sink}" in has and not has & {f"CBR_SYNC_{endpoint}_ENDPOINT", "CBR_SYNC_REGION"}:
            lines.append(f"CBR_SYNC_{endpoint}_ENDPOINT: not set; CBR_SYNC_{sink} needs it without a region")
    if "CBR_SYNC_SQS_QUEUE_URL" in has:
        lines += [
            f"{key}: not set; CBR_SYNC_SQS_QUEUE_URL needs it" for key in AWS_KEY_NAMES if key not in has
        ]
    return lines
