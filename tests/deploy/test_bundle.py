"""What is shipped: complete, lean, compiled, and the same bytes for the same input."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import bundle
from support.imports import find_imports

NEVER = ("boto3", "botocore", "typer", "rich", "click", "pytest", "tests", "huaweicloudsdkcore", "bin", "pip")


def list_names(path: Path) -> list[str]:
    """List the files in a zip."""
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


@pytest.fixture(params=sorted(bundle.ZIPS))
def built_zip(request: pytest.FixtureRequest, zips: Path) -> Path:
    """Each zip."""
    return zips / str(request.param)


def find_reachable(entry_points: set[str]) -> set[str]:
    """Return the modules that these import, directly or not."""
    seen: set[str] = set()
    while entry_points:
        seen |= entry_points
        entry_points = set[str]().union(*(find_imports(module) for module in entry_points)) - seen
    return seen


def test_exactly_the_modules_that_run_are_in(built_zip: Path) -> None:
    """The modules that the entry points import; the simulator and the command line are for people."""
    ours = {name for name in list_names(built_zip) if name.startswith("cbr_sync/") and name.endswith(".py")}
    expected = find_reachable({"aws_lambda", "functiongraph"}) | {"__init__"}
    assert ours == {f"cbr_sync/{module.replace('.', '/')}.py" for module in expected}
    assert {"index.py", "LICENSE"} <= set(list_names(built_zip))


def test_nothing_for_people_or_of_the_build_machine_is_in(built_zip: Path) -> None:
    """No test, no command line, no SDK; no script with the path of an interpreter, no list of pip's."""
    names = list_names(built_zip)
    assert {name.partition("/")[0] for name in names}.isdisjoint(NEVER)
    assert not [name for name in names if name.endswith(("/RECORD", "/INSTALLER", "/direct_url.json"))]


def test_what_is_pinned_is_in_for_the_right_machine(built_zip: Path) -> None:
    """Every package in its version; compiled parts for Linux, Python 3.12 and this architecture."""
    names = list_names(built_zip)
    for name, version in bundle.pins(bundle.REQUIREMENTS).items():
        assert f"{name.replace('-', '_')}-{version}.dist-info/METADATA" in names
    machine = {"arm64": "aarch64", "x86_64": "x86_64"}[bundle.ZIPS[built_zip.name]]
    assert [name for name in names if name.endswith(".so")] == [
        f"pydantic_core/_pydantic_core.cpython-312-{machine}-linux-gnu.so"
    ]


def test_the_authorities_lie_one_by_one(built_zip: Path) -> None:
    """So that a cold start reads only the one it needs."""
    names = [name for name in list_names(built_zip) if name.startswith("cbr_sync/authorities/")]
    assert len(names) > 100
    assert all(re.fullmatch(r"cbr_sync/authorities/[0-9a-f]{8}\.\d", name) for name in names)


def test_each_zip_is_small(built_zip: Path) -> None:
    """It is uploaded and, at each cold start, fetched."""
    assert built_zip.stat().st_size < 15_000_000


@pytest.mark.usefixtures("runtime_python")
def test_every_module_has_bytecode_that_is_never_checked(built_zip: Path) -> None:
    """Flags 0b01: by hash, unchecked (PEP 552); it names no folder of the build machine."""
    with zipfile.ZipFile(built_zip) as archive:
        names = set(archive.namelist())
        for name in sorted(name for name in names if name.endswith(".py")):
            folder, _, file = name.rpartition("/")
            compiled = f"{folder}/__pycache__/{file[:-3]}.cpython-312.pyc".lstrip("/")
            assert compiled in names
            content = archive.read(compiled)
            assert struct.unpack("<I", content[4:8]) == (0b01,)
            assert str(bundle.ROOT).encode() not in content
            assert b"/tmp/" not in content or b"/tmp/" in archive.read(name)


def test_the_same_input_gives_the_same_bytes(zips: Path, tmp_path: Path) -> None:
    """Built again in another folder by another process, for one architecture."""
    tree, again = tmp_path / "tree", tmp_path / "again.zip"
    command = [sys.executable, str(bundle.ROOT / "deploy" / "bundle.py"), "tree", str(tree), "x86_64"]
    subprocess.run(command, check=True, capture_output=True)
    bundle.write_zip(tree, again)
    assert again.read_bytes() == (zips / "cbr-sync-lambda-x86_64.zip").read_bytes()
    described = bundle._described(again)  # noqa: SLF001 - what `make build` prints of each zip
    assert re.search(r"again.zip +\d\.\d MB +\d+\.\d MB +\d+  [0-9a-f]{12}", described)


def test_a_wrong_command_names_the_right_ones() -> None:
    """No traceback for a typo."""
    assert bundle.main(["tree", "x", "riscv"]) == (
        "found ['tree', 'x', 'riscv']; say: [--strict] zips FOLDER, or: tree FOLDER arm64|x86_64"
    )


def test_without_the_runtimes_python_it_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It builds all the same, and says what that costs."""
    monkeypatch.setattr(bundle, "RUNTIME", "3.99")
    assert bundle.find_python() is None
    (tmp_path / "module.py").write_text("x = 1\n", encoding="utf-8")
    bundle._compile(tmp_path, strict=False)  # noqa: SLF001 - the whole build would fetch its packages
    assert "No Python 3.99 found" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.pyc"))
    with pytest.raises(SystemExit, match=r"No Python 3\.99 found"):
        bundle._compile(tmp_path, strict=True)  # noqa: SLF001
