"""The figures of each encoder: their names, layers and bounds."""

from __future__ import annotations

from evaluate.encoders.inception import LAYERS
from evaluate.metrics.registry import METRICS


def test_inception_gives_the_published_figures():
    names = {name for metric in METRICS["inception"] for name in metric.definitions}
    assert {"FID-64", "FID-2048", "KID", "IS-1", "IS-10", "precision-inception"} <= names
    assert {metric.layer for metric in METRICS["inception"]} <= set(LAYERS)


def test_every_figure_has_one_name_and_its_bounds():
    metrics = [metric for by_encoder in METRICS.values() for metric in by_encoder]
    names = [name for metric in metrics for name in metric.definitions]
    assert len(names) == len(set(names))
    for metric in metrics:
        assert len(metric.bounds) == len(metric.definitions)
        assert all(low < high for low, high in metric.bounds)
