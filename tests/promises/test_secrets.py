"""No secret is shown, whatever the services say and whatever goes wrong."""

from __future__ import annotations

import base64
import json
import re
import traceback
from typing import Any

import httpx
import pytest

from cbr_sync.errors import CbrSyncError
from cbr_sync.monitoring.logger import make_logger
from cbr_sync.settings import Settings
from support.builders import CHANNEL, TOPIC
from support.world import SECRET, VMWARE, World, secret_text, webhook_event

TOKEN = "made-up-canary-token-0123456789abcdef"
PING = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278"
CANARIES = {
    "HUAWEICLOUD_SDK_SK": "made-up-canary-secret-key",
    "HUAWEICLOUD_SDK_SECURITY_TOKEN": "made-up-canary-session-token",
    "AWS_SECRET_ACCESS_KEY": "made-up-canary-aws-key",
    "AWS_SESSION_TOKEN": "made-up-canary-aws-token",
    "CBR_SYNC_WEBHOOK_TOKEN": TOKEN,
}
ENVIRON = {
    **CANARIES,
    "AWS_ACCESS_KEY_ID": "made-up",
    "CBR_SYNC_WEBHOOK_SECRET": secret_text(),
    "CBR_SYNC_PING_URL": f"https://hc-ping.com/{PING}",
    "CBR_SYNC_SMN_TOPIC_URN": TOPIC,
    "CBR_SYNC_SNS_TOPIC_ARN": "arn:aws:sns:eu-west-1:123456789012:people",
    "CBR_SYNC_SQS_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/outcomes",
    "CBR_SYNC_EVENTGRID_CHANNEL_ID": CHANNEL,
    "CBR_SYNC_NOTIFY": "all",
}
SECRETS = [*CANARIES.values(), PING, secret_text(), base64.b64encode(SECRET).decode()]


class Echo:
    """Every service repeats what was sent to it, and what it keeps of us: the other half of our keys.

    Attributes:
        sent: The bodies that it was sent; nothing secret may be in them either.
        signatures: What the requests were signed with.
    """

    def __init__(self, status: int) -> None:
        self.sent: list[str] = []
        self.signatures: set[str] = set()
        self._status = status

    def __call__(self, request: httpx.Request) -> httpx.Response:
        authorization = request.headers.get("Authorization", "")
        self.signatures |= set(re.findall(r"Signature=(\w+)", authorization))
        self.sent.append(request.content.decode())
        kept = [
            CANARIES[name] for name in CANARIES if name.startswith("AWS_" if is_aws(request) else "HUAWEI")
        ]
        words = " ".join([authorization, str(request.url), *request.headers.values(), *kept])
        body = {
            **dict.fromkeys(("error_code", "code", "__type", "request_id"), words[:300]),
            **dict.fromkeys(("error_msg", "message", "Message"), words),
            "failed_count": 1,
            "events": [{"error_code": words, "error_msg": words}],
            "Failed": [{"Id": "0", "Code": words, "SenderFault": True, "Message": words}],
            "error": {"code": words, "message": words},
        }
        return httpx.Response(self._status, json=body)


def is_aws(request: httpx.Request) -> bool:
    """Whether a request goes to a service of AWS."""
    return request.url.host.endswith(".amazonaws.com")


def build_events(world: World) -> dict[str, dict[str, Any]]:
    """A schedule, and webhooks that are let in and that are not."""
    token = webhook_event({"vault_id": VMWARE}, world)
    token["headers"] = {"content-type": "application/json", "authorization": f"Bearer {TOKEN}"}
    wrong = webhook_event({"vault_id": VMWARE}, world)
    wrong["headers"] = {"content-type": "application/json", "authorization": f"Bearer {TOKEN[:-1]}"}
    return {
        "schedule": {"trigger": "schedule", "vault_id": VMWARE},
        "report": {"trigger": "schedule", "report": {}},
        "signed": webhook_event({"vault_id": VMWARE}, world),
        "token": token,
        "wrong token": wrong,
        "unreadable": {"trigger": "schedule", "vault_id": f"{TOKEN} {secret_text()}"},
    }


@pytest.mark.parametrize("kind", ["schedule", "report", "signed", "token", "wrong token", "unreadable"])
@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 429, 500, 503])
def test_no_secret_is_shown_whatever_the_services_say(
    world: World, capsys: pytest.CaptureFixture[str], status: int, kind: str
) -> None:
    """In no log line, reply, error or traceback, and in nothing that is sent to a sink or a monitor."""
    echo = Echo(status)
    environ = {**world.environ, **ENVIRON, "CBR_SYNC_MAX_ATTEMPTS": "1"}
    shown = ""
    try:
        reply = world.on_lambda(build_events(world)[kind], environ, transport=httpx.MockTransport(echo))
        shown = json.dumps(reply, ensure_ascii=False)
    except CbrSyncError as error:
        shown = "".join(traceback.format_exception(error)) + repr(error)
    output = capsys.readouterr()
    everything = "\n".join([shown, output.out, output.err, *echo.sent])
    for secret in [*SECRETS, *echo.signatures]:
        assert secret not in everything, secret
    assert TOKEN[:-1] not in everything


@pytest.mark.parametrize("name", [*CANARIES, "CBR_SYNC_WEBHOOK_SECRET", "CBR_SYNC_PING_URL"])
@pytest.mark.parametrize("change", ["{}\n{}", " {} ?", "{}é", "http://{}"])
def test_no_mistake_shows_a_secret(
    world: World, capsys: pytest.CaptureFixture[str], name: str, change: str
) -> None:
    """A value that cannot be used is described, not quoted."""
    value = change.format(ENVIRON[name], ENVIRON[name])
    environ = {**world.environ, **ENVIRON, name: value}
    text = ""
    try:
        world.on_lambda({"trigger": "schedule"}, environ, transport=httpx.MockTransport(Echo(503)))
    except CbrSyncError as error:
        text = "".join(traceback.format_exception(error))
    text += capsys.readouterr().out
    assert ENVIRON[name].removeprefix("whsec_").removeprefix("https://hc-ping.com/") not in text


def test_no_repr_shows_a_secret(world: World) -> None:
    """Of the settings as a debugger shows them, or of a record in a log."""
    settings = Settings.load({**world.environ, **ENVIRON})
    make_logger({}).info("settings", extra={"settings": settings})
    text = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    assert not [secret for secret in SECRETS if secret in text]
