"""Features of small classifiers of the photographs, by which drawn pictures are compared with photographs.

A network that learnt everyday pictures hardly sees how strong the granules of a cell are. A network that learnt to tell
the classes of the photographs apart sees it. Its features of the photographs that taught it differ from its features of
others. So each of two classifiers learns one half of the photographs, and drawn pictures are compared with the other
half (cross-fitting, Chernozhukov et al. 2018, doi:10.1111/ectj.12097). A class with few photographs teaches neither
classifier, so all of its photographs are compared.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from engine.errors import RequestError
from engine.progress import Progress
from trainer.distillation.photographs import count_judges
from trainer.distillation.statistics import as_shown
from trainer.pictures.dataset import SYMMETRIES, PictureSet, to_model_range, turn
from trainer.pretraining.energy import VectorSet
from trainer.training.devices import Compute
from trainer.training.loop import Training, digest_parts
from trainer.training.settings import decaying_loop

__all__ = ["LEAST", "ClassFeatures", "Classifier", "Teaching", "expect_classes"]

LEAST = 100
"""Fewest photographs of a class that teaches the classifiers."""
FOLDS, JUDGES = 2, -1
STEPS, BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY, SMOOTHING = 700, 32, 2e-3, 0.02, 0.05
"""Training of a classifier. With 700 steps it is right in 96 of 100 photographs of blood cells of the other half."""
WIDTHS = (24, 48, 80, 128)
"""Channels of each level. Each level has half the side of the one before, and the first one half of the picture's."""
BANK = 300
"""Photographs of each class that drawn pictures are compared with, each in a symmetry of the square."""
LEAST_DEVIATION = 0.1
"""Added to a feature's deviation, as a share of the mean deviation."""


def expect_classes(data: PictureSet) -> None:
    """Raise RequestError unless two classes have enough photographs to teach a classifier."""
    enough = [name for name, count in data.counts.items() if count >= LEAST]
    if len(enough) < 2:
        raise RequestError(
            "--class-weight",
            found=f"{len(enough)} class(es) of --photographs with at least {LEAST} photographs",
            expected="two, because a classifier learns to tell them apart",
            fix="add photographs, or leave --class-weight at 0",
        )


