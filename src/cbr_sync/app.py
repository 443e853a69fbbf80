"""What lives as long as an instance of the function: settings, clock, connections."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import httpx

from cbr_sync.clock import Clock
from cbr_sync.credentials import KeyStates
from cbr_sync.errors import SettingMistake, SettingsError
from cbr_sync.retry import Retrier
from cbr_sync.tls import tls_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from aws_lambda_powertools import Logger

    from cbr_sync.settings import Settings
    from cbr_sync.sync import Progress

# Loopback is never behind a proxy, and what goes to the secrets extension is not a proxy's business.
_NO_PROXY = {"all://localhost": None, "all://127.0.0.1": None, "all://[::1]": None}
_PROXIES = {"HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"}
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
        self.http = self._open_client(settings.concurrency)
        self.found_project_id: str | None = None

    def close(self) -> None:
        """Close the connections; a platform just freezes them, the command line opens several instances."""
        self.http.close()
        if "ping_http" in vars(self):
            self.ping_http.close()

    @cached_property
    def ping_http(self) -> httpx.Client:
        """The connections of pings: one that hangs keeps no worker waiting."""
        return self._open_client(_PING_CONNECTIONS)

    @cached_property
    def _trust(self) -> ssl.SSLContext | bool:
        """The TLS trust store; a transport that is given brings its own, if any."""
        return True if self._transport else tls_context(self.environ)

    def _open_client(self, connections: int) -> httpx.Client:
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        try:
            return httpx.Client(
                transport=self._transport, verify=self._trust, limits=limits, mounts=_NO_PROXY
            )
        except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
            # Its text may show a proxy's password, so it is not chained either.
            raise SettingsError([_build_network_mistake(error, self.environ)]) from None


def _build_network_mistake(error: Exception, environ: Mapping[str, str]) -> SettingMistake:
    """Return which of the variables that httpx and OpenSSL read is wrong, and what is expected there."""
    trust = [name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if environ.get(name)]
    if trust and isinstance(error, OSError):
        return SettingMistake(trust[0], "found no certificates", expected="a file or a folder of them in PEM")
    named = [name for name in environ if name.upper() in _PROXIES and environ[name]]
    return SettingMistake(
        ", ".join(named) or "HTTPS_PROXY",
        f"no proxy ({type(error).__name__})",
        expected="a URL such as http://proxy:3128",
        variables=tuple(named),
    )
