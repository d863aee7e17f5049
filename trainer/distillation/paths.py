"""The latents on the teacher's way, at the noise levels where the student has its rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from engine.errors import RequestError
from engine.files import replace_file
from engine.progress import Progress
from trainer.distillation.settings import DistillSettings
from trainer.tables.parameters import TableParameters
from trainer.tables.subjects import Subject, walk
from trainer.training.devices import Compute

__all__ = ["draw_noises", "teacher_paths"]

PATHS, SUBJECT = "paths", "subject"


def teacher_paths(
    path: Path,
    digest: str,
    draw: tuple[TableParameters, Sequence[Subject], DistillSettings],
    compute: Compute,
    progress: Progress,
) -> list[torch.Tensor]:
    """Return the latents (N, R + 1, C, h, w) of each subject before each of R rows and at the end, on the CPU.

    They are kept in the safetensors file `path`, because drawing them takes longer than many training steps.

    Args:
        digest: Hash of everything on which the latents depend. A file with another hash is refused.
        draw: The teacher, the subjects and the settings.

    Raises RequestError if the file is of another training or unreadable.
    """
    if not path.exists():
        found = _draw(*draw, compute, progress)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(path) as part:
            save_file({f"{PATHS}.{place}": one for place, one in enumerate(found)}, part, {SUBJECT: digest})
        return found
    try:
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get(SUBJECT) != digest:
                raise ValueError("of other classes or settings")
            return [file.get_tensor(f"{PATHS}.{place}") for place in range(len(draw[1]))]
    except (OSError, SafetensorError, ValueError) as error:
        raise RequestError(
            f"The teacher's latents {path}",
            found=str(error),
            expected="the latents of this training",
            fix="use the options of the first run, or replace the training with --overwrite",
        ) from error


def draw_noises(subjects: Sequence[Subject], settings: DistillSettings) -> list[torch.Tensor]:
    """Return standard normal noises (N, C, h, w) of each subject, on the CPU."""
    generator = torch.Generator().manual_seed(settings.seed)
    config = subjects[0].base.unet.config
    shape = (settings.pictures, config.in_channels, config.sample_size, config.sample_size)
    return [torch.randn(shape, generator=generator) for _ in subjects]


@torch.no_grad()
def _draw(
    teacher: TableParameters,
    subjects: Sequence[Subject],
    settings: DistillSettings,
    compute: Compute,
    progress: Progress,
) -> list[torch.Tensor]:
    stride = len(teacher.shifts) // settings.rows
    found, done = [], 0
    for subject, noises in zip(subjects, draw_noises(subjects, settings), strict=True):
        chunks = []
        for chunk in noises.split(settings.batch_size):
            with compute.autocast():
                points = [
                    x.float().cpu()
                    for place, x in enumerate(walk(teacher, subject, chunk.to(compute.device)))
                    if place % stride == 0
                ]
            chunks.append(torch.stack(points, 1))
            done += len(chunk)
            progress("teacher", done, settings.pictures * len(subjects))
        found.append(torch.cat(chunks))
    return found
