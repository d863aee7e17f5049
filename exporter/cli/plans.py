"""The commands `exporter plans list`, `check` and `remove`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engine.bundle.folder import open_bundle
from engine.bundle.plans import size_words
from engine.command_line import new_command_line
from engine.errors import RequestError
from exporter.cli.options import BundleArgument, JsonOption

if TYPE_CHECKING:
    from exporter.plans.stock import Machine, StoredFolder

__all__ = ["plans"]

plans = new_command_line("List, check and remove the TensorRT plans of a bundle.")


@plans.command("list")
def list_plans(bundle: BundleArgument, as_json: JsonOption = False) -> None:
    """List the folders of plans: key, GPU, TensorRT, batches, size in pixels, and bytes.

    Plans are not read. `check` compares their hashes, too.
    """
    _show(bundle, as_json, thorough=False)


@plans.command()
def check(bundle: BundleArgument, as_json: JsonOption = False) -> None:
    """Say which plans are stale or foreign, and why. Exits 1 if a plan is stale.

    A stale plan is damaged, of another version of TensorRT than the installed one, or of a graph that has changed. A
    foreign plan is for another GPU, or for a TensorRT that is not installed here.
    """
    if any(one.problems for one in _show(bundle, as_json, thorough=True)):
        sys.exit(1)


@plans.command()
def remove(
    bundle: BundleArgument,
    key: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY...]", help="Folders of plans, as `exporter plans list` shows.")
    ] = None,
    stale: Annotated[bool, typer.Option("--stale", help="Remove every stale plan. Foreign plans stay.")] = False,
) -> None:
    """Remove folders of plans by key, or every stale plan, and say how much space that freed."""
    from exporter.plans.stock import machine_here, remove_keys, remove_stale

    if bool(key) == stale:
        raise RequestError(
            "plans remove",
            found="keys and --stale" if stale else "neither a key nor --stale",
            expected="one of them",
            fix="name the folders by key, or add --stale",
        )
    opened = open_bundle(bundle)
    removed = remove_stale(opened, machine_here()) if stale else remove_keys(opened, key or [], machine_here())
    for one in removed:
        what = "removed" if one.whole else f"removed {', '.join(one.graphs) or 'files that belong to no plan'}"
        print(f"{one.key}: {what}, {one.freed_bytes / 1e6:.2f} MB")
    print(f"Freed {sum(one.freed_bytes for one in removed) / 1e6:.2f} MB" if removed else "No plan is stale.")


def _show(bundle: str, as_json: bool, *, thorough: bool) -> list[StoredFolder]:
    """Print the folders of plans of a bundle and return them."""
    from exporter.plans.stock import machine_here, stored_folders

    opened, machine = open_bundle(bundle), machine_here()
    found = stored_folders(opened, machine, thorough=thorough)
    if as_json:
        print(json.dumps({"machine": asdict(machine), "folders": [_as_json(one) for one in found]}))
        return found
    print(f"This machine: {_machine_words(machine)}")
    if not found:
        print(f"{opened.folder} has no plans. `python -m exporter tensorrt` builds them.")
        return found
    table = Table("key", "GPU", "TensorRT", "batches", "pixels", "plans", "MB", "state")
    for one in found:
        key = ["", "", "", ""]
        if one.contents is not None:
            low, high = min(one.contents.batch_sizes), max(one.contents.batch_sizes)
            key = [one.contents.compute_capability, f"{one.contents.flavour} {one.contents.version}"]
            key += [f"{low} to {high}", size_words(one.contents.picture_size)]
        state = "stale" if one.problems else "foreign" if one.foreign else "fits"
        cells = (one.key, *key, str(len(one.plans)), f"{one.size_bytes / 1e6:.2f}", state)
        table.add_row(*map(escape, cells))
    Console().print(table)
    for one in found:
        for problem in one.problems:
            print(f"{one.key} is stale: {problem}")
        if one.foreign:
            print(f"{one.key} is foreign: {one.foreign}")
    return found


def _machine_words(machine: Machine) -> str:
    capability = machine.compute_capability
    gpu = "no GPU" if capability is None else f"a GPU of compute capability {capability}"
    versions = ", ".join(f"{flavour} {version}" for flavour, version in machine.versions.items())
    return f"{gpu}; TensorRT: {versions or 'not installed'}"


def _as_json(stored: StoredFolder) -> dict[str, Any]:
    facts, contents = asdict(replace(stored, contents=None)), stored.contents
    del facts["contents"]
    if contents is not None:
        facts |= contents.key_facts
    return {**facts, "problems": stored.problems}
