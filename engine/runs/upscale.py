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
from engine.files import contents_of, replace_file, sha256_of, write_json
from engine.initial.pictures import flat_picture
from engine.output.formats import encode_png
from engine.output.provenance import describe
from engine.pictures import PNG_KEY, open_file, read_with_alpha
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
    names: dict[str, Path] = {}
    for path in request.pictures:
        width, height = request.size_of(read_with_alpha(path))
        if width * height > MAX_PIXELS:
            raise RequestError(
                f"The picture {path}",
                found=f"{width} x {height} pixels after enlarging",
                expected=f"at most {MAX_PIXELS:,} pixels",
                fix="use a smaller --scale",
            )
        if (other := names.setdefault(path.stem.lower(), path)) != path:
            raise RequestError(
                f"The picture {path}", found=f"the same name as {other.name}", expected="one name", fix="rename one"
            )
    identity: dict[str, Any] = {
        "scale": request.scale,
        "pictures": {path.name: sha256_of(path) for path in request.pictures},
    }
    if job is not None:
        identity |= {"overlap": request.overlap, "start": vars(job.start) if job.start else None}
        identity |= {"bundle_sha256": job.bundle.sha256, **job.request.as_json()}
    folder = request.out
    before = _record(folder)
    others = [path.name for path in contents_of(folder)] if folder.is_dir() else []
    if others and before is None:
        found = f"files of something else, such as {others[0]}"
    elif before is not None and before != json.loads(json.dumps(identity)) and not overwrite:
        found = "pictures of another upscaling"
    else:
        return identity
    raise RequestError(
        f"The output folder {folder}",
        found=found,
        expected="a new or empty folder, or the same task to resume",
        fix="name another folder with --out" + (", or add --overwrite" if before is not None else ""),
    )


def _record(folder: Path) -> Any:
    try:
        return json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


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
    if _record(request.out) != json.loads(json.dumps(identity)):
        for path in request.pictures:
            request.target(path).unlink(missing_ok=True)
        write_json(request.out / RECORD, identity)
    waiting = [path for path in request.pictures if not request.target(path).exists()]
    if job is None or backend is None:

        def keep(path: Path, pixels: Pixels, _: Callable[[int, int], None]) -> tuple[Pixels, dict[str, Any] | None]:
            return pixels, _kept(path, request)

        return _write_all(waiting, request, keep, progress)
    stop = stop or threading.Event()
    class_name = job.request.class_names[0]
    places = {path: place for place, path in enumerate(request.pictures)}
    with closing(TiledPipeline(job, class_name, backend, request.overlap)) as pipeline:

        def draw(path: Path, pixels: Pixels, on_tile: Callable[[int, int], None]) -> tuple[Pixels, dict[str, Any]]:
            seed = job.request.seed + places[path]
            drawn = pipeline.run(pixels, seed, stop, on_tile)
            return drawn, _described(job, class_name, path, seed, request, drawn)

        return _write_all(waiting, request, draw, progress)


Draw = Callable[[Path, Pixels, Callable[[int, int], None]], tuple[Pixels, dict[str, Any] | None]]


def _write_all(paths: Iterable[Path], request: UpscaleRequest, draw: Draw, progress: Progress) -> int:
    made = 0
    for path in paths:
        picture = flat_picture(read_with_alpha(path))
        large = np.asarray(picture.resize(request.size_of(picture), Image.Resampling.LANCZOS))
        name = path.name
        try:
            pixels, description = draw(path, large, partial(progress, name))
        except Stopped:
            break
        with replace_file(request.target(path)) as part:
            if description is None:
                Image.fromarray(pixels).save(part, format="PNG")
            else:
                part.write_bytes(encode_png(pixels, description))
        made += 1
        progress(name, 1, 1)
    return made


def _kept(path: Path, request: UpscaleRequest) -> dict[str, Any] | None:
    """Return the description of a synthetic picture that is only enlarged, or None for another picture."""
    with open_file(path) as picture:
        picture.load()
        text = picture.info.get(PNG_KEY)
        size = request.size_of(picture)
    if text is None:
        return None
    description: dict[str, Any] = json.loads(text)
    return {**description, "width": size[0], "height": size[1], "upscaled": request.scale}


def _described(
    job: Job, class_name: str, path: Path, seed: int, request: UpscaleRequest, drawn: Pixels
) -> dict[str, Any]:
    assert job.start is not None
    with open_file(path) as picture:
        picture.load()
        synthetic = PNG_KEY in picture.info
    return {
        **describe(job, class_name),
        "digital_source_type": "compositeWithTrainedAlgorithmicMedia",
        "derived": True,
        "strength": job.start.strength,
        "start_sigma": job.plan.initial_scale,
        "seed": seed,
        "width": drawn.shape[1],
        "height": drawn.shape[0],
        "upscaled": request.scale,
        "tile_width": job.request.width,
        "tile_height": job.request.height,
        "tile_overlap": request.overlap,
        "initial_picture": path.name,
        "initial_sha256": sha256_of(path),
        "initial_synthetic": synthetic,
    }
