"""Bases: tokenizers of new bases, folders that diffusers opens, damaged folders."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from safetensors.numpy import load_file, save_file

from engine.errors import RequestError
from trainer.base.base import encode_prompts, new_tokenizer, open_base


def test_class_names_are_single_tokens_and_any_text_is_tokenised(base):
    assert base.tokenizer.tokenize("neutrophil") == ["neutrophil</w>"]
    assert base.tokenizer.tokenize("Ünknown") != []
    embeddings = encode_prompts(base, ["neutrophil", "cyt mast", ""])
    assert embeddings.shape == (3, 8, 16)
    assert (embeddings[0] - embeddings[1]).abs().max() > 1e-3


def test_a_tokenizer_depends_on_nothing_but_its_captions():
    captions = ["erythroblast", "ig", "lymphocyte", "monocyte", "neutrophil", "platelet"]
    wanted = new_tokenizer(captions, 8).get_vocab()
    assert all(new_tokenizer(reversed(captions), 8).get_vocab() == wanted for _ in range(4))


def test_a_merged_folder_opens_in_diffusers_and_draws(whole_path):
    folder = whole_path / "merged" / "cyt_mast"
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    picture = pipeline("cyt mast", num_inference_steps=2, output_type="np", generator=torch.Generator().manual_seed(0))
    assert picture.images.shape == (1, 32, 32, 3)
    assert json.loads((folder / "class.json").read_text())["origin"] == "phantom"


def test_a_damaged_base_is_refused(in_process, whole_path, tmp_path):
    base = shutil.copytree(whole_path / "base", tmp_path / "base")
    weights = base / "unet/diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    done = in_process(
        "trainer", "fit", whole_path / "prepared/cyt_mast", "--base", base, "--out", tmp_path / "out", "--steps", 1
    )
    assert done.returncode == 2, done.stderr
    assert "cannot be read" in done.stderr


def v_prediction(base):
    path = base / "scheduler/scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "prediction_type": "v_prediction"}))


def inpainting(base):
    config = UNet2DConditionModel.load_config(base / "unet")
    UNet2DConditionModel.from_config({**config, "in_channels": 9}).save_pretrained(base / "unet")


def not_finite(base):
    path = base / "unet/diffusion_pytorch_model.safetensors"
    state = load_file(path)
    state["conv_in.bias"][1] = np.nan
    save_file(state, path)


def without_a_tensor(base):
    path = base / "vae/diffusion_pytorch_model.safetensors"
    state = load_file(path)
    del state["decoder.conv_out.bias"]
    save_file(state, path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (v_prediction, "prediction_type"),
        (inpainting, "in_channels"),
        (not_finite, "not finite in conv_in.bias"),
        (without_a_tensor, "decoder.conv_out.bias"),
    ],
)
def test_a_base_that_would_be_trained_in_vain_is_refused_on_opening(damage, words, whole_path, tmp_path):
    base = shutil.copytree(whole_path / "base", tmp_path / "base")
    damage(base)
    with pytest.raises(RequestError, match=words):
        open_base(base)


@pytest.mark.parametrize("command", ["fit", "embed", "merge", "pretrain"])
def test_every_command_that_opens_a_base_refuses_v_prediction_and_writes_nothing(
    command, in_process, whole_path, tmp_path
):
    base = shutil.copytree(whole_path / "base", tmp_path / "base")
    v_prediction(base)
    arguments = {
        "fit": [whole_path / "prepared/cyt_mast", "--base", base],
        "embed": [whole_path / "prepared/cyt_mast", "--base", base],
        "merge": ["--base", base, "--class", "cyt_mast", "--origin", "phantom", "--pictures", 2],
        "pretrain": [whole_path / "prepared", "--start-from", base],
    }
    done = in_process("trainer", command, *arguments[command], "--out", tmp_path / "out")
    assert done.returncode == 2, done.stderr
    assert "v_prediction" in done.stderr
    assert not (tmp_path / "out").exists()
