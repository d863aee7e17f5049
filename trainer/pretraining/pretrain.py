"""`pretrain`: trains a small latent-diffusion base with the parts of Stable Diffusion, from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from engine.errors import RequestError
from engine.files import contents_of
from engine.locks import locked_folder
from engine.progress import Progress, StageProgress, silent, silent_stages
from trainer.base.base import Base, digest_of, encode_prompts, open_base
from trainer.base.caption_files import prompt_of
from trainer.base.presets import PRESETS
from trainer.base.refiner import Refiner, RefinerSettings
from trainer.base.sampling import draw_latents, rebuild_latents
from trainer.folders import expect_new_folder
from trainer.pictures.dataset import SYMMETRIES, PictureSet, read_set
from trainer.pretraining.autoencoder import normalise_latents, reconstruction_psnr_db, train_autoencoder
from trainer.pretraining.card import make_card, record_of_base
from trainer.pretraining.decoder import DecoderData, train_decoder
from trainer.pretraining.grain import GrainData, train_refiner
from trainer.pretraining.perceptual import open_perceptual_distance
from trainer.pretraining.photograph_features import PhotographFeatures, open_photograph_features
from trainer.pretraining.settings import Origin, Stages
from trainer.training.devices import Compute, choose_attention
from trainer.training.encoding import encode_symmetries
from trainer.training.loop import Training, digest_parts
from trainer.training.objective import denoising_loss
from trainer.training.record import RECORD, write_record
from trainer.training.settings import LoopSettings

__all__ = ["pretrain"]

UNCONDITIONAL_SHARE = 0.1
MEASURED = 128
"""Number of pictures whose reconstruction the record measures."""
CONTEXT_WIDTH = 64
"""Channels of a new refiner's context branch."""
DRAWN = 64
"""Latents that the UNet draws of each class, for the training of the refiner."""
GUIDANCE_SCALE, GUIDANCE_INTERVAL = 2.0, (2.0, 6.0)
"""Guidance of the drawn latents: the embedded bundle's default."""


def pretrain(
    folders: list[Path],
    out: Path,
    stages: Stages,
    origin: Origin,
    *,
    compute: Compute | None = None,
    progress: Progress = silent,
    warn: StageProgress = silent_stages,
) -> None:
    """Train the autoencoder, then UNet and text encoder together, then only the decoder, then the refiner.

    Writes a diffusers folder and `record.json`. All weights except the encoder's are moving averages. An interrupted
    run is resumed from `out/checkpoints` when it is called again with the same arguments.

    Args:
        folders: Prepared pictures. The name of each class is its caption. One tenth of the captions is dropped, so that
            guidance has an unconditional model.
        origin: What the base begins as, and what its card states. The autoencoder of a start base is not trained as a
            whole, so its latents stay as they are. Its record becomes part of the new one.
        warn: Receives a sentence for each class whose name has words that the tokenizer of a start base does not know.
    """
    with locked_folder(out):
        if {path.name for path in contents_of(out)} != {"checkpoints"}:
            expect_new_folder(out)
        _pretrain(folders, out, stages, origin, compute or Compute(), progress, warn)


