"""Looks for known vulnerabilities in what is deployed; says so where the data cannot be had.

    python deploy/audit.py

Runs where pip-audit is installed. Exit code 1: something is vulnerable, or could not be judged where the rest
could; on GitHub, also if nothing could.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from bundle import REQUIREMENTS

_SHOWN = 2000


def audited() -> list[dict[str, Any]] | None:
    """What pip-audit reports of each package; None where it cannot reach its data.

    Source: pip-audit's README, "--format json": ``vulns`` for what was judged, ``skip_reason`` for the rest.
    """
    command = [sys.executable, "-m", "pip_audit", "--format=json", "--progress-spinner=off"]
    command += ["--disable-pip", "--require-hashes", f"--requirement={REQUIREMENTS}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    try:
        dependencies: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        print(done.stderr[-_SHOWN:], file=sys.stderr)
        return None
    return dependencies


def verdict(dependencies: list[dict[str, Any]] | None, *, must_judge: bool) -> tuple[int, str]:
    """The exit code, and what to print."""
    judged = [package for package in dependencies or [] if "vulns" in package]
    if dependencies is None or not judged:
        # Offline or behind a mirror that is expected; where the data can be reached, the check is broken.
        return must_judge, "pip-audit: its data cannot be had here, so nothing was judged"
    bad = [
        f"{package['name']} {package['version']}: {found['id']}, mended in {', '.join(found['fix_versions'])}"
        for package in judged
        for found in package["vulns"]
    ]
    bad += [
        f"{package['name']}: {package['skip_reason']}" for package in dependencies if package not in judged
    ]
    return (1 if bad else 0), "\n".join(
        bad or [f"pip-audit: {len(judged)} packages, none known as vulnerable"]
    )


if __name__ == "__main__":
    code, text = verdict(audited(), must_judge="GITHUB_ACTIONS" in os.environ)
    print(text)
    sys.exit(code)
