"""A new encoder for a base whose own is lost: it learns to be the inverse of the decoder that is there.

    python trainer/recipes/fit_encoder.py BASE OUT PREPARED...

It learns from pictures that were decoded from latents which the UNet drew, and whose latents are therefore known, and
from the prepared pictures that the base has seen, which encoder and decoder together have to give back. Everything else
of BASE stays. OUT is the whole base, with a record.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler
from torch import nn
from torch.nn import functional

from engine.errors import RequestError
from trainer.autoencoder import pixel_loss, reconstruction_psnr_db
from trainer.bases import Base, digest_of, encode_prompts, open_base, prompt_of
from trainer.dataset import PictureSet, read_set, to_model_range, turn
from trainer.devices import Compute, choose_attention, choose_compute
from trainer.folders import expect_new_folder
from trainer.loop import LoopSettings, digest_parts, run_loop
from trainer.record import write_record
from trainer.schedule import Cosine

SAMPLES_A_CLASS, SAMPLING_STEPS = 160, 12
STEPS, BATCH_SIZE, LEARNING_RATE = 1300, 16, 1e-3
ALONE_SHARE = 0.35
"""For this share of the steps the encoder sees drawn pictures alone."""
JITTER = 0.1
LOG_VARIANCE = -10.0
"""Of the posterior. Nothing here asks the encoder for more than its mean."""


def main(start: Path, out: Path, folders: list[Path], precision: str) -> None:
    """Write OUT. Raises RequestError."""
    expect_new_folder(out)
    data = read_set(folders)
    compute = choose_compute("cpu", precision, gradient_checkpointing=False, compiled=False)
    base = open_base(start)
    choose_attention(base.unet, compute.device)
    torch.manual_seed(0)
    fresh = type(base.vae).from_config(base.vae.config)
    base.vae.encoder, base.vae.quant_conv = fresh.encoder, fresh.quant_conv
    channels = base.unet.config.in_channels
    with torch.no_grad():
        base.vae.quant_conv.weight[channels:] = 0
        base.vae.quant_conv.bias[channels:] = LOG_VARIANCE
    record = fit_encoder(base, data, out.with_name(f"{out.name}-checkpoints"), compute)
    sample = data.pictures[torch.randperm(len(data.pictures), generator=torch.Generator().manual_seed(0))[:128]]
    record["training_psnr_db"] = reconstruction_psnr_db(base.vae, sample, compute)
    base.save(out)
    before = start / "record.json"
    known = {"start": json.loads(before.read_text())} if before.is_file() else {}
    write_record(out / "record.json", **known, size=data.size, compute=compute.as_json(), encoder=record)
    print(f"The base is in {out}; it gives pictures back with {record['training_psnr_db']:.1f} dB.")


@torch.no_grad()
def draw_latents(base: Base, captions: list[str], compute: Compute) -> torch.Tensor:
    """(SAMPLES_A_CLASS a caption, C, h, w), without guidance."""
    generator = torch.Generator().manual_seed(0)
    side, channels = base.unet.config.sample_size, base.unet.config.in_channels
    rows = torch.arange(len(captions)).repeat(SAMPLES_A_CLASS)
    drawn = []
    for chosen in rows.split(compute.pictures_at_once):
        scheduler = DPMSolverMultistepScheduler.from_config(base.scheduler.config, use_karras_sigmas=True)
        scheduler.set_timesteps(SAMPLING_STEPS)
        x = torch.randn(len(chosen), channels, side, side, generator=generator) * scheduler.init_noise_sigma
        with compute.autocast():
            context = encode_prompts(base, captions)[chosen]
            for t in scheduler.timesteps:
                eps = base.unet(scheduler.scale_model_input(x, t), t, context).sample.float()
                x = scheduler.step(eps, t, x).prev_sample
        drawn.append(x)
    return torch.cat(drawn)


@torch.no_grad()
def decode_set(base: Base, latents: torch.Tensor, compute: Compute) -> torch.Tensor:
    """(N, C, h, w) -> (N, 3, S, S) float32, about [-1, 1]."""
    with compute.autocast():
        return torch.cat([base.vae.decode(z).sample.float() for z in latents.split(compute.pictures_at_once)])


def fit_encoder(base: Base, data: PictureSet, work: Path, compute: Compute) -> dict[str, Any]:
    """Train the encoder alone; returns the training's record."""
    for part in (base.vae.decoder, base.vae.post_quant_conv, base.unet, base.text_encoder):
        part.requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    drawn = draw_latents(base, [prompt_of(name) for name in data.class_names], compute)
    # The decoder knows noise of this deviation, and pictures that are turned.
    latents = torch.cat([turn(drawn, int(torch.randint(8, (1,), generator=generator))) for _ in range(2)])
    latents = latents + JITTER * torch.randn(latents.shape, generator=generator)
    decoded = decode_set(base, latents, compute)

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        alone = step < ALONE_SHARE * STEPS
        rows = torch.randint(len(latents), (BATCH_SIZE if alone else BATCH_SIZE // 2,), generator=generator)
        pictures = [decoded[rows]]
        if not alone:
            real = to_model_range(data.pictures[data.draw_balanced(BATCH_SIZE // 2, generator)])
            pictures.append(turn(real, int(torch.randint(8, (1,), generator=generator))))
        with compute.autocast():
            means = base.vae.encode(torch.cat(pictures)).latent_dist.mean.float()
            loss = functional.mse_loss(means[: len(rows)], latents[rows])
            if not alone:
                found = base.vae.decode(means[len(rows) :]).sample.float()
                loss = loss + pixel_loss(found, pictures[1])
        return loss

    model = nn.ModuleDict({"encoder": base.vae.encoder, "quant_conv": base.vae.quant_conv})
    settings = LoopSettings(STEPS, BATCH_SIZE, Cosine(LEARNING_RATE, 100), ema_decay=0.99)
    subject = digest_parts(digest_of(base.vae.decoder), digest_of(base.unet), data.pictures, compute.precision)
    return run_loop("encoder", model, loss_of, settings, work, subject=subject, progress=report)


def report(name: str, step: int, steps: int, loss: float, rate: float) -> None:
    """A line every twentieth step."""
    if step % 20 == 0:
        print(f"{name} {step}/{steps} {loss:.4f} {rate:.2g}", flush=True)


if __name__ == "__main__":
    try:
        start, out, *folders = sys.argv[1:]
        main(Path(start), Path(out), [Path(folder) for folder in folders], os.environ.get("PRECISION", "f32"))
    except RequestError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
