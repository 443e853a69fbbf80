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
    │       └── OutcomeUnknownError            it may have been accepted; look before sending it again
    ├── SinkError                      a sink did not accept what was to be emitted
    └── SyncUnfinished                 something is left that a later delivery of the event may finish
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from http import HTTPStatus


class CbrSyncError(Exception):
    """The root of all errors of this package; its text is safe to log and to show."""


class SettingsError(CbrSyncError):
    """The configuration is wrong.

    ``mistakes`` holds one line for each, beginning with the setting's name.
    """

    def __init__(self, mistakes: Sequence[str]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n  ".join(["the settings are wrong:", *self.mistakes]))


class EventError(CbrSyncError):
    """An event that cannot be read; the text names the key, what was found and what was expected."""


class VaultNotAllowedError(EventError):
    """An event that names a vault which CBR_SYNC_ALLOWED_VAULTS does not hold."""


class WebhookRefusedError(CbrSyncError):
    """An HTTP request refused before its payload was read.

    ``status`` is the HTTP status to answer.
    """

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        self.status = status
        super().__init__(detail)


class ApiError(CbrSyncError):
    """The API's no, in its own words, redacted.

    ``code`` is the API's (``BackupService.7300``, ``APIGW.0308``) or, where no API spoke, one of ours
    (``CbrSync.Unreachable``); ``request_id`` and ``http_status`` are None where there was no answer;
    ``retry_after_seconds`` is the server's wish, None where it has none; ``sent`` is False where the error
    kept the request from being sent.
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
    """The request was not taken: throttled, or never connected. Sending it again is safe."""


class ThrottledError(NotAcceptedError):
    """The gateway limits the rate of requests, and does so for everybody: HTTP 429, APIGW.0308."""


class OutcomeUnknownError(RetryableError):
    """The request may have arrived although no usable answer came back."""


class SinkError(CbrSyncError):
    """A sink did not accept everything that was to be emitted; the others have."""


class SyncUnfinished(CbrSyncError):
    """Something is left that a later delivery of the event may finish; everything known was emitted."""
