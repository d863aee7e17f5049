"""How `exporter int8` shows what 8 bits do to pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from exporter.int8 import Comparison

__all__ = ["LOOK", "show_comparisons"]

LOOK = """\
Look at the pictures: no figure above says whether they are equally good. Draw the same seeds twice, with
--precision f32 and with --precision int8, and compare them. 8 bits are used only if --precision int8 or a preset that
names it is given; the bundle's default stays as it was."""


def show_comparisons(comparisons: list[Comparison]) -> None:
    """Print the comparison of 8 bits with float32: a row for each class, and for each preset the error of the UNet by
    noise level."""
    pictures = Table("8 bits against float32, same seeds", "latents rel. L2", "picture PSNR dB")
    for one in comparisons:
        name = one.class_name if one.preset is None else f"{one.class_name}, preset {one.preset}"
        pictures.add_row(name, f"{one.latents:.2g}", f"{one.psnr_db:.1f}")
    Console().print(pictures)
    for preset in dict.fromkeys(one.preset for one in comparisons):
        title = "sigma" if preset is None else f"sigma, preset {preset}"
        levels = Table(title, "UNet rel. L2, mean of the classes", "worst class")
        found = [one for one in comparisons if one.preset == preset]
        for step, (sigma, _) in enumerate(found[0].by_sigma):
            errors = [one.by_sigma[step][1] for one in found]
            levels.add_row(f"{sigma:.3g}", f"{np.mean(errors):.2g}", f"{max(errors):.2g}")
        Console().print(levels)