class Classifier(nn.Module):
    """Tells the classes of pictures apart: a small residual network (He et al. 2016, arXiv:1512.03385)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, WIDTHS[0], 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU()
        )
        self.levels = nn.ModuleList(
            _Residual(before, after, 1 if place == 0 else 2)
            for place, (before, after) in enumerate(zip((WIDTHS[0], *WIDTHS), WIDTHS, strict=False))
        )
        self.head = nn.Linear(WIDTHS[-1], classes)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return logits (B, classes) of pictures (B, 3, S, S) in [-1, 1]."""
        logits: torch.Tensor = self.head(self._means(pictures)[-1])
        return logits

    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return the means (B, D) of the channels of all levels but the first, over the picture."""
        return torch.cat(self._means(pictures)[1:], 1)

    def _means(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        x, found = self.stem(pictures), []
        for level in self.levels:
            x = level(x)
            found.append(x.mean((2, 3)))
        return found


class _Residual(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        self.shortcut = nn.Identity() if (before, stride) == (after, 1) else shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.body(x) + self.shortcut(x))


@dataclass(frozen=True)
class Teaching:
    """How classifiers are trained. checkpoints: folder of their checkpoints."""

    checkpoints: Path
    seed: int
    compute: Compute
    stop: threading.Event | None
    progress: Progress


class ClassFeatures:
    """Features of both classifiers, and those of the photographs of each class. Those that only judge take no part."""

    def __init__(self, data: PictureSet, teaching: Teaching) -> None:
        """Train the classifiers, or take them from their checkpoints. Call `expect_classes` before."""
        self._compute = teaching.compute
        halves = _halves(data)
        self._classifiers = [_train(data, halves == fold, fold, teaching) for fold in range(FOLDS)]
        generator = torch.Generator().manual_seed(teaching.seed)
        banks = {
            name: [
                self._bank(classifier, data.pictures[(data.labels == place) & _others(halves, fold)], generator)
                for fold, classifier in enumerate(self._classifiers)
            ]
            for place, name in enumerate(data.class_names)
        }
        spreads = [torch.cat([one - one.mean(0) for one in part]).std(0) for part in zip(*banks.values(), strict=True)]
        self._scales = [(spread + LEAST_DEVIATION * spread.mean()) * (len(spread) * FOLDS) ** 0.5 for spread in spreads]
        self.size = sum(len(scale) for scale in self._scales)
        """Number of features."""
        self._means = {
            name: self._scaled([one.mean(0, keepdim=True) for one in part])[0] for name, part in banks.items()
        }
        self._learnt = {name: VectorSet(self._scaled(part), norm=2) for name, part in banks.items()}

    def compare(self, name: str, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compare pictures (B, 3, S, S) in [-1, 1] with the photographs of a class.

        Return the energy distance of their features, a scalar, and the offsets (B, D) from the photographs' mean.
        """
        shown = as_shown(pictures.float())
        vectors = self._scaled([classifier.features(shown) for classifier in self._classifiers])
        return self._learnt[name].distance_of(vectors), vectors - self._means[name]

    def _scaled(self, parts: list[torch.Tensor]) -> torch.Tensor:
        """Return the features of both classifiers, divided by their deviation within a class: (B, D).

        The squares of a vector's deviations from the mean of its class add up to about 1.
        """
        return torch.cat([part / scale for part, scale in zip(parts, self._scales, strict=True)], 1)

    @torch.no_grad()
    def _bank(self, classifier: Classifier, pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the features of BANK of the pictures (N, 3, S, S) uint8. If there are fewer, they come repeatedly."""
        ways = len(SYMMETRIES)
        numbers = torch.randperm(len(pictures) * ways, generator=generator).repeat(1 + BANK // (len(pictures) * ways))
        turned = torch.stack([turn(pictures[n // ways], n % ways) for n in numbers[:BANK].tolist()])
        chunks = turned.split(self._compute.pictures_at_once)
        return torch.cat([classifier.features(to_model_range(chunk).to(self._compute.device)) for chunk in chunks])


def _halves(data: PictureSet) -> torch.Tensor:
    """Return the classifier (N,) int64 that each photograph teaches. The photographs of a class take turns.

    Those of a class with few photographs teach none: FOLDS. Those that only judge are JUDGES.
    """
    halves = torch.full((len(data.labels),), FOLDS)
    for place, count in enumerate(data.counts.values()):
        mine = torch.arange(count) % FOLDS if count >= LEAST else torch.full((count,), FOLDS)
        mine[: count_judges(count)] = JUDGES
        halves[data.labels == place] = mine
    return halves


def _others(halves: torch.Tensor, fold: int) -> torch.Tensor:
    """Return which photographs (N,) bool are compared by a classifier: those that it did not learn."""
    return (halves != fold) & (halves != JUDGES)


def _train(data: PictureSet, mine: torch.Tensor, fold: int, teaching: Teaching) -> Classifier:
    """Return a classifier, frozen, that learnt the chosen pictures. All classes are equally likely."""
    compute = teaching.compute
    present, labels = data.labels[mine].unique(return_inverse=True)
    half = PictureSet(data.pictures[mine], labels, [data.class_names[place] for place in present], [])
    settings = decaying_loop(STEPS, BATCH_SIZE, LEARNING_RATE, seed=teaching.seed + fold, weight_decay=WEIGHT_DECAY)
    torch.manual_seed(settings.seed)
    classifier = Classifier(len(half.class_names)).to(compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        rows = half.draw_balanced(BATCH_SIZE, generator)
        batch = turn(half.pictures[rows], int(torch.randint(len(SYMMETRIES), (), generator=generator)))
        with compute.autocast():
            logits = classifier(to_model_range(batch).to(compute.device))
        return functional.cross_entropy(logits.float(), half.labels[rows].to(logits.device), label_smoothing=SMOOTHING)

    subject = digest_parts(half.pictures, half.labels, compute.precision)
    training = Training(f"classifier{fold}", classifier, loss_of, settings, teaching.checkpoints, subject=subject)
    training.run(progress=teaching.progress, stop=teaching.stop)
    return classifier.eval().requires_grad_(False)
