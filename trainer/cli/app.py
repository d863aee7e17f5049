"""The command line `python -m trainer`: phantom, prepare, pretrain, fit, embed, merge, convert, inspect, encoder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import CytosynthError
from trainer.cli import files as cli_files
from trainer.cli import fitting as cli_training
from trainer.cli import pretraining as cli_bases
from trainer.cli.options import Out, Seed, progress_bar
from trainer.pictures.phantom import GENERAL, RECIPES

__all__ = ["app", "main"]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def phantom(
    out: Out,
    class_name: Annotated[
        list[str], typer.Option("--class", help=f"{', '.join([*RECIPES, GENERAL])}; may be repeated.")
    ] = list(RECIPES),  # noqa: B006 - typer copies it
    n: Annotated[int, typer.Option("--n", help="Pictures of each class.")] = 20,
    size: Annotated[int, typer.Option(help="Side in pixels.")] = 256,
    seed: Annotated[int, typer.Option(help="Picture i has seed SEED + i: two sets need seeds N apart.")] = 0,
) -> None:
    """Draw procedural cytology pictures and their masks: OUT/pictures/<class>, OUT/masks/<class>."""
    from trainer.pictures.phantom_set import draw_set

    with progress_bar() as progress:
        workers = os.cpu_count() or 1
        draw_set(
            out,
            class_name,
            n=n,
            size=size,
            seed=seed,
            workers=workers,
            progress=lambda done, total: progress("phantom", done, total),
        )
    print(f"{n} pictures of each of {', '.join(class_name)} in {out / 'pictures'}, their masks in {out / 'masks'}.")


@app.command()
def prepare(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Pictures, or a folder of them for each class.")],
    out: Out,
    size: Annotated[int, typer.Option(help="Side in pixels, a multiple of 8 (of 32 for the preset small).")] = 128,
    resize: Annotated[bool, typer.Option(help="--no-resize keeps the centre square as large as it is.")] = True,
    crop: Annotated[float, typer.Option(help="Share of the centre square that is kept.")] = 1.0,
    n: Annotated[int | None, typer.Option("--n", help="Pictures of each class, by augmentation.")] = None,
    mode: Annotated[
        str, typer.Option(help="preserve keeps the nucleus's area; rudi is the thesis's augmentation, which does not.")
    ] = "preserve",
    flip: Annotated[bool, typer.Option(help="--no-flip for classes that may not be mirrored (mode preserve).")] = True,
    held_out: Annotated[
        list[Path] | None, typer.Option(help="Pictures that must not be among these; may be repeated.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Centre square, resize and augment: OUT/<class>/*.png and OUT/sources.jsonl. Pictures that are alike are named."""
    from trainer.pictures import prepare as room

    settings = room.PrepareSettings(size if resize else None, crop, n, mode, flip, seed)
    with progress_bar() as progress:
        found = room.prepare(
            source,
            out,
            settings,
            held_out=held_out or (),
            progress=lambda done, total: progress("prepare", done, total),
        )
    if found.alike is None:
        print(f"warning: more than {room.LOOKED_AT} pictures: not compared for duplicates", file=sys.stderr)
    for pair in found.alike or ():
        words = "are the same" if pair.likeness == 1 else f"are nearly the same ({pair.likeness:.3f})"
        print(f"warning: {pair.one} and {pair.other} {words}", file=sys.stderr)
    pixels = f"{size} x {size}" if resize else "their own size"
    print(f"{sum(found.counts.values())} pictures of {pixels} in {out}: {found.counts}")


COMMANDS: tuple[Callable[..., None], ...] = (
    cli_bases.pretrain,
    cli_training.fit,
    cli_training.embed,
    cli_files.merge,
    cli_files.convert,
    cli_files.inspect,
    cli_bases.encoder,
)
for command in COMMANDS:
    app.command()(command)


def main() -> None:
    """Run the command line; wrong requests exit 2, failures exit 1."""
    # What transformers says while it is imported and reads a folder is no news to this program's users.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        app()
    except CytosynthError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        print(f"error: {error.strerror or error}: {error.filename or 'a file'}", file=sys.stderr)
        sys.exit(1)
