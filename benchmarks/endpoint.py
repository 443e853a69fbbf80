"""The other side of every benchmark: CBR and SQS behind TLS, in a process of their own, as fast as can be.

    python endpoint.py CERTIFICATE_FILE SECONDS

Prints its port, and answers until its standard input ends. Each sync is answered after so many seconds. Nothing
is checked and nothing is kept: it must never be what is waited for.
"""

import asyncio
import hashlib
import json
import re
import ssl
import sys

VAULT = re.compile(rb'"vault_id": ?"([^"]+)"')
LENGTH = re.compile(rb"content-length: ?(\d+)", re.IGNORECASE)
LOGS = b'{"operation_logs":[],"count":0,"limit":1000,"offset":0}'


def md5(text: str) -> str:
    """What SQS answers and boto3 compares."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def answered(head: bytes, body: bytes) -> bytes:
    """The answer's body."""
    if b"/checkpoints/sync" in head:
        (vault,) = VAULT.findall(body)
        return b'{"sync":{"operation_log_id":"b6e1f3a2-0c1d-4e5f-8a9b-000000000000","vault_id":"%s"}}' % vault
    if b"/operation-logs" in head:
        return LOGS
    if b"AmazonSQS.SendMessageBatch" in head:
        entries = json.loads(body)["Entries"]
        done = [
            {"Id": entry["Id"], "MessageId": entry["Id"], "MD5OfMessageBody": md5(entry["MessageBody"])}
            for entry in entries
        ]
        return json.dumps({"Successful": done, "Failed": []}).encode()
    if b"AmazonSQS.SendMessage" in head:
        return json.dumps(
            {"MessageId": "m", "MD5OfMessageBody": md5(json.loads(body)["MessageBody"])}
        ).encode()
    return b"{}"


class Connection(asyncio.Protocol):
    """One kept connection."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            head, found, rest = self.buffer.partition(b"\r\n\r\n")
            length = LENGTH.search(head)
            size = int(length[1]) if length else 0
            if not found or len(rest) < size:
                return
            self.buffer = rest[size:]
            wait = self.seconds if b"/checkpoints/sync" in head else 0
            if wait:
                asyncio.get_running_loop().call_later(wait, self.send, head, rest[:size])
            else:
                self.send(head, rest[:size])

    def send(self, head: bytes, body: bytes) -> None:
        content = answered(head, body)
        start = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self.transport.write(start % len(content) + content)


async def main() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(sys.argv[1])
    loop = asyncio.get_running_loop()
    seconds = float(sys.argv[2])
    server = await loop.create_server(lambda: Connection(seconds), "127.0.0.1", 0, ssl=context, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
