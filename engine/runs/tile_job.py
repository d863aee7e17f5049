"""Settings of upscaling, and the job with which the model of a class draws tiles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from engine.backends.select import settle
from engine.bundle.folder import Bundle
from engine.bundle.hires import expect_encoder
from engine.bundle.job import Job, make_job
from engine.bundle.settings import AUTO, RequestSettings
from engine.errors import RequestError
from engine.options import Range, setting
from engine.sampling.start import StartLevel

__all__ = ["Tiles", "UpscaleSettings", "tile_job"]


@dataclass(frozen=True)
class UpscaleSettings:
    """How much to enlarge, and whether a model draws the enlarged picture again."""

    PANEL: ClassVar[str] = "Upscaling"

    out: Path = setting(Path("upscaled"), metavar="DIR", help="Output folder.")
    scale: float = setting(2.0, within=Range(above=1, high=16), help="How many times as large.")
    class_name: str | None = setting(
        None, flag="--class", help="Class whose model draws the enlarged picture again (default: Lanczos alone)."
    )
    bundle: str = setting("cells", help="Name of an embedded bundle, or path of a bundle's folder.")
    strength: float = setting(0.3, within=Range(above=0, high=1), help="How much the model changes.")
    tile: int | None = setting(
        None,
        within=Range(low=8),
        help="Side of the square tiles in pixels (default: the size of the bundle's pictures).",
    )
    overlap: int | None = setting(
        None, within=Range(low=1), help="Pixels that neighbouring tiles share (default: a quarter of the tile)."
    )
    overwrite: bool = setting(False, help="Replace the pictures of another upscaling in the output folder.")


@dataclass(frozen=True)
class Tiles:
    """How the model of a class draws an enlarged picture again."""

    job: Job
    overlap: int
    """Pixels that neighbouring tiles share."""
    why: str
    """Why the backend was chosen."""


def tile_job(bundle: Bundle, settings: UpscaleSettings, asked: RequestSettings) -> Tiles:
    """Return the job that draws tiles, with its backend. Raises RequestError."""
    assert settings.class_name is not None
    expect_encoder(bundle.manifest, "--class")
    hardware = asked.hardware
    if hardware.batch_size == AUTO:
        expected = "a number of tiles, because nothing is measured here"
        raise RequestError("--batch-size", found=AUTO, expected=expected, fix="name a number, or leave it out")
    asked = RequestSettings(
        asked.sampling,
        asked.guidance,
        replace(asked.picture, width=settings.tile, height=settings.tile),
        hardware,
    )
    job = make_job(bundle, [settings.class_name], 1, asked)
    if len(job.request.class_names) > 1:
        raise RequestError("--class", found=settings.class_name, expected="one class", fix="name one class")
    job, why = settle(job, hardware)
    overlap = job.request.width // 4 if settings.overlap is None else settings.overlap
    if overlap >= min(job.request.width, job.request.height):
        expected = f"less than the tile, {job.request.width} x {job.request.height} pixels"
        raise RequestError("--overlap", found=str(overlap), expected=expected, fix="lower it")
    return Tiles(Job.of(job.bundle, job.request, job.warnings, start=StartLevel(settings.strength)), overlap, why)
