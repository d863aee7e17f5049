"""Accuracy, balanced accuracy and AUC against scikit-learn's, and the width of their intervals."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score

from evaluate.studies.utility_figures import measure_row


def random_predictions(classes: int, each: int, seeds: int = 3, seed: int = 0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    raw = rng.uniform(size=(seeds, len(labels), classes)).round(1) + 0.2 + 0.5 * np.eye(classes)[labels]
    return raw / raw.sum(2, keepdims=True), labels


@pytest.mark.parametrize("classes", [2, 4])
def test_the_figures_equal_those_of_scikit_learn_and_lie_inside_their_intervals(classes):
    found, labels = random_predictions(classes, 30)
    names = [f"class{label}" for label in range(classes)]
    arm = measure_row({"real": found}, labels, names, resamples=500).arms["real"]
    predicted = found.argmax(2)
    assert arm.accuracy.mean == pytest.approx(np.mean([accuracy_score(labels, p) for p in predicted]))
    assert arm.balanced_accuracy.mean == pytest.approx(np.mean([balanced_accuracy_score(labels, p) for p in predicted]))
    areas = [roc_auc_score(labels == c, p[:, c]) for p in found for c in range(1 if classes == 2 else 0, classes)]
    assert arm.auc.mean == pytest.approx(np.mean(areas))
    for estimate in (arm.accuracy, arm.balanced_accuracy, arm.auc, *arm.recall.values()):
        assert estimate.low < estimate.mean < estimate.high


def test_a_prediction_made_by_hand():
    # Class a: 2 of 3 right; class b: 1 of 1; of the three pairs two are in order and one is a tie.
    found = np.array([[[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.3, 0.7]]])
    arm = measure_row({"real": found}, np.array([0, 0, 0, 1]), ["a", "b"]).arms["real"]
    assert arm.accuracy.mean == 0.75
    assert arm.balanced_accuracy.mean == pytest.approx((2 / 3 + 1) / 2)
    assert arm.auc.mean == pytest.approx(2.5 / 3)
    assert arm.recall["b"].mean == 1
    assert arm.confusion == [[2, 1], [0, 1]]


def width(estimate) -> float:
    return estimate.high - estimate.low


def test_the_bootstrap_has_the_width_of_the_binomial_law():
    found, labels = random_predictions(2, 400, seeds=1)
    arm = measure_row({"real": found}, labels, ["a", "b"]).arms["real"]
    share = arm.recall["a"].mean
    assert width(arm.recall["a"]) == pytest.approx(2 * 1.645 * np.sqrt(share * (1 - share) / 400), rel=0.15)


def test_intervals_shrink_with_pictures_and_widen_where_pictures_share_a_source():
    found, labels = random_predictions(3, 200)
    few = np.concatenate([np.arange(200 * label, 200 * label + 20) for label in range(3)])
    names = ["a", "b", "c"]
    many = measure_row({"real": found}, labels, names).arms["real"]
    smaller = measure_row({"real": found[:, few]}, labels[few], names).arms["real"]
    # Ten copies of each picture contain no more information than the picture.
    copies = np.repeat(few, 10)
    sources = np.repeat(np.arange(len(few)).astype(str), 10)
    copied = measure_row({"real": found[:, copies]}, labels[copies], names, sources=sources).arms["real"]
    for name in ("accuracy", "balanced_accuracy", "auc"):
        assert width(getattr(many, name)) < 0.7 * width(getattr(smaller, name))
        assert getattr(copied, name) == getattr(smaller, name)


def test_the_gain_is_paired():
    found, labels = random_predictions(2, 50)
    row = measure_row({"real + classical": found, "real + synthetic": found}, labels, ["a", "b"])
    assert asdict(row.gains["real + synthetic"]) == {"mean": 0, "low": 0, "high": 0}
    assert width(row.arms["real + synthetic"].balanced_accuracy) > 0
