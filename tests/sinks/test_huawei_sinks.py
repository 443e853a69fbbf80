"""SMN and EventGrid: everything is delivered, what fails for now is sent again, a refusal is reported."""

from __future__ import annotations

import json
import re
import traceback
from typing import Any

import httpx
import pytest

from cbr_sync.errors import SinkError
from cbr_sync.simulator.models import SIMULATOR_PROJECT_ID
from support.builders import CHANNEL, TOPIC, Answer, HuaweiServices
from support.people import check_publish_message
from support.world import BUSY, FILE, VMWARE, World


def run_with_sinks(world: World, services: HuaweiServices, *vaults: str, **environ: str) -> dict[str, Any]:
    """A run with these sinks."""
    event = {"vault_ids": list(vaults or (VMWARE,))}
    return world.on_lambda(event, {**world.environ, **environ}, transport=httpx.MockTransport(services))


# What makes SMN publish, whatever comes of the run.
ALL = {"CBR_SYNC_SMN_TOPIC_URN": TOPIC, "CBR_SYNC_NOTIFY": "all"}


def test_smn_publishes_one_message_for_a_run(world: World) -> None:
    """Signed, to the topic's own path, in a form that the vendor's SDK knows."""
    services = HuaweiServices(world)
    run_with_sinks(world, services, VMWARE, BUSY, CBR_SYNC_SMN_TOPIC_URN=TOPIC)
    (request,) = services.requests
    assert request.url.host == "smn.cn-north-4.myhuaweicloud.com"
    path = f"/v2/{SIMULATOR_PROJECT_ID}/notifications/topics/{TOPIC.replace(':', '%3A')}/publish"
    assert request.url.raw_path.decode() == path
    assert request.headers["Authorization"].startswith("SDK-HMAC-SHA256 ")
    (body,) = services.bodies
    assert body["subject"] == "NOT STARTED: 1 of 2 syncs | cbr-sync cn-north-4"
    assert body["time_to_live"] == "86400"
    texts = check_publish_message(body)
    assert json.loads(texts["default"])["type"] == "cbr-sync.run.finished.v1"
    assert texts["sms"].startswith("cbr-sync: 1 of 2 syncs went wrong at 03:00 UTC.")


def test_smn_is_silent_where_all_is_well(world: World) -> None:
    """Unless good news are wanted, too; in the language that is set."""
    services = HuaweiServices(world)
    run_with_sinks(world, services, VMWARE, FILE, CBR_SYNC_SMN_TOPIC_URN=TOPIC)
    assert services.requests == []
    other = World()
    services = HuaweiServices(other)
    run_with_sinks(other, services, VMWARE, FILE, **ALL, CBR_SYNC_LANGUAGE="zh")
    (body,) = services.bodies
    assert "2 个存储库的同步全部受理 | cbr-sync cn-north-4" in body["subject"]


def test_eventgrid_gets_sixteen_at_a_time(world: World) -> None:
    """CloudEvents, into the channel's path."""
    services = HuaweiServices(world)
    vaults = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(25)]
    run_with_sinks(world, services, *vaults, CBR_SYNC_EVENTGRID_CHANNEL_ID=CHANNEL)
    assert [len(body["events"]) for body in services.bodies] == [16, 10]
    request = services.requests[0]
    assert request.url.host == "eg.cn-north-4.myhuaweicloud.com"
    assert request.url.path == f"/v1/{SIMULATOR_PROJECT_ID}/channels/{CHANNEL}/events"
    assert services.bodies[0]["events"][0]["specversion"] == "1.0"


