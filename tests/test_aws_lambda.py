"""The adapter of Lambda: its context, its secret, its one App for an instance."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from cbr_sync import aws_lambda
from cbr_sync.aws_lambda import LambdaAdapter
from cbr_sync.errors import RetryableError, SettingsError, SyncUnfinished
from cbr_sync.local import LocalLambdaContext
from cbr_sync.simulator.models import SIMULATOR_CREDENTIALS
from support.world import FILE, VMWARE, World, secret_text, webhook_event

SECRET_ID = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:cbr-sync-AbCdEf"
WITH_SECRET = {
    "CBR_SYNC_REGION": "cn-north-4",
    "CBR_SYNC_SECRET_ID": SECRET_ID,
    "AWS_ACCESS_KEY_ID": "made-up-aws-key",
    "AWS_SECRET_ACCESS_KEY": "made-up-aws-secret",
    "AWS_SESSION_TOKEN": "the-session-token",
}
HOST = "secretsmanager.eu-west-1.amazonaws.com"


class SecretsManager:
    """AWS Secrets Manager beside the simulator; keeps the requests it got.

    Attributes:
        requests: Those to it.
        answer: What it answers: a secret's text, a whole response, or an error of the network.
    """

    def __init__(self, world: World, answer: httpx.Response | Exception | str) -> None:
        self.requests: list[httpx.Request] = []
        self.answer = answer
        self._cloud = world.simulator.transport()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.host != HOST:
            return self._cloud.handle_request(request)
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        if isinstance(self.answer, str):
            return httpx.Response(200, json={"SecretString": self.answer})
        return self.answer


def build_secret(**change: str) -> str:
    """A secret with all that the function needs."""
    keys = {"ak": SIMULATOR_CREDENTIALS.access_key, "sk": SIMULATOR_CREDENTIALS.secret_key}
    return json.dumps({**keys, "webhook_secret": secret_text(), **change})


def test_the_deployed_handler_is_a_function_that_reads_nothing_at_import(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The environment of the first event counts, not that of the import."""
    monkeypatch.setenv("CBR_SYNC_CONCURRENCY", "none")
    with pytest.raises(SettingsError, match="CBR_SYNC_CONCURRENCY: found 'none'"):
        aws_lambda.handler({"vault_id": VMWARE}, LocalLambdaContext())


def test_one_app_serves_all_events_of_an_instance(world: World) -> None:
    """The connection pool lives as long as the instance; each event is a run of its own."""
    adapter = LambdaAdapter(world.environ, **world.options())
    for vault in (VMWARE, FILE):
        assert adapter({"vault_id": vault}, LocalLambdaContext())["counts"] == {"accepted": 1}
    assert len(world.started) == 2


def test_a_corrected_setting_works_at_the_next_event(world: World) -> None:
    """Wrong settings fail each event anew, and right ones work at once."""
    environ = {**world.environ, "CBR_SYNC_REGION": ""}
    adapter = LambdaAdapter(environ, **world.options())
    with pytest.raises(SettingsError):
        adapter({"vault_id": VMWARE}, LocalLambdaContext())
    environ["CBR_SYNC_REGION"] = "cn-north-4"
    assert adapter({"vault_id": VMWARE}, LocalLambdaContext())["counts"] == {"accepted": 1}


def test_keys_and_webhook_secret_come_from_the_secret(world: World) -> None:
    """One secret holds both; it is read with one signed call, at the region that its ARN names."""
    service = SecretsManager(world, build_secret())
    event = webhook_event({"vault_id": VMWARE}, world)
    reply = world.on_lambda(event, WITH_SECRET, transport=httpx.MockTransport(service))
    assert reply["statusCode"] == 200
    (request,) = service.requests
    assert str(request.url) == f"https://{HOST}/"
    assert request.headers["X-Amz-Target"] == "secretsmanager.GetSecretValue"
    assert request.headers["X-Amz-Security-Token"] == "the-session-token"
    assert "/eu-west-1/secretsmanager/aws4_request" in request.headers["Authorization"]
    assert json.loads(request.content) == {"SecretId": SECRET_ID}


