"""Weights by content: equal tensors are written once, and a merge's own tensors go to the class's file."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from exporter.weights import INLINE_BYTES, digest, move_weights, shared_places


def model_of(**tensors):
    return helper.make_model(
        helper.make_graph([], "g", [], [], [numpy_helper.from_array(value, name) for name, value in tensors.items()])
    )


def test_equal_tensors_share_a_place_and_own_tensors_have_their_file(tmp_path):
    rng = np.random.default_rng(0)
    common, own = rng.standard_normal((2, INLINE_BYTES)).astype(np.float16)
    small = np.arange(4, dtype=np.int64)
    model = model_of(a=common, again=common, k=own, shape=small)
    move_weights(model, tmp_path, "unet.bin", "unet.one.bin", {digest(own.tobytes())})
    places = {
        tensor.name: {entry.key: entry.value for entry in tensor.external_data} for tensor in model.graph.initializer
    }
    assert places["a"] == places["again"]
    assert (places["a"]["location"], places["k"]["location"]) == ("unet.bin", "unet.one.bin")
    assert places["shape"] == {}
    assert (tmp_path / "unet.bin").read_bytes() == common.tobytes()
    onnx.save(model, tmp_path / "graph.onnx")
    loaded = {t.name: numpy_helper.to_array(t) for t in onnx.load(tmp_path / "graph.onnx").graph.initializer}
    for name, value in {"a": common, "again": common, "k": own, "shape": small}.items():
        np.testing.assert_array_equal(loaded[name], value)


def test_a_second_tensor_begins_at_an_aligned_place(tmp_path):
    tensors = np.random.default_rng(1).standard_normal((2, INLINE_BYTES + 1)).astype(np.float16)
    model = model_of(one=tensors[0], two=tensors[1])
    move_weights(model, tmp_path, "unet.bin", "unet.bin", set())
    offsets = [int(entry.value) for t in model.graph.initializer for entry in t.external_data if entry.key == "offset"]
    assert sorted(offsets)[0] == 0
    assert sorted(offsets)[1] % 64 == 0


def test_a_later_class_refers_to_the_shared_tensors_that_it_finds_and_stores_all_others(tmp_path):
    rng = np.random.default_rng(2)
    common, first, other, changed = rng.standard_normal((4, INLINE_BYTES)).astype(np.float16)
    one = model_of(a=common, b=first, k=other)
    move_weights(one, tmp_path, "unet.bin", "unet.one.bin", {digest(other.tobytes())})
    onnx.save(one, tmp_path / "one.onnx")
    before = (tmp_path / "unet.bin").read_bytes()
    places = shared_places([tmp_path / "one.onnx"], tmp_path / "unet.bin")
    assert places.keys() == {digest(common.tobytes()), digest(first.tobytes())}
    two = model_of(a=common, b=changed, k=other)
    move_weights(two, tmp_path, "unet.bin", "unet.two.bin", set(), places)
    onnx.save(two, tmp_path / "two.onnx")
    assert (tmp_path / "unet.bin").read_bytes() == before
    assert (tmp_path / "unet.two.bin").stat().st_size == changed.nbytes + other.nbytes
    loaded = {t.name: numpy_helper.to_array(t) for t in onnx.load(tmp_path / "two.onnx").graph.initializer}
    for name, value in {"a": common, "b": changed, "k": other}.items():
        np.testing.assert_array_equal(loaded[name], value)
