"""Ours and the peer's, side by side: fresh processes in turns, medians, ratios. ``make bench`` runs it.

    python benchmarks/bench.py WORK_FOLDER [FIGURE ...]

Writes RESULTS.md and results.png beside itself, unless only some figures are asked for.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "deploy"))

import bundle

SIDES = HERE / "sides"
PEER_REQUIREMENTS = HERE / "requirements-peer.txt"
ROUNDS = 17
VAULT = "8d3a8b28-a697-41e2-8d5d-903669f8a02d"


@dataclass(frozen=True)
class Row:
    """One line of the table; ratio and goal are of ours to the peer, or to what ``against`` says."""

    figure: str
    ours: str
    against: str
    ratio: float
    goal: float | None
    floor: str = ""

    @property
    def verdict(self) -> str:
        """The goal, and whether it is met."""
        if self.goal is None:
            return ""
        return f"≤ {self.goal:.2f}, {'met' if self.ratio <= self.goal else 'missed'}"


class Bench:
    """Folders with what each side imports, and an endpoint to call."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.python = bundle.find_python() or sys.executable
        self.ours = work / "ours"
        self.peer = work / "peer"
        self.peer_plain = work / "peer-without-pyc"
        self._make_trees()
        self.certificate, self.authorities = self._make_certificates()
        # What the built function has in a folder of its own, with the endpoint's authority added.
        self.authorities_folder = work / "authorities"
        shutil.rmtree(self.authorities_folder, ignore_errors=True)
        bundle.split_authorities(self.authorities, self.authorities_folder)

    def _make_trees(self) -> None:
        machine = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
        shutil.rmtree(self.ours, ignore_errors=True)
        bundle.make_tree(self.ours, machine)
        if not self.peer.exists():
            command = [self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            command += ["--no-deps", "--no-compile", "--require-hashes", f"--target={self.peer_plain}"]
            command += [f"--requirement={PEER_REQUIREMENTS}"]
            shutil.rmtree(self.peer_plain, ignore_errors=True)
            subprocess.run(command, check=True)
            shutil.copytree(self.peer_plain, self.peer)
            compile_all = [self.python, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
            # A package holds templates that are no Python.
            subprocess.run([*compile_all, str(self.peer)], check=False, stdout=subprocess.DEVNULL)

    def _make_certificates(self) -> tuple[Path, Path]:
        """The endpoint's certificate, and the usual authorities with its own among them, for both sides."""
        import trustme

        authority = trustme.CA()
        certificate, authorities = self.work / "endpoint.pem", self.work / "authorities.pem"
        authority.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(
            str(certificate)
        )
        usual = (self.ours / "certifi" / "cacert.pem").read_bytes()
        authorities.write_bytes(usual + authority.cert_pem.bytes())
        return certificate, authorities

    @contextmanager
    def endpoint(self, seconds: float = 0.0) -> Iterator[str]:
        """Its URL."""
        command = [self.python, str(HERE / "endpoint.py"), str(self.certificate), str(seconds)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and process.stdin is not None
            yield f"https://127.0.0.1:{process.stdout.readline().strip()}"
            process.stdin.close()

    def environ_of_ours(self, url: str, **more: str) -> dict[str, str]:
        """The variables of our function as it is built: it reads authorities from a folder, one by one."""
        environ = self.environ(self.ours, url)
        del environ["SSL_CERT_FILE"]
        return {**environ, "SSL_CERT_DIR": str(self.authorities_folder), **more}

    def environ(self, tree: Path, url: str) -> dict[str, str]:
        """The variables of a function, on either side; the queue has another origin than the API."""
        queue = url.replace("127.0.0.1", "localhost")
        return {
            "PYTHONPATH": f"{tree}{os.pathsep}{SIDES}",
            "PYTHONDONTWRITEBYTECODE": "1",  # the platforms mount the code read-only
            "CBR_SYNC_REGION": "cn-north-4",
            "CBR_SYNC_ENDPOINT": url,
            "CBR_SYNC_PROJECT_ID": "0123456789abcdef0123456789abcdef",
            "CBR_SYNC_VAULTS": VAULT,
            "CBR_SYNC_SQS_QUEUE_URL": f"{queue}/123456789012/results",
            "HUAWEICLOUD_SDK_AK": "made-up-access-key",
            "HUAWEICLOUD_SDK_SK": "made-up-secret-key",
            "AWS_ENDPOINT_URL_SQS": queue,
            "AWS_ACCESS_KEY_ID": "made-up",
            "AWS_SECRET_ACCESS_KEY": "made-up",
            "AWS_REGION": "eu-west-1",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_LAMBDA_FUNCTION_NAME": "cbr-sync",
            "SSL_CERT_FILE": str(self.authorities),
            "REQUESTS_CA_BUNDLE": str(self.authorities),
            "AWS_CA_BUNDLE": str(self.authorities),
        }

    def cold(self, script: str, until: str, environ: dict[str, str]) -> tuple[float, float]:
        """CPU and wall milliseconds of a fresh process. Without ``site``: a machine's .pth files are its own."""
        begun = time.perf_counter()
        nowhere = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
        argv = [self.python, "-S", str(SIDES / script), until]
        pid = os.posix_spawn(self.python, argv, environ, file_actions=nowhere)
        _, status, used = os.wait4(pid, 0)
        wall = time.perf_counter() - begun
        if status:
            raise SystemExit(f"{script} failed; its error stands above")
        return (used.ru_utime + used.ru_stime) * 1000, wall * 1000

    def result(self, script: str, environ: dict[str, str], *arguments: object) -> dict[str, float]:
        """What a script measured of itself."""
        command = [self.python, "-S", str(SIDES / script), *map(str, arguments)]
        done = subprocess.run(command, env=environ, check=True, capture_output=True, text=True)
        (line,) = (line for line in done.stdout.splitlines() if line.startswith("RESULT "))
        measured: dict[str, float] = json.loads(line.removeprefix("RESULT "))
        return measured


def in_turns(runs: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The median of each, after a first round that does not count; the order turns round by round."""
    values: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            value = runs[name]()
            if number:
                values[name].append(value)
    return {name: statistics.median(measured) for name, measured in values.items()}


def cold(bench: Bench) -> Iterator[Row]:
    """A fresh process that handles a schedule's event, down to the outcome in SQS.

    Whole processes, as they are usually measured; then the same without the interpreter's own end, which frees
    what a side has imported, and which no platform waits for.
    """
    cpu, wall = _cold(bench, "end")
    floor = f"{cpu['floor']:.0f} ms"
    yield _cold_row("cold, CPU, peer with .pyc", cpu, "peer", 0.50, floor)
    yield _cold_row("cold, CPU, peer without .pyc", cpu, "plain", 0.25, floor)
    yield _cold_row("cold, CPU, against the given libraries imported", cpu, "given", 1.05, floor)
    yield _cold_row("cold, wall, peer with .pyc", wall, "peer", None, f"{wall['floor']:.0f} ms")
    cpu, _ = _cold(bench, "outcome")
    floor = f"{cpu['floor']:.0f} ms"
    yield _cold_row("the same without the process's end: CPU, peer with .pyc", cpu, "peer", None, floor)
    yield _cold_row("the same without the process's end: CPU, peer without .pyc", cpu, "plain", None, floor)
    yield _cold_row("the same without the process's end: CPU, given libraries", cpu, "given", None, floor)


def _cold_row(figure: str, medians: dict[str, float], other: str, goal: float | None, floor: str) -> Row:
    ours, theirs = medians["ours"], medians[other]
    return Row(figure, f"{ours:.0f} ms", f"{theirs:.0f} ms", ours / theirs, goal, floor)


def _cold(bench: Bench, until: str) -> tuple[dict[str, float], dict[str, float]]:
    """The medians of CPU and wall milliseconds of each side."""
    walls: dict[str, list[float]] = {}
    with bench.endpoint() as url:
        usual = bench.environ(bench.ours, url)
        sides = {
            "ours": ("cold_ours.py", bench.environ_of_ours(url)),
            "given": ("cold_given.py", usual),
            "peer": ("cold_peer.py", bench.environ(bench.peer, url)),
            "plain": ("cold_peer.py", bench.environ(bench.peer_plain, url)),
            "floor": ("cold_floor.py", usual),
        }

        def run(name: str) -> float:
            script, environ = sides[name]
            cpu, wall = bench.cold(script, until, environ)
            walls.setdefault(name, []).append(wall)
            return cpu

        cpu = in_turns({name: partial(run, name) for name in sides}, ROUNDS)
    return cpu, {name: statistics.median(times[1:]) for name, times in walls.items()}


def _compared(bench: Bench, figure: str, name: str, count: int, goal: float) -> Iterator[Row]:
    with bench.endpoint() as url:
        ours, peer = bench.environ_of_ours(url), bench.environ(bench.peer, url)
        medians = in_turns(
            {
                "ours": lambda: bench.result(f"{name}_ours.py", ours, count)["cpu_us"],
                "peer": lambda: bench.result(f"{name}_peer.py", peer, count)["cpu_us"],
            },
            ROUNDS,
        )
    yield Row(
        figure,
        f"{medians['ours']:.0f} µs",
        f"{medians['peer']:.0f} µs",
        medians["ours"] / medians["peer"],
        goal,
    )


def tick(bench: Bench) -> Iterator[Row]:
    """An idle tick, cold and up to its reply, then warm; each against our own sync."""
    with bench.endpoint() as url:
        environ, usual = bench.environ_of_ours(url), bench.environ(bench.ours, url)
        cold_runs = {
            "tick": lambda: bench.cold("cold_tick.py", "outcome", environ)[0],
            "sync": lambda: bench.cold("cold_ours.py", "outcome", environ)[0],
            "given": lambda: bench.cold("cold_given.py", "outcome", usual)[0],
        }
        cpu = in_turns(cold_runs, ROUNDS)
        warm_runs = {
            "tick": lambda: bench.result("warm_tick.py", environ, 300)["cpu_us"],
            "sync": lambda: bench.result("warm_ours.py", environ, 300)["cpu_us"],
        }
        warm_cpu = in_turns(warm_runs, ROUNDS)
    for other, label in (("sync", "against a sync"), ("given", "against the given libraries imported")):
        figure = f"idle tick, cold, up to its reply, CPU, {label}"
        yield Row(figure, f"{cpu['tick']:.0f} ms", f"{cpu[other]:.0f} ms", cpu["tick"] / cpu[other], None)
    ratio = warm_cpu["tick"] / warm_cpu["sync"]
    yield Row(
        "idle tick, warm, CPU, against a sync",
        f"{warm_cpu['tick']:.0f} µs",
        f"{warm_cpu['sync']:.0f} µs",
        ratio,
        None,
    )


def warm(bench: Bench) -> Iterator[Row]:
    """One more event in the same process."""
    yield from _compared(bench, "warm: one more event, CPU", "warm", 300, 0.60)


def call(bench: Bench) -> Iterator[Row]:
    """One call of the API inside."""
    yield from _compared(bench, "one API call inside, CPU", "call", 400, 0.58)


def sign(bench: Bench) -> Iterator[Row]:
    """One signature."""
    yield from _compared(bench, "signing one request, CPU", "sign", 3000, 0.5)


def stranger(bench: Bench) -> Iterator[Row]:
    """Refusing a stranger's webhook: with 64 KB of signatures, against one with a single wrong signature."""
    environ = bench.environ_of_ours("https://127.0.0.1")
    runs = {
        kind: lambda kind=kind: bench.result("stranger_ours.py", environ, 2000, kind)["cpu_us"]
        for kind in ("ordinary", "expensive")
    }
    medians = in_turns(runs, 9)
    figure = "refusing a webhook with 1,400 signatures, CPU before it is authenticated"
    ratio = medians["expensive"] / medians["ordinary"]
    yield Row(figure, f"{medians['expensive']:.0f} µs", f"{medians['ordinary']:.0f} µs with one", ratio, 3.0)


def fanout(bench: Bench) -> Iterator[Row]:
    """A thousand vaults in one event; no machine can be faster than the API's answers."""
    vaults, seconds = 1000, 0.1
    with bench.endpoint(seconds) as url:
        for workers in (16, 50):
            environ = bench.environ_of_ours(url, CBR_SYNC_CONCURRENCY=str(workers))
            runs = [bench.result("fanout_ours.py", environ, vaults) for _ in range(3)]
            wall = statistics.median(run["wall_s"] for run in runs)
            least = vaults * seconds / workers
            figure = f"{vaults:,} vaults in one event, API answers in 100 ms, {workers} workers, wall"
            yield Row(figure, f"{wall:.2f} s", f"{least:.2f} s at least", wall / least, 1.15)


def queue(bench: Bench) -> Iterator[Row]:
    """What a message costs as batches grow; each to be no dearer than in the batches before."""
    with bench.endpoint() as url:
        environ = bench.environ_of_ours(url)
        before = None
        for size, total in ((1, 3_000), (10, 20_000), (1000, 100_000)):
            runs = [bench.result("queue_ours.py", environ, total // 3, size) for _ in range(3)]
            cost = statistics.median(run["cpu_us"] for run in runs)
            rate = statistics.median(run["per_s"] for run in runs)
            if before is not None:
                figure = f"queue, {total:,} messages in batches of {size:,}: CPU a message, against smaller batches"
                yield Row(figure, f"{cost:.0f} µs ({rate:.0f}/s)", f"{before:.0f} µs", cost / before, 1.0)
            before = cost


def memory(bench: Bench) -> Iterator[Row]:
    """Peak RSS, cold and after 10,000 vaults."""
    with bench.endpoint() as url:
        runs = [bench.result("memory_ours.py", bench.environ_of_ours(url)) for _ in range(3)]
    cold_mb = statistics.median(run["cold_mb"] for run in runs)
    after_mb = statistics.median(run["after_mb"] for run in runs)
    yield Row("peak RSS, cold with one vault", f"{cold_mb:.1f} MB", "42 MB", cold_mb / 42, 1.0)
    yield Row(
        "peak RSS after 10,000 vaults",
        f"{after_mb:.1f} MB",
        f"{cold_mb:.1f} MB cold",
        after_mb / cold_mb,
        1.3,
    )


FIGURES = {
    figure.__name__: figure for figure in (cold, tick, warm, call, sign, stranger, fanout, queue, memory)
}


def capacity(bench: Bench) -> float:
    """Requests per second that the endpoint answers to one raw socket: far more than any figure asks of it."""
    body = b'{"sync":{"vault_id":"%s","auto_trigger":true}}' % VAULT.encode()
    head = b"POST /v3/p/checkpoints/sync HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    with bench.endpoint() as url:
        context = ssl.create_default_context(cafile=bench.authorities)
        address = urlsplit(url)
        with (
            socket.create_connection((address.hostname or "", address.port or 0)) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as tls,
        ):
            count, begun = 3000, time.perf_counter()
            for _ in range(count):
                tls.sendall(head + body)
                tls.recv(4096)
            return count / (time.perf_counter() - begun)


def main(arguments: Sequence[str]) -> int:
    """Measure, print, write."""
    work, *asked = arguments
    if unknown := sorted(set(asked) - FIGURES.keys()):
        print(f"no such figure: {', '.join(unknown)}; there are {', '.join(FIGURES)}", file=sys.stderr)
        return 2
    bench = Bench(Path(work).resolve())
    rows = []
    for name in asked or FIGURES:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        rows += FIGURES[name](bench)
    text = report(rows, bench)
    print(text)
    if not asked:
        (HERE / "RESULTS.md").write_text(text, encoding="utf-8")
        plot(rows)
    return 0


def report(rows: Sequence[Row], bench: Bench) -> str:
    """The table, with what it was measured on."""
    lines = [
        "# Results of `make bench`",
        "",
        "Ours against the peer: the same job on the vendor's SDK, boto3 and Powertools Logger. Ratios count; the",
        "figures behind them are this machine's. Fresh processes in turns, medians; CPU is user + system.",
        "",
        "| figure | ours | peer | ratio | goal | floor |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        cells = (row.figure, row.ours, row.against, f"{row.ratio:.2f}", row.verdict, row.floor)
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *(f"- {line}" for line in circumstances(bench)), ""]
    return "\n".join(lines)


def circumstances(bench: Bench) -> Iterator[str]:
    """Machine and versions."""
    version = subprocess.run(
        [bench.python, "--version"], check=True, capture_output=True, text=True
    ).stdout.strip()
    yield f"{version} on {platform.system()}, {platform.machine()}, {os.cpu_count()} processors"
    yield f"ours: {versions(bundle.REQUIREMENTS, 'httpx', 'pydantic', 'aws-lambda-powertools')}"
    yield f"peer: {versions(PEER_REQUIREMENTS, 'huaweicloudsdkcbr', 'boto3', 'aws-lambda-powertools')}"
    yield (
        "both over TLS with the same authorities; neither side writes bytecode; floor: http.client with the least "
        "of a signer"
    )
    yield f"the endpoint answers {capacity(bench):,.0f} requests a second to a raw socket that waits for each"


def versions(requirements: Path, *names: str) -> str:
    """The pins of these."""
    pinned = bundle.pins(requirements)
    return ", ".join(f"{name} {pinned[name]}" for name in names)


def plot(rows: Sequence[Row]) -> None:
    """Each ratio as a bar beside its goal."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    shown = list(reversed(rows))
    figure, axes = plt.subplots(figsize=(9, 0.4 * len(shown) + 1.3))
    places = range(len(shown))
    colours = ["#c1482f" if row.verdict.endswith("missed") else "#2a7f62" for row in shown]
    axes.barh(places, [row.ratio for row in shown], color=colours, height=0.62)
    with_goal = [(row.goal, place) for place, row in zip(places, shown, strict=True) if row.goal is not None]
    axes.scatter(*zip(*with_goal, strict=True), marker="|", s=240, color="#111111", label="goal", zorder=3)
    for place, row in zip(places, shown, strict=True):
        axes.text(0.02, place, f"{row.ratio:.2f}", va="center", fontsize=8, color="white", weight="bold")
    axes.set_yticks(places, [row.figure for row in shown], fontsize=8)
    axes.axvline(1, color="#888888", linewidth=0.8, zorder=0)
    axes.set_xlim(0, max(1.35, *(row.ratio + 0.05 for row in shown)))
    axes.set_xlabel("ours / what it is compared with: less is better", fontsize=9)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(HERE / "results.png", dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
