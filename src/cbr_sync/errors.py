"""Every error that cbr-sync raises.

::

    CbrSyncError
    ├── SettingsError                  the configuration is wrong; names every mistake at once
    ├── EventError                     an event that cannot be read
    │   └── VaultNotAllowedError           an event that names a vault outside CBR_SYNC_ALLOWED_VAULTS
    ├── WebhookRefusedError            an HTTP request refused before its payload was parsed
    ├── ApiError                       an error of an API; final, retrying cannot help
    │   ├── CredentialsRefusedError        never sent again with the same credentials
    │   └── RetryableError                 a later attempt may succeed
    │       ├── NotAcceptedError               it was not accepted, sending it again is safe
    │       │   └── ThrottledError                 the gateway limits the rate of requests
    │       └── OutcomeUnknownError            it may have been accepted; check before sending it again
    ├── SinkError                      a sink did not accept what was to be emitted
    └── SyncUnfinished                 something is left that a later delivery of the event may finish
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from http import HTTPStatus


class CbrSyncError(Exception):
    """The root of all errors of this package; its text is safe to log and to show."""


class SettingMistake(NamedTuple):
    """One mistake in the settings.

    Attributes:
        name: The variable, several of them joined by ``", "``, or an entry of one (``CBR_SYNC_VAULTS[1]``).
        found: What was found there, in words that show no secret: ``found 'many'``, ``not set``.
        remedy: What to do about it; empty where ``expected`` says enough.
        expected: What the variable may hold; empty where it is not the value that is wrong.
        variables: The variables to take out to be rid of the mistake, where ``name`` is not just that.
    """

    name: str
    found: str
    remedy: str = ""
    expected: str = ""
    variables: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the mistake on one line: name, what was found, what was expected, what to do."""
        expected = f", expected {self.expected}" if self.expected else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.name}: {self.found}{expected}{remedy}"

    @property
    def advice(self) -> str:
        """What to do, whether or not it follows from what was expected."""
        return self.remedy or f"set it to {self.expected}"

    @property
    def involved(self) -> tuple[str, ...]:
        """The variables without which the mistake would not be there."""
        return self.variables or (self.name,)


class SettingsError(CbrSyncError):
    """The configuration is wrong.

    Attributes:
        mistakes: Every mistake that was found.
    """

    def __init__(self, mistakes: Sequence[SettingMistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n  ".join(["the settings are wrong:", *map(str, self.mistakes)]))


class EventError(CbrSyncError):
    """An event that cannot be read; the text names the key, what was found and what was expected."""


class VaultNotAllowedError(EventError):
    """An event that names a vault which CBR_SYNC_ALLOWED_VAULTS does not hold."""


class WebhookRefusedError(CbrSyncError):
    """An HTTP request refused before its payload was read.

    Attributes:
        status: The HTTP status to answer with.
    """

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        self.status = status
        super().__init__(detail)


class ApiError(CbrSyncError):
    """An error of an API, in its own words, redacted.

    Attributes:
        code: The API's (``BackupService.7300``, ``APIGW.0308``) or, where no API answered, one of ours
            (``CbrSync.Unreachable``).
        message: What went wrong.
        request_id: The API's id of the request; None where there was no answer.
        http_status: The status of the answer; None where there was none.
        retry_after_seconds: How long the server asks to wait; None where it does not.
        sent: False where the error kept the request from being sent.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        request_id: str | None = None,
        http_status: int | None = None,
        retry_after_seconds: float | None = None,
        sent: bool = True,
    ) -> None:
        self.code = code
        self.message = message
        self.request_id = request_id
        self.http_status = http_status
        self.retry_after_seconds = retry_after_seconds
        self.sent = sent
        super().__init__(f"{code}: {message}")


class CredentialsRefusedError(ApiError):
    """The API refused the credentials; five failed signatures in a row lock the key for everyone."""


class RetryableError(ApiError):
    """A later attempt may succeed."""


class NotAcceptedError(RetryableError):
    """The request was not accepted: throttled, or never connected. Sending it again is safe."""


class ThrottledError(NotAcceptedError):
    """The gateway limits the rate of requests, and does so for everybody: HTTP 429, APIGW.0308."""


class OutcomeUnknownError(RetryableError):
    """The request may have arrived although no usable answer came back."""


class SinkError(CbrSyncError):
    """A sink did not accept everything that was to be emitted; the others have."""


class SyncUnfinished(CbrSyncError):
    """Something is left that a later delivery of the event may finish; everything known was emitted."""
