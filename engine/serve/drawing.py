"""Requests for pictures of one class, and the pictures: PNG files that state how they were made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.bundle.folder import Bundle
from engine.bundle.job import Job, make_job
from engine.bundle.settings import RequestSettings
from engine.output.formats import encode_png
from engine.output.provenance import describe, facts_of_picture, parameters_line

__all__ = ["Drawing", "Drawn", "drawn", "job_of"]


@dataclass(frozen=True)
class Drawing:
    """A request: n pictures of one class. Picture i has the seed of the settings plus i; -1 draws a random seed."""

    bundle: str
    """Name of a served bundle."""
    class_name: str
    n: int = 1
    settings: RequestSettings = field(default_factory=RequestSettings)
    """As those of `engine generate`, without files: `initial.init` and `initial.mask` stay None."""
    initial: tuple[bytes, ...] = ()
    """Initial pictures as the contents of picture files. Picture i varies initial picture i mod their number."""
    mask: bytes | None = None
    """The mask of all initial pictures, as the content of a picture file."""


@dataclass(frozen=True)
class Drawn:
    """A finished picture."""

    png: bytes
    seed: int
    infotext: str
    """How it was made, in the words of AUTOMATIC1111's WebUI, as the PNG states it."""
    description: dict[str, Any]
    """How it was made, as the PNG states it."""


def job_of(request: Drawing, bundle: Bundle, folder: Path) -> Job:
    """Return the checked job of a request. Raises RequestError.

    folder: a private folder, in which the initial pictures are written if there are some.
    """
    settings = request.settings
    if request.initial:
        folder.mkdir(mode=0o700, parents=True)
        pictures = folder / "initial"
        pictures.mkdir()
        for i, content in enumerate(request.initial):
            (pictures / f"initial-{i:04d}.png").write_bytes(content)
        mask = None
        if request.mask is not None:
            mask = folder / "mask.png"
            mask.write_bytes(request.mask)
        settings = replace(settings, initial=replace(settings.initial, init=pictures, mask=mask))
    return make_job(bundle, [request.class_name], request.n, settings)


def drawn(
    job: Job,
    seeds: Sequence[int],
    images: Sequence[NDArray[np.uint8]],
    rescued: Sequence[str],
    interrupted_after: int | None = None,
) -> list[Drawn]:
    """Return pictures, each (H, W, 3) uint8 RGB, as files.

    rescued: what made each in a second try, or "". interrupted_after: the number of steps of half-drawn pictures.
    """
    class_name = job.request.class_names[0]
    shared = describe(job, class_name)
    if interrupted_after is not None:
        shared["interrupted_after"] = interrupted_after
    found = []
    for seed, image, again in zip(seeds, images, rescued, strict=True):
        description = {**shared, "seed": seed, **({"rescued": again} if again else {})}
        description |= facts_of_picture(job, class_name, seed, image.shape)
        found.append(
            Drawn(encode_png(image, description), description["seed"], parameters_line(description), description)
        )
    return found
