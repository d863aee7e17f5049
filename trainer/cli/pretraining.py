"""The commands that train what all classes share: pretrain and encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.locks import locked_folder, locked_folder_of
from engine.options import Without, with_options
from engine.terminal import warn
from trainer.cli.options import progress_bar
from trainer.pretraining.settings import CardSettings, EncoderSettings, Origin, PretrainSettings
from trainer.training.settings import Hardware

__all__ = ["encoder", "pretrain"]


@with_options
def pretrain(
    data: Annotated[list[Path], typer.Argument(metavar="DATA...", help="Folders of prepared pictures.")],
    out: Annotated[
        Path, typer.Option("--out", help="Folder for the base. The same command resumes an interrupted run.")
    ],
    settings: PretrainSettings,
    card: CardSettings,
    hardware: Annotated[Hardware, Without("gradient_checkpointing")],
) -> None:
    """Train a small latent-diffusion base, from scratch or from another base, and write a diffusers folder."""
    from trainer.pretraining.pretrain import pretrain as train
    from trainer.training.devices import choose_compute

    with progress_bar() as progress:
        train(
            data,
            out,
            settings.stages(),
            Origin(settings.preset, settings.start_from, card),
            compute=choose_compute(hardware),
            progress=progress,
            warn=warn,
        )
    print(f"The base: {out}; record: {out / 'record.json'}")


@with_options
def encoder(
    data: Annotated[
        list[Path], typer.Argument(metavar="DATA...", help="Folders of prepared pictures of real classes.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Output ONNX file. The record is written beside it.")],
    settings: EncoderSettings,
) -> None:
    """Train the small encoder whose features `evaluate` uses."""
    from trainer.pretraining.feature_encoder import train_encoder

    with locked_folder_of(out), locked_folder(settings.work), progress_bar() as progress:
        record = train_encoder(data, out, settings, progress)
    print(f"{out}: accuracy {record['validation_accuracy']:.3f} on {record['validation_pictures']} held-out pictures")
