"""Checks of the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cbr_sync.errors import SettingMistake, SettingsError
from cbr_sync.settings import AWS_KEY_NAMES, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

from cbr_sync.cli.doctor.finding import Finding, Verdict


def load_settings(environ: Mapping[str, str]) -> tuple[Settings | None, tuple[SettingMistake, ...]]:
    """The settings less those that are wrong, None where too little is left; and all mistakes.

    Whether there are keys and a project is looked at later: a platform may hand them over.
    """
    try:
        return Settings.load(environ, credentials_given=True, project_id_given=True), ()
    except SettingsError as error:
        mistakes = error.mistakes
    wrong = {name for mistake in mistakes for name in mistake.involved}
    left = {name: value for name, value in environ.items() if name not in wrong}
    try:
        return Settings.load(left, credentials_given=True, project_id_given=True), mistakes
    except SettingsError:
        return None, _all_mistakes(environ)


def _all_mistakes(environ: Mapping[str, str]) -> tuple[SettingMistake, ...]:
    try:
        Settings.load(environ)
    except SettingsError as error:
        return error.mistakes
    return ()


def build_mistake_finding(mistake: SettingMistake) -> Finding:
    """Return a mistake in the settings as a finding."""
    remedy = mistake.advice
    if mistake.name in AWS_KEY_NAMES:
        remedy += "; Lambda sets it, elsewhere `aws configure export-credentials --format env` shows it"
    return Finding(mistake.name, Verdict.FAILED, mistake.found, remedy, of_settings=True)


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
