"""Folders that cannot be exported are refused, and leave no bundle."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.numpy import load_file, save_file

from exporter.load import load_merged


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


@pytest.mark.slow
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


@pytest.mark.parametrize("folder", ["base", "prepared", "nowhere"])
def test_what_is_no_merged_folder_exits_2(folder, in_process, whole_path, tmp_path):
    done = in_process("exporter", "onnx", whole_path / folder, "--out", tmp_path / "bundle")
    assert done.returncode == 2
    assert "python -m trainer merge" in done.stderr
    assert not (tmp_path / "bundle").exists()


def test_the_weights_of_a_class_prompt_count_as_in_training(whole_path):
    from trainer.base.base import encode_prompts, open_base

    folder = whole_path / "merged/cyt_mast"
    prompts = ["cyt (mast:1.5)", "", "(cyt mast cyt:0.5) mast"]
    with torch.no_grad():
        wanted = encode_prompts(open_base(folder), prompts)
    found = load_merged(folder).embed_prompts(prompts)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)
    assert (found[0] - load_merged(folder).embed_prompts(["cyt mast"])[0]).abs().max() > 0.1


def test_another_base_is_refused_before_a_unet_is_read(in_process, whole_path, tmp_path):
    first, second = (shutil.copytree(whole_path / "merged/cyt_mast", tmp_path / name) for name in ("first", "second"))
    record = json.loads((second / "class.json").read_text())
    (second / "class.json").write_text(json.dumps({**record, "class_name": "another"}))
    scheduler = json.loads((second / "scheduler/scheduler_config.json").read_text())
    (second / "scheduler/scheduler_config.json").write_text(json.dumps({**scheduler, "beta_end": 0.02}))
    for folder in (first, second):
        (folder / "unet/diffusion_pytorch_model.safetensors").write_bytes(b"cut off")
    done = in_process("exporter", "onnx", first, second, "--out", tmp_path / "bundle")
    assert done.returncode == 2
    assert "SHA-256" in done.stderr
    done = in_process("exporter", "onnx", first, "--out", tmp_path / "bundle")
    assert done.returncode == 2
    assert f"{first}\n  found:    a part that cannot be read" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["first", "second"]
