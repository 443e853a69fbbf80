"""Who is reached through which proxy, and what is said of a variable that is wrong."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbr_sync.errors import SettingsError
from cbr_sync.proxies import read_proxies

PROXY = "http://proxy.example.com:3128"
OTHER = "http://other.example.com:8080"
API = "https://cbr.cn-north-4.myhuaweicloud.com/v3"


def chosen(environ: dict[str, str], url: str = API) -> str | None:
    """The proxy for this URL."""
    proxy = read_proxies(environ).choose(httpx.URL(url))
    return None if proxy is None else str(proxy.url)


@pytest.mark.parametrize(
    ("environ", "url", "proxy"),
    [
        ({"HTTPS_PROXY": PROXY}, API, PROXY),
        ({"https_proxy": PROXY}, API, PROXY),
        ({"https_proxy": PROXY, "HTTPS_PROXY": OTHER}, API, PROXY),
        ({"https_proxy": "", "HTTPS_PROXY": PROXY}, API, PROXY),
        ({"HTTPS_PROXY": PROXY}, "http://example.com/", None),
        ({"HTTP_PROXY": PROXY}, "http://example.com/", PROXY),
        ({"HTTP_PROXY": PROXY}, API, None),
        ({"ALL_PROXY": PROXY}, API, PROXY),
        ({"all_proxy": PROXY}, "http://example.com/", PROXY),
        ({"ALL_PROXY": PROXY, "HTTPS_PROXY": OTHER}, API, OTHER),
        ({"ALL_PROXY": PROXY, "HTTPS_PROXY": OTHER}, "http://example.com/", PROXY),
        ({"HTTPS_PROXY": "proxy.example.com:3128"}, API, PROXY),
        ({"HTTPS_PROXY": f" {PROXY} "}, API, PROXY),
        ({"HTTPS_PROXY": "https://proxy.example.com"}, API, "https://proxy.example.com"),
        ({"HTTPS_PROXY": "http://[fd00::1]:3128"}, API, "http://[fd00::1]:3128"),
        ({}, API, None),
    ],
)
def test_the_standard_variables_choose_the_proxy(
    environ: dict[str, str], url: str, proxy: str | None
) -> None:
    """As curl and httpx read them."""
    assert chosen(environ, url) == proxy


@pytest.mark.parametrize(
    ("value", "auth"),
    [
        (PROXY, None),
        ("http://me:word@proxy:1", (b"me", b"word")),
        ("http://me:p%40ss%3A@proxy:1", (b"me", b"p@ss:")),
        ("me@proxy:1", (b"me", b"")),
        ("http://me:长@proxy:1", (b"me", "长".encode())),
    ],
)
def test_a_proxy_may_want_a_password(value: str, auth: tuple[bytes, bytes] | None) -> None:
    """In the URL, percent-encoded where it has to be; and it does not stay in the URL."""
    proxy = read_proxies({"HTTPS_PROXY": value}).choose(httpx.URL(API))
    assert proxy is not None
    assert proxy.raw_auth == auth
    assert not proxy.url.userinfo


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        ("*", API, True),
        ("other, *", API, True),
        ("cbr.cn-north-4.myhuaweicloud.com", API, True),
        ("CBR.cn-north-4.MyHuaweiCloud.com", API, True),
        ("myhuaweicloud.com", API, True),
        (".myhuaweicloud.com", API, True),
        ("*.myhuaweicloud.com", API, True),
        ("myhuaweicloud.com.", API, True),
        ("huaweicloud.com", API, False),
        ("north-4.myhuaweicloud.com", API, False),
        ("com", API, True),
        ("a,,b , myhuaweicloud.com", API, True),
        ("a b myhuaweicloud.com", API, True),
        ("myhuaweicloud.com:443", API, True),
        ("myhuaweicloud.com:444", API, False),
        ("example.com:8443", "https://example.com:8443/", True),
        ("example.com", "https://example.com:8443/", True),
        ("example.com:80", "http://example.com/", True),
        ("example.com", "https://example.com./", True),
        ("10.0.0.1", "https://10.0.0.1/", True),
        ("10.0.0.1:443", "https://10.0.0.1/", True),
        ("10.0.0.1:80", "https://10.0.0.1/", False),
        ("10.0.0.0/8", "https://10.1.2.3/", True),
        ("10.1.2.3/8", "https://10.9.9.9/", True),
        ("10.0.0.0/16", "https://10.1.2.3/", False),
        ("0.0.1", "https://10.0.0.1/", False),
        ("fd00::/8", "https://[fd00::1]/", True),
        ("[fd00::1]", "https://[fd00:0::1]/", True),
        ("[fd00::1]:443", "https://[fd00::1]/", True),
        ("[fd00::1]:80", "https://[fd00::1]/", False),
        ("fd00::1", "https://[fd00::1]/", True),
        ("fd00::/8", "https://10.1.2.3/", False),
        ("localhost,127.0.0.1,[::1]", API, False),
        ("", API, False),
    ],
)
def test_no_proxy_names_who_is_reached_directly(no_proxy: str, url: str, direct: bool) -> None:
    """Hosts and all below them, addresses, networks, with a port or without."""
    for name in ("NO_PROXY", "no_proxy"):
        assert chosen({"ALL_PROXY": PROXY, name: no_proxy}, url) == (None if direct else PROXY)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "[::1]"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_loopback_is_behind_no_proxy(host: str, scheme: str) -> None:
    """Whatever NO_PROXY says."""
    assert chosen({"ALL_PROXY": PROXY, "NO_PROXY": "example.com"}, f"{scheme}://{host}:2773/") is None


@given(st.text())
def test_whatever_no_proxy_holds_is_no_error(no_proxy: str) -> None:
    """What cannot be read bypasses nothing; loopback and a star do what they always do."""
    proxies = read_proxies({"ALL_PROXY": PROXY, "NO_PROXY": no_proxy})
    for url in (API, "https://10.0.0.1:8443/", "https://[fd00::1]/", "https://localhost/"):
        assert proxies.choose(httpx.URL(url)) is proxies.choose(httpx.URL(url))


def test_an_odd_entry_spoils_no_other() -> None:
    """And itself bypasses nothing."""
    odd = "[::1, 10.0.0.0/99, :443, http://x, a:b:c, ***, [, 1/2/3, ]:, %, .example.com"
    assert chosen({"ALL_PROXY": PROXY, "NO_PROXY": odd}) == PROXY
    assert chosen({"ALL_PROXY": PROXY, "NO_PROXY": odd}, "https://a.example.com/") is None


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("socks5://u:hunter2@h:1", "a SOCKS proxy"),
        ("socks4a://hunter2", "a SOCKS proxy"),
        ("gopher://u:hunter2@h:1", "neither an http:// nor an https:// URL"),
        ("http://u:hunter2@h:port", "no URL"),
        ("http://u:hunter2@[::1", "no URL"),
        ("http://u:hunter2@h:99999", "without a host and port"),
        ("http://u:hunter2@h:0", "without a host and port"),
        ("http://u:hunter2@", "without a host and port"),
        ("hunter2 and more", "without a host and port"),
        ("http://", "without a host and port"),
        ("  ", "without a host and port"),
    ],
)
def test_a_wrong_value_is_a_mistake_by_name(name: str, value: str, found: str) -> None:
    """By its own name and no other, without its value; with an URL to follow."""
    with pytest.raises(SettingsError) as error:
        read_proxies({name: value, "NO_PROXY": "localhost,127.0.0.1,[::1]"})
    (mistake,) = map(str, error.value.mistakes)
    assert mistake.startswith(f"{name}: found ")
    assert found in mistake
    assert mistake.endswith(", expected a URL such as http://proxy.example.com:3128")
    assert "hunter2" not in str(error.value)


def test_all_wrong_values_are_named_at_once() -> None:
    """And those that are right are not."""
    wrong = {"HTTPS_PROXY": "socks5://h", "HTTP_PROXY": "http://h:x", "ALL_PROXY": PROXY}
    with pytest.raises(SettingsError) as error:
        read_proxies(wrong)
    assert sorted(mistake.name for mistake in error.value.mistakes) == ["HTTPS_PROXY", "HTTP_PROXY"]
