"""Every operation to its end: reported by the one tick that owns its interval, however ticks arrive."""

from __future__ import annotations

import itertools
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cbr_sync.errors import CbrSyncError, EventError, SyncUnfinished
from cbr_sync.follow import (
    PERIODS,
    FollowLogs,
    FollowParam,
    FollowResult,
    find_interval,
)
from cbr_sync.huawei.cbr import OperationLog
from cbr_sync.models import format_rfc3339
from cbr_sync.simulator.cloud import Simulator
from cbr_sync.simulator.models import Operation, Vault
from cbr_sync.sinks.messages import build_follow_events
from support.builders import Lines
from support.following import Fact, Op, list_facts
from support.function import make_vaults, make_world
from support.later import WORK, Functions, Killed, build_batch
from support.world import BUSY, START, VMWARE, World, webhook_event

WORDS = {"success": "succeeded", "failed": "failed", "skipped": "skipped", "timeout": "timed_out"}
API_WORDS = {ours: theirs for theirs, ours in WORDS.items()} | {"unknown": "paused", "partial": "success"}
MINUTE = timedelta(minutes=1)


def build_tick(at: datetime, every_minutes: int = 10, **options: Any) -> dict[str, Any]:
    """The tick that a schedule of EventBridge sends."""
    return {
        "trigger": "schedule",
        "scheduled_time": format_rfc3339(at),
        "schedule_arn": "arn",
        "follow": {"every_minutes": every_minutes, **options},
        "vaults": {},
    }


def build_log(op: Op, now: datetime | None = None) -> OperationLog:
    """The row of an operation, as the API shows it at a moment; without one, long after its end."""
    has_ended = op.ended_at is not None and (now is None or op.ended_at <= now)
    extra = {"sync": {"err_sync_backup_num": 1}} if op.status == "partial" else None
    return OperationLog.model_validate(
        {
            "id": op.id,
            "vault_id": op.vault_id,
            "created_at": op.created_at,
            "status": API_WORDS[op.status] if has_ended else "running",
            "ended_at": op.ended_at if has_ended else None,
            "extra_info": extra if has_ended else None,
        }
    )


def judge(ops: Iterable[Op], slot: datetime, param: FollowParam, now: datetime | None = None) -> FollowResult:
    """The result of the tick of this slot, by the pure core."""
    logs = FollowLogs(find_interval(slot, param), param, None)
    for op in ops:
        if now is None or op.created_at <= now:
            logs.add(build_log(op, now))
    return logs.build_result()


def build_events_of(result: FollowResult) -> list[dict[str, Any]]:
    """The events that report a tick's result."""
    return [*build_follow_events(result.ended, result.edges, "/cbr")]


def read_facts(events: Iterable[dict[str, Any]]) -> list[Fact]:
    """What events report."""
    return [
        Fact(event["type"], event["data"]["operation_log_id"], datetime.fromisoformat(event["time"]))
        for event in events
    ]


def list_slots(first: datetime, last: datetime, param: FollowParam) -> Iterator[datetime]:
    """The slots whose ticks own all that happened from one moment to another."""
    period = timedelta(minutes=param.every_minutes)
    slot = find_interval(first, param).slot
    while slot - timedelta(minutes=param.settle_minutes) - period <= last:
        yield slot
        slot += period


# the interval


@pytest.mark.parametrize("every_minutes", PERIODS)
def test_a_tick_owns_one_interval_however_late_it_fires(every_minutes: int) -> None:
    """From 30 seconds early to a period less 30 seconds late; the next one owns what follows."""
    param = FollowParam(every_minutes=every_minutes)
    period = timedelta(minutes=every_minutes)
    own, following = find_interval(START, param), find_interval(START + period, param)
    assert own.slot == START
    assert (own.start, own.end) == (START - period - 5 * MINUTE, START - 5 * MINUTE)
    assert following.start == own.end
    for late in (timedelta(seconds=-30), timedelta(seconds=29), period - timedelta(seconds=31)):
        assert find_interval(START + late, param) == own
    assert find_interval(START + period - timedelta(seconds=30), param) == following


