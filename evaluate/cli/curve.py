"""The command `curve`: figures against training steps, beside those that the thesis published."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from engine.errors import RequestError
from evaluate.cli.options import AsJson, Seed, finish, progress_bar
from evaluate.encoders.features import Encoder, blurred_features, features_of, open_encoders
from evaluate.images import PictureFolder, expect_real, open_different, open_folder
from evaluate.metrics.registry import METRICS
from evaluate.report.curve_plots import plot_curve, plot_means
from evaluate.report.plots import to_image
from evaluate.report.records import Picture, check_out, describe_folder, make_record
from evaluate.report.sheets import draw_sheet
from evaluate.studies.curve import find_checkpoints, make_pictures, refuse_others
from evaluate.studies.score import FEW, Compared, Score, sample_size, score
from evaluate.studies.thesis import MEANS, OVERALL, PUBLISHED, TABLES

__all__ = ["curve_command"]

COLUMNS = 8
SHOWN = {"inception": ("FID-64", "FID-2048", "IS-10"), "cyto": ("FD-cyto", "IS-cyto-10")}
"""What tables and plots show; the record has every figure."""
DEFINITIONS = {
    "thesis": "FID and IS as the thesis printed them, of Stable Diffusion 1.5 at 512 x 512 on pictures that are not"
    " public. It names no layer, and values below 1 cannot be FID-2048 on about 100 pictures. Only the course of the"
    " curves can be compared with ours",
    "floor": "real pictures against other real pictures, N of each",
    "interval": "bootstrap over source pictures, 5th to 95th percentile",
}
Scores = dict[str, dict[int, dict[str, Score]]]


def curve_command(
    checkpoints: Annotated[Path, typer.Argument(metavar="CHECKPOINTS", help="OUT of `trainer fit --save-every`.")],
    base: Annotated[str, typer.Option(help="The base that they were trained on.")],
    real: Annotated[Path, typer.Option(help="A folder of real pictures for each class, not trained on.")],
    out: Annotated[Path, typer.Option(help="A folder for pictures and record; what is there is not done again.")],
    class_name: Annotated[list[str] | None, typer.Option("--class", help="By default all; may be repeated.")] = None,
    step: Annotated[list[int] | None, typer.Option("--step", help="By default all; may be repeated.")] = None,
    n: Annotated[int, typer.Option("--n", min=2, help="Pictures of each checkpoint.")] = FEW,
    guidance_scale: Annotated[float, typer.Option(help="Of the sampler.")] = 7.0,
    sampling_steps: Annotated[int, typer.Option(min=1, help="Of the sampler.")] = 20,
    features: Annotated[str, typer.Option(help="auto, inception or cyto, as of `score`.")] = "auto",
    bootstrap: Annotated[int, typer.Option(min=20, help="Replicates of the bootstrap.")] = 100,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Merge, export, generate and score every checkpoint: the thesis's tables 3.3 to 3.7 and figures 3.5 to 3.14."""
    if guidance_scale < 0:
        raise RequestError("--guidance-scale", found=f"{guidance_scale}", expected="at least 0", fix="change it")
    check_out(out / "record", "curve")
    encoders, warnings = open_encoders(features)
    chosen = find_checkpoints(checkpoints, class_name or [], step or [])
    settings: dict[str, Any] = {"base": base, "n": n, "guidance_scale": guidance_scale, "steps": sampling_steps}
    for one in chosen:
        refuse_others(one, out / "checkpoints" / one.name, **settings)
    names = list(dict.fromkeys(one.class_name for one in chosen))
    reals = open_different({name: real / name for name in names})
    expect_real(reals)
    fakes: dict[str, dict[int, PictureFolder]] = {name: {} for name in names}
    with progress_bar() as progress:
        for done, one in enumerate(chosen, 1):
            folder = make_pictures(one, out / "checkpoints" / one.name, **settings)
            fakes[one.class_name][one.step] = open_folder(folder)
            progress("pictures", done, len(chosen))
    least = min(len(folder) for by_step in fakes.values() for folder in by_step.values())
    sample = min(sample_size(reals[name].sources, least, None, None) for name in names)
    if sample < FEW:
        warnings.append(f"N is {sample}; below {FEW} these figures say little.")
    inputs = {f"real {name}": describe_folder(folder) for name, folder in reals.items()}
    for name in names:
        inputs |= {f"{name}, {steps} steps": describe_folder(folder) for steps, folder in fakes[name].items()}
    scores = _score_all(encoders, reals, fakes, n=sample, bootstrap=bootstrap, seed=seed)
    shown = [figure for encoder in encoders for figure in SHOWN[encoder.name]]
    record = make_record(
        "curve",
        f"Figures against training steps: {', '.join(names)}",
        inputs=inputs,
        results={
            "n": sample,
            "bootstrap": bootstrap,
            "seed": seed,
            "sampling": {"steps": sampling_steps, "guidance_scale": guidance_scale},
            "encoders": {encoder.name: encoder.sha256 for encoder in encoders},
            "checkpoints": {one.name: one.sha256 for one in chosen},
            "shown": shown,
            "classes": {
                name: {
                    str(steps): {figure: found.as_facts() for figure, found in figures.items()}
                    for steps, figures in by_step.items()
                }
                for name, by_step in scores.items()
            },
            "thesis": {
                name: {
                    "table": TABLES[name],
                    "values": {str(steps): pair for steps, pair in PUBLISHED[name].items()},
                    "mean": MEANS[name],
                }
                for name in names
                if name in PUBLISHED
            },
            "thesis_overall": OVERALL,
        },
        definitions={
            **{
                figure: words
                for encoder in encoders
                for metric in METRICS[encoder.name]
                for figure, words in metric.definitions.items()
                if figure in shown
            },
            **DEFINITIONS,
        },
        warnings=warnings,
    )
    finish(record, _pictures(reals, fakes, scores, shown), out / "record", as_json)


