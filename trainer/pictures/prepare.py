"""`prepare`: pictures of any size -> square PNGs of one size, augmented to a number a class, with their sources."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.errors import RequestError
from trainer.folders import expect_new_folder
from trainer.pictures.augment import augment
from trainer.pictures.duplicates import Pair, similar_pairs
from trainer.pictures.folders import centre_square, find_pictures, open_picture
from trainer.pictures.rudi import rudi

__all__ = ["MODES", "PrepareSettings", "Prepared", "count_sources", "prepare"]

SOURCES = "sources.jsonl"
MODES = ("preserve", "rudi")
LOOKED_AT = 5000
"""Pictures up to which all pairs are compared."""


@dataclass(frozen=True)
class PrepareSettings:
    """size: pixels of a side, or None to keep the centre square as large as it is. crop: share of it that is kept.
    n: pictures of each class, by augmentation; None is the pictures alone. flip: whether cells may be mirrored."""

    size: int | None = 128
    crop: float = 1.0
    n: int | None = None
    mode: str = "preserve"
    flip: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        rules = {
            "--size": (
                self.size is None or (self.size >= 8 and self.size % 8 == 0),
                self.size,
                "a multiple of 8 pixels",
                "round it to one",
            ),
            "--crop": (0 < self.crop <= 1, self.crop, "a share in (0, 1]", "use 1 for the whole square"),
            "--n": (self.n is None or self.n >= 1, self.n, "at least 1 picture a class", "raise it or leave it out"),
            "--mode": (self.mode in MODES, self.mode, f"one of {', '.join(MODES)}", "choose one of these"),
            "--seed": (self.seed >= 0, self.seed, "at least 0", "change it"),
        }
        for flag, (kept, found, expected, fix) in rules.items():
            if not kept:
                raise RequestError(flag, found=str(found), expected=expected, fix=fix)


@dataclass(frozen=True)
class Prepared:
    """counts: pictures of each class. alike: source pictures that are the same or nearly; None where there were too
    many to compare all."""

    counts: dict[str, int]
    alike: list[Pair] | None


def prepare(
    source: Path,
    out: Path,
    settings: PrepareSettings | None = None,
    *,
    held_out: Sequence[Path] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Prepared:
    """Write `out/<class>/<file>_<k>.png` and `out/sources.jsonl`, which says of every picture what it was made from.

    The first len(pictures) of a class are the pictures themselves; from there to `n` they are augmented, each
    source in turn, variant k of a source having its own generator seeded by (seed, name, k). A transparency channel
    and a caption file (`x.txt`) go along. Every source is decoded before anything is written.

    Raises RequestError for an empty folder, an unreadable picture, wrong numbers, an `out` that holds something, or a
    source that is a picture of `held_out`, or nearly.
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
                found=f"{len(mixed)} that are held out in {folder}, such as {mixed[0].one} ({mixed[0].other})",
                expected="none: what is trained on cannot be tested on",
                fix="take them out of one of the two folders",
            )
    if settings.mode == "rudi":
        for path, picture in everything:
            if picture.shape[2] == 4:
                raise RequestError(
                    f"The picture {path}",
                    found="a transparency channel",
                    expected="none, for --mode rudi",
                    fix="use --mode preserve, which turns it with the picture",
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
                records.write(json.dumps(row) + "\n")
                done += 1
                progress(done, sum(counts.values()))
    return Prepared(counts, similar_pairs(everything) if len(everything) <= LOOKED_AT else None)


def _read(source: Path, settings: PrepareSettings) -> dict[str, dict[Path, NDArray[np.uint8]]]:
    """Every class's squares, by file."""
    return {
        name: {path: centre_square(open_picture(path), settings.size, settings.crop) for path in paths}
        for name, paths in find_pictures(source).items()
    }


def _variant(picture: NDArray[np.uint8], path: Path, variant: int, settings: PrepareSettings) -> NDArray[np.uint8]:
    if variant == 0:
        return picture
    rng = np.random.default_rng([settings.seed, variant, *path.name.encode()])
    if settings.mode == "preserve":
        return augment(picture, rng, flip=settings.flip)
    return rudi(picture, rng, from_jpeg=path.suffix.lower() in (".jpg", ".jpeg"))


def count_sources(folder: Path) -> int:
    """How many pictures those of a folder were made of: what `prepare` recorded beside them, else the pictures there.

    Raises RequestError where there is none.
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
                expected="what `python -m trainer prepare` wrote",
                fix="prepare the pictures again, or say their number with --pictures",
            ) from error
    return total
