"""Whom to trust: the certificate authorities, read one by one when they are needed.

Reading all of them at once, as httpx does, is a tenth of a cold start's CPU time.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# certifi's authorities, each in a file named by the hash of its subject, as OpenSSL looks for it; put there
# by the build. Source: openssl-rehash(1); Python's ssl.SSLContext.load_verify_locations, capath.
AUTHORITIES = Path(__file__).parent / "authorities"


def tls_context(environ: Mapping[str, str], authorities: Path = AUTHORITIES) -> ssl.SSLContext:
    """The context for all connections; SSL_CERT_FILE and SSL_CERT_DIR go first, as with httpx.

    Raises:
        OSError: SSL_CERT_FILE cannot be read.
    """
    if file := environ.get("SSL_CERT_FILE"):
        return ssl.create_default_context(cafile=file)
    if folder := environ.get("SSL_CERT_DIR"):
        return ssl.create_default_context(capath=folder)
    if authorities.is_dir():
        return ssl.create_default_context(capath=authorities)
    import certifi  # noqa: PLC0415 - only where it was not built: on a laptop

    return ssl.create_default_context(cafile=certifi.where())
