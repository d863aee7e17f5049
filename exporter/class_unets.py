"""UNets of classes: written beside those that a bundle has, of whose weights they store only what differs.

A weight that a LoRA changed by a matrix of low rank is computed from a weight of the bundle and two small factors
(exporter.changes). All other weights are stored whole: those of the first class that no hypernetwork can change in the
shared file, all others in a file of their class, unless the shared file has them already.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import onnx

from engine.files import sha256_of
from engine.progress import StageProgress
from exporter.changes import Forms, Stored, change_weights, stored_weights
from exporter.graphs import export_unet, to_half
from exporter.load import MergedModel
from exporter.reuse import Templates
from exporter.weights import Place, mergeable_digests, move_weights, shared_places

__all__ = ["UNET_WEIGHTS", "ClassUnets"]

UNET_WEIGHTS = "unet.bin"
SMALLEST_BYTES = 2048
"""Size from which a weight may have factors. The nodes that multiply them take several hundred bytes."""
LORA, WHOLE_UNET = "lora", "unet"
"""Kinds of adapters: the one that changes weights by matrices of low rank, and the one that replaces all weights."""
Entry = dict[str, Any]


@dataclass
class ClassUnets:
    """Writes the UNets of classes, and keeps what they share.

    Files of an existing bundle that another class uses never change: a class that is exported again gets other names
    then.
    """

    manifest: dict[str, Any]
    staging: Path
    """Folder for the new files."""
    out: Path
    """Folder of the bundle."""
    templates: Templates = field(default_factory=Templates)
    shared: dict[str, Place] | None = None
    """The places of the shared weights by digest. Finding them hashes gigabytes."""

    def write(
        self, model: MergedModel, context_shape: tuple[int, int], progress: StageProgress
    ) -> tuple[Entry, tuple[str, ...]]:
        """Write the UNet of a class.

        Returns the fields `unet`, `weights` and, if weights have factors, `low_rank` of its entry in the manifest, and
        the names of the written files. They are none if another class has exactly this UNet.
        """
        class_name = model.record["class_name"]
        half = to_half(model.unet, in_place=True)
        unet = export_unet(half, context_shape, self.templates)
        graph_name, own_name = self._free_names(class_name)
        if UNET_WEIGHTS not in self.manifest["files"]:
            move_weights(unet, self.staging, UNET_WEIGHTS, own_name, mergeable_digests(half))
            self._write(unet, graph_name)
            return {"unet": graph_name, "weights": [UNET_WEIGHTS, own_name]}, (graph_name, UNET_WEIGHTS, own_name)
        adapters = model.record.get("adapters", [])
        forms = None
        if any(one["kind"] == LORA for one in adapters):
            forms = change_weights(unet, self._references(class_name, adapters), smallest_bytes=SMALLEST_BYTES)
            progress(f"{class_name}: {forms}")
        entry = self._entry(unet, graph_name, own_name, forms)
        self._bring(entry["weights"][:-1])
        self.shared = self.shared or shared_places(self._graphs(), self.staging / UNET_WEIGHTS)
        move_weights(unet, self.staging, UNET_WEIGHTS, own_name, set(), self.shared)
        self._write(unet, graph_name)
        if twin := self._twin_of(unet, own_name):
            for name in (graph_name, own_name):
                (self.staging / name).unlink()
            return twin, ()
        return entry, (graph_name, own_name)

    def _free_names(self, class_name: str) -> tuple[str, str]:
        """Return names for the graph and the weights of a class that no other class uses."""
        others = (entry for name, entry in self.manifest["classes"].items() if name != class_name)
        used = {file for entry in others for file in (entry["unet"], *entry["weights"])}
        for number in count(1):
            stem = f"unet.{class_name}" if number == 1 else f"unet.{class_name}.{number}"
            names = f"{stem}.onnx", f"{stem}.bin"
            if used.isdisjoint(names):
                return names
        raise AssertionError("unreachable")

    def _references(self, class_name: str, adapters: Sequence[Entry]) -> dict[str, Stored]:
        """Return the weights of the bundle that a class with LoRAs may change, by name.

        These are the shared weights, and all weights of classes that differ from it in LoRAs alone. A hypernetwork
        changes no weight that is shared; a whole UNet changes them all.
        """
        found: dict[str, Stored] = {}
        before = self.manifest["classes"].get(class_name, {}).get("weights", [])
        others = {name: entry for name, entry in self.manifest["classes"].items() if name != class_name}
        alike = [
            name for name, entry in others.items() if _without_loras(entry) == _without_loras({"adapters": adapters})
        ]
        # Plain weights first, because a change of them has the lowest rank.
        alike.sort(key=lambda name: (_has_lora(others[name]), "low_rank" not in others[name]))
        weights = {name: stored_weights(self._path(entry["unet"])) for name, entry in others.items()}
        whole = any(one["kind"] == WHOLE_UNET for one in adapters)
        for names, files in ((alike if whole else others, [UNET_WEIGHTS]), (alike, before), (alike, None)):
            for name in names:
                for weight, stored in weights[name].items():
                    if stored.file is not None and (files is None or stored.file in files):
                        found.setdefault(weight, stored)
        return found

    def _entry(self, unet: onnx.ModelProto, graph_name: str, own_name: str, forms: Forms | None) -> Entry:
        """Return the entry of a class whose graph refers to some weights already."""
        referred = {Stored(tensor, self.staging).file for tensor in unet.graph.initializer} - {None, UNET_WEIGHTS}
        entry: Entry = {"unet": graph_name, "weights": [UNET_WEIGHTS, *sorted(map(str, referred)), own_name]}
        if forms is not None and forms.ranks:
            entry["low_rank"] = len(forms.ranks)
        return entry

    def _path(self, name: str) -> Path:
        return self.staging / name if (self.staging / name).exists() else self.out / name

    def _graphs(self) -> Iterator[Path]:
        for name in dict.fromkeys(entry["unet"] for entry in self.manifest["classes"].values()):
            yield self._path(name)

    def _bring(self, names: Sequence[str]) -> None:
        """Copy files of the bundle to the staged folder, where a new graph finds them."""
        for name in names:
            if not (self.staging / name).exists():
                # A copy, because ONNX's checker refuses links.
                shutil.copyfile(self.out / name, self.staging / name)

    def _write(self, unet: onnx.ModelProto, name: str) -> None:
        (self.staging / name).write_bytes(unet.SerializeToString(deterministic=True))

    def _twin_of(self, unet: onnx.ModelProto, own_name: str) -> Entry | None:
        """Return the entry of a class with exactly this UNet, or None. Classes that the base already knows share one
        UNet."""
        files = self.manifest["files"]
        weights = sha256_of(self.staging / own_name)
        for found in self.manifest["classes"].values():
            if files[found["weights"][-1]]["sha256"] == weights:
                same = onnx.ModelProto()
                same.CopyFrom(unet)
                for tensor in same.graph.initializer:
                    for place in tensor.external_data:
                        if place.key == "location" and place.value == own_name:
                            place.value = found["weights"][-1]
                graph = hashlib.sha256(same.SerializeToString(deterministic=True)).hexdigest()
                if files[found["unet"]]["sha256"] == graph:
                    return {key: found[key] for key in ("unet", "weights", "low_rank") if key in found}
        return None


def _has_lora(entry: Entry) -> bool:
    return any(one["kind"] == LORA for one in entry["adapters"])


def _without_loras(entry: Entry) -> list[Entry] | None:
    """Return the adapters of a class except LoRAs. None if the class does not state its adapters."""
    if "adapters" not in entry:
        return None
    return [one for one in entry["adapters"] if one["kind"] != LORA]
