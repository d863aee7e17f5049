"""`phantom`: folders of phantom pictures and of their masks, and a record of how they were drawn."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from PIL import Image

from engine.options import Range, check_settings, setting
from engine.progress import Progress, silent
from trainer.folders import new_folder
from trainer.pictures.phantom import GENERAL, MASK_LABELS, RECIPES, draw

__all__ = ["PhantomSettings", "draw_set"]


@dataclass(frozen=True)
class PhantomSettings:
    """Which phantoms to draw. The constructor checks the values. Raises RequestError."""

    PANEL: ClassVar[str] = "Phantoms"

    class_name: list[str] | None = setting(
        None,
        flag="--class",
        help=f"Class to draw (default: all except {GENERAL}). May be repeated",
        choices=[*RECIPES, GENERAL],
    )
    n: int = setting(20, flag="--n", help="Pictures per class.", within=Range(low=1))
    size: int = setting(256, help="Side of a picture in pixels.", within=Range(32, 8192))
    seed: int = setting(
        0,
        help="Seed of the first picture; picture i has SEED + i. Use seeds N apart for two sets.",
        within=Range(low=0),
    )

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def class_names(self) -> list[str]:
        """The classes to draw, each once."""
        return list(dict.fromkeys(self.class_name or RECIPES))


def draw_set(out: Path, settings: PhantomSettings, workers: int = 1, progress: Progress = silent) -> None:
    """Write pictures of each class to `out/pictures/<class>/` and their masks to `out/masks/<class>/`.

    Picture i has seed `seed + i`, so the same settings write the same bytes for any number of workers. Raises
    RequestError for an `out` that is not empty.
    """
    class_names, n, size, seed = settings.class_names, settings.n, settings.size, settings.seed
    with new_folder(out) as part:
        for name in class_names:
            (part / "pictures" / name).mkdir(parents=True)
            (part / "masks" / name).mkdir(parents=True)
        jobs = [(name, seed + i) for name in class_names for i in range(n)]
        with ProcessPoolExecutor(workers) as pool:
            for done, _ in enumerate(pool.map(partial(_draw_one, part, size), jobs, chunksize=4), 1):
                progress("phantom", done, len(jobs))
        record = {"kind": "phantom", "classes": class_names, "n": n, "size": size, "seed": seed, "mask": MASK_LABELS}
        (part / "phantom.json").write_text(json.dumps(record, indent=2) + "\n")


def _draw_one(out: Path, size: int, job: tuple[str, int]) -> None:
    name, seed = job
    picture, mask = draw(name, seed, size)
    file_name = f"{name}_{seed:05d}.png"
    Image.fromarray(picture).save(out / "pictures" / name / file_name)
    Image.fromarray(mask).save(out / "masks" / name / file_name)
