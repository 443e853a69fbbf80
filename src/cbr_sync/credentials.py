"""The keys that requests are signed with, and where they come from."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cbr_sync.errors import SettingsError
from cbr_sync.models import Credentials
from cbr_sync.settings import KEY_NAMES, TOKEN_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cbr_sync.clock import Clock
    from cbr_sync.errors import CredentialsRefusedError

# How long a refused key is not tried again: as long as the API would lock it.
REFUSED_SECONDS = 300.0
_HEADER_VALUE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class PlatformValues:
    """What the platform hands over in one invocation.

    Attributes:
        credentials: Keys of the function's agency, or of its secret.
        project_id: The function's project on Huawei Cloud.
        webhook_secrets: Further secrets that webhooks may be signed with.
    """

    credentials: Credentials | None = None
    project_id: str | None = None
    webhook_secrets: tuple[bytes, ...] = field(default=(), repr=False)


class KeyStates:
    """Which keys an API has accepted or refused, over the runs of one instance.

    More than five refused signatures in a row lock a key for everyone who uses it. Source: API Request Signing
    Guide, error APIGW.0301.
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
            del self._refusals[credentials]
            return None
        return refusal


def find_credentials(environ: Mapping[str, str], platform_values: PlatformValues) -> Credentials:
    """Return the keys to sign with: the SDK's variables, else the platform's, else the samples' variables.

    Raises:
        SettingsError: There are none, or they cannot stand in a header.
    """
    sdk, samples = (_read_pair(environ, *names) for names in KEY_NAMES)
    credentials = sdk or platform_values.credentials or samples
    if credentials is None:
        names = ", ".join(KEY_NAMES[0])
        raise SettingsError([f"{names}: not set, and the platform hands over no keys; set both"])
    if not all(_HEADER_VALUE.fullmatch(part) for part in (credentials.access_key, credentials.token or "-")):
        raise SettingsError(["the access key or the security token holds characters that no header can"])
    return credentials


def _read_pair(environ: Mapping[str, str], ak_name: str, sk_name: str) -> Credentials | None:
    access_key, secret_key = environ.get(ak_name, "").strip(), environ.get(sk_name, "").strip()
    if not (access_key and secret_key):
        return None
    token = environ.get(TOKEN_NAME, "").strip() if ak_name == KEY_NAMES[0][0] else ""
    return Credentials(access_key, secret_key, token or None)
