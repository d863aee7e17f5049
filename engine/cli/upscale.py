"""The command `engine upscale`: enlarge pictures, by a filter or with the model of a class."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from engine.backends.select import open_backend, settle
from engine.bundle.folder import open_bundle
from engine.bundle.hires import expect_encoder
from engine.bundle.job import Job, make_job
from engine.bundle.settings import (
    AUTO,
    GuidanceSettings,
    HardwareSettings,
    PictureSettings,
    RequestSettings,
    SamplingSettings,
)
from engine.errors import RequestError
from engine.files import expect_place
from engine.locks import locked_folder
from engine.options import Range, Without, expect_unset, setting, with_options
from engine.pictures import pictures_in
from engine.runs.upscale import UpscaleRequest, check_folder, upscale
from engine.sampling.start import StartLevel
from engine.terminal import progress_bar, stopped_by_signals, warn

__all__ = ["upscale_command"]


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


@with_options
def upscale_command(
    pictures: Annotated[Path, typer.Argument(metavar="DIR|FILE", help="Pictures to enlarge.")],
    settings: UpscaleSettings,
    sampling: SamplingSettings,
    guidance: GuidanceSettings,
    picture: Annotated[PictureSettings, Without("width", "height")],
    hardware: HardwareSettings,
) -> None:
    """Enlarge pictures. Run the same command again to resume an interrupted one."""
    request = UpscaleRequest(_files(pictures), settings.out, settings.scale)
    expect_place(settings.out)
    job = None
    if settings.class_name is None:
        _expect_defaults(settings, sampling, guidance, picture, hardware)
    else:
        job = _job(settings, RequestSettings(sampling, guidance, picture, hardware))
        overlap = job.request.width // 4 if settings.overlap is None else settings.overlap
        if overlap >= min(job.request.width, job.request.height):
            expected = f"less than the tile, {job.request.width} x {job.request.height} pixels"
            raise RequestError("--overlap", found=str(overlap), expected=expected, fix="lower it")
        request = UpscaleRequest(request.pictures, settings.out, settings.scale, overlap)
    identity = check_folder(request, job, overwrite=settings.overwrite)
    with ExitStack() as opened:
        opened.enter_context(locked_folder(settings.out))
        stop = opened.enter_context(stopped_by_signals())
        progress = opened.enter_context(progress_bar())
        backend = None
        if job is not None:
            job.bundle.verify_for(job.request.class_names)
            backend = open_backend(job)
        made = upscale(request, identity, job, backend, stop=stop, progress=progress)
    done = sum(request.target(path).exists() for path in request.pictures)
    print(f"{done} of {len(request.pictures)} pictures, {made} of them new: {settings.out}")
    if done < len(request.pictures):
        print("Stopped before the end. Run the same command again to resume.")
        sys.exit(1)


def _files(pictures: Path) -> tuple[Path, ...]:
    files = (pictures,) if pictures.is_file() else tuple(pictures_in(pictures)) if pictures.is_dir() else ()
    if not files:
        raise RequestError(
            f"The pictures {pictures}",
            found="no picture",
            expected="a picture file, or a folder with pictures directly in it",
            fix="check the path",
        )
    return files


def _expect_defaults(settings: UpscaleSettings, *groups: Any) -> None:
    """Raise RequestError if an option of the model was given without a class."""
    own = replace(UpscaleSettings(), out=settings.out, scale=settings.scale, overwrite=settings.overwrite)
    for given, plain in ((settings, own), *((group, type(group)()) for group in groups)):
        expect_unset(given, plain, "--class", ", because Lanczos alone has no such setting")


def _job(settings: UpscaleSettings, asked: RequestSettings) -> Job:
    """Return the job that draws tiles, with its backend."""
    assert settings.class_name is not None
    bundle = open_bundle(settings.bundle)
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
    for words in job.warnings:
        warn(f"{words}.")
    job, why = settle(job, hardware)
    print(f"Backend: {why}.", file=sys.stderr)
    return Job.of(job.bundle, job.request, job.warnings, start=StartLevel(settings.strength))
