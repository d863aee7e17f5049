"""UNets of a preset: written beside the UNets of the classes, of whose weights they are made.

A weight that is as in the class refers to the weights of the bundle. A weight that a LoRA changed is computed from it
and two small factors (exporter.changes). All other weights are stored in one file of the preset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
from safetensors.numpy import load_file

from engine.bundle.folder import Bundle
from engine.errors import RequestError
from engine.files import sha256_of
from engine.progress import StageProgress, silent_stages
from exporter.changes import Stored, change_weights, stored_weights
from exporter.graphs import export_unet, share_equal, shorten_names, to_half
from exporter.load import MergedModel, load_merged, read_record
from exporter.low_rank import Factors
from exporter.manifest_file import OF_PRESET, expect_facts
from exporter.parity import relative_l2
from exporter.reuse import Templates
from exporter.weights import Place, place_weights, places_of

__all__ = ["write_unets"]

INLINE_BYTES = 128
"""Smaller tensors stay in the graph. A reference to a file takes about 70 bytes."""
CONTEXT_ERROR = 0.01
"""Largest relative L2 difference of the prompt embeddings. The base of a bundle may be known in float16 alone."""


def write_unets(
    bundle: Bundle,
    preset: str,
    merged_folders: Sequence[Path],
    manifest: dict[str, Any],
    folder: Path,
    progress: StageProgress = silent_stages,
) -> dict[str, Any]:
    """Write the UNets of merged folders as those of a preset, and state their files in a manifest.

    Args:
        bundle: The bundle of the classes. Its files must be verified.
        preset: Name of the preset.
        merged_folders: Folders of classes of the bundle, each with another UNet.
        manifest: The bundle's manifest, whose `files` get the new ones.
        folder: Folder for the graphs and their weights.
        progress: Receives a line for each class.

    Returns the value of the preset's field `unets`. Raises RequestError for a folder that does not suit the bundle.
    """
    folders = _by_class(bundle, merged_folders)
    weights = f"{OF_PRESET}{preset}.bin"
    unets: dict[str, Any] = {}
    with (folder / weights).open("wb") as file:
        writer = _Writer(bundle, weights, file)
        for class_name in [name for name in bundle.manifest.classes if name in folders]:
            progress(f"{class_name}: UNet of the preset {preset}")
            model = load_merged(folders[class_name])
            _expect_class(bundle, model, manifest)
            content, forms = writer.graph(class_name, model)
            progress(f"{class_name}: {forms}")
            name = writer.graphs.setdefault(content, f"{OF_PRESET}{preset}.{class_name}.onnx")
            (folder / name).write_bytes(content)
            unets[class_name] = {"unet": name, "weights": [*bundle.manifest.classes[class_name].weights, weights]}
    for name in {weights, *writer.graphs.values()}:
        path = folder / name
        manifest["files"][name] = {"sha256": sha256_of(path), "bytes": path.stat().st_size}
    return unets


@dataclass
class _Writer:
    """What the graphs of a preset share."""

    bundle: Bundle
    weights: str
    """Name of the preset's file of weights."""
    file: BinaryIO
    templates: Templates = field(default_factory=Templates)
    factors: dict[str, list[Factors]] = field(default_factory=dict)
    """The factors of each weight that were written so far."""
    written: dict[str, Place] = field(default_factory=dict)
    """Places in the preset's file."""
    graphs: dict[bytes, str] = field(default_factory=dict)
    """The names of the graphs by their content: classes with equal UNets share one."""

    def graph(self, class_name: str, model: MergedModel) -> tuple[bytes, str]:
        """Return the graph of a class, whose new weights are appended to the preset's file, and in words in which form
        it has its weights."""
        entry = self.bundle.manifest.classes[class_name]
        graph = export_unet(to_half(model.unet, in_place=True), self.bundle.manifest.context_shape, self.templates)
        own = stored_weights(self.bundle.path(entry.unet))
        _expect_structure(self.bundle, model, own, graph)
        forms = change_weights(graph, own, self.factors)
        places = places_of(self.bundle.path(entry.unet), entry.weights) | self.written
        known = set(places)
        place_weights(graph, places, self.weights, self.file, INLINE_BYTES)
        self.written |= {key: place for key, place in places.items() if key not in known}
        share_equal(graph)
        shorten_names(graph)
        return graph.SerializeToString(deterministic=True), str(forms)


def _by_class(bundle: Bundle, folders: Sequence[Path]) -> dict[str, Path]:
    """Return the folders by the class of their record. Raises RequestError for another class, or for a class twice."""
    found: dict[str, Path] = {}
    for folder in folders:
        class_name = read_record(folder)["class_name"]
        if class_name in found:
            raise RequestError(
                f"The class {class_name}",
                found=f"the merged folders {found[class_name]} and {folder}",
                expected="one",
                fix="leave one out",
            )
        if class_name not in bundle.manifest.classes:
            raise RequestError(
                f"The class {class_name} of {folder}",
                found=f"not in the bundle {bundle.manifest.name}",
                expected=f"one of {', '.join(bundle.manifest.classes)}",
                fix="export the class first with `python -m exporter onnx`, without the LoRA of the preset",
            )
        found[class_name] = folder
    return found


def _expect_class(bundle: Bundle, model: MergedModel, manifest: dict[str, Any]) -> None:
    """Raise RequestError unless a merged folder differs from the class of the bundle in its UNet alone.

    Everything else of the folder stays unused. What the UNet depends on must be equal: the noise schedule, the prompt,
    and what the text encoder makes of it.
    """
    class_name = model.record["class_name"]
    expect_facts(model, manifest, bundle.manifest.context_shape, bundle.folder)
    entry = bundle.manifest.classes[class_name]
    schedule = ("beta_start", "beta_end", "num_train_timesteps")
    error = relative_l2(
        model.embed_prompts([model.record["prompt"], ""]).numpy(),
        np.stack([load_file(bundle.path(entry.context))[name] for name in ("cond", "uncond")]),
    )
    facts = {
        "noise schedule": tuple(
            [values[name] for name in schedule] for values in (model.scheduler, manifest["schedule"])
        ),
        "prompt": (model.record["prompt"], entry.prompt),
        "prompt embeddings": (f"a relative difference of {error:.2g}" if error > CONTEXT_ERROR else "", ""),
    }
    for name, (stated, wanted) in facts.items():
        if stated != wanted:
            raise RequestError(
                f"The merged folder {model.folder} for the preset, {name}",
                found=str(stated),
                expected=f"{wanted or 'the same'}, as in the class {class_name} of the bundle",
                fix="merge the hypernetwork of the class and the LoRA of the preset into the base of the bundle",
            )


def _expect_structure(bundle: Bundle, model: MergedModel, own: Mapping[str, Stored], graph: onnx.ModelProto) -> None:
    """Raise RequestError unless the graph of a merged folder has the weights of the class, in other values."""
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.graph.initializer}
    for name, stored in own.items():
        shape, found = stored.shape, shapes.get(name)
        if found != shape and len(shape) > 1:
            raise RequestError(
                f"The merged folder {model.folder} for the preset, the weight {name}",
                found="none" if found is None else f"the shape {found}",
                expected=f"the shape {shape}, as in the class {model.record['class_name']} of the bundle",
                fix="merge the class into the base of the bundle, or export the bundle again with this version",
            )
