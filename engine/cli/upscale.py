"""The command `engine upscale`: enlarge pictures, by a filter or with the model of a class."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.backends.select import open_backend
from engine.bundle.folder import open_bundle
from engine.bundle.settings import (
    GuidanceSettings,
    HardwareSettings,
    PictureSettings,
    RequestSettings,
    SamplingSettings,
)
from engine.errors import RequestError
from engine.files import expect_place
from engine.locks import locked_folder
from engine.options import Without, expect_unset, with_options
from engine.pictures import pictures_in
from engine.runs.tile_job import UpscaleSettings, tile_job
from engine.runs.upscale import UpscaleRequest, check_folder, upscale
from engine.terminal import progress_bar, stopped_by_signals, warn

__all__ = ["upscale_command"]


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
        asked = RequestSettings(sampling, guidance, picture, hardware)
        tiles = tile_job(open_bundle(settings.bundle), settings, asked)
        for words in tiles.job.warnings:
            warn(f"{words}.")
        print(f"Backend: {tiles.why}.", file=sys.stderr)
        job, request = tiles.job, replace(request, overlap=tiles.overlap)
    identity = check_folder(request, job, overwrite=settings.overwrite)
    with ExitStack() as opened:
        opened.enter_context(locked_folder(settings.out))
        stop = opened.enter_context(stopped_by_signals())
        progress = opened.enter_context(progress_bar())
        backend = None
        if job is not None:
            job.bundle.verify_for(job.request.class_names, job.request.preset)
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
