"""Faults on demand, over the transport without sockets."""

from __future__ import annotations

import gzip
import io
import tracemalloc
from email.utils import parsedate_to_datetime

import httpx
import pytest

from cbr_sync.credentials import Credentials
from cbr_sync.simulator.faults import BOMB_BYTES, HUGE_BYTES, Fault, describe_faults, parse_faults
from cbr_sync.simulator.models import SIMULATOR_CREDENTIALS
from support.simulator_client import (
    LOGS,
    PROJECT,
    SYNC,
    VAULTS,
    make_client,
    post_sync,
    read_error,
    start_sync,
)
from support.world import ENDPOINT, FILE, VMWARE, World


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        ("401", 401, "APIGW.0301"),
        ("403", 403, "APIGW.0302"),
        ("408", 408, "Request Timeout"),
        ("429", 429, "APIGW.0308"),
        ("500", 500, "BackupService.9910"),
        ("502", 502, "APIGW.0201"),
        ("504", 504, "APIGW.0201"),
        ("503", 503, "Service Unavailable"),
        ("302", 302, "Found"),
        ("304", 304, ""),
        ("404", 404, "Not Found"),
        ("599", 599, "Unknown"),
        ("html", 200, "Welcome"),
    ],
)
def test_a_fault_may_be_an_answer(
    client: httpx.Client, world: World, fault: str, status: int, words: str
) -> None:
    """Once, then the service is well again; only html has taken the request."""
    world.simulator.add_faults(fault)
    response = post_sync(client, VMWARE)
    assert response.status_code == status
    assert words in response.text
    assert ("Location" in response.headers) == (300 <= status < 400)
    assert ("Retry-After" in response.headers) == (status == 429)
    assert response.headers["X-Request-Id"]
    assert len(world.started) == (fault == "html")
    assert client.get("/v3/projects").status_code == 200


@pytest.mark.parametrize("status", ["408", "502", "504", "429"])
def test_a_status_may_come_after_the_request_was_accepted(
    client: httpx.Client, world: World, status: str
) -> None:
    """So that the same answer leaves it open whether a sync was started."""
    world.simulator.add_faults(f"{status}-after")
    assert post_sync(client, VMWARE).status_code == int(status)
    assert len(world.started) == 1
    assert world.simulator.requests[-1].fault is None


@pytest.mark.parametrize(
    ("fault", "error", "accepted"),
    [
        ("refuse", httpx.ConnectError, False),
        ("reset", httpx.ReadError, False),
        ("reset-after", httpx.ReadError, True),
        ("hang", httpx.ReadTimeout, False),
        ("hang-after", httpx.ReadTimeout, True),
        ("interim", httpx.ReadTimeout, False),
        ("interim-after", httpx.ReadTimeout, True),
        ("drip", httpx.ReadTimeout, True),
        ("drip-after", httpx.ReadTimeout, True),
        ("truncated", httpx.RemoteProtocolError, True),
    ],
)
def test_a_fault_may_break_the_connection(
    client: httpx.Client, world: World, fault: str, error: type[Exception], accepted: bool
) -> None:
    """Before or after the API accepted the request."""
    world.simulator.add_faults(fault)
    with pytest.raises(error):
        post_sync(client, VMWARE)
    assert bool(world.started) == accepted
    (request,) = world.simulator.requests
    assert (request.status, request.fault) == (None, Fault(fault))


def test_a_page_can_have_a_charset_that_nobody_can_decode(client: httpx.Client, world: World) -> None:
    """Python has a codec of this name; it always fails."""
    world.simulator.add_faults("charset")
    response = post_sync(client, VMWARE)
    assert response.status_code == 502
    assert response.headers["Content-Type"] == "text/html; charset=undefined"
    with pytest.raises(UnicodeError):
        response.text  # noqa: B018 - the property decodes
    assert world.started == []
    assert world.simulator.requests[-1].fault is Fault.CHARSET


def test_a_bomb_unpacks_to_far_more_than_it_weighs(client: httpx.Client, world: World) -> None:
    """A reader that stops at its bound has read little; who reads on gets JSON, with a right checksum."""
    world.simulator.add_faults("bomb*2")
    sync = {"sync": {"vault_id": VMWARE, "auto_trigger": True}}
    tracemalloc.start()
    with client.stream("POST", SYNC, json=sync) as response:
        head = next(response.iter_raw())
        _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (response.status_code, response.headers["Content-Encoding"]) == (200, "gzip")
    assert len(head) == 64 * 1024
    assert peak < 8 * 2**20
    assert len(world.started) == 1
    with client.stream("GET", LOGS) as response:
        packed = b"".join(response.iter_raw())
    assert len(packed) == int(response.headers["Content-Length"]) < 2**19
    length, last = 0, b""
    with gzip.open(io.BytesIO(packed)) as unpacked:
        while block := unpacked.read(2**20):
            length, last = length + len(block), block
    assert (length, last.strip()) == (BOMB_BYTES + 2, b"{}")


