"""The command `copies`: synthetic pictures that repeat a training picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.errors import RequestError
from engine.files import write_text
from evaluate.copies import DEFINITIONS, FEW, Copies, find_copies
from evaluate.images import PictureFolder, open_different
from evaluate.plots import draw_histogram
from evaluate.records import Picture, check_out, describe_folder, make_record, metadata_of
from evaluate.sheets import draw_pairs
from evaluate.terminal import AsJson, RecordOut, finish, progress_bar

__all__ = ["copies_command"]

PAIRS = 12
EXCLUDE = "exclude.jsonl"


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
    folders = open_different({"FAKE": fake, "--train": train, "--held-out": held_out})
    fakes, trained, reals = folders.values()
    if len(reals) < 2:
        raise RequestError(
            f"The held-out pictures in {held_out}",
            found="1",
            expected=f"at least 2, better {FEW}: their distances are the measure",
            mend="add pictures that were not trained on",
        )
    with progress_bar() as progress:
        found = find_copies(fakes, trained, reals, progress)
    warnings = []
    if len(reals) < FEW:
        warnings.append(
            f"{len(reals)} held-out pictures; below {FEW} the threshold is their smallest distance or nearly."
        )
    if not found.threshold > 0:
        warnings.append("A held-out picture is a training picture: the threshold is 0 and finds nothing.")
    pairs = [
        {
            "synthetic": fakes.files[place].name,
            "training": trained.files[found.synthetic.indices[place]].name,
            "distance": float(found.synthetic.distances[place]),
        }
        for place in found.synthetic.distances.argsort(kind="stable")[:PAIRS]
    ]
    record = make_record(
        "copies",
        f"Copies of training pictures in {fake}",
        inputs={name: describe_folder(folder) for name, folder in folders.items()},
        results={
            "threshold": found.threshold,
            "rate": found.rate,
            "rate_low": found.rate_low,
            "rate_high": found.rate_high,
            "held_out_rate": found.held_out_rate,
            "copies": [fakes.files[place].name for place in found.copies],
            "closest": pairs,
            "distances": {"synthetic": _rounded(found.synthetic), "held out": _rounded(found.held_out)},
        },
        definitions=DEFINITIONS,
        warnings=warnings,
    )
    pictures = {
        "pairs": Picture(
            _draw_pairs(fakes, trained, found),
            f"The {len(pairs)} closest pairs: synthetic left, its nearest training picture right",
            real=True,
        ),
        "distances": Picture(
            draw_histogram(
                {"held-out real": found.held_out.distances, "synthetic": found.synthetic.distances},
                "distance to the nearest training picture",
                mark=("threshold", found.threshold),
            ),
            "Distances to the nearest training picture",
        ),
    }
    finish(record, pictures, out, as_json)
    if out is not None:
        write_text(out / EXCLUDE, _exclusions(fakes, found))


def _rounded(nearest: Any) -> list[float]:
    return [round(float(value), 5) for value in nearest.distances]


def _draw_pairs(fakes: PictureFolder, trained: PictureFolder, found: Copies) -> Any:
    closest = found.synthetic.distances.argsort(kind="stable")[:PAIRS]
    ours, theirs = fakes.pick(closest), trained.pick(found.synthetic.indices[closest])
    return draw_pairs(list(zip(ours, theirs, strict=True)))


def _exclusions(fakes: PictureFolder, found: Copies) -> str:
    """One line a copy, as metadata.jsonl has it; `engine.SyntheticCells(exclude=...)` takes the file."""
    rows = metadata_of(fakes)
    copies = [fakes.files[place].name for place in found.copies]
    return "".join(json.dumps(rows.get(name, {"file_name": name}), ensure_ascii=False) + "\n" for name in copies)
