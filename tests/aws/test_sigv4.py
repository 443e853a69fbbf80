"""Signature Version 4: botocore signs the same request, and the two agree."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import quote

import httpx
import pytest
from botocore import auth as botocore_auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cbr_sync.aws.sigv4 import SigV4Auth
from cbr_sync.credentials import Credentials

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
CREDENTIALS = Credentials("made-up-access-key", "made-up-secret-key")
TEMPORARY = Credentials("made-up-access-key", "made-up-secret-key", "made-up-token==")
Query = list[tuple[str, str]]


def send_signed(
    request: httpx.Request,
    credentials: Credentials = CREDENTIALS,
    region: str = "eu-west-1",
    now: Callable[[], datetime] = lambda: NEW_YEAR,
) -> httpx.Headers:
    """Send a request signed, and return the headers that arrive."""

    def respond(arrived: httpx.Request) -> httpx.Response:
        return httpx.Response(200, request=arrived)

    auth = SigV4Auth(credentials, region, "sqs", now)
    with httpx.Client(transport=httpx.MockTransport(respond), auth=auth) as client:
        return client.send(request).request.headers


@pytest.mark.parametrize(
    ("credentials", "names", "signature"),
    [
        pytest.param(
            CREDENTIALS,
            "content-type;host;x-amz-date;x-amz-target",
            "5d261cb6079603975bb94635213a721be197b6bc60e2087ef22dc47faf286b2a",
            id="permanent",
        ),
        pytest.param(
            TEMPORARY,
            "content-type;host;x-amz-date;x-amz-security-token;x-amz-target",
            "987d758dd4758bb434298d593530168b47d9b8b6da1897e80a87258e14913231",
            id="temporary",
        ),
    ],
)
def test_a_message_to_a_queue_is_signed_as_botocore_1_44_signs_it(
    credentials: Credentials, names: str, signature: str
) -> None:
    """The one request that this signer is for; what httpx adds of its own is left unsigned."""
    request = httpx.Request(
        "POST",
        "https://sqs.eu-west-1.amazonaws.com/",
        headers={
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": "AmazonSQS.SendMessage",
            "User-Agent": "unsigned",
        },
        content=b'{"QueueUrl":"https://sqs.eu-west-1.amazonaws.com/123456789012/q","MessageBody":"hi"}',
    )
    assert send_signed(request, credentials)["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=made-up-access-key/20260101/eu-west-1/sqs/aws4_request, "
        f"SignedHeaders={names}, Signature={signature}"
    )


def sign_with_botocore(
    request: httpx.Request, query: Query, headers: dict[str, str], credentials: Credentials, region: str
) -> AWSRequest:
    """Sign a request with botocore, at this very moment."""
    keys = ReadOnlyCredentials(credentials.access_key, credentials.secret_key, credentials.token)
    signed = AWSRequest(
        request.method, str(request.url.copy_with(query=None)), headers, request.content, params=query
    )
    botocore_auth.SigV4Auth(keys, "sqs", region).add_auth(signed)
    return signed


PATHS = st.lists(
    st.sampled_from(["%2F", "%20", "%2e%2E", "//", "/./", "/../", ":", "*", "~", "+", "ä"])
    | st.text(st.characters(codec="utf-8", min_codepoint=0x20, exclude_characters="?#\x7f"), max_size=12),
    max_size=4,
).map(lambda parts: "/" + "".join(parts))
TEXT = st.text(max_size=12)
VISIBLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12)
VALUES = VISIBLE | st.sampled_from(["  outer and   inner spaces  ", "a\tb"])
QUERIES = st.lists(st.tuples(st.sampled_from(["b", "B", "a b", "ä"]) | TEXT, TEXT), max_size=4)
HEADERS = st.dictionaries(
    st.sampled_from(["Content-Type", "X-Amz-Target", "X-Amz-Meta", "x-amz-meta-2"]), VALUES, max_size=4
)


@settings(max_examples=500, deadline=None)
@given(
    request=st.tuples(
        st.sampled_from(["GET", "POST", "delete"]),
        st.sampled_from(["https://sqs.eu-west-1.amazonaws.com", "http://127.0.0.1:4566", "https://a:443"]),
        PATHS,
        st.binary(max_size=20),
    ),
    query=QUERIES,
    safe=st.sampled_from(["", ":/@!$'()*,;"]),
    headers=HEADERS,
    credentials=st.sampled_from([CREDENTIALS, TEMPORARY]),
    region=st.sampled_from(["eu-west-1", "us-gov-east-1"]),
)
@example(("GET", "https://a", "/a//b", b""), [("b", "2"), ("a", "1"), ("a", "")], "", {}, CREDENTIALS, "x")
def test_we_sign_as_botocore_does(
    request: tuple[str, str, str, bytes],
    query: Query,
    safe: str,
    headers: dict[str, str],
    credentials: Credentials,
    region: str,
) -> None:
    """Ports, odd paths, queries in any order and encoding, spaces in values, bodies, tokens."""
    method, base, path, body = request
    written = "&".join(f"{quote(key, safe=safe)}={quote(value, safe=safe)}" for key, value in query)
    ours = httpx.Request(method, f"{base}{path}?{written}", headers=headers, content=body)
    signed = sign_with_botocore(ours, query, headers, credentials, region)
    moment = datetime.strptime(signed.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    arrived = send_signed(ours, credentials, region, lambda: moment)
    assert arrived["authorization"] == signed.headers["Authorization"]
    assert arrived.get("x-amz-security-token") == credentials.token


def test_every_attempt_is_signed_afresh() -> None:
    """The same request sent again has the date of its sending, in UTC, and a signature over it."""
    request = httpx.Request("POST", "https://sqs.eu-west-1.amazonaws.com/", content=b"{}")
    china = timezone(timedelta(hours=8))
    moments = iter([NEW_YEAR, (NEW_YEAR + timedelta(hours=23)).astimezone(china)])
    seen = []
    for _ in range(2):
        headers = send_signed(request, TEMPORARY, now=lambda: next(moments))
        seen.append((headers["x-amz-date"], headers["authorization"]))
    (first_date, first), (second_date, second) = seen
    assert (first_date, second_date) == ("20260101T000000Z", "20260101T230000Z")
    assert "/20260101/eu-west-1/" in second
    assert first != second


def test_the_keys_are_never_shown() -> None:
    """The signer does not show them."""
    assert "made-up" not in repr(SigV4Auth(TEMPORARY, "eu-west-1", "sqs", lambda: NEW_YEAR))