def test_a_secret_is_kept_for_five_minutes(world: World) -> None:
    """Warm runs ask nobody; a changed one counts after that."""
    service = SecretsManager(world, build_secret())
    adapter = LambdaAdapter(WITH_SECRET, **world.options(httpx.MockTransport(service)))
    for _ in range(3):
        adapter({"vault_id": VMWARE}, LocalLambdaContext())
        world.sleep(99)
    assert len(service.requests) == 1
    world.sleep(4)
    service.answer = build_secret(webhook_secret=secret_text(b"n" * 32))
    event = webhook_event({"vault_id": VMWARE}, world, secret=b"n" * 32)
    assert adapter(event, LocalLambdaContext())["statusCode"] in (200, 503)
    assert len(service.requests) == 2


def test_keys_that_are_refused_are_read_again_at_once(world: World) -> None:
    """They were changed, in the secret and on Huawei Cloud, since the secret was read."""
    service = SecretsManager(world, build_secret())
    adapter = LambdaAdapter(WITH_SECRET, **world.options(httpx.MockTransport(service)))
    adapter({"vault_id": VMWARE}, LocalLambdaContext())
    world.simulator.add_faults("401")
    service.answer = build_secret(ak="another-key")
    adapter({"vault_id": FILE}, LocalLambdaContext())
    assert len(service.requests) == 2


def test_a_secret_may_hold_anything_of_it(world: World) -> None:
    """Keys stay in variables, and the webhook's secret and token and whom to ping come from the secret."""
    ping_url = "https://hc-ping.com/3c5f0a6e-6c3b-4d0f-9b0e-000000000001"
    token = "made-up-token-" + "x" * 32
    text = json.dumps({"webhook_secret": secret_text(), "webhook_token": token, "ping_url": ping_url})
    service, pings = SecretsManager(world, text), []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host != "hc-ping.com":
            return service(request)
        pings.append(request.url.path)
        return httpx.Response(200, text="OK")

    environ = {**WITH_SECRET, **world.environ, "CBR_SYNC_WEBHOOK_SECRET": "", "CBR_SYNC_SECRET_ID": SECRET_ID}
    transport = httpx.MockTransport(answer)
    event = webhook_event({"vault_id": VMWARE}, world)
    assert world.on_lambda(event, environ, transport=transport)["statusCode"] == 200
    event["headers"] = {"content-type": "application/json", "authorization": f"Bearer {token}"}
    assert world.on_lambda(event, environ, transport=transport)["statusCode"] == 503
    assert pings == []
    world.on_lambda({"trigger": "schedule", "vault_id": FILE}, environ, transport=transport)
    assert len(pings) == 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            httpx.Response(400, json={"__type": "ResourceNotFoundException", "Message": "no"}),
            "cannot be read: ResourceNotFoundException: no; set it to a secret of this account and region",
        ),
        (
            httpx.Response(400, json={"__type": "AccessDeniedException", "message": "no"}),
            "AccessDeniedException: no; allow secretsmanager:GetSecretValue on it",
        ),
        (httpx.Response(200, text="hunter2"), "is not of the form"),
        (httpx.Response(200, json={"SecretBinary": "aHVudGVyMg=="}), "is not of the form"),
        ("hunter2", "is not of the form"),
        ('["hunter2"]', "is not of the form"),
        ('{"ak": 1, "sk": "hunter2"}', "is not of the form"),
        ('{"ak": "hunter2"}', "is not of the form"),
        ('{"sk": "hunter2"}', "is not of the form"),
        ('{"webhook_secret": "hunter2"}', "is not of the form"),
        ('{"webhook_token": "hunter2"}', "is not of the form"),
        ('{"ping_url": "http://hunter2"}', "is not of the form"),
    ],
)
def test_a_secret_that_cannot_be_read_is_a_mistake_in_the_settings(
    world: World, answer: httpx.Response | Exception | str, words: str
) -> None:
    """The error says what to do, and shows nothing of what came back."""
    transport = httpx.MockTransport(SecretsManager(world, answer))
    with pytest.raises(SettingsError, match=f"CBR_SYNC_SECRET_ID: .*{words}") as error:
        world.on_lambda({"vault_id": VMWARE}, WITH_SECRET, transport=transport)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.ConnectError("refused"),
        httpx.Response(500, json={"__type": "InternalServiceError"}),
        httpx.Response(400, json={"__type": "ThrottlingException"}),
    ],
)
def test_a_secret_that_cannot_be_read_now_is_read_by_the_next_delivery(
    world: World, answer: httpx.Response | Exception
) -> None:
    """A webhook's sender is asked to send it again, all others are delivered again."""
    transport = httpx.MockTransport(SecretsManager(world, answer))
    with pytest.raises(RetryableError):
        world.on_lambda({"vault_id": VMWARE}, WITH_SECRET, transport=transport)
    event = webhook_event({"vault_id": VMWARE}, world)
    assert world.on_lambda(event, WITH_SECRET, transport=transport)["statusCode"] == 503


