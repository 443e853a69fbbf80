"""Which request goes through which proxy, as the standard variables say it.

Sources: curl(1), "ENVIRONMENT" and "--noproxy"; httpx, "Environment Variables". Lower case goes before upper
case, the scheme's own variable before ALL_PROXY, and a value without a scheme is an http:// proxy.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, NamedTuple

import httpx

from cbr_sync.errors import SettingMistake, SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_DEFAULT_PORTS = {"http": 80, "https": 443}
_PORTS = range(1, 65536)


class Proxies:
    """Chooses the proxy for a URL."""

    def __init__(self, by_scheme: Mapping[str, httpx.Proxy], no_proxy: str = "") -> None:
        """Choose among these.

        Args:
            by_scheme: The proxy for ``http`` and for ``https`` URLs, where there is one.
            no_proxy: What NO_PROXY says: hosts, domains, addresses and networks separated by commas, each
                with or without a port, or ``*``. An entry that cannot be read bypasses nothing.
        """
        self._by_scheme = by_scheme
        self._no_proxy = no_proxy.lower().replace(",", " ").split()
        self._chosen: dict[tuple[str, str, int | None], httpx.Proxy | None] = {}

    def choose(self, url: httpx.URL) -> httpx.Proxy | None:
        """Return the proxy for this URL; None where it is reached directly, as loopback always is."""
        origin = (url.scheme, url.host, url.port)
        if origin not in self._chosen:
            self._chosen[origin] = None if self._is_bypassed(url) else self._by_scheme.get(url.scheme)
        return self._chosen[origin]

    def _is_bypassed(self, url: httpx.URL) -> bool:
        host = _Host(
            url.host.rstrip("."), _parse_address(url.host), url.port or _DEFAULT_PORTS.get(url.scheme)
        )
        if host.name == "localhost" or (host.address is not None and host.address.is_loopback):
            return True
        return any(entry == "*" or host.matches(entry) for entry in self._no_proxy)


class _Host(NamedTuple):
    """Where a request goes."""

    name: str
    address: Address | None
    port: int | None

    def matches(self, entry: str) -> bool:
        """Return whether an entry of NO_PROXY means this host."""
        if self._is_in(entry.strip("[]")):
            return True
        name, colon, port = entry.rpartition(":")
        if colon and port.isdecimal():
            return port == str(self.port) and (self._is_in(name.strip("[]")) or self._is_named(name))
        return self._is_named(entry)

    def _is_in(self, network: str) -> bool:
        try:
            return self.address is not None and self.address in ipaddress.ip_network(network, strict=False)
        except ValueError:
            return False

    def _is_named(self, domain: str) -> bool:
        """Return whether this is the domain itself or below it; a leading dot or ``*.`` changes nothing."""
        domain = domain.removeprefix("*").strip(".")
        return bool(domain) and self.address is None and f".{self.name}".endswith(f".{domain}")


def read_proxies(environ: Mapping[str, str]) -> Proxies:
    """Read HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in lower or upper case.

    Raises:
        SettingsError: One of them is no URL of a proxy that can be used. Its value is not shown, since it may
            hold a password.
    """
    names = {scheme: _find_name(environ, f"{scheme}_proxy", "all_proxy") for scheme in _DEFAULT_PORTS}
    proxies: dict[str, httpx.Proxy] = {}
    mistakes: dict[str, SettingMistake] = {}
    for scheme, name in names.items():
        if name is None:
            continue
        try:
            proxies[scheme] = _parse_proxy(environ[name])
        except ValueError as error:
            expected = "a URL such as http://proxy.example.com:3128"
            mistakes[name] = SettingMistake(name, f"found {error}", expected=expected)
    if mistakes:
        raise SettingsError([*mistakes.values()])
    no_proxy = _find_name(environ, "no_proxy")
    return Proxies(proxies, environ[no_proxy] if no_proxy else "")


def _find_name(environ: Mapping[str, str], *names: str) -> str | None:
    both_cases = [case for name in names for case in (name, name.upper())]
    return next((name for name in both_cases if environ.get(name)), None)


def _parse_proxy(value: str) -> httpx.Proxy:
    """Parse a proxy's URL.

    Raises:
        ValueError: It cannot be used; the text says why, and shows nothing of it.
    """
    value = value.strip()
    try:
        url = httpx.URL(value if "://" in value else f"http://{value}")
    except (httpx.InvalidURL, UnicodeError):
        raise ValueError("no URL") from None
    if url.scheme.startswith("socks"):
        raise ValueError("a SOCKS proxy, which cbr-sync cannot use")
    if url.scheme not in _DEFAULT_PORTS:
        raise ValueError("neither an http:// nor an https:// URL")
    if not url.host or "%" in url.host or (url.port is not None and url.port not in _PORTS):
        raise ValueError("a URL without a host and port that can be connected to")
    return httpx.Proxy(url)


def _parse_address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
