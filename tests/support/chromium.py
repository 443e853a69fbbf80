"""A browser without a window, for looking at pages: Debian's chromium or one of its kin."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
# Longer than any page takes, so a browser that hangs fails its test and not the machine.
PATIENCE_SECONDS = 60
LIGHT, DARK = "--blink-settings=preferredColorScheme=1", "--blink-settings=preferredColorScheme=0"
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--hide-scrollbars", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def find_chromium() -> str | None:
    """The path of the first browser of these names that is here."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@dataclass(frozen=True, slots=True)
class Chromium:
    """Shows pages that are given as text, each time as a browser that was never used before."""

    path: str

    def measure(self, page: str, script: str, *, widths: Sequence[int], scheme: str = LIGHT) -> list[Any]:
        """What a script's ``measure(window)`` returns for the page in a window of each width.

        The windows are frames of another page: a headless browser's own is never narrower than 500 pixels.
        """
        frames = "".join(
            f'<iframe width="{width}" height="900" style="border:0" srcdoc="{escape(page)}"></iframe>'
            for width in widths
        )
        collect = """
            addEventListener("load", () => {
                const measures = Array.from(frames, measure);
                document.body.textContent = JSON.stringify(measures);
            });
        """
        dom = self._run(f"<body>{frames}<script>{script}{collect}</script>", "--dump-dom", scheme).decode()
        body = re.search(r"<body>(.*)</body>", dom, re.DOTALL)
        assert body is not None, dom
        measures: list[Any] = json.loads(unescape(body[1]))
        return measures

    def pdf(self, page: str, *, scheme: str = LIGHT) -> bytes:
        """The page as it is printed."""
        with TemporaryDirectory(prefix="chromium-") as folder:
            printed = Path(folder, "page.pdf")
            self._run(page, f"--print-to-pdf={printed}", "--no-pdf-header-footer", scheme)
            return printed.read_bytes()

    def _run(self, page: str, *flags: str) -> bytes:
        with TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as folder:
            shown = Path(folder, "page.html")
            shown.write_text(page, encoding="utf-8")
            command = [self.path, *_FLAGS, f"--user-data-dir={folder}/profile", *flags, shown.as_uri()]
            return subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_SECONDS).stdout
