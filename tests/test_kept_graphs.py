"""The store of compiled graphs: one graph for equal files and settings, and models that share nothing else."""

from __future__ import annotations

import os

import numpy as np
import openvino as ov

from engine.backends.openvino import OpenVINOBackend
from engine.bundle.folder import open_bundle
from tests.kept_graphs import MOST, Store


def test_a_graph_is_compiled_again_if_something_changes_that_decides_it(tmp_path, monkeypatch):
    graph, weights, made = tmp_path / "unet.onnx", tmp_path / "unet.bin", []
    graph.write_bytes(b"graph")
    weights.write_bytes(b"weights")
    store = Store()

    def number(about="f32"):
        return store.get(graph, about, lambda: made.append(about) or len(made))

    assert [number(), number(), number("int8"), number()] == [1, 1, 2, 1]
    weights.write_bytes(b"other weights")
    assert number() == 3
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert number() == 4
    monkeypatch.setattr(os, "getpid", lambda: 0)
    assert number() == 5
    for other in range(MOST):
        number(other)
    assert number() == len(made) == 6 + MOST


def test_two_models_share_a_compiled_graph_and_nothing_else(tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiled, compile_model = [], ov.Core.compile_model
    monkeypatch.setattr(ov.Core, "compile_model", lambda *words: compiled.append(words) or compile_model(*words))
    bundle = open_bundle(str(tiny_bundle))
    shapes = bundle.manifest.decoder_inputs(1, bundle.manifest.latent_shape)
    inputs = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    path, outputs = bundle.path("vae_decoder.onnx"), ("images", "finite")
    first, second = (OpenVINOBackend(precision="f32").open(path, shapes, outputs) for _ in range(2))
    wanted = first.run(inputs)["images"]
    first.close()
    np.testing.assert_array_equal(second.run(inputs)["images"], wanted)
    assert len(compiled) == 1
    # A backend that must not use the user's cache opens the graph itself.
    OpenVINOBackend(precision="f32", cached=False).open(path, shapes, outputs)
    assert len(compiled) == 2
