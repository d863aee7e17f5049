"""TensorRT plans of a bundle: `plans/<folder>/plan.json` and one plan a graph, keyed by all that they depend on.

A plan is tied to TensorRT's flavour and version, the GPU's compute capability, the batch sizes, the picture size and
the ONNX graph with its weights; one whose key does not match is refused with the command that builds it again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.bundle.folder import Bundle
from engine.errors import RequestError

__all__ = [
    "FLAVOURS",
    "FORMAT_VERSION",
    "Plan",
    "PlanFolder",
    "choose_plans",
    "graph_digest",
    "read_plan_folder",
    "read_plans",
]

FLAVOURS = ("rtx", "tensorrt")
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Plan:
    """One graph's plan."""

    file: str
    sha256: str
    size_bytes: int
    graph_sha256: str
    """graph_digest of what it was built from."""


@dataclass(frozen=True)
class PlanFolder:
    """What a plan.json says."""

    folder: Path
    flavour: str
    version: str
    compute_capability: str
    batch_sizes: tuple[int, ...]
    """Pictures; the plan takes every size between the least and the largest, guided or not."""
    picture_size: tuple[int, int]
    """Width and height in pixels."""
    plans: dict[str, Plan]
    """By the name of the ONNX graph."""

    def open(self, graph: str) -> bytes:
        """The bytes of a graph's plan, checked. Raises RequestError."""
        plan = self.plans[graph]
        path = self.folder / plan.file
        try:
            content = path.read_bytes()
        except OSError as error:
            raise _damaged(path, str(error.strerror), "a plan") from error
        digest = hashlib.sha256(content).hexdigest()
        if len(content) != plan.size_bytes or digest != plan.sha256:
            raise _damaged(path, f"{len(content)} bytes, SHA-256 {digest}", f"{plan.size_bytes}, {plan.sha256}")
        return content


def _damaged(path: Path, found: str, expected: str) -> RequestError:
    bundle = path.parent.parent.parent
    fix = f"build it again: python -m exporter tensorrt {bundle}, with the --gpu and --flavour that its folder names"
    return RequestError(f"The plan {path}", found=found, expected=expected, fix=fix)


def graph_digest(bundle: Bundle, files: Iterable[str]) -> str:
    """SHA-256 of the manifest's hashes of a graph and its weights, in their order."""
    hashes = "".join(bundle.manifest.files[name].sha256 for name in files)
    return hashlib.sha256(hashes.encode()).hexdigest()


def read_plans(bundle: Bundle) -> list[PlanFolder]:
    """Every readable plan.json of the bundle; one that is damaged raises RequestError that names it."""
    return [read_plan_folder(path) for path in sorted(bundle.folder.glob("plans/*/plan.json"))]


def read_plan_folder(path: Path) -> PlanFolder:
    """Read one plan.json. Raises RequestError."""
    try:
        raw: Any = json.loads(path.read_text(encoding="utf-8"))
        plans = {
            str(graph): Plan(
                _plain_name(plan["file"]), _sha256(plan["sha256"]), _whole(plan["bytes"]), _sha256(plan["graph_sha256"])
            )
            for graph, plan in raw["plans"].items()
        }
        if raw["format_version"] != FORMAT_VERSION or raw["flavour"] not in FLAVOURS:
            raise ValueError(f"format {raw['format_version']}, flavour {raw['flavour']}")
        return PlanFolder(
            folder=path.parent,
            flavour=raw["flavour"],
            version=str(raw["version"]),
            compute_capability=str(raw["compute_capability"]),
            batch_sizes=tuple(_whole(size) for size in raw["batch_sizes"]) or (_whole(None),),
            picture_size=(_whole(raw["width"]), _whole(raw["height"])),
            plans=plans,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, f"unreadable ({error!r})", "what `python -m exporter tensorrt` writes") from error


def _plain_name(name: Any) -> str:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError(f"the file name {name!r}")
    return name


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 2**48:
        raise ValueError(f"{value!r} in place of a number above 0")
    return value


def _sha256(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError(f"the hash {value!r}")
    return value


def choose_plans(
    bundle: Bundle,
    *,
    flavour: str,
    version: str,
    compute_capability: str,
    graphs: dict[str, tuple[str, ...]],
    batch_size: int | None = None,
    picture_size: tuple[int, int] | None = None,
) -> PlanFolder:
    """The plans that fit this runtime, GPU and request. graphs: each graph's name, and the files that it is made of.

    Raises RequestError that says what differs, and the command that builds what is missing.
    """
    wanted = {"flavour": flavour, "version": version, "compute_capability": compute_capability}
    reasons = []
    for folder in read_plans(bundle):
        differs = [
            f"{name} {getattr(folder, name)}, here {value}"
            for name, value in wanted.items()
            if getattr(folder, name) != value
        ]
        if batch_size is not None and not min(folder.batch_sizes) <= batch_size <= max(folder.batch_sizes):
            differs.append(f"batch sizes {', '.join(map(str, folder.batch_sizes))}, asked {batch_size}")
        if picture_size is not None and picture_size != folder.picture_size:
            differs.append(f"{folder.picture_size} pixels, asked {picture_size}")
        for graph, files in graphs.items():
            if graph not in folder.plans:
                differs.append(f"no plan of {graph}")
            elif folder.plans[graph].graph_sha256 != graph_digest(bundle, files):
                differs.append(f"{graph} has changed since")
        if not differs:
            return folder
        reasons.append(f"{folder.folder.name} ({'; '.join(differs)})")
    gpu = f"sm{compute_capability.replace('.', '')}"
    raise RequestError(
        f"TensorRT plans of the bundle {bundle.manifest.name}",
        found="; ".join(reasons) or "none",
        expected=f"plans of {flavour} {version} for {gpu}",
        fix=f"python -m exporter tensorrt {bundle.folder} --gpu {gpu} --flavour {flavour}"
        + (f" --batch {batch_size}" if batch_size else ""),
    )
