"""``cbr-sync``, also as ``python -m cbr_sync``: the command line, for people."""

from __future__ import annotations

import os
import signal
import sys

try:
    from cbr_sync.cli.main import app
    from cbr_sync.cli.options import INTERRUPTED
except ModuleNotFoundError as missing:
    if (missing.name or "").startswith("cbr_sync"):
        raise
    sys.exit(f"cbr-sync's command line needs {missing.name}: pip install 'cbr-sync[cli]'")

_SHOW_CURSOR = b"\x1b[?25h"


def main() -> None:
    """Run the command line; a mistake of ours or of the settings ends in a line on stderr, not in a trace."""
    signal.signal(signal.SIGINT, _interrupted)
    app()


def _interrupted(_signal: int, _frame: object) -> None:
    """Ctrl-C ends at once, whatever threads wait for; what has been started goes on in the cloud."""
    if sys.stderr.isatty():
        os.write(2, _SHOW_CURSOR)
    os.write(2, b"\ncbr-sync: interrupted; a sync that was accepted goes on in the cloud\n")
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
