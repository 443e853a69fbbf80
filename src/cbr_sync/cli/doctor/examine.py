"""Whether cbr-sync will work as it is set up here: each thing it needs, and what to do where it is not well.

Nothing is changed: what is asked only reads, but for one sync, asked of a vault that does not exist.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from cbr_sync.app import App, Seams
from cbr_sync.errors import SettingsError
from cbr_sync.monitoring.logger import make_logger
from cbr_sync.settings import AWS_KEY_NAMES, KEY_NAMES, TOKEN_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

from cbr_sync.cli.doctor.calls import Calls
from cbr_sync.cli.doctor.cbr_checks import check_cbr
from cbr_sync.cli.doctor.finding import Finding, Verdict
from cbr_sync.cli.doctor.settings_checks import build_mistake_finding, check_choices, load_settings
from cbr_sync.cli.doctor.sink_checks import check_sinks

_SECRET_LENGTH = 8  # a shorter word of a value would be masked inside of others


_SECRETS = (
    *(name for pair in KEY_NAMES for name in pair),
    *(TOKEN_NAME, *AWS_KEY_NAMES, "AWS_SESSION_TOKEN", "CBR_SYNC_WEBHOOK_SECRET", "CBR_SYNC_PING_URL"),
)


def examine(environ: Mapping[str, str], seams: Seams | None = None) -> Iterator[Finding]:
    """The findings, each as soon as it is known; none shows a key, a token or a secret.

    ``environ`` is what the function's environment would be. What a platform hands over beside it (an agency's
    keys, what the secrets extension reads) is not known here.
    """
    values = [environ.get(name, "").strip() for name in _SECRETS]
    words = [word for value in values for word in value.split() if len(word) >= _SECRET_LENGTH]
    secrets = {secret for secret in [*values, *words] if secret}
    for finding in _run_checks(environ, seams or Seams()):
        yield finding._replace(found=_mask_secrets(finding.found, secrets))


def _mask_secrets(text: str, secrets: Iterable[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "****")
    return text


def _run_checks(environ: Mapping[str, str], seams: Seams) -> Iterator[Finding]:
    settings, mistakes = load_settings(environ)
    yield from map(build_mistake_finding, mistakes)
    if settings is None:
        yield Finding("everything else", Verdict.SKIPPED, "there is nobody to ask with such settings")
        return
    if not mistakes:
        yield Finding("settings", Verdict.OK, f"{len(settings.model_fields_set)} set, and no mistake in them")
    yield from check_choices(settings)
    try:
        app = App(settings, environ, make_logger(environ), seams)
    except SettingsError as error:
        yield from map(build_mistake_finding, error.mistakes)
        return
    with contextlib.closing(app):
        calls = Calls(app)
        yield from check_cbr(calls)
        yield from check_sinks(calls)
