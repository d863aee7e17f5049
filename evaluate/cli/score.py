"""The command `score`: distances, floors, intervals and controls of one class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image

from engine.options import with_options
from engine.terminal import progress_bar
from evaluate.cli.options import EncoderChoice, Fake, Output, Real, finish, locked
from evaluate.encoders.features import Encoder, open_encoders
from evaluate.images import PictureFolder, compression_warnings, expect_real, open_different
from evaluate.report.inputs import describe_folder
from evaluate.report.records import Picture, check_out, make_record
from evaluate.report.sheets import draw_sheet
from evaluate.studies.score import (
    DEFINITIONS,
    FEW,
    Score,
    ScoreResults,
    ScoreSettings,
    compare_folders,
    definitions_of,
    insensitive,
    not_measured,
    sample_size,
    score,
)

__all__ = ["score_command"]

SHOWN = 36


@with_options
@locked(lambda values: values["output"].out)
def score_command(
    real: Real,
    fake: Fake,
    settings: ScoreSettings,
    encoder_choice: EncoderChoice,
    output: Output,
    other: Annotated[Path | None, typer.Option(help="Real pictures of another class, for the third control.")] = None,
    base: Annotated[
        Path | None, typer.Option(help="Synthetic pictures of the base without the class's adapter, for comparison.")
    ] = None,
) -> None:
    """Measure FID, IS, KID, precision, recall, density and coverage of FAKE against REAL.

    The figures use the features of the embedded encoder cyto, of a network trained on ImageNet, and of Inception. Each
    figure is shown beside its real-against-real floor, its interval and three controls.
    """
    check_out(output.out, "score")
    encoders, warnings = open_encoders(encoder_choice.features)
    given = {"REAL": real, "FAKE": fake, "--other": other, "--base": base}
    folders = open_different({name: path for name, path in given.items() if path is not None})
    expect_real({name: folders[name] for name in ("REAL", "--other") if name in folders})
    reals, fakes = folders["REAL"], folders["FAKE"]
    further = {name: len(folder) for name, folder in folders.items() if name.startswith("--")}
    n = sample_size(reals.sources, len(fakes), further, settings.n)
    warnings += _warnings(folders, n)
    inputs = {name: describe_folder(folder) for name, folder in folders.items()}
    results = _measure(encoders, folders, replace(settings, n=n))
    record = make_record(
        f"Score: {fake} against {real}",
        results,
        inputs=inputs,
        definitions={
            name: words for encoder in encoders for name, words in definitions_of(encoder.name, results.figures).items()
        }
        | DEFINITIONS,
        warnings=warnings,
    )
    sheets = {
        "real": Picture(_sheet(reals), f"Real: the first {min(SHOWN, len(reals))} pictures of {real}", real=True),
        "synthetic": Picture(_sheet(fakes), f"Synthetic: the first {min(SHOWN, len(fakes))} pictures of {fake}"),
    }
    if "--base" in folders:
        shown = min(SHOWN, len(folders["--base"]))
        sheets["base"] = Picture(_sheet(folders["--base"]), f"Base: the first {shown} synthetic pictures of {base}")
    finish(record, sheets, output)


def _measure(encoders: list[Encoder], folders: dict[str, PictureFolder], settings: ScoreSettings) -> ScoreResults:
    assert settings.n is not None
    scores: dict[str, Score] = {}
    blind: dict[str, str] = {}
    omitted: dict[str, str] = {}
    for encoder in encoders:
        with progress_bar() as progress:
            compared = compare_folders(encoder, folders, progress)
        scores |= score(encoder.name, compared, settings)
        if words := insensitive(encoder.name, scores):
            blind[encoder.name] = words
        omitted |= not_measured(encoder.name, settings.n)
    return ScoreResults(
        n=settings.n,
        splits=settings.splits,
        bootstrap=settings.bootstrap,
        seed=settings.seed,
        encoders={encoder.name: encoder.sha256 for encoder in encoders},
        figures=scores,
        insensitive=blind,
        not_measured=omitted,
    )


def _sheet(folder: PictureFolder) -> Image.Image:
    return draw_sheet(list(next(folder.batches(128, SHOWN))))


def _warnings(folders: dict[str, PictureFolder], n: int) -> list[str]:
    found = []
    if n < FEW:
        counts = ", ".join(f"{name} {len(folder)}" for name, folder in folders.items())
        found.append(
            f"N is {n}: below {FEW} these figures say little. N is at most half of REAL and at most all pictures of "
            f"each other folder: {counts}."
        )
    if len({folder.side for folder in folders.values()}) > 1:
        sides = ", ".join(f"{name} {folder.side}" for name, folder in folders.items())
        found.append(f"The folders' pictures differ in size ({sides} pixels), which changes the figures too.")
    reals = folders["REAL"]
    found += compression_warnings(reals, folders["FAKE"])
    if reals.has_variants:
        sources = len(set(reals.sources))
        found.append(
            f"REAL contains augmented copies: {len(reals)} pictures of {sources} sources. Copies of one source stay on "
            "one side of every split."
        )
    return found
