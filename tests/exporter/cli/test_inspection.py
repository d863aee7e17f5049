"""`exporter inspect` shows a bundle and a graph, as tables and as JSON."""

from __future__ import annotations

import json


def test_inspect_shows_a_bundle_and_a_graph(tiny_bundle, in_process):
    done = in_process("exporter", "inspect", tiny_bundle)
    assert done.returncode == 0, done.stderr
    for word in ("unet.cyt_mast.onnx", "cyt_nep_mast", "float16", "No TensorRT plans"):
        assert word in done.stdout
    graph = tiny_bundle / "vae_decoder.onnx"
    done = in_process("exporter", "inspect", graph)
    for word in ("opset 23", "images", "uint8", "Conv", "vae_decoder.bin"):
        assert word in done.stdout
    found = json.loads(in_process("exporter", "inspect", graph, "--json").stdout)
    assert found["outputs"][0]["name"] == "images"
    whole = json.loads(in_process("exporter", "inspect", tiny_bundle, "--json").stdout)
    assert found in whole["graphs"]


def test_inspect_refuses_what_is_none_of_the_three(in_process, tmp_path):
    for missing in ("x", "x.onnx", "plans/x.plan"):
        done = in_process("exporter", "inspect", tmp_path / missing)
        assert done.returncode in (1, 2)
        assert "Traceback" not in done.stderr
        assert "x" in done.stderr
