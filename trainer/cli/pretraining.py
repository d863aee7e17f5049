"""The commands that train what all classes share: pretrain and encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trainer.cli.options import BatchSize, Device, Seed, progress_bar

__all__ = ["encoder", "pretrain"]


def pretrain(
    data: Annotated[list[Path], typer.Argument(metavar="DATA...", help="Prepared folders.")],
    out: Annotated[Path, typer.Option("--out", help="The base's folder; a cut-off run goes on there.")],
    start_from: Annotated[Path | None, typer.Option(help="Train this base on: a diffusers folder.")] = None,
    preset: Annotated[str, typer.Option(help="Of a new base: small, or tiny for trials.")] = "small",
    vae_steps: Annotated[int, typer.Option(help="Steps of a new base's autoencoder.")] = 6000,
    vae_batch_size: BatchSize = 16,
    vae_learning_rate: Annotated[float, typer.Option()] = 6e-4,
    decoder_steps: Annotated[int, typer.Option(help="Steps of the decoder against critics.")] = 1800,
    decoder_batch_size: BatchSize = 8,
    decoder_learning_rate: Annotated[float, typer.Option()] = 1.2e-4,
    unet_steps: Annotated[
        int, typer.Option(help="Steps of UNet and text encoder; 0 keeps those of --start-from.")
    ] = 6500,
    unet_batch_size: BatchSize = 32,
    unet_learning_rate: Annotated[float, typer.Option()] = 4e-4,
    device: Device = "auto",
    precision: Annotated[str, typer.Option(help="auto, f32 or bf16 (by autocast); auto is f32 on a CPU.")] = "auto",
    compiled: Annotated[bool, typer.Option("--compile", help="torch.compile the UNet.")] = False,
    seed: Seed = 0,
) -> None:
    """Train a small latent-diffusion base, from scratch or on from another, as a diffusers folder."""
    from trainer.pretraining import pretrain as room
    from trainer.training.devices import choose_compute
    from trainer.training.loop import LoopSettings
    from trainer.training.schedule import Cosine

    def settings(steps: int, batch_size: int, rate: float, **rest: Any) -> LoopSettings:
        return LoopSettings(steps, batch_size, Cosine(rate, min(200, max(1, steps // 10))), seed=seed, **rest)

    with progress_bar() as progress:
        room.pretrain(
            data,
            out,
            preset=preset,
            vae_settings=settings(vae_steps, vae_batch_size, vae_learning_rate),
            decoder_settings=settings(
                decoder_steps, decoder_batch_size, decoder_learning_rate, ema_decay=0.99, betas=(0.5, 0.99)
            ),
            unet_settings=None
            if start_from is not None and unet_steps == 0
            else settings(unet_steps, unet_batch_size, unet_learning_rate, ema_decay=0.999),
            start=start_from,
            compute=choose_compute(device, precision, gradient_checkpointing=False, compiled=compiled),
            progress=progress,
        )
    print(f"The base is in {out}, its record in {out / 'record.json'}.")


def encoder(
    data: Annotated[list[Path], typer.Argument(metavar="DATA...", help="Prepared folders of real classes.")],
    out: Annotated[Path, typer.Option("--out", help="The ONNX file; its record is written beside it.")],
    attribution: Annotated[str, typer.Option(help="Whom to name for the pictures.")],
    work: Annotated[Path, typer.Option(help="Where checkpoints go.")] = Path("work/encoder"),
    steps: Annotated[int, typer.Option(help="Training steps.")] = 1000,
    batch_size: BatchSize = 32,
    seed: Seed = 0,
) -> None:
    """Train the small encoder whose features `evaluate` uses."""
    from trainer.pretraining.feature_encoder import train_encoder

    with progress_bar() as progress:
        record = train_encoder(
            data,
            out,
            steps=steps,
            batch_size=batch_size,
            seed=seed,
            attribution=attribution,
            work=work,
            progress=progress,
        )
    print(f"{out}: accuracy {record['validation_accuracy']:.3f} on {record['validation_pictures']} pictures kept back.")