@given(st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)), st.sampled_from(PERIODS))  # noqa: DTZ001
def test_the_slots_of_a_period_are_whole_parts_of_an_hour(moment: datetime, every_minutes: int) -> None:
    """In UTC, whatever the zone of the event's time."""
    param = FollowParam(every_minutes=every_minutes)
    utc = moment.replace(tzinfo=START.tzinfo)
    slot = find_interval(utc, param).slot
    assert (slot.minute % every_minutes, slot.second, slot.microsecond) == (0, 0, 0)
    assert timedelta(seconds=-30) <= utc - slot < timedelta(minutes=every_minutes, seconds=-30)
    assert find_interval(utc.astimezone(), param).slot == slot


# the law, for every small case

SMALL = FollowParam(every_minutes=2, max_age_hours=0.1, overdue_hours=0.05, settle_minutes=1)
STATUSES = ("succeeded", "failed", "skipped", "unknown")


def list_small_histories() -> Iterator[list[Op]]:
    """Every history of three syncs of a vault, one after the other, of these lengths and ends."""
    lengths = (1, 4)
    for gaps in itertools.product((0, 2, 7), repeat=2):
        for takes in itertools.product(lengths, repeat=3):
            for ends in itertools.product(STATUSES, repeat=3):
                begin, ops = START, []
                for number, (gap, take, status) in enumerate(zip((0, *gaps), takes, ends, strict=True)):
                    begin += gap * MINUTE
                    ops.append(Op(str(number), VMWARE, begin, begin + take * MINUTE, status))
                    begin += take * MINUTE
                yield ops


def test_every_small_history_is_reported_once_by_the_ticks_that_own_it() -> None:
    """4,608 of them: what the ticks say together is what happened, each fact said by one tick."""
    for ops in list_small_histories():
        expected = sorted(list_facts(ops, SMALL))
        last = max(fact.at for fact in expected)
        told = [
            fact
            for slot in list_slots(START - 5 * MINUTE, last, SMALL)
            for fact in read_facts(build_events_of(judge(ops, slot, SMALL)))
        ]
        assert sorted(told) == expected, ops


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_tick_says_the_same_whenever_it_is_delivered(data: st.DataObject) -> None:
    """As soon as its interval has settled, or days later, when more has happened since."""
    ops = []
    begin = START
    for number in range(data.draw(st.integers(1, 6))):
        begin += data.draw(st.integers(0, 8)) * MINUTE
        take = data.draw(st.integers(1, 6))
        ops.append(
            Op(str(number), VMWARE, begin, begin + take * MINUTE, data.draw(st.sampled_from(STATUSES)))
        )
        begin += take * MINUTE
    slot = find_interval(START + data.draw(st.integers(0, 30)) * MINUTE, SMALL).slot
    early = build_events_of(judge(ops, slot, SMALL, now=slot))
    assert early == build_events_of(judge(ops, slot, SMALL))


@given(order=st.permutations(range(6)), is_doubled=st.booleans())
def test_the_order_of_the_rows_does_not_matter_nor_one_that_arrives_twice(
    order: list[int], *, is_doubled: bool
) -> None:
    """Rows move to the next page while they are read; one that ended meanwhile arrives in both states."""
    ops = [
        Op(str(number), VMWARE, START + 3 * number * MINUTE, START + (3 * number + 2) * MINUTE, status)
        for number, status in enumerate(
            ("succeeded", "failed", "succeeded", "partial", "skipped", "succeeded")
        )
    ]
    slot = START + 20 * MINUTE
    logs = FollowLogs(find_interval(slot, SMALL), SMALL, None)
    for number in order:
        if is_doubled:
            logs.add(build_log(ops[number], now=ops[number].created_at))
        logs.add(build_log(ops[number]))
        if is_doubled:
            logs.add(build_log(ops[number], now=ops[number].created_at))
    assert logs.build_result() == judge(ops, slot, SMALL)


def test_an_end_without_ended_at_is_where_it_was_updated_last() -> None:
    """And one of which nothing says when it was is left to the report."""
    row = {"id": "o", "vault_id": VMWARE, "created_at": START, "status": "failed", "ended_at": None}
    param = FollowParam(every_minutes=10)
    interval = find_interval(START + timedelta(minutes=20), param)
    for updated_at, count in ((START + 10 * MINUTE, 1), (None, 0)):
        logs = FollowLogs(interval, param, None)
        logs.add(OperationLog.model_validate({**row, "updated_at": updated_at}))
        assert len(logs.build_result().ended) == count