def _score_all(
    encoders: list[Encoder],
    reals: dict[str, PictureFolder],
    fakes: dict[str, dict[int, PictureFolder]],
    *,
    n: int,
    bootstrap: int,
    seed: int,
) -> Scores:
    """Every checkpoint; the third control is the next class."""
    names = list(reals)
    scores: Scores = {name: {steps: {} for steps in fakes[name]} for name in names}
    for encoder in encoders:
        real = {name: features_of(encoder, folder) for name, folder in reals.items()}
        for place, name in enumerate(names):
            blurred = blurred_features(encoder, reals[name])
            other = real[names[(place + 1) % len(names)]] if len(names) > 1 else None
            for steps, folder in fakes[name].items():
                compared = Compared(real[name], blurred, features_of(encoder, folder), other, reals[name].sources)
                scores[name][steps] |= score(encoder.name, compared, n=n, bootstrap=bootstrap, seed=seed)
    return scores


def _pictures(
    reals: dict[str, PictureFolder], fakes: dict[str, dict[int, PictureFolder]], scores: Scores, shown: list[str]
) -> dict[str, Picture]:
    found = {}
    for name, folder in reals.items():
        rows = [folder.pick(range(min(COLUMNS, len(folder))))]
        rows += [fake.pick(range(min(COLUMNS, len(fake)))) for fake in fakes[name].values()]
        sheet = draw_sheet([picture for row in rows for picture in row], COLUMNS, 96)
        steps = ", ".join(f"{steps:,}" for steps in fakes[name])
        caption = f"{name}: the first row real, then generated after {steps} steps; the first of each, not chosen"
        found[f"sheet_{name}"] = Picture(sheet, caption, real=True)
        plot = to_image(plot_curve(scores[name], shown, PUBLISHED.get(name)))
        found[f"curve_{name}"] = Picture(plot, f"{name}: figures against training steps")
    found["means"] = Picture(to_image(plot_means(scores, shown, MEANS)), "Means over the training steps, by class")
    return found
