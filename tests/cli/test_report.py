"""The command ``report``, against the simulator and its operation logs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cbr_sync.simulator.cloud import Simulator
from support.cli import run_cli


def test_a_report_shows_the_worst_first(cloud: Simulator) -> None:
    """State, age, name and reason; exit code 1, since not all is well."""
    result = run_cli("report")
    assert result.exit_code == 1
    states = re.findall(r"^(failing|never|stale|unknown|fresh) ", result.stdout, re.MULTILINE)
    assert states == ["failing"] * 2 + ["never"] + ["stale"] * 3 + ["unknown"] + ["fresh"] * 2
    assert "BackupService.6405: Bucket object deletion failed." in result.stdout
    assert "no sync has ever succeeded" in result.stdout
    assert "2 failing, 1 never, 3 stale, 1 unknown, 2 fresh (limit: 26 hours)" in result.stdout
    assert result.stderr == "", "the log is not for people"
    assert {request.method for request in cloud.requests} == {"GET"}


def test_a_report_without_problems_exits_with_0(cloud: Simulator) -> None:
    """For a monitor that runs the command."""
    assert run_cli("report", "--name", "vault-vmware-01").exit_code == 0
    assert run_cli("report", "--name", "vault-vmware-01", "--max-age-hours", "6").exit_code == 1
    found = json.loads(run_cli("report", "--object-type", "file", "--json").stdout)
    assert found["counts"] == {"never": 1, "fresh": 1}
    assert cloud.refused_signatures == 0


def test_a_report_can_be_a_page(cloud: Simulator, tmp_path: Path) -> None:
    """With two weeks of syncs; the command says where it is, and prints the totals."""
    path = tmp_path / "report.html"
    result = run_cli("report", "--html", str(path))
    assert result.exit_code == 1
    assert f"Report written to {path}" in result.stdout
    page = path.read_text(encoding="utf-8")
    assert "7 of 9 vaults need attention" in page
    assert "14 syncs in the last 14 days" in page
    assert len(cloud.requests) > 1


def test_a_page_names_the_vaults_that_were_asked_for(cloud: Simulator, tmp_path: Path) -> None:
    """In words, also the tags."""
    path = tmp_path / "report.html"
    words = ["--object-type", "file", "--tag", "env=prod", "--tag", "team=a"]
    assert run_cli("report", "--html", str(path), *words).exit_code == 1  # none has both tags
    assert not path.exists()
    assert run_cli("report", "--html", str(path), *words[:4]).exit_code == 0
    assert "Hybrid vaults · type file, tag env=prod<" in path.read_text(encoding="utf-8")
    assert cloud.refused_signatures == 0


@pytest.mark.parametrize(
    ("words", "environ", "code", "message"),
    [
        ([], {"HUAWEICLOUD_SDK_SK": "wrong"}, 1, "APIGW.0301: Incorrect IAM authentication"),
        ([], {"CBR_SYNC_REGION": "mars"}, 2, "CBR_SYNC_REGION: found 'mars'"),
        (["--name", "nobody"], {}, 1, "no hybrid vault matches name, so there is nothing"),
        (["--max-age-hours", "0"], {}, 2, "Invalid value for '--max-age-hours'"),
        (["--max-age-hours", "soon"], {}, 2, "Invalid value for '--max-age-hours'"),
        (
            [],
            {"ALL_PROXY": "socks5://u:hunter2@h:1"},
            2,
            "ALL_PROXY: found a SOCKS proxy",
        ),
        (["--html", "/no/such/folder/x.html"], {}, 1, "cannot write /no/such/folder/x.html: No such file"),
    ],
)
def test_a_mistake_is_a_line_on_stderr(
    cloud: Simulator, words: list[str], environ: dict[str, str], code: int, message: str
) -> None:
    """Exit code 2 for settings and usage, 1 for the rest; no password, at most one refused signature."""
    result = run_cli("report", *words, **environ)
    assert result.exit_code == code
    assert message in result.stderr
    assert "hunter2" not in result.output
    assert cloud.refused_signatures <= 1


def test_an_error_is_json_where_json_was_asked_for(cloud: Simulator) -> None:
    """A program reads it as it would read the rest."""
    result = run_cli("report", "--json", HUAWEICLOUD_SDK_SK="wrong")
    assert json.loads(result.stdout)["error"] == "CredentialsRefusedError"
    assert cloud.refused_signatures == 1


def test_a_broken_sink_does_not_hide_the_report(cloud: Simulator) -> None:
    """It is shown, whether the sink took it or not."""
    sink = {
        "CBR_SYNC_SMN_TOPIC_URN": "urn:smn:cn-north-4:f841e01f:x",
        "CBR_SYNC_SMN_ENDPOINT": "http://127.0.0.1:9",
    }
    result = run_cli("report", CBR_SYNC_MAX_ATTEMPTS="1", **sink)
    assert result.exit_code == 1
    assert "2 failing" in result.stdout
    assert "cbr-sync: smn: " in result.stderr
    assert cloud.refused_signatures == 0
