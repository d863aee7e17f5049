"""`extract-lora`: a LoRA from the difference of two checkpoints of Stable Diffusion 1.

Of each layer, the difference of the weights is approximated by a product of two thin matrices. The best one of a rank
is the truncated singular value decomposition (Eckart and Young 1936), and its squared error is the sum of the squares
of the remaining singular values.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from safetensors.torch import save_file

from engine.errors import CytosynthError, RequestError
from engine.files import replace_file, sha256_of
from engine.locks import locked_folder_of
from engine.progress import Progress, silent
from trainer.base.stable_diffusion import PREFIXES, UNET
from trainer.checkpoints.merge import check_output, expect_checkpoint, expect_no_stop, expect_space
from trainer.checkpoints.plan import kind_of
from trainer.checkpoints.settings import ExtractSettings
from trainer.checkpoints.tensor_file import Entry, TensorFile, open_tensor_file

__all__ = ["Extraction", "Layer", "extract_lora", "factors", "kohya_names"]

KIND = "Stable Diffusion 1"
WEIGHT = ".weight"
UNET_START, TEXT_START = PREFIXES["UNet"], PREFIXES["text encoder"]
EMBEDDINGS = "embeddings."
"""Tables of the text encoder. They are no layers that multiply, so a LoRA cannot hold them."""
DIGITS = 6
"""Digits of a share in the metadata."""
EPSILON, TINY = torch.finfo(torch.float64).eps, torch.finfo(torch.float64).tiny
SPARE = 8
"""How many directions the search has beyond twice the rank. The more, the faster it ends."""
GROWTH = 1e-6
"""Relative growth of the kept energy in a step, below which the search ends."""
STEPS = 16
"""Largest number of steps of the search."""
BYTES = 2
"""The matrices are saved in float16, as other trainers save them."""


@dataclass(frozen=True)
class Layer:
    """What a LoRA keeps of a layer's change."""

    name: str
    """Name of the layer in the LoRA's file."""
    rank: int
    squares: float
    """Sum of the squares of the change."""
    kept_squares: float
    """The part of it that the LoRA holds: the sum of the squares of the largest singular values."""

    @property
    def kept(self) -> float:
        """The share of the energy that is kept, 0 to 1."""
        return self.kept_squares / self.squares


@dataclass(frozen=True)
class Extraction:
    """What a LoRA keeps of the change from one checkpoint to another."""

    layers: list[Layer]
    outside_squares: float
    """Sum of the squares of the changes that a LoRA cannot hold: biases, norms and embeddings."""
    outside: int
    """Number of the tensors that changed so."""

    @property
    def kept(self) -> float:
        """The share of the energy of all changes of the UNet and the text encoder that the LoRA holds, 0 to 1."""
        squares = sum(layer.squares for layer in self.layers) + self.outside_squares
        return sum(layer.kept_squares for layer in self.layers) / squares


def kohya_names(names: Iterable[str]) -> dict[str, str]:
    """Map the weights of a checkpoint's layers to the names of these layers in a LoRA's file.

    names: of a checkpoint in the original layout. diffusers' conversion renames those of the UNet. The file's names
    are the ones of kohya's sd-scripts, which other programs read.
    """
    known = list(names)
    # The conversion moves values without looking at them, so the names themselves can be the values.
    renamed = convert_ldm_unet_checkpoint({name: name for name in known if name.startswith(UNET_START)}, UNET)
    found = {original: f"lora_unet_{new}" for new, original in renamed.items()}
    found |= {name: f"lora_te_{name.removeprefix(TEXT_START)}" for name in known if name.startswith(TEXT_START)}
    return {
        original: new.removesuffix(WEIGHT).replace(".", "_")
        for original, new in found.items()
        if original.endswith(WEIGHT) and EMBEDDINGS not in original
    }


