"""Train a new encoder for a base whose encoder is lost: the inverse of the existing decoder.

    python -m recipes.fit_encoder BASE OUT PREPARED... [--precision bf16]

The encoder learns from two kinds of pictures. The first kind is decoded from latents that the UNet draws, so that the
latents are known. The second kind are the prepared pictures that the base was trained on; encoder and decoder together
must reproduce them. The loss compares pixels first, and then also features and texture, because pixels alone lead to
latents that decode to smooth pictures.

Everything else in BASE stays unchanged. OUT is the whole base with a record. Run the same command again to resume an
interrupted training.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.arguments import existing_folder, script_parser
from engine.terminal import run_command_line
from trainer.base.base import Base, digest_of, encode_prompts, open_base
from trainer.base.caption_files import prompt_of
from trainer.base.sampling import draw_latents
from trainer.folders import expect_new_folder
from trainer.pictures.dataset import PictureSet, read_set, to_model_range, turn
from trainer.pretraining.autoencoder import pixel_loss, reconstruction_psnr_db
from trainer.pretraining.decoder import JITTER
from trainer.pretraining.likeness import compare
from trainer.pretraining.perceptual import open_perceptual_distance
from trainer.pretraining.pretrain import MEASURED, RECORD
from trainer.training.devices import Compute, choose_attention, choose_compute
from trainer.training.loop import Training, digest_parts
from trainer.training.record import read_record, write_record
from trainer.training.settings import Hardware, LoopSettings, decaying_loop

SAMPLING_STEPS = 12
BATCH_SIZE = 16
ALONE_SHARE = 0.35
"""During this share of the steps by pixels the encoder sees only drawn pictures."""
LOG_VARIANCE = -10.0
"""Log variance of the posterior. The training uses only the posterior's mean."""


def main() -> None:
    """Parse the command line and write the base with its new encoder. Raises RequestError."""
    parser = script_parser("recipes.fit_encoder", __doc__)
    parser.add_argument("start", metavar="BASE", type=existing_folder, help="base in the diffusers layout")
    parser.add_argument("out", metavar="OUT", type=Path, help="new folder for the base with its new encoder")
    parser.add_argument("folders", metavar="PREPARED", type=Path, nargs="+", help="pictures that the base has seen")
    parser.add_argument("--samples", type=int, default=160, help="pictures to draw per class (default: 160)")
    parser.add_argument("--steps", type=int, default=1300, help="training steps by pixels (default: 1300)")
    parser.add_argument(
        "--texture-steps", type=int, default=500, help="further steps by features and texture (default: 500)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, or a GPU such as cuda:0 (default: auto)")
    parser.add_argument("--precision", default="auto", help="auto, f32 or bf16; auto is f32 on a CPU (default: auto)")
    asked = parser.parse_args()
    expect_new_folder(asked.out)
    write_base_with_new_encoder(asked)


def write_base_with_new_encoder(asked: argparse.Namespace) -> None:
    """Fit an encoder to the decoder of a base; write the base with this encoder and a record."""
    out: Path = asked.out
    steps, texture_steps = asked.steps, asked.texture_steps
    compute = choose_compute(Hardware(asked.device, asked.precision))
    data = read_set(asked.folders)
    base = open_base(asked.start)
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
        decaying_loop(steps, BATCH_SIZE, 1e-3, warmup=min(100, steps), ema_decay=0.99),
        decaying_loop(texture_steps, BATCH_SIZE, 4e-4, warmup=min(20, texture_steps), ema_decay=0.99),
    )
    record = fit_encoder(base, data, asked.samples, stages, out.with_name(f"{out.name}-checkpoints"), compute)
    record["training_psnr_db"] = reconstruction_psnr_db(base.vae, data.sample(MEASURED), compute)
    base.save(out)
    before = read_record(asked.start / RECORD)
    known = {"start": before} if before else {}
    write_record(out / RECORD, **known, size=data.size, compute=compute.as_json(), encoder=record)
    print(f"The base is in {out}. It reconstructs training pictures with {record['training_psnr_db']:.1f} dB.")


def fit_encoder(
    base: Base,
    data: PictureSet,
    samples: int,
    stages: tuple[LoopSettings, LoopSettings],
    work: Path,
    compute: Compute,
) -> dict[str, Any]:
    """Train only the encoder, first by pixels and then by texture. Return the records of both trainings.

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
        name: Training(name, model, losses[name], settings, work, subject=subject).run(progress=report)
        for name, settings in zip(losses, stages, strict=True)
    }


@torch.no_grad()
def draw_and_disturb(base: Base, captions: list[str], samples: int, compute: Compute) -> torch.Tensor:
    """Return latents (2 samples per caption, C, h, w) that the UNet draws without guidance, each in two symmetries of
    the square, with as much noise as the decoder was trained for."""
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


def report(name: str, step: int, steps: int, loss: float | None = None, rate: float | None = None, /) -> None:
    """Print a line every twentieth step."""
    if step % 20 == 0:
        print(f"{name} {step}/{steps} {loss or 0:.4f} {rate or 0:.2g}", flush=True)


if __name__ == "__main__":
    run_command_line(main)
