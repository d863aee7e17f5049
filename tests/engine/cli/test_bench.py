"""`engine bench`."""

from __future__ import annotations

import json

import openvino as ov


def test_bench_measures_each_backend_and_batch_size(in_process, tiny_bundle, tmp_path):
    arguments = ["--batch-size", "1,2", "--rounds", 2, "--steps", 2, "--record", tmp_path / "record.json", "--json"]
    done = in_process("engine", "bench", tiny_bundle, *arguments)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == json.loads((tmp_path / "record.json").read_text())
    rows = {(row["backend"], row["precision"], row["batch_size"]) for row in found["measured"]}
    # auto is f32 on a processor without bfloat16, and no second row.
    bf16 = "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    openvino = [("openvino", "f32"), *([("openvino", "auto")] if bf16 else [])]
    assert rows == {(*runtime, size) for runtime in (*openvino, ("onnxruntime", "auto")) for size in (1, 2)}
    for row in found["measured"]:
        assert len(row["denoise_ms"]) == 2
        assert 0 < row["host_share"] < 1
