"""Standard Webhooks: a published vector, the reference library as the oracle, and strangers."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from cbr_sync.errors import WebhookRefusedError
from cbr_sync.triggers.signature import sign, verify

# Source: docs.svix.com/receiving/verifying-payloads/how-manual, whose scheme the specification took over. The
# key is 18 bytes, fewer than the specification's 24, so that no setting can hold it.
SECRET = base64.b64decode("plJ3nmyC" + "DGBKInavdOK15jsl")
ID = "msg_loFOjxBNrRLzqYUf"
TIMESTAMP = 1731705121
BODY = b'{"event_type":"ping","data":{"success":true}}'
SIGNATURE = "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="

OTHER = b"another secret of 32 bytes......"


def headers(signature: str = SIGNATURE, **more: str) -> dict[str, str]:
    """The headers of the example, with others in their places."""
    given_headers = {"webhook-id": ID, "webhook-timestamp": str(TIMESTAMP), "webhook-signature": signature}
    return given_headers | {key.replace("_", "-"): value for key, value in more.items()}


BAD_ID = "webhook-id is missing or not 1 to 256 printable characters"
BAD_TIME = "webhook-timestamp is missing or not a number of seconds"
STALE = "webhook-timestamp is more than 300 seconds off"
UNSIGNED = "webhook-signature is missing"
NO_MATCH = "webhook-signature does not match"


def refusal(
    given_headers: Mapping[str, str],
    *,
    body: bytes = BODY,
    secrets: Sequence[bytes] = (SECRET,),
    now: float = TIMESTAMP,
) -> str:
    """Why a request is refused; these five sentences are all that anybody learns of it."""
    with pytest.raises(WebhookRefusedError) as caught:
        verify(given_headers, body, secrets, now=now)
    assert caught.value.status == HTTPStatus.UNAUTHORIZED
    assert str(caught.value) in {BAD_ID, BAD_TIME, STALE, UNSIGNED, NO_MATCH}
    assert caught.value.__context__ is None
    return str(caught.value)


def test_the_published_vector_holds() -> None:
    """We sign it so, and let it pass."""
    assert sign(SECRET, ID, TIMESTAMP, BODY) == SIGNATURE
    verify(headers(), BODY, [SECRET], now=TIMESTAMP)


SECRETS = st.binary(min_size=24, max_size=64)
IDS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=256)


@settings(max_examples=300, deadline=None)
@given(secret=SECRETS, webhook_id=IDS, timestamp=st.integers(0, 9_999_999_999), text=st.text())
def test_the_reference_library_signs_alike(secret: bytes, webhook_id: str, timestamp: int, text: str) -> None:
    """What it sends we let pass, and the other way round."""
    theirs = Webhook(secret).sign(webhook_id, datetime.fromtimestamp(timestamp, UTC), text)
    assert sign(secret, webhook_id, timestamp, text.encode()) == theirs
    sent = {"webhook-id": webhook_id, "webhook-timestamp": str(timestamp), "webhook-signature": theirs}
    verify(sent, text.encode(), [secret], now=timestamp)


def reference_accepts(given_headers: dict[str, str], body: bytes, secrets: list[bytes]) -> bool:
    """Whether the reference library lets a request pass with one of the secrets."""
    for secret in secrets:
        try:
            Webhook(secret).verify(body, given_headers, json_parse=False)
        except WebhookVerificationError:
            continue
        return True
    return False


@settings(max_examples=500, deadline=None)
@given(
    text=st.text(max_size=20),
    configured=st.lists(st.sampled_from([SECRET, OTHER]), max_size=2),
    age_seconds=st.sampled_from([-1_000_000, -310, -290, 0, 290, 310, 1_000_000]),
    words=st.lists(
        st.sampled_from(["right", "others", "stale", "v1,", "v1,AAAA", "v2,AAAA", "v1a,AAAA", "V1,AAAA"]),
        max_size=4,
    ),
)
def test_we_accept_what_the_reference_library_accepts(
    text: str, configured: list[bytes], age_seconds: int, words: list[str]
) -> None:
    """Any secret may match any signature; the library reads the real clock, so the edges stand below."""
    now, body = int(time.time()), text.encode()
    timestamp = now - age_seconds
    known = {
        "right": sign(SECRET, ID, timestamp, body),
        "others": sign(OTHER, ID, timestamp, body),
        "stale": sign(SECRET, ID, timestamp - 1, body),
    }
    sent = headers(" ".join(known.get(word, word) for word in words), webhook_timestamp=str(timestamp))
    try:
        verify(sent, body, configured, now=now)
    except WebhookRefusedError:
        assert not reference_accepts(sent, body, configured)
    else:
        assert reference_accepts(sent, body, configured)


@pytest.mark.parametrize("secrets", [[OTHER, SECRET], [SECRET, OTHER]])
@pytest.mark.parametrize(
    "signature", [SIGNATURE, f"v1,AAAA {SIGNATURE}", f"{SIGNATURE} v1,AAAA", f"v2,x v1a,y,z - {SIGNATURE}"]
)
def test_while_secrets_rotate_either_passes(secrets: list[bytes], signature: str) -> None:
    """One of several secrets and one of several signatures are enough; unknown versions are ignored."""
    verify(headers(signature), BODY, secrets, now=TIMESTAMP)


@pytest.mark.parametrize(
    "signature",
    [
        "",
        " ",
        "v1,",
        "v1",
        ",",
        SIGNATURE.removeprefix("v1,"),
        SIGNATURE.replace("v1,", "v2,"),
        SIGNATURE.replace("v1,", "V1,"),
        SIGNATURE.replace("v1,", "v1, "),
        SIGNATURE.removesuffix("="),
        SIGNATURE.swapcase(),
        SIGNATURE + ",",
        "v1,größe",
        "v1,\ud800",
    ],
)
def test_a_signature_that_does_not_match_is_refused(signature: str) -> None:
    """However close it comes."""
    assert refusal(headers(signature)) == NO_MATCH


@pytest.mark.parametrize(
    ("more", "body", "secrets"),
    [
        pytest.param({}, BODY + b" ", [SECRET], id="another-body"),
        pytest.param({}, b"", [SECRET], id="no-body"),
        pytest.param({"webhook_id": "msg_other"}, BODY, [SECRET], id="another-id"),
        pytest.param({"webhook_timestamp": str(TIMESTAMP + 1)}, BODY, [SECRET], id="another-time"),
        pytest.param({}, BODY, [OTHER], id="another-secret"),
        pytest.param({}, BODY, [], id="no-secret"),
    ],
)
def test_a_signature_of_something_else_is_refused(
    more: dict[str, str], body: bytes, secrets: list[bytes]
) -> None:
    """Id, time and body are all signed."""
    assert refusal(headers(**more), body=body, secrets=secrets) == NO_MATCH


@pytest.mark.parametrize("direction", [-1, 1])
def test_five_minutes_are_tolerated_and_no_second_more(direction: int) -> None:
    """A clock may be slow or fast."""
    verify(headers(), BODY, [SECRET], now=TIMESTAMP + direction * 300)
    for seconds in (300.001, 301, 1e12):
        assert refusal(headers(), now=TIMESTAMP + direction * seconds) == STALE


@pytest.mark.parametrize(
    ("missing", "why"),
    [("webhook-id", BAD_ID), ("webhook-timestamp", BAD_TIME), ("webhook-signature", UNSIGNED)],
)
def test_a_missing_header_is_named(missing: str, why: str) -> None:
    """A sender can mend that."""
    assert refusal({key: value for key, value in headers().items() if key != missing}) == why


def test_an_id_may_be_long() -> None:
    """And hold whatever is printable, for every sender makes them in its own way."""
    webhook_id = "~!.,;".ljust(256, "x")
    verify(
        headers(sign(SECRET, webhook_id, TIMESTAMP, BODY), webhook_id=webhook_id),
        BODY,
        [SECRET],
        now=TIMESTAMP,
    )


@pytest.mark.parametrize(
    "webhook_id", ["", " ", "msg 1", f" {ID}", f"{ID}\n", "m" * 257, "größe", "\x00", "\ud800"]
)
def test_an_id_that_no_sender_makes_is_refused(webhook_id: str) -> None:
    """Even if it is signed."""
    right = sign(SECRET, webhook_id.encode(errors="replace").decode(), TIMESTAMP, BODY)
    assert refusal(headers(right, webhook_id=webhook_id)) == BAD_ID


NO_SECONDS = [
    "",
    " 1",
    "1\n",
    "-1",
    "+1",
    "1.0",
    "1e9",
    "0x1",
    "1_0",
    "1٣",
    "²",
    "9" * 13,
    "9" * 5000,
    "\ud800",
]


@pytest.mark.parametrize("timestamp", NO_SECONDS)
def test_a_time_that_is_no_number_of_seconds_is_refused(timestamp: str) -> None:
    """Also where Python would read one."""
    assert refusal(headers(webhook_timestamp=timestamp)) == BAD_TIME


def test_the_end_of_time_is_refused() -> None:
    """A long number is a time far off, not an overflow."""
    assert refusal(headers(webhook_timestamp="9" * 12)) == STALE


ANYTHING = st.text(st.characters(), max_size=40)  # lone surrogates among it


@settings(max_examples=500, deadline=None)
@given(
    given_headers=st.fixed_dictionaries(
        {},
        optional={
            "webhook-id": st.just(ID) | ANYTHING,
            "webhook-timestamp": st.just(str(TIMESTAMP)) | ANYTHING,
            "webhook-signature": ANYTHING | ANYTHING.map("v1,{}".format),
            "host": ANYTHING,
        },
    ),
    body=st.binary(max_size=20),
)
def test_whatever_a_stranger_sends_is_refused_in_words(given_headers: dict[str, str], body: bytes) -> None:
    """No other exception comes out, and nothing of what was sent."""
    refusal(given_headers, body=body)
