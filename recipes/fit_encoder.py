"""A new encoder for a base whose own is lost: it learns to be the inverse of the decoder that is there.

    python -m recipes.fit_encoder BASE OUT PREPARED... [--precision bf16]

It learns from pictures that were decoded from latents which the UNet drew, and whose latents are therefore known, and
from the prepared pictures that the base has seen, which encoder and decoder together have to give back: first by their
pixels, then by features and texture too. By pixels alone it finds latents of which the decoder makes smooth pictures.
Everything else of BASE stays. OUT is the whole base, with a record; the same command goes on where it was cut off.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import nn
from torch.nn import functional

from engine.errors import RequestError
from trainer.base.base import Base, digest_of, encode_prompts, open_base, prompt_of
from trainer.base.sampling import draw_latents
from trainer.folders import expect_new_folder
from trainer.pictures.dataset import PictureSet, read_set, to_model_range, turn
from trainer.pretraining.autoencoder import pixel_loss, reconstruction_psnr_db
from trainer.pretraining.decoder import JITTER
from trainer.pretraining.likeness import compare
from trainer.pretraining.perceptual import open_perceptual_distance
from trainer.pretraining.pretrain import MEASURED, RECORD
from trainer.training.devices import Compute, choose_attention, choose_compute
from trainer.training.loop import LoopSettings, digest_parts, run_loop
from trainer.training.record import read_record, write_record
from trainer.training.schedule import Cosine

SAMPLING_STEPS = 12
BATCH_SIZE = 16
ALONE_SHARE = 0.35
"""For this share of the steps by pixels the encoder sees drawn pictures alone."""
LOG_VARIANCE = -10.0
"""Of the posterior. Nothing here asks the encoder for more than its mean."""


def main(
    start: Annotated[Path, typer.Argument(metavar="BASE", help="A base in the diffusers layout.")],
    out: Annotated[Path, typer.Argument(help="The base with its new encoder.")],
    folders: Annotated[list[Path], typer.Argument(metavar="PREPARED...", help="Pictures that the base has seen.")],
    samples: Annotated[int, typer.Option(help="Pictures that are drawn of each class.")] = 160,
    steps: Annotated[int, typer.Option(help="Steps by pixels.")] = 1300,
    texture_steps: Annotated[int, typer.Option(help="Steps by features and texture, after those.")] = 500,
    device: Annotated[str, typer.Option(help="auto, cpu, or a GPU such as cuda:0.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, f32 or bf16 (by autocast); auto is f32 on a CPU.")] = "auto",
) -> None:
    """Fit an encoder to the decoder of BASE and write OUT, the base with it and a record."""
    expect_new_folder(out)
    compute = choose_compute(device, precision, gradient_checkpointing=False, compiled=False)
    data = read_set(folders)
    base = open_base(start)
    choose_attention(base.unet, compute.device)
    torch.manual_seed(0)
    fresh = type(base.vae).from_config(base.vae.config)
    base.vae.encoder, base.vae.quant_conv = fresh.encoder, fresh.quant_conv
    channels = base.unet.config.in_channels
    with torch.no_grad():
        base.vae.quant_conv.weight[channels:] = 0
        base.vae.quant_conv.bias[channels:] = LOG_VARIANCE
    for part in (base.vae, base.unet, base.text_encoder):
        part.to(compute.device)
    stages = (
        LoopSettings(steps, BATCH_SIZE, Cosine(1e-3, min(100, steps)), ema_decay=0.99),
        LoopSettings(texture_steps, BATCH_SIZE, Cosine(4e-4, min(20, texture_steps)), ema_decay=0.99),
    )
    record = fit_encoder(base, data, samples, stages, out.with_name(f"{out.name}-checkpoints"), compute)
    record["training_psnr_db"] = reconstruction_psnr_db(base.vae, data.sample(MEASURED), compute)
    base.save(out)
    before = read_record(start / RECORD)
    known = {"start": before} if before else {}
    write_record(out / RECORD, **known, size=data.size, compute=compute.as_json(), encoder=record)
    print(f"The base is in {out}; it gives pictures back with {record['training_psnr_db']:.1f} dB.")


def fit_encoder(
    base: Base,
    data: PictureSet,
    samples: int,
    stages: tuple[LoopSettings, LoopSettings],
    work: Path,
    compute: Compute,
) -> dict[str, Any]:
    """Train the encoder alone, by pixels and then by texture; returns both trainings' records.

    The UNet's latents are the posterior's mean times vae.config.scaling_factor.
    """
    for part in (base.vae.decoder, base.vae.post_quant_conv, base.unet, base.text_encoder):
        part.requires_grad_(False)
    distance, pictures = open_perceptual_distance().to(compute.device), data.pictures.to(compute.device)
    scale = base.vae.config.scaling_factor
    latents = draw_and_disturb(base, [prompt_of(name) for name in data.class_names], samples, compute)
    with torch.no_grad(), compute.autocast():
        chunks = latents.split(compute.pictures_at_once)
        decoded = torch.cat([base.vae.decode(z / scale).sample.float() for z in chunks])

    def loss_of(real_too: bool, by_texture: bool, generator: torch.Generator) -> torch.Tensor:
        rows = torch.randint(len(latents), (BATCH_SIZE // 2 if real_too else BATCH_SIZE,), generator=generator)
        seen = decoded[rows]
        if real_too:
            real = to_model_range(pictures[data.draw_balanced(BATCH_SIZE // 2, generator)])
            real = turn(real, int(torch.randint(8, (1,), generator=generator)))
            seen = torch.cat([seen, real])
        with compute.autocast():
            means = base.vae.encode(seen).latent_dist.mean.float()
            loss = functional.mse_loss(means[: len(rows)] * scale, latents[rows])
            if real_too:
                found = base.vae.decode(means[len(rows) :]).sample.float()
                loss = loss + pixel_loss(found, real)
        if by_texture:
            loss = loss + compare(distance, found, real, paired=len(real), generator=generator, compute=compute).loss
        return loss

    def by_pixels(step: int, generator: torch.Generator) -> torch.Tensor:
        return loss_of(step >= ALONE_SHARE * stages[0].steps, False, generator)

    def by_texture(step: int, generator: torch.Generator) -> torch.Tensor:
        return loss_of(True, True, generator)

    model = nn.ModuleDict({"encoder": base.vae.encoder, "quant_conv": base.vae.quant_conv})
    parts = (base.vae.decoder, base.vae.post_quant_conv, base.unet, base.text_encoder)
    facts = (data.pictures, data.labels, data.class_names, samples, compute.precision)
    subject = digest_parts(*map(digest_of, parts), *facts)
    losses = {"by_pixels": by_pixels, "by_texture": by_texture}
    return {
        name: run_loop(name, model, losses[name], settings, work, subject=subject, progress=report)
        for name, settings in zip(losses, stages, strict=True)
    }


@torch.no_grad()
def draw_and_disturb(base: Base, captions: list[str], samples: int, compute: Compute) -> torch.Tensor:
    """Latents (2 samples a caption, C, h, w) that the UNet drew without guidance, each in two symmetries of the
    square, and with as much noise as the decoder knows."""
    generator = torch.Generator().manual_seed(0)
    with compute.autocast():
        embedded = encode_prompts(base, captions).repeat_interleave(samples, 0)
        drawn = torch.cat(
            [
                draw_latents(
                    base,
                    chosen,
                    embedded[:1],
                    generator=generator,
                    guidance_scale=1,
                    num_inference_steps=SAMPLING_STEPS,
                )
                for chosen in embedded.split(compute.pictures_at_once)
            ]
        )
    latents = torch.cat([turn(drawn, int(torch.randint(8, (1,), generator=generator))) for _ in range(2)])
    level = JITTER * torch.rand(len(latents), 1, 1, 1, generator=generator)
    return latents + (level * torch.randn(latents.shape, generator=generator)).to(latents.device)


def report(name: str, step: int, steps: int, loss: float, rate: float) -> None:
    """A line every twentieth step."""
    if step % 20 == 0:
        print(f"{name} {step}/{steps} {loss:.4f} {rate:.2g}", flush=True)


if __name__ == "__main__":
    try:
        typer.run(main)
    except RequestError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
