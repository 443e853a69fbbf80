"""The simulator behind a socket: the same answers and faults, on real connections."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

import httpx
import pytest

from cbr_sync.clock import Clock
from cbr_sync.huawei.signing import SdkHmacAuth
from cbr_sync.simulator.cloud import Simulator
from cbr_sync.simulator.faults import HUGE_BYTES, Fault
from cbr_sync.simulator.models import SIMULATOR_CREDENTIALS, Request
from cbr_sync.simulator.server import SimulatorServer
from support.simulator_client import LOGS, SYNC, post_sync
from support.world import VMWARE, World

AUTH = SdkHmacAuth(SIMULATOR_CREDENTIALS, Clock().now)
QUICK_SECONDS = 0.001


@contextmanager
def open_client(
    simulator: Simulator, *, timeout: float = 5.0, drip_seconds: float = QUICK_SECONDS
) -> Iterator[httpx.Client]:
    """Serve the simulator, and give a client of it that signs."""
    with (
        SimulatorServer(simulator, drip_seconds=drip_seconds) as server,
        httpx.Client(base_url=server.url, auth=AUTH, timeout=timeout) as client,
    ):
        yield client


@contextmanager
def open_raw(server: SimulatorServer, method: str, target: str, body: bytes = b"") -> Iterator[socket.socket]:
    """Send a signed request over a bare socket, and give the socket."""
    request = httpx.Request(method, server.url + target, content=body)
    next(AUTH.auth_flow(request))
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port or 0), timeout=5) as connection:
        connection.sendall(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body)
        yield connection


def body_of(vault: str) -> dict[str, object]:
    """The body of an ImportCheckpoint."""
    return {"sync": {"vault_id": vault, "auto_trigger": True}}


def faulty(fault: str) -> Simulator:
    """A simulator in real time whose next request meets this fault."""
    simulator = Simulator(now=Clock().now)
    simulator.add_faults(fault)
    return simulator


@pytest.mark.parametrize(
    ("fault", "errors"),
    [
        ("refuse", (httpx.ReadError, httpx.RemoteProtocolError)),
        ("reset", (httpx.ReadError, httpx.RemoteProtocolError)),
        ("reset-after", (httpx.ReadError, httpx.RemoteProtocolError)),
        ("hang", (httpx.ReadTimeout,)),
        ("hang-after", (httpx.ReadTimeout,)),
        ("truncated", (httpx.RemoteProtocolError,)),
    ],
)
def test_a_fault_breaks_a_real_connection(fault: str, errors: tuple[type[Exception], ...]) -> None:
    """The same over a socket."""
    simulator = Simulator(now=Clock().now)
    simulator.add_faults(fault)
    seen: list[Request] = []
    with (
        SimulatorServer(simulator, on_request=seen.append) as server,
        httpx.Client(base_url=server.url, auth=AUTH, timeout=0.2) as client,
    ):
        with pytest.raises(errors):
            client.get("/v3/projects")
        assert client.get("/v3/projects").status_code == 200
    assert [request.fault for request in seen] == [Fault(fault), None]


@pytest.mark.parametrize("fault", ["drip", "drip-after"])
def test_patience_gets_the_whole_of_an_answer_that_drips(fault: str) -> None:
    """Each byte takes its time, and the connection lives on."""
    simulator = faulty(fault)
    begun = time.monotonic()
    with open_client(simulator) as client:
        response = post_sync(client, VMWARE)
        assert time.monotonic() - begun > len(response.content) * QUICK_SECONDS
        assert client.get(LOGS).status_code == 200
    (operation,) = simulator.syncs_of(VMWARE)
    assert response.json()["sync"]["operation_log_id"] == operation.id
    assert simulator.requests[0].status is None


def test_a_drip_is_a_byte_every_half_second() -> None:
    """From the status line on, so that no read timeout ends it."""
    with SimulatorServer(faulty("drip")) as server, open_raw(server, "GET", LOGS) as connection:
        begun = time.monotonic()
        assert [connection.recv(100) for _ in range(3)] == [b"H", b"T", b"T"]
        assert time.monotonic() - begun > 0.9


def test_a_drip_may_begin_after_the_headers() -> None:
    """A client then has a response, and no body."""
    with SimulatorServer(faulty("drip-after")) as server, open_raw(server, "GET", LOGS) as connection:
        head = connection.recv(10_000)
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert head.endswith(b"\r\n\r\n")
        assert connection.recv(100) == b"{"


@pytest.mark.parametrize(("fault", "accepted"), [("interim", False), ("interim-after", True)])
def test_interim_answers_have_no_end(fault: str, accepted: bool) -> None:
    """A client that waits for the final one waits until the server is gone."""
    simulator = faulty(fault)
    body = json.dumps(body_of(VMWARE)).encode()
    with (
        SimulatorServer(simulator, drip_seconds=QUICK_SECONDS) as server,
        open_raw(server, "POST", SYNC, body) as connection,
    ):
        seen = b""
        while seen.count(b"\r\n\r\n") < 50:
            seen += connection.recv(1000)
    assert set(seen.split(b"\r\n\r\n")[:50]) == {b"HTTP/1.1 102 Processing"}
    assert bool(simulator.syncs_of(VMWARE)) == accepted


def test_a_client_gets_through_interim_answers_only_when_the_server_ends() -> None:
    """Each of them comes well within a read timeout, so that many timeouts pass."""
    with (
        httpx.Client(auth=AUTH, timeout=0.8) as client,
        ThreadPoolExecutor(1) as pool,
        SimulatorServer(faulty("interim"), drip_seconds=QUICK_SECONDS) as server,
    ):
        waiting = pool.submit(client.get, server.url + LOGS)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=2)
        server.__exit__()
        with pytest.raises(httpx.RemoteProtocolError):
            waiting.result(timeout=5)


def test_a_bomb_travels_packed() -> None:
    """And leaves the connection as it was."""
    with open_client(faulty("bomb")) as client:
        with client.stream("POST", SYNC, json=body_of(VMWARE)) as response:
            packed = sum(len(piece) for piece in response.iter_raw())
        assert (response.status_code, response.headers["Content-Encoding"]) == (200, "gzip")
        assert packed == int(response.headers["Content-Length"]) < 2**19
        assert client.get(LOGS).status_code == 200


def test_a_huge_page_may_be_left_unread(capfd: pytest.CaptureFixture[str]) -> None:
    """The server goes on, and complains of nothing."""
    with open_client(faulty("huge*2")) as client:
        with client.stream("GET", LOGS) as response:
            first = next(response.iter_raw())
        assert response.status_code == 502
        assert len(first) <= 2**16
        assert len(client.get(LOGS).content) > HUGE_BYTES
        assert client.get(LOGS).status_code == 200
    assert capfd.readouterr() == ("", "")


def test_a_charset_and_a_date_go_out_as_they_are() -> None:
    """Headers of faults are the same as without a socket."""
    with open_client(faulty("charset,retry-after-date,403-permission")) as client:
        assert client.get(LOGS).headers["Content-Type"] == "text/html; charset=undefined"
        assert client.get(LOGS).headers["Retry-After"].endswith(" GMT")
        assert client.get(LOGS).json()["error_code"] == "BackupService.0103"


def test_every_answer_has_the_date_of_the_simulators_clock(world: World) -> None:
    """One Date and no other, also where the request is none that the simulator sees."""
    simulator = Simulator(now=world.now, clock_offset_seconds=3600)
    with SimulatorServer(simulator) as server, httpx.Client(base_url=server.url) as client:
        for response in (client.get(LOGS), client.patch(LOGS)):
            assert response.headers.get_list("Date") == ["Mon, 23 Nov 2026 04:00:00 GMT"]
        assert response.status_code == 501
        assert client.get(LOGS).headers.get_list("Server") == ["api-gateway"]


def test_a_connection_lives_on_after_an_answer_that_is_a_fault() -> None:
    """Also after a 304, which has no body."""
    with open_client(faulty("503,304,html")) as client:
        assert [client.get("/v3/projects").status_code for _ in range(4)] == [503, 304, 200, 200]


def test_a_length_that_is_not_a_number_is_answered() -> None:
    """As a request without a body; it carries no signature here."""
    with SimulatorServer(Simulator(now=Clock().now)) as server:
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=5)
        with closing(connection):
            connection.request("POST", SYNC, headers={"Content-Length": "x"})
            response = connection.getresponse()
            assert (response.status, json.load(response)["error_code"]) == (401, "APIGW.0301")


def test_a_server_serves_until_it_is_stopped() -> None:
    """From another thread too; it is then gone from its port."""
    with SimulatorServer(Simulator(now=Clock().now)) as server:
        stop = threading.Timer(0, server.__exit__)
        stop.start()
        server.serve_forever()
        stop.join()
        with pytest.raises(httpx.ConnectError):
            httpx.get(server.url)


def test_each_request_is_reported_as_it_is_recorded() -> None:
    """Of many at the same time each once; the lock makes them one sync."""
    seen: list[Request] = []
    simulator = Simulator(now=Clock().now, operation_seconds=600)
    with (
        SimulatorServer(simulator, on_request=seen.append) as server,
        httpx.Client(base_url=server.url, auth=AUTH) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        codes = list(pool.map(lambda _: post_sync(client, VMWARE).status_code, range(40)))
    assert sorted(codes) == [200] + [400] * 39
    assert len(simulator.syncs_of(VMWARE)) == 1
    assert {id(request) for request in seen} == {id(request) for request in simulator.requests}
    assert len(seen) == 40
