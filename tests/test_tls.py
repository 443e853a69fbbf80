"""Whom the function trusts: a server whose authority is known, and no other."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import certifi
import pytest
import trustme

import bundle
from cbr_sync.app import App
from cbr_sync.errors import NotAcceptedError, SettingsError
from cbr_sync.monitoring.logger import make_logger
from cbr_sync.settings import Settings
from cbr_sync.tls import build_tls_context
from cbr_sync.transport import new_request, send
from support.sockets import make_transport
from support.world import World


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing."""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """An authority that nobody knows."""
    return trustme.CA(organization_name="Ärger & Söhne  GmbH")


@pytest.fixture
def url(authority: trustme.CA) -> Iterator[str]:
    """A server with a certificate from it."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with HTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"https://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def get(url: str, environ: Mapping[str, str], authorities: Path) -> int:
    """The status of an answer from a server that is trusted."""
    with make_transport(build_tls_context(environ, authorities)) as transport:
        return send(transport, new_request("GET", url, {}), auth=None, timeout_seconds=5).status_code


@pytest.fixture
def known(authority: trustme.CA, tmp_path: Path) -> Path:
    """The authority in a folder, as the build puts it there, and beside it in one file."""
    authority.cert_pem.write_to_path(str(tmp_path / "all.pem"))
    bundle.split_authorities(tmp_path / "all.pem", tmp_path / "authorities")
    return tmp_path / "authorities"


def test_an_authority_in_the_built_folder_is_found(url: str, known: Path) -> None:
    """By the name that the build gave it, though nothing was read before the connection."""
    context = build_tls_context({}, known)
    assert context.cert_store_stats()["x509_ca"] == 0
    assert get(url, {}, known) == 204


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_the_standard_variables_go_first(url: str, known: Path, tmp_path: Path, name: str) -> None:
    """Behind a proxy that looks into everything, these say what is trusted."""
    (tmp_path / "empty").mkdir()
    value = {"SSL_CERT_FILE": known.parent / "all.pem", "SSL_CERT_DIR": known}[name]
    assert get(url, {name: str(value)}, tmp_path / "empty") == 204


@pytest.mark.parametrize("folder", ["empty", "nowhere"])
def test_an_unknown_authority_is_refused(url: str, tmp_path: Path, folder: str) -> None:
    """Whether the folder was built or certifi's file is read."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotAcceptedError, match="CERTIFICATE_VERIFY_FAILED"):
        get(url, {}, tmp_path / folder)


def test_where_nothing_was_built_certifi_is_read(tmp_path: Path) -> None:
    """As on a developer's machine."""
    assert build_tls_context({}, tmp_path / "nowhere").cert_store_stats()["x509_ca"] > 100


def test_the_app_trusts_whom_the_variables_say(url: str, known: Path, world: World) -> None:
    """Its connections are made with them, not with the process's own."""
    environ = {**world.environ, "SSL_CERT_DIR": str(known)}
    app = App(Settings.load(environ), environ, make_logger(environ))
    assert send(app.http, new_request("GET", url, {}), auth=None, timeout_seconds=5).status_code == 204
    app.close()


def mistakes_of(environ: Mapping[str, str], authorities: Path) -> tuple[str, ...]:
    """What is said of these variables."""
    with pytest.raises(SettingsError) as error:
        build_tls_context(environ, authorities)
    return tuple(map(str, error.value.mistakes))


def test_a_list_of_folders_is_one_to_openssl(url: str, known: Path, tmp_path: Path) -> None:
    """One of them has to be there."""
    folders = {"SSL_CERT_DIR": os.pathsep.join([str(tmp_path / "nowhere"), str(known)])}
    assert get(url, folders, tmp_path / "empty") == 204


@pytest.mark.parametrize("content", [None, "", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
@pytest.mark.parametrize("more", [{}, {"SSL_CERT_DIR": "/nowhere", "HTTPS_PROXY": "http://proxy:3128"}])
def test_a_file_without_certificates_is_a_mistake_by_name(
    known: Path, tmp_path: Path, content: str | None, more: dict[str, str]
) -> None:
    """It is the one that counts, and the only one named."""
    if content is not None:
        (tmp_path / "file.pem").write_text(content)
    mistakes = mistakes_of({"SSL_CERT_FILE": str(tmp_path / "file.pem"), **more}, known)
    assert mistakes == ("SSL_CERT_FILE: found no certificates, expected a file of them in PEM",)


@pytest.mark.parametrize("name", ["nowhere", "all.pem", "nowhere\0"])
def test_a_folder_that_is_none_is_a_mistake_by_name(known: Path, name: str) -> None:
    """OpenSSL would trust nobody, and not say why."""
    assert mistakes_of({"SSL_CERT_DIR": str(known.parent / name)}, known) == (
        "SSL_CERT_DIR: found no folder, expected one of certificates in PEM, made by openssl rehash",
    )


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR", "authorities", "certifi"])
def test_a_key_log_that_cannot_be_written_is_blamed_on_nothing_else(
    known: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Python's ssl opens it by itself, whatever else is set."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path))
    values = {"SSL_CERT_FILE": str(known.parent / "all.pem"), "SSL_CERT_DIR": str(known)}
    environ = {name: values[name]} if name in values else {}
    (mistake,) = mistakes_of(environ, known if name == "authorities" else tmp_path / "nowhere")
    assert mistake.startswith("SSLKEYLOGFILE: found a file that cannot be written (Is a directory), expected")


def test_a_key_log_that_can_be_written_is(
    url: str, known: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with every other client of Python."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys.log"))
    assert get(url, {}, known) == 204
    assert "CLIENT_TRAFFIC_SECRET" in (tmp_path / "keys.log").read_text()


def test_every_authority_of_certifi_gets_its_file(tmp_path: Path) -> None:
    """None is lost, also where two share a subject."""
    bundle.split_authorities(Path(certifi.where()), tmp_path / "authorities")
    files = sorted((tmp_path / "authorities").iterdir())
    content = Path(certifi.where()).read_text(encoding="ascii")
    assert len(files) == content.count("BEGIN CERTIFICATE")
    assert all(file.read_text(encoding="ascii") in content for file in files)


def test_without_openssl_the_build_says_what_that_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the function reads certifi's file."""
    monkeypatch.setenv("PATH", str(tmp_path))
    bundle.split_authorities(Path(certifi.where()), tmp_path / "authorities")
    assert "No openssl found" in capsys.readouterr().err
    assert not (tmp_path / "authorities").exists()
