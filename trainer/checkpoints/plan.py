"""What a merge does with each tensor. Everything is decided from the headers, before a tensor is read."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from engine.errors import RequestError
from trainer.checkpoints.arithmetic import WIDER, fitted_shape, halved_dtype
from trainer.checkpoints.settings import NO_INTERPOLATION, MergeSettings
from trainer.checkpoints.tensor_file import Entry, TensorFile

__all__ = ["Plan", "Way", "kind_of", "plan_of", "vae_names"]

NEVER_MERGED = frozenset(["cond_stage_model.transformer.text_model.embeddings.position_ids"])
"""Positions, which are whole numbers."""
MERGED_WORD = "model"
"""The WebUI merges the tensors in whose name this stands. Others are constants, such as the noise schedule."""
VAE = "first_stage_model."
VAE_LEFT_OUT = ("loss", "model_ema.decay", "model_ema.num_updates")
"""Starts of names in a VAE's file that belong to its training."""
INPUT = "model.diffusion_model.input_blocks.0.0.weight"
KINDS = {
    "conditioner.embedders.": "Stable Diffusion XL",
    "cond_stage_model.model.": "Stable Diffusion 2",
    "cond_stage_model.transformer.": "Stable Diffusion 1",
}
SHOWN = 3
"""Largest number of tensors that an error names."""


class Way(enum.Enum):
    """What becomes of a tensor."""

    KEPT = "kept as in A"
    MERGED = "merged"
    BAKED = "taken from the VAE"
    HALVED = "saved as float16"


@dataclass(frozen=True)
class Plan:
    """The tensors of the result."""

    layout: dict[str, Entry]
    """Type and shape of each tensor."""
    ways: dict[str, Way]
    wider: str | None
    """inpainting or instruct-pix2pix, if the first checkpoint has more input channels than the others."""
    discarded: int
    """Number of tensors that are left out."""

    def count(self, way: Way) -> int:
        """Return the number of tensors that go this way."""
        return sum(found is way for found in self.ways.values())


def kind_of(entries: Mapping[str, Entry]) -> str | None:
    """Return which model a checkpoint is of, as far as its text encoder says it."""
    return next((kind for start, kind in KINDS.items() if any(name.startswith(start) for name in entries)), None)


def vae_names(vae: TensorFile) -> dict[str, str]:
    """Map names in a checkpoint to names in the file of a VAE, which may also be a whole checkpoint."""
    whole = any(name.startswith(VAE) for name in vae.entries)
    return {
        name if whole else VAE + name: name
        for name in vae.entries
        if (name.startswith(VAE) if whole else not name.startswith(VAE_LEFT_OUT))
    }


def plan_of(files: Sequence[TensorFile], vae: TensorFile | None, settings: MergeSettings) -> Plan:
    """Return what a merge of checkpoints does. Raises RequestError if they do not fit each other.

    files: A; A and B; or A, B and C.
    """
    a, *others = files
    _expect_one_kind(files)
    layout, ways, misfits = dict(a.entries), dict.fromkeys(a.entries, Way.KEPT), []
    for name in _shared(files):
        fitting = _merged_entry(name, files)
        if fitting is None:
            shapes = " and ".join(str(list(file.entries[name].shape)) for file in files if name in file.entries)
            misfits.append(f"{name} of {shapes}")
        else:
            layout[name], ways[name] = fitting, Way.MERGED
    if misfits:
        raise _misfit(files, misfits)
    if others and Way.MERGED not in ways.values():
        raise RequestError(
            f"The checkpoints {a.path.name} and {others[0].path.name}",
            found=f"no shared tensor whose name contains {MERGED_WORD}",
            expected="checkpoints of one model, in the original layout",
            fix="merge checkpoints, not LoRA files, VAEs or files in the layout of diffusers",
        )
    if vae is not None:
        _bake(a, vae, layout, ways)
    if settings.half:
        for name, way in ways.items():
            if way is Way.KEPT and settings.method != NO_INTERPOLATION:
                continue
            found = layout[name]
            layout[name] = Entry(halved_dtype(found.dtype), found.shape)
            if way is Way.KEPT and found.dtype != layout[name].dtype:
                ways[name] = Way.HALVED
    return _without_discarded(Plan(layout, ways, _wider(files), 0), settings)


def _expect_one_kind(files: Sequence[TensorFile]) -> None:
    kinds = [kind_of(file.entries) for file in files]
    for file, kind in zip(files, kinds, strict=True):
        if None not in (kind, kinds[0]) and kind != kinds[0]:
            raise RequestError(
                f"The checkpoint {file.path.name}",
                found=str(kind),
                expected=f"{kinds[0]}, as {files[0].path.name} is",
                fix="merge checkpoints of one model",
            )