@pytest.mark.parametrize("with_ids", [True, False])
def test_events_that_were_not_taken_are_put_again(world: World, with_ids: bool) -> None:
    """EventGrid answers 200 all the same; without ids nothing shows which to leave out."""
    services = HuaweiServices(world)

    def accept_some(request: httpx.Request) -> httpx.Response:
        answer = services(request)
        if len(services.requests) != 1 or not request.url.host.startswith("eg."):
            return answer
        sent = [event["id"] for event in services.bodies[0]["events"]]
        failed = {"error_code": "EG.500", "error_msg": "try again", "event_id": sent[2] if with_ids else None}
        return httpx.Response(200, json={"failed_count": 1, "events": [{"event_id": sent[0]}, failed]})

    environ = {**world.environ, "CBR_SYNC_EVENTGRID_CHANNEL_ID": CHANNEL}
    world.on_lambda({"vault_ids": [VMWARE, FILE]}, environ, transport=httpx.MockTransport(accept_some))
    subjects = [[event.get("subject") for event in body["events"]] for body in services.bodies]
    assert subjects == [[None, VMWARE, FILE], [FILE] if with_ids else [None, VMWARE, FILE]]


@pytest.mark.parametrize("setting", ["CBR_SYNC_SMN_TOPIC_URN", "CBR_SYNC_EVENTGRID_CHANNEL_ID"])
@pytest.mark.parametrize(
    ("answers", "requests", "words"),
    [
        ([(503, {})], 2, None),
        ([(500, {}), (429, {})], 3, None),
        ([(404, {"code": "SMN.0006", "message": "no such topic"})], 1, "SMN.0006: no such topic"),
        ([(503, {})] * 9, 5, "503"),
        ([(403, {})], 1, "403"),
    ],
)
def test_temporary_trouble_is_retried_and_the_rest_is_reported(
    world: World, setting: str, answers: list[Answer], requests: int, words: str | None
) -> None:
    """A sink that does not take its part makes the run fail."""
    services = HuaweiServices(world, *answers)
    environ = ALL if "SMN" in setting else {setting: CHANNEL}
    if words is None:
        run_with_sinks(world, services, **environ)
    else:
        with pytest.raises(SinkError, match=words):
            run_with_sinks(world, services, **environ)
    assert len(services.requests) == requests


def test_a_channel_that_accepts_nothing_is_reported(world: World) -> None:
    """After all attempts, with EventGrid's own words."""
    full = {"failed_count": 1, "events": [{"error_code": "EG.413", "error_msg": "channel is full"}]}
    services = HuaweiServices(world, *[(200, full)] * 9)
    with pytest.raises(SinkError, match=r"eventgrid: 1 event not accepted: EG.413: channel is full"):
        run_with_sinks(world, services, CBR_SYNC_EVENTGRID_CHANNEL_ID=CHANNEL)


