"""How far drawn pictures are from photographs of their classes, by statistics of the pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from engine.errors import RequestError
from engine.progress import Progress
from trainer.distillation.statistics import Statistics
from trainer.pictures.dataset import SYMMETRIES, PictureSet, to_model_range, turn
from trainer.pretraining.energy import VectorSet
from trainer.pretraining.photograph_features import open_photograph_features
from trainer.tables.subjects import Subject
from trainer.training.devices import Compute

__all__ = ["Photographs", "count_judges", "expect_fitting"]

BANK = 256
"""Photographs of each class that drawn pictures are compared with."""
SAMPLE = 48
"""Photographs by which features are standardised."""
LEAST = 8
"""Fewest photographs of a class. Of eight, one only judges."""


class Photographs:
    """Statistics of the photographs of each class: most of them to learn from, an eighth to judge the result."""

    def __init__(
        self, data: PictureSet, whitened: bool, compute: Compute, generator: torch.Generator, progress: Progress
    ) -> None:
        """whitened: whether the statistics are whitened, too, and see the spectrum."""
        self._compute = compute
        self.features = open_photograph_features().to(compute.device)
        self.features.standardise(to_model_range(data.sample(SAMPLE)).to(compute.device))
        self._statistics = Statistics(self.features, whitened=whitened, compute=compute)
        learnt, judged = {}, {}
        for place, name in enumerate(data.class_names):
            mine = data.pictures[data.labels == place]
            few = count_judges(len(mine))
            learnt[name], judged[name] = (self._bank(part, generator) for part in (mine[few:], mine[:few]))
            progress("photographs", place + 1, len(data.class_names))
        if whitened:
            self._statistics.whiten(list(learnt.values()))
        self.learnt, self.judged = (
            {name: VectorSet(self._statistics.vectors(blocks)) for name, blocks in found.items()}
            for found in (learnt, judged)
        )
        self._means = {}
        if whitened:
            self._means = {
                name: [one.mean(0) for one in self._statistics.whitened(blocks)] for name, blocks in learnt.items()
            }

    @property
    def directions(self) -> list[int]:
        """Numbers of directions of the whitened blocks."""
        return [len(mean) for mean in next(iter(self._means.values()))]

    def compare(self, name: str, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compare pictures (B, 3, S, S) in [-1, 1] with the photographs of a class, by whitened statistics.

        Return their energy distance, a scalar, and the offsets (B, D) of their whitened statistics from the mean.
        """
        blocks = self._statistics.blocks(pictures)
        distance = self.learnt[name].distance_of(self._statistics.vectors(blocks))
        whitened = self._statistics.whitened(blocks)
        return distance, torch.cat(whitened, 1) - torch.cat(self._means[name])

    def vectors(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return the statistics (B, E) of pictures (B, 3, S, S) in [-1, 1], to be compared with `learnt`, `judged`."""
        return self._statistics.vectors(self._statistics.blocks(pictures))

    @torch.no_grad()
    def _bank(self, pictures: torch.Tensor, generator: torch.Generator) -> list[torch.Tensor]:
        """Return the blocks of at most BANK of the pictures (N, 3, S, S) uint8, turned at random.

        If there are fewer pictures, each comes in several of the square's symmetries.
        """
        count, ways = len(pictures), len(SYMMETRIES)
        # A number stands for a picture and a symmetry.
        numbers = torch.randperm(count * ways, generator=generator)
        if count >= BANK:
            numbers = torch.randperm(count, generator=generator) * ways + numbers[:count] % ways
        turned = [turn(pictures[number // ways], number % ways) for number in numbers[:BANK].tolist()]
        found = []
        for chunk in torch.stack(turned).split(self._compute.pictures_at_once):
            found.append(self._statistics.blocks(to_model_range(chunk).to(self._compute.device)))
        return [torch.cat(block) for block in zip(*found, strict=True)]


def count_judges(count: int) -> int:
    """Return how many of so many photographs of a class, the first ones, only judge."""
    return count // LEAST


def expect_fitting(data: PictureSet, subjects: Sequence[Subject]) -> None:
    """Raise RequestError unless the classes of the photographs are subjects, large enough, and of the base's size."""
    names = [subject.name for subject in subjects]
    side = subjects[0].base.picture_side
    for name, count in data.counts.items():
        if name not in names:
            raise RequestError(
                "--photographs",
                found=f"the class {name}",
                expected=f"classes of the merged folders: {', '.join(names)}",
                fix="rename or remove its folder, or add its merged folder",
            )
        if count < LEAST:
            raise RequestError(
                "--photographs",
                found=f"{count} of the class {name}",
                expected=f"at least {LEAST}",
                fix="add photographs, or remove the folder to leave the class as it is",
            )
    if data.size != side:
        raise RequestError(
            "--photographs",
            found=f"{data.size} x {data.size} pixels",
            expected=f"{side} x {side}, as the base draws",
            fix=f"prepare them with --size {side}",
        )
