"""FunctionGraph around one instance, run by the runtime's Python.

    python3.12 -I -S functiongraph_runtime.py CODE_FOLDER LIBRARIES_FOLDER < EVENTS

Reads one event a line. After the word ``ANSWER`` it writes what the initializer gave, then what each event
gave, ``{"reply"}`` or ``{"errorType", "errorMessage"}``, and at last the modules that were loaded. The
code goes in front of the platform's libraries, as in openYuanrong's runtime; the handler's file is loaded by
its path.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable
from typing import Any

CODE, LIBRARIES = sys.argv[1:3]
SHADOWED = ("typing_extensions", "idna", "certifi")


class Context:
    """The platform's context, without an agency."""

    def getUserData(self, key: str) -> str | None:  # noqa: N802 - the platform's names
        return os.environ.get(key)

    def getRequestID(self) -> str:  # noqa: N802
        return "request-1"

    def getRemainingTimeInMilliSeconds(self) -> int:  # noqa: N802
        return 59_000

    def _nothing(self) -> None:
        return None

    getProjectID = getSecurityAccessKey = getSecuritySecretKey = getSecurityToken = _nothing  # noqa: N815


def answered(call: Callable[[], Any]) -> dict[str, Any]:
    """What the platform makes of a call; a reply that is no JSON is an error of its own."""
    try:
        reply = call()
        json.dumps(reply, allow_nan=False, ensure_ascii=False).encode()
    except Exception as error:  # noqa: BLE001 - the platform takes any
        return {"errorType": type(error).__name__, "errorMessage": str(error)}
    return {"reply": reply}


def main() -> None:
    """Load, initialise, serve."""
    sys.path[1:1] = [CODE, LIBRARIES]
    spec = importlib.util.spec_from_file_location("index", os.path.join(CODE, "index.py"))
    assert spec is not None and spec.loader is not None
    index = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(index)
    context = Context()
    print("ANSWER", json.dumps(answered(lambda: index.initializer(context))), flush=True)
    for line in sys.stdin:
        event = json.loads(line)
        print("ANSWER", json.dumps(answered(lambda: index.handler(event, context))), flush=True)  # noqa: B023
    files = {name: sys.modules[name].__file__ for name in SHADOWED if name in sys.modules}
    print("ANSWER", json.dumps({"files": files, "modules": sorted(sys.modules)}), flush=True)


main()