# through the function


def test_an_end_is_reported_hours_after_its_sync_was_accepted(log_lines: Lines) -> None:
    """With all that is known of it, under the vault's name."""
    world = make_world(1, operation_seconds=7200)
    vault = world.vaults[0]
    operation = world.simulator.start_operation(
        vault.id, ends="failed", error=("BackupService.1006", "a copy could not be imported")
    )
    world.sleep(7200 + 400)
    functions = Functions(world)
    reply = functions.on_lambda(build_tick(START + timedelta(minutes=130)))
    (event,) = functions.events
    assert reply["follows"][0]["counts"] == {"operation.failed": 1}
    assert event["type"] == "cbr-sync.operation.failed.v1"
    assert event["subject"] == vault.id
    assert event["data"] == {
        "vault_id": vault.id,
        "vault_name": vault.name,
        "operation_log_id": operation.id,
        "status": "failed",
        "started_at": "2026-11-23T03:00:00.000Z",
        "ended_at": "2026-11-23T05:00:00.000Z",
        "copies": {"synced": 0, "deleted": 0, "failed": 0},
        "error": {
            "code": "BackupService.1006",
            "message": "a copy could not be imported",
            "request_id": None,
            "http_status": None,
        },
        "last_success_at": None,
    }
    (line,) = [line for line in log_lines() if "outcome" in line]
    assert (line["level"], line["operation_log_id"]) == ("WARNING", operation.id)


