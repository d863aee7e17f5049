"""`pretrain`: a small latent-diffusion base of Stable Diffusion's parts, from scratch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from engine.errors import RequestError
from trainer.base.base import PRESETS, Base, digest_of, encode_prompts, open_base, prompt_of
from trainer.base.sampling import rebuild_latents
from trainer.folders import expect_new_folder
from trainer.pictures.dataset import SYMMETRIES, PictureSet, read_set
from trainer.pretraining.autoencoder import normalise_latents, reconstruction_psnr_db, train_autoencoder
from trainer.pretraining.decoder import train_decoder
from trainer.pretraining.perceptual import open_perceptual_distance
from trainer.training.devices import Compute, choose_attention
from trainer.training.encoding import encode_symmetries
from trainer.training.loop import LoopSettings, digest_parts, run_loop
from trainer.training.objective import denoising_loss
from trainer.training.record import read_record, write_record

__all__ = ["pretrain"]

RECORD = "record.json"
UNCONDITIONAL_SHARE = 0.1
MEASURED = 128
"""Pictures whose reconstruction the record speaks of."""


def pretrain(
    folders: list[Path],
    out: Path,
    *,
    preset: str,
    vae_settings: LoopSettings,
    decoder_settings: LoopSettings,
    unet_settings: LoopSettings | None,
    start: Path | None = None,
    compute: Compute | None = None,
    progress: Callable[..., None] = lambda *values: None,
) -> None:
    """Train the autoencoder, then UNet and text encoder together, then the decoder alone; write a diffusers folder and
    `record.json`.

    folders: prepared pictures, each class's name its caption. One tenth of the captions is dropped, so that
    guidance has an unconditional model. The weights written are moving averages (all but the encoder's).
    A cut-off run goes on from `out/checkpoints` when the same command is given.

    start: the folder of a base that is trained on, instead of a new one of `preset`. Its latents stay what they are, so
    its autoencoder is not trained as a whole again; its record goes into the new one. With no `unet_settings` its UNet
    stays, too, and the decoder alone is trained.
    """
    if not out.is_dir() or {path.name for path in out.iterdir()} != {"checkpoints"}:
        expect_new_folder(out)
    compute = compute or Compute()
    data = read_set(folders)
    distance = open_perceptual_distance()
    captions = [prompt_of(name) for name in data.class_names]
    torch.manual_seed(vae_settings.seed)
    base = _new_base(preset, captions, data.size) if start is None else _open_start(start, data.size)
    for part in (base.vae, base.unet, base.text_encoder):
        part.to(compute.device)
    choose_attention(base.unet, compute.device)
    checkpoints = out / "checkpoints"
    vae_record = {}
    if start is None:
        vae_record = train_autoencoder(base.vae, data, vae_settings, checkpoints, compute, progress)
    sample = data.sample(MEASURED)
    vae_record["training_psnr_db"] = reconstruction_psnr_db(base.vae, sample, compute)
    latents = encode_symmetries(base.vae, data.pictures, compute)
    if start is None:
        latents = normalise_latents(base.vae, latents.flatten(0, 1)).unflatten(0, latents.shape[:2])
    latents = latents.to(compute.device)
    unet_record = {}
    if unet_settings is not None:
        begun_with, encoder = preset if start is None else digest_of(base.unet), digest_of(base.vae.encoder)
        # Not the latents: their last bits follow the number of threads.
        subject = digest_parts(data.pictures, data.labels, data.class_names, begun_with, encoder, compute.precision)
        unet_record = _train_unet(base, data, latents, captions, unet_settings, checkpoints, compute, subject, progress)
    # Hypernetworks know nothing of the decoder: they can be fitted on this one while it is trained.
    base.save(checkpoints / "base")
    decoder_record = train_decoder(
        base.vae,
        data,
        latents,
        _rebuild(base, latents[0], captions, data.labels, compute),
        digest_of(base.unet),
        distance,
        decoder_settings,
        checkpoints,
        compute,
        progress,
    )
    decoder_record["training_psnr_db"] = reconstruction_psnr_db(base.vae, sample, compute)
    base.save(out)
    write_record(
        out / RECORD,
        **({"preset": preset} if start is None else {"start": read_record(start / RECORD)}),
        size=data.size,
        pictures=dict(zip(data.class_names, data.labels.bincount().tolist(), strict=True)),
        compute=compute.as_json(),
        vae=vae_record,
        unet=unet_record,
        decoder=decoder_record,
    )


def _new_base(preset: str, captions: list[str], size: int) -> Base:
    """Raises RequestError for an unknown preset, or pictures that it cannot halve often enough."""
    if preset not in PRESETS:
        raise RequestError("--preset", found=preset, expected=f"one of {', '.join(PRESETS)}", fix="choose one of these")
    multiple = PRESETS[preset].size_multiple
    if size % multiple:
        raise RequestError(
            "The prepared pictures",
            found=f"{size} x {size} pixels",
            expected=f"a multiple of {multiple} for the preset {preset}",
            fix=f"prepare them with --size {max(1, round(size / multiple)) * multiple}",
        )
    return Base.new(PRESETS[preset], captions, size)


def _open_start(folder: Path, size: int) -> Base:
    """Raises RequestError for pictures of another size than the base's."""
    base = open_base(folder)
    if size != base.picture_side:
        raise RequestError(
            "The prepared pictures",
            found=f"{size} x {size} pixels",
            expected=f"{base.picture_side} x {base.picture_side}, those of the base {folder}",
            fix=f"prepare them with --size {base.picture_side}",
        )
    return base


def _train_unet(
    base: Base,
    data: PictureSet,
    latents: torch.Tensor,
    captions: list[str],
    settings: LoopSettings,
    folder: Path,
    compute: Compute,
    subject: str,
    progress: Callable[..., None],
) -> dict[str, Any]:
    """UNet and text encoder on latents (8, N, C, h, w) of the pictures in the square's symmetries, classes in equal
    shares."""

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        chosen = data.draw_balanced(settings.batch_size, generator)
        batch = latents[torch.randint(len(SYMMETRIES), (settings.batch_size,), generator=generator), chosen]
        dropped = torch.rand(settings.batch_size, generator=generator) < UNCONDITIONAL_SHARE
        rows = torch.where(dropped, len(captions), data.labels[chosen])
        with compute.autocast():
            context = encode_prompts(base, [*captions, ""])[rows]
            return denoising_loss(unet, base.scheduler, batch, context, generator, snr_gamma=5.0)

    model = nn.ModuleDict({"unet": base.unet, "text_encoder": base.text_encoder})
    # A GPU finishes the kernels of so small a UNet sooner than Python starts them; a CUDA graph starts them all.
    mode = "reduce-overhead" if compute.device.type == "cuda" else None
    unet = torch.compile(base.unet, mode=mode) if compute.compiled else base.unet
    return run_loop("unet", model, loss_of, settings, folder, subject=subject, progress=progress)


def _rebuild(
    base: Base, latents: torch.Tensor, captions: list[str], labels: torch.Tensor, compute: Compute
) -> torch.Tensor:
    """(N, C, h, w): the latents, rebuilt by the UNet from half noise."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad(), compute.autocast():
        context = encode_prompts(base, captions)
        return torch.cat(
            [
                rebuild_latents(base, latents[rows], context[labels[rows]], generator=generator)
                for rows in torch.arange(len(latents)).split(compute.pictures_at_once)
            ]
        )
