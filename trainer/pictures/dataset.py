"""Prepared pictures in memory, and the symmetries of the square, which also serve as augmentation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from engine.errors import RequestError
from engine.pictures import read_picture
from trainer.pictures.folders import find_pictures

__all__ = ["SYMMETRIES", "PictureSet", "read_set", "to_model_range", "turn"]


SYMMETRIES = range(8)
"""Indices of the symmetries of the square; see turn."""


@dataclass(frozen=True)
class PictureSet:
    """Pictures (N, 3, S, S) uint8, and labels (N,) int64, which are indices into class_names."""

    pictures: torch.Tensor
    labels: torch.Tensor
    class_names: list[str]
    paths: list[Path]

    @property
    def size(self) -> int:
        """Side of a picture in pixels."""
        return self.pictures.shape[-1]

    def draw_balanced(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Return rows (count,) int64 of pictures, drawn with replacement. All classes are equally likely."""
        sizes, by_class = self._by_class
        chosen = torch.randint(len(sizes), (count,), generator=generator)
        places = torch.rand(count, generator=generator)
        starts = sizes.cumsum(0) - sizes
        return by_class[starts[chosen] + (places * sizes[chosen]).long()]

    def sample(self, count: int) -> torch.Tensor:
        """Return `count` pictures, or all if there are fewer: (count, 3, S, S), the same ones at each call."""
        return self.pictures[torch.randperm(len(self.pictures), generator=torch.Generator().manual_seed(0))[:count]]

    def spread(self, class_name: str, count: int) -> torch.Tensor:
        """Return `count` pictures of a class, evenly spread, or all if there are fewer: (count, 3, S, S)."""
        mine = self.pictures[self.labels == self.class_names.index(class_name)]
        return mine[torch.linspace(0, len(mine) - 1, min(len(mine), count)).long()]

    @property
    def counts(self) -> dict[str, int]:
        """The number of pictures of each class, by its name."""
        return dict(zip(self.class_names, self._by_class[0].tolist(), strict=True))

    @cached_property
    def _by_class(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The number of pictures of each class, and all rows in the order of the classes."""
        return self.labels.bincount(minlength=len(self.class_names)), self.labels.argsort(stable=True)


def read_set(folders: list[Path]) -> PictureSet:
    """Return the pictures of all classes in all folders. Raises RequestError unless all are squares of one size."""
    pictures: list[np.ndarray] = []
    labels: list[int] = []
    class_names: list[str] = []
    read: list[Path] = []
    for folder in folders:
        for name, paths in find_pictures(folder).items():
            if name not in class_names:
                class_names.append(name)
            for path in paths:
                picture = np.asarray(read_picture(path))
                first = pictures[0].shape if pictures else (picture.shape[0],) * 2 + (3,)
                if picture.shape != first:
                    raise RequestError(
                        f"The picture {path}",
                        found=f"{picture.shape[1]} x {picture.shape[0]} pixels",
                        expected=f"{first[1]} x {first[1]} pixels, like the first picture",
                        fix="run `python -m trainer prepare` first, which makes squares of one size",
                    )
                pictures.append(picture)
                labels.append(class_names.index(name))
                read.append(path)
    stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
    return PictureSet(stacked, torch.tensor(labels), class_names, read)


def to_model_range(pictures: torch.Tensor) -> torch.Tensor:
    """Return the pictures in the range of the models: uint8 [0, 255] -> float32 [-1, 1]."""
    return pictures.float() / 127.5 - 1


def turn(pictures: torch.Tensor, which: int) -> torch.Tensor:
    """Return pictures (..., S, S) in one of the eight symmetries of the square, `which` in 0..7."""
    pictures = torch.rot90(pictures, which % 4, (-2, -1))
    return pictures.flip(-1) if which >= 4 else pictures
