"""The command `morphology`: shapes, stain colours and texture of real and synthetic cells."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

from PIL import Image

from engine.options import Range, setting, with_options
from evaluate.cli.options import Fake, Output, Real, finish, locked
from evaluate.images import PictureFolder, compression_warnings, expect_real, open_different
from evaluate.report.inputs import describe_folder
from evaluate.report.plots import plot_measures, to_image
from evaluate.report.records import Picture, check_out, make_record
from evaluate.report.sheets import draw_sheet
from evaluate.studies.morphology import DEFINITIONS, LARGEST, SMALLEST, TITLES, Morphology, compare
from evaluate.studies.segmentation import overlay, segment
from evaluate.studies.texture import TITLES as TEXTURES

__all__ = ["morphology_command"]

SHOWN = 18


@dataclass(frozen=True)
class Segmenting:
    """What the pictures show, and the seed of the comparison."""

    PANEL: ClassVar[str] = "Figures"

    cells: str = setting(
        "one", choices=("one", "many"), help="Cells per picture (one in the middle, as for blood, or many)"
    )
    seed: int = setting(0, within=Range(low=0), help="Seed of all random numbers.")


@with_options
@locked(lambda values: values["output"].out)
def morphology_command(real: Real, fake: Fake, settings: Segmenting, output: Output) -> None:
    """Compare nuclei and cytoplasm of real and synthetic cells: area, eccentricity, N:C ratio, lobes, colours, texture.

    Nuclei and cytoplasm are segmented by their stain. Texture is measured at scales in pixels.
    """
    check_out(output.out, "morphology")
    folders = open_different({"REAL": real, "FAKE": fake})
    reals, fakes = folders.values()
    expect_real({"REAL": reals})
    inputs = {name: describe_folder(folder) for name, folder in folders.items()}
    found = compare(reals, fakes, one_cell=settings.cells == "one", seed=settings.seed)
    record = make_record(
        f"Morphology: {fake} against {real}",
        found,
        inputs=inputs,
        definitions=DEFINITIONS,
        warnings=compression_warnings(reals, fakes) + _warnings(found, reals),
    )
    caption = "cells outlined green, nuclei yellow; a wrong outline gives a wrong measure"
    pictures = {
        "real": Picture(_outlined(reals, found), f"Real, {caption}", real=True),
        "synthetic": Picture(_outlined(fakes, found), f"Synthetic, {caption}"),
        "histograms": Picture(to_image(plot_measures(found.measures, TITLES)), "Shape and stain, real and synthetic"),
    }
    if found.texture:
        texture = to_image(plot_measures(found.texture, TEXTURES))
        pictures["texture"] = Picture(texture, "Texture, real and synthetic")
    finish(record, pictures, output)


def _warnings(found: Morphology, reals: PictureFolder) -> list[str]:
    without = {
        "real": (found.real_without_nucleus, found.real_pictures),
        "synthetic": (found.synthetic_without_nucleus, found.synthetic_pictures),
    }
    warnings = [
        f"No nucleus was found in {missing} of {total} {name} pictures."
        for name, (missing, total) in without.items()
        if missing
    ]
    if reals.has_variants:
        warnings.append("REAL contains augmented copies: floor and intervals rest on fewer cells than files.")
    if found.side < SMALLEST:
        warnings.append(
            f"Pictures of {found.side} pixels are too small for a good segmentation, which is made for {SMALLEST} to "
            f"{LARGEST} pixels."
        )
    return warnings


def _outlined(folder: PictureFolder, found: Morphology) -> Image.Image:
    some = islice((picture for batch in folder.batches(found.side, SHOWN) for picture in batch), SHOWN)
    return draw_sheet([overlay(picture, segment(picture, one_cell=found.one_cell)) for picture in some])
