"""Where triggers are handed on to: what is wrong with it, without sending anything there."""

from __future__ import annotations

from urllib.parse import unquote

import httpx
import pytest

from cbr_sync.cli.doctor.finding import Verdict
from support.doctor import AWS, CheckedCloud, find_worst, run_doctor
from support.later import LATER, LATER_HOST, WORK

HOSTS = {WORK: "sqs.eu-west-1.amazonaws.com", LATER: LATER_HOST}
BOTH = pytest.mark.parametrize("destination", [WORK, LATER])


def refuse(_request: httpx.Request) -> httpx.Response:
    """Nobody listens."""
    raise httpx.ConnectError("refused")


@BOTH
def test_it_is_looked_at_without_sending_anything(checked: CheckedCloud, destination: str) -> None:
    """The queue by its attributes, the second function by its configuration."""
    finding = find_worst(run_doctor(checked, **AWS, CBR_SYNC_DEFER_TO=destination), "handing on")
    assert finding.verdict is Verdict.OK
    (request,) = [request for request in checked.requests if request.url.host == HOSTS[destination]]
    if destination == WORK:
        assert request.headers["X-Amz-Target"] == "AmazonSQS.GetQueueAttributes"
    else:
        assert request.method == "GET"
        assert unquote(request.url.path).endswith(f"/fgs/functions/{LATER}/config")


@BOTH
@pytest.mark.parametrize(
    ("status", "code", "verdict", "remedy"),
    [
        (404, "AWS.SimpleQueueService.NonExistentQueue", Verdict.FAILED, "set CBR_SYNC_DEFER_TO to one that"),
        (403, "AccessDenied", Verdict.WARNING, "check that the function has "),
    ],
)
def test_what_cannot_be_read_is_reported(
    checked: CheckedCloud, destination: str, status: int, code: str, verdict: Verdict, remedy: str
) -> None:
    """What would be handed on would fail the event."""
    body = {"__type": code, "message": "no", "error_code": "FSS.1051", "error_msg": "no"}
    checked.wrong[HOSTS[destination]] = lambda _: httpx.Response(status, json=body)
    finding = find_worst(run_doctor(checked, **AWS, CBR_SYNC_DEFER_TO=destination), "handing on")
    assert finding.verdict is verdict
    assert finding.remedy.startswith(remedy)


@BOTH
def test_a_destination_out_of_reach_is_a_failure(checked: CheckedCloud, destination: str) -> None:
    """With what to do about the network."""
    checked.wrong[HOSTS[destination]] = refuse
    finding = find_worst(run_doctor(checked, **AWS, CBR_SYNC_DEFER_TO=destination), "handing on")
    assert finding.verdict is Verdict.FAILED
    assert finding.remedy
