"""The door of AWS Lambda: ``cbr_sync.aws_lambda.handler``."""

# ruff: noqa: E402
from __future__ import annotations

import gc

# Modules live as long as the instance: to look for garbage among them is a twentieth of a cold start in vain.
gc.disable()

import json
import os
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

# Every event needs these two: Lambda starts a function with more of a processor than it runs it with.
import aws_lambda_powertools  # noqa: F401
import httpcore  # noqa: F401

from cbr_sync.app import App, Keys, Seams
from cbr_sync.errors import ApiError, SettingsError
from cbr_sync.handlers import Invocation, Reply, handle
from cbr_sync.models import Credentials
from cbr_sync.monitoring.logger import make_logger
from cbr_sync.monitoring.metrics import RunMetrics
from cbr_sync.settings import Settings, webhook_secret
from cbr_sync.transport import new_request, send

gc.freeze()
gc.enable()

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx
    from aws_lambda_powertools import Logger

_EXTENSION_TIMEOUT_SECONDS = 5.0


class LambdaContext(Protocol):
    """What this door asks of Lambda's context. Source: Lambda Developer Guide, Python context object."""

    @property
    def aws_request_id(self) -> str:
        """The id of this run, the same over the retries of an asynchronous one."""

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the platform ends the run."""


class LambdaAdapter:
    """One instance of the function; nothing is read from the environment before the first event."""

    def __init__(self, environ: Mapping[str, str], seams: Seams | None = None) -> None:
        self._environ = environ
        self._seams = seams or Seams()
        self._cold = True

    def close(self) -> None:
        """End the instance."""
        if "_app" in vars(self):
            self._app.close()

    def __call__(self, event: object, context: LambdaContext) -> Reply:
        """What is answered to this event; raises as ``handlers.handle`` does."""
        metrics, self._cold = RunMetrics(self._environ, cold=self._cold), False
        clock = self._seams.retry.clock
        begun = clock()
        invocation = Invocation(
            request_id=context.aws_request_id,
            remaining_seconds=context.get_remaining_time_in_millis() / 1000,
            app=lambda: self._app,
            keys=self._keys,
            logger=self._logger,
            observe=metrics.count,
        )
        try:
            return handle(event, invocation)
        finally:
            metrics.flush(clock() - begun)

    @cached_property
    def _logger(self) -> Logger:
        return make_logger(self._environ)

    @cached_property
    def _app(self) -> App:
        return App(Settings.load(self._environ), self._environ, self._logger, self._seams)

    def _keys(self) -> Keys:
        secret_id = self._app.settings.secret_id
        return read_secret(secret_id, self._environ, self._app.http) if secret_id else Keys()


def read_secret(secret_id: str, environ: Mapping[str, str], transport: httpx.BaseTransport) -> Keys:
    """The keys in a secret ``{"ak", "sk", "webhook_secret"}``, through the extension, which caches it.

    Source: Secrets Manager User Guide, "AWS Parameters and Secrets Lambda Extension".

    Raises:
        SettingsError: the extension does not answer, or the secret is not of that form.
    """
    port = environ.get("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT") or "2773"
    url = f"http://localhost:{port}/secretsmanager/get?secretId={quote(secret_id, safe='')}"
    headers = {"X-Aws-Parameters-Secrets-Token": environ.get("AWS_SESSION_TOKEN", "")}
    try:
        request = new_request("GET", url, headers)
        answer = send(transport, request, auth=None, timeout_seconds=_EXTENSION_TIMEOUT_SECONDS)
        if answer.status_code == HTTPStatus.OK:
            return _keys_in(json.loads(json.loads(answer.content)["SecretString"]))
        why = f"the secrets extension answers HTTP {answer.status_code}; check the id and the role"
    except ApiError as error:
        why = f"the secrets extension does not answer ({error.code}); add its layer"
    except (ValueError, KeyError, TypeError, AttributeError):
        why = 'the secret is not of the form {"ak": "...", "sk": "...", "webhook_secret": "whsec_..."}'
    raise SettingsError([f"CBR_SYNC_SECRET_ID: {why}"])


def _keys_in(secret: dict[str, Any]) -> Keys:
    token = secret.get("security_token")
    credentials = Credentials(secret["ak"].strip(), secret["sk"].strip(), token) if "ak" in secret else None
    words = secret.get("webhook_secret", "").split()
    return Keys(credentials=credentials, webhook_secrets=tuple(webhook_secret(word) for word in words))


_door = LambdaAdapter(os.environ)


def handler(event: object, context: LambdaContext) -> Reply:
    """What Lambda calls; the reply is JSON, its form that of the contract for each kind of event."""
    return _door(event, context)
