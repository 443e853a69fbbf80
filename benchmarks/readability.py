"""Readability of a package in figures, with the standard library alone.

    python benchmarks/readability.py [SRC_DIR] [--trace] [--list]

SRC_DIR is a folder of Python files, ``src/cbr_sync`` where none is given. Another package is measured in the
same way, for comparison: ``python benchmarks/readability.py .venv/lib/python3.12/site-packages/httpx``.

What is counted:

functions
    Every ``def`` and ``async def``: of modules, of classes, and inside other functions.
body lines
    From the first statement after the docstring to the last line, blank lines and comments included. A body
    that is only a docstring has none.
verb-first names
    Functions whose first word, after leading underscores, is in VERBS, except the few of NOUN_PHRASES. Left out
    are dunder methods, properties (of whatever kind) and what pytest calls (``test_*``, fixtures). A name whose
    first word is neither in VERBS nor in OTHER_WORDS is unknown: it counts as not verb-first until somebody has
    read it and put its word into one of the two lists.
complexity
    McCabe's number as radon counts it: 1, and 1 for each if, elif, conditional expression, loop, except, case,
    ``for`` and ``if`` of a comprehension, and each further operand of ``and`` and ``or``. A function inside
    another one counts by itself and adds nothing to the outer one. A lambda belongs to where it stands.
private helpers used once
    Functions of modules and classes that begin with one underscore, whose name is read exactly once in their own
    module, whoever's attribute it is. Short ones have three body lines or less, so that inlining is an option.

``--list`` names the functions and the changes of file behind the figures. ``--trace`` handles one timer event in the FunctionGraph entry
point, with an in-memory API behind it, and counts how often a reader who follows the execution has to turn to
another file of the package: at calls and returns, and at calls alone. The instance is warm, so that imports and
what is done once for each instance are left out. Two events are traced: one of long ago, as ``events/`` has them,
for which the duplicate check has nothing to look for, and one of now. The packages that the measured one imports
must be there.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import io
import itertools
import os
import re
import statistics
import sys
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType

DEFAULT_SOURCE = Path(__file__).resolve().parent.parent / "src" / "cbr_sync"
MAX_COMPLEXITY = 10
SHORT_BODY_LINES = 3

# First words that say what a function does. A word that is a noun as well stands here where most of its names
# use it as a verb ("sync_all", "report_errors"), else in OTHER_WORDS ("request", "line").
VERBS = frozenset(
    """
    abandon accept acknowledge aclose acquire add adopt advance aiter allow answer append apply are aread ask
    assert assign attach authenticate authorize await be begin bind break build cache calculate call cancel
    canonicalize cap change check choose claim classify clean clear close collect combine compare compile
    complete compose compute configure confirm connect consume convert copy count cover create decide declare
    decode decorate decrypt defer define delay delete deliver deny derive describe detect determine diff
    disable discard discover dispatch display distrust divide do download draw drip drop dump emit enable
    encode encrypt end enforce enqueue ensure enter enumerate escape estimate evaluate examine exchange
    exclude execute exit expand expect expire explain export extend extract fail fetch fill filter find finish
    fit flatten flush fold follow force forget format forward freeze generate get give go group guard guess
    hand handle has hash have hide hold ignore import include indent infer init initialize insert inspect
    install interleave interpret invoke is issue iter iterate join judge keep kill know leave limit link list
    listen load locate lock log look lower make mark mask match may measure merge migrate move must name
    normalize note notify obfuscate observe offer omit open order parse pass patch pause peek perform pick
    ping place plan play poll pop post prefer prepare present prevent print probe produce prompt protect prove
    publish pull purge push put quote raise rank read rebuild receive recognize record redact redirect reduce
    refresh refuse register reject release reload remember remove rename render renew repeat replace replay
    reply report require reserve reset resolve respond restore restrict retain retrieve retry return reuse
    reverse revoke rewrite rotate round run save scale scan schedule search see select send serialize serve
    set settle shorten show shrink shut sign simulate skip sleep sort split spoil start stop store stream
    strip style submit subscribe substitute summarize supply suspend swap sync take tally tell test throttle
    tokenize trace track transform translate traverse trim truncate try turn unlink unlock unpack unquote
    unwrap update upload urge use validate verify visit wait walk warn watch wrap write yield
    """.split()  # noqa: SIM905 - a list to read
)
# Their first word is a verb elsewhere, but here it names a thing.
NOUN_PHRASES = frozenset(
    """
    answer call_count end exit_code exit_code_of hash link list_of log_line name order ping_url plan print_of
    queue_region queue_trouble queue_url record redirect_headers redirect_method redirect_stream redirect_url
    reply report report_events report_of run_finished_event run_id_as_uuid schedule start_time stream
    sync_auth_flow sync_param wait_seconds
    """.split()  # noqa: SIM905 - a list to read
)
# First words that are read and found to be no verbs: nouns, participles, adjectives, prepositions and the like.
OTHER_WORDS = frozenset(
    """
    adopted advice again age all app as asked async attempt auth authority available aws bad badness bar base
    batches begun body brokers canonical causes cbr charset choices chosen client clock cloud code console
    content contents cookies copies counted credentials date day decoded defaults demo descriptions details
    digest direct doctor elapsed encoded encoding ended endpoint entry envelope environ error event eventgrid
    failed failure fields findings first form found fragment from gateway groups handed handler head header
    headers headline hmac host html http httpcore iam identity in info initializer instance interrupted items
    jitter json kept key keys known label labels last later latest left legend letter letters line lines
    listing logger logs made main map marks masked matches meaning message messages methods missing mistake
    moment monotonic most multi named names netloc network new newest next nightly no not now num number
    object of ok on once one only options or origin outcome outcomes owed own page pages pairs params password
    path patiently payload percent permission pinged platform pool port primitive priority problem progress
    project projects proxy public queue queued quoted rate raw reason refusal refused rejected remaining
    remedy renewed replaced replacer reports request requests result results rfc3339 rights route row rows
    running same scheduler schema scheme scope second seconds secret selector served serves service session
    settings settled shape share shortened showcase showing shown signature signed simulator since sinks size
    skipped slot smn sns so source span spoke sqs state states status still strike styled subject suffix
    summary sums syncs tag text that there throttled ticks time timeout timer title tls to token told
    transport trigger trust unicode unnamed unreadable unsigned unwrapped url urlparse userinfo username
    usually utc validated value values vault vaults version webhook what when where which whole why window
    with without words work worst written wrong x yes
    """.split()  # noqa: SIM905 - a list to read
)

TIMER_VAULT = "8d3a8b28-a697-41e2-8d5d-903669f8a02d"
TIMER_ENVIRON = {
    "CBR_SYNC_REGION": "cn-north-4",
    "CBR_SYNC_PROJECT_ID": "project",
    "CBR_SYNC_VAULTS": TIMER_VAULT,
    "HUAWEICLOUD_SDK_AK": "made-up-access-key",
    "HUAWEICLOUD_SDK_SK": "made-up-secret-key",
    "RUNTIME_TIMEOUT": "60",
}

TIMER_EVENT = {"version": "v1.0", "trigger_type": "TIMER", "trigger_name": "nightly", "user_event": ""}
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Function:
    """One function as it is written.

    Attributes:
        file: Path inside the measured folder.
        node: The definition.
        is_local: Whether it stands inside another function.
        reads: How often its name is read in its own module.
    """

    file: Path
    node: FunctionNode
    is_local: bool
    reads: int

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def first_word(self) -> str:
        """The first word in lower case, of names_like_this and namesLikeThis; empty where there is no letter."""
        match = re.match(r"[A-Z]?[a-z0-9]+|[A-Z]+", self.name.lstrip("_"))
        return match[0].lower() if match else ""

    @property
    def has_judged_name(self) -> bool:
        """Whether the author chose the name and may choose a verb."""
        if re.fullmatch(r"__\w+__", self.name) or self.name.startswith("test_"):
            return False
        decorators = {ast.unparse(decorator) for decorator in self.node.decorator_list}
        return not any(
            re.search(r"(^|[._])property$|\.(setter|getter|deleter)$|^pytest\.fixture", text)
            for text in decorators
        )

    @property
    def is_verb_first(self) -> bool:
        return self.first_word in VERBS and self.name.lstrip("_") not in NOUN_PHRASES

    @property
    def is_unknown(self) -> bool:
        return self.first_word not in VERBS | OTHER_WORDS

    @property
    def is_helper_used_once(self) -> bool:
        is_private = self.name.startswith("_") and not self.name.startswith("__")
        return is_private and not self.is_local and self.reads == 1

    @property
    def body_lines(self) -> int:
        body = self.node.body
        if ast.get_docstring(self.node, clean=False) is not None:
            body = body[1:]
        return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0

    @property
    def complexity(self) -> int:
        return 1 + sum(map(count_branches, self.node.body))

    def __str__(self) -> str:
        return f"{self.file}:{self.node.lineno} {self.name}"


def count_branches(node: ast.AST) -> int:
    """Count what adds to McCabe's number in a node, without the functions and classes inside it."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return 0
        case ast.BoolOp():
            here = len(node.values) - 1
        case ast.comprehension():
            here = 1 + len(node.ifs)
        case ast.If() | ast.IfExp() | ast.For() | ast.AsyncFor() | ast.While() | ast.ExceptHandler():
            here = 1
        case ast.match_case():
            here = 1
        case _:
            here = 0
    return here + sum(map(count_branches, ast.iter_child_nodes(node)))


