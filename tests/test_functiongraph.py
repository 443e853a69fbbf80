"""The adapter of FunctionGraph: its file, its context, its agency."""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import httpx
import pytest

from cbr_sync.credentials import Credentials
from cbr_sync.errors import SettingsError, SyncUnfinished
from cbr_sync.functiongraph import FunctionGraphAdapter, handler, initializer
from cbr_sync.local import LocalFunctionGraphContext
from cbr_sync.settings import DOCUMENTED_NAMES
from cbr_sync.simulator.models import SIMULATOR_CREDENTIALS, SIMULATOR_PROJECT_ID
from support.builders import HuaweiServices
from support.world import VMWARE, World, webhook_event

INDEX = Path(__file__).parent.parent / "src" / "index.py"
AGENCY_ONLY = {"CBR_SYNC_REGION": "cn-north-4", "CBR_SYNC_VAULTS": VMWARE}
TIMER = {"version": "v1.0", "trigger_type": "TIMER", "trigger_name": "night", "user_event": ""}


@dataclass(frozen=True, slots=True)
class ImplausibleContext(LocalFunctionGraphContext):
    """A context whose remaining time is in a unit of its own."""

    remaining: float = 0.0

    def getRemainingTimeInMilliSeconds(self) -> float:  # noqa: N802
        """Not to be relied on."""
        return self.remaining


