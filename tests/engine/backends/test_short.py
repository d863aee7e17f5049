"""Batches of which only the first pictures are wanted."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from engine.backends.onnxruntime import ORTBackend
from engine.backends.openvino import OpenVINOBackend
from engine.backends.short import first_rows
from engine.bundle.folder import open_bundle

BATCH = 4


def run(backend, bundle, rows, inputs):
    shapes = {name: value.shape for name, value in inputs.items()}
    model = backend.open(bundle.path(bundle.manifest.classes["cyt_mast"].unet), shapes, ("eps",))
    found = model.run(inputs)["eps"]
    model.close()
    return found.reshape(rows // BATCH, BATCH, *found.shape[1:])


@pytest.mark.parametrize("wanted", [1, 3])
def test_the_first_rows_are_those_of_whole_batches(wanted, tiny_bundle):
    bundle = open_bundle(str(tiny_bundle))
    # At this size a batch is above the size from which on normalisation is rewritten, and one picture is below.
    tokens, width = bundle.manifest.context_shape
    shapes = {"latents": (4, 64, 64), "time_features": (2 * len(bundle.manifest.frequencies),)}
    shapes["encoder_hidden_states"] = (tokens, width)
    rng = np.random.default_rng(0)
    rows = 2 * BATCH
    inputs = {name: rng.standard_normal((rows, *shape)).astype(np.float32) for name, shape in shapes.items()}
    backend = OpenVINOBackend(precision="f32", threads=2)
    whole, found = (run(one, bundle, rows, inputs) for one in (backend, first_rows(backend, wanted, BATCH)))
    assert found[:, :wanted].tobytes() == whole[:, :wanted].tobytes()
    assert (found[:, wanted:] == found[:, wanted - 1 : wanted]).all()
    assert (whole[:, 0] != whole[:, -1]).any()


def test_a_graph_that_takes_less_than_a_batch_is_opened_as_it_is():
    opened = []
    inner = OpenVINOBackend(threads=1)
    inner.open = lambda path, inputs, outputs: opened.append(dict(inputs)) or SimpleNamespace()
    first_rows(inner, 1, 8).open(Path("vae_decoder.onnx"), {"latents": (2, 4, 64, 64)}, ("images",))
    assert opened == [{"latents": (2, 4, 64, 64)}]


def test_whole_batches_and_other_runtimes_are_left_alone():
    openvino, onnxruntime = OpenVINOBackend(precision="f32", threads=1), ORTBackend()
    assert first_rows(openvino, 8, 8) is openvino
    assert first_rows(onnxruntime, 1, 8) is onnxruntime
    assert first_rows(openvino, 1, 8) is not openvino
    for arithmetic in ("bfloat16", "int8"):
        openvino.arithmetic = arithmetic
        assert first_rows(openvino, 1, 8) is openvino
