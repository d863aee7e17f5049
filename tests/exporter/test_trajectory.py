"""Rows of a graph's inputs, recorded while the bundle draws."""

from __future__ import annotations

import numpy as np

from engine.bundle.folder import open_bundle
from exporter.trajectory import count_of, drawn_rows, joined, spaced


def test_the_rows_are_the_inputs_of_each_graph(tiny_bundle):
    bundle = open_bundle(str(tiny_bundle))
    drawn = drawn_rows(bundle, "cyt_mast", 1, decoded=True)
    assert len(drawn.calls) >= bundle.manifest.defaults.num_inference_steps
    rows = joined(drawn.calls)
    assert rows.keys() == {"latents", "time_features", "encoder_hidden_states"}
    assert drawn.decoding["latents"].shape == (1, *bundle.manifest.latent_shape)
    width, height = bundle.manifest.picture_size
    assert drawn.images.shape == (1, height, width, 3)


def test_rows_are_joined_and_thinned_evenly():
    rows = joined([{"x": np.arange(3.0)}, {"x": np.arange(3.0, 5.0)}])
    assert count_of(rows) == 5
    assert spaced(rows, 3)["x"].tolist() == [0, 2, 4]
    assert spaced(rows, 9)["x"].tolist() == [0, 1, 2, 3, 4]
