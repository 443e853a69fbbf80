"""Events handled locally: the same entry points, fresh signatures, no clouds."""

from __future__ import annotations

from pathlib import Path

import pytest

from cbr_sync.errors import SettingsError, SyncUnfinished
from cbr_sync.local import guess_platform, invoke, sign_event
from cbr_sync.triggers import signature
from cbr_sync.triggers.base import Platform
from cbr_sync.triggers.envelopes import find_envelope
from cbr_sync.triggers.webhook import parse_http_request
from support.world import SECRET, VMWARE, World, webhook_event


@pytest.mark.parametrize(
    ("name", "platform"),
    [
        ("functiongraph-timer.json", Platform.FUNCTIONGRAPH),
        ("aws-direct.json", Platform.AWS),
        ("captured.json", Platform.AWS),
        ("-", Platform.AWS),
    ],
)
def test_a_files_name_tells_its_platform(name: str, platform: Platform) -> None:
    """A name without a platform is taken for AWS's."""
    assert guess_platform(Path(name)) is platform


@pytest.mark.parametrize("platform", list(Platform))
def test_an_event_is_handled_by_the_platforms_entry_point(world: World, platform: Platform) -> None:
    """What is shown is what the cloud would have answered; the log is not mixed into it."""
    result = invoke({"vault_id": VMWARE}, platform, world.environ, **world.options())
    assert result.error is None
    assert result.answer == "returned"
    assert [outcome.status for outcome in result.outcomes] == ["accepted"]


def test_the_log_of_a_result_event_goes_to_stderr(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Stdout is the command's own."""
    invoke({"vault_id": VMWARE}, Platform.AWS, world.environ, **world.options())
    out, err = capsys.readouterr()
    assert out == ""
    assert "cbr-sync.checkpoint.sync.accepted.v1" in err


def test_an_unfinished_run_shows_its_outcomes(world: World) -> None:
    """The error that the platform sees carries what was known."""
    world.simulator.add_faults("429*9")
    result = invoke({"vault_id": VMWARE}, Platform.AWS, world.environ, **world.options())
    assert isinstance(result.error, SyncUnfinished)
    assert result.answer == "SyncUnfinished"
    assert [outcome.status for outcome in result.outcomes] == ["unfinished"]


def test_wrong_settings_have_no_outcomes(world: World) -> None:
    """An error is reported, not raised through the command."""
    result = invoke({"vault_id": VMWARE}, Platform.AWS, {}, **world.options())
    assert isinstance(result.error, SettingsError)
    assert result.outcomes == []


@pytest.mark.parametrize("multi_value", [False, True])
def test_a_webhook_is_signed_afresh(world: World, multi_value: bool) -> None:
    """A stored signature is stale after five minutes; every other header stays."""
    event = webhook_event({"vault_id": VMWARE}, world, secret=b"of the sender, long gone by now")
    if multi_value:
        event["multiValueHeaders"] = {key: [value] for key, value in event.pop("headers").items()}
    fresh = sign_event(event, SECRET, now=1e9)
    request = parse_http_request(find_envelope(fresh)[1])
    signature.verify(request.headers, request.body, [SECRET], now=1e9)
    assert request.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "event",
    [{"vault_id": VMWARE}, [], 7, {"httpMethod": "POST", "body": 7}, {"httpMethod": "POST", "body": []}],
)
def test_what_cannot_be_signed_is_result_as_it_is(event: object) -> None:
    """The adapter answers it, not the command."""
    assert sign_event(event, SECRET, now=1e9) is event
