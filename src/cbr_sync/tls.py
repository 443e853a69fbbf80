"""TLS trust store: the certificate authorities, read one by one when they are needed.

Reading all of them at once, as httpx does, is a tenth of a cold start's CPU time.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from cbr_sync.errors import SettingMistake, SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

# certifi's authorities, each in a file named by the hash of its subject, as OpenSSL looks for it; put there
# by the build. Source: openssl-rehash(1); Python's ssl.SSLContext.load_verify_locations, capath.
AUTHORITIES = Path(__file__).parent / "authorities"


def build_tls_context(environ: Mapping[str, str], authorities: Path = AUTHORITIES) -> ssl.SSLContext:
    """Build the context for all connections.

    Args:
        environ: The function's environment; SSL_CERT_FILE, then SSL_CERT_DIR name other authorities, as with
            httpx.
        authorities: Folder of certificates that the build made; where there is none, certifi's file is read.

    Returns:
        A context that verifies servers, whatever folder or file its authorities come from.

    Raises:
        SettingsError: One of these variables, or SSLKEYLOGFILE, names what cannot be used.
    """
    name = next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if environ.get(name)), "")
    value = environ.get(name, "")
    try:
        if name == "SSL_CERT_FILE":
            return ssl.create_default_context(cafile=value)
        if name == "SSL_CERT_DIR":
            # OpenSSL takes a list of folders, and is silent about one that does not exist.
            if not any(Path(folder).is_dir() for folder in value.split(os.pathsep)):
                raise NotADirectoryError
            return ssl.create_default_context(capath=value)
        if authorities.is_dir():
            return ssl.create_default_context(capath=authorities)
        import certifi  # noqa: PLC0415 - only where it was not built: on a developer's machine

        return ssl.create_default_context(cafile=certifi.where())
    except (OSError, ValueError) as error:
        mistake = _build_mistake(name, error)
        if mistake is None:
            raise
        raise SettingsError([mistake]) from error


def _build_mistake(name: str, error: OSError | ValueError) -> SettingMistake | None:
    # ssl itself reads SSLKEYLOGFILE, and of no other file that it cannot open does it give the name.
    if isinstance(error, OSError) and error.filename is not None:
        found = f"found a file that cannot be written ({error.strerror})"
        return SettingMistake("SSLKEYLOGFILE", found, expected="one that can")
    if not name:
        return None
    if name == "SSL_CERT_DIR":
        expected = "one of certificates in PEM, made by openssl rehash"
        return SettingMistake(name, "found no folder", expected=expected)
    return SettingMistake(name, "found no certificates", expected="a file of them in PEM")
