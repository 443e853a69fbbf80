"""Messages for people: who is written to about what, in which words, and within which limits."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbr_sync.cli.notify import format_message
from cbr_sync.cli.sample_facts import build_samples
from cbr_sync.errors import ApiError, EventError, NotAcceptedError, SinkError
from cbr_sync.follow import Edge, EdgeKind, EndedSync, FollowParam, FollowResult, Sync, find_interval
from cbr_sync.huawei.cbr import OperationLog
from cbr_sync.models import Copies, Kind, OutcomeError, Status, Trigger
from cbr_sync.reports.models import Report, State, VaultReport
from cbr_sync.results import MessageResult, RunResult
from cbr_sync.sinks import smn, sns
from cbr_sync.sinks.people import MAX_ROWS, compose_message, neutralize_markdown, select_facts
from cbr_sync.sinks.wording import Facts, cut
from support.builders import SOURCE, TRIGGER, build_outcome
from support.people import check_markdown, check_message, check_publish_message
from support.world import FILE, VMWARE

SAMPLES = Path(__file__).parent / "messages"
LANGUAGES = ("en", "zh")
AT = datetime(2026, 11, 25, 19, 0, tzinfo=UTC)

every_language = pytest.mark.parametrize("language", LANGUAGES)


def build_facts(**change: Any) -> Facts:
    """Facts of a run in a region."""
    return Facts(AT, run_id="run-1", source=SOURCE)._replace(**change)


def select(result: RunResult, *, is_all: bool = False) -> Facts:
    """The facts of a result."""
    return select_facts(result, is_all=is_all, at=AT, run_id="run-1", source=SOURCE, service="cbr-sync")


# the words


def build_more_facts() -> dict[str, Facts]:
    """Facts that the samples do not have: one of what is usually many, and many of what is usually one."""
    samples = build_samples(AT, source="/cbr/cn-north-4/example", service="cbr-sync")
    good, bad = samples["good run"].run, samples["run"].run[:3]
    (late,) = samples["late failure"].ended
    (stale,), (recovered,) = samples["stale"].edges, samples["recovered"].edges
    overdue = stale._replace(kind=EdgeKind.OVERDUE, vault_name="vmware-prod-01", limit_hours=12)
    ended_well = late._replace(status="succeeded", last_success_at=None, log=build_log("success"))
    succeeded = tuple(one.model_copy(update={"status": Status.SUCCEEDED}) for one in good)
    partial = good[0].model_copy(
        update={"status": Status.PARTIAL, "copies": Copies(synced=9, deleted=0, failed=1)}
    )
    (report,) = samples["report"].reports
    fresh = report.model_copy(update={"vaults": report.vaults[2:]})
    rejected = samples["rejected"].rejected[0]
    return {
        "one vault failed": build_facts(run=bad[:1], outcomes=bad[:1]),
        "one vault, some copies failed": build_facts(run=(partial,), outcomes=(partial,)),
        "one vault accepted": build_facts(run=good[:1], outcomes=good[:1]),
        "all succeeded": build_facts(run=succeeded, outcomes=succeeded),
        "others succeeded": build_facts(run=(*bad[:2], *succeeded[2:]), outcomes=bad[:2]),
        "others mixed": build_facts(run=(bad[2], good[0], succeeded[1]), outcomes=bad[2:]),
        "several ends": build_facts(ended=(late, late._replace(status="skipped", vault_name="file-hr"))),
        "a good end": build_facts(ended=(ended_well,)),
        "good ends": build_facts(ended=(ended_well, ended_well)),
        "overdue": build_facts(edges=(overdue,)),
        "several edges": build_facts(edges=(overdue, stale, recovered)),
        "recovered after a failure": build_facts(edges=(recovered._replace(before=None),)),
        "all fresh": build_facts(reports=(fresh,)),
        "several rejections": build_facts(rejected=(rejected, rejected), rejections=2),
        "messages were held back": build_facts(edges=(stale,), held_back=17),
    }


@every_language
def test_the_messages_of_rarer_facts_are_those_that_were_read_too(language: str) -> None:
    """As the test below says."""
    composed = "\n".join(
        format_message(f"{case}, {language}", compose_message(facts, language))
        for case, facts in build_more_facts().items()
    )
    assert composed == (SAMPLES / f"more.{language}.txt").read_text(encoding="utf-8")


@every_language
def test_the_messages_are_those_that_were_read_and_found_good(language: str) -> None:
    """Every case, in every form. To accept a change, write what is composed into the file, and read it."""
    samples = build_samples(AT, source="/cbr/cn-north-4/example", service="cbr-sync")
    composed = "\n".join(
        format_message(f"{case}, {language}", compose_message(facts, language))
        for case, facts in samples.items()
    )
    assert composed == (SAMPLES / f"{language}.txt").read_text(encoding="utf-8")


@every_language
def test_every_sample_keeps_to_the_limits_and_to_the_sdk(language: str) -> None:
    """With SMN as with SNS."""
    for facts in build_samples(AT, source=SOURCE, service="cbr-sync").values():
        message = compose_message(facts, language)
        check_message(message)
        body = {"subject": message.subject, "message_structure": json.dumps(smn.build_structure(message))}
        check_publish_message(body)
        assert set(sns.build_structure(message)) == {"default", "email", "sms"}


def test_vaults_have_names_and_times_one_named_zone() -> None:
    """An id stands only where no name is known."""
    named = build_outcome(status=Status.FAILED, vault_name="file-hr")
    nameless = build_outcome(status=Status.FAILED, vault_id=FILE)
    message = compose_message(build_facts(run=(named, nameless), outcomes=(named, nameless)), "en")
    assert "file-hr: failed" in message.mail
    assert VMWARE not in message.mail
    assert f"{FILE}: failed" in message.mail
    assert message.mail.count("2026-11-25 19:00 UTC") == 2
    message = compose_message(build_facts(run=(named, nameless), outcomes=(named, nameless)), "zh")
    assert message.mail.count("2026-11-26 03:00（北京时间）") == 2


@every_language
def test_ten_rows_are_shown_and_the_others_counted(language: str) -> None:
    """The text message names the worst."""
    bad = tuple(
        build_outcome(
            status=Status.FAILED, vault_name=f"vault-{number:02}", vault_id=f"{number:08x}{VMWARE[8:]}"
        )
        for number in range(2300)
    )
    message = compose_message(build_facts(run=bad, outcomes=bad), language)
    assert message.mail.count("\n- ") == MAX_ROWS + 1
    assert "2290" in message.mail
    assert "vault-00" in message.sms
    assert "2299" in message.sms
    check_message(message)


@every_language
def test_the_worst_comes_first_and_good_news_last(language: str) -> None:
    """A rejected trigger beside syncs that all went well is what the subject is about."""
    good = (build_outcome(), build_outcome(vault_id=FILE))
    facts = build_facts(run=good, outcomes=good, rejected=((TRIGGER, "not JSON"),), rejections=1)
    message = compose_message(facts, language)
    assert message.subject.startswith(("REJECTED", "已拒绝"))
    assert message.event["type"] == "cbr-sync.notice.v1"
    assert [row["type"] for row in message.event["data"]["events"]] == [
        "cbr-sync.run.finished.v1",
        "cbr-sync.trigger.rejected.v1",
    ]


# who is written to about what


def select_statuses(result: RunResult, *, is_all: bool = False) -> list[str]:
    """The statuses that people read of."""
    return [str(outcome.status) for outcome in select(result, is_all=is_all).outcomes]


def build_message(status: Status, kind: Kind = Kind.QUEUE, **change: Any) -> RunResult:
    """The result of one message with an outcome of this status."""
    trigger = Trigger(kind=kind, id="t")
    return RunResult(
        [MessageResult(trigger, outcomes=(build_outcome(status=status, trigger=trigger),), **change)]
    )


@pytest.mark.parametrize(
    ("status", "kind", "change", "is_told"),
    [
        (Status.FAILED, Kind.QUEUE, {}, True),
        (Status.PARTIAL, Kind.QUEUE, {}, True),
        (Status.TIMED_OUT, Kind.QUEUE, {}, True),
        (Status.SKIPPED, Kind.QUEUE, {}, True),
        (Status.ACCEPTED, Kind.QUEUE, {}, False),
        (Status.SUCCEEDED, Kind.QUEUE, {}, False),
        (Status.DEFERRED, Kind.QUEUE, {}, False),
        # handed back, raised, answered 503: it comes again
        (Status.UNFINISHED, Kind.QUEUE, {}, False),
        (Status.UNFINISHED, Kind.TIMER, {}, False),
        (Status.UNFINISHED, Kind.WEBHOOK, {}, False),
        (Status.ALREADY_RUNNING, Kind.WEBHOOK, {}, False),
        (Status.ALREADY_RUNNING, Kind.QUEUE, {"defer_error": SinkError("no")}, False),
        # acknowledged as it is
        (Status.ALREADY_RUNNING, Kind.QUEUE, {}, True),
        (Status.ALREADY_RUNNING, Kind.TIMER, {}, True),
        # after 24 hours, or 100 times
        (Status.UNFINISHED, Kind.QUEUE, {"is_given_up": True}, True),
        (Status.ALREADY_RUNNING, Kind.WEBHOOK, {"is_given_up": True}, True),
    ],
)
def test_only_the_last_word_is_told(
    status: Status, kind: Kind, change: dict[str, Any], is_told: bool
) -> None:
    """Nobody reads of what will be tried again before that has ended."""
    assert select_statuses(build_message(status, kind, **change)) == ([str(status)] if is_told else [])


@pytest.mark.parametrize("status", [Status.ACCEPTED, Status.SUCCEEDED, Status.FAILED])
def test_with_all_good_news_are_told_too(status: Status) -> None:
    """But what comes again is not."""
    assert select_statuses(build_message(status), is_all=True) == [str(status)]
    assert select_statuses(build_message(Status.UNFINISHED), is_all=True) == []
    assert select_statuses(build_message(Status.DEFERRED), is_all=True) == []


@pytest.mark.parametrize(
    ("error", "deliveries", "is_told"),
    [
        (EventError("not JSON"), 1, True),
        (EventError("not JSON"), 2, False),
        (ApiError("APIGW.0106", "no such API"), 1, True),
        (NotAcceptedError("503", "busy"), 1, False),
    ],
)
def test_a_trigger_is_rejected_once(error: EventError | ApiError, deliveries: int, is_told: bool) -> None:
    """At its first delivery, and never for what passes."""
    result = RunResult([MessageResult(TRIGGER, error=error, deliveries=deliveries)])
    assert bool(select(result).rejected) is is_told


def test_edges_are_always_told_and_ends_that_are_bad() -> None:
    """A recovery is good news that everybody waits for."""
    operation = Sync(AT, AT - timedelta(hours=1), "log", Status.SUCCEEDED)
    edges = [Edge(kind, VMWARE, None, AT, operation, None, 26) for kind in reversed(EdgeKind)]
    ended = [
        EndedSync(build_log(status), status, VMWARE, None, AT, None)
        for status in ("succeeded", "skipped", "unknown", "failed")
    ]
    interval = find_interval(AT, FollowParam(every_minutes=10))
    result = RunResult([MessageResult(TRIGGER, follow=FollowResult(interval, tuple(ended), tuple(edges)))])
    facts = select(result)
    assert [edge.kind for edge in facts.edges] == list(EdgeKind)
    assert [one.status for one in facts.ended] == ["failed", "unknown", "skipped"]
    assert [one.status for one in select(result, is_all=True).ended][-1] == "succeeded"


def build_log(status: str = "failed", **change: Any) -> OperationLog:
    """An operation that has ended."""
    row = {"id": "log", "status": status, "created_at": AT.isoformat(), "ended_at": AT.isoformat()}
    return OperationLog.model_validate(row | change)


# the event for machines behind the same topic


@pytest.mark.parametrize(
    ("facts", "type_"),
    [
        ({"outcomes": 2}, "cbr-sync.run.finished.v1"),
        ({"outcomes": 1}, "cbr-sync.notice.v1"),
        ({"rejected": ((TRIGGER, "no"),), "rejections": 1}, "cbr-sync.trigger.rejected.v1"),
        ({"rejected": ((TRIGGER, "no"), (TRIGGER, "no")), "rejections": 2}, "cbr-sync.notice.v1"),
        ({"rejected": ((TRIGGER, "no"),), "held_back": 3}, "cbr-sync.notice.v1"),
    ],
)
def test_the_default_part_is_the_event_that_says_it(facts: dict[str, Any], type_: str) -> None:
    """A notice where none does."""
    bad = (build_outcome(status=Status.FAILED), build_outcome(status=Status.FAILED, vault_id=FILE))
    if count := facts.pop("outcomes", 0):
        facts = {"run": bad[:count], "outcomes": bad[:count]}
    event = compose_message(build_facts(**facts), "en").event
    assert event["type"] == type_
    assert event["id"] == compose_message(build_facts(**facts), "zh").event["id"]


# whatever names and errors are like

TEXTS = st.text(max_size=80) | st.text(
    st.sampled_from("*[]<>`~\\_#|-+1. 【】\u202e\u200d\n长é👩‍👩‍👧🇩🇪e\u0301"), max_size=200
)
ERRORS = st.none() | st.builds(OutcomeError, code=TEXTS, message=TEXTS)
MOMENTS = st.integers(-(10**7), 10**7).map(lambda seconds: AT + timedelta(seconds=seconds))


@st.composite
def draw_facts(draw: Callable[..., Any]) -> Facts:
    """Facts with names, errors, ids and times of every sort."""
    trigger = Trigger(kind=draw(st.sampled_from(Kind)), id=draw(TEXTS))
    outcomes = tuple(
        build_outcome(
            status=draw(st.sampled_from(Status)),
            vault_name=draw(st.none() | TEXTS),
            error=draw(ERRORS),
            trigger=trigger,
        )
        for _ in range(draw(st.integers(0, 3)))
    )
    states = draw(st.lists(st.sampled_from(State), min_size=1, max_size=3))
    report = Report(
        at=AT,
        max_age_hours=26,
        history_hours=0,
        counts={},
        oldest_sync_age_hours=None,
        trigger=trigger,
        vaults=tuple(
            VaultReport(
                vault_id=VMWARE,
                name=draw(TEXTS),
                object_type=None,
                vault_status=None,
                state=state,
                age_hours=None,
                last_success=None,
                running=None,
                last_error=None,
            )
            for state in sorted(states, key=list(State).index)
        ),
        history={},
    )
    info = {"code": draw(TEXTS), "message": draw(TEXTS)}
    operation = Sync(AT, AT - timedelta(hours=1), "log", Status.SUCCEEDED)
    ended = [
        EndedSync(
            build_log(error_info=info),
            status,
            VMWARE,
            draw(st.none() | TEXTS),
            draw(MOMENTS),
            draw(st.none() | MOMENTS),
        )
        for status in draw(
            st.lists(st.sampled_from(["failed", "succeeded", "unknown", "skipped"]), max_size=2)
        )
    ]
    edges = [
        Edge(
            kind, VMWARE, draw(st.none() | TEXTS), AT, operation, draw(st.sampled_from([None, operation])), 26
        )
        for kind in draw(st.lists(st.sampled_from(EdgeKind), max_size=2))
    ]
    rejected = draw(st.lists(st.tuples(st.just(trigger), TEXTS), max_size=2))
    facts = build_facts(
        run=outcomes,
        outcomes=outcomes,
        rejected=tuple(rejected),
        rejections=len(rejected),
        reports=draw(st.sampled_from([(), (report,)])),
        ended=tuple(ended),
        edges=tuple(edges),
        held_back=draw(st.integers(0, 2)),
    )
    return facts._replace(reports=(report,)) if facts.is_empty else facts


@given(facts=draw_facts(), language=st.sampled_from(LANGUAGES))
def test_no_name_and_no_error_breaks_a_message(facts: Facts, language: str) -> None:
    """No forbidden character, no length exceeded, no Markdown of a stranger's."""
    message = compose_message(facts, language)
    check_message(message)
    body = {"subject": message.subject, "message_structure": json.dumps(smn.build_structure(message))}
    check_publish_message(body)


