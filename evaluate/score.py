"""`score`: distances of a synthetic class from the real one, beside the floor and the controls that give them meaning.

Every figure compares N pictures with the same N real reference pictures, over the same random splits of the real ones,
so that floor, score and controls carry the same bias of a small sample.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import RequestError
from evaluate.frechet import frechet_distance
from evaluate.kernel import kernel_distance

__all__ = ["CONTROLS", "DISTANCES", "FEW", "Figure", "Score", "sample_size", "score"]

Features = NDArray[np.float64]

DISTANCES: dict[str, Callable[[Features, Features], float]] = {
    "FD-cyto": frechet_distance,
    "KD-cyto": kernel_distance,
}
CONTROLS = ("blurred reals", "ten repeated reals", "another class")
CLEAR = 3.0
"""How many floors a Fréchet distance must reach to stand clear."""
REPEATED = 10
FEW = 150
"""Below this many pictures the figures say little."""


@dataclass(frozen=True)
class Figure:
    """Mean and the 5th and 95th percentile over the random splits."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Score:
    """The figures of one distance; `controls` holds those that could be measured."""

    floor: Figure
    fake: Figure
    controls: dict[str, Figure]
    clear: dict[str, bool]
    """Whether each control stands clear of the floor."""

    @property
    def sensitive(self) -> bool:
        """Whether every control that was measured stands clear of the floor."""
        return all(self.clear.values())


def sample_size(reals: int, fakes: int, others: int | None, wanted: int | None) -> int:
    """The N of every figure: half the reals (the floor needs two disjoint halves), at most the smaller of the others.

    Raises RequestError where that is below 2, or below what was asked.
    """
    possible = min(reals // 2, fakes, *([] if others is None else [others]))
    if possible < 2 or (wanted is not None and not 2 <= wanted <= possible):
        counts = f"{reals} real, {fakes} synthetic" + ("" if others is None else f", {others} of another class")
        raise RequestError(
            "The number of pictures",
            found=f"{counts}" + ("" if wanted is None else f", --n {wanted}"),
            expected="N of at least 2, at most half the real pictures and all of every other folder",
            mend="add pictures" if possible < 2 else f"ask for --n of 2 to {possible}",
        )
    return possible if wanted is None else wanted


def score(
    real: Features,
    blurred: Features,
    fake: Features,
    other: Features | None,
    *,
    n: int,
    splits: int = 20,
    seed: int = 0,
) -> dict[str, Score]:
    """Features (N, D) float64 of the real pictures, the same blurred, the synthetic and another class -> Score by
    distance. For each of `splits` random splits the reference is n reals; the floor and the controls made of reals
    take n others."""
    rng = np.random.default_rng(seed)
    drawn: list[dict[str, dict[str, float]]] = []
    for _ in range(splits):
        order = rng.permutation(len(real))
        reference, rest = real[order[:n]], order[n : 2 * n]
        samples = {
            "floor": real[rest],
            "fake": fake[rng.permutation(len(fake))[:n]],
            "blurred reals": blurred[rest],
            "ten repeated reals": real[np.resize(rest[:REPEATED], n)],
        }
        if other is not None:
            samples["another class"] = other[rng.permutation(len(other))[:n]]
        drawn.append(
            {
                distance: {name: function(reference, sample) for name, sample in samples.items()}
                for distance, function in DISTANCES.items()
            }
        )
    return {distance: _summary(distance, [values[distance] for values in drawn]) for distance in DISTANCES}


def _summary(distance: str, drawn: list[dict[str, float]]) -> Score:
    figures = {name: _figure([values[name] for values in drawn]) for name in drawn[0]}
    floor, fake = figures.pop("floor"), figures.pop("fake")
    # A Fréchet distance is biased upwards, so its floor is a scale; a kernel distance is not, so its spread is.
    limit = CLEAR * floor.mean if distance.startswith("FD") else floor.high
    return Score(floor, fake, figures, {name: figure.mean > limit for name, figure in figures.items()})


def _figure(values: list[float]) -> Figure:
    low, high = np.percentile(values, [5, 95])
    return Figure(float(np.mean(values)), float(low), float(high))
