"""The command ``cbr-sync``, also as ``python -m cbr_sync``."""

from __future__ import annotations

import os
import signal
import sys

try:
    from cbr_sync.cli.main import app
    from cbr_sync.cli.options import ExitCode
except ModuleNotFoundError as error:
    if (error.name or "").startswith("cbr_sync"):
        raise
    sys.exit(f"cbr-sync's command line needs {error.name}: pip install 'cbr-sync[cli]'")

_SHOW_CURSOR = b"\x1b[?25h"


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGINT, _exit_interrupted)
    app()


def _exit_interrupted(_signal: int, _frame: object) -> None:
    # At once, without waiting for threads: an API that does not answer must not keep Ctrl-C from working.
    if sys.stderr.isatty():
        os.write(2, _SHOW_CURSOR)
    os.write(2, b"\ncbr-sync: interrupted; syncs that were accepted continue in the cloud\n")
    os._exit(ExitCode.INTERRUPTED)


if __name__ == "__main__":
    main()
