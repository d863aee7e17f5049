"""`score`: figures of a synthetic class against the real one, beside the floor and the controls that give them meaning.

Every figure compares N pictures with the same N real reference pictures, over the same random splits of the real ones,
so that floor, score and controls carry the same bias of a small sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from engine.errors import RequestError
from evaluate.encoders.features import Encoder, Layers, Progress, blurred_features, features_of, silent
from evaluate.images import PictureFolder
from evaluate.metrics.registry import METRICS, Metric

__all__ = [
    "CONTROLS",
    "FEW",
    "REPEATED",
    "Compared",
    "Figure",
    "Score",
    "compare_folders",
    "not_measured",
    "sample_size",
    "score",
]

Indices = NDArray[np.intp]
Sample = tuple[Layers, Indices]
"""Some rows of every layer."""

CONTROLS = ("blurred reals", "ten repeated reals", "another class")
CLEAR = 3.0
"""How many floors a Fréchet distance must reach to stand clear."""
REPEATED = 10
"""Below twice as many pictures, ten repeated ones are the floor's own sample, or nearly: they are no control."""
SUBSAMPLES = 4
"""Samples of N of each bootstrap replicate."""
FEW = 150
"""Below this many pictures the figures say little."""


@dataclass(frozen=True)
class Compared:
    """The features of one encoder: of the real pictures, the same blurred, the synthetic ones, and another class."""

    real: Layers
    blurred: Layers
    fake: Layers
    other: Layers | None
    sources: Sequence[str]
    """Each real picture's source; augmented copies share one, and never stand on both sides of a split."""


def compare_folders(
    encoder: Encoder,
    real: PictureFolder,
    fake: PictureFolder,
    other: PictureFolder | None,
    progress: Progress = silent,
) -> Compared:
    """Extract every folder's features."""
    return Compared(
        real=features_of(encoder, real, progress),
        blurred=blurred_features(encoder, real, progress),
        fake=features_of(encoder, fake, progress),
        other=None if other is None else features_of(encoder, other, progress),
        sources=real.sources,
    )


@dataclass(frozen=True)
class Figure:
    """A value and its interval, 5th to 95th percentile."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Score:
    """One figure: of reals against reals, of the synthetic pictures, and of the controls that could be measured."""

    floor: Figure
    fake: Figure
    controls: dict[str, Figure]
    clear: dict[str, bool]
    """Whether each control stands clear of the floor; empty for figures that are no distance."""

    @property
    def sensitive(self) -> bool | None:
        """Whether every control that was measured stands clear of the floor; None for figures that are no distance."""
        return all(self.clear.values()) if self.clear else None

    def as_facts(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "sensitive": self.sensitive}


def sample_size(sources: Sequence[str], fakes: int, others: int | None, wanted: int | None) -> int:
    """The N of every figure: half the reals (the floor needs two halves that share no source), at most all the others.

    Raises RequestError where that is below 2, or below what was asked.
    """
    counts = np.sort(np.unique(sources, return_counts=True)[1])
    half = int(counts[: len(counts) // 2].sum())
    possible = min(half, fakes, *([] if others is None else [others]))
    if possible < 2 or (wanted is not None and not 2 <= wanted <= possible):
        found = f"{len(sources)} real pictures of {len(counts)} sources, {fakes} synthetic"
        raise RequestError(
            "The number of pictures",
            found=found
            + ("" if others is None else f", {others} of another class")
            + ("" if wanted is None else f", --n {wanted}"),
            expected="N of at least 2 (FD and KD need two), half the real pictures and all others at most",
            fix="add pictures" if possible < 2 else f"ask for --n of 2 to {possible}",
        )
    return possible if wanted is None else wanted


def not_measured(encoder: str, n: int) -> dict[str, str]:
    """The figures that need more than n pictures, and how many they need."""
    return {
        name: f"needs {metric.least} pictures; N is {n}"
        for metric in METRICS[encoder]
        for name in metric.definitions
        if metric.least > n
    }


def score(
    encoder: str, compared: Compared, *, n: int, splits: int = 20, bootstrap: int = 100, seed: int = 0
) -> dict[str, Score]:
    """Score by figure, of those that n pictures suffice for.

    Values are means over random splits: the reference is n reals, the floor and the controls made of reals take n
    others. Intervals of floor and controls are the splits'. That of the synthetic pictures is a bootstrap over the
    source pictures of both sides: each replicate draws as many sources as there are, with replacement, and takes the
    mean over a few samples of n pictures of what it drew. Repeated pictures bias most figures, so the interval is moved
    by the difference of the means. Deterministic. Raises RequestError for fewer pictures than n.
    """
    others = None if compared.other is None else len(_any(compared.other))
    sample_size(compared.sources, len(_any(compared.fake)), others, n)
    # Threads cost small matrices far more than they save: 300 times the time where another process is busy.
    with threadpool_limits(1 if n < FEW * 10 else None, "blas"):
        return _score(encoder, compared, n, splits, bootstrap, seed)


def _score(encoder: str, compared: Compared, n: int, splits: int, bootstrap: int, seed: int) -> dict[str, Score]:
    metrics = [metric for metric in METRICS[encoder] if metric.least <= n]
    groups = _groups(compared.sources)
    rng = np.random.default_rng(seed)
    drawn = [
        {row: _figures(metrics, reference, sample) for row, sample in samples.items()}
        for reference, samples in (_split(compared, groups, n, rng) for _ in range(splits))
    ]
    again = [_replicate(metrics, compared, groups, n, rng) for _ in range(bootstrap)]
    return {
        name: _summary(
            metric.kind,
            metric.bounds[place],
            [{row: found[name] for row, found in rows.items()} for rows in drawn],
            [found[name] for found in again],
        )
        for metric in metrics
        for place, name in enumerate(metric.definitions)
    }


def _groups(sources: Sequence[str]) -> list[Indices]:
    """The indices of each source's pictures."""
    labels = np.unique(sources, return_inverse=True)[1]
    return [np.flatnonzero(labels == label) for label in range(labels.max() + 1)]


