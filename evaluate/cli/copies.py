"""The command `copies`: synthetic pictures that repeat a training picture."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import RequestError
from engine.options import with_options
from engine.terminal import progress_bar
from evaluate.cli.options import Fake, Output, finish, locked
from evaluate.images import PictureFolder, expect_real, first_of, open_different, open_folder, refuse_shared
from evaluate.report.inputs import describe_folder, metadata_of
from evaluate.report.plots import plot_histogram, to_image
from evaluate.report.records import Picture, check_out, make_record
from evaluate.report.sheets import draw_pairs
from evaluate.studies.copies import DEFINITIONS, DERIVED, FEW, Copies, Sources, find_copies, find_sources, results_of
from evaluate.studies.memorisation import DEFINITIONS as MEMORISED
from evaluate.studies.memorisation import measure_memorisation

__all__ = ["copies_command"]

PAIRS = 12
EXCLUDE = "exclude.jsonl"
SAME = 0.02
"""Two pictures closer than this are the same picture, compressed or saved again."""


@with_options
@locked(lambda values: values["output"].out)
def copies_command(
    fake: Fake,
    train: Annotated[Path, typer.Option(help="Pictures that the class, or its base, was trained on.")],
    held_out: Annotated[Path, typer.Option(help="Real pictures of the same class that were not trained on.")],
    output: Output,
    sources: Annotated[
        Path | None,
        typer.Option(
            help="Initial pictures of FAKE, as `engine generate --init` read them. Needed if FAKE was derived from "
            "pictures that are not in --train."
        ),
    ] = None,
    likelihood: Annotated[
        list[Path] | None,
        typer.Option(
            help="File of `trainer likelihood` with the pictures of --train, of --held-out, or of both; may be "
            "repeated. Adds whether the model finds its training pictures more likely."
        ),
    ] = None,
) -> None:
    """Find the nearest training picture of each picture in FAKE, under rotation, mirroring, shift and zoom.

    A picture is a copy if it is closer than almost all held-out real pictures are. A picture that was derived from an
    initial picture is also a copy if it is that close to its own initial picture. With --out, the record also holds the
    closest pairs and exclude.jsonl, the list of the copies.
    """
    check_out(output.out, "copies")
    folders = {"FAKE": open_folder(fake), **open_different({"--train": train, "--held-out": held_out})}
    fakes, trained, reals = folders.values()
    if sources is not None:
        folders["--sources"] = open_folder(sources)
    expect_real({"--train": trained, "--held-out": reals})
    # FAKE and --train may share files: these are copies, which the command looks for.
    refuse_shared({"FAKE": [fakes], "--held-out": [reals]})
    if len(reals) < 2:
        raise RequestError(
            f"The held-out pictures in {held_out}",
            found="1",
            expected=f"at least 2 and better {FEW}, because their distances set the threshold",
            fix="add pictures that were not trained on",
        )
    origins = find_sources(fakes, [folders[name] for name in ("--train", "--sources") if name in folders])
    memorisation = measure_memorisation(likelihood, trained, reals) if likelihood else None
    inputs = {name: describe_folder(folder) for name, folder in folders.items()}
    lines = metadata_of(fakes)
    with progress_bar() as progress:
        found = find_copies(fakes, trained, reals, origins, progress)
    results = replace(results_of(found, fakes, trained, PAIRS), memorisation=memorisation)
    definitions = DEFINITIONS | (DERIVED if origins else {}) | (MEMORISED if memorisation else {})
    record = make_record(
        f"Copies of training pictures in {fake}",
        results,
        inputs=inputs,
        definitions=definitions,
        warnings=_warnings(found, reals),
    )
    # Same rows as in metadata.jsonl; `engine.SyntheticCells(exclude=...)` reads the file.
    listed = "".join(json.dumps(lines.get(name, {"file_name": name})) + "\n" for name in results.copies)
    finish(record, _pictures(found, fakes, trained, origins), output, {EXCLUDE: listed})


def _warnings(found: Copies, reals: PictureFolder) -> list[str]:
    warnings = []
    if len(reals) < FEW:
        warnings.append(
            f"Only {len(reals)} held-out pictures: below {FEW} the threshold is close to their smallest distance."
        )
    if leaks := [reals.files[place].name for place in (found.held_out.distances < SAME).nonzero()[0]]:
        warnings.append(
            f"Held-out pictures that were trained on, which makes the threshold too small: {first_of(leaks)}."
        )
    if reals.has_variants:
        warnings.append("The held-out folder contains augmented copies: the threshold rests on fewer cells than files.")
    return warnings


def _pictures(found: Copies, fakes: PictureFolder, trained: PictureFolder, origins: Sources) -> dict[str, Picture]:
    closest = found.closest(PAIRS)
    pairs = list(zip(fakes.pick(closest), trained.pick(found.synthetic.indices[closest]), strict=True))
    histogram = plot_histogram(
        {"held-out real": found.held_out.distances, "synthetic": found.synthetic.distances},
        "distance to the nearest training picture",
        mark=("threshold", found.threshold),
    )
    pictures = {
        "pairs": Picture(
            draw_pairs(pairs),
            f"The {len(pairs)} closest pairs: synthetic left, its nearest training picture right",
            real=True,
        ),
        "distances": Picture(to_image(histogram), "Distances to the nearest training picture"),
    }
    if origins:
        derived = found.closest_to_own(PAIRS)
        initials = [origins[fakes.files[place].name] for place in derived]
        shown = (folder.pick([place])[0] for folder, place in initials)
        own = list(zip(fakes.pick(derived), shown, strict=True))
        pictures["own_pairs"] = Picture(
            draw_pairs(own),
            f"The {len(own)} closest to their initial picture: synthetic left, initial right",
            real=True,
        )
    return pictures
