"""Every SyncParam gives one outcome: an error of one vault is reported, and stops no other."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from cbr_sync.clock import Clock
from cbr_sync.credentials import Credentials, KeyStates
from cbr_sync.errors import ApiError, CredentialsRefusedError, NotAcceptedError, OutcomeUnknownError
from cbr_sync.huawei.cbr import Cbr
from cbr_sync.huawei.client import SignedClient
from cbr_sync.huawei.clock import ApiClock
from cbr_sync.models import Copies, Kind, OutcomeError, Status, SyncOutcome, SyncParam, Trigger
from cbr_sync.monitoring.logger import make_logger
from cbr_sync.retry import Retrier, Throttle
from cbr_sync.sync import Syncer, SyncTask, build_unsent_outcome
from support.world import START, VirtualClock

VAULTS = [str(uuid.UUID(int=0xABCDEF << 64 | number, version=4)) for number in range(1, 41)]
VAULT = VAULTS[0]
UNTIMED = Trigger(kind=Kind.DIRECT, id="request-1")
TIMED = Trigger(kind=Kind.TIMER, id="night", time=START)

Doing = Callable[[], httpx.Response]


def no(status: int, code: str = "", message: str = "no", **headers: str) -> Doing:
    """The API refuses; without a code it is its gateway's own page."""
    body = {"json": {"error_code": code, "error_msg": message}} if code else {"text": message}
    return lambda: httpx.Response(status, headers={"X-Request-Id": "req-1", **headers}, **body)


def breaks(error: httpx.TransportError) -> Doing:
    """The connection breaks."""

    def raise_it() -> httpx.Response:
        raise error

    return raise_it


THROTTLED = no(429, "APIGW.0308", "slow down")
RUNNING = no(400, "BackupService.7302", "a sync is running")
REFUSED = breaks(httpx.ConnectError("refused"))
LOST = breaks(httpx.ReadTimeout("lost"))


@dataclass
class Operation:
    """A row of the logs, which runs until a moment of the clock."""

    id: str
    begun: float = 0.0
    ends: float = 10_000.0
    vault_id: str = VAULT
    end: dict[str, Any] = field(default_factory=lambda: {"status": "success"})


