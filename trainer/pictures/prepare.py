"""`prepare`: pictures of any size -> square PNGs of one size, augmented to a number per class, with their sources."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.errors import RequestError
from engine.options import Range, check_settings, setting
from engine.progress import Progress, silent
from trainer.folders import expect_new_folder, new_folder
from trainer.pictures.captions import caption_of, read_text
from trainer.pictures.duplicates import Pair, similar_pairs
from trainer.pictures.folders import expect_names, find_pictures
from trainer.pictures.rudi import rudi
from trainer.pictures.sources import Sources, unique_names

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
    depth_range: tuple[float, float] | None = setting(
        None, help="LO HI: values of pictures with more than 8 bits per channel that become 0 and 255."
    )
    depth_percentiles: tuple[float, float] | None = setting(
        None, help="LO HI: the same range as percentiles of the values of all such pictures of IN, for example 0 99.9."
    )
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
        if self.depth_range is not None and self.depth_percentiles is not None:
            raise RequestError(
                "--depth-range", found="--depth-percentiles, too", expected="one of both", fix="leave one of them out"
            )
        self._expect_ascending("--depth-range", self.depth_range, -math.inf, math.inf)
        self._expect_ascending("--depth-percentiles", self.depth_percentiles, 0, 100)

    @staticmethod
    def _expect_ascending(flag: str, given: tuple[float, float] | None, least: float, most: float) -> None:
        if given is None:
            return
        low, high = given
        if not (math.isfinite(low) and math.isfinite(high) and least <= low < high <= most):
            bounds = "finite numbers" if math.isinf(most) else f"numbers from {least:g} to {most:g}"
            raise RequestError(
                flag, found=f"{low:g} {high:g}", expected=f"two {bounds}, LO below HI", fix="change the two values"
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
    notes: tuple[str, ...] = ()
    """What was converted: depth, transparency, names that were the same."""


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
    (`x.txt` or `x.caption`) are kept. All sources are decoded and checked before anything is written, and decoded again
    to be written, so that no more than sources.KEPT_BYTES of them are in memory.

    Raises RequestError for an empty folder, an unreadable picture, an `out` that is not empty, or a source that is the
    same, or nearly the same, as a picture of `held_out`.
    """
    settings = settings or PrepareSettings()
    expect_new_folder(out)
    classes = find_pictures(source)
    expect_names(source, classes)
    sources = Sources(settings, [path for paths in classes.values() for path in paths])
    for path in sources.paths:
        if (caption := caption_of(path)) is not None:
            read_text(caption, "caption")
    for folder in held_out:
        kept = Sources(settings, [path for paths in find_pictures(folder).values() for path in paths])
        if mixed := similar_pairs(sources.looks, kept.looks):
            raise RequestError(
                f"The pictures of {source}",
                found=f"{len(mixed)} held-out pictures of {folder}, such as {mixed[0].one} ({mixed[0].other})",
                expected="no held-out picture: a picture cannot be in training and test",
                fix="remove these pictures from one of the two folders",
            )
    if settings.mode == "rudi" and sources.transparent:
        raise RequestError(
            f"The picture {sources.transparent[0]}",
            found="an alpha channel",
            expected="no alpha channel, for --mode rudi",
            fix="use --mode preserve, which keeps the alpha channel",
        )
    with new_folder(out) as part:
        counts, renamed = _write(classes, sources, part, settings, progress)
    alike = similar_pairs(sources.looks) if len(sources.paths) <= COMPARED else None
    return Prepared(counts, alike, (*sources.notes, *renamed))


def _write(
    classes: Mapping[str, Sequence[Path]], sources: Sources, out: Path, settings: PrepareSettings, progress: Progress
) -> tuple[dict[str, int], list[str]]:
    """Write all pictures. Return their number by class, and what is to be said of names that were the same."""
    counts = {name: settings.n or len(paths) for name, paths in classes.items()}
    done, renamed = 0, []
    with (out / SOURCES).open("w", encoding="utf-8") as records:
        for name, paths in classes.items():
            (out / name).mkdir()
            stems = unique_names(paths)
            renamed += [
                f"{path} is written as {stem}_*.png, because {path.name.replace('.', '_')}_*.png is another picture's"
                for path, stem in stems.items()
                if stem != path.name.replace(".", "_")
            ]
            for index in range(counts[name]):
                path, variant = paths[index % len(paths)], index // len(paths)
                file_name = f"{name}/{stems[path]}_{variant}.png"
                Image.fromarray(_variant(sources.square(path), path, variant, settings)).save(out / file_name)
                if (caption := caption_of(path)) is not None:
                    text = read_text(caption, "caption")
                    (out / file_name).with_suffix(".txt").write_bytes(text.encode())
                row = {"file_name": file_name, "class": name, "source": path.name, "variant": variant}
                row |= {"mode": settings.mode if variant else "original", "seed": settings.seed}
                row |= {"crop": settings.crop, **sources.depth_of(path)}
                records.write(json.dumps(row) + "\n")
                done += 1
                progress("prepare", done, sum(counts.values()))
    return counts, renamed


def _variant(picture: NDArray[np.uint8], path: Path, variant: int, settings: PrepareSettings) -> NDArray[np.uint8]:
    if variant == 0:
        return picture
    rng = np.random.default_rng([settings.seed, variant, *path.name.encode()])
    if settings.mode == "preserve":
        # SciPy's filters take long to import, and the settings above are part of the help of several commands.
        from trainer.pictures.augment import augment

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
