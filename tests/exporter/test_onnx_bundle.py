"""The bundle: valid graphs, weights by content, classes that leave each other alone, parity with torch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from exporter.load import load_merged


def locations(path) -> set[str]:
    """The external files that a graph names."""
    model = onnx.load(path, load_external_data=False)
    entries = [entry for tensor in model.graph.initializer for entry in tensor.external_data]
    return {entry.value for entry in entries if entry.key == "location"}


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


def test_what_merging_did_not_change_is_stored_once(tiny_bundle):
    sizes = {
        name: entry["bytes"] for name, entry in json.loads((tiny_bundle / "manifest.json").read_text())["files"].items()
    }
    for name in ("cyt_mast", "cyt_nep_mast"):
        assert locations(tiny_bundle / f"unet.{name}.onnx") == {"unet.bin", f"unet.{name}.bin"}
        assert 0 < sizes[f"unet.{name}.bin"] < 0.1 * sizes["unet.bin"]
    one, two = (tiny_bundle / f"unet.{name}.bin" for name in ("cyt_mast", "cyt_nep_mast"))
    assert one.read_bytes() != two.read_bytes()


def test_no_path_of_the_building_machine_is_in_a_graph(tiny_bundle):
    for path in tiny_bundle.glob("*.onnx"):
        content = path.read_bytes()
        assert b".py" not in content
        assert b"/home" not in content
        assert b"site-packages" not in content


def test_classes_that_the_base_knows_by_itself_share_one_unet(in_process, whole_path, tmp_path):
    """Merged without a hypernetwork; their prompts differ, their UNets do not."""
    folders = []
    for name, prompt in (("one", "cyt mast"), ("two", "cyt nep mast")):
        words = ["--class", name, "--prompt", prompt, "--origin", "phantom", "--pictures", 24]
        done = in_process("trainer", "merge", *words, "--base", whole_path / "base", "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
        folders.append(tmp_path / name)
    folders.append(whole_path / "merged/cyt_mast")
    done = in_process("exporter", "onnx", *folders, "--out", tmp_path / "bundle")
    assert done.returncode == 0, done.stderr
    classes = json.loads((tmp_path / "bundle/manifest.json").read_text())["classes"]
    assert classes["two"]["unet"] == classes["one"]["unet"] == "unet.one.onnx"
    assert classes["two"]["context"] != classes["one"]["context"]
    assert classes["cyt_mast"]["unet"] == "unet.cyt_mast.onnx"
    assert not list((tmp_path / "bundle").glob("unet.two.*"))
    assert in_process("engine", "verify", tmp_path / "bundle").returncode == 0
    done = in_process("trainer", "merge", "--base", whole_path / "base", "--out", tmp_path / "x", "--class", "x")
    assert done.returncode == 2
    assert "--pictures" in done.stderr


def test_exporting_a_class_again_changes_no_byte(command, whole_path, bundle_copy):
    assert command("exporter", "preset", bundle_copy, "fast", "--steps", 5).returncode == 0
    before = {path.name: path.read_bytes() for path in bundle_copy.iterdir()}
    done = command("exporter", "onnx", whole_path / "merged/cyt_mast", "--out", bundle_copy)
    assert done.returncode == 0, done.stderr
    assert {path.name: path.read_bytes() for path in bundle_copy.iterdir()} == before


def test_torch_openvino_and_onnxruntime_agree(command, whole_path, tiny_bundle):
    done = command("exporter", "verify", tiny_bundle, "--merged", whole_path / "merged/cyt_mast", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(done.stdout)["rows"]
    kinds = {row["runtime"].split()[0] + row["runtime"].split()[-1] for row in rows}
    assert {"openvinof32", "onnxruntimeCPU"} <= kinds
    assert all(row["passed"] for row in rows)
    assert all(row["psnr_db"] > 40 for row in rows if not row["runtime"].endswith("bf16"))


def test_verify_fails_where_the_bundle_holds_other_weights(command, whole_path, tiny_bundle, tmp_path):
    changed = shutil.copytree(whole_path / "merged/cyt_mast", tmp_path / "changed")
    path = changed / "unet/diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    save_file({name: 1.3 * value if "to_v" in name else value for name, value in tensors.items()}, path)
    done = command("exporter", "verify", tiny_bundle, "--merged", changed, "--json")
    assert done.returncode == 1, done.stderr
    assert not any(row["passed"] for row in json.loads(done.stdout)["rows"])


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


WRONG = {
    "two folders of a class": (["cyt_mast", "cyt_mast"], [], "two merged folders"),
    "no steps": (["cyt_mast"], ["--steps", 0], "0 steps"),
    "another default": (["cyt_mast"], ["--guidance-scale", 3], "defaults.guidance_scale"),
    "another name": (["cyt_mast"], ["--name", "other"], "name"),
    "a broken record": (["broken"], [], "class record"),
    "another base": (["other"], [], "SHA-256"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_exports_exit_2_and_change_no_byte(case, command, whole_path, bundle_copy, tmp_path):
    names, extra, word = WRONG[case]
    merged = shutil.copytree(whole_path / "merged", tmp_path / "merged")
    shutil.copytree(merged / "cyt_mast", merged / "broken")
    (merged / "broken/class.json").write_text("{")
    shutil.copytree(merged / "cyt_mast", merged / "other")
    path = merged / "other/vae/diffusion_pytorch_model.safetensors"
    save_file({name: value + 1e-3 for name, value in load_file(path).items()}, path)
    before = {path.name: path.read_bytes() for path in bundle_copy.iterdir()}
    out = tmp_path / "new" if case == "no steps" else bundle_copy
    done = command("exporter", "onnx", *(merged / name for name in names), "--out", out, *extra)
    assert done.returncode == 2, done.stderr
    assert word in done.stderr
    assert {path.name: path.read_bytes() for path in bundle_copy.iterdir()} == before
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("folder", ["base", "prepared", "nowhere"])
def test_what_is_no_merged_folder_exits_2(folder, command, whole_path, tmp_path):
    done = command("exporter", "onnx", whole_path / folder, "--out", tmp_path / "bundle")
    assert done.returncode == 2
    assert "python -m trainer merge" in done.stderr
    assert not (tmp_path / "bundle").exists()


def test_the_vae_encoder_comes_along_when_it_is_asked_for(in_process, whole_path, tmp_path):
    merged = whole_path / "merged/cyt_mast"
    done = in_process("exporter", "onnx", merged, "--out", tmp_path / "bundle", "--vae-encoder")
    assert done.returncode == 0, done.stderr
    vae = load_merged(merged).vae
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (2, 3, 32, 32)).astype(np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "bundle/vae_encoder.onnx")
    (found,) = session.run(["latents"], {"images": images})
    with torch.no_grad():
        wanted = vae.encode(torch.from_numpy(images)).latent_dist.mean.numpy() * vae.config.scaling_factor
    assert np.linalg.norm(found - wanted) < 0.01 * np.linalg.norm(wanted)


def left_in_training(merged):
    path = merged / "unet/diffusion_pytorch_model.safetensors"
    save_file({**load_file(path), "mid_block.attentions.0.lora_A.weight": np.ones(3, np.float32)}, path)


def another_text_width(merged):
    config = json.loads((merged / "unet/config.json").read_text())
    text = json.loads((merged / "text_encoder/config.json").read_text())
    torch.manual_seed(0)
    shutil.rmtree(merged / "unet")
    UNet2DConditionModel.from_config({**config, "cross_attention_dim": 2 * text["hidden_size"]}).save_pretrained(
        merged / "unet"
    )


def weights_beyond_float16(merged):
    path = merged / "unet/diffusion_pytorch_model.safetensors"
    state = load_file(path)
    state["conv_out.weight"] = state["conv_out.weight"] * np.float32(1e9)
    save_file(state, path)


@pytest.mark.parametrize(
    ("damage", "code", "word"),
    [
        (left_in_training, 2, "lora_A"),
        (another_text_width, 2, "width of its text encoder"),
        (weights_beyond_float16, 1, "differ by"),
    ],
)
def test_a_folder_that_cannot_be_exported_leaves_no_bundle(damage, code, word, in_process, whole_path, tmp_path):
    merged = shutil.copytree(whole_path / "merged/cyt_mast", tmp_path / "merged")
    damage(merged)
    done = in_process("exporter", "onnx", merged, "--out", tmp_path / "bundle")
    assert done.returncode == code, done.stderr
    assert word in done.stderr
    assert not (tmp_path / "bundle").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".bundle")]


def test_the_parity_table_has_every_sigma(in_process, whole_path, tiny_bundle):
    merged = whole_path / "merged/cyt_mast"
    done = in_process("exporter", "verify", tiny_bundle, "--merged", merged, "--json")
    assert done.returncode == 0, done.stderr
    for row in json.loads(done.stdout)["rows"]:
        sigmas = [sigma for sigma, _, _ in row["by_sigma"]]
        assert len(sigmas) == 20
        assert sigmas == sorted(sigmas, reverse=True)
        assert row["unet_rmse"] == max(rmse for _, rmse, _ in row["by_sigma"])
    assert "TensorRT was not compared" in in_process("exporter", "verify", tiny_bundle, "--merged", merged).stdout


def test_a_bundle_is_the_old_one_or_the_new_one(in_process, whole_path, bundle_copy, monkeypatch):
    """A failure at either rename leaves the old bundle, plans and all."""
    (bundle_copy / "plans/x").mkdir(parents=True)
    (bundle_copy / "plans/x/plan.json").write_text("{}")

    def files():
        return {path.relative_to(bundle_copy): path.read_bytes() for path in bundle_copy.rglob("*") if path.is_file()}

    before, rename = files(), Path.rename
    merged = shutil.copytree(whole_path / "merged/cyt_mast", bundle_copy.parent / "changed")
    path = merged / "unet/diffusion_pytorch_model.safetensors"
    state = load_file(path)
    # Smaller tensors than the mid block's stay in the graph: one of each.
    keys = [name for name in state if name.endswith("to_k.weight")]
    chosen = [next(name for name in keys if name.startswith(block)) for block in ("mid_block", "down_blocks")]
    save_file({**state, **{name: state[name] + np.float32(0.01) for name in chosen}}, path)
    for moment in (1, 2):
        calls = []

        def failing(path, target, moment=moment, calls=calls):
            if path.name in ("bundle", "new"):
                calls.append(path)
                if len(calls) == moment:
                    raise OSError(5, "Input/output error")
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", failing)
        done = in_process("exporter", "onnx", merged, "--out", bundle_copy)
        assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
        monkeypatch.undo()
        assert files() == before
    assert in_process("exporter", "onnx", merged, "--out", bundle_copy).returncode == 0
    replaced = files()
    changed = {str(path) for path in before if before[path] != replaced[path]}
    assert changed == {"manifest.json", "unet.cyt_mast.bin", "unet.cyt_mast.onnx"}
    assert replaced.keys() == before.keys()