def _pretrain(
    folders: list[Path],
    out: Path,
    stages: Stages,
    origin: Origin,
    compute: Compute,
    progress: Progress,
    warn: StageProgress,
) -> None:
    """Train all stages in a locked folder; see pretrain."""
    preset, start = origin.preset, origin.start
    data = read_set(folders)
    distance = open_perceptual_distance()
    features = None if stages.refiner is None else open_photograph_features()
    torch.manual_seed(stages.vae.seed)
    base = _begin(preset, start, data, stages)
    _check_captions(base, data.class_names, warn)
    _move(base, compute)
    checkpoints = out / "checkpoints"
    vae_record = train_autoencoder(base.vae, data, stages.vae, checkpoints, compute, progress) if start is None else {}
    sample = data.sample(MEASURED)
    vae_record["training_psnr_db"] = reconstruction_psnr_db(base.vae, sample, compute)
    # The refiner alone learns from the pictures as they are, and encoding takes long on a processor.
    turned = start is None or stages.unet is not None or stages.decoder is not None
    latents = encode_symmetries(base.vae, data.pictures, compute, SYMMETRIES if turned else SYMMETRIES[:1])
    if start is None:
        latents = normalise_latents(base.vae, latents.flatten(0, 1)).unflatten(0, latents.shape[:2])
    latents = latents.to(compute.device)
    unet_record = {}
    if stages.unet is not None:
        begun_with = preset if start is None else digest_of(base.unet)
        unet_record = _train_unet(base, data, latents, stages, checkpoints, compute, begun_with, progress)
    # Hypernetworks do not depend on the decoder, so they can be fitted on this base while the decoder is trained.
    base.save(checkpoints / "base")
    decoder_record = {}
    if stages.decoder is not None:
        material = DecoderData(data, latents, _rebuild(base, latents[0], data, compute), digest_of(base.unet))
        decoder_record = train_decoder(base.vae, material, distance, stages.decoder, checkpoints, compute, progress)
    decoder_record["training_psnr_db"] = reconstruction_psnr_db(base.vae, sample, compute)
    refiner_record = _train_refiner(base, data, latents[0], features, stages.refiner, checkpoints, compute, progress)
    base.own_card = make_card(origin.card, folders, data, base.own_card)
    base.save(out)
    begun_as = {"preset": preset} if start is None else {"start": record_of_base(start)}
    write_record(
        out / RECORD,
        **begun_as,
        size=data.size,
        pictures=data.counts,
        compute=compute.as_json(),
        vae=vae_record,
        unet=unet_record,
        decoder=decoder_record,
        refiner=refiner_record,
    )


def _begin(preset: str, start: str | Path | None, data: PictureSet, stages: Stages) -> Base:
    """Return a new base, or the base to continue from. Raises RequestError."""
    if start is None:
        return _new_base(preset, _captions(data), data.size)
    return _open_start(start, data.size, keep_refiner=stages.decoder is None or stages.refiner is not None)


def _move(base: Base, compute: Compute) -> None:
    """Move the parts that are trained to the device."""
    for part in (base.vae, base.unet, base.text_encoder):
        part.to(compute.device)
    choose_attention(base.unet, compute.device)


def _captions(data: PictureSet) -> list[str]:
    return [prompt_of(name) for name in data.class_names]


def _check_captions(base: Base, class_names: list[str], warn: StageProgress) -> None:
    """Raise RequestError if the name of a class has more words than the text encoder takes. Warn of unknown words."""
    for name in class_names:
        read = base.read_prompt(prompt_of(name))
        if read.used != read.prompt:
            raise RequestError(
                f"The class {name}, whose name is its caption",
                found=f"more tokens than the {read.room} that the text encoder takes: it would read {read.used!r}",
                expected="a name with fewer words",
                fix="rename the folder",
            )
        for words in read.warnings(f"The class {name}"):
            warn(words)


def _new_base(preset: str, captions: list[str], size: int) -> Base:
    """Return a new base. Raises RequestError if the preset cannot halve the pictures."""
    multiple = PRESETS[preset].size_multiple
    if size % multiple:
        raise RequestError(
            "The prepared pictures",
            found=f"{size} x {size} pixels",
            expected=f"a multiple of {multiple} for the preset {preset}",
            fix=f"prepare the pictures with --size {max(1, round(size / multiple)) * multiple}",
        )
    return Base.new(PRESETS[preset], captions, size)


def _open_start(folder: str | Path, size: int, keep_refiner: bool) -> Base:
    """Return the base in a folder. Raises RequestError if the pictures do not have its size.

    keep_refiner: False leaves the refiner out, because it belongs to a decoder that is about to change.
    """
    base = open_base(folder)
    if not keep_refiner:
        base.refiner = None
    if size != base.picture_side:
        raise RequestError(
            "The prepared pictures",
            found=f"{size} x {size} pixels",
            expected=f"{base.picture_side} x {base.picture_side}, the size of the base {folder}",
            fix=f"prepare the pictures with --size {base.picture_side}",
        )
    return base


