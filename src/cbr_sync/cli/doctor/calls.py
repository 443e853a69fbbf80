"""The requests that checks send."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from cbr_sync.errors import ApiError, CredentialsRefusedError, RetryableError
from cbr_sync.huawei.cbr import Cbr
from cbr_sync.huawei.client import SignedClient
from cbr_sync.transport import new_request, send

if TYPE_CHECKING:
    from collections.abc import Callable

    from cbr_sync.app import App
    from cbr_sync.models import Credentials
    from cbr_sync.transport import Response


T = TypeVar("T")


AnswerT = TypeVar("AnswerT", bound=BaseModel)


_PATIENCE_SECONDS = 30.0


@dataclass
class Calls:
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

    def unsigned(self, origin: str) -> Response:
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
        except CredentialsRefusedError as refusal:
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
        return retry.call(attempt, until=retry.clock() + _PATIENCE_SECONDS, retry_on=RetryableError)
