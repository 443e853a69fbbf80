"""``cbr-sync notify``: what people would read, without sending anything."""

from __future__ import annotations

import json

import pytest

from support.cli import run_cli
from support.people import check_publish_message

CASES = ["run", "good run", "report", "late failure", "stale", "recovered", "rejected"]


def test_every_message_is_shown_in_both_languages() -> None:
    """No setting is needed, and none is read."""
    result = run_cli("notify", "--preview", CBR_SYNC_REGION="mars")
    assert result.exit_code == 0
    for case in CASES:
        assert f"{case}, en\n{'=' * (len(case) + 4)}\n" in result.stdout
        assert f"{case}, zh\n" in result.stdout
    assert result.stdout.count("DingTalk, Feishu and WeCom, in Markdown:\n") == 2 * len(CASES)


@pytest.mark.parametrize(
    ("language", "words"), [("en", "FAILED: 3 of 41 syncs"), ("zh", "41 个同步中 3 个出现问题")]
)
def test_one_language_is_shown_where_it_is_chosen(language: str, words: str) -> None:
    """And not the other."""
    result = run_cli("notify", "--preview", "--language", language)
    assert words in result.stdout
    assert result.stdout.count("Subject:\n") == len(CASES)


def test_programs_get_what_is_sent_to_each_protocol() -> None:
    """In the form of SMN and of SNS."""
    rows = json.loads(run_cli("notify", "--preview", "--json").stdout)
    assert [row["case"] for row in rows if row["language"] == "zh"] == CASES
    for row in rows:
        check_publish_message({"subject": row["subject"], "message_structure": json.dumps(row["smn"])})
        assert set(row["sns"]) == {"default", "email", "sms"}


def test_it_never_sends() -> None:
    """Who expects that is told so."""
    result = run_cli("notify")
    assert result.exit_code == 2
    assert "cbr-sync: add --preview to see the messages" in result.stderr
