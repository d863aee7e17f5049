"""Accuracy, balanced accuracy and AUC of the classifiers of `utility`, with paired bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BASELINE", "GAINS", "Arm", "Estimate", "Row", "measure_row"]

Probabilities = NDArray[np.float64]

BASELINE = "real + classical"
GAINS = ("real + synthetic", "real + classical + synthetic", "real + classical + variations")
"""The arms whose gain over the baseline is reported."""


@dataclass(frozen=True)
class Estimate:
    """Mean over seeds, and the ends of the 90 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Arm:
    """The figures of one arm on the held-out pictures, in [0, 1]."""

    accuracy: Estimate
    balanced_accuracy: Estimate
    auc: Estimate
    recall: dict[str, Estimate]
    """By class."""
    confusion: list[list[float]]
    """Number of pictures by true class (rows) and predicted class (columns), mean over seeds."""


@dataclass(frozen=True)
class Row:
    """The arms that start from the same kind of weights."""

    arms: dict[str, Arm]
    gains: dict[str, Estimate]
    """For each arm of GAINS: balanced accuracy minus that of `real + classical`, in [-1, 1]."""


def measure_row(
    probabilities: Mapping[str, Probabilities],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    *,
    sources: NDArray[np.str_] | None = None,
    resamples: int = 1000,
) -> Row:
    """Return the figures of every arm, and the gains of the arms in GAINS if the baseline is among the arms.

    Each resample draws seeds, and sources within each class, with replacement. It is the same for every arm (paired).

    probabilities: (seeds, N, classes) float64 for each arm, with the same seeds.
    labels: (N,) in 0 to classes - 1, with every class present.
    sources: (N,) the source of each picture; by default each picture is its own source.
    """
    # scikit-learn takes a second to import, and the help of the command line needs only the dataclasses.
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix

    rng = np.random.default_rng(0)
    weights = _picture_weights(
        labels, np.arange(len(labels)).astype(str) if sources is None else sources, resamples, rng
    )
    seeds = len(next(iter(probabilities.values())))
    times = rng.multinomial(seeds, np.full(seeds, 1 / seeds), resamples)
    arms: dict[str, Arm] = {}
    balanced: dict[str, tuple[float, NDArray[np.float64]]] = {}
    for name, of_seeds in probabilities.items():
        predicted = of_seeds.argmax(2)
        confusion = np.mean([confusion_matrix(labels, found) for found in predicted], 0)
        drawn = np.stack([_weighted_figures(found, labels, weights) for found in of_seeds], 1)
        accuracy, auc, *recall = np.einsum("bsf,bs->fb", drawn, times) / seeds
        mean = float(np.mean([balanced_accuracy_score(labels, found) for found in predicted]))
        balanced[name] = mean, np.mean(recall, 0)
        arms[name] = Arm(
            _estimate(float(np.mean([accuracy_score(labels, found) for found in predicted])), accuracy),
            _estimate(*balanced[name]),
            _estimate(float(np.mean([_auc(found, labels) for found in of_seeds])), auc),
            {
                class_name: _estimate(confusion[label, label] / confusion[label].sum(), recall[label])
                for label, class_name in enumerate(class_names)
            },
            confusion.tolist(),
        )
    gains = {
        name: _estimate(balanced[name][0] - balanced[BASELINE][0], balanced[name][1] - balanced[BASELINE][1])
        for name in GAINS
        if {name, BASELINE} <= set(balanced)
    }
    return Row(arms, gains)


def _auc(found: Probabilities, labels: NDArray[np.int64]) -> float:
    from sklearn.metrics import roc_auc_score

    two = found.shape[1] == 2
    return float(roc_auc_score(labels, found[:, 1] if two else found, multi_class="ovr"))


def _picture_weights(
    labels: NDArray[np.int64], sources: NDArray[np.str_], resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return how often each picture is drawn: (resamples, N)."""
    weights = np.empty((resamples, len(labels)))
    for label in np.unique(labels):
        names, source = np.unique(sources[labels == label], return_inverse=True)
        weights[:, labels == label] = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), resamples)[
            :, source
        ]
    return weights


def _weighted_figures(
    found: Probabilities, labels: NDArray[np.int64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return weighted accuracy, AUC, and the recall of each class: (resamples, 2 + classes).

    The AUC is the weighted share of pairs in the right order, with ties counted as half (Hanley and McNeil 1982). It is
    computed for all resamples at once, while scikit-learn would sort the pictures for each resample.
    """
    right = (found.argmax(1) == labels).astype(float)
    recalls, areas = [], []
    for label in range(found.shape[1]):
        inside, outside = labels == label, labels != label
        positive, negative = weights[:, inside], weights[:, outside]
        recalls.append(positive @ right[inside] / positive.sum(1))
        before, after = found[outside, label], found[inside, label, None]
        ordered = (after > before) + (after == before) / 2
        areas.append(((positive @ ordered) * negative).sum(1) / (positive.sum(1) * negative.sum(1)))
    area = areas[1] if len(areas) == 2 else np.mean(areas, 0)
    return np.stack([weights @ right / weights.sum(1), area, *recalls], 1)


def _estimate(mean: float, drawn: NDArray[np.float64]) -> Estimate:
    low, high = np.percentile(drawn, [5, 95])
    return Estimate(float(mean), float(low), float(high))
