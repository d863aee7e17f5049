"""`prepare`: pictures of any size -> square PNGs of one size, augmented to a number a class, with their sources."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from engine.errors import RequestError
from engine.pictures import read_picture
from trainer.augment import augment
from trainer.pictures import centre_square, find_pictures

__all__ = ["prepare"]


def prepare(
    source: Path,
    out: Path,
    *,
    size: int,
    crop: float = 1.0,
    n: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, int]:
    """Write `out/<class>/<stem>_<k>.png` and `out/sources.jsonl`; return the number of pictures of each class.

    The first len(pictures) of a class are the pictures themselves; from there to `n` they are augmented, each
    source in turn, variant k of a source having its own generator seeded by (seed, name, k). Without `n` nothing
    is augmented. Every source is decoded before anything is written.
    Raises RequestError for an empty folder, an unreadable picture, wrong numbers, or an `out` that holds something.
    """
    _check(out, size, crop, n)
    classes = find_pictures(source)
    originals = {
        name: {path: centre_square(read_picture(path), size, crop) for path in paths} for name, paths in classes.items()
    }
    counts = {name: len(pictures) if n is None else n for name, pictures in originals.items()}
    done = 0
    out.mkdir(parents=True, exist_ok=True)
    with (out / "sources.jsonl").open("w") as records:
        for name, pictures in originals.items():
            (out / name).mkdir()
            paths = list(pictures)
            for index in range(counts[name]):
                path, variant = paths[index % len(paths)], index // len(paths)
                picture = pictures[path]
                if variant:
                    rng = np.random.default_rng([seed, variant, *path.name.encode()])
                    picture = augment(picture, rng)
                file_name = f"{name}/{path.stem}_{variant}.png"
                Image.fromarray(picture).save(out / file_name)
                row = {"file_name": file_name, "class": name, "source": path.name, "variant": variant}
                records.write(json.dumps(row) + "\n")
                done += 1
                progress(done, sum(counts.values()))
    return counts


def _check(out: Path, size: int, crop: float, n: int | None) -> None:
    if size < 8 or size % 8:
        raise RequestError("--size", found=str(size), expected="a multiple of 8 pixels", mend="round it to one")
    if not 0 < crop <= 1:
        raise RequestError("--crop", found=str(crop), expected="a share in (0, 1]", mend="use 1 for the whole square")
    if n is not None and n < 1:
        raise RequestError("--n", found=str(n), expected="at least 1 picture a class", mend="raise it or leave it out")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RequestError(
            f"The output folder {out}", found="something in it", expected="a new or empty folder", mend="name another"
        )
