"""What the tests of sinks share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from moto.server import ThreadedMotoServer

from support.moto_server import Moto


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    """A server for all tests of a module."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield Moto(f"http://{host}:{port}")
    server.stop()
