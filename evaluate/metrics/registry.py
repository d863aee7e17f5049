"""Which figures an encoder's layers give, and what each of them is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf

import numpy as np
from numpy.typing import NDArray

from evaluate.metrics.frechet import frechet_distance
from evaluate.metrics.inception_score import inception_score
from evaluate.metrics.kernel import kernel_distance
from evaluate.metrics.manifold import compare_manifolds

__all__ = ["METRICS", "Metric"]

Features = NDArray[np.floating]
SPLITS = 10
"""Parts of the published inception score."""


@dataclass(frozen=True)
class Metric:
    """Figures that one computation gives of a layer: compute(reference, sample) -> a value for each name."""

    definitions: dict[str, str]
    """Each figure's name, and what exactly it is."""
    layer: str
    least: int
    """Pictures that it needs in either sample."""
    compute: Callable[[Features, Features], tuple[float, ...]]
    bounds: tuple[tuple[float, float], ...] = ((-inf, inf),)
    """Least and greatest possible value of each figure."""
    kind: str = "other"
    """`frechet` is biased upwards at small N, so its floor is a scale; `kernel` is not, so its floor's spread is. What
    is neither has no control."""


def _frechet(name: str, layer: str, words: str) -> Metric:
    definition = f"|m1 - m2|^2 + tr(S1 + S2 - 2 sqrt(S1 S2)) of {words}, unbiased covariances; lower is better"
    return Metric({name: definition}, layer, 2, lambda a, b: (frechet_distance(a, b),), ((0, inf),), "frechet")


def _kernel(name: str, layer: str, words: str) -> Metric:
    definition = f"unbiased MMD^2 with the kernel (x . y / D + 1)^3 of {words}, one block; lower is better"
    return Metric({name: definition}, layer, 2, lambda a, b: (kernel_distance(a, b),), kind="kernel")


def _score(name: str, splits: int, layer: str, words: str) -> Metric:
    definition = (
        f"exp of the mean KL(p(y|x) || p(y)), p the softmax of {words}, mean over {splits} equal parts; the floor's"
    )
    definition += " column is that of real pictures; higher is surer and more varied"
    compute = partial(inception_score, splits=splits)
    return Metric({name: definition}, layer, splits, lambda _, sample: (compute(sample),), ((1, inf),))


def _manifold(encoder: str, layer: str, words: str) -> Metric:
    def compute(reference: Features, sample: Features) -> tuple[float, ...]:
        found = compare_manifolds(reference, sample)
        return found.precision, found.recall, found.density, found.coverage

    return Metric(
        {
            f"precision-{encoder}": f"share of the sample within some real picture's ball ({words}, radius to the 3rd"
            " neighbour); higher is better",
            f"recall-{encoder}": "share of the reals within some sample picture's such ball; higher is better",
            f"density-{encoder}": "mean number of real balls (radius to the 5th neighbour) around a picture of the"
            " sample, over 5; about 1 for two samples of one distribution, and it may be more",
            f"coverage-{encoder}": "share of real balls (5th neighbour) that hold some of the sample; higher is better",
        },
        layer,
        6,
        compute,
        ((0, 1), (0, 1), (0, inf), (0, 1)),
    )


_CYTO = "the cyto encoder's 128 features"
METRICS: dict[str, tuple[Metric, ...]] = {
    "inception": (
        _frechet("FID-64", "64", "Inception's first 64 features (behind its first pooling)"),
        _frechet("FID-192", "192", "Inception's 192 features (behind its second pooling)"),
        _frechet("FID-768", "768", "Inception's 768 features (before its auxiliary classifier)"),
        _frechet("FID-2048", "2048", "Inception's 2048 features (the last pooling)"),
        _kernel("KID", "2048", "Inception's 2048 features"),
        _score("IS-1", 1, "logits_unbiased", "Inception's 1008 logits without bias"),
        _score("IS-10", SPLITS, "logits_unbiased", "Inception's 1008 logits without bias"),
        _manifold("inception", "2048", "Inception's 2048 features"),
    ),
    "cyto": (
        _frechet("FD-cyto", "features", f"{_CYTO}; not FID"),
        _kernel("KD-cyto", "features", f"{_CYTO}; not KID"),
        _score("IS-cyto-1", 1, "logits", "the cyto encoder's six classes; not IS"),
        _score("IS-cyto-10", SPLITS, "logits", "the cyto encoder's six classes; not IS"),
        _manifold("cyto", "features", _CYTO),
    ),
}
"""The figures of each encoder, by its name."""
