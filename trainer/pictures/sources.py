"""The source pictures of a preparation: checked once, compared by their looks, and read again when they are written."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainer.pictures.deep import DepthRange, is_deep, measure_range, open_picture, read_values
from trainer.pictures.duplicates import Look, look_at
from trainer.pictures.folders import centre_square

__all__ = ["KEPT_BYTES", "Sources", "unique_names"]

KEPT_BYTES = 256 * 2**20
"""Bytes of decoded pictures that stay in memory. The others are decoded again."""


class _Settings(Protocol):
    """The settings that shape a picture; see PrepareSettings."""

    @property
    def side(self) -> int | None: ...
    @property
    def crop(self) -> float: ...
    @property
    def depth_range(self) -> tuple[float, float] | None: ...
    @property
    def depth_percentiles(self) -> tuple[float, float] | None: ...


class Sources:
    """The centre squares of picture files. Opening decodes every file once. Raises RequestError for a wrong one."""

    def __init__(self, settings: _Settings, paths: Sequence[Path]) -> None:
        self.paths, self._settings = list(paths), settings
        self._depth = None if settings.depth_range is None else DepthRange(*settings.depth_range)
        if settings.depth_percentiles is not None:
            self._depth = measure_range(paths, settings.depth_percentiles)
        self._kept: dict[Path, NDArray[np.uint8]] = {}
        self._room = KEPT_BYTES
        self.looks: list[Look] = []
        self.transparent: list[Path] = []
        """Pictures with an alpha channel that is not opaque everywhere."""
        self._clipped: dict[Path, float] = {}
        for path in self.paths:
            self._take(path)

    def _take(self, path: Path) -> None:
        if self._depth is not None and is_deep(path):
            deep = read_values(path)
            self._clipped[path] = self._depth.clipped_share(deep.values)
            square = self._cut(deep.as_picture(self._depth))
        else:
            square = self._read(path)
        self.looks.append(look_at(path, square))
        if square.shape[2] == 4:
            self.transparent.append(path)
        if square.nbytes <= self._room:
            self._kept[path] = square
            self._room -= square.nbytes

    def square(self, path: Path) -> NDArray[np.uint8]:
        """Return the centre square of a picture: (S, S, 3) uint8 RGB, or 4 channels with an alpha channel."""
        return self._kept[path] if path in self._kept else self._read(path)

    def _read(self, path: Path) -> NDArray[np.uint8]:
        return self._cut(open_picture(path, self._depth))

    def _cut(self, picture: Image.Image) -> NDArray[np.uint8]:
        return centre_square(picture, self._settings.side, self._settings.crop)

    def depth_of(self, path: Path) -> Mapping[str, Any]:
        """Return what the record says about the depth of a picture: nothing for one of 8 bits."""
        if path not in self._clipped or self._depth is None:
            return {}
        return {"depth_range": [self._depth.low, self._depth.high]}

    @property
    def notes(self) -> list[str]:
        """What was converted, one sentence each."""
        said = []
        if self._clipped and self._depth is not None:
            share = sum(self._clipped.values()) / len(self._clipped)
            said.append(
                f"{len(self._clipped)} pictures had more than 8 bits per channel: their values {self._depth.low:g} to "
                f"{self._depth.high:g} became 0 to 255, and {share:.2%} of the values were outside and were clipped"
            )
        if self.transparent:
            said.append(
                f"{len(self.transparent)} pictures are transparent, such as {self.transparent[0].name}: the alpha "
                "channel is kept, and fit uses it only with --alpha-weight"
            )
        return said


def unique_names(paths: Iterable[Path]) -> dict[Path, str]:
    """Return a file name without ending for each picture: its own name with underscores in place of dots.

    Names that would be one file, also on macOS and Windows, which do not tell upper from lower case, get a number.
    """
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for path in paths:
        plain = name = path.name.replace(".", "_")
        number = 1
        while (key := unicodedata.normalize("NFC", name).casefold()) in taken:
            number += 1
            name = f"{plain}_{number}"
        taken.add(key)
        names[path] = name
    return names
