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
from trainer.folders import expect_new_folder
from trainer.pictures import centre_square, find_pictures

__all__ = ["count_sources", "prepare"]

SOURCES = "sources.jsonl"


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
    """Write `out/<class>/<file>_<k>.png` and `out/sources.jsonl`; return the number of pictures of each class.

    The first len(pictures) of a class are the pictures themselves; from there to `n` they are augmented, each
    source in turn, variant k of a source having its own generator seeded by (seed, name, k). Without `n` nothing
    is augmented. Every source is decoded before anything is written.
    Raises RequestError for an empty folder, an unreadable picture, wrong numbers, or an `out` that holds something.
    """
    _check(out, size, crop, n, seed)
    classes = find_pictures(source)
    originals = {
        name: {path: centre_square(read_picture(path), size, crop) for path in paths} for name, paths in classes.items()
    }
    counts = {name: len(pictures) if n is None else n for name, pictures in originals.items()}
    done = 0
    out.mkdir(parents=True, exist_ok=True)
    with (out / SOURCES).open("w") as records:
        for name, pictures in originals.items():
            (out / name).mkdir()
            paths = list(pictures)
            for index in range(counts[name]):
                path, variant = paths[index % len(paths)], index // len(paths)
                picture = pictures[path]
                if variant:
                    rng = np.random.default_rng([seed, variant, *path.name.encode()])
                    picture = augment(picture, rng)
                file_name = f"{name}/{path.name.replace('.', '_')}_{variant}.png"
                Image.fromarray(picture).save(out / file_name)
                row = {"file_name": file_name, "class": name, "source": path.name, "variant": variant}
                records.write(json.dumps(row) + "\n")
                done += 1
                progress(done, sum(counts.values()))
    return counts


def count_sources(folder: Path) -> int:
    """How many pictures those of a folder were made of: what `prepare` recorded beside them, else the pictures there.

    Raises RequestError where there is none.
    """
    total = 0
    for paths in find_pictures(folder).values():
        here = paths[0].resolve().parent
        record = here.parent / SOURCES
        names = {f"{here.name}/{path.name}" for path in paths}
        rows = [json.loads(line) for line in record.read_text().splitlines()] if record.is_file() else []
        total += len({row["source"] for row in rows if row["file_name"] in names}) or len(paths)
    return total


def _check(out: Path, size: int, crop: float, n: int | None, seed: int) -> None:
    if size < 8 or size % 8:
        raise RequestError("--size", found=str(size), expected="a multiple of 8 pixels", mend="round it to one")
    if not 0 < crop <= 1:
        raise RequestError("--crop", found=str(crop), expected="a share in (0, 1]", mend="use 1 for the whole square")
    if n is not None and n < 1:
        raise RequestError("--n", found=str(n), expected="at least 1 picture a class", mend="raise it or leave it out")
    if seed < 0:
        raise RequestError("--seed", found=str(seed), expected="at least 0", mend="change it")
    expect_new_folder(out)