def read_functions(source: Path) -> list[Function]:
    """Read every function of every Python file below a folder.

    Raises:
        SystemExit: There is no Python file.
    """
    paths = sorted(source.rglob("*.py"))
    if not paths:
        raise SystemExit(
            f"{source}: no Python files found; name the folder of a package, such as src/cbr_sync"
        )
    return [function for path in paths for function in _read_module(path, path.relative_to(source))]


def _read_module(path: Path, file: Path) -> Iterator[Function]:
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    reads: Counter[str] = Counter()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()) | ast.Attribute(attr=name):
                reads[name] += 1
    for node, is_local in find_functions(tree, is_local=False):
        yield Function(file, node, is_local, reads[node.name])


def find_functions(parent: ast.AST, *, is_local: bool) -> Iterator[tuple[FunctionNode, bool]]:
    """Find the functions below a node, each with whether it stands inside another function."""
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, FunctionNode):
            yield node, is_local
        yield from find_functions(node, is_local=is_local or isinstance(node, FunctionNode))


def print_figures(functions: list[Function], *, is_listing: bool) -> None:
    """Print the figures of all functions, and the functions behind each where that is wanted."""
    lines = sorted(function.body_lines for function in functions)
    judged = [function for function in functions if function.has_judged_name]
    verb_first = [function for function in judged if function.is_verb_first]
    helpers = [function for function in functions if function.is_helper_used_once]
    groups = {
        f"complexity over {MAX_COMPLEXITY}": [f for f in functions if f.complexity > MAX_COMPLEXITY],
        "private helpers used once": helpers,
        f"... of {SHORT_BODY_LINES} body lines or less": [
            f for f in helpers if f.body_lines <= SHORT_BODY_LINES
        ],
        "unknown first words": [f for f in judged if f.is_unknown],
    }
    print_figure("functions", len(functions))
    print_figure("body lines, median", statistics.median(lines))
    print_figure("body lines, 90th percentile", lines[int(0.9 * len(lines))])
    share = 100 * len(verb_first) / max(1, len(judged))
    print_figure("verb-first names", f"{share:.0f} % ({len(verb_first)} of {len(judged)})")
    for title, group in groups.items():
        print_figure(title, len(group))
        if is_listing:
            print(*(f"    {function}" for function in group), sep="\n")
    if is_listing:
        rest = sorted({function.name for function in judged if not function.is_verb_first})
        print("not verb-first:", *rest)


