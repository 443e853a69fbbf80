"""The door of AWS Lambda: ``cbr_sync.aws_lambda.handler``."""

# ruff: noqa: E402
from __future__ import annotations

import gc

# Modules live as long as the instance: to look for garbage among them is a twentieth of a cold start in vain.
gc.disable()

import json
import os
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

import httpcore  # noqa: F401 - as Powertools, below
import httpx

from cbr_sync.app import App, Seams
from cbr_sync.credentials import Credentials, PlatformValues
from cbr_sync.errors import SettingMistake, SettingsError
from cbr_sync.handlers import Invocation, Reply, handle
from cbr_sync.monitoring.logger import import_powertools, make_logger
from cbr_sync.monitoring.metrics import RunMetrics
from cbr_sync.settings import Settings, parse_webhook_secret

# Every event needs it and httpcore: Lambda starts a function with more of a processor than it runs it with.
import_powertools()

gc.freeze()
gc.enable()

if TYPE_CHECKING:
    from collections.abc import Mapping

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

    def _keys(self) -> PlatformValues:
        secret_id = self._app.settings.secret_id
        return read_secret(secret_id, self._environ, self._app.http) if secret_id else PlatformValues()


def read_secret(secret_id: str, environ: Mapping[str, str], client: httpx.Client) -> PlatformValues:
    """The keys in a secret ``{"ak", "sk", "webhook_secret"}``, through the extension, which caches it.

    Source: Secrets Manager User Guide, "AWS Parameters and Secrets Lambda Extension".

    Raises:
        SettingsError: the extension does not answer, or the secret is not of that form.
    """
    port = environ.get("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT") or "2773"
    url = f"http://localhost:{port}/secretsmanager/get?secretId={quote(secret_id, safe='')}"
    headers = {"X-Aws-Parameters-Secrets-Token": environ.get("AWS_SESSION_TOKEN", "")}
    try:
        answer = client.get(url, headers=headers, timeout=_EXTENSION_TIMEOUT_SECONDS)
        answer.raise_for_status()
        return _keys_in(json.loads(answer.json()["SecretString"]))
    except httpx.HTTPStatusError as error:
        found = f"the secrets extension answers HTTP {error.response.status_code}"
        remedy = "check the id and the role"
    except httpx.HTTPError as error:
        found, remedy = f"the secrets extension does not answer ({type(error).__name__})", "add its layer"
    except (ValueError, KeyError, TypeError, AttributeError):
        found = 'the secret is not of the form {"ak": "...", "sk": "...", "webhook_secret": "whsec_..."}'
        remedy = "give it that form"
    raise SettingsError([SettingMistake("CBR_SYNC_SECRET_ID", found, remedy)])


def _keys_in(secret: dict[str, Any]) -> PlatformValues:
    token = secret.get("security_token")
    credentials = Credentials(secret["ak"].strip(), secret["sk"].strip(), token) if "ak" in secret else None
    words = secret.get("webhook_secret", "").split()
    return PlatformValues(
        credentials=credentials, webhook_secrets=tuple(parse_webhook_secret(word) for word in words)
    )


_door = LambdaAdapter(os.environ)


def handler(event: object, context: LambdaContext) -> Reply:
    """What Lambda calls; the reply is JSON, its form that of the contract for each kind of event."""
    return _door(event, context)
