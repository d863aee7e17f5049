"""The command `score`: distances, floors, intervals and controls of one class."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from evaluate.cli.options import AsJson, RecordOut, Seed, finish, progress_bar
from evaluate.encoders.features import Encoder, open_encoders
from evaluate.images import PictureFolder, expect_real, open_different
from evaluate.metrics.registry import METRICS
from evaluate.report.records import Picture, check_out, describe_folder, make_record
from evaluate.report.sheets import draw_sheet
from evaluate.studies.score import FEW, Score, compare_folders, not_measured, sample_size, score

__all__ = ["score_command"]

SHOWN = 36
DEFINITIONS = {
    "floor": "real pictures against other real pictures, N of each, that share no source picture",
    "blurred reals": "real pictures under a Gaussian blur of 1/64 of the side",
    "ten repeated reals": "ten real pictures, repeated to N",
    "another class": "real pictures of --other",
    "value": "mean over random splits of the real pictures in two halves, N of each",
    "interval of floor and controls": "5th to 95th percentile over the splits",
    "interval of synthetic": "bootstrap over the source pictures of both sides, 5th to 95th percentile of the mean over"
    " samples of N, moved by the difference of the means, since drawing with replacement repeats pictures and biases"
    " most figures",
    "clear": "a Fréchet distance above 3 floors, a kernel distance above the floor's interval",
}


def score_command(
    real: Annotated[Path, typer.Argument(metavar="REAL", help="Real pictures of one class, framed as for training.")],
    fake: Annotated[Path, typer.Argument(metavar="FAKE", help="Synthetic pictures of that class.")],
    other: Annotated[Path | None, typer.Option(help="Real pictures of another class, for the third control.")] = None,
    features: Annotated[
        str, typer.Option(help="inception, cyto, or auto: cyto, and inception where its weights are.")
    ] = "auto",
    n: Annotated[int | None, typer.Option("--n", help="Pictures a sample; by default as many as there are.")] = None,
    splits: Annotated[int, typer.Option(min=10, help="Random splits of the real pictures.")] = 20,
    bootstrap: Annotated[int, typer.Option(min=20, help="Replicates of the bootstrap.")] = 100,
    seed: Seed = 0,
    out: RecordOut = None,
    as_json: AsJson = False,
) -> None:
    """FID, IS, KID, precision, recall, density, coverage (on Inception's and cyto's features) of FAKE against REAL,
    each beside its real-against-real floor, its interval and three controls."""
    check_out(out, "score")
    encoders, warnings = open_encoders(features)
    folders = open_different({"REAL": real, "FAKE": fake} | ({} if other is None else {"--other": other}))
    expect_real({name: folder for name, folder in folders.items() if name != "FAKE"})
    reals, fakes, others = folders["REAL"], folders["FAKE"], folders.get("--other")
    n = sample_size(reals.sources, len(fakes), None if others is None else len(others), n)
    warnings += _warnings(folders, n)
    inputs = {name: describe_folder(folder) for name, folder in folders.items()}
    scores: dict[str, Score] = {}
    omitted: dict[str, str] = {}
    for encoder in encoders:
        with progress_bar() as progress:
            compared = compare_folders(encoder, reals, fakes, others, progress)
        scores |= score(encoder.name, compared, n=n, splits=splits, bootstrap=bootstrap, seed=seed)
        omitted |= not_measured(encoder.name, n)
    record = make_record(
        "score",
        f"Score: {fake} against {real}",
        inputs=inputs,
        results={
            "n": n,
            "splits": splits,
            "bootstrap": bootstrap,
            "seed": seed,
            "encoders": {encoder.name: encoder.sha256 for encoder in encoders},
            "figures": {name: found.as_facts() for name, found in scores.items()},
            "insensitive": _insensitive(encoders, scores),
            "not_measured": omitted,
        },
        definitions={name: words for encoder in encoders for name, words in _definitions(encoder, scores)}
        | DEFINITIONS,
        warnings=warnings,
    )
    sheets = {
        "real": Picture(_sheet(reals), f"Real: the first {min(SHOWN, len(reals))} pictures of {real}", real=True),
        "synthetic": Picture(_sheet(fakes), f"Synthetic: the first {min(SHOWN, len(fakes))} pictures of {fake}"),
    }
    finish(record, sheets, out, as_json)


def _sheet(folder: PictureFolder) -> Any:
    return draw_sheet(list(next(folder.batches(128, SHOWN))))


def _definitions(encoder: Encoder, scores: dict[str, Score]) -> list[tuple[str, str]]:
    return [item for metric in METRICS[encoder.name] for item in metric.definitions.items() if item[0] in scores]


def _warnings(folders: dict[str, PictureFolder], n: int) -> list[str]:
    found = []
    if n < FEW:
        counts = ", ".join(f"{name} {len(folder)}" for name, folder in folders.items())
        found.append(
            f"N is {n}; below {FEW} these figures say little. It is half of REAL at most, all of the others: {counts}."
        )
    if len({folder.side for folder in folders.values()}) > 1:
        sides = ", ".join(f"{name} {folder.side}" for name, folder in folders.items())
        found.append(f"The folders' pictures differ in size ({sides} pixels), which the figures see too.")
    reals = folders["REAL"]
    if reals.has_variants:
        sources = len(set(reals.sources))
        found.append(
            f"REAL holds augmented copies: {len(reals)} pictures of {sources} sources, which are kept together."
        )
    return found


def _insensitive(encoders: list[Encoder], scores: dict[str, Score]) -> dict[str, str]:
    """Feature sets that do not tell some control from real pictures, and by which figure."""
    found = {}
    for encoder in encoders:
        missed = [
            f"{name} does not tell {', '.join(control for control, clear in scores[name].clear.items() if not clear)} "
            "from real pictures"
            for metric in METRICS[encoder.name]
            for name in metric.definitions
            if name in scores and scores[name].sensitive is False
        ]
        if missed:
            found[encoder.name] = "; ".join(missed)
    return found
