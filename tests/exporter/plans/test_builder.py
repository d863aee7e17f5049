"""TensorRT for RTX parses and builds without a GPU: what its parser rejects is named."""

from __future__ import annotations

import hashlib
import json
import sys

import onnx
import pytest

from exporter.plans.builder import gpu_here

pytest.importorskip("tensorrt_rtx", reason="needs TensorRT for RTX: pip install 'cytosynth[rtx]'")


def test_a_node_that_the_parser_rejects_is_named_with_its_class(in_process, bundle_copy):
    path = bundle_copy / "unet.cyt_mast.onnx"
    model = onnx.load(path, load_external_data=False)
    node = next(node for node in model.graph.node if node.op_type == "Conv")
    node.op_type, node.domain, node.name = "Wobble", "nowhere", "the_odd_one"
    path.write_bytes(model.SerializeToString())
    manifest = json.loads((bundle_copy / "manifest.json").read_text())
    content = path.read_bytes()
    manifest["files"][path.name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (bundle_copy / "manifest.json").write_text(json.dumps(manifest))
    done = in_process("exporter", "tensorrt", bundle_copy, "--gpu", "a6000", "--class", "cyt_mast")
    assert done.returncode == 1
    for word in ("unet.cyt_mast.onnx", "Wobble"):
        assert word in done.stderr
    assert not list((bundle_copy / "plans").glob("*/unet*"))


def test_a_machine_without_cudas_libraries_has_no_gpu(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    assert gpu_here() is None
