"""Settings of the merger of checkpoints and of the extraction of a LoRA, declared once for the command line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from engine.errors import RequestError
from engine.options import Range, setting
from trainer.checkpoints.blocks import BlockWeights, parse_blocks

__all__ = [
    "ADD_DIFFERENCE",
    "INPUTS",
    "METHODS",
    "NO_INTERPOLATION",
    "WEIGHTED_SUM",
    "ExtractSettings",
    "MergeSettings",
]

METHODS = WEIGHTED_SUM, ADD_DIFFERENCE, NO_INTERPOLATION = "weighted-sum", "add-difference", "no-interpolation"
INPUTS = {WEIGHTED_SUM: 2, ADD_DIFFERENCE: 3, NO_INTERPOLATION: 1}
"""Number of checkpoints that a method takes."""


def parse_pattern(text: str) -> re.Pattern[str]:
    """Return a regular expression. Raises RequestError."""
    try:
        return re.compile(text)
    except re.error as error:
        fix = "write, for example, ^model_ema"
        raise RequestError("--discard", found=f"{text} ({error})", expected="a regular expression", fix=fix) from error


@dataclass(frozen=True)
class MergeSettings:
    """How checkpoints are merged, and what is written."""

    PANEL: ClassVar[str] = "Merge"

    out: Path = setting(metavar="FILE", help="New .safetensors file.")
    method: str = setting(
        WEIGHTED_SUM,
        choices=METHODS,
        help="weighted-sum: A (1 - M) + B M. add-difference: A + M (B - C). no-interpolation: A, for the options below",
    )
    multiplier: float = setting(0.3, within=Range(0, 1), metavar="M", help="Multiplier M.")
    blocks: BlockWeights | None = setting(
        None,
        parser=parse_blocks,
        metavar="NUMBERS",
        help="Multipliers of the UNet's blocks: 25 numbers (IN00 to IN11, M00, OUT00 to OUT11), 26 with BASE first "
        "(all that is not the UNet), or pairs such as IN00=0.2,M00=0.5. A block that is not named has M",
    )
    half: bool = setting(False, flag="--half", help="Save merged float32 tensors as float16.")
    vae: Path | None = setting(
        None, metavar="FILE", help="VAE to put into the checkpoint: .safetensors in the original layout."
    )
    discard: re.Pattern[str] | None = setting(
        None,
        parser=parse_pattern,
        metavar="REGEX",
        help="Leave out the tensors in whose name this regular expression is found, for example ^model_ema.",
    )
    overwrite: bool = setting(False, flag="--overwrite", help="Replace an existing file.")


@dataclass(frozen=True)
class ExtractSettings:
    """What is extracted, and what is written."""

    out: Path = setting(metavar="FILE", help="New .safetensors file.")
    rank: int = setting(within=Range(1, 1024), help="Rank of each layer's matrices. Alpha has the same value.")
    overwrite: bool = setting(False, flag="--overwrite", help="Replace an existing file.")
