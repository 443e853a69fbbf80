"""Find out whether cbr-sync will work as it is set up here, and what to do where it will not.

Nothing is changed: the checks only read, except for one sync of a vault that does not exist.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

from cbr_sync.app import App
from cbr_sync.cli.doctor.calls import Calls
from cbr_sync.cli.doctor.cbr_checks import check_cbr
from cbr_sync.cli.doctor.destination_checks import check_destination
from cbr_sync.cli.doctor.finding import Finding, Verdict
from cbr_sync.cli.doctor.settings_checks import build_mistake_finding, check_choices, load_settings
from cbr_sync.cli.doctor.sink_checks import check_sinks
from cbr_sync.errors import SettingsError
from cbr_sync.monitoring.logger import make_logger
from cbr_sync.settings import Settings, find_secret_values
from cbr_sync.validation import mask_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import httpx

    from cbr_sync.clock import Clock


def examine(
    environ: Mapping[str, str],
    *,
    clock: Clock | None = None,
    transport: httpx.BaseTransport | None = None,
    settings_type: type[Settings] = Settings,
) -> Iterator[Finding]:
    """Yield the findings, each as soon as it is known; none shows a key, a token or a secret.

    Args:
        environ: What the function's environment would be. What a platform hands over beside it (an agency's
            keys, what a secret holds) is not known here.
        clock: The machine's, if left out.
        transport: Answers all requests in place of the network.
        settings_type: How the settings are read, and which of them are secret.
    """
    secrets = find_secret_values(environ, settings_type.secret_names())
    open_app = partial(App, clock=clock, transport=transport)
    for finding in _run_checks(environ, open_app, settings_type):
        # A server's words may repeat whatever was sent to it.
        yield finding._replace(
            found=mask_secrets(finding.found, secrets), remedy=mask_secrets(finding.remedy, secrets)
        )


def _run_checks(
    environ: Mapping[str, str], open_app: Callable[..., App], settings_type: type[Settings]
) -> Iterator[Finding]:
    settings, mistakes = load_settings(environ, settings_type)
    yield from map(build_mistake_finding, mistakes)
    if settings is None:
        yield Finding("everything else", Verdict.SKIPPED, "nothing can be checked with such settings")
        return
    if not mistakes:
        yield Finding("settings", Verdict.OK, f"{len(settings.model_fields_set)} set, and no mistake in them")
    yield from check_choices(settings, environ)
    try:
        app = open_app(settings, environ, make_logger(environ))
    except SettingsError as error:
        yield from map(build_mistake_finding, error.mistakes)
        return
    with contextlib.closing(app):
        calls = Calls(app)
        yield from check_cbr(calls)
        yield from check_sinks(calls)
        yield from check_destination(calls)
