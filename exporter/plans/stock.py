"""The plans that a bundle has: which of them still fit, and their removal."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.backends.tensorrt import MODULES
from engine.bundle.folder import Bundle
from engine.bundle.plans import PlanFolder, all_graphs, graph_digest, read_plan_folder
from engine.errors import RequestError
from engine.files import write_json
from engine.locks import locked_folder
from exporter.plans.builder import REPORT, gpu_here

__all__ = [
    "Machine",
    "Removed",
    "StoredFolder",
    "StoredPlan",
    "machine_here",
    "remove_keys",
    "remove_stale",
    "stored_folders",
]

RECORD = "plan.json"


@dataclass(frozen=True)
class Machine:
    """What plans need here: the GPU's compute capability, or None without a GPU, and the version of each flavour."""

    compute_capability: str | None
    versions: dict[str, str]


@dataclass(frozen=True)
class StoredPlan:
    """A plan and why it is stale: nothing can use it any more. None for a plan that still fits its bundle."""

    graph: str
    file: str
    size_bytes: int
    stale: str | None


@dataclass(frozen=True)
class StoredFolder:
    """A folder of plans. Its name is its key."""

    key: str
    size_bytes: int
    contents: PlanFolder | None
    """What plan.json states, or None if it is missing or damaged."""
    plans: tuple[StoredPlan, ...]
    leftovers: tuple[str, ...]
    """Files that belong to no plan, for example of a build that was cut off."""
    stale: str | None
    """Why nothing here can ever use the folder again."""
    foreign: str | None
    """Why this machine cannot use the folder, although another one may."""

    @property
    def removable(self) -> tuple[str, ...]:
        """The files that `remove_stale` removes from a folder that is not stale itself."""
        stale = (plan for plan in self.plans if plan.stale)
        return (*(name for plan in stale for name in (plan.file, f"{plan.graph}{REPORT}")), *self.leftovers)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is stale, in words."""
        of_plans = (f"{plan.graph}: {plan.stale}" for plan in self.plans if plan.stale)
        return (*filter(None, [self.stale]), *of_plans, *(f"{name} belongs to no plan" for name in self.leftovers))


@dataclass(frozen=True)
class Removed:
    """What was removed from a folder: all of it, or some plans."""

    key: str
    whole: bool
    graphs: tuple[str, ...]
    freed_bytes: int


def machine_here() -> Machine:
    """Return the GPU and the versions of TensorRT of this machine."""
    versions = {}
    for flavour, module in MODULES.items():
        try:
            versions[flavour] = str(importlib.import_module(module).__version__)
        except Exception:  # noqa: S112 - bindings without their libraries fail in many ways
            continue
    return Machine(gpu_here(), versions)


def stored_folders(bundle: Bundle, machine: Machine, *, thorough: bool) -> list[StoredFolder]:
    """Return the folders of plans of a bundle, by key.

    thorough: also compare the hash of every plan, which reads the whole file.
    """
    root = bundle.folder / "plans"
    found = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    return [_stored(bundle, path, machine, thorough) for path in found]


def _stored(bundle: Bundle, path: Path, machine: Machine, thorough: bool) -> StoredFolder:
    files = {file.name: file.stat().st_size for file in sorted(path.iterdir()) if file.is_file()}
    try:
        contents = read_plan_folder(path / RECORD)
    except RequestError as error:
        why = "no plan.json: the build was cut off" if RECORD not in files else f"plan.json is {error.found}"
        return StoredFolder(path.name, sum(files.values()), None, (), (), why, None)
    wanted = {name: graph_digest(bundle, parts) for name, parts in all_graphs(bundle).items()}
    plans = tuple(
        StoredPlan(graph, plan.file, files.get(plan.file, 0), _why_stale(wanted, contents, graph, thorough))
        for graph, plan in contents.plans.items()
    )
    known = {RECORD, *(name for plan in plans for name in (plan.file, f"{plan.graph}{REPORT}"))}
    installed = machine.versions.get(contents.flavour)
    stale, foreign = None, None
    if installed is not None and installed != contents.version:
        stale = f"built by {contents.flavour} {contents.version}, and {installed} is installed"
    elif installed is None:
        foreign = f"needs {MODULES[contents.flavour]}, which is not installed"
    if machine.compute_capability not in (None, contents.compute_capability):
        here = f"this machine has {machine.compute_capability}"
        foreign = foreign or f"built for compute capability {contents.compute_capability}, {here}"
    leftovers = tuple(name for name in files if name not in known)
    return StoredFolder(path.name, sum(files.values()), contents, plans, leftovers, stale, foreign)


def _why_stale(wanted: Mapping[str, str], folder: PlanFolder, graph: str, thorough: bool) -> str | None:
    """Return why nothing can use a plan of a folder any more, or None. wanted: the digests of the bundle's graphs."""
    if graph not in wanted:
        return "the bundle has no such graph any more"
    if folder.plans[graph].graph_sha256 != wanted[graph]:
        return "the graph or its weights have changed since the plan was built"
    path = folder.folder / folder.plans[graph].file
    if not path.is_file():
        return "the plan is missing"
    if path.stat().st_size != folder.plans[graph].size_bytes:
        return f"{path.stat().st_size} bytes instead of {folder.plans[graph].size_bytes}"
    if thorough:
        try:
            folder.open(graph)
        except RequestError:
            return "the plan has another hash than plan.json states"
    return None


def remove_keys(bundle: Bundle, keys: Sequence[str], machine: Machine) -> list[Removed]:
    """Remove whole folders of plans by key. Raises RequestError before anything is removed if a key is unknown."""
    stored = {one.key: one for one in stored_folders(bundle, machine, thorough=False)}
    for key in keys:
        if key not in stored:
            raise RequestError(
                f"The plans {key}",
                found="no such folder of plans",
                expected=f"one of {', '.join(stored)}" if stored else "a bundle with plans",
                fix=f"see `python -m exporter plans list {bundle.folder}`",
            )
    return [_remove_folder(bundle, stored[key]) for key in dict.fromkeys(keys)]


def remove_stale(bundle: Bundle, machine: Machine) -> list[Removed]:
    """Remove stale folders, and in the others stale plans and leftovers. Foreign plans stay."""
    removed = []
    for one in stored_folders(bundle, machine, thorough=True):
        if one.stale or (one.plans and all(plan.stale for plan in one.plans)):
            removed.append(_remove_folder(bundle, one))
        elif one.removable:
            removed.append(_remove_plans(bundle, one))
    return removed


def _remove_folder(bundle: Bundle, stored: StoredFolder) -> Removed:
    folder = bundle.folder / "plans" / stored.key
    with locked_folder(folder):
        # The record goes first: an engine never sees a plan that is half removed.
        (folder / RECORD).unlink(missing_ok=True)
        shutil.rmtree(folder)
    return Removed(stored.key, True, tuple(plan.graph for plan in stored.plans), stored.size_bytes)


def _remove_plans(bundle: Bundle, stored: StoredFolder) -> Removed:
    folder = bundle.folder / "plans" / stored.key
    graphs = tuple(plan.graph for plan in stored.plans if plan.stale)
    freed = 0
    with locked_folder(folder):
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        for graph in graphs:
            record["plans"].pop(graph, None)
        write_json(folder / RECORD, record)
        for path in (folder / name for name in stored.removable):
            freed += path.stat().st_size if path.exists() else 0
            path.unlink(missing_ok=True)
    return Removed(stored.key, False, graphs, freed)
