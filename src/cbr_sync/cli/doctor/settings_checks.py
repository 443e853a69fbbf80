"""Checks of the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cbr_sync.cli.doctor.finding import Finding, Verdict
from cbr_sync.errors import SettingMistake, SettingsError
from cbr_sync.monitoring.logger import find_unreadable
from cbr_sync.settings import AWS_KEY_NAMES, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def load_settings(
    environ: Mapping[str, str], settings_type: type[Settings] = Settings
) -> tuple[Settings | None, tuple[SettingMistake, ...]]:
    """Load what can be used of the settings.

    Whether there are keys and a project is checked later, for a platform may hand them over.

    Args:
        environ: What the function's environment would be.
        settings_type: How the settings are read.

    Returns:
        The settings without those that are wrong, None where too little is left; and all mistakes.
    """
    try:
        return settings_type.load(environ, credentials_given=True, project_id_given=True), ()
    except SettingsError as error:
        mistakes = error.mistakes
    wrong = {name for mistake in mistakes for name in mistake.involved}
    left = {name: value for name, value in environ.items() if name not in wrong}
    try:
        return settings_type.load(left, credentials_given=True, project_id_given=True), mistakes
    except SettingsError:
        return None, _find_mistakes(environ, settings_type)


def _find_mistakes(environ: Mapping[str, str], settings_type: type[Settings]) -> tuple[SettingMistake, ...]:
    try:
        settings_type.load(environ)
    except SettingsError as error:
        return error.mistakes
    return ()


def build_mistake_finding(mistake: SettingMistake) -> Finding:
    """Return a mistake in the settings as a finding."""
    remedy = mistake.advice
    if mistake.name in AWS_KEY_NAMES:
        remedy += "; Lambda sets it, elsewhere `aws configure export-credentials --format env` prints it"
    return Finding(mistake.name, Verdict.FAILED, mistake.found, remedy, of_settings=True)


def check_choices(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield a finding for each choice that is allowed, and may surprise all the same."""
    for mistake in find_unreadable(environ):
        yield Finding(
            mistake.name, Verdict.WARNING, f"{mistake.found}, so the default is used", mistake.advice
        )
    if not settings.look_first:
        found = "off: an event that is delivered twice may start two syncs"
        yield Finding("CBR_SYNC_LOOK_FIRST", Verdict.WARNING, found, "take it out, or set it to true")
    yield from _check_webhooks(settings)


def _check_webhooks(settings: Settings) -> Iterator[Finding]:
    if settings.webhook_auth == "platform":
        found = "accepted without a signature: whoever reaches the function may start syncs"
        remedy = "be sure that the gateway authenticates, or take out CBR_SYNC_WEBHOOK_AUTH"
        yield Finding("webhooks", Verdict.WARNING, found, remedy)
    elif settings.webhook_secrets or settings.webhook_tokens:
        keys = f"{len(settings.webhook_secrets)} secret(s) and {len(settings.webhook_tokens)} token(s)"
        yield Finding("webhooks", Verdict.OK, f"checked with {keys}")
    elif settings.secret_id:
        found = "refused, unless what CBR_SYNC_SECRET_ID names holds a webhook_secret or a webhook_token"
        yield Finding("webhooks", Verdict.OK, found)
    else:
        found = "all are refused: neither CBR_SYNC_WEBHOOK_SECRET nor CBR_SYNC_WEBHOOK_TOKEN is set"
        yield Finding("webhooks", Verdict.OK, found)
