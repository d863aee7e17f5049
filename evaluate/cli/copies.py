"""The command `copies`: synthetic pictures that repeat a training picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import RequestError
from evaluate.cli.options import AsJson, RecordOut, finish, progress_bar
from evaluate.images import expect_real, first_of, open_different, open_folder, refuse_shared
from evaluate.report.plots import plot_histogram, to_image
from evaluate.report.records import Picture, check_out, describe_folder, make_record, metadata_of
from evaluate.report.sheets import draw_pairs
from evaluate.studies.copies import DEFINITIONS, FEW, Nearest, find_copies

__all__ = ["copies_command"]

PAIRS = 12
EXCLUDE = "exclude.jsonl"
SAME = 0.02
"""Two pictures nearer than this are one, compressed or saved anew."""


def copies_command(
    fake: Annotated[Path, typer.Argument(metavar="FAKE", help="Synthetic pictures of one class.")],
    train: Annotated[Path, typer.Option(help="The pictures that the class, or its base, was trained on.")],
    held_out: Annotated[Path, typer.Option(help="Real pictures of that class that were not trained on.")],
    out: RecordOut = None,
    as_json: AsJson = False,
) -> None:
    """The nearest training picture of every picture in FAKE, under rotation, mirroring, shift and zoom; the copies
    among them by what held-out real pictures have; with --out also the closest pairs and exclude.jsonl."""
    check_out(out, "copies")
    folders = {"FAKE": open_folder(fake), **open_different({"--train": train, "--held-out": held_out})}
    fakes, trained, reals = folders.values()
    expect_real({"--train": trained, "--held-out": reals})
    # A file in both FAKE and --train is a copy, and what is looked for.
    refuse_shared({"FAKE": [fakes], "--held-out": [reals]})
    if len(reals) < 2:
        raise RequestError(
            f"The held-out pictures in {held_out}",
            found="1",
            expected=f"at least 2, better {FEW}: their distances are the measure",
            fix="add pictures that were not trained on",
        )
    inputs = {name: describe_folder(folder) for name, folder in folders.items()}
    lines = metadata_of(fakes)
    with progress_bar() as progress:
        found = find_copies(fakes, trained, reals, progress)
    warnings = []
    if len(reals) < FEW:
        warnings.append(
            f"{len(reals)} held-out pictures; below {FEW} the threshold is their smallest distance or nearly."
        )
    if leaks := [reals.files[place].name for place in (found.held_out.distances < SAME).nonzero()[0]]:
        warnings.append(
            f"Held-out pictures that were trained on, which makes the threshold too small: {first_of(leaks)}."
        )
    if reals.has_variants:
        warnings.append(
            "The held-out pictures hold augmented copies: the threshold rests on fewer cells than it seems."
        )
    closest = found.synthetic.distances.argsort(kind="stable")[:PAIRS]
    copies = [fakes.files[place].name for place in found.copies]
    pairs = [
        {
            "synthetic": fakes.files[place].name,
            "training": trained.files[found.synthetic.indices[place]].name,
            "distance": float(found.synthetic.distances[place]),
        }
        for place in closest
    ]
    record = make_record(
        "copies",
        f"Copies of training pictures in {fake}",
        inputs=inputs,
        results={
            "threshold": found.threshold,
            "rate": found.rate,
            "rate_low": found.rate_low,
            "rate_high": found.rate_high,
            "held_out_rate": found.held_out_rate,
            "copies": copies,
            "closest": pairs,
            "distances": {"synthetic": _rounded(found.synthetic), "held out": _rounded(found.held_out)},
        },
        definitions=DEFINITIONS,
        warnings=warnings,
    )
    pictures = {
        "pairs": Picture(
            draw_pairs(list(zip(fakes.pick(closest), trained.pick(found.synthetic.indices[closest]), strict=True))),
            f"The {len(pairs)} closest pairs: synthetic left, its nearest training picture right",
            real=True,
        ),
        "distances": Picture(
            to_image(
                plot_histogram(
                    {"held-out real": found.held_out.distances, "synthetic": found.synthetic.distances},
                    "distance to the nearest training picture",
                    mark=("threshold", found.threshold),
                )
            ),
            "Distances to the nearest training picture",
        ),
    }
    # As metadata.jsonl has them; `engine.SyntheticCells(exclude=...)` takes the file.
    listed = "".join(json.dumps(lines.get(name, {"file_name": name})) + "\n" for name in copies)
    finish(record, pictures, out, as_json, {EXCLUDE: listed})


def _rounded(nearest: Nearest) -> list[float]:
    return [round(float(value), 5) for value in nearest.distances]
