"""The inception score: how certain a classifier is about each picture, and how different the pictures are."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import scipy
from numpy.typing import NDArray

from engine.errors import RequestError

__all__ = ["inception_score"]


def inception_score(logits: NDArray[np.floating], splits: int = 1) -> float:
    """Return exp of the mean Kullback-Leibler divergence KL(p(y|x) || p(y)), averaged over equal parts of the sample.

    Salimans et al. 2016 (arXiv:1606.03498); equation 2.24 of the thesis. logits: (N, classes), N >= splits, cut in the
    given order. The score lies in [1, classes]. At small N more splits give a lower score. Raises RequestError for
    fewer pictures than splits.
    """
    if not 1 <= splits <= len(logits):
        raise RequestError(
            f"An inception score of {splits} splits",
            found=f"{len(logits)} pictures",
            expected=f"at least {max(splits, 1)}",
            fix="add pictures, or use fewer splits",
        )
    p = scipy.special.softmax(logits.astype(np.float64), axis=1)
    edges = [part * len(p) // splits for part in range(splits + 1)]
    return float(np.mean([_score(p[start:end]) for start, end in pairwise(edges)]))


def _score(p: NDArray[np.float64]) -> float:
    return float(np.exp(scipy.special.rel_entr(p, p.mean(0)).sum(1).mean()))
