"""House rules that no linter knows: how modules are named, what is deployed, what the workflow runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import flit_core.common
import flit_core.config
import pytest

import bundle
import cbr_sync
from support.imports import MODULES, ROOT, SRC, module_name

NOT_DEPLOYED = ["boto3", "botocore", "huaweicloudsdkcore", "huaweicloudsdkcbr", "typer", "rich"]


FIRST_LEVEL = [path for path in MODULES if path.parent in (SRC, SRC / "cbr_sync")]


@pytest.mark.parametrize("path", FIRST_LEVEL, ids=module_name)
def test_no_module_has_a_name_of_the_standard_library(path: Path) -> None:
    """A loader may put the folder itself on sys.path: that of index.py, or that of an entry point."""
    assert path.stem.startswith("__") or path.stem not in sys.stdlib_module_names


def run_deployed(deployed: Path, code: str) -> str:
    """Return what code prints in an interpreter that sees the deployed packages and our source alone."""
    script = f"import sys; sys.path[:0] = [{str(SRC)!r}, {str(deployed)!r}]\n{code}"
    command = [sys.executable, "-I", "-S", "-c", script]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_both_entry_points_import_with_what_is_deployed_alone(deployed: Path) -> None:
    """Neither boto3 nor the vendor's SDK nor anything for people is needed, or imported where it exists."""
    code = (
        "import cbr_sync.aws_lambda, index, cbr_sync.sinks.sqs, json; print(json.dumps(sorted(sys.modules)))"
    )
    modules = {name.partition(".")[0] for name in json.loads(run_deployed(deployed, code))}
    assert modules.isdisjoint(NOT_DEPLOYED)
    assert {"httpx", "pydantic"} <= modules


def test_an_event_runs_with_what_is_deployed_alone(deployed: Path) -> None:
    """What is imported while an event is handled is there as well: Powertools, threads, the queue."""
    code = """
import httpx, json, os
from cbr_sync.aws_lambda import LambdaAdapter

def api(request):
    vault = json.loads(request.content)["sync"]["vault_id"]
    return httpx.Response(200, json={"sync": {"operation_log_id": "log", "vault_id": vault}})

class Context:
    aws_request_id = "r"
    get_remaining_time_in_millis = staticmethod(lambda: 10_000)

environ = {"CBR_SYNC_ENDPOINT": "https://cbr.example.com", "CBR_SYNC_PROJECT_ID": "p",
           "HUAWEICLOUD_SDK_AK": "a", "HUAWEICLOUD_SDK_SK": "s"}
vaults = ["8d3a8b28-a697-41e2-8d5d-903669f8a02d", "2f1f6ab4-4f0c-4b64-9a3c-0d6f5f7f1a02"]
adapter = LambdaAdapter(environ, transport=httpx.MockTransport(api))
reply = adapter({"vault_ids": vaults}, Context())
print(json.dumps([reply["counts"], sorted({name.partition(".")[0] for name in sys.modules})]))
"""
    counts, modules = json.loads(run_deployed(deployed, code).splitlines()[-1])
    assert counts == {"accepted": 2}
    assert set(modules).isdisjoint(NOT_DEPLOYED)


def test_only_what_was_given_is_deployed() -> None:
    """httpx, pydantic, Powertools and what they bring; a new name here is a decision."""
    assert bundle.pins(bundle.REQUIREMENTS).keys() == {
        *("annotated-types", "anyio", "aws-lambda-powertools", "certifi", "h11", "httpcore", "httpx"),
        *("idna", "jmespath", "pydantic", "pydantic-core", "typing-extensions", "typing-inspection"),
    }


def test_the_package_has_the_version_of_its_metadata() -> None:
    """The version is stated once, in the package."""
    project = flit_core.config.read_flit_config(ROOT / "pyproject.toml")
    metadata = flit_core.common.make_metadata(flit_core.common.Module(project.module, ROOT), project)
    assert metadata.version == cbr_sync.__version__


def test_the_workflow_does_what_the_gate_does_with_pinned_actions() -> None:
    """A tag can be moved, a commit cannot."""
    workflow = (ROOT / ".github" / "workflows" / "check.yml").read_text(encoding="utf-8")
    used = re.findall(r"uses: (\S+)", workflow)
    assert used
    assert all(re.fullmatch(r"[a-z-]+/[a-z-]+@[0-9a-f]{40}", action) for action in used)
    assert re.findall(r"- run: (.+)", workflow) == [".ci/run"]
