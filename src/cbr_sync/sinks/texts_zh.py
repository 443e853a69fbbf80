"""What people are told, in Chinese: written for an operator of Huawei Cloud, with the vendor's own terms."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta, timezone
from typing import TYPE_CHECKING

from cbr_sync.follow import EdgeKind
from cbr_sync.models import Status
from cbr_sync.sinks.wording import (
    MAX_DETAIL_LENGTH,
    Facts,
    Section,
    build_runbook_link,
    clean,
    clean_code,
    clean_error,
    clean_name,
    cut,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from cbr_sync.follow import Edge, EndedSync
    from cbr_sync.models import OutcomeError, SyncOutcome
    from cbr_sync.reports.models import Report, VaultReport

_BEIJING = timezone(timedelta(hours=8))
_NOTHING_TO_DO = "无需处理。"
_STATUS_WORDS = {
    "failed": "失败",
    "timed_out": "CBR 任务超时",
    "partial": "部分成功",
    "unfinished": "未完成",
    "already_running": "未启动，更早的同步仍在进行",
    "skipped": "已跳过",
    "accepted": "已受理",
    "succeeded": "同步成功",
    "deferred": "稍后处理",
    "unknown": "以未知状态结束",
}
_HEADINGS = {
    "failed": "失败",
    "timed_out": "超时",
    "partial": "部分失败",
    "unfinished": "未完成",
    "already_running": "未启动",
    "skipped": "已跳过",
    "unknown": "状态未知",
}
_STATE_HEADINGS = {"failing": "失败", "never": "从未同步", "stale": "过期", "unknown": "未知"}
_STATE_WORDS = {
    "failing": "最近一次同步失败",
    "never": "从未同步成功",
    "stale": "已过期",
    "unknown": "状态未知，任务记录中没有成功的同步",
}
_KINDS = {
    "timer": "定时触发",
    "schedule": "定时触发",
    "webhook": "webhook 请求",
    "queue": "队列消息",
    "notification": "通知",
    "event": "事件",
    "direct": "直接调用",
}


class Chinese:
    """Chinese texts."""

    def describe(self, facts: Facts) -> Iterator[Section]:
        """Yield a section for each thing that there is to say, the worst first."""
        if facts.outcomes:
            yield _describe_run(facts)
        if facts.ended:
            yield _describe_ended(facts.ended)
        if facts.edges:
            yield _describe_edges(facts.edges)
        for report in facts.reports:
            yield _describe_report(report)
        if facts.rejected:
            yield _describe_rejected(facts)

    def format_sms(self, text: str) -> str:
        """Return a text message, which begins with who sends it."""
        return f"cbr-sync：{text}"

    def format_more(self, count: int) -> str:
        """Return the row that stands for rows left out."""
        return f"另有 {count} 个"

    def format_footer(self, facts: Facts) -> str:
        """Return the last line, with ids."""
        ids = [
            f"cbr-sync，运行 ID {facts.run_id}",
            f"任务 ID {facts.operation_id}" if facts.operation_id else "",
        ]
        footer = "，".join([*filter(None, ids), _format_time(facts.at)])
        if not facts.held_back:
            return footer
        return f"此前因消息过多，另有 {facts.held_back} 条未发送，详见日志。{footer}"


def _describe_run(facts: Facts) -> Section:
    bad = [one for one in facts.outcomes if one.status in _HEADINGS]
    total, time = facts.counts.total(), _format_time(facts.at)
    clock = _format_clock(facts.at)
    if not bad:
        return _describe_good_run(facts, total, time, clock)
    first = bad[0]
    heading, name = _HEADINGS[first.status], clean_name(first.vault_name or first.vault_id)
    advice = f"处理方法：在运维手册 {build_runbook_link()} 中查找{_name_code(first)}。"
    if total == 1:
        lead = f"{time}，存储库 {name} 的同步结果：{_describe_why(first)}。"
        code = f"：{clean_code(first.error.code)}" if first.error else ""
        sms = f"{clock}，{name} 的同步{heading}{code}。"
        return Section(f"{heading}：{name}", lead, (), advice, sms)
    lead = f"{time}的运行中，{total} 个同步有 {len(bad)} 个出现问题{_describe_others(facts)}。"
    more = f"，另 {len(bad) - 1} 个见邮件" if len(bad) > 1 else ""
    sms = f"{clock} 运行，{total} 个同步中 {len(bad)} 个出现问题。{name}：{_describe_short(first)}{more}。"
    rows = tuple(f"{clean_name(one.vault_name or one.vault_id)}：{_describe_why(one)}" for one in bad)
    return Section(f"{heading}：{total} 个同步中 {len(bad)} 个出现问题", lead, rows, advice, sms)


def _describe_good_run(facts: Facts, total: int, time: str, clock: str) -> Section:
    word = "成功" if facts.counts[Status.SUCCEEDED] == total else "受理"
    name = clean_name(facts.outcomes[0].vault_name or facts.outcomes[0].vault_id)
    what = f"存储库 {name} 的同步" if total == 1 else f"全部 {total} 个存储库的同步"
    lead = f"{time}，{what}均已{word}。" if total > 1 else f"{time}，{what}已{word}。"
    subject = f"正常：{name}" if total == 1 else f"正常：{total} 个存储库的同步全部{word}"
    return Section(subject, lead, (), _NOTHING_TO_DO, f"{clock}，{what}已{word}。", is_good=True)


def _describe_others(facts: Facts) -> str:
    others = Counter({status: count for status, count in facts.counts.items() if status not in _HEADINGS})
    if set(others) == {Status.ACCEPTED}:
        return f"，其余 {others.total()} 个已由 CBR 受理"
    if set(others) == {Status.SUCCEEDED}:
        return f"，其余 {others.total()} 个同步成功"
    words = "、".join(f"{count} 个{_STATUS_WORDS[status]}" for status, count in sorted(others.items()))
    return f"，其余：{words}" if words else ""


def _describe_why(outcome: SyncOutcome) -> str:
    words = _STATUS_WORDS[outcome.status]
    if outcome.copies and outcome.copies.failed:
        words += f"，{outcome.copies.failed} 个副本同步失败"
    return f"{words}，{_describe_error(outcome.error)}" if outcome.error else words


def _describe_error(error: OutcomeError) -> str:
    return clean_error(error.code, error.message, "：")


def _describe_short(outcome: SyncOutcome) -> str:
    return clean_code(outcome.error.code) if outcome.error else _STATUS_WORDS[outcome.status]


def _name_code(outcome: SyncOutcome) -> str:
    return f"错误码 {clean_code(outcome.error.code)}" if outcome.error else f"状态 {outcome.status}"


def _describe_ended(ended: tuple[EndedSync, ...]) -> Section:
    bad = [one for one in ended if one.status in _HEADINGS]
    first = (bad or ended)[0]
    name = clean_name(first.vault_name or first.vault_id)
    if not bad:
        subject = f"正常：{name} 同步成功" if len(ended) == 1 else f"正常：{len(ended)} 个同步成功"
        rows = tuple(_describe_end(one) for one in ended)
        lead = f"{len(ended)} 个同步成功。"
        sms = f"{subject.partition('：')[2]}。"
        return Section(subject, lead, rows, _NOTHING_TO_DO, sms, is_good=True)
    heading = f"事后{_HEADINGS[first.status]}"
    code = clean_code(first.log.error.code) if first.log.error else _STATUS_WORDS[first.status]
    advice = f"处理方法：在运维手册 {build_runbook_link()} 中查找 {code}。"
    if len(bad) > 1:
        lead = f"{len(bad)} 个已受理的同步后来出现问题。"
        sms = f"{len(bad)} 个已受理的同步后来出现问题。{name}：{code}，另 {len(bad) - 1} 个见邮件。"
        return Section(
            f"{heading}：{len(bad)} 个同步", lead, tuple(_describe_end(one) for one in bad), advice, sms
        )
    begin, end = (_format_clock(one) for one in (first.log.created_at, first.ended_at))
    lead = (
        f"CBR 于 {_format_time(first.log.created_at)}受理 {name} 的同步，{_format_time(first.ended_at)}结束"
        f"（历时 {_format_hours(first.ended_at - first.log.created_at)}）：{_describe_end_why(first)}。"
    )
    rows = (f"上一次成功的同步始于 {_format_time(first.last_success_at)}",) if first.last_success_at else ()
    sms = f"{name} {begin} 受理的同步于 {end} {_HEADINGS[first.status]}，{code}。"
    return Section(f"{heading}：{name} {begin} 的同步", lead, rows, advice, sms)


def _describe_end(one: EndedSync) -> str:
    name = clean_name(one.vault_name or one.vault_id)
    return f"{name}：始于 {_format_time(one.log.created_at)}，{_describe_end_why(one)}"


def _describe_end_why(one: EndedSync) -> str:
    words = _STATUS_WORDS[one.status]
    if one.log.copies and one.status != "succeeded":
        copies = one.log.copies
        words += f"（同步副本 {copies.synced} 个，删除 {copies.deleted} 个，失败 {copies.failed} 个）"
    return f"{words}，{_describe_error(one.log.error)}" if one.log.error else words


def _describe_edges(edges: tuple[Edge, ...]) -> Section:
    if len(edges) == 1:
        return _describe_edge(edges[0])
    counts = Counter(edge.kind for edge in edges)
    words = {EdgeKind.OVERDUE: "超时未结束", EdgeKind.BECAME_STALE: "过期", EdgeKind.RECOVERED: "恢复"}
    listed = "，".join(f"{count} 个{words[kind]}" for kind, count in counts.items())
    sections = [_describe_edge(edge) for edge in edges]
    heading = sections[0].subject.partition("：")[0]
    name = clean_name(edges[0].vault_name or edges[0].vault_id)
    rows = tuple(section.subject for section in sections)
    sms = f"{listed}。{name} 等 {len(edges)} 个存储库。"
    lead = f"自上次检查以来：{listed}。"
    return Section(f"{heading}：{listed}", lead, rows, sections[0].advice, sms, sections[0].is_good)


def _describe_edge(edge: Edge) -> Section:
    name, limit = clean_name(edge.vault_name or edge.vault_id), f"{edge.limit_hours:g} 小时"
    began = _format_time(edge.sync.created_at)
    advice = f"处理方法：参见运维手册 {build_runbook_link()}。"
    if edge.kind is EdgeKind.OVERDUE:
        lead = f"{name} 于 {began}开始的同步已运行超过 {limit}。"
        return Section(
            f"超时未结束：{name} 已运行超过 {limit}", lead, (), advice, f"{name} 的同步已运行超过 {limit}。"
        )
    if edge.kind is EdgeKind.BECAME_STALE:
        lead = f"{name} 上一次成功的同步始于 {began}，已超过 {limit}。此消息只发送一次，之后见每日报告。"
        return Section(
            f"过期：{name} 已 {limit}没有成功的同步",
            lead,
            (),
            advice,
            f"{name} 已过期，{limit}没有成功的同步。",
        )
    since = edge.at - edge.before.created_at if edge.before else None
    after = f"，距上一次成功 {_format_hours(since)}" if since else ""
    lead = f"{name} 于 {began}开始的同步已成功{after}。"
    sms = f"{name} 已恢复{after}。"
    return Section(f"恢复：{name} 同步成功", lead, (), _NOTHING_TO_DO, sms, is_good=True)


def _format_time(moment: datetime) -> str:
    return f"{moment.astimezone(_BEIJING):%Y-%m-%d %H:%M}（北京时间）"


def _format_clock(moment: datetime) -> str:
    return f"{moment.astimezone(_BEIJING):%H:%M}"


def _format_hours(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    hours, minutes = divmod(minutes, 60)
    return "".join(
        [f"{hours} 小时" if hours else "", f" {minutes} 分钟" if minutes or not hours else ""]
    ).strip()


def _describe_report(report: Report) -> Section:
    total, bad = len(report.vaults), report.not_fresh
    limit = f"{report.max_age_hours:g} 小时"
    if not bad:
        subject = f"正常：{total} 个存储库均在 {limit}内成功同步"
        lead = f"{total} 个存储库在过去 {limit}内都有成功的同步。"
        sms = f"{total} 个存储库均在 {limit}内成功同步。"
        return Section(subject, lead, (), _NOTHING_TO_DO, sms, is_good=True)
    worst = bad[0]
    ages = [vault for vault in bad if vault.age_hours is not None]
    oldest = max(ages, key=lambda vault: vault.age_hours or 0, default=None)
    tail = f"，最久 {oldest.age_hours:.0f} 小时" if oldest else ""
    subject = f"{_STATE_HEADINGS[worst.state]}：{total} 个存储库中 {len(bad)} 个需要处理{tail}"
    lead = f"{total} 个存储库中，{len(bad)} 个在过去 {limit}内没有成功的同步，或最近一次同步失败。"
    advice = f"处理方法：按状态参见运维手册 {build_runbook_link()}。"
    name = clean_name(worst.name)
    sms = f"{total} 个存储库中 {len(bad)} 个需要处理。{name}：{_STATE_WORDS[worst.state]}{tail}。"
    return Section(subject, lead, tuple(_describe_vault(vault) for vault in bad), advice, sms)


def _describe_vault(vault: VaultReport) -> str:
    parts = [_STATE_WORDS[vault.state]]
    if vault.last_error and vault.last_error.error:
        parts.append(_describe_error(vault.last_error.error))
    if vault.last_success:
        began = _format_time(vault.last_success.started_at)
        parts.append(f"上一次成功的同步始于 {began}，距今 {vault.age_hours:.0f} 小时")
    return f"{clean_name(vault.name)}：{'，'.join(parts)}"


def _describe_rejected(facts: Facts) -> Section:
    trigger, why = facts.rejected[0]
    count, advice = len(facts.rejected), "处理方法：请修正发送方，然后重新发送。"
    reason = cut(clean(why), MAX_DETAIL_LENGTH)
    kind = _KINDS[trigger.kind]
    if count == 1:
        lead = f"无法解析该{kind}，未同步任何存储库：{reason}。触发 ID：{clean(trigger.id)}。"
        return Section(f"已拒绝：{kind}", lead, (), advice, f"{kind}被拒绝，未同步任何存储库：{reason}。")
    rows = tuple(
        f"{_KINDS[one.kind]} {clean(one.id)}：{cut(clean(text), MAX_DETAIL_LENGTH)}"
        for one, text in facts.rejected
    )
    sms = f"{count} 个触发被拒绝，未同步任何存储库：{reason}。"
    return Section(
        f"已拒绝：{count} 个触发", f"无法解析 {count} 个触发，未同步任何存储库。", rows, advice, sms
    )
