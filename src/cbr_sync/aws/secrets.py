"""One secret of AWS Secrets Manager: read with one signed call, and kept for five minutes.

Source: Secrets Manager API reference, GetSecretValue; AWS JSON 1.1 protocol.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from cbr_sync.aws.client import AwsClient, read_credentials
from cbr_sync.credentials import Credentials, PlatformValues
from cbr_sync.errors import ApiError, RetryableError, SettingMistake, SettingsError
from cbr_sync.settings import (
    find_secret_endpoint,
    find_secret_region,
    parse_ping_url,
    parse_webhook_secret,
    parse_webhook_token,
)
from cbr_sync.threads import call_until

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from cbr_sync.clock import Clock
    from cbr_sync.retry import Retrier

KEEP_SECONDS = 300.0
_NAME = "CBR_SYNC_SECRET_ID"
_FORM = '{"ak": "...", "sk": "...", "webhook_secret": "whsec_...", "webhook_token": "...", "ping_url": "..."}'
_REMEDIES = {
    "ResourceNotFoundException": "set it to a secret of this account and region",
    "AccessDeniedException": "allow secretsmanager:GetSecretValue on it, and kms:Decrypt on its key",
    "DecryptionFailure": "allow kms:Decrypt on its key",
}


class SecretsClient(AwsClient):
    """One account's Secrets Manager in one region."""

    service = "secretsmanager"

    def get_secret_string(self, secret_id: str, *, timeout_seconds: float) -> str:
        """Return the text of a secret.

        Args:
            secret_id: Its name or ARN.
            timeout_seconds: How long the request may take.

        Raises:
            ApiError: As of `AwsClient.post`.
            KeyError, TypeError, ValueError: The secret has no text.
        """
        headers = {
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": "secretsmanager.GetSecretValue",
        }
        content = json.dumps({"SecretId": secret_id}).encode()
        answer = json.loads(self.post(headers, content, timeout_seconds=timeout_seconds))
        return str(answer["SecretString"])


class SecretReader:
    """Reads the secret that CBR_SYNC_SECRET_ID names, for all runs of an instance."""

    def __init__(
        self,
        secret_id: str,
        environ: Mapping[str, str],
        *,
        transport: httpx.BaseTransport,
        clock: Clock,
        retrier: Retrier,
        request_timeout_seconds: float,
    ) -> None:
        """Read nothing yet.

        Args:
            secret_id: The name or ARN of the secret.
            environ: The function's environment, with the keys of AWS.
            transport: Sends the requests.
            clock: The instance's clock.
            retrier: Repeats attempts.
            request_timeout_seconds: How long one request may take.
        """
        self._secret_id = secret_id
        self._environ = environ
        self._transport = transport
        self._clock = clock
        self._retrier = retrier
        self._request_timeout_seconds = request_timeout_seconds
        self._values: PlatformValues | None = None
        self._read_at = 0.0

    def read(self, *, deadline: float, is_renewal: bool = False) -> PlatformValues:
        """Return what the secret holds.

        Args:
            deadline: Reading of the clock, in seconds; nothing is awaited beyond it.
            is_renewal: Read it again, since its keys were refused: it may have been changed meanwhile.

        Raises:
            RetryableError: It cannot be read now.
            SettingsError: It cannot be read, or is not of the form that is needed; it shows nothing of it.
        """
        now = self._clock.monotonic()
        if self._values is None or is_renewal or now - self._read_at >= KEEP_SECONDS:
            self._values = parse_secret(self._fetch(deadline))
            self._read_at = now
        return self._values

    def _fetch(self, deadline: float) -> str:
        # Made anew each time: the platform may have renewed its keys.
        client = SecretsClient(
            self._transport,
            endpoint=find_secret_endpoint(self._secret_id, self._environ),
            region=find_secret_region(self._secret_id, self._environ) or "",
            credentials=read_credentials(self._environ),
            now=self._clock.now,
        )

        def attempt() -> str:
            timeout = min(self._request_timeout_seconds, self._clock.remaining_seconds(deadline))
            return client.get_secret_string(self._secret_id, timeout_seconds=timeout)

        retry = partial(self._retrier.call, attempt, deadline=deadline, count_all=True)
        try:
            return call_until(deadline, retry, clock=self._clock)
        except RetryableError:
            raise
        except ApiError as error:
            remedy = _REMEDIES.get(error.code, "check its name, its region and the function's role")
            raise SettingsError([SettingMistake(_NAME, f"cannot be read: {error}", remedy)]) from error
        except (ValueError, KeyError, TypeError):
            raise _build_form_error("the answer of Secrets Manager") from None


def parse_secret(text: str) -> PlatformValues:
    """Return what the text of a secret holds; each of its keys is optional.

    Raises:
        SettingsError: It is not of that form; it shows nothing of it.
    """
    try:
        secret: dict[str, Any] = json.loads(text)
        credentials = None
        if "ak" in secret or "sk" in secret:
            token = secret.get("security_token")
            credentials = Credentials(secret["ak"].strip(), secret["sk"].strip(), token)
        ping_url = secret.get("ping_url")
        return PlatformValues(
            credentials=credentials,
            webhook_secrets=tuple(map(parse_webhook_secret, secret.get("webhook_secret", "").split())),
            webhook_tokens=tuple(map(parse_webhook_token, secret.get("webhook_token", "").split())),
            ping_url=parse_ping_url(ping_url) if ping_url else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _build_form_error("the secret") from None


def _build_form_error(what: str) -> SettingsError:
    found = f"{what} is not of the form {_FORM}, each of which is optional"
    return SettingsError([SettingMistake(_NAME, found, "give it that form")])