def factors(change: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Return the best approximation of a change by two matrices.

    Args:
        change: Difference of a layer's weights, float64, (out, in) or (out, in, height, width).
        rank: Largest rank. A small layer gets its own rank.

    Returns:
        down (r, in[, height, width]) and up (out, r[, 1, 1]), whose product is the approximation, and the sum of the
        squares of the singular values that are kept. Both matrices have the same scale, so that float16 holds them.
    """
    matrix = change.flatten(1)
    tall = matrix.shape[0] > matrix.shape[1]
    squares, basis = _leading(matrix.T if tall else matrix, min(rank, *matrix.shape))
    # Rounding may leave a value below zero.
    squares, rank = squares.clamp(min=0), len(squares)
    up, down = (matrix @ basis, basis.T) if tall else (basis, basis.T @ matrix)
    # One of the two matrices holds the singular values, and their roots move to the other. A root of nearly zero would
    # enlarge rounding.
    roots = squares.clamp(min=max(float(squares[0]) * EPSILON, TINY)).sqrt().sqrt()
    up, down = (up / roots, roots[:, None] * down) if tall else (up * roots, down / roots[:, None])
    if change.dim() == 4:
        up = up[..., None, None]
    return down.reshape(rank, *change.shape[1:]), up, float(squares.sum())


def _leading(matrix: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the largest squares of singular values (rank,), falling, and their left singular vectors (n, rank).

    A subspace of more directions than the rank is multiplied by the matrix and its transpose until the energy in the
    leading ones no longer grows (block power iteration; Halko, Martinsson and Tropp 2011, algorithm 4.4). float32 is
    enough there, because the energy depends on the square of an error of the subspace. The result is the best
    approximation within the subspace, in float64. If the energy still grows after STEPS, and for small matrices, all
    eigenvectors of the Gram matrix are computed.
    """
    width, kept = 2 * rank + SPARE, 0.0
    if 4 * width < len(matrix):
        coarse = (matrix / matrix.norm().clamp(min=TINY)).float()
        start = torch.randn(len(matrix), width, generator=torch.Generator().manual_seed(0))
        basis = torch.linalg.qr(start).Q
        for _ in range(STEPS):
            inside = coarse.T @ basis
            found = float(torch.linalg.eigvalsh((inside.T @ inside).double())[-rank:].sum())
            if found - kept <= GROWTH * found:
                basis = torch.linalg.qr(basis.double()).Q
                projected = basis.T @ matrix
                squares, turn = torch.linalg.eigh(projected @ projected.T)
                return squares[-rank:].flip(0), basis @ turn[:, -rank:].flip(1)
            kept = found
            basis = torch.linalg.qr(coarse @ inside).Q
    squares, vectors = torch.linalg.eigh(matrix @ matrix.T)
    return squares[-rank:].flip(0), vectors[:, -rank:].flip(1)


def extract_lora(
    tuned: Path,
    base: Path,
    settings: ExtractSettings,
    *,
    progress: Progress = silent,
    stop: threading.Event | None = None,
) -> Extraction:
    """Write the LoRA that turns `base` into `tuned`, as far as its rank allows, and return what it keeps.

    stop: If it is set, the extraction ends with an error, and nothing is written.
    Raises RequestError before a tensor is read. Raises CytosynthError for weights that are not finite.
    """
    for path in (tuned, base):
        expect_checkpoint(path)
    check_output(settings.out, (tuned, base), overwrite=settings.overwrite)
    files = [open_tensor_file(path) for path in (tuned, base)]
    entries = _shared(*files)
    names = {original: new for original, new in kohya_names(entries).items() if len(entries[original].shape) in (2, 4)}
    expect_space(settings.out, _most_bytes([entries[original] for original in names], settings.rank))
    tensors: dict[str, torch.Tensor] = {}
    layers: list[Layer] = []
    outside: list[float] = []
    for done, name in enumerate(entries, 1):
        expect_no_stop(stop)
        change = _change(name, *files)
        squares = float(change.square().sum())
        if not math.isfinite(squares):
            raise CytosynthError(
                f"The tensor {name}", found="NaN or infinity", expected="finite weights", fix="use another checkpoint"
            )
        if squares and name in names:
            down, up, kept = factors(change, settings.rank)
            layers.append(Layer(names[name], len(down), squares, min(kept, squares)))
            tensors |= _tensors(names[name], down, up)
        elif squares:
            outside.append(squares)
        progress("Decomposing the layers", done, len(entries))
    if not layers:
        raise RequestError(
            f"The checkpoints {tuned.name} and {base.name}",
            found="no layer that differs",
            expected="a checkpoint that was trained, and the one from which its training started",
            fix="name the trained checkpoint first, and its base second",
        )
    found = Extraction(layers, sum(outside), len(outside))
    with locked_folder_of(settings.out):
        check_output(settings.out, (tuned, base), overwrite=settings.overwrite)
        with replace_file(settings.out) as part:
            save_file(tensors, part, _metadata(tuned, base, settings, found))
    return found


def _shared(tuned: TensorFile, base: TensorFile) -> dict[str, Entry]:
    """Return the tensors of the UNet and the text encoder that both have. Raises RequestError if they do not fit."""
    for file in (tuned, base):
        kind = kind_of(file.entries)
        if kind != KIND:
            raise RequestError(
                f"The checkpoint {file.path.name}",
                found=kind or "no text encoder that is known",
                expected=f"{KIND} in the original layout",
                fix="use two checkpoints of this model",
            )
    found = {
        name: entry
        for name, entry in base.entries.items()
        if name.startswith((UNET_START, TEXT_START)) and name in tuned.entries and entry.dtype.is_floating_point
    }
    if wrong := [name for name, entry in found.items() if tuned.entries[name].shape != entry.shape]:
        shapes = f"{list(tuned.entries[wrong[0]].shape)} and {list(found[wrong[0]].shape)}"
        raise RequestError(
            f"The checkpoints {tuned.path.name} and {base.path.name}",
            found=f"{wrong[0]} of {shapes}",
            expected="equal shapes",
            fix="use a checkpoint and the one from which its training started",
        )
    return found


def _change(name: str, tuned: TensorFile, base: TensorFile) -> torch.Tensor:
    """Return the difference of a tensor in float64."""
    return tuned.read(name).double() - base.read(name).double()


def _most_bytes(entries: Iterable[Entry], rank: int) -> int:
    """Return the largest size of the file, without its header."""
    total = 0
    for entry in entries:
        rows, columns = entry.shape[0], math.prod(entry.shape[1:])
        total += BYTES * min(rank, rows, columns) * (rows + columns)
    return total


def _tensors(name: str, down: torch.Tensor, up: torch.Tensor) -> Mapping[str, torch.Tensor]:
    """Return the tensors of a layer in the file: its matrices in float16, and its alpha, which equals its rank."""
    return {
        f"{name}.lora_down.weight": down.half().contiguous(),
        f"{name}.lora_up.weight": up.half().contiguous(),
        f"{name}.alpha": torch.tensor(float(len(down))),
    }


def _metadata(tuned: Path, base: Path, settings: ExtractSettings, found: Extraction) -> dict[str, str]:
    """Return the texts in the header: kohya's fields, and from which files the LoRA is. No path is written."""
    source = {
        "tuned": {"name": tuned.name, "sha256": sha256_of(tuned)},
        "base": {"name": base.name, "sha256": sha256_of(base)},
        "kept": round(found.kept, DIGITS),
        "kept_of_layers": {layer.name: round(layer.kept, DIGITS) for layer in found.layers},
    }
    return {
        "format": "pt",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(settings.rank),
        "ss_network_alpha": str(settings.rank),
        "ss_v2": "False",
        "ss_base_model_version": "sd_v1",
        "ss_output_name": settings.out.stem,
        "cytosynth_extraction": json.dumps(source),
    }