def print_figure(title: str, figure: object) -> None:
    """Print one line of the table."""
    print(f"{title:<44}{figure:>20}" if isinstance(figure, str) else f"{title:<44}{figure:>20g}")


class Context:
    """A context of FunctionGraph, with a minute left."""

    def getRequestID(self) -> str:  # noqa: N802 - the platform's name, as are the others
        return "0f5e3a52-3d5c-4c3a-8a71-6f3f7a3b0001"

    def getRemainingTimeInMilliSeconds(self) -> int:  # noqa: N802
        return 60_000

    def getUserData(self, key: str) -> str | None:  # noqa: N802
        return TIMER_ENVIRON.get(key)

    def _return_none(self) -> None:
        return None

    getProjectID = getSecurityAccessKey = getSecuritySecretKey = getSecurityToken = _return_none  # noqa: N815


class Recorder:
    """The files of a package in the order in which each thread of an execution is in them.

    Attributes:
        entered: For each thread, the file of each call.
        visited: For each thread, the file of each call, and of each caller that is returned to.
    """

    def __init__(self, package: Path) -> None:
        self._prefix = f"{package}{os.sep}"
        self.entered: defaultdict[int, list[str]] = defaultdict(list)
        self.visited: defaultdict[int, list[str]] = defaultdict(list)

    def __enter__(self) -> Self:
        threading.setprofile(self._record)
        sys.setprofile(self._record)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def _record(self, frame: FrameType, kind: str, _: object) -> None:
        file, thread = frame.f_code.co_filename, threading.get_ident()
        if not file.startswith(self._prefix):
            return
        if kind == "call":
            self.entered[thread].append(file)
            self.visited[thread].append(file)
        elif kind == "return" and frame.f_back and frame.f_back.f_code.co_filename.startswith(self._prefix):
            self.visited[thread].append(frame.f_back.f_code.co_filename)


