"""TensorRT plans of a bundle: `plans/<folder>/plan.json` and one plan per graph.

A plan depends on the flavour and version of TensorRT, the compute capability of the GPU, the batch sizes, the picture
size, and the ONNX graph with its weights. The engine refuses a plan that does not match, and names the command that
builds it again.
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
    "all_graphs",
    "choose_plans",
    "graph_digest",
    "read_plan_folder",
    "read_plans",
    "size_words",
    "wanted_graphs",
]

FLAVOURS = ("rtx", "tensorrt")
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Plan:
    """The plan of one graph."""

    file: str
    sha256: str
    size_bytes: int
    graph_sha256: str
    """graph_digest of the graph and weights that the plan was built from."""


@dataclass(frozen=True)
class PlanFolder:
    """A folder of plans, as its plan.json describes it."""

    folder: Path
    flavour: str
    version: str
    compute_capability: str
    batch_sizes: tuple[int, ...]
    """Pictures per batch. The plan takes every size from the smallest to the largest, with or without guidance."""
    picture_size: tuple[int, int]
    """Width and height in pixels."""
    plans: dict[str, Plan]
    """The plans, by the name of the ONNX graph."""

    @property
    def key_facts(self) -> dict[str, Any]:
        """What decides which machine and which requests can use the plans."""
        names = ("flavour", "version", "compute_capability", "batch_sizes", "picture_size")
        return {name: getattr(self, name) for name in names}

    @property
    def shapes(self) -> str:
        """The requests that the plans cover, as options of `engine generate` after --batch-size."""
        low, high = min(self.batch_sizes), max(self.batch_sizes)
        batches = f"{low} to {high}" if low < high else str(low)
        return "{} with --width {} --height {}".format(batches, *self.picture_size)

    def open(self, graph: str) -> bytes:
        """Return the checked bytes of the plan of a graph. Raises RequestError."""
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
    fix = f"build the plan again: python -m exporter tensorrt {bundle}, with --gpu and --flavour as in the folder name"
    return RequestError(f"The plan {path}", found=found, expected=expected, fix=fix)


def graph_digest(bundle: Bundle, files: Iterable[str]) -> str:
    """Return the SHA-256 of the hashes that the manifest states for a graph and its weights, in this order."""
    hashes = "".join(bundle.manifest.files[name].sha256 for name in files)
    return hashlib.sha256(hashes.encode()).hexdigest()


def wanted_graphs(
    bundle: Bundle, class_names: Iterable[str], *, encoder: bool, preset: str | None = None
) -> dict[str, tuple[str, ...]]:
    """Return the files of each graph that these classes need a plan for, by the name of the graph.

    encoder: whether initial pictures are encoded. Plans of bundles without an encoder stay usable for other pictures.
    preset: the preset whose UNets and small decoder are run.
    """
    manifest = bundle.manifest
    decoder = manifest.decoder_of(preset).decoder
    graphs: dict[str, tuple[str, ...]] = {decoder[0]: decoder, manifest.step: (manifest.step,)}
    for name in class_names:
        files = manifest.unet_of(name, preset)
        graphs[files.unet] = (files.unet, *files.weights)
    if encoder and manifest.vae_encoder is not None:
        graphs[manifest.vae_encoder[0]] = manifest.vae_encoder
    return graphs


def all_graphs(bundle: Bundle) -> dict[str, tuple[str, ...]]:
    """Return the files of every graph that may have a plan, by the name of the graph: those of presets, too."""
    graphs = wanted_graphs(bundle, bundle.manifest.classes, encoder=True)
    for name, preset in bundle.manifest.presets.items():
        graphs |= wanted_graphs(bundle, preset.unets or (), encoder=True, preset=name)
    return graphs


def read_plans(bundle: Bundle) -> list[PlanFolder]:
    """Return all plan folders of the bundle. Raises RequestError for a damaged plan.json."""
    return [read_plan_folder(path) for path in sorted(bundle.folder.glob("plans/*/plan.json"))]


def read_plan_folder(path: Path) -> PlanFolder:
    """Return the plan folder that a plan.json describes. Raises RequestError."""
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
        raise ValueError(f"{value!r} instead of a number above 0")
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
    """Return the plans that fit this runtime, GPU and request.

    graphs: the files of each graph, by its name. Raises RequestError that names the differences, and the command that
    builds the missing plans.
    """
    wanted = {"flavour": flavour, "version": version, "compute_capability": compute_capability}
    reasons, other_shapes = [], []
    for folder in read_plans(bundle):
        differs = [
            f"{name} {getattr(folder, name)}, here {value}"
            for name, value in wanted.items()
            if getattr(folder, name) != value
        ]
        differs += _changed_graphs(bundle, folder, graphs)
        shapes = _other_shapes(folder, batch_size, picture_size)
        if not differs and not shapes:
            return folder
        if not differs:
            other_shapes.append(f"use --batch-size {folder.shapes}, for which there are plans")
        reasons.append(f"{folder.folder.name} ({'; '.join([*shapes, *differs])})")
    gpu = f"sm{compute_capability.replace('.', '')}"
    build = f"python -m exporter tensorrt {bundle.folder} --gpu {gpu} --flavour {flavour}"
    build += f" --batch {batch_size}" if batch_size else ""
    build += f" --size {size_words(picture_size)}" if picture_size else ""
    raise RequestError(
        f"TensorRT plans of the bundle {bundle.manifest.name}",
        found="; ".join(reasons) or "none",
        expected=f"plans built by {flavour} {version} for {gpu}",
        fix="; or ".join([build, *other_shapes]),
    )


def _changed_graphs(bundle: Bundle, folder: PlanFolder, graphs: dict[str, tuple[str, ...]]) -> list[str]:
    """Return in words which graphs have no plan in a folder, or have changed since."""
    differs = []
    for graph, files in graphs.items():
        if graph not in folder.plans:
            differs.append(f"no plan for {graph}")
        elif folder.plans[graph].graph_sha256 != graph_digest(bundle, files):
            differs.append(f"{graph} has changed since the plan was built")
    return differs


def _other_shapes(folder: PlanFolder, batch_size: int | None, picture_size: tuple[int, int] | None) -> list[str]:
    """Return in words how a request goes beyond the batches and the picture size of a folder."""
    differs = []
    if batch_size is not None and not min(folder.batch_sizes) <= batch_size <= max(folder.batch_sizes):
        differs.append(f"batch sizes {min(folder.batch_sizes)} to {max(folder.batch_sizes)}, requested {batch_size}")
    if picture_size is not None and picture_size != folder.picture_size:
        differs.append(f"{size_words(folder.picture_size)} pixels, requested {size_words(picture_size)}")
    return differs


def size_words(size: tuple[int, int]) -> str:
    """Return width and height as the option --size takes them, for example 512x384."""
    return f"{size[0]}x{size[1]}"
