"""The figures that each encoder gives, with their definitions."""

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
"""Number of parts of the published inception score."""


@dataclass(frozen=True)
class Metric:
    """Figures that one computation gives for a layer: compute(reference, sample) -> one value per name."""

    definitions: dict[str, str]
    """The exact definition of each figure, by its name."""
    layer: str
    least: int
    """Number of pictures that each sample needs."""
    compute: Callable[[Features, Features], tuple[float, ...]]
    bounds: tuple[tuple[float, float], ...] = ((-inf, inf),)
    """Least and greatest possible value of each figure."""
    kind: str = "other"
    """`frechet`: biased upwards at small N, so a control is compared with a multiple of the floor. `kernel`: unbiased,
    so a control is compared with the floor's interval. `other`: no distance, so there is no comparison."""


def _frechet(name: str, layer: str, words: str) -> Metric:
    definition = f"|m1 - m2|^2 + tr(S1 + S2 - 2 sqrt(S1 S2)) of {words}, with unbiased covariances; lower is better"
    return Metric({name: definition}, layer, 2, lambda a, b: (frechet_distance(a, b),), ((0, inf),), "frechet")


def _kernel(name: str, layer: str, words: str) -> Metric:
    definition = f"unbiased MMD^2 with the kernel (x . y / D + 1)^3 of {words}, in one block; lower is better"
    return Metric({name: definition}, layer, 2, lambda a, b: (kernel_distance(a, b),), kind="kernel")


def _score(name: str, splits: int, layer: str, words: str) -> Metric:
    definition = (
        f"exp of the mean KL(p(y|x) || p(y)), with p the softmax of {words}, mean over {splits} equal parts; the column"
        " of the floor shows real pictures; higher means more certain and more varied"
    )
    compute = partial(inception_score, splits=splits)
    return Metric({name: definition}, layer, splits, lambda _, sample: (compute(sample),), ((1, inf),))


def _manifold(encoder: str, layer: str, words: str) -> Metric:
    def compute(reference: Features, sample: Features) -> tuple[float, ...]:
        found = compare_manifolds(reference, sample)
        return found.precision, found.recall, found.density, found.coverage

    return Metric(
        {
            f"precision-{encoder}": f"share of the sample inside a ball of a real picture ({words}, radius to the 3rd"
            " neighbour); higher is better",
            f"recall-{encoder}": "share of the real pictures inside such a ball of a picture of the sample; higher is"
            " better",
            f"density-{encoder}": "mean number of real balls (radius to the 5th neighbour) around a picture of the"
            " sample, divided by 5; about 1 for two samples of one distribution, and it can be higher",
            f"coverage-{encoder}": "share of real balls (5th neighbour) that contain a picture of the sample; higher is"
            " better",
        },
        layer,
        6,
        compute,
        ((0, 1), (0, 1), (0, inf), (0, 1)),
    )


_IMAGENET = "EfficientNet-Lite0's 1280 features (trained on ImageNet)"
_CYTO = "the cyto encoder's 128 features"
METRICS: dict[str, tuple[Metric, ...]] = {
    "inception": (
        _frechet("FID-64", "64", "Inception's first 64 features (after its first pooling)"),
        _frechet("FID-192", "192", "Inception's 192 features (after its second pooling)"),
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
    "imagenet": (
        _frechet("FD-imagenet", "features", f"{_IMAGENET}; not FID"),
        _kernel("KD-imagenet", "features", f"{_IMAGENET}; not KID"),
        _manifold("imagenet", "features", _IMAGENET),
    ),
}
"""The figures of each encoder, by its name."""
