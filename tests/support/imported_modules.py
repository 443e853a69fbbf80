"""Prints what one event makes a fresh interpreter import: a JSON list of modules, and the reply's shape.

    python -I -S imported_modules.py PLATFORM EVENT ENVIRON PATH...

The API and the queue answer from the process itself.
"""

import json
import sys

BEFORE = set(sys.modules)
platform, event = sys.argv[1], json.loads(sys.argv[2])
environ: dict[str, str] = json.loads(sys.argv[3])
sys.path[:0] = sys.argv[4:]

if platform == "aws":
    from cbr_sync.aws_lambda import LambdaAdapter as Adapter
else:
    from cbr_sync.functiongraph import FunctionGraphAdapter as Adapter  # type: ignore[assignment]

import httpx


def answer(request: httpx.Request) -> httpx.Response:
    """Answer as the API, which starts every sync and knows one vault and no operation, or as SQS."""
    if "operation-logs" in request.url.path:
        return httpx.Response(200, json={"operation_logs": [], "count": 0})
    if request.url.path.endswith("/vaults"):
        vault = {
            "id": "8d3a8b28-a697-41e2-8d5d-903669f8a02d",
            "name": "v",
            "billing": {"object_type": "vmware"},
        }
        return httpx.Response(200, json={"vaults": [vault], "count": 1})
    body = json.loads(request.content)
    if "Entries" in body:
        return httpx.Response(200, json={"Successful": [], "Failed": []})
    return httpx.Response(
        200, json={"sync": {"operation_log_id": "log", "vault_id": body["sync"]["vault_id"]}}
    )


class Context:
    """Both platforms' context in one."""

    aws_request_id = "run"

    def get_remaining_time_in_millis(self) -> int:
        """A minute."""
        return 60_000

    getRemainingTimeInMilliSeconds = get_remaining_time_in_millis

    def getRequestID(self) -> str:
        """The run's id."""
        return "run"

    def getUserData(self, key: str) -> str | None:
        """A setting."""
        return environ.get(key)

    def _nothing(self) -> None:
        return None

    getProjectID = getSecurityAccessKey = getSecuritySecretKey = getSecurityToken = _nothing


reply = Adapter(environ, transport=httpx.MockTransport(answer))(event, Context())
print(json.dumps([sorted(reply), sorted(set(sys.modules) - BEFORE)]))
