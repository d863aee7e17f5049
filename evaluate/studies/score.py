"""`score`: figures of a synthetic class against the real one, each beside the floor and the controls.

Every figure compares N pictures with the same N real reference pictures, over the same random splits of the real ones.
Floor, score and controls therefore have the same bias of a small sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from engine.errors import RequestError
from engine.options import Range, setting
from engine.progress import Progress, silent
from evaluate.encoders.features import Encoder, Layers, blurred_features, features_of
from evaluate.images import PictureFolder
from evaluate.metrics.registry import METRICS, Metric

__all__ = [
    "CONTROLS",
    "DEFINITIONS",
    "FEW",
    "REPEATED",
    "Compared",
    "Figure",
    "Score",
    "ScoreResults",
    "ScoreSettings",
    "compare_folders",
    "definitions_of",
    "insensitive",
    "not_measured",
    "sample_size",
    "score",
    "split_sources",
]

Indices = NDArray[np.intp]
Sample = tuple[Layers, Indices]
"""Some rows of every layer."""

CONTROLS = ("blurred reals", "ten repeated reals", "another class")
CLEAR = 3.0
"""A Fréchet distance above this many floors stands clear of the floor."""
REPEATED = 10
"""Number of repeated pictures in the control `ten repeated reals`, which needs N of at least twice this number. At a
smaller N the control is almost the same sample as the floor."""
SUBSAMPLES = 4
"""Samples of N pictures in each bootstrap replicate."""
FEW = 150
"""With fewer pictures the figures say little."""

DEFINITIONS = {
    "floor": "real pictures against other real pictures, N of each; the two samples share no source picture",
    "blurred reals": "real pictures under a Gaussian blur of 1/64 of the side",
    "ten repeated reals": "ten real pictures, repeated to N",
    "another class": "real pictures of --other",
    "value": "mean over random splits of the real pictures into two halves, N of each",
    "interval of floor and controls": "5th to 95th percentile over the splits",
    "interval of synthetic": "bootstrap over the source pictures of both sides: 5th to 95th percentile of the mean over"
    " samples of N. The interval is moved by the difference of the means, because drawing with replacement repeats"
    " pictures and biases most figures",
    "clear": "a Fréchet distance above 3 floors, or a kernel distance above the floor's interval",
}


@dataclass(frozen=True)
class ScoreSettings:
    """How figures are sampled."""

    PANEL: ClassVar[str] = "Figures"

    n: int | None = setting(
        None, flag="--n", help="Number of pictures per sample, N. Default: as many as the folders allow."
    )
    splits: int = setting(20, within=Range(low=10), help="Number of random splits of the real pictures.")
    bootstrap: int = setting(100, within=Range(low=20), help="Number of bootstrap replicates.")
    seed: int = setting(0, within=Range(low=0), help="Seed of all random numbers.")


@dataclass(frozen=True)
class Compared:
    """Features of one encoder: of the real pictures, the blurred real ones, the synthetic ones and another class."""

    real: Layers
    blurred: Layers
    fake: Layers
    other: Layers | None
    sources: Sequence[str]
    """Source of each real picture. Augmented copies share a source and are always on the same side of a split."""
    base: Layers | None = None
    """Features of the pictures of the base without the class's adapter."""


