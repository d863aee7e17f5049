"""The command `morphology`: shapes and stain colours of real and synthetic cells."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.errors import RequestError
from evaluate.cli.options import AsJson, RecordOut, Seed, finish
from evaluate.images import PictureFolder, expect_real, open_different
from evaluate.report.plots import plot_morphology, to_image
from evaluate.report.records import Picture, check_out, describe_folder, make_record
from evaluate.report.sheets import draw_sheet
from evaluate.studies.morphology import LARGEST, SMALLEST, Morphology, compare
from evaluate.studies.segmentation import overlay, segment

__all__ = ["morphology_command"]

SHOWN = 18
DEFINITIONS = {
    "nucleus": "what the stain marks darkest, by Otsu's threshold of optical density; a cell's lobes are one nucleus",
    "OD": "optical density -log10(I / I0) of a channel, I0 the picture's own background",
    "nucleus / cell area": "the N:C ratio as nucleus / (nucleus + cytoplasm)",
    "nuclear lobes": "parts that remain of the nuclei where they are thicker than half the thickest",
    "distance": "Wasserstein's first distance of N real and N synthetic values, mean over random draws, in the"
    " measure's unit and in standard deviations (sd) of the real values",
    "floor": "the same between N real and N other real values",
    "interval": "90 % bootstrap over pictures, moved by the difference of the means",
    "without a nucleus": "pictures where none was found; they count in nothing else",
}


def morphology_command(
    real: Annotated[Path, typer.Argument(metavar="REAL", help="Real pictures of one class, framed as for training.")],
    fake: Annotated[Path, typer.Argument(metavar="FAKE", help="Synthetic pictures of that class.")],
    cells: Annotated[str, typer.Option(help="one: a cell in the middle, as of blood. many: a field of them.")] = "one",
    seed: Seed = 0,
    out: RecordOut = None,
    as_json: AsJson = False,
) -> None:
    """Segment nucleus and cytoplasm by their stain; compare area, eccentricity, N:C ratio, lobes and colours."""
    if cells not in ("one", "many"):
        raise RequestError("--cells", found=cells, expected="one or many", fix="choose one of them")
    check_out(out, "morphology")
    folders = open_different({"REAL": real, "FAKE": fake})
    reals, fakes = folders.values()
    expect_real({"REAL": reals})
    inputs = {name: describe_folder(folder) for name, folder in folders.items()}
    found = compare(reals, fakes, one_cell=cells == "one", seed=seed)
    record = make_record(
        "morphology",
        f"Morphology: {fake} against {real}",
        inputs=inputs,
        results=asdict(found),
        definitions=DEFINITIONS,
        warnings=_warnings(found, reals),
    )
    captions = "cells outlined green, nuclei yellow; what is outlined wrongly is measured wrongly"
    pictures = {
        "real": Picture(_outlined(reals, found), f"Real, {captions}", real=True),
        "synthetic": Picture(_outlined(fakes, found), f"Synthetic, {captions}"),
        "histograms": Picture(to_image(plot_morphology(found)), "Every measure, real and synthetic"),
    }
    finish(record, pictures, out, as_json)


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
        warnings.append("REAL holds augmented copies: floor and intervals are of fewer cells than they seem.")
    if found.side < SMALLEST:
        warnings.append(
            f"Pictures of {found.side} pixels are small for segmentation; {SMALLEST} to {LARGEST} are meant."
        )
    return warnings


def _outlined(folder: PictureFolder, found: Morphology) -> Any:
    some = islice((picture for batch in folder.batches(found.side, SHOWN) for picture in batch), SHOWN)
    return draw_sheet([overlay(picture, segment(picture, one_cell=found.one_cell)) for picture in some])
