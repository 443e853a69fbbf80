"""Check of where triggers are handed on to; nothing is sent there."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from pydantic import BaseModel

from cbr_sync.aws.sqs import build_sqs_client
from cbr_sync.cli.doctor.advice import find_network_remedy, find_remedy
from cbr_sync.cli.doctor.finding import Finding, Verdict
from cbr_sync.errors import ApiError, CredentialsRefusedError, RetryableError
from cbr_sync.huawei.endpoints import build_function_url, parse_function_urn
from cbr_sync.settings import is_function_urn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cbr_sync.cli.doctor.calls import Calls

_SUBJECT = "handing on"
_MAY_NOT_READ = "the keys may not read it, so that it is not known whether it is there"
_ANOTHER = "set CBR_SYNC_DEFER_TO to one that exists, in its region"


class _FunctionConfig(BaseModel):
    func_urn: str = ""


def check_destination(calls: Calls) -> Iterator[Finding]:
    """Yield a finding for the queue or the second function that CBR_SYNC_DEFER_TO names."""
    destination = calls.app.settings.defer_to
    if destination is None:
        return
    is_function = is_function_urn(destination)
    if is_function and calls.skip_reason:
        yield Finding(_SUBJECT, Verdict.SKIPPED, calls.skip_reason)
        return
    try:
        (_read_function if is_function else _read_queue)(calls, destination)
    except ApiError as error:
        yield _explain(error, is_function=is_function)
    else:
        what = "the second function" if is_function else "the queue"
        yield Finding(_SUBJECT, Verdict.OK, f"{what} exists; nothing was sent")


def _read_queue(calls: Calls, queue_url: str) -> None:
    app = calls.app
    sqs = build_sqs_client(app.http, queue_url, app.environ, app.clock.now)
    body = {"QueueUrl": queue_url, "AttributeNames": ["QueueArn"]}
    calls.retry(lambda: sqs.call("GetQueueAttributes", body, timeout_seconds=calls.get_timeout_seconds()))


def _read_function(calls: Calls, urn: str) -> None:
    # Source: FunctionGraph API reference, ShowFunctionConfig.
    function = parse_function_urn(urn)
    url = f"{build_function_url(calls.app.settings, function)}/config"
    calls.fetch(_FunctionConfig, url, function.project_id)


def _explain(error: ApiError, *, is_function: bool) -> Finding:
    """Return the finding for a destination that cannot be read."""
    read, send = (
        ("functiongraph:function:getConfig", "functiongraph:function:invokeAsync")
        if is_function
        else ("sqs:GetQueueAttributes", "sqs:SendMessage")
    )
    is_denied = error.http_status == HTTPStatus.FORBIDDEN if is_function else "AccessDenied" in error.code
    if is_denied:
        remedy = f"check that the function has {send}; with {read} the doctor sees more"
        return Finding(_SUBJECT, Verdict.WARNING, f"{error}: {_MAY_NOT_READ}", remedy)
    if is_function and isinstance(error, (CredentialsRefusedError, RetryableError)):
        return Finding(_SUBJECT, Verdict.FAILED, str(error), find_remedy(error, read))
    if isinstance(error, RetryableError):
        return Finding(_SUBJECT, Verdict.FAILED, str(error), find_network_remedy(error))
    return Finding(_SUBJECT, Verdict.FAILED, str(error), _ANOTHER)
