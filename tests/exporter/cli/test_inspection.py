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


def test_drift_shows_the_worst_layers_and_draws_all_of_them(tiny_bundle, in_process, tmp_path):
    plot = tmp_path / "drift.png"
    done = in_process("exporter", "drift", tiny_bundle, "--graph", "vae_decoder", "--plot", plot)
    assert done.returncode == 0, done.stderr
    for word in ("vae_decoder.onnx in float16", "Output images", "grey levels", "The worst 10 of", "decoder.conv_out"):
        assert word in done.stdout
    assert plot.stat().st_size > 10_000


def test_drift_refuses_wrong_requests_before_it_draws(tiny_bundle, in_process, tmp_path):
    wrong = {
        "nobody": ["--class", "nobody"],
        "vae_encoder": ["--graph", "vae_encoder", "--against", "int8"],
        "existing folder": ["--plot", tmp_path / "missing/x.png"],
        "unet": ["--graph", "text"],
    }
    for word, options in wrong.items():
        done = in_process("exporter", "drift", tiny_bundle, *options)
        assert done.returncode == 2, options
        assert word in done.stderr
        assert "one picture" not in done.stderr
