"""The command `likelihood`: how likely a merged model finds pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.files import expect_new_file, write_json
from engine.locks import locked_folder_of
from engine.options import with_options
from trainer.cli.options import progress_bar
from trainer.likelihood.settings import LikelihoodSettings
from trainer.training.settings import Hardware

__all__ = ["likelihood"]


@with_options
def likelihood(
    merged: Annotated[Path, typer.Argument(metavar="MERGED", help="Folder that merge wrote.")],
    pictures: Annotated[Path, typer.Argument(metavar="PICTURES", help="Folder of prepared pictures of the class.")],
    settings: LikelihoodSettings,
    hardware: Hardware,
    out: Annotated[
        Path | None, typer.Option(help="New JSON file with the value of each picture, for `evaluate copies`.")
    ] = None,
) -> None:
    """Compute the log-likelihood of pictures in bits per dimension of their latents.

    Fewer bits mean that the model finds the pictures more likely. If its training pictures have clearly fewer bits than
    pictures that were kept back, the model has memorised them.
    """
    from trainer.adapters.merged import open_merged
    from trainer.likelihood.measure import measure_likelihood
    from trainer.pictures.dataset import read_set
    from trainer.training.devices import choose_compute

    if out is not None:
        expect_new_file(out)
    compute = choose_compute(hardware)
    data = read_set([pictures])
    opened = open_merged(merged)
    with progress_bar() as progress:
        found = measure_likelihood(opened.base, opened.prompt, data, settings, compute, progress)
    print(f"{found.mean:.4f} bits per dimension over {len(found.bits)} pictures, prompt {opened.prompt!r}")
    print(f"Standard error of Hutchinson's estimate: {found.mean_error:.4f}; of single pictures up to", end=" ")
    print(f"{found.errors.max():.4f}. Deviation between pictures: {found.bits.std():.4f}")
    if out is not None:
        with locked_folder_of(out):
            write_json(out, found.as_json())
        print(f"Record: {out}")