def trace_timer_event(package: Path, time: datetime) -> Recorder:
    """Handle one timer event in a warm instance, and record the files that this leads through.

    Args:
        package: Folder of the package, named ``cbr_sync``.
        time: Time of the event.

    Raises:
        SystemExit: The event was not served.
    """
    sys.path.insert(0, str(package.parent))
    adapter = _make_adapter()
    event = {**TIMER_EVENT, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ")}
    with contextlib.redirect_stdout(io.StringIO()) as log:
        adapter(event, Context())
        with Recorder(package) as recorder:
            reply = adapter(event, Context())
    if reply.get("counts") != {"accepted": 1}:
        raise SystemExit(f"the timer event was not served: {reply}; its log:\n{log.getvalue()}")
    return recorder


def _make_adapter() -> Any:
    """Make an instance behind the entry point, whose constructor changed with the code."""
    import httpx

    module = importlib.import_module("cbr_sync.functiongraph")
    adapter = getattr(module, "FunctionGraphAdapter", None) or module.FunctionGraphDoor
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=_answer(request.url.path)))
    if hasattr(module, "Seams"):
        return adapter(TIMER_ENVIRON, module.Seams(transport=transport))
    return adapter(TIMER_ENVIRON, transport=transport)


def _answer(path: str) -> dict[str, Any]:
    if path.endswith("/checkpoints/sync"):
        return {"sync": {"operation_log_id": "b6e1f3a2-0c1d-4e5f-8a9b-000000000000", "vault_id": TIMER_VAULT}}
    return {"operation_logs": [], "count": 0}


def list_changes(files_by_thread: Mapping[int, list[str]]) -> list[tuple[str, str]]:
    """List each change of file, from the one file to the other, thread by thread."""
    pairs = itertools.chain.from_iterable(map(itertools.pairwise, files_by_thread.values()))
    return [(before, after) for before, after in pairs if before != after]


def print_trace(package: Path, title: str, time: datetime, *, is_listing: bool) -> None:
    """Print how often a timer event of this time changes the file."""
    recorder = trace_timer_event(package, time)
    changes = list_changes(recorder.visited)
    print_figure(f"changes of file, timer event {title}", len(changes))
    print_figure("... at calls alone", len(list_changes(recorder.entered)))
    if is_listing:
        for (before, after), count in Counter(changes).most_common():
            print(f"{count:>5} {Path(before).relative_to(package)} -> {Path(after).relative_to(package)}")


def main(arguments: list[str] | None = None) -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="Readability of a package in figures.")
    parser.add_argument("source", nargs="?", type=Path, default=DEFAULT_SOURCE, help="folder of Python files")
    parser.add_argument(
        "--trace", action="store_true", help="also count the changes of file of a timer event"
    )
    parser.add_argument("--list", action="store_true", help="also name the functions behind the figures")
    options = parser.parse_args(arguments)
    source = options.source.resolve()
    print_figures(read_functions(source), is_listing=options.list)
    if options.trace:
        for title, time in (("of long ago", LONG_AGO), ("of now", datetime.now(UTC))):
            print_trace(source, title, time, is_listing=options.list)


if __name__ == "__main__":
    main()
