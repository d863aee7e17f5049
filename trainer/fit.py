"""`fit`: one hypernetwork for one class on a frozen base."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from engine.errors import RequestError
from trainer.autoencoder import encode_set
from trainer.bases import digest_of, encode_prompts, open_base
from trainer.dataset import read_set, turn
from trainer.hypernet import ClassRecord, Hypernetwork, attached, attention_layers, save_hypernetwork
from trainer.loop import LoopSettings, digest_parts, run_loop
from trainer.objective import denoising_loss
from trainer.record import write_record

__all__ = ["fit"]

SYMMETRIES = range(8)


def fit(
    base_folder: Path,
    data_folder: Path,
    out: Path,
    *,
    record: ClassRecord,
    settings: LoopSettings,
    layer_structure: tuple[float, ...] = (1, 2, 1),
    progress: Callable[..., None] = lambda *values: None,
) -> None:
    """Train on prepared pictures of one class (in their eight symmetries) and write
    `out/<class>.safetensors` and `out/<class>.json`; a cut-off run goes on when the same command is given.

    Raises RequestError where the data set holds several classes, or pictures of another size than the base's.
    """
    data = read_set([data_folder])
    if len(data.class_names) != 1:
        raise RequestError(
            f"The picture folder {data_folder}",
            found=f"{len(data.class_names)} classes: {', '.join(data.class_names)}",
            expected="pictures of one class",
            mend=f"name one of its sub-folders, such as {data_folder / data.class_names[0]}",
        )
    base = open_base(base_folder)
    side = base.unet.config.sample_size * 2 ** (len(base.vae.config.block_out_channels) - 1)
    if data.size != side:
        raise RequestError(
            f"The pictures of {data_folder}",
            found=f"{data.size} x {data.size} pixels",
            expected=f"{side} x {side}, the base's size",
            mend=f"prepare them with --size {side}",
        )
    base.unet.requires_grad_(False)
    with torch.no_grad():
        context = encode_prompts(base, [record.prompt])
    latents = torch.cat([encode_set(base.vae, turn(data.pictures, which)) for which in SYMMETRIES])
    torch.manual_seed(settings.seed)
    dimensions = sorted({layer.to_k.in_features for _, layer in attention_layers(base.unet)})
    hypernetwork = Hypernetwork(dimensions, layer_structure)

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        batch = latents[torch.randint(len(latents), (settings.batch_size,), generator=generator)]
        conditions = context.expand(settings.batch_size, -1, -1)
        return denoising_loss(base.unet, base.scheduler, batch, conditions, generator, snr_gamma=5.0)

    base_sha256 = digest_of(base.unet)
    subject = digest_parts(data.pictures, asdict(record), layer_structure, base_sha256)
    with attached(base.unet, hypernetwork):
        run = run_loop(
            record.class_name, hypernetwork, loss_of, settings, out / "checkpoints", subject=subject, progress=progress
        )
    save_hypernetwork(out / f"{record.class_name}.safetensors", hypernetwork, record, base_sha256)
    parameters = sum(parameter.numel() for parameter in hypernetwork.parameters())
    write_record(
        out / f"{record.class_name}.json",
        record=asdict(record),
        layer_structure=layer_structure,
        dimensions=dimensions,
        parameters=parameters,
        prepared_pictures=len(data.pictures),
        training=run,
    )