@pytest.mark.parametrize(("limit", "waited"), [(3, 1.5), (300, 5)])
def test_a_secret_may_take_half_of_the_time_at_most(world: World, limit: float, waited: float) -> None:
    """And five seconds where there is more: the error comes before the platform ends the run."""

    def hang(request: httpx.Request) -> httpx.Response:
        world.sleep(request.extensions["timeout"]["read"])
        raise httpx.ReadTimeout("hangs", request=request)

    with pytest.raises(RetryableError):
        world.on_lambda(
            {"vault_id": VMWARE},
            WITH_SECRET,
            transport=httpx.MockTransport(hang),
            context=LocalLambdaContext(timeout_seconds=limit),
        )
    assert world.elapsed == pytest.approx(waited, abs=0.3)


def test_a_run_ends_before_the_platform_kills_it(world: World) -> None:
    """With endless throttling the outcomes are out while there is time left."""
    world.simulator.add_faults("429*99")
    with pytest.raises(SyncUnfinished):
        world.on_lambda({"vault_id": VMWARE}, context=LocalLambdaContext(timeout_seconds=10))
    assert world.elapsed < 10


def test_without_time_nothing_is_sent(world: World) -> None:
    """An invocation that begins at its end says so, instead of starting what it cannot report."""
    with pytest.raises(SyncUnfinished, match="OutOfTime"):
        world.on_lambda({"vault_id": VMWARE}, context=LocalLambdaContext(timeout_seconds=0))
    assert world.simulator.requests == []


@pytest.mark.parametrize(
    ("faults", "error"),
    [("503*9", SyncUnfinished), ("401", None)],
)
def test_a_project_that_cannot_be_asked_for_is_an_outcome_of_every_vault(
    world: World, faults: str, error: type[Exception] | None
) -> None:
    """What fails before the first sync is reported for each vault, not thrown away."""
    world.simulator.add_faults(faults)
    environ = {**world.environ, "CBR_SYNC_PROJECT_ID": ""}
    run: Callable[[], object] = lambda: world.on_lambda({"vault_ids": [VMWARE, FILE]}, environ)  # noqa: E731
    if error:
        with pytest.raises(error, match="2 of 2"):
            run()
    else:
        reply = world.on_lambda({"vault_ids": [VMWARE, FILE]}, environ)
        assert reply["counts"] == {"failed": 2}
        assert reply["outcomes"][0]["error"]["code"] == "APIGW.0301"
    assert world.started == []


def test_the_project_is_asked_for_once(world: World) -> None:
    """IAM's answer serves the instance."""
    environ = {**world.environ, "CBR_SYNC_PROJECT_ID": ""}
    adapter = LambdaAdapter(environ, **world.options())
    for vault in (VMWARE, FILE):
        adapter({"vault_id": vault}, LocalLambdaContext())
    assert [request.path for request in world.simulator.requests].count("/v3/projects") == 1


def test_keys_that_no_header_can_hold_are_a_mistake_in_the_settings(world: World) -> None:
    """A stray character is reported, not sent, and not shown."""
    environ = {**world.environ, "HUAWEICLOUD_SDK_AK": "hun ter2"}
    with pytest.raises(SettingsError, match="no header can") as error:
        world.on_lambda({"vault_id": VMWARE}, environ)
    assert "hun ter2" not in str(error.value)


def test_the_names_of_the_samples_serve_where_the_sdks_are_not_set(world: World) -> None:
    """Who followed the API page has CLOUD_SDK_AK and CLOUD_SDK_SK."""
    environ = {key.replace("HUAWEICLOUD_SDK", "CLOUD_SDK"): value for key, value in world.environ.items()}
    assert "CLOUD_SDK_AK" in environ
    assert world.on_lambda({"vault_id": VMWARE}, environ)["counts"] == {"accepted": 1}
