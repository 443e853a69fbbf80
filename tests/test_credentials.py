"""Credentials: which keys sign, and that none of them is shown."""

from __future__ import annotations

import pytest

from cbr_sync.credentials import Credentials, PlatformValues, find_credentials
from cbr_sync.errors import SettingsError

SDK = {"HUAWEICLOUD_SDK_AK": " sdk-ak\n", "HUAWEICLOUD_SDK_SK": "sdk-sk"}
SAMPLES = {"CLOUD_SDK_AK": "sample-ak", "CLOUD_SDK_SK": "sample-sk"}
TOKEN = {"HUAWEICLOUD_SDK_SECURITY_TOKEN": "token"}
AGENCY = PlatformValues(Credentials("agency-ak", "agency-sk", "agency-token"))


@pytest.mark.parametrize(
    ("environ", "values", "expected"),
    [
        (SDK | SAMPLES, AGENCY, Credentials("sdk-ak", "sdk-sk")),
        (SDK | TOKEN, PlatformValues(), Credentials("sdk-ak", "sdk-sk", "token")),
        (SAMPLES | TOKEN, AGENCY, AGENCY.credentials),
        (SAMPLES | TOKEN, PlatformValues(), Credentials("sample-ak", "sample-sk")),
        (SAMPLES | {"HUAWEICLOUD_SDK_AK": "half"}, PlatformValues(), Credentials("sample-ak", "sample-sk")),
    ],
)
def test_the_sdks_variables_go_before_the_platform_and_that_before_the_samples(
    environ: dict[str, str], values: PlatformValues, expected: Credentials
) -> None:
    """Half a pair is none, and a token belongs to the SDK's pair alone."""
    assert find_credentials(environ, values) == expected


def test_without_keys_the_mistake_names_those_that_are_required() -> None:
    """A pair of them."""
    with pytest.raises(SettingsError) as caught:
        find_credentials({}, PlatformValues())
    (mistake,) = caught.value.mistakes
    assert str(mistake) == (
        "HUAWEICLOUD_SDK_AK, HUAWEICLOUD_SDK_SK: not set, and the platform hands over no keys; set both"
    )
    assert mistake.involved == ("HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK")


@pytest.mark.parametrize(
    ("environ", "values", "names"),
    [
        (SDK | {"HUAWEICLOUD_SDK_AK": "hun ter2"}, AGENCY, ["HUAWEICLOUD_SDK_AK"]),
        (
            SDK | {"HUAWEICLOUD_SDK_SK": "hunter2\udcff", "HUAWEICLOUD_SDK_SECURITY_TOKEN": "hunter2\u00e9"},
            AGENCY,
            ["HUAWEICLOUD_SDK_SECURITY_TOKEN", "HUAWEICLOUD_SDK_SK"],
        ),
        ({}, PlatformValues(Credentials("hun\nter2", "x")), ["the access key from the platform"]),
        (SAMPLES | {"CLOUD_SDK_AK": "hunter2\u957f"}, PlatformValues(), ["CLOUD_SDK_AK"]),
    ],
)
def test_keys_that_cannot_be_used_are_mistakes_by_name(
    environ: dict[str, str], values: PlatformValues, names: list[str]
) -> None:
    """All of them, and none is shown."""
    with pytest.raises(SettingsError) as caught:
        find_credentials(environ, values)
    assert [mistake.name for mistake in caught.value.mistakes] == names
    assert "hun" not in f"{caught.value}{caught.value!r}"


def test_no_repr_shows_a_secret() -> None:
    """Of the keys and of what the platform hands over."""
    values = PlatformValues(Credentials("hunter2", "hunter2", "hunter2"), "project", (b"hunter2",))
    assert "hunter2" not in repr(values)
    assert "project" in repr(values)
