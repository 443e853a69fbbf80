"""Builds what is deployed, with the standard library alone.

``make build`` writes the zips; ``sam build`` makes the same content as a folder::

    python3 deploy/bundle.py [--strict] zips dist
    python3 deploy/bundle.py [--strict] tree FOLDER arm64

With ``--strict`` it fails where something is missing on this machine that cold starts would pay for.

The same input gives the same bytes: pinned wheels, checked by hash; sorted names; one fixed time.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "src" / "requirements.txt"
RUNTIME = "3.12"
WHEELS_OF = {"arm64": "manylinux2014_aarch64", "x86_64": "manylinux2014_x86_64"}
ZIPS = {
    "cbr-sync-lambda-arm64.zip": "arm64",
    "cbr-sync-lambda-x86_64.zip": "x86_64",
    "cbr-sync-functiongraph-x86_64.zip": "x86_64",
}
# For people; the test of the zips compares this with what the entry points import.
LEFT_OUT = ("__main__.py", "cli", "local.py", "simulator")
# What pip writes about the machine it ran on, and commands that nobody calls there.
_PIPS_OWN = ("bin", "*.dist-info/RECORD", "*.dist-info/INSTALLER", "*.dist-info/REQUESTED")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n", re.DOTALL)
# The oldest time that a zip can hold.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


def find_python() -> str | None:
    """An interpreter of the runtime's version, on the PATH or among pyenv's; None where there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    name = f"python{RUNTIME}"
    candidates = [sys.executable, name, *sorted(map(str, pyenv.glob(f"versions/{RUNTIME}.*/bin/{name}")))]
    return next(filter(_is_runtime, candidates), None)


def _is_runtime(python: str) -> bool:
    """Whether it starts (pyenv's shims exist for versions that are not chosen), and is of that version."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        answer = subprocess.run([python, "-c", code], check=False, capture_output=True, text=True)
    except OSError:
        return False
    return answer.stdout.strip() == RUNTIME


def pins(requirements: Path) -> dict[str, str]:
    """The version of each package that a requirements file pins."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", requirements.read_text(encoding="utf-8"), re.MULTILINE))


def make_tree(target: Path, architecture: str, *, strict: bool = False) -> None:
    """Fill a folder with what is deployed: our code, its packages, and bytecode for both.

    Args:
        target: The folder.
        architecture: arm64 or x86_64.
        strict: Fail without openssl, or without a Python of the runtime's version.

    Raises:
        SystemExit: In strict mode, one of these is missing.
        subprocess.CalledProcessError: a package cannot be had, or something does not compile.
        RuntimeError: pip left out what is pinned.
    """
    _install(target, WHEELS_OF[architecture])
    for pattern in _PIPS_OWN:
        for path in target.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copy(ROOT / "src" / "index.py", target)
    shutil.copy(ROOT / "LICENSE", target)
    ignore = shutil.ignore_patterns("__pycache__", *LEFT_OUT)
    shutil.copytree(ROOT / "src" / "cbr_sync", target / "cbr_sync", ignore=ignore)
    split_authorities(target / "certifi" / "cacert.pem", target / "cbr_sync" / "authorities", strict=strict)
    _compile(target, strict=strict)


def _install(target: Path, wheels: str) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--require-hashes", "--no-deps", "--no-compile", "--only-binary=:all:"]
    command += ["--implementation=cp", f"--python-version={RUNTIME}", f"--platform={wheels}"]
    subprocess.run([*command, f"--target={target}", f"--requirement={REQUIREMENTS}"], check=True)
    # pip judges a requirement's marker by the interpreter that it runs on, not by the one it installs for.
    pinned = pins(REQUIREMENTS).items()
    folders = (f"{name.replace('-', '_')}-{version}.dist-info" for name, version in pinned)
    if missing := [folder for folder in folders if not (target / folder).is_dir()]:
        raise RuntimeError(f"pip did not install {', '.join(missing)}; see the markers in {REQUIREMENTS}")


def _warn(message: str, *, strict: bool) -> None:
    """Say what is missing, and fail in strict mode."""
    if strict:
        sys.exit(message)
    print(message, file=sys.stderr)


def split_authorities(bundled: Path, target: Path, *, strict: bool = False) -> None:
    """Put each certificate of a file into one of its own, named as OpenSSL looks for it.

    So that a cold start reads the one it needs, not all; without openssl here it reads all.
    """
    if shutil.which("openssl") is None:
        _warn("No openssl found: each cold start will read every certificate authority.", strict=strict)
        return
    target.mkdir()
    for certificate in _CERTIFICATE.findall(bundled.read_text(encoding="ascii")):
        name = _hash_subject(certificate)
        number = len(list(target.glob(f"{name}.*")))
        (target / f"{name}.{number}").write_text(certificate, encoding="ascii")


@functools.cache  # every tree has the same certificates, and openssl takes its time to start
def _hash_subject(certificate: str) -> str:
    command = ["openssl", "x509", "-noout", "-subject_hash"]
    answer = subprocess.run(command, check=True, input=certificate, capture_output=True, text=True)
    return answer.stdout.strip()


def _compile(target: Path, *, strict: bool) -> None:
    """Bake in bytecode that is never checked: the platforms mount the code read-only, so they cannot.

    Without it each cold start compiles every module again.
    """
    python = find_python()
    if python is None:
        _warn(
            f"No Python {RUNTIME} found, so no bytecode is baked in, and cold starts take about twice as "
            f"long. Put python{RUNTIME} on the PATH and build again.",
            strict=strict,
        )
        return
    command = [python, "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash"]
    # Sets of constants are stored in the order of their hashes.
    environ = {**os.environ, "PYTHONHASHSEED": "0"}
    subprocess.run([*command, "-s", str(target), str(target)], check=True, env=environ)


def write_zip(tree: Path, path: Path) -> None:
    """Zip a folder's content, the same bytes for the same content."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(file.relative_to(tree).as_posix() for file in tree.rglob("*") if file.is_file()):
            entry = zipfile.ZipInfo(name, _ZIP_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, wherever it is built
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, (tree / name).read_bytes())


def write_zips(folder: Path, *, strict: bool = False) -> None:
    """Write every zip into a folder, and print their sizes.

    Raises:
        as ``make_tree`` does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        trees = {architecture: Path(scratch, architecture) for architecture in WHEELS_OF}
        for architecture, tree in trees.items():
            make_tree(tree, architecture, strict=strict)
        print(f"{'zip':<50} {'zipped':>9} {'unzipped':>9} {'files':>6}  sha256")
        for name, architecture in ZIPS.items():
            write_zip(trees[architecture], folder / name)
            print(_described(folder / name))


def _described(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    unzipped = sum(entry.file_size for entry in entries)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return (
        f"{path!s:<50} {path.stat().st_size / 1e6:>6.1f} MB {unzipped / 1e6:>6.1f} MB {len(entries):>6}  "
        f"{digest[:12]}"
    )


def main(arguments: list[str]) -> str | None:
    """Do as the command line says; returns what is wrong with it."""
    strict = arguments[:1] == ["--strict"]
    match arguments[1:] if strict else arguments:
        case ["zips", folder]:
            write_zips(Path(folder), strict=strict)
        case ["tree", folder, architecture] if architecture in WHEELS_OF:
            make_tree(Path(folder), architecture, strict=strict)
        case _:
            return f"found {arguments}; say: [--strict] zips FOLDER, or: tree FOLDER {'|'.join(WHEELS_OF)}"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