def _shared(files: Sequence[TensorFile]) -> list[str]:
    """Return the names of the tensors that are merged: numbers with a point, in A and B."""
    if len(files) == 1:
        return []
    a, b = files[0].entries, files[1].entries
    return [
        name
        for name in a
        if MERGED_WORD in name
        and name in b
        and name not in NEVER_MERGED
        and all(file.entries[name].dtype.is_floating_point for file in files if name in file.entries)
    ]


def _merged_entry(name: str, files: Sequence[TensorFile]) -> Entry | None:
    """Return type and shape of a merged tensor, or None if the shapes do not fit.

    Raises RequestError for 8-bit types, which torch does not compute in.
    """
    found = [(file, file.entries[name]) for file in files if name in file.entries]
    for file, entry in found:
        if entry.dtype.itemsize == 1:
            raise RequestError(
                f"The checkpoint {file.path.name}",
                found=f"{name} in 8 bits ({str(entry.dtype).removeprefix('torch.')})",
                expected="float16, bfloat16, float32 or float64",
                fix="use the checkpoint in float16",
            )
    (_, a), (_, b), *rest = found
    part = fitted_shape(a.shape, b.shape)
    if part is None or any(fitted_shape(b.shape, c.shape) != b.shape for _, c in rest):
        return None
    if part != a.shape:
        # The channels that are merged are written into the tensor of A.
        return Entry(a.dtype, a.shape)
    dtype = a.dtype
    for _, other in found[1:]:
        dtype = torch.promote_types(dtype, other.dtype)
    return Entry(dtype, a.shape)


def _wider(files: Sequence[TensorFile]) -> str | None:
    inputs = [file.entries[INPUT].shape for file in files if INPUT in file.entries]
    return WIDER.get(inputs[0][1]) if len(inputs) > 1 and len(inputs[0]) == 4 and inputs[0] != inputs[1] else None


def _misfit(files: Sequence[TensorFile], misfits: list[str]) -> RequestError:
    names = ", ".join(file.path.name for file in files)
    more = f" and {len(misfits) - SHOWN} more" if len(misfits) > SHOWN else ""
    shapes = [file.entries[INPUT].shape for file in files if INPUT in file.entries]
    channels = [shape[1] for shape in shapes if len(shape) == 4]
    wide = next((WIDER[count] for count in channels[1:] if count in WIDER and count != channels[0]), None)
    return RequestError(
        f"The checkpoints {names}",
        found=f"{'; '.join(misfits[:SHOWN])}{more}",
        expected="equal shapes" if wide is None else f"the checkpoint for {wide} as A",
        fix="merge checkpoints of one model" if wide is None else f"name the checkpoint for {wide} first",
    )


def _bake(a: TensorFile, vae: TensorFile, layout: dict[str, Entry], ways: dict[str, Way]) -> None:
    """Plan that the tensors of a VAE replace those of A, if A has them. Raises RequestError if they do not fit."""
    subject, shared = f"The VAE {vae.path.name}", {to: of for to, of in vae_names(vae).items() if to in a.entries}
    if not shared:
        raise RequestError(
            subject,
            found=f"no tensor of a VAE that {a.path.name} has",
            expected="a VAE in the original layout (encoder.conv_in.weight, ...)",
            fix="use a VAE for the WebUI, not one in the layout of diffusers",
        )
    for to, of in shared.items():
        entry, wanted = vae.entries[of], a.entries[to].shape
        if fitted_shape(wanted, entry.shape) != wanted:
            raise RequestError(
                subject,
                found=f"{of} of {list(entry.shape)}",
                expected=f"{list(wanted)}, as {a.path.name} has",
                fix="use a VAE for this model",
            )
        layout[to], ways[to] = Entry(entry.dtype, wanted), Way.BAKED


def _without_discarded(plan: Plan, settings: MergeSettings) -> Plan:
    if settings.discard is None:
        return plan
    names = [name for name in plan.layout if not settings.discard.search(name)]
    if not names:
        found = "a pattern that is found in every name"
        fix = "write a longer pattern, for example ^model_ema"
        raise RequestError("--discard", found=found, expected="a pattern that leaves tensors", fix=fix)
    layout, ways = {name: plan.layout[name] for name in names}, {name: plan.ways[name] for name in names}
    return Plan(layout, ways, plan.wider, len(plan.layout) - len(names))