@pytest.mark.parametrize("setting", ["CBR_SYNC_SMN_TOPIC_URN", "CBR_SYNC_EVENTGRID_CHANNEL_ID"])
@pytest.mark.parametrize("status", [200, 400, 503])
def test_no_word_of_a_service_shows_our_keys(
    world: World, setting: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """It echoes our headers in 400 KB; error and log have no key, no signature, and little of the rest."""
    echoed: list[str] = []

    def echo(request: httpx.Request) -> httpx.Response:
        if request.url.host.startswith("cbr."):
            return world.transport().handle_request(request)
        echoed.append(request.headers["Authorization"])
        words = f"{request.headers['Authorization']} \n" * (400_000 // len(request.headers["Authorization"]))
        result = {"error_code": words, "error_msg": words}
        return httpx.Response(status, json={"failed_count": 1, "events": [result], **result})

    environ = {**world.environ, **(ALL if "SMN" in setting else {setting: CHANNEL})}
    with pytest.raises(SinkError) as error:
        world.on_lambda({"vault_id": VMWARE}, environ, transport=httpx.MockTransport(echo))
    text = "".join(traceback.format_exception(error.value)) + capsys.readouterr().out
    for authorization in echoed:
        key, signature = re.findall(r"(?:Access|Signature)=(\w+)", authorization)
        assert key not in text
        assert signature not in text
    assert len(str(error.value)) < 1000
    assert "\n" not in str(error.value)


def test_a_count_without_results_is_reported_as_well(world: World) -> None:
    """Something was not taken, whatever it was."""
    services = HuaweiServices(world, *[(200, {"failed_count": 1})] * 9)
    with pytest.raises(SinkError, match=r"CbrSync.PartlyTaken"):
        run_with_sinks(world, services, CBR_SYNC_EVENTGRID_CHANNEL_ID=CHANNEL)


def test_a_broken_sink_does_not_stop_the_others(world: World) -> None:
    """EventGrid refuses, and people are told all the same."""
    services = HuaweiServices(world, (404, {"error_code": "EG.404", "error_msg": "no such channel"}))
    with pytest.raises(SinkError, match=r"^eventgrid: 1 event not accepted"):
        run_with_sinks(world, services, **ALL, CBR_SYNC_EVENTGRID_CHANNEL_ID=CHANNEL)
    assert [request.url.host.partition(".")[0] for request in services.requests] == ["eg", "smn"]


def test_a_sync_that_is_forbidden_is_published_all_the_same(world: World) -> None:
    """The keys may publish, though they may not sync; and the other way round."""
    services = HuaweiServices(world)
    world.simulator.add_faults("403")
    reply = run_with_sinks(world, services, VMWARE, FILE, CBR_SYNC_SMN_TOPIC_URN=TOPIC)
    assert reply["counts"] == {"failed": 1, "accepted": 1}
    assert [body["subject"] for body in services.bodies] == ["FAILED: 1 of 2 syncs | cbr-sync cn-north-4"]


def test_nothing_is_published_with_wrong_keys(world: World) -> None:
    """Each refused signature brings the key nearer to its lock."""
    services = HuaweiServices(world)
    world.simulator.add_faults("401")
    with pytest.raises(SinkError, match=r"APIGW.0301"):
        run_with_sinks(world, services, **ALL)
    assert services.requests == []


def test_a_sink_whose_project_is_unknown_is_reported(world: World) -> None:
    """IAM did not name it; the outcomes are in the log at least."""
    world.simulator.add_faults("503*99")
    environ = {"CBR_SYNC_PROJECT_ID": "", "CBR_SYNC_EVENTGRID_CHANNEL_ID": CHANNEL}
    with pytest.raises(SinkError, match=r"eventgrid: the project is not known: 503"):
        run_with_sinks(world, HuaweiServices(world), **environ)


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-west-0", "smn.eu-west-0.myhuaweicloud.com"),
        ("eu-west-101", "smn.eu-west-101.myhuaweicloud.eu"),
        ("cn-north-2", "smn.cn-north-2.myhuaweicloud.cn"),
    ],
)
def test_a_topic_is_published_to_in_its_own_region_and_project(world: World, region: str, host: str) -> None:
    """Those of the vaults answer 404 to the URN of another one; their project is not even needed."""
    services = HuaweiServices(world)
    world.simulator.add_faults("403*99")
    urn = f"urn:smn:{region}:a0b1c2d3e4f54a5b8c7d6e5f4a3b2c1d:backup"
    run_with_sinks(world, services, CBR_SYNC_PROJECT_ID="", CBR_SYNC_SMN_TOPIC_URN=urn)
    (request,) = services.requests
    assert request.url.host == host
    assert request.url.path == f"/v2/a0b1c2d3e4f54a5b8c7d6e5f4a3b2c1d/notifications/topics/{urn}/publish"
    assert request.headers["X-Project-Id"] == "a0b1c2d3e4f54a5b8c7d6e5f4a3b2c1d"


def test_the_channels_source_may_have_a_name_of_its_own(world: World) -> None:
    """EventGrid matches subscriptions by it; the id and all else stay what they are."""
    services = HuaweiServices(world)
    run_with_sinks(world, services, CBR_SYNC_EVENTGRID_CHANNEL_ID=CHANNEL, CBR_SYNC_EVENTGRID_SOURCE="backup")
    other = World()
    usual = HuaweiServices(other)
    run_with_sinks(other, usual, CBR_SYNC_EVENTGRID_CHANNEL_ID=CHANNEL)
    (event,), (usual_event,) = services.bodies[0]["events"], usual.bodies[0]["events"]
    assert event["source"] == "backup"
    assert usual_event["source"].startswith("/cbr/cn-north-4/")
    assert event.keys() == usual_event.keys()
