"""The command `masks`: the nucleus, the cytoplasm, the cell or the background of each picture as a mask."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from engine.errors import CytosynthError
from engine.files import expect_place
from engine.options import setting, with_options
from engine.terminal import progress_bar, warn
from evaluate.cli.options import locked
from evaluate.images import first_of, open_folder
from evaluate.studies.masks import MaskSettings, check_masks, write_masks
from evaluate.studies.morphology import SMALLEST

__all__ = ["masks_command"]


@dataclass(frozen=True)
class MaskOutput:
    """Where the masks go."""

    PANEL: ClassVar[str] = "Output"

    out: Path = setting(metavar="DIR", help="Folder for the masks, which `engine generate --mask` reads.")
    overwrite: bool = setting(
        False, flag="--overwrite", help="Replace the masks in the output folder, also those that you changed by hand."
    )


@with_options
@locked(lambda values: values["output"].out)
def masks_command(
    pictures: Annotated[Path, typer.Argument(metavar="PICTURES", help="Pictures of one class, squares of one size.")],
    settings: MaskSettings,
    output: MaskOutput,
) -> None:
    """Write a mask of one region for each picture, with the picture's name. White is what is repainted.

    Masks that exist are kept, so that a mask can be corrected or painted by hand. A picture without the region gets no
    mask: the command names it and exits 1.
    """
    expect_place(output.out)
    folder = open_folder(pictures)
    identity = check_masks(folder, settings, output.out, overwrite=output.overwrite)
    if folder.side < SMALLEST:
        warn(f"Pictures of {folder.side} pixels are too small for a good segmentation. Look at the masks.")
    with progress_bar() as progress:
        found = write_masks(folder, settings, output.out, identity, overwrite=output.overwrite, progress=progress)
    there = len(folder) - len(found.empty)
    print(f"{there} masks of {len(folder)} pictures, {found.made} of them new, region {settings.region}: {output.out}")
    if found.empty:
        missing = "nucleus" if settings.region in ("nucleus", "background") else f"nucleus or no {settings.region}"
        raise CytosynthError(
            f"{len(found.empty)} of the {len(folder)} pictures in {pictures}, which have no mask",
            found=f"no {missing}: {first_of(found.empty)}",
            expected="a stained nucleus in every picture, because `engine generate` needs a mask for each of them",
            fix=f"paint these masks as PNG files of the pictures' names in {output.out}, or move the pictures away "
            "(the other masks are written)",
        )
