"""Which modules of the package a file imports, read from its source."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SRC = ROOT / "src"
PACKAGE = SRC / "cbr_sync"
MODULES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    """Return the module's name inside the package, as in ``cli.console``."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def find_imports(module: str) -> set[str]:
    """Return the modules and packages of ours that a module imports, at run time or for its types.

    Args:
        module: Name inside the package, as in ``sinks.sqs`` or ``sinks.__init__``.
    """
    path = PACKAGE / (module.replace(".", "/") + ".py")
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("cbr_sync"):
            continue
        folder = (node.module or "").removeprefix("cbr_sync").removeprefix(".")
        names = [f"{folder}.{alias.name}".removeprefix(".") for alias in node.names]
        below = {name for name in names if (PACKAGE / (name.replace(".", "/") + ".py")).is_file()}
        found |= below or ({folder} if folder else set())
        parents = folder.split(".") if below else folder.split(".")[:-1]
        found |= {".".join([*parents[: n + 1], "__init__"]) for n in range(len(parents)) if parents[0]}
    return found
