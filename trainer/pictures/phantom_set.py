"""`phantom`: folders of phantom pictures and of their masks, and a record of how they were drawn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from PIL import Image

from engine.errors import RequestError
from engine.progress import Progress, silent
from trainer.folders import expect_new_folder
from trainer.pictures.phantom import GENERAL, MASK_LABELS, RECIPES, draw

__all__ = ["draw_set"]


def draw_set(
    out: Path,
    class_names: Sequence[str],
    *,
    n: int,
    size: int = 256,
    seed: int = 0,
    workers: int = 1,
    progress: Progress = silent,
) -> None:
    """Write n pictures of each class to `out/pictures/<class>/` and their masks to `out/masks/<class>/`.

    Picture i has seed `seed + i`, so the same request writes the same bytes for any number of workers.
    Raises RequestError for an unknown class, numbers out of range, or an `out` that is not empty.
    """
    known = [*RECIPES, GENERAL]
    class_names = list(dict.fromkeys(class_names))
    for name in class_names:
        if name not in known:
            raise RequestError("--class", found=name, expected=f"one of {', '.join(known)}", fix="choose one of these")
    if n < 1 or size < 32 or seed < 0:
        found = f"n {n}, size {size}, seed {seed}"
        raise RequestError(
            "The request", found=found, expected="n >= 1, size >= 32, seed >= 0", fix="change these values"
        )
    expect_new_folder(out)
    for name in class_names:
        (out / "pictures" / name).mkdir(parents=True)
        (out / "masks" / name).mkdir(parents=True)
    jobs = [(name, seed + i) for name in class_names for i in range(n)]
    with ProcessPoolExecutor(workers) as pool:
        for done, _ in enumerate(pool.map(partial(_draw_one, out, size), jobs, chunksize=4), 1):
            progress("phantom", done, len(jobs))
    record = {"kind": "phantom", "classes": list(class_names), "n": n, "size": size, "seed": seed, "mask": MASK_LABELS}
    (out / "phantom.json").write_text(json.dumps(record, indent=2) + "\n")


def _draw_one(out: Path, size: int, job: tuple[str, int]) -> None:
    name, seed = job
    picture, mask = draw(name, seed, size)
    file_name = f"{name}_{seed:05d}.png"
    Image.fromarray(picture).save(out / "pictures" / name / file_name)
    Image.fromarray(mask).save(out / "masks" / name / file_name)
