"""The command ``vaults``: list the hybrid vaults."""

from __future__ import annotations

from cbr_sync.cli import console
from cbr_sync.cli.options import (
    AsJson,
    ObjectType,
    Simulate,
    Tags,
    VaultName,
    build_selector,
    exit_on_error,
    open_environ,
    open_run,
)
from cbr_sync.models import VaultSelector


def list_vaults(
    name: VaultName = None,
    object_type: ObjectType = None,
    tag: Tags = None,
    simulate: Simulate = False,
    as_json: AsJson = False,
) -> None:
    """List the hybrid vaults with the IDs that the other commands take.

    Example: cbr-sync vaults --object-type vmware --tag env=prod
    """
    with (
        open_environ(simulate=simulate) as environ,
        exit_on_error(as_json=as_json),
        open_run(environ) as run,
    ):
        selector = VaultSelector.model_validate(build_selector(name, object_type, tag))
        found = run.services.find_vaults(selector)
    if as_json:
        console.print_json([vault.model_dump(mode="json") for vault in found])
    else:
        console.show_vaults(found)