def _train_unet(
    base: Base,
    data: PictureSet,
    latents: torch.Tensor,
    stages: Stages,
    folder: Path,
    compute: Compute,
    begun_with: str,
    progress: Progress,
) -> dict[str, Any]:
    """Train UNet and text encoder and return the record. The classes come in equal shares.

    latents: (8, N, C, h, w), of the pictures in the symmetries of the square.
    begun_with: the preset, or the digest of the UNet.
    """
    captions, settings, gamma = _captions(data), stages.unet, stages.unet_snr_gamma
    assert settings is not None, "the caller checks that the UNet is trained"

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        chosen = data.draw_balanced(settings.batch_size, generator)
        batch = latents[torch.randint(len(SYMMETRIES), (settings.batch_size,), generator=generator), chosen]
        dropped = torch.rand(settings.batch_size, generator=generator) < UNCONDITIONAL_SHARE
        rows = torch.where(dropped, len(captions), data.labels[chosen])
        with compute.autocast():
            context = encode_prompts(base, [*captions, ""])[rows]
            return denoising_loss(unet, base.scheduler, batch, context, generator, snr_gamma=gamma)

    model = nn.ModuleDict({"unet": base.unet, "text_encoder": base.text_encoder})
    # A GPU runs the kernels of such a small UNet faster than Python can start them. A CUDA graph starts them at once.
    mode = "reduce-overhead" if compute.device.type == "cuda" else None
    unet = torch.compile(base.unet, mode=mode) if compute.compiled else base.unet
    # The latents are not part of the subject: their last bits depend on the number of threads.
    encoder = digest_of(base.vae.encoder)
    subject = digest_parts(data.pictures, data.labels, data.class_names, begun_with, encoder, compute.precision, gamma)
    record = Training("unet", model, loss_of, settings, folder, subject=subject).run(progress=progress)
    return {**record, "snr_gamma": gamma}


def _train_refiner(
    base: Base,
    data: PictureSet,
    latents: torch.Tensor,
    features: PhotographFeatures | None,
    settings: LoopSettings | None,
    folder: Path,
    compute: Compute,
    progress: Progress,
) -> dict[str, Any]:
    """Train the refiner of the base, or a new one, and return the record, which is empty without settings.

    latents: (N, C, h, w).
    """
    if settings is None or features is None:
        return {}
    if base.refiner is None:
        torch.manual_seed(settings.seed)
        channels = base.vae.config.latent_channels
        base.refiner = Refiner.new(RefinerSettings(channels, base.pixels_per_latent, context_width=CONTEXT_WIDTH))
    drawn, labels = _draw(base, data, compute)
    material = GrainData(data, latents, drawn, labels)
    return train_refiner(base.vae, base.refiner, material, features, settings, folder, compute, progress)


@torch.no_grad()
def _draw(base: Base, data: PictureSet, compute: Compute) -> tuple[torch.Tensor, torch.Tensor]:
    """Return latents (M, C, h, w) that the UNet draws, and their classes (M,): DRAWN of each class."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(len(data.class_names)).repeat_interleave(DRAWN)
    with compute.autocast():
        *prompts, empty = encode_prompts(base, [*_captions(data), ""])
        drawn = [
            draw_latents(
                base,
                torch.stack(prompts)[part],
                empty[None],
                generator=generator,
                guidance_scale=GUIDANCE_SCALE,
                guidance_interval=GUIDANCE_INTERVAL,
            )
            for part in labels.split(compute.pictures_at_once)
        ]
    return torch.cat(drawn), labels


def _rebuild(base: Base, latents: torch.Tensor, data: PictureSet, compute: Compute) -> torch.Tensor:
    """Return the latents (N, C, h, w), rebuilt by the UNet from half noise."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad(), compute.autocast():
        context = encode_prompts(base, _captions(data))
        return torch.cat(
            [
                rebuild_latents(base, latents[rows], context[data.labels[rows]], generator=generator)
                for rows in torch.arange(len(latents)).split(compute.pictures_at_once)
            ]
        )