def _split(
    compared: Compared, groups: list[Indices], n: int, rng: np.random.Generator
) -> tuple[Sample, dict[str, Sample]]:
    """n real reference pictures, and n of everything that is compared with them."""
    order = [groups[place] for place in rng.permutation(len(groups))]
    half = len(order) // 2
    reference, rest = (rng.permutation(np.concatenate(part))[:n] for part in (order[:half], order[half:]))
    samples = {
        "floor": (compared.real, rest),
        "fake": (compared.fake, rng.permutation(len(_any(compared.fake)))[:n]),
        "blurred reals": (compared.blurred, rest),
    }
    if n >= 2 * REPEATED:
        samples["ten repeated reals"] = (compared.real, np.resize(rest[:REPEATED], n))
    if compared.other is not None:
        samples["another class"] = (compared.other, rng.permutation(len(_any(compared.other)))[:n])
    return (compared.real, reference), samples


def _replicate(
    metrics: Sequence[Metric], compared: Compared, groups: list[Indices], n: int, rng: np.random.Generator
) -> dict[str, float]:
    """The figures of source pictures drawn with replacement."""
    drawn = [groups[place] for place in rng.integers(len(groups), size=len(groups))]
    while sum(map(len, drawn)) < n:  # of sources of very different sizes
        drawn.append(groups[rng.integers(len(groups))])
    reals = np.concatenate(drawn)
    fakes = rng.integers(len(_any(compared.fake)), size=len(_any(compared.fake)))
    found = [
        _figures(metrics, (compared.real, rng.permutation(reals)[:n]), (compared.fake, rng.permutation(fakes)[:n]))
        for _ in range(SUBSAMPLES)
    ]
    return {name: float(np.mean([values[name] for values in found])) for name in found[0]}


def _any(layers: Layers) -> NDArray[np.float32]:
    return next(iter(layers.values()))


def _figures(metrics: Sequence[Metric], reference: Sample, sample: Sample) -> dict[str, float]:
    found: dict[str, float] = {}
    for metric in metrics:
        values = metric.compute(*(layers[metric.layer][rows] for layers, rows in (reference, sample)))
        found.update(zip(metric.definitions, values, strict=True))
    return found


def _summary(kind: str, bounds: tuple[float, float], drawn: list[dict[str, float]], again: list[float]) -> Score:
    rows = {row: np.array([values[row] for values in drawn]) for row in drawn[0]}
    floor = _figure(rows.pop("floor"))
    value = float(rows.pop("fake").mean())
    low, high = np.clip(value + np.percentile(again, [5, 95]) - np.mean(again), *bounds)
    controls = {row: _figure(values) for row, values in rows.items()}
    limit = {"frechet": CLEAR * floor.value, "kernel": floor.high}.get(kind)
    clear = {} if limit is None else {name: figure.value > limit for name, figure in controls.items()}
    return Score(floor, Figure(value, float(low), float(high)), controls, clear)


def _figure(values: NDArray[np.float64]) -> Figure:
    low, high = np.percentile(values, [5, 95])
    return Figure(float(values.mean()), float(low), float(high))
