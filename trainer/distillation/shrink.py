"""`shrink`: train a small decoder until it draws what the VAE's decoder draws from the same latents.

The VAE's decoder also serves latents of all kinds of pictures. A preset needs only those that its classes draw, so the
small decoder learns from these, and from latents of photographs if there are any. Its targets are the pictures of the
VAE's decoder before the refiner: a refiner follows the small decoder as it follows the VAE's.

A small network cannot place each granule where the VAE places it, and a loss of pixels alone then blurs all of them. So
the last steps also compare features and texture, as the decoder of a base learns them (trainer.pretraining.likeness).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL

from engine.errors import RequestError
from engine.progress import Progress, silent
from trainer.base.base import digest_of
from trainer.base.refiner import decode_latents
from trainer.base.small_decoder import SmallDecoder, SmallDecoderSettings, write_small_decoder
from trainer.distillation.distilled import Distilled
from trainer.distillation.drawing import Drawing
from trainer.distillation.photographs import expect_fitting
from trainer.distillation.picture_loss import PictureLoss
from trainer.distillation.settings import ShrinkSettings
from trainer.pictures.dataset import PictureSet
from trainer.pretraining.likeness import compare
from trainer.pretraining.perceptual import open_perceptual_distance
from trainer.tables.settings import TeacherSettings
from trainer.tables.subjects import Subject, freeze
from trainer.training.devices import Compute
from trainer.training.encoding import encode_set
from trainer.training.kept_latents import kept_latents
from trainer.training.loop import Training, digest_parts
from trainer.training.outputs import Outputs
from trainer.training.record import write_record

__all__ = [
    "Pairs",
    "ShrinkRequest",
    "draw",
    "expect_one_vae",
    "pairs_of",
    "psnr_db",
    "shrink",
]

RECONSTRUCTED = "photographs"
"""The way of latents that no UNet drew."""
PHOTOGRAPHS = 256
"""Most photographs of a class that are used."""
JUDGED = 8
"""Of so many pictures, the first only judges."""
PARTS = ("latents", "pictures")
"""The parts of pairs in the file that keeps them."""


@dataclass(frozen=True)
class ShrinkRequest:
    """A request to train a small decoder for merged classes. few_steps: None if no LoRA was distilled."""

    outputs: Outputs
    teacher: TeacherSettings
    few_steps: Distilled | None
    settings: ShrinkSettings
    compute: Compute
    stop: threading.Event | None = None
    progress: Progress = silent


@dataclass(frozen=True)
class Pairs:
    """Latents (N, C, h, w) float32 and the VAE's pictures of them (N, 3, H, W) float16, on the CPU."""

    latents: torch.Tensor
    pictures: torch.Tensor

    def split(self) -> tuple[Pairs, Pairs]:
        """Return the pairs to learn from, and those that only judge the result."""
        judged = torch.arange(len(self.latents)) % JUDGED == 0
        return Pairs(self.latents[~judged], self.pictures[~judged]), Pairs(self.latents[judged], self.pictures[judged])


@dataclass(frozen=True)
class _Material:
    """Pairs to learn from, the share of each in the training (N,), and the pairs that judge, by way and then by class.

    Each class has the same share in each way, however many pairs it has.
    """

    learnt: Pairs
    shares: torch.Tensor
    judged: Mapping[str, Mapping[str, Pairs]]


