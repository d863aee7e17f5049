"""The exported graphs are valid, have the contract's names, and compute what torch computes."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from exporter.graphs import share_equal
from exporter.load import load_merged
from tests.engine.folders import contents


def test_every_graph_passes_the_checker_with_the_contracts_names(tiny_bundle):
    expected = {
        "unet.cyt_mast.onnx": (["latents", "time_features", "encoder_hidden_states"], ["eps"]),
        "vae_decoder.onnx": (["latents"], ["images", "finite"]),
        "text_encoder.onnx": (["input_ids"], ["hidden_states"]),
        "step.onnx": (["x", "eps_cond", "eps_uncond", "D_prev", "z", "row"], ["x_next", "D"]),
    }
    for name, (inputs, outputs) in expected.items():
        onnx.checker.check_model(tiny_bundle / name, full_check=True)
        graph = onnx.load(tiny_bundle / name, load_external_data=False).graph
        assert [value.name for value in graph.input] == inputs
        assert [value.name for value in graph.output] == outputs


def test_the_unet_is_fused_and_half_precision_with_float32_normalisation(tiny_bundle):
    model = onnx.load(tiny_bundle / "unet.cyt_mast.onnx")
    kinds = {node.op_type for node in model.graph.node}
    assert {"Attention", "GroupNormalization", "LayerNormalization"} <= kinds
    tensors = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Conv":
            assert tensors[node.input[1]] == onnx.TensorProto.FLOAT16
        if node.op_type == "LayerNormalization":
            assert tensors[node.input[1]] == onnx.TensorProto.FLOAT


def test_no_path_of_the_building_machine_is_in_a_graph(tiny_bundle):
    for path in tiny_bundle.glob("*.onnx"):
        content = path.read_bytes()
        assert b".py" not in content
        assert b"/home" not in content
        assert b"site-packages" not in content


def test_the_step_graph_is_guidance_and_one_row_of_the_table(tiny_bundle):
    rng = np.random.default_rng(0)
    names = ["x", "eps_cond", "eps_uncond", "D_prev", "z"]
    tensors = {name: rng.standard_normal((3, 4, 8, 8)).astype(np.float32) for name in names}
    sigma, a, b, c, d, scale = 2.5, 0.6, 0.7, -0.2, 0.1, 3.0
    row = np.array([sigma, 500.25, 0.37, a, b, c, d, scale], np.float32)
    session = onnxruntime.InferenceSession(tiny_bundle / "step.onnx", providers=["CPUExecutionProvider"])
    x_next, denoised = session.run(["x_next", "D"], {**tensors, "row": row})
    x, cond, uncond, previous, z = (tensors[name].astype(np.float64) for name in names)
    wanted = x - sigma * (uncond + scale * (cond - uncond))
    np.testing.assert_allclose(denoised, wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(x_next, a * x + b * wanted + c * previous + d * z, rtol=1e-4, atol=1e-4)


def test_prompt_embeddings_are_float32_and_differ(tiny_bundle):
    tensors = load_file(tiny_bundle / "context.cyt_mast.safetensors")
    assert tensors["cond"].shape == tensors["uncond"].shape == (8, 16)
    assert tensors["cond"].dtype == np.float32
    assert (tensors["cond"] != tensors["uncond"]).any()


def test_the_text_encoder_and_its_tokenizer_give_the_stored_embeddings(tiny_bundle):
    tokenizer = Tokenizer.from_file(str(tiny_bundle / "tokenizer.json"))
    tokens = [tokenizer.encode(prompt).ids for prompt in ("cyt mast", "", "words that " + "nobody trained " * 20)]
    session = onnxruntime.InferenceSession(tiny_bundle / "text_encoder.onnx", providers=["CPUExecutionProvider"])
    cond, uncond, _ = session.run(["hidden_states"], {"input_ids": np.array(tokens, np.int64)})[0]
    stored = load_file(tiny_bundle / "context.cyt_mast.safetensors")
    np.testing.assert_allclose(cond, stored["cond"], atol=5e-3)
    np.testing.assert_allclose(uncond, stored["uncond"], atol=5e-3)


def test_the_vae_encoder_gives_the_mean_of_the_posterior(whole_path):
    vae = load_merged(whole_path / "merged/cyt_mast").vae
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3), np.uint8)
    session = onnxruntime.InferenceSession(whole_path / "bundle/vae_encoder.onnx")
    (found,) = session.run(["latents"], {"images": images})
    with torch.no_grad():
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
        wanted = vae.encode(pixels).latent_dist.mean.numpy() * vae.config.scaling_factor
    assert np.linalg.norm(found - wanted) < 0.01 * np.linalg.norm(wanted)


@pytest.mark.slow
def test_a_bundle_may_be_exported_without_the_vae_encoder(in_process, whole_path, tmp_path):
    """Exported again with it, the bundle gains the encoder and its other files stay as they are."""
    arguments = ["exporter", "onnx", whole_path / "merged/cyt_mast", "--out", tmp_path / "bundle"]
    assert in_process(*arguments, "--no-vae-encoder").returncode == 0
    before = contents(tmp_path / "bundle")
    assert not [name for name in before if "encoder" in name and "text" not in name]
    assert in_process(*arguments).returncode == 0
    after = contents(tmp_path / "bundle")
    assert after.keys() - before.keys() == {"vae_encoder.onnx", "vae_encoder.bin"}
    assert [name for name in before if after[name] != before[name]] == ["manifest.json"]


def test_equal_initialisers_are_kept_once_and_the_graph_computes_the_same():
    values = [np.zeros(3, np.float32), np.zeros(3, np.float32), np.zeros((1, 3), np.float32), np.zeros(3, np.int32)]
    tensors = [numpy_helper.from_array(value, f"t{place}") for place, value in enumerate(values)]
    nodes = [
        helper.make_node("Cast", ["t3"], ["c"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Sum", ["x", "c"], ["y"]),
        helper.make_node("Sum", ["y", "t0", "t1", "t2"], ["z"]),
    ]
    ports = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3]) for name in "xz"]
    model = helper.make_model(helper.make_graph(nodes, "graph", ports[:1], ports[1:], tensors))
    share_equal(model)
    assert [tensor.name for tensor in model.graph.initializer] == ["t0", "t2", "t3"]
    assert list(model.graph.node[2].input) == ["y", "t0", "t0", "t2"]
    onnx.checker.check_model(model, full_check=True)
