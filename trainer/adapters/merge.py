"""`merge`: puts adapters into a base exactly, and writes the merged folder of a class.

LoRA changes weights, and a hypernetwork changes what a projection sees. So the changes of all LoRAs come first, and the
hypernetworks act before the changed weights, in any order of the files.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from engine.errors import CytosynthError, RequestError
from trainer.adapters.adapter import Adapter, AnyAdapter
from trainer.adapters.comparison import compared_layers, largest_difference, outputs_of
from trainer.adapters.unet_weights import UnetWeights
from trainer.base.base import Base, digest_of
from trainer.base.finite import not_finite
from trainer.folders import new_folder
from trainer.hypernetwork.files import HypernetworkFile
from trainer.hypernetwork.fold import RESIDUALS_FILE, expect_no_residuals, merge_into, save_residuals
from trainer.hypernetwork.network import SIDES, stacks_attached
from trainer.hypernetwork.signal_leak import SIGNAL_LEAK_FILE, measure_signal_leak, read_tensors, save_signal_leak
from trainer.lora.files import LoraFile
from trainer.training.record import ClassRecord

__all__ = ["CLASS_FILE", "LARGEST_DIFFERENCE", "EarlierMerge", "Merged", "Way", "earlier_merge", "merge"]

CLASS_FILE = "class.json"
"""File of the class record in a merged folder."""
LARGEST_DIFFERENCE = 1e-5
"""Largest allowed difference of a layer's output in float32, relative to its largest value, or to 1 if that is
smaller."""
GAINS = (0.5, 2.0)
"""Allowed gains of the latents before they are decoded. The decoder was not trained on latents beyond these."""
ADAPTER_FACTS = ("kind", "name", "multiplier")
Files = Sequence[tuple[AnyAdapter, float]]


@dataclass(frozen=True)
class EarlierMerge:
    """What an earlier merge left in a folder that serves as a base."""

    record: ClassRecord | None = None
    adapters: tuple[dict[str, Any], ...] = ()
    """Kind, name and multiplier of each adapter."""
    signal_leak: Path | None = None


NO_MERGE = EarlierMerge()
"""What a base holds that no merge wrote."""


@dataclass(frozen=True)
class Way:
    """What happened to a module of a hypernetwork: it was folded, or it stayed in the graph."""

    hypernetwork: str
    dimension: int
    side: str
    """"k" or "v"."""
    folded: bool


@dataclass(frozen=True)
class Merged:
    """Result of a merge."""

    ways: list[Way]
    """The modules of the hypernetworks."""
    changed: list[str]
    """A sentence for each adapter that changed weights."""
    largest_difference: float
    """Largest difference of a layer's outputs before and after the merge; see trainer.adapters.comparison."""


def merge(
    base: Base,
    files: Files,
    out: Path,
    record: ClassRecord,
    *,
    before: EarlierMerge = NO_MERGE,
    latents_gain: float = 1.0,
    signal_leak: Path | None = None,
) -> Merged:
    """Write the base with the adapters in it as a diffusers folder, with the class record in it.

    Args:
        files: Adapters in their order, each with its multiplier. Without any, the UNet stays as it is.
        record: The class. A prompt that is too long for the text encoder is cut after its last whole word.
        before: What an earlier merge left in the base. Its signal leak is kept if no pictures are given.
        latents_gain: Factor on the drawn latents before they are decoded. The scaling_factor of the autoencoder in the
            folder is divided by it.
        signal_leak: Prepared pictures. Sampling then starts at their mean and coarse spread.

    Raises RequestError for another base, an adapter that does not fit, a gain outside GAINS, an output folder that is
    not empty, or pictures of another size. Raises CytosynthError if the outputs of a layer change by
    more than LARGEST_DIFFERENCE. Nothing is written then.
    """
    if not GAINS[0] <= latents_gain <= GAINS[1]:
        raise RequestError(
            "--latents-gain", found=f"{latents_gain:g}", expected=f"{GAINS[0]} to {GAINS[1]}", fix="change the gain"
        )
    found = digest_of(base.unet)
    adapters: list[Adapter] = [file for file, _ in files]
    for adapter in adapters:
        if adapter.base_sha256 not in (None, found):
            raise RequestError(
                "The UNet of the base",
                found=f"SHA-256 {found}",
                expected=f"SHA-256 {adapter.base_sha256}, on which {adapter.name} was trained",
                fix="use that base, or fit the class on this one",
            )
        adapter.expect_fitting(base)
    record = replace(record, prompt=base.read_prompt(record.prompt).used)
    stated = [
        *before.adapters,
        *({"kind": file.kind, "name": file.name, "multiplier": multiplier} for file, multiplier in files),
    ]
    with new_folder(out) as part:
        leak = None if signal_leak is None else measure_signal_leak(base, signal_leak)
        if leak is None and before.signal_leak is not None:
            leak = read_tensors(base, before.signal_leak)
        return _merge(base, files, part, {**asdict(record), "adapters": stated}, latents_gain, leak)


