"""Drift of layers whose rounding can be told by hand, and of an encoder of the tiny bundle."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.bundle.folder import open_bundle
from engine.errors import RequestError
from exporter.inspection import drift
from exporter.inspection.drift import drift_of, measure_drift
from tests.exporter.inspection.graphs import half_graph, saved

ROWS = {"x": np.array([[0.3, 0.6, 1.2, 3.3], [0.5, 1.0, 2.0, 4.0]], np.float32)}


def test_the_layer_that_loses_the_precision_has_the_largest_share(tmp_path):
    steps = [("Mul", "two"), ("Add", "big"), ("Sub", "big"), ("Mul", "two")]
    found = measure_drift(saved(half_graph(steps, two=2, big=2048), tmp_path), ROWS)
    assert [layer.name for layer in found.layers] == ["half", "step_0", "step_1", "step_2", "step_3", "y"]
    worst = found.worst[0]
    # The sum is rounded, but relative to 2048 by little. The difference keeps this error without the 2048.
    assert (worst.name, worst.kind) == ("step_2", "Sub")
    assert worst.share > 0.99
    half = np.float16(ROWS["x"]) * np.float16(2)
    rounded = (half + np.float16(2048)) - np.float16(2048)
    # What the plain twin gets is not rounded at the input either.
    error = rounded.astype(float) - 2 * ROWS["x"].astype(float)
    assert worst.largest_error == pytest.approx(np.abs(error).max(), abs=1e-3)
    by_row = np.linalg.norm(error, axis=1) / np.linalg.norm(2 * ROWS["x"], axis=1)
    assert worst.by_row == pytest.approx(by_row, abs=1e-3)
    assert worst.relative_error == pytest.approx(np.sqrt(np.mean(by_row**2)), abs=1e-3)
    assert [layer.name for layer in found.outputs] == ["y"]
    assert found.outputs[0].largest_error == pytest.approx(2 * worst.largest_error)
    assert (found.largest.name, found.rows) == ("step_1", 2)
    assert found.largest.largest_value == pytest.approx(2048 + 8)


def test_small_passes_find_the_same(tmp_path, monkeypatch):
    path = saved(half_graph([("Add", "big"), ("Sub", "big")], big=2048), tmp_path)
    whole = measure_drift(path, ROWS)
    said = []
    monkeypatch.setattr(drift, "CHUNK_BYTES", 1)
    assert measure_drift(path, ROWS, progress=said.append) == whole
    assert len(said) == len(whole.layers) == 4


def test_an_overflow_comes_first(tmp_path):
    found = measure_drift(saved(half_graph([("Mul", "big"), ("Sub", "big")], big=30000), tmp_path), ROWS)
    assert found.worst[0].name in ("step_0", "step_1")
    assert math.isinf(found.worst[0].relative_error)
    assert found.largest.largest_value > found.largest_half == 65504


def test_the_encoder_of_a_bundle_is_compared_on_a_picture(tiny_bundle):
    bundle = open_bundle(str(tiny_bundle))
    found = drift_of(bundle, "cyt_mast", "vae_encoder")
    assert [layer.name for layer in found.outputs] == ["latents"]
    # float16 rounds by at most 2^-11 = 0.0005. Errors of many layers add up.
    assert 1e-5 < found.outputs[0].relative_error < 0.01
    assert sum(layer.share for layer in found.layers) == pytest.approx(1)
    assert {"Conv", "GroupNormalization"} <= {layer.kind for layer in found.layers}
    for graph, words in (("vae_encoder", "no 8-bit graph"), ("unet", "no 8-bit graphs of the class")):
        with pytest.raises(RequestError, match=words):
            drift_of(bundle, "cyt_mast", graph, int8=True)
