"""Edit each value of the template and of the Terraform module, and list the edits that no check notices.

Each edit is tried in a copy: with cfn-lint and tests/deploy/test_template.py for the template, with
tests/deploy/test_terraform.py and the test of the console's page for the module.

    python deploy/mutate.py [template|terraform] [EVERY]

Prints how many of the edits were noticed, and every other one with its line. EVERY tries each n-th edit only.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
WORKERS = 2
COPIED = ("src", "tests", "deploy", "docs", "events")
FILES = ("pyproject.toml", "template.yaml", "README.md", "Makefile", "LICENSE")
PYTEST = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
_WORDS = (
    "Description",
    "AlarmDescription",
    "ConstraintDescription",
    "comment",
    "description",
    "error_message",
    "title",
)


class Edit(NamedTuple):
    """One value that is changed.

    Attributes:
        path: The file, relative to the project.
        number: The line, from 1.
        line: What stands there.
        mutant: What is put in its place.
    """

    path: str
    number: int
    line: str
    mutant: str


def list_template_edits() -> Iterator[Edit]:
    """Yield an edit for each value outside of descriptions and of the dashboard."""
    lines = (ROOT / "template.yaml").read_text(encoding="utf-8").splitlines()
    in_dashboard = False
    for number, line in enumerate(lines, 1):
        if re.match(r"  \w+:$", line):
            in_dashboard = line == "  Dashboard:"
        match = re.match(r"^(\s*(?:- )?([\w:]+):) (.+)$", line)
        if not match or in_dashboard or match[2] in _WORDS or match[3] in (">-", "|"):
            continue
        yield Edit("template.yaml", number, line, f"{match[1]} {change(match[3])}")


def list_terraform_edits() -> Iterator[Edit]:
    """Yield an edit for each value of the module outside of descriptions."""
    for path in sorted((ROOT / "deploy" / "functiongraph" / "module").glob("*.tf")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            match = re.match(r"^(\s*(\w+)\s+=) (.+)$", line)
            if match and match[2] not in _WORDS and match[3][-1] not in "({[":
                name = path.relative_to(ROOT).as_posix()
                yield Edit(name, number, line, f"{match[1]} {change(match[3])}")


def change(value: str) -> str:
    """Return another value of the same kind."""
    if value in ("true", "false"):
        return "false" if value == "true" else "true"
    if number := re.fullmatch(r"(\d+)(.*)", value):
        return f"{int(number[1]) + 1}{number[2]}"
    if items := re.fullmatch(r"\[(.+), [^,]+\]", value):
        return f"[{items[1]}]"
    if text := re.fullmatch(r'"(.*)"(.*)', value):
        return f'"{text[1]}x"{text[2]}'
    if reference := re.fullmatch(r"!Ref ([\w:]+)", value):
        return "!Ref AWS::Region" if reference[1] != "AWS::Region" else "!Ref AWS::StackName"
    if inside := re.search(r"\b(var|local)\.(\w+)", value):
        return value.replace(inside[0], "var.name" if inside[0] != "var.name" else "var.region", 1)
    return f"{value}x"


def is_noticed(edit: Edit, folder: Path) -> bool:
    """Return whether a check fails with this edit, in a copy of the project."""
    path = folder / edit.path
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    lines[edit.number - 1] = edit.mutant
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    try:
        if edit.path == "template.yaml":
            lint = [str(Path(sys.executable).with_name("cfn-lint")), "template.yaml"]
            commands = [[*PYTEST, "tests/deploy/test_template.py"], lint]
        else:
            tests = ["tests/deploy/test_terraform.py", "tests/docs/test_functiongraph_console.py"]
            commands = [[*PYTEST, *tests]]
        return any(
            subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode
            for command in commands
        )
    finally:
        path.write_text(text, encoding="utf-8")


def main(kind: str = "template", every: str = "1") -> int:
    """Try all edits of a kind."""
    edits = [*(list_template_edits() if kind == "template" else list_terraform_edits())][:: int(every)]
    with tempfile.TemporaryDirectory() as work:
        folders = [Path(work) / str(number) for number in range(WORKERS)]
        for folder in folders:
            for name in COPIED:
                shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            for name in FILES:
                shutil.copy(ROOT / name, folder)

        def try_all(share: int) -> list[Edit]:
            mine = edits[share::WORKERS]
            return [edit for edit in mine if not is_noticed(edit, folders[share])]

        with ThreadPoolExecutor(WORKERS) as pool:
            missed = [edit for edits_of_one in pool.map(try_all, range(WORKERS)) for edit in edits_of_one]
    print(f"{len(edits) - len(missed)} of {len(edits)} edits were noticed.")
    for edit in sorted(missed):
        print(f"{edit.path}:{edit.number}: {edit.line.strip()}  ->  {edit.mutant.strip()}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
