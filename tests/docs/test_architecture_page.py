"""The architecture page is true, and what its recipes say cannot be forgotten fails here."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from cbr_sync.cli.doctor.sink_checks import SINK_CHECKS
from cbr_sync.models import Kind, Trigger
from cbr_sync.settings import Settings
from cbr_sync.sinks.registry import ALL_SINKS, SinkEntry
from cbr_sync.triggers.base import Envelope, Message
from cbr_sync.triggers.envelopes import ENVELOPES, find_envelope
from cbr_sync.triggers.payload import Request, parse_request
from support.imports import MODULES, PACKAGE, ROOT
from support.sample_events import EVENTS
from support.world import VMWARE, World

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
TESTS = ROOT / "tests"
# What sinks share, and the log, which is always on.
NOT_IN_THE_REGISTRY = {"__init__", "base", "log", "messages", "registry"}
FOR_PEOPLE = {"flood", "people", "texts_en", "texts_zh", "wording"}
REQUEST_KINDS = {kind.__name__ for kind in get_args(Request)}

every_sink = pytest.mark.parametrize("sink", ALL_SINKS, ids=[sink.name for sink in ALL_SINKS])


def find_section(page: str, heading: str) -> str:
    """Return what stands under a heading, up to the next one of its level or above."""
    level = heading.partition(" ")[0]
    match = re.search(rf"(?ms)^{re.escape(heading)}$(.*?)(?=^#{{1,{len(level)}}} |\Z)", page)
    assert match, heading
    return match[1]


def find_block(section: str) -> str:
    """Return the first fenced block."""
    return section.split("```")[1]


def test_every_module_has_its_line() -> None:
    """And every line its module. A package's own file holds no code, so it needs none."""
    paths = {path.relative_to(PACKAGE).as_posix() for path in MODULES}
    lines = re.findall(r"^(\S+\.py) +\S", find_block(find_section(PAGE, "## Modules")), re.MULTILINE)
    assert sorted(lines) == sorted(path for path in paths if not path.endswith("/__init__.py"))


def test_every_file_in_the_text_exists() -> None:
    """In the package or in the project; a name with a place to fill in is an example."""
    for name in set(re.findall(r"`([a-z_/-]+\.(?:py|md|toml|yaml|tf|json))`", PAGE)) - {"__init__.py"}:
        if "pager" not in name:
            assert (ROOT / name).is_file() or (PACKAGE / name).is_file(), name


def test_the_layers_are_those_of_the_import_contract() -> None:
    """What the contract allows for and does not exist yet is left out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["id"] == "layers")
    stated = find_block(find_section(PAGE, "## Imports")).strip().split("\n")
    assert stated == [drop_missing_modules(layer) for layer in layers]


def drop_missing_modules(layer: str) -> str:
    """Return a layer without the modules in brackets, which need not exist."""
    return re.sub(r" : \((\w+)\)", lambda match: f" : {match[1]}" if is_module(match[1]) else "", layer)


def is_module(name: str) -> bool:
    """Return whether the package has such a module."""
    return (PACKAGE / f"{name}.py").is_file()


def test_every_sink_module_is_in_the_registry() -> None:
    """Under its own name."""
    modules = {path.stem for path in (PACKAGE / "sinks").glob("*.py")}
    assert modules - NOT_IN_THE_REGISTRY - FOR_PEOPLE == {sink.name for sink in ALL_SINKS}


def test_every_sink_has_a_doctor_check() -> None:
    """And every check its sink."""
    assert sorted(SINK_CHECKS) == sorted(sink.name for sink in ALL_SINKS)


@every_sink
def test_every_sink_is_documented(sink: SinkEntry[Any]) -> None:
    """Its setting has a row in the table of settings, and it is among the places where messages go."""
    rows = [line for line in find_section(README, "## Settings").splitlines() if line.startswith("| `")]
    assert [row for row in rows if f"`{sink.setting}`" in row.split("|")[1]]
    items = re.findall(r"(?ms)^- .*?(?=^- |^$)", find_section(README, "## What is emitted"))
    assert [item for item in items if f"`{sink.setting}`" in item]


@every_sink
def test_every_sink_is_switched_on_by_its_setting(sink: SinkEntry[Any]) -> None:
    """Under its variable's name, and by no other."""
    (name,) = (name for name, field in Settings.model_fields.items() if field.alias == sink.setting)
    settings = Settings.model_construct().model_copy(update={name: "set"})
    assert [one.name for one in ALL_SINKS if one.is_on(settings)] == [sink.name]


@every_sink
def test_every_sink_has_tests(sink: SinkEntry[Any]) -> None:
    """Some test in the folder of the sinks' tests sets its variable, or imports it."""
    sources = [path.read_text(encoding="utf-8") for path in (TESTS / "sinks").glob("test_*.py")]
    assert [one for one in sources if sink.setting in one or f"cbr_sync.sinks.{sink.name} import" in one]


def find_sampled_envelopes() -> set[Envelope]:
    """Return the envelopes that the sample events are recognised as."""
    events = [json.loads(path.read_text(encoding="utf-8")) for path in EVENTS.iterdir()]
    return {find_envelope(event)[0] for event in events}


SERVED = [envelope for envelope in ENVELOPES if envelope.is_served]


@pytest.mark.parametrize("envelope", SERVED, ids=[envelope.name for envelope in SERVED])
def test_every_envelope_has_a_sample_event(envelope: Envelope) -> None:
    """One that no envelope before it takes."""
    assert envelope in find_sampled_envelopes()


def find_request_matches() -> Iterator[ast.Match]:
    """Yield every ``match`` in the package that has a case for a kind of request."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Match) and REQUEST_KINDS.intersection(list_classes(node)):
                yield node


def list_classes(node: ast.Match) -> list[str]:
    """List the classes that the cases are for."""
    patterns = [pattern for case in node.cases for pattern in ast.walk(case.pattern)]
    classes = [pattern.cls for pattern in patterns if isinstance(pattern, ast.MatchClass)]
    return [name.id for name in classes if isinstance(name, ast.Name)]


def test_a_kind_of_request_that_nothing_serves_fails_mypy() -> None:
    """Every match over requests ends in assert_never, and there is one at least."""
    matches = list(find_request_matches())
    assert matches
    for match in matches:
        assert ast.unparse(match.cases[-1]).startswith("case _:\n    assert_never("), ast.unparse(match)


def test_every_kind_of_request_is_documented() -> None:
    """Each payload in the README is read, and together they make every kind."""
    section = find_section(README, "## What an event may ask for")
    settings = Settings.load({**World().environ, "CBR_SYNC_VAULTS": VMWARE})
    trigger = Trigger(kind=Kind.TIMER, id="id", time=None)
    made = set()
    for row in re.findall(r"^\| `(\{.*?\})` \|", section, re.MULTILINE):
        payload = row.replace("{…}", "{}").replace("…", VMWARE)
        made.add(type(parse_request(Message(trigger, payload), settings)).__name__)
    assert made == REQUEST_KINDS
