"""`prepare`: pictures of any size -> square PNGs of one size, augmented to a number per class, with their sources."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.errors import RequestError
from engine.options import Range, check_settings, setting
from engine.progress import Progress, silent
from trainer.folders import expect_new_folder
from trainer.pictures.augment import augment
from trainer.pictures.duplicates import Pair, similar_pairs
from trainer.pictures.folders import centre_square, find_pictures, open_picture
from trainer.pictures.rudi import rudi

__all__ = ["MODES", "PrepareSettings", "Prepared", "count_sources", "crop_of", "prepare"]

SOURCES = "sources.jsonl"
MODES = ("preserve", "rudi")
COMPARED = 5000
"""Largest number of pictures of which all pairs are compared."""


@dataclass(frozen=True)
class PrepareSettings:
    """Settings of the preparation of pictures."""

    PANEL: ClassVar[str] = "Pictures"

    size: int = setting(128, help="Side of a picture in pixels: a multiple of 8 (of 32 for the preset small).")
    resize: bool = setting(True, help="Resize the centre square to SIZE, or keep it as large as it is.")
    crop: float = setting(1.0, help="Share of the centre square to keep.", within=Range(above=0, high=1))
    n: int | None = setting(
        None, help="Pictures per class, reached by augmentation. Default: no augmentation.", within=Range(low=1)
    )
    mode: str = setting(
        "preserve",
        help="Augmentation (preserve keeps the area of the nucleus, the thesis's rudi does not)",
        choices=MODES,
    )
    flip: bool = setting(True, help="Mirror pictures (mode preserve). Use --no-flip if classes may not be mirrored.")
    seed: int = setting(0, help="Seed of all random numbers.", within=Range(low=0))

    def __post_init__(self) -> None:
        check_settings(self)
        if self.resize and (self.size < 8 or self.size % 8):
            raise RequestError(
                "--size", found=str(self.size), expected="a multiple of 8 pixels", fix="use the nearest multiple of 8"
            )

    @property
    def side(self) -> int | None:
        """Side of the prepared pictures in pixels, or None if they keep the size of their centre square."""
        return self.size if self.resize else None


@dataclass(frozen=True)
class Prepared:
    """Result of a preparation."""

    counts: dict[str, int]
    """Number of pictures of each class."""
    alike: list[Pair] | None
    """Pairs of source pictures that are the same or nearly so. None if there were too many pictures to compare."""


def prepare(
    source: Path,
    out: Path,
    settings: PrepareSettings | None = None,
    *,
    held_out: Sequence[Path] = (),
    progress: Progress = silent,
) -> Prepared:
    """Write `out/<class>/<file>_<k>.png` and `out/sources.jsonl`, which names the source of each picture.

    The first pictures of a class are the sources themselves. The others, up to `n`, are augmented from each source in
    turn. Variant k of a source has its own generator with the seed (seed, k, name). An alpha channel and a caption file
    (`x.txt`) are kept. All sources are decoded before anything is written.

    Raises RequestError for an empty folder, an unreadable picture, an `out` that is not empty, or a source that is the
    same, or nearly the same, as a picture of `held_out`.
    """
    settings = settings or PrepareSettings()
    expect_new_folder(out)
    originals = _read(source, settings)
    everything = [(path, picture) for pictures in originals.values() for path, picture in pictures.items()]
    for folder in held_out:
        kept = [(path, picture) for pictures in _read(folder, settings).values() for path, picture in pictures.items()]
        if mixed := similar_pairs(everything, kept):
            raise RequestError(
                f"The pictures of {source}",
                found=f"{len(mixed)} held-out pictures of {folder}, such as {mixed[0].one} ({mixed[0].other})",
                expected="no held-out picture: a picture cannot be in training and test",
                fix="remove these pictures from one of the two folders",
            )
    if settings.mode == "rudi":
        for path, picture in everything:
            if picture.shape[2] == 4:
                raise RequestError(
                    f"The picture {path}",
                    found="an alpha channel",
                    expected="no alpha channel, for --mode rudi",
                    fix="use --mode preserve, which keeps the alpha channel",
                )
    counts = {name: settings.n or len(pictures) for name, pictures in originals.items()}
    out.mkdir(parents=True, exist_ok=True)
    done = 0
    with (out / SOURCES).open("w") as records:
        for name, pictures in originals.items():
            (out / name).mkdir()
            paths = list(pictures)
            for index in range(counts[name]):
                path, variant = paths[index % len(paths)], index // len(paths)
                picture = _variant(pictures[path], path, variant, settings)
                file_name = f"{name}/{path.name.replace('.', '_')}_{variant}.png"
                Image.fromarray(picture).save(out / file_name)
                if path.with_suffix(".txt").is_file():
                    (out / file_name).with_suffix(".txt").write_bytes(path.with_suffix(".txt").read_bytes())
                row = {"file_name": file_name, "class": name, "source": path.name, "variant": variant}
                row |= {"mode": settings.mode if variant else "original", "seed": settings.seed}
                row["crop"] = settings.crop
                records.write(json.dumps(row) + "\n")
                done += 1
                progress("prepare", done, sum(counts.values()))
    return Prepared(counts, similar_pairs(everything) if len(everything) <= COMPARED else None)


def _read(source: Path, settings: PrepareSettings) -> dict[str, dict[Path, NDArray[np.uint8]]]:
    """Return the centre squares of each class, by file."""
    return {
        name: {path: centre_square(open_picture(path), settings.side, settings.crop) for path in paths}
        for name, paths in find_pictures(source).items()
    }


def _variant(picture: NDArray[np.uint8], path: Path, variant: int, settings: PrepareSettings) -> NDArray[np.uint8]:
    if variant == 0:
        return picture
    rng = np.random.default_rng([settings.seed, variant, *path.name.encode()])
    if settings.mode == "preserve":
        return augment(picture, rng, flip=settings.flip)
    return rudi(picture, rng, from_jpeg=path.suffix.lower() in (".jpg", ".jpeg"))


def crop_of(folders: Sequence[Path]) -> float | None:
    """Return the crop with which `prepare` made the photographs and drawings of these folders.

    None if a folder has no record of `prepare`, or if the crops differ.
    """
    crops = set()
    for folder in folders:
        record = next((path for path in (folder / SOURCES, folder.parent / SOURCES) if path.is_file()), None)
        lines = [] if record is None else record.read_text().splitlines()
        crops |= {json.loads(line).get("crop") for line in lines} or {None}
    return crops.pop() if len(crops) == 1 else None


def count_sources(folder: Path) -> int:
    """Return the number of source pictures of a folder: as `prepare` recorded it, or else the number of pictures.

    Raises RequestError if there are no pictures or the record of `prepare` is unreadable.
    """
    total = 0
    for paths in find_pictures(folder).values():
        here = paths[0].resolve().parent
        record = here.parent / SOURCES
        names = {f"{here.name}/{path.name}" for path in paths}
        try:
            rows = [json.loads(line) for line in record.read_text().splitlines()] if record.is_file() else []
            total += len({row["source"] for row in rows if row["file_name"] in names}) or len(paths)
        except (ValueError, KeyError, TypeError) as error:
            raise RequestError(
                f"The record {record}",
                found=f"unreadable ({error!r})",
                expected="a record that `python -m trainer prepare` wrote",
                fix="prepare the pictures again, or give their number with --pictures",
            ) from error
    return total
