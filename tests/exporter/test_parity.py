"""`verify`: torch, OpenVINO and ONNX Runtime agree, and other weights are found."""

from __future__ import annotations

import json
import shutil

import pytest
from safetensors.numpy import load_file, save_file

pytestmark = pytest.mark.slow


def test_torch_openvino_and_onnxruntime_agree(in_process, whole_path, tiny_bundle):
    done = in_process("exporter", "verify", tiny_bundle, "--merged", whole_path / "merged/cyt_mast", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(done.stdout)["rows"]
    kinds = {row["runtime"].split()[0] + row["runtime"].split()[-1] for row in rows}
    assert {"openvinof32", "onnxruntimeCPU"} <= kinds
    assert all(row["passed"] for row in rows)
    assert all(row["psnr_db"] > 40 for row in rows if not row["runtime"].endswith("bf16"))
    assert all(row["encoder_relative_l2"] < 0.01 for row in rows if not row["runtime"].endswith("bf16"))


def test_verify_fails_where_the_bundle_holds_other_weights(in_process, whole_path, tiny_bundle, tmp_path):
    changed = shutil.copytree(whole_path / "merged/cyt_mast", tmp_path / "changed")
    for part, layer in (("unet", "to_v"), ("vae", "encoder.conv_in")):
        path = changed / part / "diffusion_pytorch_model.safetensors"
        tensors = load_file(path)
        save_file({name: 1.3 * value if layer in name else value for name, value in tensors.items()}, path)
    done = in_process("exporter", "verify", tiny_bundle, "--merged", changed, "--json")
    assert done.returncode == 1, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert not any(row["passed"] for row in rows)
    exact = [row for row in rows if not row["runtime"].endswith("bf16")]  # bfloat16 has wider limits
    assert exact
    assert all(row["encoder_relative_l2"] > row["limits"]["encoder_relative_l2"] for row in exact)


def test_the_parity_table_has_every_sigma_and_pictures_have_the_same_grain(in_process, stochastic):
    merged, bundle = stochastic / "merged/cyt_mast", stochastic / "bundle"
    done = in_process("exporter", "verify", bundle, "--merged", merged, "--json")
    assert done.returncode == 0, done.stderr
    for row in json.loads(done.stdout)["rows"]:
        sigmas = [sigma for sigma, _, _ in row["by_sigma"]]
        assert len(sigmas) == 20
        assert sigmas == sorted(sigmas, reverse=True)
        assert row["unet_rmse"] == max(rmse for _, rmse, _ in row["by_sigma"])
    assert "TensorRT was not compared" in in_process("exporter", "verify", bundle, "--merged", merged).stdout