def test_a_page_can_be_huge(client: httpx.Client, world: World) -> None:
    """It arrives in pieces, so that a reader can stop."""
    world.simulator.add_faults("huge")
    with client.stream("GET", LOGS) as response:
        pieces = [len(piece) for piece in response.iter_raw()]
    assert response.status_code == 502
    assert max(pieces) == 64 * 1024
    assert sum(pieces) == int(response.headers["Content-Length"]) >= HUGE_BYTES == 20_000_000


def test_a_retry_after_can_be_a_date_on_the_apis_clock(client: httpx.Client, world: World) -> None:
    """Five seconds after the answer's own date."""
    world.simulator.add_faults("retry-after-date")
    response = post_sync(client, VMWARE)
    assert read_error(response) == (429, "APIGW.0308")
    dates = [parsedate_to_datetime(response.headers[name]) for name in ("Date", "Retry-After")]
    assert (dates[0], (dates[1] - dates[0]).total_seconds()) == (world.now(), 5)


def test_a_503_can_ask_for_a_long_wait(client: httpx.Client, world: World) -> None:
    """For this vault alone."""
    world.simulator.add_faults("slow-503", VMWARE)
    response = post_sync(client, VMWARE)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "40")
    assert post_sync(client, FILE).status_code == 200


def test_a_permission_can_be_missing_for_a_vault(client: httpx.Client, world: World) -> None:
    """The signature is right, and other vaults are not concerned."""
    world.simulator.add_faults("403-permission*2", VMWARE)
    assert read_error(post_sync(client, VMWARE)) == (403, "BackupService.0103")
    assert post_sync(client, FILE).status_code == 200
    assert read_error(post_sync(client, VMWARE)) == (403, "BackupService.0103")
    assert world.simulator.refused_signatures == 0


@pytest.mark.parametrize(
    ("operation", "target"),
    [
        ("ListOpLogs", LOGS),
        ("ShowOpLog", f"{LOGS}/some-log"),
        ("ListVault", VAULTS),
        ("ShowVault", f"{VAULTS}/{VMWARE}"),
        ("KeystoneListProjects", "/v3/projects"),
    ],
)
def test_a_permission_can_be_missing_for_an_operation(
    client: httpx.Client, world: World, operation: str, target: str
) -> None:
    """Only requests of this operation that are signed right meet it."""
    world.simulator.add_faults("403-permission", operation)
    wrong = Credentials(SIMULATOR_CREDENTIALS.access_key, "wrong")
    with make_client(world.simulator, world, wrong) as stranger:
        assert stranger.get(target).status_code == 401
    log_id = start_sync(client, FILE)
    others = {LOGS, VAULTS, "/v3/projects", f"{LOGS}/{log_id}", f"{VAULTS}/{VMWARE}"} - {target}
    if operation == "ShowOpLog":
        others.remove(f"{LOGS}/{log_id}")
    assert {client.get(other).status_code for other in others} == {200}
    assert read_error(client.get(target)) == (403, "BackupService.0103")
    assert client.get(target).status_code == (404 if operation == "ShowOpLog" else 200)


def test_an_operations_fault_may_come_after_it_was_accepted(client: httpx.Client, world: World) -> None:
    """For every vault's sync, one after the other."""
    world.simulator.add_faults("hang,hang-after", "ImportCheckpoint")
    assert client.get(LOGS).status_code == 200
    for _ in range(2):
        with pytest.raises(httpx.ReadTimeout):
            post_sync(client, VMWARE)
    assert len(world.started) == 1


def test_a_vaults_fault_meets_only_its_syncs(client: httpx.Client, world: World) -> None:
    """And only such as are signed; other vaults and other calls are well."""
    world.simulator.add_faults("429*2", VMWARE)
    assert client.get("/v3/projects").status_code == 200
    assert post_sync(client, FILE).status_code == 200
    assert [post_sync(client, VMWARE).status_code for _ in range(3)] == [429, 429, 200]


