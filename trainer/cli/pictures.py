"""The commands that make pictures ready for training: phantom and prepare."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from engine.machine import available_cores
from engine.options import with_options
from engine.terminal import warn
from trainer.cli.options import Out, progress_bar
from trainer.pictures.phantom_set import PhantomSettings, draw_set
from trainer.pictures.prepare import PrepareSettings

__all__ = ["phantom", "prepare"]


@with_options
def phantom(out: Out, settings: PhantomSettings) -> None:
    """Draw procedural cytology pictures and their masks: OUT/pictures/<class> and OUT/masks/<class>."""
    with progress_bar() as progress:
        draw_set(out, settings, available_cores(), progress)
    names = ", ".join(settings.class_names)
    print(f"{settings.n} pictures of each class ({names}): {out / 'pictures'}; masks: {out / 'masks'}")


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
    for words in found.notes:
        print(f"note: {words}", file=sys.stderr)
    if found.alike is None:
        warn(f"more than {COMPARED} pictures, so they were not compared for duplicates")
    for pair in found.alike or ():
        words = "are the same" if pair.likeness == 1 else f"are nearly the same ({pair.likeness:.3f})"
        warn(f"{pair.one} and {pair.other} {words}")
    pixels = f"{settings.size} x {settings.size} pixels" if settings.resize else "their original size"
    print(f"{sum(found.counts.values())} pictures of {pixels} in {out}: {found.counts}")