@given(text=TEXTS)
def test_no_text_is_formatted(text: str) -> None:
    """Whatever stands in it; an underscore between letters stays as it is."""
    line = " ".join(text.split())
    check_markdown(f"**x**\n{neutralize_markdown(line)}")
    assert neutralize_markdown("vmware_prod_01") == "vmware_prod_01"


@given(text=TEXTS, length=st.integers(4, 60), encoding=st.sampled_from(["", "utf-8", "utf-16-le"]))
def test_a_text_is_never_cut_inside_a_character(text: str, length: int, encoding: str) -> None:
    """No accent loses its letter, no emoji half of its parts, and no flag one of its two letters."""
    shown = cut(text, length, encoding=encoding)
    assert len(shown.encode(encoding) if encoding else shown) <= length
    if shown != text:
        kept = shown.removesuffix("...").removesuffix("…")
        assert text.startswith(kept)


@pytest.mark.parametrize("character", ["e\u0301", "👩‍👩‍👧", "👍🏽", "🇩🇪", "ᄒ\u1161\u11ab", "नि", "❤\ufe0f"])
def test_what_is_shown_as_one_is_cut_as_one(character: str) -> None:
    """Either all of it stays, or nothing."""
    for length in range(2, 24):
        shown = cut(character * 9, length).removesuffix("…")
        assert shown == character * (len(shown) // len(character)), (length, shown)