def test_a_tick_with_nothing_to_report_is_one_request_and_no_word(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No metrics, no line in the log, nothing sent."""
    world = make_world(3)
    functions = Functions(world)
    reply = functions.on_lambda(build_tick(START))
    assert len(world.simulator.requests) == 1
    assert functions.events == []
    assert capsys.readouterr().out == ""
    assert reply == {
        "outcomes": [],
        "follows": [{"after": "2026-11-23T02:45:00.000Z", "until": "2026-11-23T02:55:00.000Z", "counts": {}}],
        "counts": {},
    }


def test_metrics_count_what_a_tick_reports(capsys: pytest.CaptureFixture[str]) -> None:
    """Ends by status, and edges."""
    world = make_world(1, operation_seconds=60)
    world.simulator.start_operation(world.vaults[0].id, at=START - timedelta(hours=26), seconds=60)
    world.simulator.start_operation(world.vaults[0].id, ends="skipped")
    world.sleep(600)
    Functions(world).on_lambda(build_tick(START + 10 * MINUTE))
    metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    assert metrics[0]["OperationsSkipped"] == [1.0]
    assert metrics[0]["VaultsBecameStale"] == [1.0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"every_minutes": 7}, "every_minutes: found a number, expected one of 1, 2, 3, 4, 5, 6, 10, 12"),
        ({"every_minutes": True}, "every_minutes: found true"),
        ({}, "every_minutes: found nothing, expected one of"),
        (
            {"every_minutes": 10, "max_age_hours": 193},
            "max_age_hours: found a number, expected a number of hours over 0, at most 192",
        ),
        (
            {"every_minutes": 10, "overdue_hours": 0},
            "overdue_hours: found a number, expected a number of hours over 0",
        ),
        (
            {"every_minutes": 10, "settle_minutes": -1},
            "settle_minutes: found a number, expected a number of minutes from 0 to 60",
        ),
        ({"every_minutes": 10, "settle": 1}, "settle"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], words: str) -> None:
    """What was found, and what was expected."""
    world = make_world(1)
    with pytest.raises(EventError, match=words):
        Functions(world).on_lambda({**build_tick(START), "follow": options})


def test_only_what_comes_by_the_clock_may_follow() -> None:
    """And only with a time: without one nobody knows which interval is meant."""
    world = make_world(1)
    functions = Functions(world)
    payload = {"follow": {"every_minutes": 10}}
    with pytest.raises(EventError, match="found follow in an event of kind direct, expected it only in"):
        functions.on_lambda(payload)
    assert functions.on_lambda(webhook_event(payload, world))["statusCode"] == 400
    with pytest.raises(EventError, match="found a tick without a time"):
        functions.on_lambda({"trigger": "schedule", **payload})
    with pytest.raises(EventError, match="time"):
        functions.on_lambda({"trigger": "schedule", "time": format_rfc3339(START), **payload})


def test_a_tick_on_functiongraph_is_the_same() -> None:
    """TIMER tells its time with an offset; a zone of half an hour changes nothing."""
    world = make_world(1, operation_seconds=60)
    world.simulator.start_operation(world.vaults[0].id)
    world.sleep(600)
    functions = Functions(world)
    event = {
        "version": "v1.0",
        "time": "2026-11-23T08:40:05+05:30",
        "trigger_type": "TIMER",
        "trigger_name": "follow",
        "user_event": json.dumps({"follow": {"every_minutes": 10}, "vaults": {}}),
    }
    reply = functions.on_functiongraph(event)
    assert reply["follows"][0]["counts"] == {"operation.succeeded": 1}
    first = [event["id"] for event in functions.events]
    functions.on_lambda(build_tick(START + 10 * MINUTE))
    assert [event["id"] for event in functions.events] == first * 2


@pytest.mark.parametrize(
    ("scope", "environ", "names"),
    [
        ({"vaults": {}}, {}, {"vault-1", "vault-2", "vault-3"}),
        ({"vaults": {"name": "vault-2"}}, {}, {"vault-2"}),
        ({"vaults": {}}, {"CBR_SYNC_ALLOWED_VAULTS": "1"}, {"vault-1"}),
        ({}, {"CBR_SYNC_VAULTS": "3"}, {"vault-3"}),
        ({}, {"CBR_SYNC_VAULTS": "hybrid"}, {"vault-1", "vault-2", "vault-3"}),
    ],
)
def test_what_is_out_of_scope_is_not_reported(
    scope: dict[str, Any], environ: dict[str, str], names: set[str]
) -> None:
    """By a selector, by the settings, or by both."""
    world = make_world(3, operation_seconds=60)
    ids = {str(number): vault.id for number, vault in enumerate(world.vaults, 1)}
    values = {name: ids.get(value, value) for name, value in environ.items()}
    values = {"CBR_SYNC_VAULTS": "hybrid", **values}
    for vault in world.vaults:
        world.simulator.start_operation(vault.id)
    world.sleep(600)
    functions = Functions(world, **values)
    tick = {key: value for key, value in build_tick(START + 10 * MINUTE).items() if key != "vaults"}
    functions.on_lambda({**tick, **scope})
    assert {event["data"]["vault_name"] for event in functions.events} == names


def test_an_old_tick_owns_its_own_interval() -> None:
    """Section 2's rules for times ahead and over 24 hours old are for syncs."""
    world = make_world(1, operation_seconds=60)
    world.simulator.start_operation(world.vaults[0].id)
    world.sleep(3 * 86_400)
    functions = Functions(world)
    functions.on_lambda(build_tick(START + 10 * MINUTE))
    assert [event["type"] for event in functions.events] == ["cbr-sync.operation.succeeded.v1"]
    functions.on_lambda(build_tick(world.now() + timedelta(hours=1)))
    assert len(functions.events) == 1


def test_a_tick_that_cannot_read_its_interval_fails_and_its_replay_says_the_same() -> None:
    """Without a place to hand it on to."""
    world = make_world(1, operation_seconds=60)
    world.simulator.start_operation(world.vaults[0].id)
    world.sleep(600)
    functions = Functions(world)
    functions.is_away = True
    tick = build_tick(START + 10 * MINUTE)
    with pytest.raises(SyncUnfinished):
        functions.on_lambda(tick)
    assert functions.events == []
    functions.is_away = False
    functions.on_lambda(tick)
    world.sleep(86_400)
    functions.on_lambda(tick)
    assert len(functions.events) == 2
    assert functions.events[0] == functions.events[1]


def test_a_tick_that_cannot_read_its_interval_is_handed_on() -> None:
    """As itself, with its own time; what it says later is what it would have said."""
    world = make_world(1, operation_seconds=60)
    world.simulator.start_operation(world.vaults[0].id)
    world.sleep(600)
    functions = Functions(world, CBR_SYNC_DEFER_TO=WORK)
    functions.is_away = True
    functions.on_lambda(build_tick(START + 10 * MINUTE, max_age_hours=30))
    (body,) = functions.bodies
    assert body["follow"] == {"every_minutes": 10, "max_age_hours": 30}
    assert body["vaults"] == {}
    assert body["time"] == "2026-11-23T03:10:00.000Z"
    assert body["handed_on"]["kind"] == "schedule"
    functions.deliver_batch()
    assert [event["type"] for event in functions.events] == []
    functions.is_away = False
    while functions.queue:
        functions.deliver_batch()
    assert [event["type"] for event in functions.events] == ["cbr-sync.operation.succeeded.v1"]
    assert functions.dead == []


def test_only_our_queue_may_hand_a_tick_on() -> None:
    """Anybody else could give himself out as a schedule."""
    world = make_world(1)
    functions = Functions(world, CBR_SYNC_DEFER_TO=WORK)
    functions.is_away = True
    functions.on_lambda(build_tick(START))
    batch = build_batch(world, functions.queue, "arn:aws:sqs:eu-west-1:123456789012:another")
    assert functions.on_lambda(batch)["batchItemFailures"] == [{"itemIdentifier": "message-1"}]


def test_a_vault_that_was_deleted_does_not_become_stale() -> None:
    """Nobody can do anything about it; how its last sync ended is reported."""
    world = make_world(1, operation_seconds=60)
    gone = Vault("0dd00000-0000-4000-8000-000000000000", "gone")
    old, new = START - timedelta(hours=26), START
    for at in (old, new):
        world.simulator.operations.append(Operation(f"op-{at:%d%H}", gone, at, 60, auto_trigger=True))
    world.sleep(600)
    functions = Functions(world)
    functions.on_lambda(build_tick(START + 10 * MINUTE, overdue_hours=20))
    (event,) = functions.events
    assert (event["type"], event["data"]["vault_name"]) == ("cbr-sync.operation.succeeded.v1", "gone")


# two weeks


class Weeks:
    """A function in a world whose schedules, webhooks, console and ticks all do what they may do.

    Attributes:
        functions: The function.
        param: The options of its ticks.
        told: Every fact that was reported, with the ids that it was reported under.
    """

    def __init__(self, seed: int, *, days: float, every_minutes: int, **cloud: Any) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a made-up life
        vaults = make_vaults(8)
        self.world = World(vaults=vaults)
        self.world.simulator = Simulator(now=self.world.now, vaults=vaults, **cloud)
        self.functions = Functions(self.world, CBR_SYNC_DEFER_TO=WORK, CBR_SYNC_VAULTS="hybrid")
        self.param = FollowParam(every_minutes=every_minutes)
        self._end = START + timedelta(days=days)
        self.slots = [*list_slots(START, self._end, self.param)]

    def live(self) -> None:
        """Let the weeks pass."""
        for moment, number, action in sorted(self._list_actions()):
            del number
            self.world.sleep(max((moment - self.world.now()).total_seconds(), 0))
            self._act(action)
        while self.functions.queue:
            self.functions.deliver_batch()
        assert self.functions.dead == []

    def _list_actions(self) -> Iterator[tuple[datetime, int, object]]:
        numbers = itertools.count()
        draw = self._random
        for vault in self.world.vaults[:6]:
            yield from ((at, next(numbers), started) for at, started in self._start_elsewhere(vault))
        night = START + timedelta(hours=1.5)
        while night < self._end:
            yield (
                night,
                next(numbers),
                {"trigger": "schedule", "scheduled_time": format_rfc3339(night), "vaults": {}},
            )
            night += timedelta(hours=24)
        for slot in self.slots:
            times = draw.choices((1, 2, 3), (8, 2, 1))[0]
            for _ in range(times):
                late = draw.uniform(-30, 60 * self.param.every_minutes - 31)
                delay = draw.choices((0.0, draw.uniform(0, 40_000)), (9, 1))[0]
                moment = slot + timedelta(seconds=max(late, 0) + delay)
                yield (
                    moment,
                    next(numbers),
                    build_tick(slot + timedelta(seconds=late), self.param.every_minutes),
                )

    def _start_elsewhere(self, vault: Vault) -> Iterator[tuple[datetime, dict[str, Any]]]:
        """Syncs of the console and other tools: every end, some short, some longer than a day."""
        draw, at = self._random, START
        while at < self._end:
            at += timedelta(hours=draw.expovariate(1 / 30))
            seconds = draw.choices((60, 3000, 50_000, 100_000), (4, 4, 2, 1))[0] * draw.uniform(0.9, 1.1)
            ends = draw.choices(("success", "failed", "skipped", "timeout", "paused"), (6, 3, 1, 1, 1))[0]
            failed = draw.choices((0, 2), (4, 1))[0] if ends == "success" else 0
            yield at, {"vault_id": vault.id, "ends": ends, "failed": failed, "seconds": round(seconds)}
            at += timedelta(seconds=seconds)

    def _act(self, action: object) -> None:
        assert isinstance(action, dict)
        if "ends" in action:
            self.world.simulator.start_operation(**action)
            return
        if "follow" in action and self._random.random() < 0.1:
            self.functions.kills = [1]
        self.functions.is_away = self._random.random() < 0.03
        for _ in range(4):
            try:
                self.functions.on_lambda(action)
            except (CbrSyncError, Killed):
                self.functions.is_away = False
            else:
                break
        self.functions.is_away = False
        if self.functions.queue and self._random.random() < 0.5:
            self.functions.deliver_batch()

    @property
    def told(self) -> dict[Fact, set[str]]:
        """Every fact that was reported, with the ids that it was reported under."""
        own = [event for event in self.functions.events if "checkpoint" not in event["type"]]
        own = [event for event in own if event["type"] != "cbr-sync.run.finished.v1"]
        told: dict[Fact, set[str]] = defaultdict(set)
        for event, fact in zip(own, read_facts(own), strict=True):
            told[fact].add(event["id"])
        return told

    @property
    def expected(self) -> list[Fact]:
        """What the simulator's books say has happened in the intervals of the ticks."""
        ops = [
            Op(one.id, one.vault_id, cut(one.created_at), cut(one.ended_at), choose_word(one))
            for one in self.world.simulator.operations
        ]
        first, last = find_interval(self.slots[0], self.param), find_interval(self.slots[-1], self.param)
        return [fact for fact in list_facts(ops, self.param) if first.start < fact.at <= last.end]


def cut(moment: datetime) -> datetime:
    """A moment as the simulator shows it, in milliseconds."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def choose_word(operation: Operation) -> str:
    """The status that an operation's end is reported with."""
    if operation.vault.ends == "success" and operation.vault.failed:
        return "partial"
    return WORDS.get(operation.vault.ends, "unknown")


@pytest.mark.parametrize("clock_offset_seconds", [0.0, 240.0, -240.0])
def test_two_weeks_are_reported_to_the_last_end(clock_offset_seconds: float) -> None:
    """Nights, the console, ticks that are late, doubled, killed and handed on: every fact under one id."""
    weeks = Weeks(7, days=14, every_minutes=60, clock_offset_seconds=clock_offset_seconds)
    weeks.live()
    told = weeks.told
    assert sorted(told) == sorted(weeks.expected)
    assert all(len(ids) == 1 for ids in told.values())
    kinds = {fact.type.split(".")[2] for fact in told}
    assert kinds >= {"succeeded", "failed", "partial", "skipped", "timed_out", "unknown"}
    assert kinds >= {"overdue", "became_stale", "recovered"}


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10**6), st.sampled_from([1, 5, 10, 60]), st.floats(-240, 240))
@example(1, 10, 0.0)
def test_any_two_days_are_reported_to_the_last_end(seed: int, every_minutes: int, offset: float) -> None:
    """Whatever happens in them."""
    days = 2 if every_minutes > 5 else 0.2
    weeks = Weeks(seed, days=days, every_minutes=every_minutes, clock_offset_seconds=offset)
    weeks.live()
    assert sorted(weeks.told) == sorted(weeks.expected)
    assert all(len(ids) == 1 for ids in weeks.told.values())


def test_a_sync_that_runs_already_is_followed_as_well(world: World) -> None:
    """Whoever started it, and whenever in the window."""
    functions = Functions(world)
    world.sleep(90_000)
    tick = build_tick(world.now())
    functions.on_lambda(tick)
    busy = [event for event in functions.events if event["subject"] == BUSY]
    assert {event["type"] for event in busy} <= {"cbr-sync.operation.succeeded.v1"}
