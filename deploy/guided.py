"""Go through ``sam deploy --guided`` in a pseudo-terminal, with ENTER wherever something is optional.

What has to be given is typed once; a prompt that comes back, or one that nobody knows, fails. AWS is moto's
server, which answers the first call that SAM makes once it has asked everything; that is the end.

    python deploy/guided.py PATH_OF_SAM TEMPLATE
"""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from moto.server import ThreadedMotoServer

# What has no default, and what a user would type there.
GIVEN = {
    "HuaweiRegion": "cn-north-4",
    "HuaweiProjectId": "0123456789abcdef0123456789abcdef",
    "SecretArn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:cbr-sync-AbCdEf",
}
SECONDS = 240.0
_PROMPT = re.compile(
    r"(?:^|\n)\s*(?:\x1b\[[0-9;]*m)*([^\n]*?(?:\[[^\]\n]*\]|:))\s*:?\s*(?:\x1b\[[0-9;]*m)*\s*$"
)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ASKED = re.compile(r"Parameter (\w+)")
# What SAM writes when it has asked everything, and makes its first call.
_END = "Looking for resources needed for deployment"


def main(sam: str, template: str) -> int:
    """Deploy as far as a machine without an account gets, and print what was asked and answered."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environ = {
        **os.environ,
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "made-up"),
        "AWS_DEFAULT_REGION": "eu-west-1",
        "SAM_CLI_TELEMETRY": "0",
        "COLUMNS": "400",
        "TERM": "dumb",
    }
    try:
        with tempfile.TemporaryDirectory() as folder:
            return deploy([sam, "deploy", "--guided", "--template-file", template], environ, Path(folder))
    finally:
        server.stop()


def deploy(command: list[str], environ: dict[str, str], folder: Path) -> int:
    """Answer the prompts of a command until its end."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        command, cwd=folder, env=environ, stdin=follower, stdout=follower, stderr=follower, close_fds=True
    )
    os.close(follower)
    asked: list[str] = []
    screen = pending = ""
    deadline = time.monotonic() + SECONDS
    try:
        while time.monotonic() < deadline and _END not in screen:
            text = read(leader)
            if text is None:
                break
            screen += text
            pending += text
            if text or not (match := _PROMPT.search(pending)):
                continue
            prompt = _COLOUR.sub("", match[1]).strip()
            name = _ASKED.search(prompt)
            if prompt in asked:
                print(f"asked again: {prompt}", file=sys.stderr)
                return 1
            asked.append(prompt)
            answer = GIVEN.get(name[1], "") if name else ""
            print(f"{prompt}: {answer or '<ENTER>'}")
            os.write(leader, f"{answer}\n".encode())
            pending = ""
    finally:
        process.kill()
        process.wait()
        os.close(leader)
    if _END not in screen:
        print(screen[-2000:], file=sys.stderr)
        return 1
    print(f"{len(asked)} prompts, each answered once; SAM goes on to deploy.")
    return 0


def read(leader: int) -> str | None:
    """Return what came within half a second; empty for nothing, None at the end."""
    ready, _, _ = select.select([leader], [], [], 0.5)
    if not ready:
        return ""
    try:
        return os.read(leader, 65_536).decode(errors="replace").replace("\r\n", "\n") or None
    except OSError:
        return None


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
