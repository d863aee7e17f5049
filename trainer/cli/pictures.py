"""The commands that make pictures ready for training: phantom and prepare."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from engine.machine import available_cores
from engine.options import with_options
from trainer.cli.options import Out, progress_bar
from trainer.pictures.phantom import GENERAL, RECIPES
from trainer.pictures.prepare import PrepareSettings

__all__ = ["phantom", "prepare"]


def phantom(
    out: Out,
    class_name: Annotated[
        list[str],
        typer.Option("--class", help=f"Class to draw: {', '.join([*RECIPES, GENERAL])}; may be repeated."),
    ] = list(RECIPES),  # noqa: B006 - typer copies it
    n: Annotated[int, typer.Option("--n", help="Pictures per class.")] = 20,
    size: Annotated[int, typer.Option(help="Side of a picture in pixels.")] = 256,
    seed: Annotated[
        int, typer.Option(help="Seed of the first picture; picture i has SEED + i. Use seeds N apart for two sets.")
    ] = 0,
) -> None:
    """Draw procedural cytology pictures and their masks: OUT/pictures/<class> and OUT/masks/<class>."""
    from trainer.pictures.phantom_set import draw_set

    with progress_bar() as progress:
        draw_set(
            out,
            class_name,
            n=n,
            size=size,
            seed=seed,
            workers=available_cores(),
            progress=progress,
        )
    print(f"{n} pictures of each class ({', '.join(class_name)}): {out / 'pictures'}; masks: {out / 'masks'}")


@with_options
def prepare(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="Folder of pictures, or a folder with one subfolder per class.")
    ],
    out: Out,
    settings: PrepareSettings,
    held_out: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of held-out pictures, which must not be among the pictures of IN; may be repeated."),
    ] = None,
) -> None:
    """Cut the centre square, resize and augment the pictures of each class: OUT/<class>/*.png and OUT/sources.jsonl.

    Prints a warning for each pair of pictures that are alike.
    """
    from trainer.pictures.prepare import COMPARED
    from trainer.pictures.prepare import prepare as prepare_pictures

    with progress_bar() as progress:
        found = prepare_pictures(
            source,
            out,
            settings,
            held_out=held_out or (),
            progress=progress,
        )
    if found.alike is None:
        print(f"warning: more than {COMPARED} pictures, so they were not compared for duplicates", file=sys.stderr)
    for pair in found.alike or ():
        words = "are the same" if pair.likeness == 1 else f"are nearly the same ({pair.likeness:.3f})"
        print(f"warning: {pair.one} and {pair.other} {words}", file=sys.stderr)
    pixels = f"{settings.size} x {settings.size} pixels" if settings.resize else "their original size"
    print(f"{sum(found.counts.values())} pictures of {pixels} in {out}: {found.counts}")
