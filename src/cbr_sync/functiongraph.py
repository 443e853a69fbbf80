"""Entry point on Huawei FunctionGraph: ``index.handler`` and ``index.initializer`` call this module.

Source: FunctionGraph Developer Guide, Python, "Context"; the names are the platform's.
"""

# ruff: noqa: E402
from __future__ import annotations

import gc

# Modules live as long as the instance; searching them for garbage costs a twentieth of a cold start.
gc.disable()

import os
from typing import TYPE_CHECKING, Protocol

from cbr_sync.app import App
from cbr_sync.credentials import Credentials, PlatformValues
from cbr_sync.handler import handle
from cbr_sync.monitoring.logger import make_logger
from cbr_sync.run import Context
from cbr_sync.settings import DOCUMENTED_NAMES, Settings

gc.freeze()
gc.enable()

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx

    from cbr_sync.clock import Clock
    from cbr_sync.results import RunResult
    from cbr_sync.sync import Progress
    from cbr_sync.triggers.base import Reply

# The platform's default where RUNTIME_TIMEOUT is not to be had.
_DEFAULT_TIMEOUT_SECONDS = 3.0


class FunctionGraphContext(Protocol):
    """What the adapter needs of the platform's context."""

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
        """Prepare an instance; the arguments are those of the Lambda adapter."""
        self._environ = environ
        self._clock = clock
        self._transport = transport
        self._on_progress = on_progress
        self._on_result = on_result
        self._is_replay = is_replay
        self._app: App | None = None

    def initialize(self, context: FunctionGraphContext) -> None:
        """Build what lives as long as the instance.

        Raises:
            SettingsError: With every mistake; the platform then discards the instance and shows it.
        """
        self._open_app(context)

    def close(self) -> None:
        """End the instance."""
        if self._app is not None:
            self._app.close()

    def __call__(self, event: object, context: FunctionGraphContext) -> Reply:
        """Handle one event and return the reply; raises as :func:`cbr_sync.handler.handle` does."""
        run_context = Context(
            request_id=context.getRequestID(),
            remaining_seconds=_read_remaining_seconds(context, self._environ),
            app=lambda: self._open_app(context),
            read_platform_values=lambda: _read_platform_values(context),
            logger=make_logger(_add_user_data(self._environ, context)),
            on_result=self._on_result,
            is_functiongraph=True,
            is_replay=self._is_replay,
        )
        return handle(event, run_context)

    def _open_app(self, context: FunctionGraphContext) -> App:
        if self._app is None:
            environ = _add_user_data(self._environ, context)
            values = _read_platform_values(context)
            settings = Settings.load(
                environ,
                credentials_given=values.credentials is not None,
                project_id_given=values.project_id is not None,
                defers_to="function",
            )
            self._app = App(
                settings,
                environ,
                make_logger(environ),
                clock=self._clock,
                transport=self._transport,
                on_progress=self._on_progress,
            )
        return self._app


def _add_user_data(environ: Mapping[str, str], context: FunctionGraphContext) -> dict[str, str]:
    """The environment, with what getUserData has in front: encrypted variables stand only there."""
    user_data = {name: value for name in DOCUMENTED_NAMES if (value := context.getUserData(name))}
    return {**environ, **user_data}


def _read_platform_values(context: FunctionGraphContext) -> PlatformValues:
    """The agency's keys of this invocation: they are temporary, and an instance may outlive them."""
    access, secret = context.getSecurityAccessKey(), context.getSecuritySecretKey()
    token = context.getSecurityToken() or None
    credentials = Credentials(access, secret, token) if access and secret else None
    return PlatformValues(credentials=credentials, project_id=context.getProjectID() or None)


def _read_remaining_seconds(context: FunctionGraphContext, environ: Mapping[str, str]) -> float:
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


_adapter = FunctionGraphAdapter(os.environ)


def initializer(context: FunctionGraphContext) -> None:
    """Set the instance up; FunctionGraph calls this once, before the first event."""
    _adapter.initialize(context)


def handler(event: object, context: FunctionGraphContext) -> Reply:
    """Handle one event; FunctionGraph calls this."""
    return _adapter(event, context)
