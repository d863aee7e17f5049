"""A TensorRT plan in numbers, from its folder's plan.json and the report that the builder wrote beside it.

Only a GPU can open a plan. The report is of the parsed network, before TensorRT fuses layers.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.bundle.plans import PlanFolder, read_plan_folder
from engine.errors import RequestError
from exporter.inspection.graph_facts import LayerKind, TensorFacts
from exporter.plans.builder import REPORT

__all__ = ["PlanFacts", "plan_facts"]

DTYPES = {"float": "float32", "half": "float16"}
"""ONNX's names of TensorRT's types, where they differ."""


@dataclass(frozen=True)
class PlanFacts:
    """A plan: its key, inputs and outputs, layers by kind, and the shapes that each input may have."""

    file: str
    graph: str
    folder: str
    flavour: str
    version: str
    compute_capability: str
    batch_sizes: tuple[int, ...]
    picture_size: tuple[int, int]
    size_bytes: int
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    layers: tuple[LayerKind, ...]
    profile: dict[str, tuple[tuple[int, ...], ...]]
    """Smallest, usual and largest shape of each input with a free axis."""
    build_seconds: float
    gpu_layers: int | None
    """Layers after TensorRT's fusions. None if the plan was built without a GPU."""


def plan_facts(path: Path) -> PlanFacts:
    """Return the facts of a plan. Raises RequestError if the plan differs from plan.json or has no report."""
    folder = read_plan_folder(path.parent / "plan.json")
    graph = next((graph for graph, plan in folder.plans.items() if plan.file == path.name), None)
    if graph is None:
        raise RequestError(
            f"The plan {path}",
            found="no entry in plan.json",
            expected=f"one of {', '.join(plan.file for plan in folder.plans.values()) or 'no plans'}",
            fix="build the plan with `python -m exporter tensorrt`",
        )
    folder.open(graph)
    return _facts(folder, graph, _report(path.with_name(f"{graph}{REPORT}")))


def _report(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise RequestError(
            f"The report {path}",
            found=f"unreadable ({error})",
            expected="what `python -m exporter tensorrt` writes beside a plan",
            fix="remove the plan with `python -m exporter plans remove`, and build it again",
        ) from error


def _facts(folder: PlanFolder, graph: str, report: dict[str, Any]) -> PlanFacts:
    plan, engine = folder.plans[graph], report["engine_layers"]
    return PlanFacts(
        file=plan.file,
        graph=graph,
        folder=folder.folder.name,
        **folder.key_facts,
        size_bytes=plan.size_bytes,
        inputs=_tensors(report["inputs"]),
        outputs=_tensors(report["outputs"]),
        layers=_layers(report["layers"]),
        profile={name: tuple(map(tuple, shapes)) for name, shapes in report["profile"].items()},
        build_seconds=report["seconds"],
        gpu_layers=len(engine["Layers"]) if isinstance(engine, dict) else None,
    )


def _tensors(found: list[dict[str, Any]]) -> tuple[TensorFacts, ...]:
    return tuple(
        TensorFacts(one["name"], _dtype(one["dtype"]), tuple("free" if side == -1 else side for side in one["shape"]))
        for one in found
    )


def _layers(found: list[dict[str, Any]]) -> tuple[LayerKind, ...]:
    counts = Counter(layer["type"].lower() for layer in found)
    dtypes: dict[str, set[str]] = defaultdict(set)
    for layer in found:
        dtypes[layer["type"].lower()].update(map(_dtype, layer["dtypes"]))
    return tuple(LayerKind(kind, count, tuple(sorted(dtypes[kind]))) for kind, count in counts.most_common())


def _dtype(name: str) -> str:
    return DTYPES.get(name, name)
