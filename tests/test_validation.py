"""Validation: rejected values in words, without their content."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError

from cbr_sync.validation import describe_value, explain, find_rejected_values, format_key, mask_secrets


class Inner(BaseModel):
    """What is inside of a list."""

    model_config = ConfigDict(extra="forbid")
    name: str


class Outer(BaseModel):
    """What has a list."""

    model_config = ConfigDict(extra="forbid")
    vaults: list[Inner]


EXPECTED = {"vaults": "a list of vaults", "name": "a string"}


def test_each_mistake_has_a_line_with_its_key_what_was_found_and_what_was_expected() -> None:
    """And no line shows a value."""
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"vaults": [{"name": 1}, {}, {"name": "a", "hunter2 ": 1}, "hunter2"], "x": 1})
    assert explain(caught.value, EXPECTED) == [
        "vaults[0].name: found a number, expected a string",
        "vaults[1].name: found nothing, expected a string",
        "vaults[2].'hunter2 ': unknown key; expected one of vaults, name",
        "vaults[3]: found a string of 7 characters, expected a list of vaults",
        "x: unknown key; expected one of vaults, name",
    ]
    rejected = list(find_rejected_values(caught.value, EXPECTED))
    assert [(one.root, one.key, one.is_missing) for one in rejected] == [
        ("vaults", "name", False),
        ("vaults", "name", True),
        ("vaults", None, False),
        ("vaults", "vaults", False),
        ("x", None, False),
    ]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "null"),
        (True, "true"),
        (1.5, "a number"),
        ("", "an empty string"),
        ("hunter2", "a string of 7 characters"),
        ([1], "a list of 1"),
        ({}, "an object"),
        (b"", "a bytes"),
    ],
)
def test_a_value_is_described_without_its_content(value: object, words: str) -> None:
    """It may be anything."""
    assert describe_value(value) == words


def test_a_key_is_printable_and_not_endless() -> None:
    """A payload may have any."""
    assert format_key("vault_id") == "vault_id"
    assert format_key("a\nb") == "'a\\nb'"
    assert format_key("x" * 65) == "x" * 64 + "\u2026"


@pytest.mark.parametrize(
    ("text", "secrets", "masked"),
    [
        ("a standard queue", ["a"], "a standard queue"),
        ("the word is sword", ["word"], "the **** is sword"),
        ("unlongsecretly", ["longsecret"], "un****ly"),
        ("longsecretlonger", ["longsecret", "longsecretlonger"], "****"),
        ("key (a.b)", ["a.b"], "key (a.b)"),
        ("key a.bc.", ["a.bc"], "key ****."),
    ],
)
def test_a_secret_is_masked_and_the_words_around_it_stay_readable(
    text: str, secrets: list[str], masked: str
) -> None:
    """Short ones stand for themselves only, and up to three letters are no secret."""
    assert mask_secrets(text, secrets) == masked


@given(st.text(), st.text(min_size=8), st.text())
def test_a_long_secret_is_masked_wherever_it_stands(before: str, secret: str, after: str) -> None:
    """Whatever is around it."""
    assert secret not in mask_secrets(f"{before}{secret}{after}", [secret]) or secret in "*" * 99
