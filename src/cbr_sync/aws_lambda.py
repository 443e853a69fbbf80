"""Entry point on AWS Lambda: ``cbr_sync.aws_lambda.handler``."""

# ruff: noqa: E402
from __future__ import annotations

import gc

# Modules live as long as the instance; searching them for garbage costs a twentieth of a cold start.
gc.disable()

import json
import os
from functools import cached_property, partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

import httpcore  # noqa: F401 - as Powertools, below

from cbr_sync.app import App
from cbr_sync.clock import Clock
from cbr_sync.credentials import Credentials, PlatformValues
from cbr_sync.errors import ApiError, SettingMistake, SettingsError
from cbr_sync.handler import handle
from cbr_sync.monitoring.logger import import_powertools, make_logger
from cbr_sync.monitoring.metrics import RunMetrics
from cbr_sync.run import Context
from cbr_sync.settings import Settings, parse_webhook_secret, parse_webhook_token
from cbr_sync.transport import new_request, send

# Every event needs it and httpcore: Lambda starts a function with more of a processor than it runs it with.
import_powertools()

gc.freeze()
gc.enable()

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx
    from aws_lambda_powertools import Logger

    from cbr_sync.results import RunResult
    from cbr_sync.sync import Progress
    from cbr_sync.triggers.base import Reply

_EXTENSION_TIMEOUT_SECONDS = 5.0
# The share of the invocation's time that it may take at most.
_EXTENSION_SHARE = 0.5


class LambdaContext(Protocol):
    """What the adapter needs of Lambda's context. Source: Lambda Developer Guide, Python context object."""

    @property
    def aws_request_id(self) -> str:
        """The id of this run, the same over the retries of an asynchronous one."""

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the platform ends the run."""


class LambdaAdapter:
    """One instance of the function; nothing is read from the environment before the first event."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        clock: Clock | None = None,
        transport: httpx.BaseTransport | None = None,
        on_progress: Callable[[Progress], None] = lambda _: None,
        on_result: Callable[[RunResult], None] = lambda _: None,
        is_replay: bool = False,
    ) -> None:
        """Prepare an instance.

        Args:
            environ: The function's variables.
            clock: The machine's, if left out.
            transport: Answers all requests in place of the network.
            on_progress: Called with each vault's progress, from several threads.
            on_result: Called with the result of each run before it is emitted.
            is_replay: Whether events are dead-lettered ones, which an operator delivers again.
        """
        self._environ = environ
        self._clock = clock or Clock()
        self._transport = transport
        self._on_progress = on_progress
        self._on_result = on_result
        self._is_replay = is_replay
        self._is_cold = True

    def close(self) -> None:
        """End the instance."""
        if "_app" in vars(self):
            self._app.close()

    def __call__(self, event: object, context: LambdaContext) -> Reply:
        """Handle one event and return the reply; raises as :func:`cbr_sync.handler.handle` does."""
        metrics, self._is_cold = RunMetrics(self._environ, cold=self._is_cold), False
        began = self._clock.monotonic()

        def report_result(result: RunResult) -> None:
            metrics.count(result)
            self._on_result(result)

        run_context = Context(
            request_id=context.aws_request_id,
            remaining_seconds=context.get_remaining_time_in_millis() / 1000,
            app=lambda: self._app,
            read_platform_values=partial(self._read_platform_values, context),
            logger=self._logger,
            on_result=report_result,
            is_replay=self._is_replay,
        )
        try:
            return handle(event, run_context)
        finally:
            metrics.flush(self._clock.monotonic() - began)

    @cached_property
    def _logger(self) -> Logger:
        return make_logger(self._environ)

    @cached_property
    def _app(self) -> App:
        return App(
            Settings.load(self._environ, defers_to="queue"),
            self._environ,
            self._logger,
            clock=self._clock,
            transport=self._transport,
            on_progress=self._on_progress,
        )

    def _read_platform_values(self, context: LambdaContext) -> PlatformValues:
        secret_id = self._app.settings.secret_id
        if not secret_id:
            return PlatformValues()
        remaining_seconds = context.get_remaining_time_in_millis() / 1000
        timeout = min(_EXTENSION_TIMEOUT_SECONDS, remaining_seconds * _EXTENSION_SHARE)
        return read_secret(secret_id, self._environ, self._app.http, timeout)


def read_secret(
    secret_id: str, environ: Mapping[str, str], transport: httpx.BaseTransport, timeout_seconds: float
) -> PlatformValues:
    """Return the keys in a secret ``{"ak", "sk", "webhook_secret"}``, through the extension, which caches it.

    Source: Secrets Manager User Guide, "AWS Parameters and Secrets Lambda Extension".

    Args:
        secret_id: The name or ARN of the secret.
        environ: The function's environment.
        transport: The connections.
        timeout_seconds: How long the extension may take.

    Raises:
        SettingsError: The extension does not answer, or the secret is not of that form.
    """
    port = environ.get("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT") or "2773"
    url = f"http://localhost:{port}/secretsmanager/get?secretId={quote(secret_id, safe='')}"
    headers = {"X-Aws-Parameters-Secrets-Token": environ.get("AWS_SESSION_TOKEN", "")}
    try:
        request = new_request("GET", url, headers)
        answer = send(transport, request, auth=None, timeout_seconds=timeout_seconds)
        if answer.status_code == HTTPStatus.OK:
            return _parse_secret(json.loads(json.loads(answer.content)["SecretString"]))
        found = f"the secrets extension answers HTTP {answer.status_code}"
        remedy = "check the id and the role"
    except ApiError as error:
        found, remedy = f"the secrets extension does not answer ({error.code})", "add its layer"
    except (ValueError, KeyError, TypeError, AttributeError):
        found = 'the secret is not of the form {"ak": "...", "sk": "...", "webhook_secret": "whsec_..."}'
        remedy = "give it that form"
    raise SettingsError([SettingMistake("CBR_SYNC_SECRET_ID", found, remedy)])


def _parse_secret(secret: dict[str, Any]) -> PlatformValues:
    token = secret.get("security_token")
    credentials = Credentials(secret["ak"].strip(), secret["sk"].strip(), token) if "ak" in secret else None
    return PlatformValues(
        credentials=credentials,
        webhook_secrets=tuple(map(parse_webhook_secret, secret.get("webhook_secret", "").split())),
        webhook_tokens=tuple(map(parse_webhook_token, secret.get("webhook_token", "").split())),
    )


_adapter = LambdaAdapter(os.environ)


def handler(event: object, context: LambdaContext) -> Reply:
    """Handle one event; Lambda calls this."""
    return _adapter(event, context)
