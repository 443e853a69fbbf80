"""What lives as long as an instance of the function: settings, clock, connections."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from cbr_sync.clock import Clock
from cbr_sync.credentials import KeyStates
from cbr_sync.retry import Retrier
from cbr_sync.tls import build_tls_context
from cbr_sync.transport import HttpTransport

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    import httpx
    from aws_lambda_powertools import Logger

    from cbr_sync.settings import Settings
    from cbr_sync.sinks.flood import FloodLimit
    from cbr_sync.sync import Progress

_PING_CONNECTIONS = 2


class App:
    """What lives as long as an instance of the function.

    Attributes:
        settings: The settings of the instance.
        environ: The variables that it was set up with.
        logger: Its logger.
        clock: Its clock.
        key_states: Which keys an API has accepted or refused.
        retrier: Repeats attempts, as often as the settings allow.
        on_progress: Called with each vault's progress.
        http: The connections of everything but pings.
        found_project_id: The project that IAM knows for the region; None until it was asked.
    """

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        logger: Logger,
        *,
        clock: Clock | None = None,
        transport: httpx.BaseTransport | None = None,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        """Open an instance.

        Args:
            settings: As the attribute.
            environ: As the attribute.
            logger: As the attribute.
            clock: The machine's, if left out.
            transport: Answers all requests in place of the network.
            on_progress: As the attribute; called from several threads.

        Raises:
            SettingsError: A variable for proxies or TLS is wrong.
        """
        self.settings = settings
        self.environ = environ
        self.logger = logger
        self.clock = clock or Clock()
        self.key_states = KeyStates(self.clock)
        self.retrier = Retrier(self.clock, settings.max_attempts)
        self.on_progress = on_progress
        self._transport = transport
        self.http = self._open_transport(settings.concurrency)
        self.found_project_id: str | None = None

    def close(self) -> None:
        """Close the connections; a platform just freezes them, the command line opens several instances."""
        self.http.close()
        if "ping_http" in vars(self):
            self.ping_http.close()

    @cached_property
    def ping_http(self) -> httpx.BaseTransport:
        """The connections of pings: one that hangs keeps no worker waiting."""
        return self._open_transport(_PING_CONNECTIONS)

    @cached_property
    def flood_limit(self) -> FloodLimit:
        """How often people are written to."""
        from cbr_sync.sinks.flood import FloodLimit  # noqa: PLC0415 - only where people are written to

        return FloodLimit(self.clock)

    @cached_property
    def _tls_context(self) -> ssl.SSLContext:
        return build_tls_context(self.environ)

    def _open_transport(self, connections: int) -> httpx.BaseTransport:
        if self._transport is not None:
            return self._transport
        return HttpTransport(self._tls_context, max_idle_connections=connections, environ=self.environ)
