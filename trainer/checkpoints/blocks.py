"""Multipliers of the UNet's blocks, as the WebUI's extensions for merging by blocks name and count them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from engine.errors import RequestError

__all__ = ["BASE", "BLOCKS", "BlockWeights", "expect_blocks", "parse_blocks"]

SIDE = 12
"""Number of input blocks, and of output blocks, of the UNet of Stable Diffusion 1 and 2."""
BASE = "BASE"
"""The text encoder, the autoencoder and everything else outside the UNet."""
BLOCKS = (*(f"IN{i:02d}" for i in range(SIDE)), "M00", *(f"OUT{i:02d}" for i in range(SIDE)))
"""The 25 blocks in the order in which users list their weights."""
UNET = "model.diffusion_model."
PLACE = re.compile(r"(input|middle|output)_blocks?\.(\d+)\.")
FLAG = "--blocks"


@dataclass(frozen=True)
class BlockWeights:
    """Multipliers of blocks. A block that is not named has the multiplier of the merge."""

    of: Mapping[str, float]

    def multiplier(self, name: str, default: float) -> float:
        """Return the multiplier of a tensor by its name. default: multiplier of the merge."""
        return self.of.get(block_of(name), default)


def block_of(name: str) -> str:
    """Return the block of a tensor.

    The embedding of time stands before the first input block and counts as IN00. The output layers count as OUT11.
    """
    if not name.startswith(UNET):
        return BASE
    inner = name.removeprefix(UNET)
    found = PLACE.match(inner)
    if found is None:
        return BLOCKS[-1] if inner.startswith("out.") else BLOCKS[0]
    if found[1] == "middle":
        return "M00"
    return f"{'IN' if found[1] == 'input' else 'OUT'}{int(found[2]):02d}"


def parse_blocks(text: str) -> BlockWeights:
    """Return the multipliers in a text: 25 numbers from IN00 to OUT11, 26 with BASE first, or pairs such as M00=0.5.

    Raises RequestError for another count, an unknown name, and a number outside 0 to 1.
    """
    words = [word.strip() for word in text.split(",")]
    if all("=" in word for word in words):
        pairs = [[part.strip() for part in word.split("=", 1)] for word in words]
    else:
        names = {len(BLOCKS): BLOCKS, len(BLOCKS) + 1: (BASE, *BLOCKS)}.get(len(words))
        if names is None:
            raise RequestError(
                FLAG,
                found=f"{len(words)} numbers",
                expected="25 numbers (IN00 to IN11, M00, OUT00 to OUT11), or 26 with BASE first",
                fix="write 25 or 26 numbers separated by commas, or pairs such as IN00=0.2,M00=0.5",
            )
        pairs = [list(pair) for pair in zip(names, words, strict=True)]
    found = {name.upper(): _number(name, word) for name, word in pairs}
    if unknown := [name for name in found if name not in (BASE, *BLOCKS)]:
        raise RequestError(
            FLAG, found=unknown[0], expected="BASE, IN00 to IN11, M00, OUT00 to OUT11", fix="use one of these names"
        )
    if len(found) < len(pairs):
        raise RequestError(FLAG, found="a name that stands twice", expected="each name once", fix="remove one")
    return BlockWeights(found)


def _number(name: str, word: str) -> float:
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise RequestError(FLAG, found=f"{name} {word or 'without a number'}", expected="0 to 1", fix="change it")
    return number


def expect_blocks(names: Iterable[str], file: str) -> None:
    """Raise RequestError unless a checkpoint has the blocks of Stable Diffusion 1 and 2. file: its name."""
    count = len({block for name in names if name.startswith(UNET) and PLACE.search(name) for block in [block_of(name)]})
    if count != len(BLOCKS):
        raise RequestError(
            FLAG,
            found=f"{file}, whose UNet has {count} blocks",
            expected=f"a UNet of {len(BLOCKS)} blocks, as Stable Diffusion 1 and 2 have",
            fix=f"leave {FLAG} out",
        )