def shrink(subjects: Sequence[Subject], pictures: PictureSet | None, request: ShrinkRequest) -> dict[str, Any]:
    """Train a small decoder for all subjects; write it and the record. Return the record.

    Raises RequestError if the classes have no common VAE, or if the photographs or a checkpoint do not fit, and
    CytosynthError if the loss is not finite.
    """
    settings, compute, outputs = request.settings, request.compute, request.outputs
    expect_one_vae(subjects)
    photographs = {}
    if pictures is not None:
        expect_fitting(pictures, subjects)
        photographs = pictures.counts
    lora = None if request.few_steps is None else request.few_steps.network(subjects[0])
    base = subjects[0].base
    torch.manual_seed(settings.seed)  # of the small decoder's first values
    decoder = SmallDecoder(
        SmallDecoderSettings.of(base.vae.config.latent_channels, base.pixels_per_latent, settings.width)
    )
    subject_of_material = digest_parts(
        *(digest_of(subject.base.unet) for subject in subjects),
        *(digest_of(part) for part in (base.vae, decoder, *filter(None, [lora]))),
        *((pictures.pictures, pictures.labels) if pictures is not None else ()),
        request.teacher,
        settings.pictures,
        compute.precision,
    )
    pixels = PictureLoss().to(compute.device)
    distance = open_perceptual_distance().to(compute.device) if settings.texture_share else None
    freeze(subjects, compute)
    # A convolution on a CPU is faster with the channels last.
    decoder.to(compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    material = _gather(subjects, pictures, request, digest_parts(subject_of_material, settings.seed))

    def loss_of(number: int, generator: torch.Generator) -> torch.Tensor:
        rows = torch.multinomial(material.shares, settings.batch_size, replacement=True, generator=generator)
        wanted = material.learnt.pictures[rows].to(compute.device).float()
        found = draw(decoder, material.learnt.latents[rows], compute)
        loss: torch.Tensor = pixels(found, wanted)
        if distance is not None and number >= (1 - settings.texture_share) * settings.steps:
            paired = len(found)
            loss = loss + compare(distance, found, wanted, paired=paired, generator=generator, compute=compute).loss
        return loss

    subject = digest_parts(subject_of_material, settings.texture_share)
    training = Training(outputs.name, decoder, loss_of, settings.loop(), outputs.checkpoints, subject=subject)
    facts = training.run(progress=request.progress, stop=request.stop)
    record = {
        "psnr_db": {
            way: {name: psnr_db(decoder, pairs, compute) for name, pairs in classes.items()}
            for way, classes in material.judged.items()
        },
        "photographs": photographs,
        "decoder": asdict(decoder.settings),
        "parameters": sum(parameter.numel() for parameter in decoder.parameters()),
        "vae_sha256": digest_of(base.vae),
        "settings": {**asdict(request.teacher), **asdict(settings)},
        "compute": compute.as_json(),
        "training": facts,
    }
    write_small_decoder(decoder, outputs.weights)
    write_record(outputs.record, **record)
    return record


def draw(decoder: SmallDecoder, latents: torch.Tensor, compute: Compute) -> torch.Tensor:
    """Return the small decoder's pictures (B, 3, H, W) float32 of latents (B, C, h, w)."""
    with compute.autocast():
        pictures: torch.Tensor = decoder(latents.to(compute.device).contiguous(memory_format=torch.channels_last))
    return pictures.float()


@torch.no_grad()
def psnr_db(decoder: SmallDecoder, pairs: Pairs, compute: Compute) -> float:
    """Return the mean PSNR in dB of the small decoder's pictures against the VAE's, both clipped to [-1, 1].

    The PSNR of a picture is 10 log10(2^2 / MSE).
    """
    values = []
    for latents, pictures in zip(
        pairs.latents.split(compute.pictures_at_once), pairs.pictures.split(compute.pictures_at_once), strict=True
    ):
        wanted = pictures.to(compute.device).float().clamp(-1, 1)
        mse = (draw(decoder, latents, compute).clamp(-1, 1) - wanted).pow(2).mean((1, 2, 3))
        values.append(10 * torch.log10(4 / mse))
    return torch.cat(values).mean().item()


def expect_one_vae(subjects: Sequence[Subject]) -> None:
    """Raise RequestError unless all subjects have one VAE and scale its latents alike."""
    first, *others = (
        (subject.name, digest_of(subject.base.vae), subject.base.vae.config.scaling_factor) for subject in subjects
    )
    for name, digest, scaling_factor in others:
        if (digest, scaling_factor) != first[1:]:
            found = f"another VAE than {first[0]} has"
            if digest == first[1]:
                found = f"the scaling factor {scaling_factor}, and {first[0]} has {first[2]}"
            raise RequestError(
                f"The merged folder of the class {name}",
                found=found,
                expected="one VAE for all classes, because a preset has one decoder",
                fix="merge all classes from one base with one --latents-gain",
            )


def _gather(subjects: Sequence[Subject], pictures: PictureSet | None, request: ShrinkRequest, digest: str) -> _Material:
    """Return what all subjects draw and their photographs, with the VAE's pictures.

    digest: hash of what they depend on, for the file that keeps them. Raises RequestError if that file does not fit.
    """
    drawing = Drawing(request.teacher, request.few_steps, request.compute)
    wanted = [
        (way, subject)
        for subject in subjects
        for way in (*drawing.ways, RECONSTRUCTED)
        if way != RECONSTRUCTED or (pictures is not None and subject.name in pictures.class_names)
    ]

    def draw_all() -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = {}
        for place, (way, subject) in enumerate(wanted):
            pairs = pairs_of(subject.base.vae, _latents(way, subject, drawing, pictures, request), request.compute)
            found |= {f"{way}.{subject.name}.{part}": getattr(pairs, part) for part in PARTS}
            request.progress("drawn pictures", place + 1, len(wanted))
        return found

    kept = kept_latents(request.outputs.latents, digest, draw_all)
    learnt: list[Pairs] = []
    judged: dict[str, dict[str, Pairs]] = {}
    for way, subject in wanted:
        most, judges = Pairs(*(kept[f"{way}.{subject.name}.{part}"] for part in PARTS)).split()
        learnt.append(most)
        judged.setdefault(way, {})[subject.name] = judges
    shares = [torch.full((len(pairs.latents),), 1 / len(pairs.latents)) for pairs in learnt]
    latents, targets = (torch.cat(parts) for parts in zip(*((p.latents, p.pictures) for p in learnt), strict=True))
    return _Material(Pairs(latents, targets), torch.cat(shares), judged)


def _latents(
    way: str, subject: Subject, drawing: Drawing, pictures: PictureSet | None, request: ShrinkRequest
) -> torch.Tensor:
    """Return the latents (N, C, h, w) of a class in one way, on the CPU."""
    if way == RECONSTRUCTED and pictures is not None:
        return encode_set(subject.base.vae, pictures.spread(subject.name, PHOTOGRAPHS), request.compute)
    return drawing.draw(way, subject, request.settings.pictures, request.settings.seed)


def pairs_of(vae: AutoencoderKL, latents: torch.Tensor, compute: Compute) -> Pairs:
    """Return latents with the VAE's pictures of them, without a refiner."""
    no_noise = torch.Generator()
    with compute.autocast():
        parts = [
            decode_latents(vae, None, part, no_noise).half().cpu() for part in latents.split(compute.pictures_at_once)
        ]
    return Pairs(latents, torch.cat(parts))
