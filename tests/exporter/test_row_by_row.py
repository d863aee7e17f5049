"""Graphs that run row by row: the results of the batch, and the ranges of the pictures that are observed."""

from __future__ import annotations

import numpy as np
import pytest

from engine.backends.openvino import OpenVINOBackend
from engine.bundle.folder import open_bundle
from exporter.row_by_row import Observed, RowByRow


@pytest.fixture
def bundle(bundle_copy):
    return open_bundle(str(bundle_copy))


@pytest.fixture
def unet(bundle):
    return bundle.path(bundle.manifest.classes["cyt_mast"].unet)


@pytest.fixture
def rows(bundle):
    rng = np.random.default_rng(0)
    shapes = [bundle.manifest.latent_shape, (2 * len(bundle.manifest.frequencies),), bundle.manifest.context_shape]
    names = ["latents", "time_features", "encoder_hidden_states"]
    return {n: rng.standard_normal((4, *shape), np.float32) for n, shape in zip(names, shapes, strict=True)}


def test_rows_give_what_the_batch_gives(unet, rows):
    shapes = {name: values.shape for name, values in rows.items()}
    wanted = OpenVINOBackend(precision="f32").open(unet, shapes, ("eps",)).run(rows)["eps"]
    with RowByRow(unet, ("eps",), "f32") as graph:
        np.testing.assert_allclose(graph.run(rows)["eps"], wanted, atol=1e-4)


def test_only_the_observed_pictures_widen_the_ranges(unet, rows):
    """Rows 0 and 2 are the first picture of a batch of two. The copy of the graph is gone afterwards."""
    before = set(unet.parent.iterdir())
    far = {name: np.where(np.arange(4).reshape(-1, *[1] * (v.ndim - 1)) % 2, 9 * v, v) for name, v in rows.items()}
    with Observed(unet, ("eps",), 2, 1) as first, Observed(unet, ("eps",), 2, 2) as both:
        np.testing.assert_array_equal(first.run(far)["eps"], both.run(far)["eps"])
    with Observed(unet, ("eps",), 2, 1) as same:
        same.run(rows)
    assert first.ranges == same.ranges
    assert all(low <= high for low, high in first.ranges.values())
    wider = [both.ranges[name] != first.ranges[name] for name in first.ranges]
    assert any(wider)
    assert all(both.ranges[n][0] <= low and both.ranges[n][1] >= high for n, (low, high) in first.ranges.items())
    assert set(unet.parent.iterdir()) == before
