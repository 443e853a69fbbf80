"""The project that belongs to a region: IAM is asked as documented, and it is never guessed."""

from __future__ import annotations

import httpx
import pytest

from cbr_sync.credentials import Credentials, KeyStates
from cbr_sync.errors import ApiError, CredentialsRefusedError
from cbr_sync.huawei.client import SignedClient
from cbr_sync.huawei.iam import find_project_id
from support.world import VirtualClock

IAM = "https://iam.cn-north-4.myhuaweicloud.com"
PROJECT = "f841e01fd2b14e7fa41b6ae7aa6b0594"


class Iam:
    """An IAM with this answer; keeps the requests."""

    def __init__(self, answer: httpx.Response) -> None:
        self.requests: list[httpx.Request] = []
        self._answer = answer

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._answer

    def find(self) -> str:
        http = httpx.MockTransport(self)
        keys = Credentials("made-up-key", "made-up-secret")
        client = SignedClient(
            http,
            keys,
            key_states=KeyStates(VirtualClock()),
            clock=VirtualClock(),
        )
        return find_project_id(client, IAM, "cn-north-4", timeout_seconds=lambda: 2.5)


def make_iam(*ids: object) -> Iam:
    """Make an IAM that knows these projects, with more fields for each than we read."""
    rows = [{"id": project_id, "name": "cn-north-4", "enabled": True} for project_id in ids]
    return Iam(httpx.Response(200, json={"projects": rows, "links": {}}))


def test_the_project_is_asked_for_by_the_name_of_its_region() -> None:
    """Signed, with neither a body nor a project of its own."""
    iam = make_iam(PROJECT)
    assert iam.find() == PROJECT
    (request,) = iam.requests
    assert (request.method, str(request.url)) == ("GET", f"{IAM}/v3/projects?name=cn-north-4")
    assert request.content == b""
    assert "X-Project-Id" not in request.headers
    assert request.headers["Authorization"].startswith("SDK-HMAC-SHA256 ")
    assert request.extensions["timeout"]["read"] == 2.5


@pytest.mark.parametrize(("ids", "count"), [([], 0), ([PROJECT, "another"], 2)])
def test_with_none_or_several_the_operator_has_to_name_one(ids: list[str], count: int) -> None:
    """The error says what was found and what to set."""
    with pytest.raises(
        ApiError, match=f"knows {count} projects named cn-north-4; set CBR_SYNC_PROJECT_ID"
    ) as error:
        make_iam(*ids).find()
    assert (type(error.value), error.value.code) == (ApiError, "CbrSync.ProjectUnknown")


@pytest.mark.parametrize("project_id", ["", "../../v3", "a b", "x\n", "x" * 65, None, 7])
def test_an_id_that_does_not_fit_into_a_path_is_refused(project_id: object) -> None:
    """It goes into every path that is called afterwards."""
    with pytest.raises(ApiError) as error:
        make_iam(project_id).find()
    assert error.value.code == "CbrSync.UnreadableAnswer"


def test_a_refusal_by_iam_has_its_trace_id() -> None:
    """Its codes are numbers, and its request id is in a header of its own."""
    body = {"error": {"code": 401, "message": "Incorrect IAM authentication", "title": "Unauthorized"}}
    iam = Iam(httpx.Response(401, json=body, headers={"X-IAM-Trace-Id": "trace-1"}))
    with pytest.raises(CredentialsRefusedError) as error:
        iam.find()
    assert (error.value.code, error.value.request_id, error.value.http_status) == ("401", "trace-1", 401)
    assert len(iam.requests) == 1
