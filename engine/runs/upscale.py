"""Upscaling of pictures: by Lanczos, or drawn again in tiles by the model of a class."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.backends.base import Backend
from engine.bundle.job import Job
from engine.errors import RequestError
from engine.files import expect_task_folder, read_task, replace_file, sha256_of, write_json
from engine.initial.pictures import flat_picture, source_facts
from engine.output.formats import encode_png
from engine.output.provenance import derived_facts, describe
from engine.pictures import PNG_KEY, expect_distinct_names, read_with_alpha
from engine.pipeline.loops import Stopped
from engine.pipeline.tiles import TiledPipeline
from engine.progress import Progress, silent

__all__ = ["RECORD", "UpscaleRequest", "check_folder", "upscale"]

RECORD = "upscale.json"
MAX_PIXELS = 2**28
"""Largest number of pixels of an enlarged picture."""
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class UpscaleRequest:
    """What to enlarge, and how much."""

    pictures: tuple[Path, ...]
    out: Path
    scale: float
    overlap: int = 0
    """Overlap of tiles in pixels. Lanczos alone has no tiles."""

    def size_of(self, picture: Image.Image) -> tuple[int, int]:
        """Return width and height of the enlarged picture."""
        return round(picture.width * self.scale), round(picture.height * self.scale)

    def target(self, path: Path) -> Path:
        """Return the file of the enlarged picture."""
        return self.out / f"{path.stem}.png"


def check_folder(request: UpscaleRequest, job: Job | None, *, overwrite: bool) -> dict[str, Any]:
    """Return what identifies the task. Every picture is read once.

    Raises RequestError for a picture that cannot be read or would become too large, for two pictures of one name, and
    for a folder with other files or another task's pictures.
    """
    for path in request.pictures:
        width, height = request.size_of(read_with_alpha(path))
        if width * height > MAX_PIXELS:
            raise RequestError(
                f"The picture {path}",
                found=f"{width} x {height} pixels after enlarging",
                expected=f"at most {MAX_PIXELS:,} pixels",
                fix="use a smaller --scale",
            )
    expect_distinct_names(request.pictures)
    identity: dict[str, Any] = {
        "scale": request.scale,
        "pictures": {path.name: sha256_of(path) for path in request.pictures},
    }
    if job is not None:
        identity |= {"overlap": request.overlap, "start": vars(job.start) if job.start else None}
        identity |= {"bundle_sha256": job.bundle.sha256, **job.request.as_json()}
    expect_task_folder(request.out, RECORD, identity, others="pictures of another upscaling", overwrite=overwrite)
    return identity


def upscale(
    request: UpscaleRequest,
    identity: dict[str, Any],
    job: Job | None = None,
    backend: Backend | None = None,
    *,
    stop: threading.Event | None = None,
    progress: Progress = silent,
) -> int:
    """Write the enlarged pictures. Return how many were written. Pictures of the same task that exist are kept.

    job, backend: the model that draws the enlarged pictures again; without them they are enlarged by Lanczos alone.
    """
    request.out.mkdir(parents=True, exist_ok=True)
    if read_task(request.out, RECORD) != identity:
        for path in request.pictures:
            request.target(path).unlink(missing_ok=True)
        write_json(request.out / RECORD, identity)
    waiting = [path for path in request.pictures if not request.target(path).exists()]
    if job is None or backend is None:
        return _write_all(waiting, request, _keep, progress)
    stop = stop or threading.Event()
    class_name = job.request.class_names[0]
    places = {path: place for place, path in enumerate(request.pictures)}
    with closing(TiledPipeline(job, class_name, backend, request.overlap)) as pipeline:

        def draw(source: _Source, on_tile: Callable[[int, int], None]) -> tuple[Pixels, dict[str, Any]]:
            seed = job.request.seed + places[source.path]
            drawn = pipeline.run(source.enlarged, seed, stop, on_tile)
            tiles = {
                "tile_width": job.request.width,
                "tile_height": job.request.height,
                "tile_overlap": request.overlap,
            }
            facts = source_facts(source.path, sha256_of(source.path), synthetic=source.description is not None)
            own = {"seed": seed, "upscaled": request.scale, **tiles, **facts, **source.size}
            return drawn, {**describe(job, class_name), **derived_facts(job), **own}

        return _write_all(waiting, request, draw, progress)


@dataclass(frozen=True)
class _Source:
    """A picture to enlarge."""

    path: Path
    enlarged: Pixels
    """The picture at its new size, by Lanczos."""
    scale: float
    description: dict[str, Any] | None
    """The description of a synthetic picture; None for another picture."""

    @property
    def size(self) -> dict[str, int]:
        """Width and height of the enlarged picture."""
        return {"width": self.enlarged.shape[1], "height": self.enlarged.shape[0]}


def _open_source(path: Path, request: UpscaleRequest) -> _Source:
    picture = read_with_alpha(path)
    text = picture.info.get(PNG_KEY)
    enlarged = flat_picture(picture).resize(request.size_of(picture), Image.Resampling.LANCZOS)
    return _Source(path, np.asarray(enlarged), request.scale, None if text is None else json.loads(text))


def _keep(source: _Source, _: Callable[[int, int], None]) -> tuple[Pixels, dict[str, Any] | None]:
    """Return the enlarged picture itself. A synthetic one stays marked."""
    if source.description is None:
        return source.enlarged, None
    return source.enlarged, {**source.description, **source.size, "upscaled": source.scale}


Draw = Callable[[_Source, Callable[[int, int], None]], tuple[Pixels, dict[str, Any] | None]]


def _write_all(paths: Iterable[Path], request: UpscaleRequest, draw: Draw, progress: Progress) -> int:
    made = 0
    for path in paths:
        try:
            pixels, description = draw(_open_source(path, request), partial(progress, path.name))
        except Stopped:
            break
        with replace_file(request.target(path)) as part:
            if description is None:
                Image.fromarray(pixels).save(part, format="PNG")
            else:
                part.write_bytes(encode_png(pixels, description))
        made += 1
        progress(path.name, 1, 1)
    return made
