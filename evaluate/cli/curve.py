"""The command `curve`: figures against training steps, beside those that the thesis published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from engine.options import Without, setting, with_options
from engine.terminal import progress_bar
from evaluate.cli.options import EncoderChoice, Output, finish, locked
from evaluate.encoders.features import Encoder, open_encoders
from evaluate.images import PictureFolder, expect_real, open_different, open_folder
from evaluate.report.curve_plots import plot_curve, plot_means
from evaluate.report.inputs import describe_folder
from evaluate.report.plots import to_image
from evaluate.report.records import Picture, check_out, make_record
from evaluate.report.sheets import draw_sheet
from evaluate.studies.checkpoints import (
    Checkpoint,
    GenerationSettings,
    find_checkpoints,
    make_pictures,
    refuse_others,
)
from evaluate.studies.curve import DEFINITIONS, SHOWN, CurveResults, Sampling, published_of, score_all
from evaluate.studies.score import FEW, ScoreSettings, definitions_of, sample_size
from evaluate.studies.thesis import MEANS, OVERALL, PUBLISHED

__all__ = ["curve_command"]

COLUMNS = 8
Fakes = dict[str, dict[int, PictureFolder]]
"""Folders of synthetic pictures by class and training steps."""


@dataclass(frozen=True)
class CurveFolders:
    """Checkpoints to measure, real pictures to compare with, and the folder for the results."""

    PANEL: ClassVar[str] = "Folders"

    real: Path = setting(help="Real pictures that were not trained on, one folder per class.")
    out: Path = setting(help="Folder for pictures and record. A second run keeps its finished pictures.")
    class_names: list[str] | None = setting(
        None, flag="--class", help="Class to measure. Repeat it for several classes. Default: all."
    )
    training_steps: list[int] | None = setting(
        None, flag="--step", help="Training step to measure. Repeat it for several steps. Default: all."
    )


@with_options
@locked(lambda values: values["folders"].out)
def curve_command(
    checkpoints: Annotated[
        Path, typer.Argument(metavar="CHECKPOINTS", help="Output folder of `trainer fit --save-every`.")
    ],
    folders: CurveFolders,
    generation: GenerationSettings,
    settings: Annotated[ScoreSettings, Without("n", "splits")],
    encoder_choice: EncoderChoice,
    output: Annotated[Output, Without("out")],
) -> None:
    """Merge, export, generate and score every checkpoint.

    The results are tables and plots like the thesis's tables 3.3 to 3.7 and figures 3.5 to 3.14.
    """
    output = replace(output, out=folders.out / "record")
    check_out(output.out, "curve")
    encoders, warnings = open_encoders(encoder_choice.features)
    chosen = find_checkpoints(checkpoints, folders.class_names or [], folders.training_steps or [])
    for one in chosen:
        refuse_others(one, folders.out / "checkpoints" / one.name, generation)
    names = list(dict.fromkeys(one.class_name for one in chosen))
    reals = open_different({name: folders.real / name for name in names})
    expect_real(reals)
    fakes = _generate(chosen, folders.out / "checkpoints", generation)
    least = min(len(folder) for by_step in fakes.values() for folder in by_step.values())
    settings = replace(settings, n=min(sample_size(reals[name].sources, least, {}, None) for name in names))
    results = _measure(encoders, reals, fakes, chosen, settings, generation)
    if results.n < FEW:
        warnings.append(f"N is {results.n}: below {FEW} these figures say little.")
    inputs = {f"real {name}": describe_folder(folder) for name, folder in reals.items()}
    for name in names:
        inputs |= {f"{name}, {steps} steps": describe_folder(folder) for steps, folder in fakes[name].items()}
    definitions = {
        name: words for encoder in encoders for name, words in definitions_of(encoder.name, results.shown).items()
    }
    record = make_record(
        f"Figures against training steps: {', '.join(names)}",
        results,
        inputs=inputs,
        definitions=definitions | DEFINITIONS,
        warnings=warnings,
    )
    finish(record, _pictures(reals, fakes, results), output)


def _generate(chosen: Sequence[Checkpoint], out: Path, generation: GenerationSettings) -> Fakes:
    fakes: Fakes = {one.class_name: {} for one in chosen}
    with progress_bar() as progress:
        for done, one in enumerate(chosen, 1):
            fakes[one.class_name][one.step] = open_folder(make_pictures(one, out / one.name, generation))
            progress("pictures", done, len(chosen))
    return fakes


def _measure(
    encoders: Sequence[Encoder],
    reals: dict[str, PictureFolder],
    fakes: Fakes,
    chosen: Sequence[Checkpoint],
    settings: ScoreSettings,
    generation: GenerationSettings,
) -> CurveResults:
    assert settings.n is not None
    return CurveResults(
        n=settings.n,
        bootstrap=settings.bootstrap,
        seed=settings.seed,
        sampling=Sampling(generation.steps, generation.guidance_scale),
        encoders={encoder.name: encoder.sha256 for encoder in encoders},
        checkpoints={one.name: one.sha256 for one in chosen},
        shown=[figure for encoder in encoders for figure in SHOWN[encoder.name]],
        classes=score_all(encoders, reals, fakes, settings),
        thesis=published_of(list(reals)),
        thesis_overall=OVERALL,
    )


def _pictures(reals: dict[str, PictureFolder], fakes: Fakes, results: CurveResults) -> dict[str, Picture]:
    found = {}
    scores, shown = results.classes, results.shown
    for name, folder in reals.items():
        rows = [folder.pick(range(min(COLUMNS, len(folder))))]
        rows += [fake.pick(range(min(COLUMNS, len(fake)))) for fake in fakes[name].values()]
        sheet = draw_sheet([picture for row in rows for picture in row], COLUMNS, 96)
        steps = ", ".join(f"{steps:,}" for steps in fakes[name])
        caption = f"{name}: first row real, then generated after {steps} steps; always the first pictures of the folder"
        found[f"sheet_{name}"] = Picture(sheet, caption, real=True)
        plot = to_image(plot_curve(scores[name], shown, PUBLISHED.get(name)))
        found[f"curve_{name}"] = Picture(plot, f"{name}: figures against training steps")
    found["means"] = Picture(to_image(plot_means(scores, shown, MEANS)), "Means over the training steps, by class")
    return found
