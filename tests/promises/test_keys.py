"""No key is locked by us, and a missing permission costs what it has to cost."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import httpx
import pytest

from cbr_sync.credentials import Credentials
from cbr_sync.functiongraph import FunctionGraphAdapter
from cbr_sync.local import LocalFunctionGraphContext
from cbr_sync.simulator.models import SIMULATOR_CREDENTIALS, SIMULATOR_PROJECT_ID
from support.builders import Lines
from support.function import (
    LOGS_PATH,
    Function,
    build_direct,
    build_queue,
    build_schedule,
    count_syncs,
    list_posts,
    make_world,
)
from support.world import World

OLD = SIMULATOR_CREDENTIALS
NEW = Credentials("made-up-new-key", "made-up-new-secret", "new-token")
WRONG = Credentials("made-up-wrong-key", "made-up-wrong-secret", "wrong-token")


@dataclass(frozen=True, slots=True)
class AgencyContext(LocalFunctionGraphContext):
    """A context whose agency has these keys: the next ones whenever the access key is asked for again."""

    keys: list[Credentials] = field(default_factory=list)
    current: list[Credentials] = field(default_factory=list)

    def getSecurityAccessKey(self) -> str | None:  # noqa: N802
        """The access key of the keys that count from now on."""
        self.current[:] = [self.keys.pop(0) if len(self.keys) > 1 else self.keys[0]]
        return self.current[0].access_key

    def getSecuritySecretKey(self) -> str | None:  # noqa: N802
        """Its secret key."""
        return self.current[0].secret_key

    def getSecurityToken(self) -> str | None:  # noqa: N802
        """Its token."""
        return self.current[0].token


class Graph:
    """An instance on FunctionGraph, whose keys come from an agency."""

    def __init__(self, world: World, transport: httpx.BaseTransport | None = None, **environ: str) -> None:
        own = {"CBR_SYNC_REGION": "cn-north-4", "CBR_SYNC_CONCURRENCY": "16", **environ}
        self._adapter = FunctionGraphAdapter(own, **world.options(transport))

    def deliver(self, event: object, *keys: Credentials) -> dict[str, int]:
        """Run once with these keys, and count the outcomes by their status."""
        context = AgencyContext({}, None, SIMULATOR_PROJECT_ID, keys=list(keys))
        counts: dict[str, int] = self._adapter(event, context)["counts"]
        return counts


def together(world: World, workers: int) -> httpx.BaseTransport:
    """The world's API, where so many POSTs arrive before the first of them is answered."""
    cloud, barrier = world.transport(), threading.Barrier(workers)
    numbers = iter(range(10_000))

    def respond(request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and 0 < next(numbers) <= workers:
            barrier.wait(10)
        return cloud.handle_request(request)

    return httpx.MockTransport(respond)


@pytest.mark.parametrize("accepted", [1, 5, 17, 31])
def test_a_key_that_is_revoked_in_the_middle_is_renewed(accepted: int) -> None:
    """With sixteen workers: no more refusals than requests were under way, and all are served."""
    world = make_world(32)
    world.simulator.revoke_after(accepted, NEW)
    assert Graph(world).deliver(build_direct(world), OLD, OLD, NEW) == {"accepted": 32}
    assert count_syncs(world) == [1] * 32
    assert world.simulator.count_refusals(OLD.access_key) <= 16
    assert world.simulator.count_refusals(NEW.access_key) == 0


@pytest.mark.parametrize("accepted", [1, 5, 17, 31])
def test_a_renewed_key_that_is_wrong_too_is_tried_alone(accepted: int) -> None:
    """A16: revoked during a run over 32 vaults; the new key is refused once, and is not locked."""
    world = make_world(32)
    world.simulator.revoke_after(accepted)
    statuses = Graph(world).deliver(build_direct(world), OLD, OLD, WRONG)
    assert statuses == {"accepted": accepted, "failed": 32 - accepted}
    assert world.simulator.count_refusals(WRONG.access_key) == 1
    assert world.simulator.count_refusals(OLD.access_key) <= 16


def test_what_is_under_way_when_a_key_is_revoked_may_be_refused_and_no_more() -> None:
    """Sixteen POSTs arrive together, after the key was."""
    world = make_world(64)
    world.simulator.revoke_after(1)
    graph = Graph(world, together(world, 16))
    assert graph.deliver(build_direct(world), OLD, OLD, WRONG) == {"accepted": 1, "failed": 63}
    assert world.simulator.refused_signatures <= 16 + 1


def test_wrong_keys_are_tried_once_in_five_minutes_of_an_instance() -> None:
    """Whatever is delivered meanwhile; then once more."""
    world = make_world(20)
    world.simulator.replace_credentials(NEW)
    graph = Graph(world)
    for _ in range(9):
        assert graph.deliver(build_direct(world), OLD) == {"failed": 20}
        assert graph.deliver(build_schedule(world), OLD) == {"failed": 20}
        world.sleep(30)
    assert world.simulator.refused_signatures == 1
    world.sleep(60)
    assert graph.deliver(build_direct(world), OLD) == {"failed": 20}
    assert world.simulator.refused_signatures == 2
    assert not world.simulator.is_locked(OLD.access_key)


def test_keys_that_were_wrong_do_not_keep_the_right_ones_from_being_used() -> None:
    """The next invocation hands over others."""
    world = make_world(20)
    world.simulator.replace_credentials(NEW)
    graph = Graph(world)
    assert graph.deliver(build_direct(world), OLD) == {"failed": 20}
    assert graph.deliver(build_direct(world), NEW) == {"accepted": 20}
    assert world.simulator.refused_signatures == 1


def test_keys_that_are_right_again_are_used_after_five_minutes() -> None:
    """Whatever was wrong with them."""
    world = make_world(3)
    world.simulator.replace_credentials(NEW)
    function = Function(world)
    assert function.deliver(build_direct(world)) == {"failed": 3}
    world.simulator.replace_credentials(OLD)
    assert function.deliver(build_direct(world)) == {"failed": 3}
    world.sleep(301)
    assert function.deliver(build_direct(world)) == {"accepted": 3}


@pytest.mark.parametrize("workers", ["1", "16"])
def test_first_keys_are_tried_by_one_request_alone(workers: str) -> None:
    """A direct event of a fresh instance has no check before its POSTs."""
    world = make_world(100)
    world.simulator.replace_credentials(NEW)
    function = Function(world, CBR_SYNC_CONCURRENCY=workers)
    assert function.deliver(build_direct(world)) == {"failed": 100}
    assert len(list_posts(world)) == 1


def test_a_hang_while_a_key_is_tried_keeps_no_run_from_its_end() -> None:
    """The others wait for it, within their time; then the next one tries."""
    world = make_world(20)
    world.simulator.add_faults("hang*3")
    assert Function(world).deliver(build_direct(world), 120) == {"accepted": 20}
    assert count_syncs(world) == [1] * 20


def test_a_forbidden_check_does_not_use_up_the_renewal() -> None:
    """A6: a 403 on ListOpLogs, then the token expires with a new one at hand."""
    world = make_world(5)
    world.simulator.revoke_after(2, NEW)
    world.simulator.add_faults("403-permission*99", "ListOpLogs")
    assert Graph(world).deliver(build_schedule_timer(world), OLD, OLD, NEW) == {"accepted": 5}
    assert world.simulator.count_refusals(NEW.access_key) == 0


def build_schedule_timer(world: World) -> dict[str, object]:
    """A timer of FunctionGraph for all vaults."""
    schedule = build_schedule(world)
    payload = {"vault_ids": schedule["vault_ids"]}
    return {
        "trigger_type": "TIMER",
        "time": schedule["scheduled_time"],
        "user_event": str(payload).replace("'", '"'),
    }


@pytest.mark.parametrize("fault", ["403", "403-permission"])
def test_a_permission_that_is_missing_for_one_vault_costs_that_one(fault: str) -> None:
    """A5: 403 for one of five; nothing is renewed, and the key stays good."""
    world = make_world(5)
    world.simulator.add_faults(fault, world.vaults[2].id)
    function = Function(world)
    assert function.deliver(build_queue(*({"vault_id": one.id} for one in world.vaults))) == {
        "accepted": 4,
        "failed": 1,
    }
    assert count_syncs(world) == [1, 1, 0, 1, 1]
    assert [bool(one.error) for one in function.outcomes] == [False, False, True, False, False]
    assert len(list_posts(world)) == 5


@pytest.mark.parametrize("fault", ["403", "403-permission"])
@pytest.mark.parametrize("wait", ["0", "20"])
def test_without_permission_to_list_operations_all_are_synced(
    fault: str, wait: str, log_lines: Lines
) -> None:
    """The check is logged as failed, and nothing is followed."""
    world = make_world(5)
    world.simulator.add_faults(f"{fault}*99", "ListOpLogs")
    function = Function(world, CBR_SYNC_WAIT_SECONDS=wait)
    assert function.deliver(build_schedule(world)) == {"accepted": 5}
    messages = [line["message"] for line in log_lines()]
    assert "could not list operations before the first POST" in messages
    assert count_syncs(world) == [1] * 5


def test_without_permission_to_list_vaults_what_names_its_vaults_is_synced() -> None:
    """The message that selects them is handed back, and the other one is served."""
    world = make_world(3)
    world.simulator.add_faults("403-permission*99", "ListVault")
    function = Function(world)
    function.deliver(build_queue({"vaults": {}}, {"vault_id": world.vaults[0].id}))
    assert function.reply == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert count_syncs(world) == [1, 0, 0]


def test_a_refusal_of_the_check_is_renewed_before_the_posts() -> None:
    """The first request of the run is the one that finds out."""
    world = make_world(20)
    world.simulator.replace_credentials(NEW)
    assert Graph(world).deliver(build_schedule_timer(world), OLD, OLD, NEW) == {"accepted": 20}
    assert world.simulator.refused_signatures == 1


def test_no_secret_shows_where_keys_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Nor a token, in whatever is logged."""
    world = make_world(3)
    world.simulator.replace_credentials(NEW)
    Graph(world).deliver(build_direct(world), WRONG, WRONG, OLD)
    shown = capsys.readouterr()
    for secret in (WRONG.secret_key, WRONG.token, OLD.secret_key):
        assert str(secret) not in shown.out + shown.err
    assert LOGS_PATH not in shown.err
