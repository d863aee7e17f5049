"""The hashes by which a compiled graph is known again."""

from __future__ import annotations

import onnx
import pytest

from engine.backends.graph_files import hashes_of, weights_of
from engine.files import sha256_of


def hashes(graph):
    weights = weights_of(graph)
    return None if weights is None else hashes_of(graph, weights)


def test_the_weights_that_a_graph_names_are_part_of_its_hashes(bundle_copy):
    for graph in sorted(bundle_copy.glob("*.onnx")):
        model = onnx.load(graph, load_external_data=False)
        tensors = [tensor for tensor in model.graph.initializer if tensor.external_data]
        names = {entry.value for tensor in tensors for entry in tensor.external_data if entry.key == "location"}
        wanted = [sha256_of(graph), *(f"{name} {sha256_of(bundle_copy / name)}" for name in sorted(names))]
        assert hashes(graph) == wanted
    before = hashes(bundle_copy / "vae_decoder.onnx")
    assert len(before) > 1
    weights = bundle_copy / "vae_decoder.bin"
    weights.write_bytes(weights.read_bytes() + b"\0")
    assert hashes(bundle_copy / "vae_decoder.onnx") != before


@pytest.mark.parametrize("change", ["no weights", "no graph", "a value before its key"])
def test_a_graph_whose_weights_are_not_found_has_no_hashes(change, bundle_copy):
    graph = bundle_copy / "vae_decoder.onnx"
    if change == "no weights":
        (bundle_copy / "vae_decoder.bin").unlink()
    elif change == "no graph":
        graph.unlink()
    else:
        content = graph.read_bytes()
        entry = b"\x0a\x08location\x12\x0fvae_decoder.bin"
        assert entry in content
        graph.write_bytes(content.replace(entry, entry[10:] + entry[:10], 1))
        assert onnx.load(graph, load_external_data=False).graph.initializer
    assert hashes(graph) is None
