"""The commands ``webhook new-secret``, ``webhook sign`` and ``webhook send``."""

from __future__ import annotations

import base64
import os
import secrets
import shlex
import sys
import time
from typing import Annotated

import httpx
import typer

from cbr_sync.cli.options import ExitCode, fail, fail_usage, read_webhook_secret
from cbr_sync.local import build_signature_headers

_TIMEOUT_SECONDS = 60.0
_SECRET_BYTES = _TOKEN_BYTES = 32

Body = Annotated[
    str, typer.Argument(metavar="BODY", help='JSON, such as {"vault_id": "..."}; - reads stdin.')
]


def print_new_secret() -> None:
    """Print a new secret for senders that sign, and a new token for those that cannot.

    Set one of them, or both; nothing is stored here.

    Example: cbr-sync webhook new-secret
    """
    typer.echo(
        f"CBR_SYNC_WEBHOOK_SECRET=whsec_{base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()}"
    )
    typer.echo(f"CBR_SYNC_WEBHOOK_TOKEN={secrets.token_urlsafe(_TOKEN_BYTES)}")


def sign_webhook(
    body: Body,
    url: Annotated[str, typer.Option(help="URL of the webhook.")] = "https://example.com/",
) -> None:
    """Print the signature headers of a body, and a curl command that sends it.

    It signs with the first secret in CBR_SYNC_WEBHOOK_SECRET, which keeps it out of the shell's history.

    Example: cbr-sync webhook sign '{"vault_id": "8d3a8b28-a697-41e2-8d5d-903669f8a02d"}' --url https://example.com/
    """
    content = _read_body(body)
    headers = build_signature_headers(content, read_webhook_secret(os.environ), now=time.time())
    for key, value in headers.items():
        typer.echo(f"{key}: {value}")
    words = ["curl", "--request", "POST", url, "--header", "content-type: application/json"]
    for key, value in headers.items():
        words += ["--header", f"{key}: {value}"]
    typer.echo("\n" + shlex.join([*words, "--data-raw", content.decode()]))


def send_webhook(body: Body, url: Annotated[str, typer.Option(help="URL of the webhook.")]) -> None:
    """Sign a body, send it, and show the response.

    It signs with the first secret in CBR_SYNC_WEBHOOK_SECRET. Exits with 1 unless the response is 200.

    Example: cbr-sync webhook send '{"vault_id": "8d3a8b28-a697-41e2-8d5d-903669f8a02d"}' --url https://example.com/
    """
    content = _read_body(body)
    headers = build_signature_headers(content, read_webhook_secret(os.environ), now=time.time())
    headers["content-type"] = "application/json"
    try:
        response = httpx.post(url, content=content, headers=headers, timeout=_TIMEOUT_SECONDS)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError):
        fail_usage(f"--url {url}: expected a URL such as https://example.com/sync")
    except httpx.HTTPError as error:
        fail(f"no response from {url}: {error}")
    except (OSError, ValueError, ImportError):
        # What httpx raises before it connects; its words may hold the password of a proxy.
        fail(f"no response from {url}: check HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE, one of them is wrong")
    typer.echo(f"HTTP {response.status_code} {response.reason_phrase}", err=True)
    typer.echo(response.text)
    raise typer.Exit(ExitCode.OK if response.status_code == httpx.codes.OK else ExitCode.FAILED)


def _read_body(text: str) -> bytes:
    try:
        return (sys.stdin.read() if text == "-" else text).encode()
    except UnicodeEncodeError:
        fail_usage("the body is not UTF-8 text")
