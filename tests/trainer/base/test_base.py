"""Bases: tokenizers of new bases, folders that diffusers opens, damaged folders."""

from __future__ import annotations

import json
import shutil

import torch
from diffusers import StableDiffusionPipeline

from trainer.base.base import encode_prompts, new_tokenizer


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