def load_by_path(path: Path) -> ModuleType:
    """A module loaded as the platform's runtime does: by its path, under a name of its own."""
    spec = importlib.util.spec_from_file_location("user_code", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_handler_file_may_be_loaded_by_its_path() -> None:
    """The platform names the file, not the package; it only hands on the adapter."""
    module = load_by_path(INDEX)
    assert module.handler is handler
    assert module.initializer is initializer
    assert "user_code" not in sys.modules


def test_the_deployed_initializer_and_handler_report_wrong_settings() -> None:
    """Nothing is read at import; the first call reads, and its mistakes are the platform's to show."""
    context = LocalFunctionGraphContext({})
    with pytest.raises(SettingsError, match="CBR_SYNC_REGION: not set"):
        initializer(context)
    with pytest.raises(SettingsError, match="CBR_SYNC_REGION: not set"):
        handler(TIMER, context)


def test_the_agencys_keys_and_project_are_enough(world: World) -> None:
    """A function with an agency needs neither keys nor project id among its variables."""
    reply = world.on_functiongraph(
        TIMER, AGENCY_ONLY, agency=SIMULATOR_CREDENTIALS, project_id=SIMULATOR_PROJECT_ID
    )
    assert reply["counts"] == {"accepted": 1}


def test_the_agencys_keys_are_read_in_each_invocation(world: World) -> None:
    """They are temporary, and an instance may outlive them."""
    adapter = FunctionGraphAdapter(AGENCY_ONLY, **world.options())
    stale = Credentials("made-up-old-key", "made-up-old-secret", "made-up-old-token")
    fresh = LocalFunctionGraphContext(AGENCY_ONLY, SIMULATOR_CREDENTIALS, SIMULATOR_PROJECT_ID)
    adapter.initialize(fresh)
    old = adapter(TIMER, LocalFunctionGraphContext(AGENCY_ONLY, stale, SIMULATOR_PROJECT_ID))
    new = adapter(TIMER, fresh)
    assert old["outcomes"][0]["error"]["code"] == "APIGW.0301"
    assert new["counts"] == {"accepted": 1}


def test_without_agency_and_keys_the_settings_are_wrong(world: World) -> None:
    """It is reported before anything is sent."""
    with pytest.raises(SettingsError, match="give the function an agency"):
        world.on_functiongraph(TIMER, AGENCY_ONLY, project_id=SIMULATOR_PROJECT_ID)


def test_an_agency_that_is_gone_is_named_in_the_error(world: World) -> None:
    """The App was made with one; a later run has none."""
    adapter = FunctionGraphAdapter(AGENCY_ONLY, **world.options())
    adapter.initialize(LocalFunctionGraphContext(AGENCY_ONLY, SIMULATOR_CREDENTIALS, SIMULATOR_PROJECT_ID))
    with pytest.raises(SettingsError, match="the platform hands over no keys"):
        adapter(TIMER, LocalFunctionGraphContext(AGENCY_ONLY, None, SIMULATOR_PROJECT_ID))


def test_variables_in_the_user_data_go_first(world: World) -> None:
    """Encrypted variables are had from getUserData alone."""
    environ = {**world.environ, "HUAWEICLOUD_SDK_SK": "the wrong one", "CBR_SYNC_VAULTS": ""}
    adapter = FunctionGraphAdapter(environ, **world.options())
    reply = adapter(TIMER, LocalFunctionGraphContext(world.environ))
    assert reply["counts"] == {"accepted": 1}


@dataclass(frozen=True, slots=True)
class EncryptedContext(LocalFunctionGraphContext):
    """A context whose variables are encrypted: nothing else has them. It keeps which were asked for."""

    asked: list[str] = field(default_factory=list)

    def getUserData(self, key: str) -> str | None:  # noqa: N802
        """An encrypted variable."""
        self.asked.append(key)
        return self.environ.get(key)


def test_every_documented_variable_may_be_encrypted(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """The endpoint of SQS and the service's name, the standard variables of others, as well as ours."""
    services = HuaweiServices(world, (200, {"Successful": [], "Failed": []}))
    encrypted = {
        **world.environ,
        "AWS_ACCESS_KEY_ID": "made-up",
        "AWS_SECRET_ACCESS_KEY": "made-up",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "CBR_SYNC_SQS_QUEUE_URL": "http://localstack:4566/000000000000/outcomes",
        "AWS_ENDPOINT_URL_SQS": "http://localstack:4510",
        "POWERTOOLS_SERVICE_NAME": "encrypted-service",
        "LOG_LEVEL": "debug",
    }
    context = EncryptedContext(encrypted)
    adapter = FunctionGraphAdapter({}, **world.options(httpx.MockTransport(services)))
    assert adapter(TIMER, context)["counts"] == {"accepted": 1}
    assert {str(request.url) for request in services.requests} == {"http://localstack:4510/"}
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["service"] for line in lines} == {"encrypted-service"}
    assert logging.getLogger("encrypted-service").level == logging.DEBUG
    assert set(DOCUMENTED_NAMES) == set(context.asked)


def test_apig_gets_the_form_it_needs(world: World) -> None:
    """An object with statusCode, headers of strings, a string body and isBase64Encoded."""
    event = webhook_event({"vault_id": VMWARE}, world)
    event |= {"httpMethod": "POST", "requestContext": {"apiId": "a", "requestId": "r", "stage": "RELEASE"}}
    reply = world.on_functiongraph(event)
    assert reply["statusCode"] == 200
    assert isinstance(reply["body"], str)
    assert reply["isBase64Encoded"] is False
    assert all(isinstance(value, str) for value in reply["headers"].values())
    assert json.loads(json.dumps(reply)) == reply


@pytest.mark.parametrize(
    ("remaining", "timeout", "at_most"),
    [
        (20_000.0, "30", 20),
        (20.0, "30", 30),
        (0.0, "30", 30),
        (-5.0, "30", 30),
        (20_000_000.0, "30", 30),
        (20_000.0, "", 20),
        (0.0, "", 3),
    ],
)
def test_an_implausible_remaining_time_is_not_believed(
    world: World, remaining: float, timeout: str, at_most: float
) -> None:
    """Replicas of the runtime mix up seconds and milliseconds; the configured timeout bounds them."""
    world.simulator.add_faults("429*99")
    environ = {**world.environ, "RUNTIME_TIMEOUT": timeout, "CBR_SYNC_MAX_ATTEMPTS": "20"}
    adapter = FunctionGraphAdapter(environ, **world.options())
    with pytest.raises(SyncUnfinished):
        adapter(TIMER, ImplausibleContext(environ, remaining=remaining))
    assert world.elapsed < at_most
