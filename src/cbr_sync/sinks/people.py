"""Messages for people: one for each run that has something to say, in words and in their language.

Sources of the limits: SMN API reference, PublishMessage (huaweicloudsdksmn 3.1.219); SMN User Guide on text
messages; the robots' own pages. A carrier drops a text message that has one of ``[]【】``, and only its first
two parts are sent: 134 characters with Chinese among them, 306 without.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from cbr_sync.errors import RetryableError
from cbr_sync.follow import EdgeKind
from cbr_sync.models import Kind, Status
from cbr_sync.sinks.messages import (
    TROUBLE_STATUSES,
    WORST_FIRST,
    build_follow_events,
    build_notice_event,
    build_outcome_event,
    build_rejected_event,
    build_report_events,
    build_run_finished_event,
)
from cbr_sync.sinks.wording import Facts, Section, cut

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cbr_sync.models import SyncOutcome, Trigger
    from cbr_sync.results import MessageResult, RunResult
    from cbr_sync.sinks.messages import CloudEvent

MAX_ROWS = 10
# Of a subject in bytes, of a text message in characters, and of Markdown in bytes (WeCom has 4,096).
MAX_SUBJECT_BYTES = 512
MAX_SMS_LENGTH, MAX_SMS_LENGTH_GSM = 134, 306
MAX_CHAT_BYTES = 4000
# What GSM 03.38 and ASCII share, but for what counts twice; another character makes the whole message longer.
_GSM = re.compile(r"[A-Za-z0-9 @$!\"#%&'()*+,\-./:;<=>?_]*")
# What means something in the Markdown of one robot or another, and what looks like it and means nothing: each
# robot escapes in a way of its own (DingTalk with backslashes, Feishu with entities, WeCom not at all).
_LOOKALIKES = str.maketrans("\\`*[]<>~", "＼＇＊［］＜＞～")
_UNDERSCORES = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
_LINE_MARKS = re.compile(r"^([#+-]|[0-9]+\.)")


class Texts(Protocol):
    """One language."""

    def describe(self, facts: Facts) -> Iterator[Section]:
        """Yield a section for each thing that there is to say, the worst first."""

    def format_sms(self, text: str) -> str:
        """Return a text message, which begins with who sends it."""

    def format_more(self, count: int) -> str:
        """Return the row that stands for rows left out."""

    def format_footer(self, facts: Facts) -> str:
        """Return the last line, with ids."""


class PeopleMessage(NamedTuple):
    """One message, in every form that it is sent in.

    Attributes:
        subject: Of a mail; 512 bytes at most, and one line.
        mail: Plain text.
        sms: A text message of two parts at most.
        chat: Markdown that DingTalk, Feishu and WeCom all read.
        event: What machines behind the same topic get.
    """

    subject: str
    mail: str
    sms: str
    chat: str
    event: CloudEvent


def select_facts(result: RunResult, *, is_all: bool, **about: Any) -> Facts:
    """Return what people are told of a run.

    Nobody is told of what is deferred, nor of what will be tried again before that has ended.

    Args:
        result: The result of the run.
        is_all: Whether good news count as well; else trouble alone, and recoveries.
        about: The other attributes of the facts.
    """
    outcomes = [one for message in result.messages for one in _list_told(message) if is_all or _is_bad(one)]
    outcomes.sort(key=lambda one: (WORST_FIRST.index(one.status), one.vault_name or "", one.vault_id))
    ended = [one for follow in result.follows for one in follow.ended if is_all or one.status in _BAD_ENDS]
    edges = [edge for follow in result.follows for edge in follow.edges]
    return Facts(
        run=tuple(result.emitted_outcomes),
        rejections=len(result.rejected),
        outcomes=tuple(outcomes),
        rejected=tuple(_list_rejected(result)),
        reports=tuple(report for report in result.reports if is_all or report.not_fresh),
        ended=tuple(sorted(ended, key=lambda one: _BAD_ENDS.get(one.status, len(_BAD_ENDS)))),
        edges=tuple(sorted(edges, key=lambda edge: list(EdgeKind).index(edge.kind))),
        **about,
    )


def add_names(facts: Facts, names: Mapping[str, str]) -> Facts:
    """Return the facts with the names of vaults that were only known by their ids."""
    outcomes = tuple(
        one if one.vault_name else one.model_copy(update={"vault_name": names.get(one.vault_id)})
        for one in facts.outcomes
    )
    return facts._replace(outcomes=outcomes)


_BAD_ENDS = {
    status: rank for rank, status in enumerate(("failed", "timed_out", "partial", "unknown", "skipped"))
}


def _is_bad(outcome: SyncOutcome) -> bool:
    return outcome.status in TROUBLE_STATUSES


def _list_told(message: MessageResult) -> list[SyncOutcome]:
    """Return the outcomes of a message that are its last word."""
    again = {Status.DEFERRED}
    if not message.is_given_up:
        again |= {Status.UNFINISHED}
        if message.defer_error or message.trigger.kind is Kind.WEBHOOK:
            again |= {Status.ALREADY_RUNNING}
    return [outcome for outcome in message.outcomes if outcome.status not in again]


def _list_rejected(result: RunResult) -> Iterator[tuple[Trigger, str]]:
    """Yield the triggers that cannot be read; each at its first delivery, where that is known."""
    for message in result.messages:
        if message.error and not isinstance(message.error, RetryableError) and message.deliveries <= 1:
            yield message.trigger, str(message.error)


def compose_message(facts: Facts, language: str) -> PeopleMessage:
    """Return the message that says these facts, of which there is one at least.

    Args:
        facts: What there is to say.
        language: ``en`` or ``zh``.
    """
    texts = load_texts(language)
    sections = sorted(texts.describe(facts), key=lambda section: section.is_good)
    region = facts.source.split("/")[2] if facts.source.count("/") > 1 else ""
    who = " ".join(filter(None, (facts.service, region)))
    subject = cut(f"{sections[0].subject} | {who}", MAX_SUBJECT_BYTES, encoding="utf-8")
    footer = texts.format_footer(facts)
    return PeopleMessage(
        subject,
        _render_mail(sections, texts, footer),
        _fit_sms(texts.format_sms(sections[0].sms)),
        _render_chat(subject, sections, texts, footer),
        choose_event(facts, subject),
    )


def load_texts(language: str) -> Texts:
    """Return one language; the other one is not imported."""
    if language == "zh":
        from cbr_sync.sinks.texts_zh import Chinese  # noqa: PLC0415

        return Chinese()
    from cbr_sync.sinks.texts_en import English  # noqa: PLC0415

    return English()


def choose_event(facts: Facts, subject: str) -> CloudEvent:
    """Return the CloudEvent that says all of it; a notice where none of the summaries does."""
    if facts.outcomes and len({outcome.vault_id for outcome in facts.run}) > 1:
        run = (facts.run_id, facts.run, facts.rejections, facts.source, facts.at)
        events = [build_run_finished_event(*run)]
    else:
        events = [build_outcome_event(outcome, facts.source) for outcome in facts.outcomes]
    events += [build_rejected_event(trigger, why, facts.source, facts.at) for trigger, why in facts.rejected]
    events += [next(iter(build_report_events(report, facts.source))) for report in facts.reports]
    events += build_follow_events(facts.ended, facts.edges, facts.source)
    if len(events) == 1 and not facts.held_back and not events[0]["type"].startswith("cbr-sync.checkpoint."):
        return events[0]
    return build_notice_event(subject, events, facts.source, facts.at)


def _render_mail(sections: Sequence[Section], texts: Texts, footer: str) -> str:
    blocks = []
    for section in sections:
        rows = [f"- {row}" for row in _shorten_rows(section.rows, texts)]
        blocks.append("\n".join([section.lead, *rows, section.advice]))
    return "\n\n".join([*blocks, footer]) + "\n"


def _render_chat(subject: str, sections: Sequence[Section], texts: Texts, footer: str) -> str:
    """Return the subset of Markdown that all robots read: bold, quotes, and lines that end in two spaces."""
    blocks = [f"**{neutralize_markdown(subject)}**"]
    for section in sections:
        quotes = [f"> {neutralize_markdown(row)}" for row in _shorten_rows(section.rows, texts)]
        blocks += [
            neutralize_markdown(section.lead),
            "  \n".join(quotes),
            neutralize_markdown(section.advice),
        ]
    blocks.append(neutralize_markdown(footer))
    kept = ""
    for block in filter(None, blocks):
        longer = f"{kept}\n\n{block}" if kept else block
        if len(longer.encode()) > MAX_CHAT_BYTES:
            break
        kept = longer
    return kept


def _shorten_rows(rows: Sequence[str], texts: Texts) -> list[str]:
    shown = list(rows[:MAX_ROWS])
    if len(rows) > MAX_ROWS:
        shown.append(texts.format_more(len(rows) - MAX_ROWS))
    return shown


def _fit_sms(text: str) -> str:
    """Return the text in two parts at most, without the characters for which carriers drop it."""
    text = text.translate(_NO_BRACKETS)
    if _GSM.fullmatch(text):
        return cut(text, MAX_SMS_LENGTH_GSM)
    return cut(text, 2 * MAX_SMS_LENGTH, encoding="utf-16-le")


_NO_BRACKETS = str.maketrans("[]【】", "()()")


def neutralize_markdown(text: str) -> str:
    """Return a text that every robot shows as it is, or with a wider character in place of one that it reads.

    An underscore between letters means nothing, and stays.
    """
    text = _UNDERSCORES.sub("＿", text.translate(_LOOKALIKES))
    return _LINE_MARKS.sub("\u200b\\1", text)