def test_a_vaults_fault_waits_for_a_request_that_is_its_own(world: World, client: httpx.Client) -> None:
    """One that is refused, or meant for another project, does not use it up; ids are of any case."""
    world.simulator.add_faults("429", VMWARE.upper())
    wrong = Credentials(SIMULATOR_CREDENTIALS.access_key, "wrong")
    with make_client(world.simulator, world, wrong) as stranger:
        assert post_sync(stranger, VMWARE).status_code == 401
    other = client.post(SYNC.replace(PROJECT, "/v3/other"), json={"sync": {"vault_id": VMWARE}})
    assert other.status_code == 403
    assert [post_sync(client, VMWARE).status_code for _ in range(2)] == [429, 200]


@pytest.mark.parametrize(("fault", "accepted"), [("reset", False), ("reset-after", True)])
def test_a_vaults_fault_may_come_before_or_after_it_is_accepted(
    world: World, client: httpx.Client, fault: str, accepted: bool
) -> None:
    """As for the network's."""
    world.simulator.add_faults(fault, VMWARE)
    with pytest.raises(httpx.ReadError):
        post_sync(client, VMWARE)
    assert bool(world.started) == accepted


def test_a_request_meets_one_fault(world: World, client: httpx.Client) -> None:
    """The network's goes first, then the operation's; the vault's is left for the next."""
    world.simulator.add_faults("html")
    world.simulator.add_faults("503", "ImportCheckpoint")
    world.simulator.add_faults("429", VMWARE)
    assert post_sync(client, VMWARE).text == "<html><body>Welcome</body></html>"
    world.sleep(600)
    assert [post_sync(client, VMWARE).status_code for _ in range(3)] == [503, 429, 200]


@pytest.mark.parametrize(
    "spec", ["nonsense", "200", "429*", "429*x", "", "503,,429", "503-before", "drip-after-after", "list"]
)
def test_an_unknown_fault_is_named(spec: str) -> None:
    """With the words that are known."""
    with pytest.raises(ValueError, match="is no fault; known are HTTP statuses from 300 and refuse, reset"):
        parse_faults(spec)


def test_a_fault_for_an_unknown_vault_is_named(world: World) -> None:
    """A slip in the id would go unnoticed otherwise; so would one in an operation's name."""
    with pytest.raises(ValueError, match=f"^{VMWARE[:-1]} is no vault here; known are {VMWARE}"):
        world.simulator.add_faults("503", VMWARE[:-1])
    with pytest.raises(
        ValueError, match=r"^ListLogs is no vault here; .* and the operations ImportCheckpoint"
    ):
        world.simulator.add_faults("503", "ListLogs")


def test_every_fault_is_described_and_does_what_the_description_says() -> None:
    """Of each, one line, which says whether the request is accepted."""
    described = describe_faults()
    assert set(Fault) < described.keys()
    assert all("\n" not in line and line for line in described.values())
    for fault in Fault:
        fresh = World()
        fresh.simulator.add_faults(fault.value)
        with make_client(fresh.simulator, fresh) as client:
            try:
                with client.stream("POST", SYNC, json={"sync": {"vault_id": VMWARE, "auto_trigger": True}}):
                    pass
            except httpx.TransportError:
                pass
        assert bool(fresh.started) == fault.is_accepted, fault
        assert described[fault].endswith("; accepted") == fault.is_accepted, fault


def test_every_request_is_recorded(client: httpx.Client, world: World) -> None:
    """Method, path, vault, and what became of it."""
    world.simulator.add_faults("reset")
    with pytest.raises(httpx.ReadError):
        post_sync(client, VMWARE)
    world.sleep(7)
    post_sync(client, VMWARE)
    first, second = world.simulator.requests
    assert (first.method, first.path, first.vault_id, first.status) == ("POST", SYNC, VMWARE, None)
    assert first.fault is Fault.RESET
    assert (second.status, second.fault) == (200, None)
    assert (second.received_at - first.received_at).total_seconds() == 7
    assert first.signed_ok
    assert second.signed_ok
    httpx.Client(transport=world.simulator.transport()).get(f"{ENDPOINT}/v3/projects")
    assert not world.simulator.requests[-1].signed_ok
    assert world.simulator.requests[-1].access_key is None


@pytest.mark.parametrize("fault", ["", "503", "html", "bomb", "403-permission"])
def test_every_answer_has_a_date(client: httpx.Client, world: World, fault: str) -> None:
    """Of the clock that the simulator was given, in the form that RFC 9110 prefers."""
    if fault:
        world.simulator.add_faults(fault)
    world.sleep(1.999)
    with client.stream("GET", LOGS) as response:
        assert response.headers["Date"] == "Mon, 23 Nov 2026 03:00:01 GMT"
        assert response.headers["Server"] == "api-gateway"
