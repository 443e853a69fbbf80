"""Access keys: what they are, and which of those at hand to sign with."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cbr_sync.errors import SettingMistake, SettingsError
from cbr_sync.settings import KEY_NAMES, TOKEN_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cbr_sync.clock import Clock
    from cbr_sync.errors import CredentialsRefusedError

# How long a refused key is not tried again: as long as the API would lock it.
REFUSED_SECONDS = 300.0
# The access key and the token are sent in headers; the secret key is only hashed, as UTF-8.
_HEADER_VALUE = re.compile(r"[\x21-\x7e]+")
_PLATFORM_NAMES = (
    "the access key from the platform",
    "the secret key from the platform",
    "the security token from the platform",
)
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key with its secret and, for temporary ones, the security token. Its repr shows none."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class PlatformValues:
    """What the platform hands over in one invocation, beside the environment.

    Attributes:
        credentials: Those of an agency or a secret; they may be temporary, so they are not kept.
        project_id: The function's own project.
        webhook_secrets: Those of a secret, decoded.
        webhook_tokens: Those of a secret.
        ping_url: That of a secret, whom runs ping.
    """

    credentials: Credentials | None = None
    project_id: str | None = None
    webhook_secrets: tuple[bytes, ...] = field(default=(), repr=False)
    webhook_tokens: tuple[str, ...] = field(default=(), repr=False)
    ping_url: str | None = field(default=None, repr=False)


class KeyStates:
    """Which keys an API has accepted or refused, over the runs of one instance.

    More than five refused signatures in a row lock a key for everyone who uses it. Source: API Request
    Signing Guide, error APIGW.0301.
    """

    def __init__(self, clock: Clock) -> None:
        """Start without knowing any key."""
        self._clock = clock
        self._accepted: Credentials | None = None
        self._refusals: dict[Credentials, tuple[float, CredentialsRefusedError]] = {}

    def is_accepted(self, credentials: Credentials) -> bool:
        """Return whether these keys were accepted, and not refused since."""
        return credentials == self._accepted

    def accept(self, credentials: Credentials) -> None:
        """Note that an API accepted these keys, unless one has refused them meanwhile."""
        if credentials not in self._refusals:
            self._accepted = credentials

    def refuse(self, credentials: Credentials, refusal: CredentialsRefusedError) -> None:
        """Note that an API refused these keys: nothing is sent with them for five minutes."""
        self._refusals[credentials] = (self._clock.monotonic() + REFUSED_SECONDS, refusal)
        if self._accepted == credentials:
            self._accepted = None

    def find_refusal(self, credentials: Credentials) -> CredentialsRefusedError | None:
        """Return why nothing may be sent with these keys; None where something may."""
        until, refusal = self._refusals.get(credentials, (0.0, None))
        if refusal is not None and self._clock.monotonic() >= until:
            self._refusals.pop(credentials, None)
            return None
        return refusal


def find_credentials(environ: Mapping[str, str], platform_values: PlatformValues) -> Credentials:
    """Return the keys to sign with: the SDK's variables, else the platform's, else the samples' variables.

    Args:
        environ: The function's environment.
        platform_values: What the platform hands over in this invocation.

    Raises:
        SettingsError: There are none, or they cannot be used; it shows nothing of them.
    """
    sdk_names, sample_names = (*KEY_NAMES[0], TOKEN_NAME), (*KEY_NAMES[1], "")
    candidates = (
        (sdk_names, _read_credentials(environ, *sdk_names)),
        (_PLATFORM_NAMES, platform_values.credentials),
        (sample_names, _read_credentials(environ, *sample_names)),
    )
    for names, credentials in candidates:
        if credentials is None:
            continue
        if mistakes := list(_find_unusable(credentials, names)):
            raise SettingsError(mistakes)
        return credentials
    name, found = ", ".join(KEY_NAMES[0]), "not set, and the platform hands over no keys"
    raise SettingsError([SettingMistake(name, found, "set both", variables=KEY_NAMES[0])])


def _read_credentials(
    environ: Mapping[str, str], ak_name: str, sk_name: str, token_name: str
) -> Credentials | None:
    access_key, secret_key, token = (environ.get(name, "").strip() for name in (ak_name, sk_name, token_name))
    return Credentials(access_key, secret_key, token or None) if access_key and secret_key else None


def _find_unusable(credentials: Credentials, names: tuple[str, str, str]) -> Iterator[SettingMistake]:
    ak_name, sk_name, token_name = names
    remedy = "set it again, to the key and nothing else"
    for name, value in ((ak_name, credentials.access_key), (token_name, credentials.token)):
        if value is not None and not _HEADER_VALUE.fullmatch(value):
            yield SettingMistake(name, "found characters that no header can hold", remedy)
    if _SURROGATE.search(credentials.secret_key):
        yield SettingMistake(sk_name, "found bytes that are not UTF-8", remedy)
