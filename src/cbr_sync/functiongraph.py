"""The door of Huawei FunctionGraph: ``index.handler`` and ``index.initializer`` hand on to here.

Source: FunctionGraph Developer Guide, Python, "Context"; the names are the platform's.
"""

# ruff: noqa: E402
from __future__ import annotations

import gc

# Modules live as long as the instance: to look for garbage among them is a twentieth of a cold start in vain.
gc.disable()

import os
from typing import TYPE_CHECKING, Protocol

from cbr_sync.app import App, Seams
from cbr_sync.credentials import Credentials, PlatformValues
from cbr_sync.handlers import Invocation, Reply, handle
from cbr_sync.monitoring.logger import make_logger
from cbr_sync.settings import DOCUMENTED_NAMES, Settings

gc.freeze()
gc.enable()

if TYPE_CHECKING:
    from collections.abc import Mapping

# The platform's default where RUNTIME_TIMEOUT is not to be had.
_DEFAULT_TIMEOUT_SECONDS = 3.0


class FunctionGraphContext(Protocol):
    """What this door asks of the platform's context."""

    def getRequestID(self) -> str:  # noqa: N802 - the platform's name, as are the others
        """The id of this run."""

    def getRemainingTimeInMilliSeconds(self) -> float:  # noqa: N802
        """Milliseconds until the platform ends the run; its unit is not to be relied on."""

    def getUserData(self, key: str) -> str | None:  # noqa: N802
        """An environment variable, an encrypted one too."""

    def getProjectID(self) -> str | None:  # noqa: N802
        """The function's project."""

    def getSecurityAccessKey(self) -> str | None:  # noqa: N802
        """The agency's temporary access key; nothing without an agency."""

    def getSecuritySecretKey(self) -> str | None:  # noqa: N802
        """Its secret key."""

    def getSecurityToken(self) -> str | None:  # noqa: N802
        """Its security token."""


class FunctionGraphAdapter:
    """One instance of the function; nothing is read from the environment before the first event."""

    def __init__(self, environ: Mapping[str, str], seams: Seams | None = None) -> None:
        self._environ = environ
        self._seams = seams or Seams()
        self._app: App | None = None

    def initialize(self, context: FunctionGraphContext) -> None:
        """Make what lives as long as the instance.

        Raises:
            SettingsError: with every mistake; the platform then discards the instance and shows it.
        """
        self._made(context)

    def close(self) -> None:
        """End the instance."""
        if self._app is not None:
            self._app.close()

    def __call__(self, event: object, context: FunctionGraphContext) -> Reply:
        """What is answered to this event; raises as ``handlers.handle`` does."""
        invocation = Invocation(
            request_id=context.getRequestID(),
            remaining_seconds=_remaining_seconds(context, self._environ),
            app=lambda: self._made(context),
            keys=lambda: _keys(context),
            logger=make_logger(_with_user_data(self._environ, context)),
        )
        return handle(event, invocation)

    def _made(self, context: FunctionGraphContext) -> App:
        if self._app is None:
            environ = _with_user_data(self._environ, context)
            keys = _keys(context)
            settings = Settings.load(
                environ,
                credentials_given=keys.credentials is not None,
                project_id_given=keys.project_id is not None,
            )
            self._app = App(settings, environ, make_logger(environ), self._seams)
        return self._app


def _with_user_data(environ: Mapping[str, str], context: FunctionGraphContext) -> dict[str, str]:
    """The environment, with what getUserData has in front: encrypted variables stand only there."""
    user_data = {name: value for name in DOCUMENTED_NAMES if (value := context.getUserData(name))}
    return {**environ, **user_data}


def _keys(context: FunctionGraphContext) -> PlatformValues:
    """The agency's keys of this invocation: they are temporary, and an instance may outlive them."""
    access, secret = context.getSecurityAccessKey(), context.getSecuritySecretKey()
    token = context.getSecurityToken() or None
    credentials = Credentials(access, secret, token) if access and secret else None
    return PlatformValues(credentials=credentials, project_id=context.getProjectID() or None)


def _remaining_seconds(context: FunctionGraphContext, environ: Mapping[str, str]) -> float:
    """The context's remaining time where it is plausible, else the configured timeout.

    Public replicas of the runtime mix up seconds and milliseconds. At its beginning a run has nearly all of
    its time, so a number that could be seconds is taken for such, and not believed.
    """
    configured = environ.get("RUNTIME_TIMEOUT", "")
    timeout = float(configured) if configured.isdecimal() else _DEFAULT_TIMEOUT_SECONDS
    milliseconds = float(context.getRemainingTimeInMilliSeconds())
    if not configured and milliseconds > 0:
        return milliseconds / 1000
    return milliseconds / 1000 if timeout < milliseconds <= timeout * 1000 else timeout


_door = FunctionGraphAdapter(os.environ)


def initializer(context: FunctionGraphContext) -> None:
    """What FunctionGraph calls once for each instance, before its first event."""
    _door.initialize(context)


def handler(event: object, context: FunctionGraphContext) -> Reply:
    """What FunctionGraph calls; the reply is JSON, its form that of the contract for each kind of event."""
    return _door(event, context)
