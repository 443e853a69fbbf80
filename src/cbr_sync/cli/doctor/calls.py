"""The requests of the checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from cbr_sync.errors import ApiError, CredentialsRefusedError
from cbr_sync.huawei.cbr import Cbr
from cbr_sync.huawei.client import SignedClient
from cbr_sync.huawei.clock import ApiClock
from cbr_sync.huawei.endpoints import find_cbr_endpoint
from cbr_sync.transport import new_request, send

if TYPE_CHECKING:
    from collections.abc import Callable

    from cbr_sync.app import App
    from cbr_sync.credentials import Credentials
    from cbr_sync.transport import Response

T = TypeVar("T")
AnswerT = TypeVar("AnswerT", bound=BaseModel)

_RETRY_SECONDS = 30.0


class Calls:
    """Sends the requests of the checks, and no signed one any more once that could do harm.

    Attributes:
        app: What a run would use: settings, connections, clocks.
        credentials: The keys to sign with; None as long as there are none.
        project_id: The project; empty as long as it is not known.
        stop_reason: Why no signed request is sent; empty as long as they are.
    """

    def __init__(self, app: App) -> None:
        self.app = app
        self.credentials: Credentials | None = None
        self.project_id = ""
        self.stop_reason = ""

    @property
    def skip_reason(self) -> str:
        """Why nothing in the project can be checked; empty where it can."""
        return self.stop_reason or ("" if self.project_id else "the project is not known")

    def get_timeout_seconds(self) -> float:
        """Return how long one request may wait."""
        return self.app.settings.request_timeout_seconds

    def fetch_root(self, origin: str) -> Response:
        """Return what answers at the root of a server, whatever it says; the request is not signed."""
        request = new_request("GET", f"{origin}/", {})
        return send(self.app.http, request, auth=None, timeout_seconds=self.get_timeout_seconds())

    def call_signed(self, attempt: Callable[[SignedClient], T]) -> T:
        """Return what a signed call returns, and stop signing if the keys are refused.

        Args:
            attempt: Gets the client.

        Raises:
            ApiError: The call failed for good.
        """
        if self.credentials is None:
            raise ApiError("CbrSync.NotSendable", self.stop_reason, sent=False)
        app = self.app
        client = SignedClient(app.http, self.credentials, key_states=app.key_states, clock=app.clock)
        try:
            return self.retry(lambda: attempt(client))
        except CredentialsRefusedError:
            self.stop_reason = "the keys are refused, and more than five refusals in a row lock them"
            raise

    def fetch(self, model: type[AnswerT], url: str, project_id: str | None = None) -> AnswerT:
        """Return what an API answers to a GET; raises as ``call_signed``.

        Args:
            model: What the answer is read as.
            url: What is asked for.
            project_id: The project in which it is; that of the vaults where it is not given.
        """
        project_id = project_id or self.project_id
        return self.call_signed(
            lambda client: client.call(
                model, "GET", url, project_id=project_id, timeout_seconds=self.get_timeout_seconds
            )
        )

    def call_cbr(self, attempt: Callable[[Cbr], T]) -> T:
        """Return what a call of CBR returns; raises as ``call_signed``."""
        app = self.app

        def call(client: SignedClient) -> T:
            cbr = Cbr(
                client,
                endpoint=find_cbr_endpoint(app.settings),
                project_id=self.project_id,
                timeout_seconds=lambda _deadline: self.get_timeout_seconds(),
                deadline=0,
                api_clock=ApiClock(app.logger),
                logger=app.logger,
            )
            return attempt(cbr)

        return self.call_signed(call)

    def retry(self, attempt: Callable[[], T]) -> T:
        """Return what the first successful attempt returns; what passes is waited out, but not for long."""
        deadline = self.app.clock.monotonic() + _RETRY_SECONDS
        return self.app.retrier.call(attempt, deadline=deadline, count_all=True)
