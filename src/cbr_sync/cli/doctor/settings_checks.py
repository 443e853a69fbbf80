"""Checks of the settings."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

from cbr_sync.errors import SettingsError
from cbr_sync.settings import AWS_KEY_NAMES, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

from cbr_sync.cli.doctor.finding import Finding, Verdict

_NAME = re.compile(r"[A-Z0-9]+(?:_[A-Z0-9]+)+")


def load_settings(environ: Mapping[str, str]) -> tuple[Settings | None, tuple[str, ...]]:
    """The settings less those that are wrong, None where too little is left; and all mistakes.

    Whether there are keys and a project is looked at later: a platform may hand them over.
    """
    try:
        return Settings.load(environ, credentials_given=True, project_id_given=True), ()
    except SettingsError as error:
        mistakes = error.mistakes
    # A mistake names every setting that has to do with it; of an unknown one, it names all there are.
    wrong = {name for line in mistakes for name in _NAME.findall(line.partition("; expected one of")[0])}
    left = {name: value for name, value in environ.items() if name not in wrong}
    try:
        return Settings.load(left, credentials_given=True, project_id_given=True), mistakes
    except SettingsError:
        return None, _all_mistakes(environ)


def _all_mistakes(environ: Mapping[str, str]) -> tuple[str, ...]:
    try:
        Settings.load(environ)
    except SettingsError as error:
        return error.mistakes
    return ()


def build_mistake_finding(line: str) -> Finding:
    """Return a mistake in the settings as a finding."""
    name, _, rest = line.partition(": ")
    was, separator, expected = rest.partition(", expected ")
    if separator:
        return Finding(name, Verdict.FAILED, was, f"set it to {expected}", of_settings=True)
    was, _, remedy = rest.partition("; ")
    if was == "unknown key":
        known = [field.alias or "" for field in Settings.model_fields.values()]
        close = get_close_matches(name, known, n=1, cutoff=0.8)
        remedy = f"did you mean {close[0]}?" if close else "take it out: no setting has this name"
    if name in AWS_KEY_NAMES:
        remedy += "; Lambda sets it, elsewhere `aws configure export-credentials --format env` tells it"
    return Finding(name, Verdict.FAILED, was, remedy, of_settings=True)


def check_choices(settings: Settings) -> Iterator[Finding]:
    """What is allowed, and worth a word all the same."""
    if not settings.look_first:
        found = "off: an event that is delivered twice may start two syncs"
        yield Finding("CBR_SYNC_LOOK_FIRST", Verdict.WARNING, found, "take it out, or set it to true")
    if settings.webhook_auth == "platform":
        found = "taken without a signature: whoever reaches the function may start syncs"
        remedy = "be sure that the gateway authenticates, or take out CBR_SYNC_WEBHOOK_AUTH"
        yield Finding("webhooks", Verdict.WARNING, found, remedy)
    elif settings.webhook_secrets:
        yield Finding("webhooks", Verdict.OK, f"checked with {len(settings.webhook_secrets)} secret(s)")
    elif settings.secret_id:
        found = "refused, unless what CBR_SYNC_SECRET_ID names holds a webhook_secret"
        yield Finding("webhooks", Verdict.OK, found)
    else:
        yield Finding("webhooks", Verdict.OK, "all of them are refused: no CBR_SYNC_WEBHOOK_SECRET is set")