def compare_folders(encoder: Encoder, folders: Mapping[str, PictureFolder], progress: Progress = silent) -> Compared:
    """Extract the features of every folder. folders: REAL, FAKE, and --other and --base if they are given."""
    real = folders["REAL"]
    features = {name: features_of(encoder, folder, progress) for name, folder in folders.items()}
    return Compared(
        real=features["REAL"],
        blurred=blurred_features(encoder, real, progress),
        fake=features["FAKE"],
        other=features.get("--other"),
        sources=real.sources,
        base=features.get("--base"),
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
    """Whether each control stands clear of the floor. Empty for figures that are not distances."""
    base: Figure | None = None
    """The figure of the base without the class's adapter, if its pictures were given."""
    sensitive: bool | None = field(init=False)
    """Whether every measured control stands clear of the floor. None for figures that are not distances."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sensitive", all(self.clear.values()) if self.clear else None)


@dataclass(frozen=True)
class ScoreResults:
    """The results in a record of `score`."""

    n: int
    splits: int
    bootstrap: int
    seed: int
    encoders: dict[str, str]
    """SHA-256 of each encoder."""
    figures: dict[str, Score]
    insensitive: dict[str, str]
    """Encoders that cannot tell a control from real pictures, and the figures that show it."""
    not_measured: dict[str, str]
    """Figures that need more pictures than N, and how many they need."""


def sample_size(
    sources: Sequence[str], fakes: int, further: Mapping[str, int], wanted: int | None, *, least: int = 2
) -> int:
    """Return N for every figure: at most half the reals, at most all synthetic pictures and all of further folders.

    The floor needs two halves of the reals that share no source. Raises RequestError if N is below `least`, or if
    `wanted` is larger than possible.
    """
    counts = np.sort(np.unique(sources, return_counts=True)[1])
    half = int(counts[: len(counts) // 2].sum())
    possible = min(half, fakes, *further.values())
    if possible < least or (wanted is not None and not least <= wanted <= possible):
        found = f"{len(sources)} real pictures of {len(counts)} sources, {fakes} synthetic"
        raise RequestError(
            "The number of pictures",
            found=found
            + "".join(f", {count} of {name}" for name, count in further.items())
            + ("" if wanted is None else f", --n {wanted}"),
            expected=f"N of at least {least}, at most half the real pictures, and at most all the others",
            fix="add pictures" if possible < least else f"set --n to a number from {least} to {possible}",
        )
    return possible if wanted is None else wanted


def definitions_of(encoder: str, names: Iterable[str]) -> dict[str, str]:
    """Return the definitions of an encoder's figures, of those among `names`."""
    wanted = set(names)
    return {name: words for metric in METRICS[encoder] for name, words in metric.definitions.items() if name in wanted}


def not_measured(encoder: str, n: int) -> dict[str, str]:
    """Return the figures that need more than n pictures, and how many they need."""
    return {
        name: f"needs {metric.least} pictures; N is {n}"
        for metric in METRICS[encoder]
        for name in metric.definitions
        if metric.least > n
    }


def insensitive(encoder: str, scores: dict[str, Score]) -> str:
    """Return the controls that no distance of an encoder tells from real pictures, in words; "" if there are none.

    One distance is enough. The Fréchet distance of many features is biased at a small N and misses what the kernel
    distance, which has no bias, still sees.
    """
    clear = {
        name: scores[name].clear
        for metric in METRICS[encoder]
        for name in metric.definitions
        if name in scores and scores[name].clear
    }
    controls = dict.fromkeys(control for figure in clear.values() for control in figure)
    blind = [control for control in controls if not any(figure.get(control) for figure in clear.values())]
    return f"none of {', '.join(clear)} tells {', '.join(blind)} from real pictures" if blind else ""


def score(encoder: str, compared: Compared, settings: ScoreSettings) -> dict[str, Score]:
    """Return the Score of each figure that N pictures suffice for. The same arguments give the same result.

    Values are means over random splits: the reference is N reals, and the floor and the controls made of reals take N
    others. The intervals of floor and controls are percentiles over the splits. The interval of the synthetic pictures
    is a bootstrap over the source pictures of both sides: each replicate draws as many sources as there are, with
    replacement, and averages over a few samples of N of the drawn pictures. Repeated pictures bias most figures, so the
    interval is moved by the difference of the means.

    Raises RequestError if there are too few pictures for N.
    """
    further = {"--other": compared.other, "--base": compared.base}
    counts = {name: len(_any(layers)) for name, layers in further.items() if layers is not None}
    n = sample_size(compared.sources, len(_any(compared.fake)), counts, settings.n)
    # BLAS threads slow small matrices down, by a factor of up to 300 if another process is busy.
    with threadpool_limits(1 if n < FEW * 10 else None, "blas"):
        return _score(encoder, compared, n, settings)


def _score(encoder: str, compared: Compared, n: int, settings: ScoreSettings) -> dict[str, Score]:
    metrics = [metric for metric in METRICS[encoder] if metric.least <= n]
    groups = _groups(compared.sources)
    rng = np.random.default_rng(settings.seed)
    drawn = [
        {row: _figures(metrics, reference, sample) for row, sample in samples.items()}
        for reference, samples in (_split(compared, groups, n, rng) for _ in range(settings.splits))
    ]
    again = [_replicate(metrics, compared, groups, n, rng) for _ in range(settings.bootstrap)]
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
    """Return the indices of the pictures of each source."""
    labels = np.unique(sources, return_inverse=True)[1]
    return [np.flatnonzero(labels == label) for label in range(labels.max() + 1)]


def split_sources(sources: Sequence[str], rng: np.random.Generator) -> tuple[Indices, Indices]:
    """Return the indices of two random halves of the pictures that share no source, each in random order."""
    return _halves(_groups(sources), rng)


def _halves(groups: list[Indices], rng: np.random.Generator) -> tuple[Indices, Indices]:
    order = [groups[place] for place in rng.permutation(len(groups))]
    half = len(order) // 2
    first, second = (rng.permutation(np.concatenate(part)) for part in (order[:half], order[half:]))
    return first, second


def _split(
    compared: Compared, groups: list[Indices], n: int, rng: np.random.Generator
) -> tuple[Sample, dict[str, Sample]]:
    """Return n real reference pictures, and n pictures of each sample that is compared with them."""
    reference, rest = (half[:n] for half in _halves(groups, rng))
    samples = {
        "floor": (compared.real, rest),
        "fake": (compared.fake, rng.permutation(len(_any(compared.fake)))[:n]),
        "blurred reals": (compared.blurred, rest),
    }
    if n >= 2 * REPEATED:
        samples["ten repeated reals"] = (compared.real, np.resize(rest[:REPEATED], n))
    if compared.other is not None:
        samples["another class"] = (compared.other, rng.permutation(len(_any(compared.other)))[:n])
    if compared.base is not None:
        samples["base"] = (compared.base, rng.permutation(len(_any(compared.base)))[:n])
    return (compared.real, reference), samples


def _replicate(
    metrics: Sequence[Metric], compared: Compared, groups: list[Indices], n: int, rng: np.random.Generator
) -> dict[str, float]:
    """Return the figures of source pictures that are drawn with replacement."""
    drawn = [groups[place] for place in rng.integers(len(groups), size=len(groups))]
    while sum(map(len, drawn)) < n:  # possible if the sources have very different numbers of pictures
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
    base = _figure(rows.pop("base")) if "base" in rows else None
    controls = {row: _figure(values) for row, values in rows.items()}
    limit = {"frechet": CLEAR * floor.value, "kernel": floor.high}.get(kind)
    clear = {} if limit is None else {name: figure.value > limit for name, figure in controls.items()}
    return Score(floor, Figure(value, float(low), float(high)), controls, clear, base)


def _figure(values: NDArray[np.float64]) -> Figure:
    low, high = np.percentile(values, [5, 95])
    return Figure(float(values.mean()), float(low), float(high))
