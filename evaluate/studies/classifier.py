"""A small classifier of cells that trains in seconds on two cores, and the classical augmentation of its pictures."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from engine.progress import Progress, silent

__all__ = ["Classifier", "Trainer", "augment", "digest_of", "make_classifier", "predict", "train_classifier"]

WIDTHS = (16, 32, 64, 128)
GROUPS = 8
TURN = math.radians(15)
ZOOM = 0.1
STAIN = 0.10
LIGHT = 0.05


class Block(nn.Module):
    """A residual block that halves the grid.

    It normalises each picture by itself (GroupNorm). Batch statistics would mix real and synthetic pictures in the
    training, while the test has real pictures only.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
            nn.GroupNorm(GROUPS, after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.GroupNorm(GROUPS, after),
        )
        self.skip = nn.Sequential(nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(before, after, 1, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, before, h, w) -> (B, after, h / 2, w / 2), rounded up."""
        return torch.relu(self.body(x) + self.skip(x))


class Classifier(nn.Module):
    """images (B, 3, S, S) float32 in [0, 255] -> logits (B, classes) float32. S is at least 16."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        stem = (nn.Conv2d(3, WIDTHS[0], 3, stride=2, padding=1, bias=False), nn.GroupNorm(GROUPS, WIDTHS[0]), nn.ReLU())
        blocks = (Block(before, after) for before, after in pairwise(WIDTHS))
        self.body = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(WIDTHS[-1], classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """images (B, 3, S, S) -> logits (B, classes)"""
        return self.head(self.body(images / 127.5 - 1))


def make_classifier(classes: int, seed: int, start: Classifier | None = None) -> Classifier:
    """Return a classifier with weights drawn from `seed`. With `start`, copy all its weights except the head."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = Classifier(classes)
    if start is not None:
        classifier.body.load_state_dict(start.body.state_dict())
    return classifier


def digest_of(classifier: Classifier) -> str:
    """Return the SHA-256 of the weights, in the order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(classifier.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def train_classifier(
    classifier: Classifier,
    sources: Sequence[Sequence[NDArray[np.uint8]]],
    *,
    augmented: bool,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    on_step: Callable[[], None] = lambda: None,
) -> None:
    """Train in place with AdamW and cross-entropy: a warm-up of a tenth of the steps, then a cosine to 0.

    sources: for each source, the pictures of each class, (N, S, S, 3) uint8. A batch takes equal shares from the
    sources, so the number of sources divides batch_size. Within a share the classes come in turn, and the picture of a
    class is drawn at random. The augmentation has its own random generator, so that it does not change which pictures
    are drawn.
    """
    order, changes = (torch.Generator().manual_seed(2 * seed + which) for which in range(2))
    tensors = [[torch.from_numpy(pictures).permute(0, 3, 1, 2) for pictures in source] for source in sources]
    share = batch_size // len(sources)
    classes = len(sources[0])
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=learning_rate, weight_decay=0.05, fused=True)
    warmup = max(1, steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / warmup) * (1 + math.cos(math.pi * step / steps)) / 2
    )
    classifier.train()
    for step in range(steps):
        turns = [(step * share + place) % classes for place in range(share)]
        drawn = [
            pictures[label][int(torch.randint(len(pictures[label]), (1,), generator=order))]
            for pictures in tensors
            for label in turns
        ]
        images = torch.stack(drawn).float()
        logits = classifier(augment(images, changes) if augmented else images)
        loss = nn.functional.cross_entropy(logits, torch.tensor(turns * len(tensors)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        on_step()


class Trainer:
    """Trains several classifiers with one batch size and learning rate, and reports the steps of all of them."""

    def __init__(self, batch_size: int, learning_rate: float, total: int, progress: Progress = silent) -> None:
        """total: number of optimiser steps of all trainings."""
        self._batch_size = batch_size
        self._learning_rate = learning_rate
        self._total = total
        self._progress = progress
        self._done = 0

    def train(
        self,
        label: str,
        sources: Sequence[Sequence[NDArray[np.uint8]]],
        *,
        augmented: bool,
        steps: int,
        seed: int,
        start: Classifier | None = None,
    ) -> Classifier:
        """Return a classifier that was made and trained as make_classifier and train_classifier say. label: names the
        training in the progress."""

        def on_step() -> None:
            self._done += 1
            self._progress(label, self._done, self._total)

        classifier = make_classifier(len(sources[0]), seed, start)
        train_classifier(
            classifier,
            sources,
            augmented=augmented,
            steps=steps,
            batch_size=self._batch_size,
            learning_rate=self._learning_rate,
            seed=seed,
            on_step=on_step,
        )
        return classifier


@torch.no_grad()
def predict(classifier: Classifier, pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the probabilities of the classes: (N, S, S, 3) uint8 -> (N, classes) float64."""
    classifier.eval()
    batches = torch.from_numpy(pictures).permute(0, 3, 1, 2).split(128)
    logits = torch.cat([classifier(batch.float()) for batch in batches])
    return np.asarray(logits.double().softmax(1).numpy())


def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Augment each picture differently: (B, 3, S, S) float32 in [0, 255] -> the same.

    The first step is a symmetry of the square, a rotation of at most 15 degrees and a zoom of at most 10 %, in one
    bilinear sampling that mirrors at the edge. The second step changes stain (optical density of each channel, sd 10 %)
    and light (sd 5 %) by the law of Beer and Lambert, I = I0 exp(-density).
    """
    count = len(images)

    def uniform(most: float) -> torch.Tensor:
        return most * (2 * torch.rand(count, generator=generator) - 1)

    def normal(deviation: float, channels: int) -> torch.Tensor:
        return 1 + deviation * torch.randn(count, channels, 1, 1, generator=generator)

    angle = torch.randint(4, (count,), generator=generator) * (math.pi / 2) + uniform(TURN)
    mirror = 1 - 2 * torch.randint(2, (count,), generator=generator)
    zoom = 1 + uniform(ZOOM)
    cos, sin, zero = zoom * angle.cos(), zoom * angle.sin(), torch.zeros(count)
    theta = torch.stack([mirror * cos, -sin, zero, mirror * sin, cos, zero], 1).view(count, 2, 3)
    grid = nn.functional.affine_grid(theta, list(images.shape), align_corners=False)
    moved = nn.functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    density = -torch.log(moved.clamp(min=1) / 255)
    return (255 * normal(LIGHT, 1) * torch.exp(-density * normal(STAIN, 3))).clamp(0, 255)
