"""CPU of refusing a webhook that nobody has signed: an ordinary one, and one made to be expensive."""

import sys

from measured import count, tell_cpu

from cbr_sync.errors import WebhookRefusedError
from cbr_sync.triggers.webhook import authenticate, parse_http_request

SECRETS = [b"a" * 32, b"b" * 32]
WRONG = "v1," + "A" * 43 + "="
SIGNATURES = {"ordinary": WRONG, "expensive": " ".join([WRONG] * 1400)}
event = {
    "headers": {
        "content-type": "application/json",
        "webhook-id": "msg_1",
        "webhook-timestamp": "1000",
        "webhook-signature": SIGNATURES[sys.argv[2]],
    },
    "requestContext": {"http": {"method": "POST"}},
    "body": '{"vault_id": "8d3a8b28-a697-41e2-8d5d-903669f8a02d"}',
}


def refuse() -> None:
    try:
        authenticate(parse_http_request(event), secrets=SECRETS, tokens=[], now=1000)
    except WebhookRefusedError:
        return
    raise AssertionError("it was let in")


tell_cpu(refuse, count())
