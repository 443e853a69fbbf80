"""The page on FunctionGraph by the console has the values of the Terraform module."""

from __future__ import annotations

import json
import re

import hcl2

from cbr_sync.settings import Settings
from support.imports import ROOT

PAGE = (ROOT / "docs" / "functiongraph-console.md").read_text(encoding="utf-8")
MODULE = ROOT / "deploy" / "functiongraph" / "module"
VARIABLES = {
    name.strip('"'): body
    for block in hcl2.loads((MODULE / "variables.tf").read_text(encoding="utf-8"))["variable"]
    for name, body in block.items()
}
MAIN = hcl2.loads((MODULE / "main.tf").read_text(encoding="utf-8"))
FUNCTIONS = {
    name.strip('"'): body
    for block in MAIN["resource"]
    for kind, named in block.items()
    if kind.strip('"') == "huaweicloud_fgs_function"
    for name, body in named.items()
}
LOCALS = (MODULE / "locals.tf").read_text(encoding="utf-8")


def find_value(field: str) -> str:
    """Return the first value in code beside a field."""
    match = re.search(rf"\| {re.escape(field)} \| `?([^`|\n]+)`?", PAGE)
    assert match, field
    return match[1].strip()


def test_the_functions_values_are_those_of_the_module() -> None:
    """Runtime, entry points, time, memory and instances."""
    this = FUNCTIONS["this"]
    assert find_value("Runtime").replace(" ", "") == this["runtime"].strip('"')
    assert find_value("Handler") == this["handler"].strip('"')
    assert f"function `{this['initializer_handler'].strip(chr(34))}`" in PAGE
    assert f"timeout `{this['initializer_timeout']}`" in PAGE
    assert int(find_value("Execution Timeout (s)")) == VARIABLES["timeout"]["default"]
    assert int(find_value("Memory (MB)")) == VARIABLES["memory_size"]["default"]
    assert int(find_value("Max. Instances per Function")) == VARIABLES["max_instances"]["default"]


def test_the_second_functions_values_are_those_of_the_module() -> None:
    """It waits for an hour, and what waits for it for a day."""
    later = FUNCTIONS["later"]
    assert f"Execution Timeout `{later['timeout']}`" in PAGE
    assert f"Max. Instances per Function `{later['max_instance_num'].strip(chr(34))}`" in PAGE
    ages = {
        body["max_async_event_age_in_seconds"]
        for block in MAIN["resource"]
        for kind, named in block.items()
        if "async_invoke" in kind
        for body in named.values()
    }
    assert {int(age) for age in re.findall(r"Max\. Validity Period(?: \(s\) \|)? `(\d+)`", PAGE)} == ages


def test_the_timers_are_those_of_the_module() -> None:
    """Their names, their hours and what they ask for."""
    rows = re.findall(r"\| `(\w+)` \| `CRON_TZ=\S+ ([^`]+)` \| `?([^`|]+)`? \|", PAGE)
    timers = {name: (schedule, text) for name, schedule, text in rows}
    assert timers["nightly"][0] == VARIABLES["schedule"]["default"].strip('"')
    assert timers["morning"][0] == VARIABLES["report_schedule"]["default"].strip('"')
    age = VARIABLES["max_age_hours"]["default"]
    assert json.loads(timers["morning"][1]) == {"report": {"max_age_hours": age}}
    minutes = VARIABLES["follow_minutes"]["default"]
    assert timers["follow"][0] == f"0 */{minutes} * * * *"
    assert json.loads(timers["follow"][1]) == {"follow": {"every_minutes": minutes, "max_age_hours": age}}


def test_every_variable_is_one_that_the_module_sets() -> None:
    """And a setting of the function."""
    named = set(re.findall(r"`(CBR_SYNC_[A-Z_]+)`", PAGE))
    assert named <= set(re.findall(r"(CBR_SYNC_[A-Z_]+)", LOCALS))
    assert named <= {field.alias for field in Settings.model_fields.values()}


def test_the_policy_is_the_file_that_terraform_reads() -> None:
    """One list of permissions for both ways."""
    assert "../deploy/functiongraph/policy.json" in PAGE
    assert 'jsondecode(file("${path.module}/../policy.json"))' in LOCALS
