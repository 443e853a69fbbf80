"""The laptop as a platform: the same doors, fresh signatures, no clouds."""

from __future__ import annotations

from pathlib import Path

import pytest

from cbr_sync import events
from cbr_sync.errors import SettingsError, SyncUnfinished
from cbr_sync.local import Platform, platform_of, play, signed
from cbr_sync.triggers import signature
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
    """A name that tells nothing is taken for AWS's."""
    assert platform_of(Path(name)) is platform


@pytest.mark.parametrize("platform", list(Platform))
def test_an_event_is_played_through_the_platforms_door(world: World, platform: Platform) -> None:
    """What is shown is what the cloud would have answered; the log is not mixed into it."""
    played = play({"vault_id": VMWARE}, platform, world.environ, seams=world.seams())
    assert played.error is None
    assert played.answer == "returned"
    assert [outcome["status"] for outcome in played.outcomes] == ["accepted"]


def test_the_log_of_a_played_event_goes_to_stderr(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Stdout is the command's own."""
    play({"vault_id": VMWARE}, Platform.AWS, world.environ, seams=world.seams())
    out, err = capsys.readouterr()
    assert out == ""
    assert "cbr-sync.checkpoint.sync.accepted.v1" in err


def test_an_unfinished_run_shows_its_outcomes(world: World) -> None:
    """The error that the platform sees carries what was known."""
    world.simulator.add_faults("429*9")
    played = play({"vault_id": VMWARE}, Platform.AWS, world.environ, seams=world.seams())
    assert isinstance(played.error, SyncUnfinished)
    assert played.answer == "SyncUnfinished"
    assert [outcome["status"] for outcome in played.outcomes] == ["unfinished"]


def test_wrong_settings_have_no_outcomes(world: World) -> None:
    """An error is told, not raised through the command."""
    played = play({"vault_id": VMWARE}, Platform.AWS, {}, seams=world.seams())
    assert isinstance(played.error, SettingsError)
    assert played.outcomes == []


@pytest.mark.parametrize("multi_value", [False, True])
def test_a_webhook_is_signed_afresh(world: World, multi_value: bool) -> None:
    """A stored signature is stale after five minutes; every other header stays."""
    event = webhook_event({"vault_id": VMWARE}, world, secret=b"of the sender, long gone by now")
    if multi_value:
        event["multiValueHeaders"] = {key: [value] for key, value in event.pop("headers").items()}
    fresh = signed(event, SECRET, now=1e9)
    request = events.http_request(fresh)
    signature.verify(request.headers, request.body, [SECRET], now=1e9)
    assert request.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "event",
    [{"vault_id": VMWARE}, [], 7, {"httpMethod": "POST", "body": 7}, {"httpMethod": "POST", "body": []}],
)
def test_what_cannot_be_signed_is_played_as_it_is(event: object) -> None:
    """The door answers it, not the command."""
    assert signed(event, SECRET, now=1e9) is event
