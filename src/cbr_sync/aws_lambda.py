"""Entry point on AWS Lambda: ``cbr_sync.aws_lambda.handler``."""

# ruff: noqa: E402
from __future__ import annotations

import gc

# Modules live as long as the instance; searching them for garbage costs a twentieth of a cold start.
gc.disable()

import os
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Protocol

import httpcore  # noqa: F401 - as Powertools, below

from cbr_sync.app import App
from cbr_sync.clock import Clock
from cbr_sync.credentials import PlatformValues
from cbr_sync.handler import handle
from cbr_sync.monitoring.logger import import_powertools, make_logger
from cbr_sync.monitoring.metrics import RunMetrics
from cbr_sync.run import Context
from cbr_sync.settings import Settings

# Every event needs it and httpcore: Lambda starts a function with more of a processor than it runs it with.
import_powertools()

gc.freeze()
gc.enable()

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx
    from aws_lambda_powertools import Logger

    from cbr_sync.aws.secrets import SecretReader
    from cbr_sync.results import RunResult
    from cbr_sync.sync import Progress
    from cbr_sync.triggers.base import Reply

# How long the secret may take, in seconds and as a share of the invocation's time.
_SECRET_SECONDS = 5.0
_SECRET_SHARE = 0.5


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
            read_platform_values=self._build_value_reader(context),
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

    @cached_property
    def _secret(self) -> SecretReader:
        from cbr_sync.aws.secrets import SecretReader  # noqa: PLC0415 - only where there is a secret

        app = self._app
        return SecretReader(
            app.settings.secret_id or "",
            self._environ,
            transport=app.http,
            clock=app.clock,
            retrier=app.retrier,
            request_timeout_seconds=app.settings.request_timeout_seconds,
        )

    def _build_value_reader(self, context: LambdaContext) -> Callable[[], PlatformValues]:
        """Return what reads the platform's values in one invocation; who asks again wants them renewed."""
        readings = count()

        def read() -> PlatformValues:
            if not self._app.settings.secret_id:
                return PlatformValues()
            seconds = min(_SECRET_SECONDS, context.get_remaining_time_in_millis() / 1000 * _SECRET_SHARE)
            deadline = self._clock.monotonic() + seconds
            return self._secret.read(deadline=deadline, is_renewal=next(readings) > 0)

        return read


_adapter = LambdaAdapter(os.environ)


def handler(event: object, context: LambdaContext) -> Reply:
    """Handle one event; Lambda calls this."""
    return _adapter(event, context)