@dataclass
class Cloud:
    """A CBR that answers as set up, first come first served, then accepts what comes; with the clock of all.

    Each POST takes ``post_seconds``, and each wait is slept on the clock.
    """

    posts: list[Doing] = field(default_factory=list)
    gets: list[Doing] = field(default_factory=list)
    logs: list[Operation] = field(default_factory=list)
    post_seconds: float = 0.0
    clock: VirtualClock = field(default_factory=VirtualClock)
    api_offset: float = 0.0
    asked: list[str] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.method)
        response = self._answer(request)
        response.headers.setdefault(
            "Date", format_datetime(self.clock.now() + timedelta(seconds=self.api_offset), usegmt=True)
        )
        return response

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            self.clock.sleep(self.post_seconds)
            return self.posts.pop(0)() if self.posts else self._take(json.loads(request.content)["sync"])
        return self.gets.pop(0)() if self.gets else self._look(request.url)

    def _take(self, sync: dict[str, Any]) -> httpx.Response:
        taken = Operation(f"log-{sync['vault_id']}", self.elapsed, self.elapsed + 30, sync["vault_id"])
        self.logs.append(taken)
        return httpx.Response(200, json={"sync": {"operation_log_id": taken.id, "vault_id": taken.vault_id}})

    def _look(self, url: httpx.URL) -> httpx.Response:
        vault, since = url.params.get("vault_id"), url.params.get("start_time")
        rows = [
            self._row(log)
            for log in self.logs
            if vault in (None, log.vault_id) and (since is None or self._moment(log.begun) >= since)
        ]
        last = url.path.rpartition("/")[2]
        if last != "operation-logs":
            return httpx.Response(200, json={"operation_log": next(row for row in rows if row["id"] == last)})
        return httpx.Response(200, json={"count": len(rows), "operation_logs": rows})

    def _row(self, log: Operation) -> dict[str, Any]:
        end = log.end if self.elapsed >= log.ends else {"status": "running"}
        return {"id": log.id, "vault_id": log.vault_id, "created_at": self._moment(log.begun), **end}

    def _moment(self, elapsed: float) -> str:
        return (START + timedelta(seconds=elapsed + self.api_offset)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def begin(self, operation: Operation, then: Doing) -> Doing:
        """This operation begins, whatever is answered."""

        def doing() -> httpx.Response:
            self.logs.append(operation)
            return then()

        return doing

    @property
    def elapsed(self) -> float:
        return self.clock.elapsed

    def sync(self, tasks: Sequence[SyncTask] | None = None, **options: Any) -> list[SyncOutcome]:
        """The outcomes of a run against this cloud."""
        return build_syncer(self, self.clock, **options).sync_all(tasks or ask_for(VAULT))


def build_syncer(
    cloud: Callable[[httpx.Request], httpx.Response],
    clock: Clock,
    *,
    deadline: float = 600.0,
    max_attempts: int = 5,
    **options: Any,
) -> Syncer:
    """A Syncer as Services builds it."""
    logger = make_logger({})
    api_clock = ApiClock(logger)
    client = SignedClient(
        httpx.MockTransport(cloud),
        Credentials("made-up-key", "made-up-secret"),
        key_states=KeyStates(clock),
        clock=clock,
    )
    cbr = Cbr(
        client,
        endpoint="https://cbr.example.com",
        project_id="p",
        timeout_seconds=lambda end: min(10.0, clock.remaining_seconds(end)),
        deadline=deadline,
        api_clock=api_clock,
        logger=logger,
    )
    return Syncer(
        cbr=cbr,
        api_clock=api_clock,
        retrier=Retrier(clock, max_attempts),
        throttle=Throttle(clock),
        logger=logger,
        deadline=deadline,
        **{"concurrency": 1, **options},
    )


def build_param(vault_id: str) -> SyncParam:
    """A sync of this vault."""
    return SyncParam(vault_id=vault_id, auto_trigger=True)


def ask_for(*vaults: str, trigger: Trigger = UNTIMED) -> list[SyncTask]:
    """These vaults, all for the same trigger."""
    return [SyncTask(build_param(vault), trigger) for vault in vaults]


# one vault, one attempt after the other


@pytest.mark.parametrize(
    ("posts", "status", "code", "attempts"),
    [
        pytest.param([], "accepted", None, 1, id="taken"),
        pytest.param([THROTTLED] * 2, "accepted", None, 3, id="throttled, then taken"),
        pytest.param([THROTTLED] * 999, "unfinished", "APIGW.0308", None, id="throttled to the end"),
        pytest.param([no(503)] * 99, "unfinished", "503", None, id="unavailable to the end"),
        pytest.param([REFUSED] * 2, "accepted", None, 3, id="unreachable, then taken"),
        pytest.param([REFUSED] * 99, "unfinished", "CbrSync.Unreachable", None, id="unreachable to the end"),
        pytest.param([no(400, "BackupService.7300")], "failed", "BackupService.7300", 1, id="not hybrid"),
        pytest.param([no(404, "BackupService.6105")], "failed", "BackupService.6105", 1, id="no such vault"),
        pytest.param([no(401, "APIGW.0301")], "failed", "APIGW.0301", 1, id="wrong signature"),
        pytest.param([no(500, "BackupService.9998")], "failed", "BackupService.9998", 1, id="a 401 as a 500"),
        pytest.param([no(302)], "failed", "CbrSync.Redirected", 1, id="redirected"),
    ],
)
def test_what_the_api_does_makes_the_outcome(
    posts: list[Doing], status: str, code: str | None, attempts: int | None
) -> None:
    """Throttled and never connected is waited out and sent again, a final refusal is reported at once."""
    cloud = Cloud(posts=list(posts))
    (outcome,) = cloud.sync()
    assert (outcome.status, outcome.error.code if outcome.error else None) == (status, code)
    assert outcome.attempts == cloud.asked.count("POST") == attempts or (
        attempts is None and cloud.elapsed > 570
    )
    assert (outcome.operation_log_id is None) == (code is not None)
    assert cloud.asked.count("GET") == 0
    assert (outcome.vault_id, outcome.auto_trigger, outcome.trigger) == (VAULT, True, UNTIMED)
    assert (outcome.adopted, outcome.copies) == (False, None)


def test_an_error_is_told_in_the_apis_own_words() -> None:
    """With its request id and its status."""
    (outcome,) = Cloud(posts=[no(400, "BackupService.7300", "The vault cannot be synchronized.")]).sync()
    assert outcome.error == OutcomeError(
        code="BackupService.7300",
        message="The vault cannot be synchronized.",
        request_id="req-1",
        http_status=400,
    )


@pytest.mark.parametrize("deadline", [0.0, -5.0])
def test_out_of_time_is_unfinished_without_an_attempt(deadline: float) -> None:
    """Nothing is sent that nobody waits for."""
    cloud = Cloud()
    (outcome,) = cloud.sync(deadline=deadline)
    assert (outcome.status, outcome.attempts, cloud.asked) == ("unfinished", 0, [])
    assert outcome.error is not None
    assert outcome.error.code == "CbrSync.OutOfTime"


def test_time_that_runs_out_between_attempts_is_unfinished() -> None:
    """With the attempts that there were; a wait that would cross the deadline is not begun."""
    cloud = Cloud(posts=[no(503)] * 99, post_seconds=2)
    (outcome,) = cloud.sync(deadline=5.0)
    assert (outcome.status, outcome.attempts) == ("unfinished", 2)
    assert cloud.elapsed < 5


def test_the_time_told_is_that_of_the_clock_handed_in() -> None:
    """Three POSTs of 1.25 seconds, with waits of 0.5 and 1 second between them."""
    cloud = Cloud(posts=[REFUSED] * 2, post_seconds=1.25, clock=VirtualClock(7.0))
    (outcome,) = cloud.sync()
    assert outcome.started_at == START + timedelta(seconds=7)
    assert outcome.duration_seconds == 3 * 1.25 + 0.5 + 1


# it may have arrived


@pytest.mark.parametrize(
    "lost",
    [LOST, no(502), no(504, "APIGW.0201"), no(500, "BackupService.9910"), no(408), no(499), no(200)],
    ids=["no answer", "502", "504", "500", "408", "499", "a page of HTML"],
)
def test_what_may_have_arrived_is_sent_again_only_after_a_look(lost: Doing) -> None:
    """The logs do not hold it, also not a moment later."""
    cloud = Cloud(posts=[lost])
    (outcome,) = cloud.sync()
    assert (outcome.status, outcome.attempts, outcome.adopted) == ("accepted", 2, False)
    assert cloud.asked == ["POST", "GET", "GET", "GET", "GET", "POST"]


def test_without_a_look_nothing_is_sent_again() -> None:
    """It is unfinished after its one attempt, rather than sent twice."""
    cloud = Cloud(posts=[LOST], gets=[LOST] * 99)
    (outcome,) = cloud.sync()
    assert (outcome.status, outcome.attempts) == ("unfinished", 1)
    assert outcome.error is not None
    assert outcome.error.code == "CbrSync.NoAnswer"


def test_without_time_for_a_look_nothing_is_sent_again() -> None:
    """The next delivery of the event looks first."""
    cloud = Cloud(posts=[LOST], post_seconds=5)
    (outcome,) = cloud.sync(deadline=7.0)
    assert (outcome.status, outcome.attempts) == ("unfinished", 1)
    assert cloud.elapsed < 7
    assert outcome.error is not None
    assert outcome.error.code == "CbrSync.NoAnswer"


@pytest.mark.parametrize("api_offset", [0.0, -59.0, -240.0, 240.0])
def test_what_arrived_without_an_answer_is_adopted(api_offset: float) -> None:
    """Also where the API's clock is off."""
    cloud = Cloud(api_offset=api_offset)
    cloud.posts = [cloud.begin(Operation("ours"), LOST)]
    (outcome,) = cloud.sync()
    assert (outcome.status, outcome.operation_log_id) == ("accepted", "ours")
    assert (outcome.attempts, outcome.adopted, outcome.error) == (1, True, None)


# 7302: one runs already


def test_a_running_sync_is_found_and_reported() -> None:
    """Its operation is reported, and it is no failure."""
    logs = [Operation("ended", -90, -60), Operation("older", -50), Operation("running", -40)]
    (outcome,) = Cloud(posts=[RUNNING], logs=logs).sync()
    assert (outcome.status, outcome.operation_log_id) == ("already_running", "running")
    assert (outcome.attempts, outcome.adopted, outcome.error) == (1, False, None)


def test_a_running_sync_that_serves_the_trigger_is_adopted() -> None:
    """It began since, so it is what was asked for."""
    cloud = Cloud()
    cloud.posts = [cloud.begin(Operation("since", 1), RUNNING)]
    (outcome,) = cloud.sync(ask_for(VAULT, trigger=TIMED))
    assert (outcome.status, outcome.operation_log_id, outcome.adopted) == ("accepted", "since", True)


def test_a_running_sync_that_nobody_may_see_is_reported_all_the_same() -> None:
    """That one runs is known; which one is not."""
    (outcome,) = Cloud(posts=[RUNNING], gets=[no(403)]).sync()
    assert (outcome.status, outcome.operation_log_id, outcome.error) == ("already_running", None, None)


def test_a_sync_that_has_ended_meanwhile_makes_room() -> None:
    """Nothing runs any more, so another POST is sent."""
    (outcome,) = Cloud(posts=[RUNNING]).sync()
    assert (outcome.status, outcome.attempts) == ("accepted", 2)


@pytest.mark.parametrize("deadline", [600.0, 2.5, 0.4])
def test_a_running_sync_that_is_never_found_is_already_running(deadline: float) -> None:
    """One runs, that much is known; it is no failure."""
    cloud = Cloud(posts=[RUNNING] * 99)
    (outcome,) = cloud.sync(deadline=deadline)
    assert (outcome.status, outcome.error, outcome.operation_log_id) == ("already_running", None, None)
    assert cloud.elapsed < deadline


@pytest.mark.parametrize("answer", [no(400, "BackupService.9900"), no(403), no(404)])
def test_whatever_the_look_says_a_conflict_is_no_failure(answer: Doing) -> None:
    """That one runs is known, and nothing else is sent."""
    cloud = Cloud(posts=[RUNNING], gets=[answer])
    (outcome,) = cloud.sync()
    assert (outcome.status, outcome.error, cloud.asked) == ("already_running", None, ["POST", "GET"])


# looking first


def test_what_serves_the_trigger_is_adopted_and_not_sent_again() -> None:
    """One look for all vaults; the first that began since the trigger is the one."""
    first, second, third = VAULTS[:3]
    logs = [
        Operation("before", -9, -3, vault_id=first),
        Operation("later", 9, vault_id=second),
        Operation("since", 0, vault_id=second.upper()),
    ]
    cloud = Cloud(logs=logs, clock=VirtualClock(10))
    outcomes = cloud.sync(ask_for(first, second, third, trigger=TIMED))
    assert [outcome.adopted for outcome in outcomes] == [False, True, False]
    assert [outcome.attempts for outcome in outcomes] == [1, 0, 1]
    assert outcomes[1].operation_log_id == "since"
    assert cloud.asked == ["GET", "POST", "POST"]


@pytest.mark.parametrize(
    ("trigger", "check_duplicates"),
    [
        pytest.param(UNTIMED, True, id="no time"),
        pytest.param(TIMED.model_copy(update={"time": START - timedelta(hours=25)}), True, id="too old"),
        pytest.param(TIMED, False, id="switched off"),
    ],
)
def test_there_is_not_always_something_to_look_for(trigger: Trigger, check_duplicates: bool) -> None:
    """Then the POST is sent at once."""
    cloud = Cloud(logs=[Operation("another", 0, 1)])
    (outcome,) = cloud.sync(ask_for(VAULT, trigger=trigger), check_duplicates=check_duplicates)
    assert (outcome.adopted, cloud.asked) == (False, ["POST"])


def test_a_look_that_fails_is_logged_and_the_posts_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    """After its retries."""
    cloud = Cloud(gets=[no(403)])
    (outcome,) = cloud.sync(ask_for(VAULT, trigger=TIMED))
    assert (outcome.status, cloud.asked) == ("accepted", ["GET", "POST"])
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (line["level"], line["message"], line["reason"]) == (
        "WARNING",
        "could not list operations before the first POST",
        "403: no",
    )


# following to the end


@pytest.mark.parametrize(
    ("end", "status", "copies", "code"),
    [
        ({"status": "success"}, "succeeded", None, None),
        ({"status": "success", "extra_info": {"sync": {}}}, "succeeded", (0, 0, 0), None),
        (
            {"status": "success", "extra_info": {"sync": {"err_sync_backup_num": 2}}},
            "partial",
            (0, 0, 2),
            None,
        ),
        ({"status": "timeout", "error_info": None}, "timed_out", None, None),
        ({"status": "failed", "error_info": {"code": "X.1", "message": "no"}}, "failed", None, "X.1"),
        ({"status": "failed", "error_info": {"message": "no"}}, "failed", None, "failed"),
    ],
)
def test_an_end_is_told_in_our_words(
    end: dict[str, Any], status: str, copies: tuple[int, int, int] | None, code: str | None
) -> None:
    """With the copies counted, and with what went wrong."""
    (outcome,) = Cloud(logs=[Operation("ended", 0, 1, end=end)], clock=VirtualClock(5)).sync(
        ask_for(VAULT, trigger=TIMED)
    )
    assert outcome.status == status
    assert outcome.copies == (copies and Copies(synced=copies[0], deleted=copies[1], failed=copies[2]))
    assert (outcome.error.code if outcome.error else None) == code


@pytest.mark.parametrize("count", [1, 3])
def test_operations_are_followed_to_their_end(count: int) -> None:
    """One by itself, several by one list; and the time reported is that of the whole sync."""
    outcomes = Cloud().sync(ask_for(*VAULTS[:count]), wait_seconds=120.0)
    assert [outcome.status for outcome in outcomes] == ["succeeded"] * count
    assert all(30 <= outcome.duration_seconds <= 45 for outcome in outcomes)


def test_who_is_not_through_when_the_waiting_ends_is_accepted() -> None:
    """Which it is."""
    cloud = Cloud()
    (outcome,) = cloud.sync(wait_seconds=20.0)
    assert (outcome.status, outcome.error) == ("accepted", None)
    assert cloud.elapsed <= 20


def test_an_adopted_operation_is_followed_from_its_own_beginning() -> None:
    """Together with one that was just started."""
    first, second = VAULTS[:2]
    cloud = Cloud(logs=[Operation("since", 0, 40, first)], clock=VirtualClock(20))
    outcomes = cloud.sync(ask_for(first, second, trigger=TIMED), wait_seconds=120.0)
    assert [(outcome.status, outcome.adopted) for outcome in outcomes] == [
        ("succeeded", True),
        ("succeeded", False),
    ]


def test_following_goes_on_after_a_look_that_failed(capsys: pytest.CaptureFixture[str]) -> None:
    """It is repeated; the sync itself was accepted."""
    (outcome,) = Cloud(gets=[no(503)] * 3).sync(wait_seconds=120.0)
    assert outcome.status == "succeeded"
    assert capsys.readouterr().out == ""


def test_following_ends_where_nobody_may_look() -> None:
    """Asking again with the same credentials is no use."""
    cloud = Cloud(gets=[no(403)])
    (outcome,) = cloud.sync(wait_seconds=120.0)
    assert (outcome.status, cloud.asked) == ("accepted", ["POST", "GET"])


# many vaults


class Crowd:
    """Counts who is inside at the same time; nobody leaves before as many are in as there may be.

    The first comes alone, since the credentials have to be accepted before anybody else is let through.
    """

    def __init__(self, size: int) -> None:
        self.most = 0
        self._inside = 0
        self._first = True
        self._lock = threading.Lock()
        self._all_in = threading.Barrier(size, timeout=10)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        vault = json.loads(request.content)["sync"]["vault_id"]
        with self._lock:
            first, self._first = self._first, False
            self._inside += 1
            self.most = max(self.most, self._inside)
        if not first:
            self._all_in.wait()
        with self._lock:
            self._inside -= 1
        if vault == VAULTS[3]:
            return httpx.Response(400, json={"error_code": "BackupService.7300", "error_msg": "no"})
        return httpx.Response(200, json={"sync": {"operation_log_id": f"log-{vault}", "vault_id": vault}})


@pytest.mark.parametrize("concurrency", [1, 2, 4, 13])
def test_many_vaults_go_out_together_but_never_more_than_allowed(concurrency: int) -> None:
    """Each has its own outcome, in the order asked, and one's failure stops no other."""
    vaults = VAULTS[: 1 + 39 // concurrency * concurrency]
    crowd = Crowd(concurrency)
    outcomes = build_syncer(crowd, Clock(), concurrency=concurrency, deadline=1e12).sync_all(ask_for(*vaults))
    assert crowd.most == concurrency
    assert [outcome.vault_id for outcome in outcomes] == vaults
    assert [outcome.operation_log_id for outcome in outcomes] == [
        None if vault == VAULTS[3] else f"log-{vault}" for vault in vaults
    ]
    assert [outcome.status for outcome in outcomes].count(Status.FAILED) == 1


def test_nothing_asked_is_nothing_done() -> None:
    """Not even a look."""
    cloud = Cloud()
    assert build_syncer(cloud, cloud.clock).sync_all([]) == []
    assert cloud.asked == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotAcceptedError("APIGW.0308", "slow down"), "unfinished"),
        (OutcomeUnknownError("502", "lost"), "unfinished"),
        (ApiError("CbrSync.ProjectUnknown", "none"), "failed"),
        (CredentialsRefusedError("401", "no"), "failed"),
    ],
    ids=lambda case: type(case).__name__,
)
def test_what_was_needed_before_and_failed_makes_the_outcome_too(error: ApiError, status: str) -> None:
    """Nothing was sent, and nobody was kept waiting."""
    outcome = build_unsent_outcome(SyncTask(build_param(VAULT), TIMED), error, START)
    assert (outcome.status, outcome.attempts, outcome.duration_seconds) == (status, 0, 0)
    assert outcome.error == OutcomeError(code=error.code, message=error.message)
    assert (outcome.trigger, outcome.started_at) == (TIMED, START)
