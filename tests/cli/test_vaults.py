"""The command ``vaults``, against the simulator."""

from __future__ import annotations

import json

import pytest

from cbr_sync.simulator.cloud import Simulator
from support.cli import run_cli
from support.world import FILE, PUBLIC


def test_the_hybrid_vaults_are_listed(cloud: Simulator) -> None:
    """With their ids, whole on a narrow terminal; public vaults are left out."""
    result = run_cli("vaults", COLUMNS="80")
    assert result.exit_code == 0
    assert all(vault.id in result.stdout for vault in cloud.vaults if vault.cloud_type == "hybrid")
    assert PUBLIC not in result.stdout
    found = json.loads(run_cli("vaults", "--tag", "env=prod", "--object-type", "file", "--json").stdout)
    assert [vault["id"] for vault in found] == [FILE]


@pytest.mark.parametrize(
    ("words", "environ", "code", "message"),
    [
        ([], {"CBR_SYNC_REGION": "mars"}, 2, "CBR_SYNC_REGION: found 'mars'"),
        ([], {"HUAWEICLOUD_SDK_SK": "wrong"}, 1, "APIGW.0301: Incorrect IAM authentication"),
        (
            [],
            {"HTTPS_PROXY": "garbage://u:hunter2@h"},
            2,
            "HTTPS_PROXY: found neither an http://",
        ),
        (["--tag", "env"], {}, 2, "--tag env: expected KEY=VALUE"),
    ],
)
def test_a_mistake_is_a_line_on_stderr(
    cloud: Simulator, words: list[str], environ: dict[str, str], code: int, message: str
) -> None:
    """Exit code 2 for settings and usage, 1 for the rest; no password, at most one refused signature."""
    result = run_cli("vaults", *words, **environ)
    assert result.exit_code == code
    assert message in result.stderr
    assert "hunter2" not in result.output
    assert cloud.refused_signatures <= 1


def test_an_error_is_json_where_json_was_asked_for(cloud: Simulator) -> None:
    """A program reads it as it would read the rest."""
    result = run_cli("vaults", "--json", HUAWEICLOUD_SDK_SK="wrong")
    assert json.loads(result.stdout)["error"] == "CredentialsRefusedError"
    assert cloud.refused_signatures == 1