def earlier_merge(folder: Path) -> EarlierMerge:
    """Return what an earlier merge left in a base; nothing if there was none. Raises RequestError.

    A folder with modules beside the UNet is refused, because the base does not hold them.
    """
    expect_no_residuals(folder, "The base", "merge all adapters at once into the base of this folder")
    if not (folder / CLASS_FILE).is_file():
        return NO_MERGE
    try:
        known = json.loads((folder / CLASS_FILE).read_text(encoding="utf-8"))
        adapters = tuple({name: one[name] for name in ADAPTER_FACTS} for one in known.pop("adapters", ()))
        leak = folder / SIGNAL_LEAK_FILE
        return EarlierMerge(ClassRecord(**known), adapters, leak if leak.is_file() else None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RequestError(
            f"The class record {folder / CLASS_FILE}",
            found=f"unreadable ({error})",
            expected="the record that `python -m trainer merge` wrote",
            fix="make the folder again",
        ) from error


def _merge(
    base: Base,
    files: Files,
    out: Path,
    record: dict[str, Any],
    latents_gain: float,
    leak: dict[str, torch.Tensor] | None,
) -> Merged:
    """Merge and write into a new folder; see merge."""
    changed = [file.fold(base, multiplier) for file, multiplier in files if isinstance(file, UnetWeights)]
    loras = [(file, multiplier) for file, multiplier in files if isinstance(file, LoraFile)]
    chain = [(file, multiplier) for file, multiplier in files if isinstance(file, HypernetworkFile)]
    if any("DoRA" in kind for file, _ in loras for kind in file.kinds):
        # A change with DoRA depends on the weights that it finds, so only the last change can stand beside them.
        changed += [file.fold(base, multiplier) for file, multiplier in loras[:-1]]
        loras = loras[-1:]
    # What is folded by now is not compared below, so its result is looked at here.
    if changed and (name := not_finite(base.unet) or not_finite(base.text_encoder)):
        raise CytosynthError(
            f"The merge of {', '.join(file.name for file, _ in files)}",
            found=f"values that are not finite in {name}",
            expected="weights that float32 can hold",
            fix="lower the multiplier",
        )
    layers = compared_layers(base, [file for file, _ in loras])
    with ExitStack() as attached:
        beside: list[tuple[Adapter, float]] = [*loras, *chain]
        for adapter, multiplier in beside:
            attached.enter_context(adapter.attached(base, multiplier))
        before = outputs_of(layers)
    changed += [file.fold(base, multiplier) for file, multiplier in loras]
    residuals, folded = merge_into(base.unet, [(file.hypernetwork, multiplier) for file, multiplier in chain])
    with stacks_attached(base.unet, residuals):
        worst, difference = largest_difference(before, outputs_of(layers))
    # NaN is not at most anything.
    if not difference <= LARGEST_DIFFERENCE:
        raise CytosynthError(
            f"The merge of {', '.join(file.name for file, _ in files)}",
            found=f"the output of {worst} changed by {difference:.2g}",
            expected=f"at most {LARGEST_DIFFERENCE:g} in float32",
            fix="lower the multiplier, or train with smaller weights, because float32 cannot hold this product",
        )
    base.vae.register_to_config(scaling_factor=base.vae.config.scaling_factor / latents_gain)
    base.save(out)
    if leak is not None:
        save_signal_leak(leak, out)
    if residuals:
        save_residuals(out / RESIDUALS_FILE, residuals)
    (out / CLASS_FILE).write_text(json.dumps(record, indent=2) + "\n")
    ways = [
        Way(file.name, dimension, side, (position, dimension, side) in folded)
        for position, (file, _) in enumerate(chain)
        for dimension in file.hypernetwork.dimensions
        for side in SIDES
    ]
    return Merged(ways, changed, difference)
