"""The command ``notify``: show what people would read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cbr_sync.cli import console
from cbr_sync.cli.options import AsJson, fail_usage
from cbr_sync.cli.sample_facts import build_samples
from cbr_sync.clock import Clock
from cbr_sync.sinks import smn, sns
from cbr_sync.sinks.people import compose_message

if TYPE_CHECKING:
    from cbr_sync.sinks.people import PeopleMessage

_LANGUAGES = ("en", "zh")
_SOURCE = "/cbr/cn-north-4/example"

Preview = Annotated[bool, typer.Option("--preview", help="Show the messages. Nothing is sent.")]
Language = Annotated[
    Literal["en", "zh"] | None, typer.Option(help="Show one language only. By default, both are shown.")
]


def preview_messages(preview: Preview = False, language: Language = None, as_json: AsJson = False) -> None:
    """Show what people read in a mail, a text message or a chat. Nothing is sent.

    The messages are about made-up vaults; no settings are needed.

    Example: cbr-sync notify --preview --language en
    """
    if not preview:
        fail_usage("add --preview to see the messages; this command never sends any")
    samples = build_samples(Clock().now(), source=_SOURCE, service="cbr-sync")
    messages = [
        (case, each, compose_message(facts, each))
        for case, facts in samples.items()
        for each in ([language] if language else _LANGUAGES)
    ]
    if as_json:
        console.print_json([_build_json(*message) for message in messages])
        return
    for case, each, message in messages:
        typer.echo(format_message(f"{case}, {each}", message))


def format_message(title: str, message: PeopleMessage) -> str:
    """Return a message in every form that it is sent in, one below the other."""
    blocks = [f"{title}\n{'=' * len(title)}\n"]
    for name, text in (
        ("Subject", message.subject),
        ("Mail", message.mail),
        (f"Text message and WeLink, {len(message.sms)} characters", message.sms),
        ("DingTalk, Feishu and WeCom, in Markdown", message.chat),
        ("Machines behind the same topic", f"the CloudEvent {message.event['type']}"),
    ):
        lines = (f"    {line}".rstrip() for line in text.strip().split("\n"))
        blocks.append("\n".join([f"{name}:", *lines, ""]))
    return "\n".join(blocks)


def _build_json(case: str, language: str, message: PeopleMessage) -> dict[str, object]:
    return {
        "case": case,
        "language": language,
        "subject": message.subject,
        "smn": smn.build_structure(message),
        "sns": sns.build_structure(message),
    }
